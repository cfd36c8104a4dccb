//! Where the layers reach zoo-train-kernels, which is there with the feature `cpu-training` alone.

#[cfg(feature = "cpu-training")]
use super::Activation;

/// Returns what a kernel of zoo-train-kernels computes, where there is one for these tensors. Behind
/// it stands what Burn does.
macro_rules! by_kernel {
    ($kernel:ident($($argument:expr),*)) => {
        #[cfg(feature = "cpu-training")]
        if let Some(output) = zoo_train_kernels::$kernel($($argument),*) {
            return output;
        }
    };
}
pub(super) use by_kernel;

#[cfg(feature = "cpu-training")]
impl From<Activation> for zoo_train_kernels::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Identity => Self::Identity,
            Activation::Relu => Self::RELU,
            Activation::Relu1 => Self::Clamp { low: 0.0, high: 1.0 },
            Activation::Relu6 => Self::RELU6,
            Activation::Silu => Self::Silu,
            Activation::HardSwish => Self::HARD_SWISH,
            Activation::Sigmoid => Self::Sigmoid,
            Activation::HardSigmoid => Self::HARD_SIGMOID,
            Activation::Tanh => Self::Tanh,
        }
    }
}
