use std::sync::{Arc, Mutex};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;

use super::{contiguous, flex, into_owned, numbers, record, tracked};
use crate::{Activation, activation, plane};

/// Applies an activation.
///
/// # Shapes
///
/// `[…]` → `[…]`
pub fn activate<const D: usize>(activation: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    #[cfg(feature = "libtorch")]
    if let Some(output) = crate::libtorch::activate(activation, x) {
        return Some(output);
    }
    let x = tracked(x)?;
    let input = contiguous(x.primitive());
    let output = flex(activation::forward(activation, numbers(&input)), input.shape());
    Some(record(ActivationBackward, [x.node()], (activation, input), output))
}

#[derive(Debug)]
struct ActivationBackward;

impl Backward<Flex, 1> for ActivationBackward {
    type State = (Activation, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (activation, x) = ops.state;
        let mut grad = into_owned(grads.consume::<Flex>(&ops.node));
        activation::backward(activation, numbers(&x), grad.storage_mut());
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, grad);
        }
    }
}

/// Computes the activation of a sum. Supports the identity and ReLU.
///
/// # Shapes
///
/// `[…]`, `[…]` → `[…]`
pub fn add<const D: usize>(
    activation: Activation,
    a: &Tensor<D>,
    b: &Tensor<D>,
) -> Option<Tensor<D>> {
    // The slopes of the other activations can't be computed from the output.
    if a.dims() != b.dims() || !matches!(activation, Activation::Identity | Activation::RELU) {
        return None;
    }
    let (a, b) = (tracked(a)?, tracked(b)?);
    let summands = [&a, &b].map(|x| contiguous(x.primitive()));
    let [x, y] = summands.each_ref().map(numbers);
    let output = flex(activation::forward_sum(activation, x, y), a.shape());
    let kept = (activation == Activation::RELU).then(|| output.clone());
    Some(record(SumBackward, [a.node(), b.node()], kept, output))
}

#[derive(Debug)]
struct SumBackward;

impl Backward<Flex, 2> for SumBackward {
    /// The output of a ReLU; `None` for the identity.
    type State = Option<FlexTensor>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut grad = grads.consume::<Flex>(&ops.node);
        if let Some(output) = ops.state {
            grad = into_owned(grad);
            activation::backward(Activation::RELU, numbers(&output), grad.storage_mut());
        }
        for parent in ops.parents.into_iter().flatten() {
            grads.register::<Flex>(parent.id, grad.clone());
        }
    }
}

/// Returns the tensor twice, for two readers. All threads add the gradients of both. Use both
/// tensors or none: the backward pass waits for both gradients.
///
/// # Shapes
///
/// `[…]` → `[…]`, `[…]`
pub fn fork<const D: usize>(x: &Tensor<D>) -> Option<[Tensor<D>; 2]> {
    let x = tracked(x)?;
    let first = Arc::default();
    Some(
        [(); 2]
            .map(|()| record(ForkBackward, [x.node()], Arc::clone(&first), x.primitive().clone())),
    )
}

#[derive(Debug)]
struct ForkBackward;

impl Backward<Flex, 1> for ForkBackward {
    /// The gradient that arrived first.
    type State = Arc<Mutex<Option<FlexTensor>>>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let mut other = ops.state.lock().expect("no thread panics while it holds the lock");
        let Some(first) = other.take() else {
            *other = Some(grad);
            return;
        };
        let mut sum = into_owned(grad);
        activation::add(sum.storage_mut(), numbers(&contiguous(&first)));
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, sum);
        }
    }
}

/// Multiplies each channel of each image by its factor.
///
/// # Shapes
///
/// `[N, C, H, W]`, `[N, C, 1, 1]` → `[N, C, H, W]`
pub fn scale(x: &Tensor<4>, factors: &Tensor<4>) -> Option<Tensor<4>> {
    let [batch, channels, ..] = x.dims();
    if factors.dims() != [batch, channels, 1, 1] || x.shape().num_elements() == 0 {
        return None;
    }
    let (x, factors) = (tracked(x)?, tracked(factors)?);
    let inputs = [&x, &factors].map(|x| contiguous(x.primitive()));
    let [numbers_of_x, numbers_of_factors] = inputs.each_ref().map(numbers);
    let output = flex(plane::scale(numbers_of_x, numbers_of_factors), x.shape());
    Some(record(ScaleBackward, [x.node(), factors.node()], inputs, output))
}

#[derive(Debug)]
struct ScaleBackward;

impl Backward<Flex, 2> for ScaleBackward {
    /// The images and the factors.
    type State = [FlexTensor; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x, factors] = ops.state;
        let grad = contiguous(&grads.consume::<Flex>(&ops.node));
        let [of_x, of_factors] = ops.parents;
        if let Some(parent) = of_x {
            let gradient = plane::scale(numbers(&grad), numbers(&factors));
            grads.register::<Flex>(parent.id, flex(gradient, x.shape()));
        }
        if let Some(parent) = of_factors {
            let count = factors.shape().num_elements();
            let gradient = plane::factors_gradient(numbers(&x), numbers(&grad), count);
            grads.register::<Flex>(parent.id, flex(gradient, factors.shape()));
        }
    }
}
