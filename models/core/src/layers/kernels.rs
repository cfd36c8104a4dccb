//! The calls to zoo-train-kernels, which is a dependency only with the feature `cpu-training`.

#[cfg(feature = "cpu-training")]
use super::Activation;

/// Returns from the enclosing function with the kernel's result, if zoo-train-kernels has a kernel
/// for these tensors. Otherwise the code after the macro runs.
macro_rules! return_from_kernel {
    ($kernel:ident($($argument:expr),*)) => {
        #[cfg(feature = "cpu-training")]
        if let Some(output) = zoo_train_kernels::$kernel($($argument),*) {
            return output;
        }
    };
}
pub(super) use return_from_kernel;

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
