use super::{Operator, View};
use crate::graph::Node;
use crate::plan::buffers::Format;
use crate::plan::lower::Lowering;

/// The same elements in another shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reshape;

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn evaluate(&self, inputs: &[View<'_>], _shape: &[usize]) -> Vec<f32> {
        inputs[0].1.to_vec()
    }

    /// Unpacks images in the blocked format. The row-major elements are the same for every shape.
    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        let x = node.inputs[0];
        if !lowering.is_in_blocks(x) {
            return false;
        }
        let input = lowering.read(x, Format::Blocked);
        let output = lowering.add(node.output, Format::Plain);
        lowering.unpack(input, output);
        true
    }
}
