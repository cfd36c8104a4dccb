use std::sync::Arc;

use zoo_simd::Activation;

use super::activation::{fused, suffix, value};
use super::elementwise::Elementwise;
use super::index::{broadcast_strides, dot, indices};
use super::{Inputs, Operator, View};
use crate::graph::{Node, ValueId};
use crate::plan::buffers::{BufferId, Format};
use crate::plan::draft::{Draft, Step};
use crate::plan::lower::Lowering;

pub(crate) use zoo_graph::Binary as Kind;

/// An operation on the elements of two tensors, with broadcasting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binary {
    pub(crate) kind: Kind,
    /// The activation of the result.
    pub(crate) activation: Activation,
}

impl Binary {
    /// Returns an operation without activation.
    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind, activation: Activation::Identity }
    }

    /// Whether it is this operation, without an activation.
    pub(crate) fn is_bare(&self, kind: Kind) -> bool {
        self.kind == kind && self.activation == Activation::Identity
    }
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Add => "add",
            Kind::Sub => "sub",
            Kind::Mul => "mul",
            Kind::Div => "div",
        }
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let [lhs, rhs] = [0, 1].map(|i| broadcast_strides(inputs[i].0, shape));
        indices(shape)
            .map(|index| {
                let (a, b) = (inputs[0].1[dot(&index, &lhs)], inputs[1].1[dot(&index, &rhs)]);
                let result = match self.kind {
                    Kind::Add => a + b,
                    Kind::Sub => a - b,
                    Kind::Mul => a * b,
                    Kind::Div => a / b,
                };
                value(self.activation, result)
            })
            .collect()
    }

    fn inputs(&self) -> Inputs {
        Inputs::Operands
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Operator>> {
        fused(self, |op| &mut op.activation, activation)
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        let graph = lowering.graph();
        let Some(out) = graph.shape4(node.output) else { return false };
        let is_whole = |&input: &ValueId| graph.shape(input) == out && graph.data(input).is_none();
        let Some(whole) = node.inputs.iter().position(is_whole) else { return false };
        let Some(operand) = operand(node.inputs[1 - whole], out, lowering) else { return false };
        let inputs = vec![lowering.read(node.inputs[whole], Format::Blocked), operand];
        let output = lowering.add(node.output, Format::Blocked);
        let is_flipped = whole == 1;
        lowering.draft(Draft::new(inputs, output, move |at| {
            let [input, operand, output] = [at.input(0), at.input(1), at.output()];
            let step = Elementwise::binary(at.isa, *self, is_flipped, [input, operand], output);
            let label = format!("{}{}", self.name(), suffix(self.activation));
            Some(Step::new(step, label).with_operations(at.output_len()))
        }));
        true
    }
}

/// Returns the second operand's buffer: as large as the output, or one pixel for each channel.
fn operand(value: ValueId, out: [usize; 4], lowering: &mut Lowering<'_>) -> Option<BufferId> {
    let graph = lowering.graph();
    let shape = graph.shape4(value)?;
    if let Some(data) = graph.data(value) {
        // Broadcasts the constant to the channels and pixels of an image.
        let spread = [shape[0], out[1], out[2], out[3]];
        let zero = (&[1, 1, 1, 1][..], &[0.0][..]);
        let data = Binary::of(Kind::Add).evaluate(&[(&shape, data), zero], &spread);
        return Some(lowering.add_constant(spread, &data));
    }
    let is_gate = shape == [out[0], out[1], 1, 1];
    (shape == out || is_gate).then(|| lowering.read(value, Format::Blocked))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zoo_graph::Window;

    use super::*;
    use crate::ops::activation::Activate;
    use crate::ops::pool::Pool;
    use crate::passes::testing::{graph, noise};
    use crate::plan::testing::{activations, check, relu};

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn binary_operations_match_their_definition(
            batch in 1..3_usize, channels in 1..40_usize, size in [1..9_usize, 1..9],
            kind in prop::sample::select(vec![Kind::Add, Kind::Sub, Kind::Mul]),
            activation in activations(), flip: bool, gate in 0..4,
        ) {
            let shape = [batch, channels, size[0], size[1]];
            let mut graph = graph(shape);
            let x = graph.node(relu(), [graph.input], shape);
            let other = match gate {
                0 => graph.node(
                    Pool::average(Window::whole(size), false),
                    [x],
                    [batch, channels, 1, 1],
                ),
                1 => graph.constant([1, 1, size[0], size[1]], noise(2, size[0] * size[1])),
                2 => graph.constant([1, channels, 1, 1], noise(2, channels)),
                _ => graph.node(Activate(Activation::Tanh), [graph.input], shape),
            };
            let mut inputs = [x, other];
            if flip {
                inputs.reverse();
            }
            let x = graph.node(Binary { kind, activation }, inputs, shape);
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }
}
