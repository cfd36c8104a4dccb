use std::sync::Arc;

use zoo_simd::Activation;

use super::elementwise::Elementwise;
use super::{Operator, View};
use crate::graph::Node;
use crate::plan::buffers::Format;
use crate::plan::draft::Step;
use crate::plan::lower::Lowering;

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Activate(pub(crate) Activation);

impl Activate {
    /// Converts a captured activation.
    pub(super) fn of(recorded: zoo_graph::Activation) -> Self {
        use zoo_graph::Activation as Recorded;
        Self(match recorded {
            Recorded::Relu => Activation::RELU,
            Recorded::Clamp { min, max } => Activation::Clamp {
                low: min.unwrap_or(f32::NEG_INFINITY),
                high: max.unwrap_or(f32::INFINITY),
            },
            Recorded::Sigmoid => Activation::Sigmoid,
            Recorded::HardSigmoid { alpha, beta } => {
                Activation::HardSigmoid { slope: alpha, offset: beta }
            }
            Recorded::Tanh => Activation::Tanh,
        })
    }
}

impl Operator for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn evaluate(&self, inputs: &[View<'_>], _shape: &[usize]) -> Vec<f32> {
        inputs[0].1.iter().map(|&x| value(self.0, x)).collect()
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        if lowering.images_of(node).is_none() {
            return false;
        }
        let inputs = vec![lowering.read(node.inputs[0], Format::Blocked)];
        lowering.blocked(node, inputs, move |at| {
            let step = Elementwise::activation(at.isa, self.0, at.input(0), at.output());
            let label = suffix(self.0).trim_start_matches(" + ");
            Some(Step::new(step, label).with_operations(at.output_len()))
        });
        true
    }
}

/// Computes an activation by its definition.
pub(super) fn value(activation: Activation, x: f32) -> f32 {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Identity => x,
        // Rust's `max` and `min` would replace a NaN by a number.
        Activation::Clamp { .. } if x.is_nan() => x,
        Activation::Clamp { low, high } => x.max(low).min(high),
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSigmoid { slope, offset } => (slope * x + offset).clamp(0.0, 1.0),
        Activation::HardSwish { slope, offset } => x * (slope * x + offset).clamp(0.0, 1.0),
        Activation::Tanh => x.tanh(),
    }
}

/// Returns the part of a step's label that names a fused activation.
pub(super) fn suffix(activation: Activation) -> &'static str {
    match activation {
        Activation::Identity => "",
        Activation::RELU => " + relu",
        Activation::Clamp { .. } => " + clamp",
        Activation::Sigmoid => " + sigmoid",
        Activation::Silu => " + silu",
        Activation::HardSigmoid { .. } => " + hard sigmoid",
        Activation::HardSwish { .. } => " + hard swish",
        Activation::Tanh => " + tanh",
    }
}

/// Returns `op` with `activation` in its `slot`, if it has no activation yet.
pub(super) fn fused<O: Operator + Clone>(
    op: &O,
    slot: impl Fn(&mut O) -> &mut Activation,
    activation: Activation,
) -> Option<Arc<dyn Operator>> {
    let mut op = op.clone();
    let slot = slot(&mut op);
    if *slot != Activation::Identity {
        return None;
    }
    *slot = activation;
    Some(Arc::new(op))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::ops::binary::{Binary, Kind};
    use crate::ops::pool::Pool;
    use crate::passes::testing::{graph, noise};
    use crate::plan::testing::{ACTIVATIONS, check, conv};
    use zoo_graph::Window;

    #[test]
    fn a_nan_stays_a_nan() {
        let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
        for channels in [3, 20] {
            for activation in ACTIVATIONS {
                let shape = [1, channels, 6, 7];
                let mut graph: Graph = graph(shape);
                let mut offsets = noise(1, shape.iter().product());
                // The NaN is neither the first nor the last element of a window.
                offsets[3 * 7 + 3] = f32::NAN;
                let offsets = graph.constant(shape, offsets);
                let x = graph.node(Binary::of(Kind::Add), [graph.input, offsets], shape);
                let pointwise = Window::whole([1, 1]);
                let x = conv(&mut graph, x, channels, pointwise, 1, activation).unwrap();
                let activated = graph.node(Activate(activation), [x], shape);
                graph.outputs = vec![graph.node(Pool::max(window), [activated], shape)];
                check(&graph).unwrap();
                let images = noise(11, shape.iter().product());
                let count = graph.evaluate(&images)[0].iter().filter(|x| x.is_nan()).count();
                assert_eq!(count, 9 * channels, "{activation:?}");
            }
        }
    }
}
