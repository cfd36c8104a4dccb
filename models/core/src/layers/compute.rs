//! How layers are computed: by Burn, or in training on the processor or with libtorch by
//! zoo-train-kernels, which gives the same with faster gradients.

use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{AvgPool2d, MaxPool2d};
use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;

use super::Activation;
use super::kernels::by_kernel;

/// What the layer's own `forward` does, by the faster of two ways: a network that is trained on the
/// processor takes a fraction of the time where its layers are applied.
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
        by_kernel!(conv2d(self, &x));
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
        by_kernel!(max_pool2d(self, &x));
        self.forward(x)
    }
}

impl Apply for AvgPool2d {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        by_kernel!(avg_pool2d(self, &x));
        self.forward(x)
    }
}

/// `norm` → `activation`
///
/// # Shapes
///
/// `[N, C, H, W]` → the same
pub fn batch_norm(norm: &BatchNorm, activation: Activation, x: Tensor<4>) -> Tensor<4> {
    by_kernel!(batch_norm(norm, activation.into(), &x));
    activation.forward(norm.forward(x))
}

/// `conv` → `norm` → `activation`
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
    by_kernel!(conv_batch_norm(conv, norm, activation.into(), &x));
    batch_norm(norm, activation, conv.apply(x))
}

/// `max(x, 0)`, as [`Activation::Relu`].
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::Relu.forward(x)
}

/// The hyperbolic tangent, as [`Activation::Tanh`].
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::Tanh.forward(x)
}

/// A block's input, for its branch and for its shortcut. Both are to be used: in training on the
/// processor their gradients are added when the second one is there.
///
/// # Shapes
///
/// `[N, C, H, W]` → the same, twice
pub fn fork(x: Tensor<4>) -> [Tensor<4>; 2] {
    by_kernel!(fork(&x));
    [x.clone(), x]
}

/// `activation` of a block's branch and its shortcut together.
///
/// # Shapes
///
/// `[N, C, H, W]`, the same → the same
pub fn add(activation: Activation, branch: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
    by_kernel!(add(activation.into(), &branch, &shortcut));
    activation.forward(branch + shortcut)
}

/// The channels of all parts, one part behind the other.
///
/// # Shapes
///
/// `[N, C, H, W]`, `[N, C', H, W]`, … → `[N, C + C' + …, H, W]`
pub fn cat(parts: Vec<Tensor<4>>) -> Tensor<4> {
    by_kernel!(cat(&parts));
    Tensor::cat(parts, 1)
}

/// The first channel of each group, then the second of each, …
///
/// # Shapes
///
/// `[N, C, H, W]` → the same, of a number of channels that can be divided by `groups`
pub fn channel_shuffle(x: Tensor<4>, groups: usize) -> Tensor<4> {
    by_kernel!(channel_shuffle(&x, groups));
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, groups, channels / groups, height * width])
        .swap_dims(1, 2)
        .reshape([batch, channels, height, width])
}

/// The mean of each channel.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C, 1, 1]`
pub fn global_avg_pool2d(x: Tensor<4>) -> Tensor<4> {
    by_kernel!(global_avg_pool2d(&x));
    adaptive_avg_pool2d(x, [1, 1])
}

/// Each channel by a factor of its own.
pub(super) fn scale(x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
    by_kernel!(scale(&x, &factors));
    x * factors
}
