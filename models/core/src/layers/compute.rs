//! How layers are computed: by Burn, or in training on the processor or with libtorch by
//! zoo-train-kernels, which gives the same with faster gradients.

use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{AvgPool2d, MaxPool2d};
use burn::tensor::Tensor;
use burn::tensor::module::adaptive_avg_pool2d;

use super::Activation;

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
        #[cfg(feature = "cpu-training")]
        if let Some(output) = zoo_train_kernels::conv2d(self, &x) {
            return output;
        }
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
        #[cfg(feature = "cpu-training")]
        if let Some(output) = zoo_train_kernels::max_pool2d(self, &x) {
            return output;
        }
        self.forward(x)
    }
}

impl Apply for AvgPool2d {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        #[cfg(feature = "cpu-training")]
        if let Some(output) = zoo_train_kernels::avg_pool2d(self, &x) {
            return output;
        }
        self.forward(x)
    }
}

/// `norm` → `activation`
///
/// # Shapes
///
/// `[N, C, H, W]` → the same
pub fn batch_norm(norm: &BatchNorm, activation: Activation, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::batch_norm(norm, activation.into(), &x) {
        return output;
    }
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
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::conv_batch_norm(conv, norm, activation.into(), &x) {
        return output;
    }
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
    #[cfg(feature = "cpu-training")]
    if let Some(readers) = zoo_train_kernels::fork(&x) {
        return readers;
    }
    [x.clone(), x]
}

/// `activation` of a block's branch and its shortcut together.
///
/// # Shapes
///
/// `[N, C, H, W]`, the same → the same
pub fn add(activation: Activation, branch: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::add(activation.into(), &branch, &shortcut) {
        return output;
    }
    activation.forward(branch + shortcut)
}

/// The channels of all parts, one part behind the other.
///
/// # Shapes
///
/// `[N, C, H, W]`, `[N, C', H, W]`, … → `[N, C + C' + …, H, W]`
pub fn cat(parts: Vec<Tensor<4>>) -> Tensor<4> {
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::cat(&parts) {
        return output;
    }
    Tensor::cat(parts, 1)
}

/// The first channel of each group, then the second of each, …
///
/// # Shapes
///
/// `[N, C, H, W]` → the same, of a number of channels that can be divided by `groups`
pub fn channel_shuffle(x: Tensor<4>, groups: usize) -> Tensor<4> {
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::channel_shuffle(&x, groups) {
        return output;
    }
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
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::global_avg_pool2d(&x) {
        return output;
    }
    adaptive_avg_pool2d(x, [1, 1])
}

/// Each channel by a factor of its own.
pub(super) fn scale(x: Tensor<4>, factors: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::scale(&x, &factors) {
        return output;
    }
    x * factors
}

/// `activation`, where a kernel has it.
#[cfg(feature = "cpu-training")]
pub(super) fn activate<const D: usize>(activation: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    zoo_train_kernels::activate(activation.into(), x)
}

#[cfg(feature = "cpu-training")]
impl From<Activation> for zoo_train_kernels::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Identity => Self::Identity,
            Activation::Relu => Self::Relu,
            Activation::Relu1 => Self::Relu1,
            Activation::Relu6 => Self::Relu6,
            Activation::Silu => Self::Silu,
            Activation::HardSwish => Self::HardSwish,
            Activation::Sigmoid => Self::Sigmoid,
            Activation::HardSigmoid => Self::HardSigmoid,
            Activation::Tanh => Self::Tanh,
        }
    }
}
