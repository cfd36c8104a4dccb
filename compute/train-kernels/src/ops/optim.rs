use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, Tensor};

use super::{into_owned, numbers};
use crate::optim::{self, Step};

/// Returns the tensor of Flex, if this crate can compute with it.
fn plain<const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
    if !has_steps(&tensor) {
        return None;
    }
    Some(into_owned(tensor.try_into_primitive::<Flex>().ok()?))
}

fn tensor<const D: usize>(plain: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(plain)
}

/// Whether [`step`] can update these weights.
pub fn has_steps<const D: usize>(weights: &Tensor<D>) -> bool {
    !weights.is_autodiff()
        && weights.dtype() == DType::F32
        && weights.clone().try_into_primitive::<Flex>().is_ok()
}

/// Computes an optimizer's update. Takes and returns the weights and the moments; the rule
/// determines the [number of moments](crate::Rule::moments).
///
/// # Shapes
///
/// All are `[…]`.
pub fn step<const D: usize>(
    step: &Step,
    weights: Tensor<D>,
    grad: Tensor<D>,
    moments: Vec<Tensor<D>>,
) -> Option<(Tensor<D>, Vec<Tensor<D>>)> {
    let (mut weights, grad) = (plain(weights)?, plain(grad)?);
    let mut moments = moments.into_iter().map(plain).collect::<Option<Vec<_>>>()?;
    let fits = |moment: &FlexTensor| moment.shape() == weights.shape();
    if moments.len() != step.rule.moments() || !moments.iter().all(fits) || !fits(&grad) {
        return None;
    }
    let [first, rest @ ..] = moments.as_mut_slice() else { return None };
    let second = rest.first_mut().map_or(&mut [][..], |second| second.storage_mut());
    optim::take(step, weights.storage_mut(), numbers(&grad), first.storage_mut(), second);
    Some((tensor(weights), moments.into_iter().map(tensor).collect()))
}

/// Computes `Σ x²`.
pub fn sum_of_squares<const D: usize>(x: Tensor<D>) -> Option<f64> {
    plain(x).map(|x| optim::sum_of_squares(numbers(&x)))
}

/// Multiplies all numbers of a tensor.
///
/// # Shapes
///
/// `[…]` → `[…]`
pub fn multiply<const D: usize>(x: Tensor<D>, factor: f32) -> Option<Tensor<D>> {
    let mut x = plain(x)?;
    optim::multiply(x.storage_mut(), factor);
    Some(tensor(x))
}
