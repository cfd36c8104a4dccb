//! Convolutions. [`direct`] computes any; [`winograd`] computes ungrouped 3×3 convolutions with
//! stride 1, with fewer multiplications; [`depthwise`] computes those with one channel per group.

mod depthwise;
pub(super) mod direct;
mod tile;
mod transforms;
mod winograd;

use std::sync::Arc;

use zoo_graph::Window;
use zoo_simd::Activation;

use self::depthwise::Depthwise;
use self::direct::{Description, Direct};
use self::winograd::Winograd;
use super::activation::{fused, suffix, value};
use super::index::indices;
use super::{Operator, View};
use crate::graph::Node;
use crate::plan::buffers::Format;
use crate::plan::draft::{Draft, Placed, Scratch, Step};
use crate::plan::lower::Lowering;

/// The maximum number of input channels for which a convolution reads the planar format.
const PLANAR: usize = 4;

/// A 2-D convolution with an optional residual and activation.
///
/// Inputs: images `[N, in, H, W]`, weights `[out, in / groups, h, w]`, a bias `[out]` and, if
/// `residual`, a tensor of the output's shape that is added before the activation. Passes add the
/// bias, the residual and the activation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conv {
    pub(crate) window: Window,
    pub(crate) groups: usize,
    /// Whether the weights have the shape `[in, h, w, out]`, as those of a fully connected layer.
    pub(crate) out_channels_last: bool,
    pub(crate) residual: bool,
    pub(crate) activation: Activation,
}

/// The algorithm of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Direct,
    Depthwise,
    Winograd,
}

impl Conv {
    /// Returns a convolution without residual and activation.
    pub(crate) fn new(window: Window, groups: usize) -> Self {
        let activation = Activation::Identity;
        Self { window, groups, out_channels_last: false, residual: false, activation }
    }

    /// Whether it adds only the bias.
    pub(crate) fn is_bare(&self) -> bool {
        !self.residual && self.activation == Activation::Identity
    }

    /// Returns its label in a plan: the algorithm, the window and the fused operations.
    fn label(&self, algorithm: Algorithm) -> String {
        let [height, width] = self.window.kernel;
        let prefix = match algorithm {
            Algorithm::Direct => "",
            Algorithm::Depthwise => "depthwise ",
            Algorithm::Winograd => "winograd ",
        };
        let mut label = format!("{prefix}{} {height}x{width}", self.name());
        if self.window.stride != [1, 1] {
            label.push_str(&format!(" /{}", self.window.stride[0]));
        }
        if self.residual {
            label.push_str(" + add");
        }
        label.push_str(suffix(self.activation));
        if self.groups > 1 && algorithm != Algorithm::Depthwise {
            label.push_str(&format!(", {} groups", self.groups));
        }
        label
    }
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let &Self { window, groups, out_channels_last, residual, activation } = self;
        let ((from, x), (kernel, weights)) = (inputs[0], inputs[1]);
        let [kernel_h, kernel_w] = window.kernel;
        let per_group = from[1] / groups;
        // Distances between the weights of adjacent output channels and of adjacent inputs.
        let (out_stride, in_stride) =
            if out_channels_last { (1, shape[1]) } else { (weights.len() / shape[1], 1) };
        let [height, width] = [from[2], from[3]];
        assert_eq!(kernel.iter().product::<usize>(), shape[1] * per_group * kernel_h * kernel_w);
        indices(shape)
            .enumerate()
            .map(|(position, at)| {
                let group = at[1] / (shape[1] / groups);
                let mut sum = inputs.get(2).map_or(0.0, |bias| bias.1[at[1]]);
                for channel in 0..per_group {
                    let plane = (at[0] * from[1] + group * per_group + channel) * height * width;
                    let filter = at[1] * out_stride + channel * kernel_h * kernel_w * in_stride;
                    for ky in 0..kernel_h {
                        let y = at[2] * window.stride[0] + ky * window.dilation[0];
                        let Some(y) = y.checked_sub(window.before[0]).filter(|&y| y < height)
                        else {
                            continue;
                        };
                        for kx in 0..kernel_w {
                            let column = at[3] * window.stride[1] + kx * window.dilation[1];
                            let Some(column) =
                                column.checked_sub(window.before[1]).filter(|&x| x < width)
                            else {
                                continue;
                            };
                            sum += x[plane + y * width + column]
                                * weights[filter + (ky * kernel_w + kx) * in_stride];
                        }
                    }
                }
                if residual {
                    sum += inputs[3].1[position];
                }
                value(activation, sum)
            })
            .collect()
    }

    fn with_activation(&self, activation: Activation) -> Option<Arc<dyn Operator>> {
        fused(self, |op| &mut op.activation, activation)
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        let graph = lowering.graph();
        let Some((x, out)) = lowering.images_of(node) else { return false };
        let [Some(weights), Some(bias)] = [1, 2].map(|index| graph.data(*node.inputs.get(index)?))
        else {
            return false;
        };
        let &Self { window, groups, out_channels_last, activation, .. } = self;
        let description =
            Description { window, groups, weights, out_channels_last, bias, activation };

        let is_depthwise = groups > 1 && groups == x[1] && groups == out[1];
        let is_planar = node.inputs[0] == graph.input && x[1] <= PLANAR && !is_depthwise;
        let format = if is_planar { Format::Planar } else { Format::Blocked };
        let algorithm = if is_depthwise {
            Algorithm::Depthwise
        } else if !is_planar && winograd::pays(lowering.most_items(), &window, groups, x, out) {
            Algorithm::Winograd
        } else {
            Algorithm::Direct
        };

        let mut inputs = vec![lowering.read(node.inputs[0], format)];
        let margin = if algorithm == Algorithm::Winograd { winograd::margin } else { margin };
        lowering.margin(inputs[0], margin(&window, x, out));
        let residual = node.inputs.get(3);
        inputs.extend(residual.map(|&residual| lowering.read(residual, Format::Blocked)));
        let make = move |at: &Placed<'_>| {
            let images = [at.input(0), at.output()];
            let residual = self.residual.then(|| at.input(1));
            let label = self.label(algorithm);
            let step = match algorithm {
                Algorithm::Direct => {
                    Step::new(Direct::new(at, &description, images, residual), label)
                }
                Algorithm::Depthwise => {
                    Step::new(Depthwise::new(at.isa, &description, images), label)
                }
                Algorithm::Winograd => {
                    Step::new(Winograd::new(at, &description, images, residual), label)
                }
            };
            // The same count for all algorithms.
            let per_output = weights.len() / out[1];
            let step = step.with_operations(2 * at.output_len() * per_output as u64);
            Some(step.with_parameters(weights.len() + bias.len()))
        };
        if algorithm == Algorithm::Winograd {
            let scratch = Scratch { buffer: lowering.add_scratch(), length: winograd::scratch_len };
            let output = lowering.add(node.output, Format::Blocked);
            // A transformed 3×3 filter has 36 numbers, four times as many.
            let weights = 4 * lowering.weights(node);
            let draft = Draft::new(inputs, output, make);
            lowering.draft(Draft { weights, scratch: Some(scratch), ..draft });
        } else {
            lowering.blocked(node, inputs, make);
        }
        true
    }
}

/// Returns the margin of zeros that a window needs around the images.
fn margin(window: &Window, from: [usize; 4], to: [usize; 4]) -> [usize; 4] {
    let after = |axis: usize| {
        let last = (to[axis + 2] - 1) * window.stride[axis];
        let reach = last + (window.kernel[axis] - 1) * window.dilation[axis] + 1;
        reach.saturating_sub(window.before[axis] + from[axis + 2])
    };
    [window.before[0], after(0), window.before[1], after(1)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ops::activation::Activate;
    use crate::ops::binary::{Binary, Kind};
    use crate::ops::linear::Linear;
    use crate::ops::pool::Pool;
    use crate::ops::reshape::Reshape;
    use crate::ops::transpose::Transpose;
    use crate::passes::testing::{graph, noise};
    use crate::plan::testing::{activations, check, conv, relu, windows};

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn convolutions_match_their_definition(
            batch in 1..4_usize, depth in 1..40_usize, channels in 1..80_usize,
            size in [1..20_usize, 1..34], window in windows(), activation in activations(),
            after_another: bool,
        ) {
            let mut graph = graph([batch, depth, size[0], size[1]]);
            let mut x = graph.input;
            if after_another {
                x = graph.node(relu(), [x], [batch, depth, size[0], size[1]]);
            }
            if let Some(x) = conv(&mut graph, x, channels, window, 1, activation) {
                graph.outputs = vec![x];
                check(&graph)?;
            }
        }

        #[test]
        fn pointwise_convolutions_with_residuals_match_their_definition(
            batch in 1..3_usize, depth in 1..300_usize, channels in 1..100_usize,
            size in [1..9_usize, 1..30], activation in activations(),
        ) {
            let mut graph = graph([batch, depth, size[0], size[1]]);
            let window = Window::whole([1, 1]);
            let identity = Activation::Identity;
            let a = conv(&mut graph, 0, channels, window, 1, identity).unwrap();
            let b = conv(&mut graph, a, channels, window, 1, identity).unwrap();
            let add = Binary { kind: Kind::Add, activation };
            let x = graph.node(add, [a, b], [batch, channels, size[0], size[1]]);
            graph.outputs = vec![x];
            check(&graph)?;
        }

        #[test]
        fn winograd_convolutions_match_their_definition(
            batch in 1..3_usize, depth in 16..70_usize, channels in 16..70_usize,
            size in [5..20_usize, 5..40], before in [0..3_usize, 0..3], after in [0..3_usize, 0..3],
            activation in activations(), residual: bool,
        ) {
            let mut graph = graph([batch, depth, size[0], size[1]]);
            let window = Window { before, after, ..Window::whole([3, 3]) };
            let identity = Activation::Identity;
            let mut x = conv(&mut graph, 0, channels, window, 1, identity).unwrap();
            let shape = graph.shape(x).to_vec();
            if residual {
                let other = conv(&mut graph, 0, channels, window, 1, activation).unwrap();
                x = graph.node(Binary { kind: Kind::Add, activation }, [x, other], shape);
            } else {
                x = graph.node(Activate(activation), [x], shape);
            }
            graph.outputs = vec![x];
            check(&graph)?;
        }

        #[test]
        fn grouped_convolutions_match_their_definition(
            batch in 1..3_usize, groups in 1..9_usize, inputs in 1..9_usize, outputs in 1..9_usize,
            size in [1..12_usize, 1..20], window in windows(),
        ) {
            let mut graph = graph([batch, groups * inputs, size[0], size[1]]);
            let relu = Activation::RELU;
            if let Some(x) = conv(&mut graph, 0, groups * outputs, window, groups, relu) {
                graph.outputs = vec![x];
                check(&graph)?;
            }
        }

        #[test]
        fn depthwise_convolutions_match_their_definition(
            batch in 1..3_usize, channels in 2..40_usize, size in [1..20_usize, 1..34],
            window in windows(), activation in activations(),
        ) {
            let mut graph = graph([batch, channels, size[0], size[1]]);
            if let Some(x) = conv(&mut graph, 0, channels, window, channels, activation) {
                graph.outputs = vec![x];
                check(&graph)?;
            }
        }

        #[test]
        fn batches_match_their_definition(
            batch in 1..12_usize, channels in 1..40_usize, size in [4..12_usize, 4..12],
        ) {
            // First the images are larger than the weights, then the weights; a gate is between
            // them.
            let mut graph = graph([batch, 3, size[0], size[1]]);
            let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
            let relu = Activation::RELU;
            let x = conv(&mut graph, 0, channels, window, 1, relu).unwrap();
            let shape = graph.shape(x).to_vec();
            let pool = Pool::average(Window::whole(size), false);
            let pooled = graph.node(pool, [x], [batch, channels, 1, 1]);
            let pointwise = Window::whole([1, 1]);
            let gate = conv(&mut graph, pooled, channels, pointwise, 1, Activation::Sigmoid).unwrap();
            let mul = Binary::of(Kind::Mul);
            let x = graph.node(mul, [x, gate], shape);
            let y = conv(&mut graph, x, 48, window, 1, relu).unwrap();
            let pooled = graph.node(pool, [y], [batch, 48, 1, 1]);
            let flat = graph.node(Reshape, [pooled], [batch, 48]);
            let weights = graph.constant([48, 50], noise(1, 2400));
            let logits = graph.node(Linear, [flat, weights], [batch, 50]);
            graph.outputs = vec![x, logits];
            check(&graph)?;
        }

        #[test]
        fn images_that_depend_on_one_another_match_their_definition(
            batch in 2..6_usize, channels in 1..40_usize, size in [1..9_usize, 1..9],
        ) {
            let [height, width] = size;
            let mut graph = graph([batch, channels, height, width]);
            let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
            let x = conv(&mut graph, 0, 20, window, 1, Activation::RELU).unwrap();
            let swapped = Transpose { axes: vec![1, 0, 2, 3] };
            let x = graph.node(swapped, [x], [20, batch, height, width]);
            let x = conv(&mut graph, x, 10, window, 1, Activation::RELU).unwrap();
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }
}
