use zoo_graph::Window;
use zoo_simd::Activation;

use super::conv::direct::{Description, Direct};
use super::index::indices;
use super::{Operator, View};
use crate::graph::Node;
use crate::plan::buffers::{Format, Images};
use crate::plan::draft::{Draft, Placed, Step};
use crate::plan::lower::Lowering;

/// A transposed 2-D convolution. Inputs: images `[N, in, H, W]`, weights `[in, out / groups, h, w]`
/// and a bias `[out]`, which a pass adds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvTranspose {
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

impl Operator for ConvTranspose {
    fn name(&self) -> &'static str {
        "conv transpose"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let Self { stride, padding, dilation, groups } = self;
        let ((from, x), (kernel, weights)) = (inputs[0], inputs[1]);
        let [per_group, kernel_h, kernel_w] = [kernel[1], kernel[2], kernel[3]];
        let plane = shape[2] * shape[3];
        let mut out = vec![0.0; shape.iter().product()];
        if let Some((_, bias)) = inputs.get(2) {
            for (channel, plane) in out.chunks_exact_mut(plane).enumerate() {
                plane.fill(bias[channel % shape[1]]);
            }
        }
        for (at, &x) in indices(from).zip(x) {
            let group = at[1] / (from[1] / groups);
            for channel in 0..per_group {
                let to = (at[0] * shape[1] + group * per_group + channel) * plane;
                let filter = (at[1] * per_group + channel) * kernel_h * kernel_w;
                for ky in 0..kernel_h {
                    let y = at[2] * stride[0] + ky * dilation[0];
                    let Some(y) = y.checked_sub(padding[0]).filter(|&y| y < shape[2]) else {
                        continue;
                    };
                    for kx in 0..kernel_w {
                        let column = at[3] * stride[1] + kx * dilation[1];
                        let column = column.checked_sub(padding[1]).filter(|&x| x < shape[3]);
                        if let Some(column) = column {
                            out[to + y * shape[3] + column] +=
                                x * weights[filter + ky * kernel_w + kx];
                        }
                    }
                }
            }
        }
        out
    }

    /// If the windows of the output don't overlap, drafts one step for each tap of the filter.
    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        let graph = lowering.graph();
        let stride = self.stride;
        let Some((x, out)) = lowering.images_of(node) else { return false };
        let &[_, weights, bias] = node.inputs.as_slice() else { return false };
        let is_without_overlap = (self.padding, self.dilation, self.groups) == ([0, 0], [1, 1], 1)
            && graph.shape(weights)[2..] == stride[..]
            && out[2..] == [x[2] * stride[0], x[3] * stride[1]];
        let (true, Some(weights), Some(bias)) =
            (is_without_overlap, graph.data(weights), graph.data(bias))
        else {
            return false;
        };
        let input = lowering.read(node.inputs[0], Format::Blocked);
        let output = lowering.add(node.output, Format::Blocked);
        let of_node = lowering.weights(node);
        for tap in (0..stride[0]).flat_map(|y| (0..stride[1]).map(move |x| [y, x])) {
            let make = move |at: &Placed<'_>| Some(tap_step(stride, tap, weights, bias, at));
            let draft = Draft::new(vec![input], output, make);
            lowering.draft(Draft { weights: of_node, ..draft });
        }
        true
    }
}

/// Returns the step of one tap: a 1×1 convolution that writes every `stride`-th row and column.
fn tap_step(
    stride: [usize; 2],
    tap: [usize; 2],
    weights: &[f32],
    bias: &[f32],
    at: &Placed<'_>,
) -> Step {
    let (from, whole) = (at.input(0), at.output());
    let to = Images {
        shape: [whole.shape[0], whole.shape[1], from.shape[2], from.shape[3]],
        offset: whole.offset + tap[0] * whole.row + tap[1] * whole.pixel,
        row: whole.row * stride[0],
        pixel: whole.pixel * stride[1],
        // Only the first tap clears the margins.
        margins: [0; 4],
        ..whole
    };
    let taps = stride[0] * stride[1];
    let one = tap[0] * stride[1] + tap[1];
    // [in, out, taps] → [in, out]
    let weights: Vec<f32> = weights.iter().skip(one).step_by(taps).copied().collect();
    let description = Description {
        window: Window::whole([1, 1]),
        groups: 1,
        weights: &weights,
        out_channels_last: true,
        bias,
        activation: Activation::Identity,
    };
    let mut conv = Direct::new(at, &description, [from, to], None);
    if tap == [0, 0] {
        conv.clears(whole);
    }
    Step::new(conv, format!("conv transpose, tap {} {}", tap[0], tap[1]))
        .with_operations(2 * at.output_len() / taps as u64 * from.shape[1] as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ops::resize::Resize;
    use crate::passes::testing::{graph, noise};
    use crate::plan::testing::check;

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn transposed_convolutions_and_resizes_match_their_definition(
            batch in 1..3_usize, depth in 1..20_usize, channels in 1..20_usize,
            size in [1..6_usize, 1..6], stride in [1..4_usize, 1..4], align_corners: bool,
        ) {
            let mut graph = graph([batch, depth, size[0], size[1]]);
            let weights = [depth, channels, stride[0], stride[1]];
            let weights = graph.constant(weights, noise(4, weights.iter().product()));
            let bias = graph.constant([channels], noise(5, channels));
            let op = ConvTranspose { stride, padding: [0; 2], dilation: [1; 2], groups: 1 };
            let [height, width] = [size[0] * stride[0], size[1] * stride[1]];
            let shape = [batch, channels, height, width];
            let x = graph.node(op, [graph.input, weights, bias], shape);
            let shape = [batch, channels, 2 * height, 3 * width];
            let y = graph.node(Resize { align_corners }, [x], shape);
            graph.outputs = vec![y];
            check(&graph)?;
        }
    }
}
