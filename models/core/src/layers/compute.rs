//! The operations of the layers. Burn computes them; in training on the CPU or with libtorch,
//! zoo-train-kernels computes the same with faster gradients.

use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{AvgPool2d, MaxPool2d};
use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;

use super::Activation;
use super::kernels::return_from_kernel;

/// A layer's `forward` with a faster gradient. The result is that of `forward`. When a network is
/// trained on the CPU or with libtorch, a kernel of zoo-train-kernels computes it.
pub trait Apply {
    /// Applies the layer.
    ///
    /// # Shapes
    ///
    /// `[N, C, H, W]` → `[N, C', H', W']`
    fn apply(&self, x: Tensor<4>) -> Tensor<4>;
}

impl Apply for Conv2d {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        return_from_kernel!(conv2d(self, &x));
        self.forward(x)
    }
}

impl Apply for BatchNorm {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        batch_norm(self, Activation::Identity, x)
    }
}

impl Apply for MaxPool2d {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        return_from_kernel!(max_pool2d(self, &x));
        self.forward(x)
    }
}

impl Apply for AvgPool2d {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        return_from_kernel!(avg_pool2d(self, &x));
        self.forward(x)
    }
}

/// Computes `norm` → `activation`.
///
/// # Shapes
///
/// `[N, C, H, W]` → the same
pub fn batch_norm(norm: &BatchNorm, activation: Activation, x: Tensor<4>) -> Tensor<4> {
    return_from_kernel!(batch_norm(norm, activation.into(), &x));
    activation.forward(norm.forward(x))
}

/// Computes `conv` → `norm` → `activation`.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C', H', W']`
pub(super) fn conv_batch_norm(
    conv: &Conv2d,
    norm: &BatchNorm,
    activation: Activation,
    x: Tensor<4>,
) -> Tensor<4> {
    return_from_kernel!(conv_batch_norm(conv, norm, activation.into(), &x));
    batch_norm(norm, activation, conv.apply(x))
}

/// Computes `max(x, 0)`, as [`Activation::Relu`].
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::Relu.forward(x)
}

/// Computes the hyperbolic tangent, as [`Activation::Tanh`].
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::Tanh.forward(x)
}

/// Returns a block's input twice, for the branch and for the shortcut. Use both tensors: in training
/// on the CPU the backward waits for both gradients and adds them.
///
/// # Shapes
///
/// `[N, C, H, W]` → the same, twice
pub fn fork(x: Tensor<4>) -> [Tensor<4>; 2] {
    return_from_kernel!(fork(&x));
    [x.clone(), x]
}

/// Computes `activation(branch + shortcut)`, element by element.
///
/// # Shapes
///
/// `[N, C, H, W]`, the same → the same
pub fn add(activation: Activation, branch: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
    return_from_kernel!(add(activation.into(), &branch, &shortcut));
    activation.forward(branch + shortcut)
}

/// Concatenates tensors along the channels.
///
/// # Shapes
///
/// `[N, C, H, W]`, `[N, C', H, W]`, … → `[N, C + C' + …, H, W]`
pub fn cat(parts: Vec<Tensor<4>>) -> Tensor<4> {
    return_from_kernel!(cat(&parts));
    Tensor::cat(parts, 1)
}

/// Reorders the channels: the first of each group, then the second of each, …
///
/// # Shapes
///
/// `[N, C, H, W]` → the same; `C` must be a multiple of `groups`
pub fn channel_shuffle(x: Tensor<4>, groups: usize) -> Tensor<4> {
    return_from_kernel!(channel_shuffle(&x, groups));
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, groups, channels / groups, height * width])
        .swap_dims(1, 2)
        .reshape([batch, channels, height, width])
}

/// Computes the mean of each channel.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C, 1, 1]`
pub fn global_avg_pool2d(x: Tensor<4>) -> Tensor<4> {
    return_from_kernel!(global_avg_pool2d(&x));
    adaptive_avg_pool2d(x, [1, 1])
}

/// Multiplies each channel by its own factor.
pub(super) fn scale(x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
    return_from_kernel!(scale(&x, &factors));
    x * factors
}
