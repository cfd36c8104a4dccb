use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::{Flex, TensorMetadata};
use burn::nn::pool::{AvgPool2d, MaxPool2d};
use burn::tensor::Tensor;

use super::{contiguous, flex, into_owned, numbers, record, tracked};
use crate::geometry::{Geometry, Window};
use crate::{plane, pool};

/// Computes the maximum of each window.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C, H', W']`
pub fn max_pool2d(layer: &MaxPool2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let window = Window {
        kernel: layer.kernel_size,
        stride: layer.stride,
        dilation: layer.dilation,
        padding: &layer.padding,
        is_ceiled: layer.ceil_mode,
    };
    let geometry = geometry(window, x).filter(|g| g.taps() <= pool::MOST_TAPS)?;
    let x = tracked(x)?;
    let (output, taps) = pool::max(&geometry, numbers(&contiguous(x.primitive())));
    let output = flex(output, out_shape(&geometry));
    Some(record(MaxBackward, [x.node()], (geometry, taps.into()), output))
}

#[derive(Debug)]
struct MaxBackward;

impl Backward<Flex, 1> for MaxBackward {
    /// The sizes, and the tap of each output's maximum.
    type State = (Geometry, Arc<[u8]>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (geometry, taps) = ops.state;
        let grad = contiguous(&grads.consume::<Flex>(&ops.node));
        if let [Some(parent)] = ops.parents {
            let gradient = pool::max_gradient(&geometry, numbers(&grad), &taps);
            grads.register::<Flex>(parent.id, flex(gradient, in_shape(&geometry)));
        }
    }
}

/// Computes the mean of each window.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C, H', W']`
pub fn avg_pool2d(layer: &AvgPool2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let window = Window {
        kernel: layer.kernel_size,
        stride: layer.stride,
        dilation: [1, 1],
        padding: &layer.padding,
        is_ceiled: false,
    };
    let geometry = geometry(window, x).filter(|_| !layer.ceil_mode)?;
    let x = tracked(x)?;
    let shares = pool::shares(&geometry, layer.count_include_pad);
    let output = pool::average(&geometry, numbers(&contiguous(x.primitive())), &shares);
    let output = flex(output, out_shape(&geometry));
    Some(record(AverageBackward, [x.node()], (geometry, shares.into()), output))
}

#[derive(Debug)]
struct AverageBackward;

impl Backward<Flex, 1> for AverageBackward {
    /// The sizes, and the factors of the windows' sums.
    type State = (Geometry, Arc<[f32]>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (geometry, shares) = ops.state;
        let mut grad = into_owned(grads.consume::<Flex>(&ops.node));
        if let [Some(parent)] = ops.parents {
            let gradient = pool::average_gradient(&geometry, grad.storage_mut(), &shares);
            grads.register::<Flex>(parent.id, flex(gradient, in_shape(&geometry)));
        }
    }
}

/// Computes the mean of each channel of each image.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C, 1, 1]`
pub fn global_avg_pool2d(x: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, channels, height, width] = x.dims();
    let x = tracked(x).filter(|x| x.shape().num_elements() > 0)?;
    let means = plane::means(numbers(&contiguous(x.primitive())), height * width);
    let output = flex(means, [batch, channels, 1, 1]);
    Some(record(MeanBackward, [x.node()], [batch, channels, height, width], output))
}

#[derive(Debug)]
struct MeanBackward;

impl Backward<Flex, 1> for MeanBackward {
    /// The shape of the input.
    type State = [usize; 4];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [_, _, height, width] = ops.state;
        let grad = contiguous(&grads.consume::<Flex>(&ops.node));
        if let [Some(parent)] = ops.parents {
            let gradient = plane::means_gradient(numbers(&grad), height * width);
            grads.register::<Flex>(parent.id, flex(gradient, ops.state));
        }
    }
}

/// Returns the sizes of the work on each channel, or `None` if they are invalid and the layer must
/// report it.
fn geometry(window: Window<'_>, x: &Tensor<4>) -> Option<Geometry> {
    let [batch, channels, height, width] = x.dims();
    let geometry = window.over(batch, [channels; 2], [height, width])?;
    (batch * channels * height * width > 0).then_some(Geometry { groups: channels, ..geometry })
}

fn in_shape(g: &Geometry) -> [usize; 4] {
    [g.batch, g.channels[0], g.input[0], g.input[1]]
}

fn out_shape(g: &Geometry) -> [usize; 4] {
    [g.batch, g.channels[1], g.output[0], g.output[1]]
}
