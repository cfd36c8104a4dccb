use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use super::kernels::return_from_kernel;

/// A function applied to each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 1)`
    Relu1,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x · sigmoid(x)`, also called swish
    Silu,
    /// `x · relu6(x + 3) / 6`
    HardSwish,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `relu6(x + 3) / 6`
    HardSigmoid,
    /// `(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`
    Tanh,
}

impl Activation {
    /// Applies the function.
    ///
    /// # Shapes
    ///
    /// `[…]` → `[…]`
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        return_from_kernel!(activate(self.into(), &x));
        match self {
            Self::Identity => x,
            Self::Relu => activation::relu(x),
            Self::Relu1 => x.clamp(0.0, 1.0),
            Self::Relu6 => activation::relu6(x),
            Self::Silu => activation::silu(x),
            Self::HardSwish => activation::hard_swish(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::HardSigmoid => activation::hard_sigmoid(x, 1.0 / 6.0, 0.5),
            Self::Tanh => x.tanh(),
        }
    }
}
