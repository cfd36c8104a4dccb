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
