//! Burn's activations, and the comparison of results.

use burn::tensor::{Tensor, activation};
use zoo_train_kernels::Activation;

const RELU1: Activation = Activation::Clamp { low: 0.0, high: 1.0 };

pub(crate) const ACTIVATIONS: [Activation; 9] = [
    Activation::Identity,
    Activation::RELU,
    RELU1,
    Activation::RELU6,
    Activation::Silu,
    Activation::HARD_SWISH,
    Activation::Sigmoid,
    Activation::HARD_SIGMOID,
    Activation::Tanh,
];

/// Computes an activation with Burn.
pub(crate) fn by_burn<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::RELU => activation::relu(x),
        Activation::Clamp { low, high } => x.clamp(low, high),
        Activation::Silu => activation::silu(x),
        Activation::HardSwish { .. } => activation::hard_swish(x),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::HardSigmoid { .. } => activation::hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Activation::Tanh => x.tanh(),
    }
}

/// Checks that two tensors differ by at most 2e-5 times the largest absolute number, or 1.
pub(crate) fn assert_close<const D: usize>(got: Tensor<D>, expected: Tensor<D>, what: &str) {
    let (got, expected) = (got.into_data(), expected.into_data());
    assert_eq!(got.shape(), expected.shape(), "{what}");
    let scale = expected.iter::<f32>().fold(1.0, |most: f32, x| most.max(x.abs()));
    for (got, expected) in got.iter::<f32>().zip(expected.iter::<f32>()) {
        assert!((got - expected).abs() <= 2e-5 * scale, "{what}: {got}, expected {expected}");
    }
}
