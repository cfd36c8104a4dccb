//! How layers are computed: by Burn, or in training on the processor by zoo-train-kernels, which
//! gives the same with faster gradients.

use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::Activation;

/// `conv`
pub(super) fn conv2d(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::conv2d(conv, &x) {
        return output;
    }
    conv.forward(x)
}

/// `norm` → `activation`
pub(super) fn batch_norm(norm: &BatchNorm, activation: Activation, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu-training")]
    if let Some(output) = zoo_train_kernels::batch_norm(norm, activation.into(), &x) {
        return output;
    }
    activation.forward(norm.forward(x))
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
        }
    }
}
