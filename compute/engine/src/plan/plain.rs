//! The step of a node without a kernel.

use std::ops::Range;
use std::sync::Arc;

use super::buffers::{Images, Location};
use super::draft::{Placed, Work};
use crate::graph::{Graph, Node};
use crate::memory::Arena;
use crate::ops::Operator;
use crate::threads::Member;

/// The work of a step that computes row-major tensors with [`Operator::evaluate`], on one thread.
#[derive(Debug)]
pub(super) struct Plain {
    op: Arc<dyn Operator>,
    inputs: Vec<Input>,
    output: Location,
}

#[derive(Debug)]
enum Input {
    Computed(Location),
    Constant(Vec<usize>, Arc<Vec<f32>>),
}

impl Plain {
    /// Returns a node's step. The draft's inputs are those of the node that are not constant.
    pub(super) fn new(graph: &Graph, node: &Node, placed: &Placed<'_>) -> Self {
        let mut computed = 0..;
        let inputs = node.inputs.iter().map(|&value| match &graph.values[value].constant {
            Some(constant) => Input::Constant(graph.shape(value).to_vec(), constant.clone()),
            None => Input::Computed(
                placed.input_location(computed.next().expect("the range is infinite")),
            ),
        });
        let (inputs, output) = (inputs.collect(), placed.output_location());
        Self { op: node.op.clone(), inputs, output }
    }
}

impl Work for Plain {
    fn cleared(&self) -> Option<Images> {
        None
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        if member.index != 0 {
            return;
        }
        for item in items.clone() {
            let inputs = self.inputs.iter().map(|input| match input {
                Input::Computed(location) => {
                    let start = arena.at(location.at(item));
                    // SAFETY: the buffer has this length, and no thread writes it in this step.
                    let values = unsafe { std::slice::from_raw_parts(start, location.len()) };
                    (location.shape.as_slice(), values)
                }
                Input::Constant(shape, constant) => (shape.as_slice(), constant.as_slice()),
            });
            let inputs: Vec<_> = inputs.collect();
            let values = self.op.evaluate(&inputs, &self.output.shape);
            let output = arena.at(self.output.at(item));
            // SAFETY: the buffer has this length, and no other thread uses it in this step.
            unsafe { output.copy_from_nonoverlapping(values.as_ptr(), values.len()) }
        }
    }
}
