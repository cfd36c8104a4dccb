//! The operations for Burn's autodiff.

mod channels;
mod conv;
mod elementwise;
mod norm;
mod optim;
mod pool;

pub use channels::{cat, channel_shuffle};
pub use conv::conv2d;
pub use elementwise::{activate, add, fork, scale};
pub use norm::{batch_norm, conv_batch_norm};
pub use optim::{has_steps, multiply, step, sum_of_squares};
pub use pool::{avg_pool2d, global_avg_pool2d, max_pool2d};

use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::ops::{Backward, NodeGuard, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape, Tensor};

use crate::scratch::copied;

/// Burn's cpu backend with autodiff.
type Cpu = Autodiff<Flex, NoCheckpointing>;

/// Returns the tensor with its autodiff node, if this crate can compute with it.
fn tracked<const D: usize>(tensor: &Tensor<D>) -> Option<FloatTensor<Cpu>> {
    if !tensor.is_autodiff() || tensor.dtype() != DType::F32 {
        return None;
    }
    tensor.clone().try_into_primitive::<Cpu>().ok()
}

fn tensor<const D: usize>(tracked: FloatTensor<Cpu>) -> Tensor<D> {
    Tensor::from_primitive::<Cpu>(tracked)
}

/// Returns the output of an operation, with the state of its backward pass if gradients are needed.
fn record<O: Backward<Flex, N>, const N: usize, const D: usize>(
    operation: O,
    parents: [NodeGuard; N],
    state: O::State,
    output: FlexTensor,
) -> Tensor<D> {
    let prepared = operation.prepare::<NoCheckpointing>(parents).compute_bound().stateful();
    tensor(match prepared {
        OpsKind::Tracked(prep) => prep.finish(state, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    })
}

/// Returns a tensor with the same numbers in contiguous memory.
fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    match tensor.as_slice::<f32>() {
        Some(_) => tensor.clone(),
        None => in_order(tensor),
    }
}

/// Copies a tensor in row-major order.
fn in_order(tensor: &FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    let (shape, strides) = (layout.shape(), layout.strides());
    // The innermost axes may be contiguous.
    let (mut outer, mut run) = (shape.num_dims(), 1);
    while outer > 0 && strides[outer - 1] == run as isize {
        outer -= 1;
        run *= shape[outer];
    }
    if run == 1 {
        return tensor.to_contiguous();
    }
    let numbers = tensor.storage::<f32>();
    let mut copy = Vec::with_capacity(shape.num_elements());
    for index in 0..shape[..outer].iter().product() {
        let (mut rest, mut at) = (index, layout.start_offset() as isize);
        for axis in (0..outer).rev() {
            at += (rest % shape[axis]) as isize * strides[axis];
            rest /= shape[axis];
        }
        copy.extend_from_slice(&numbers[at.cast_unsigned()..][..run]);
    }
    flex(copy, shape.clone())
}

fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("the tensor is contiguous")
}

fn flex(numbers: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(numbers), Layout::contiguous(shape.into()), DType::F32)
}

/// Returns a gradient that may be overwritten. Reuses its memory if no other tensor shares it.
fn into_owned(grad: FlexTensor) -> FlexTensor {
    let grad = if grad.as_slice::<f32>().is_some() { grad } else { in_order(&grad) };
    match grad.is_unique() && grad.storage::<f32>().len() == grad.layout().num_elements() {
        true => grad,
        false => flex(copied(numbers(&grad)), grad.shape()),
    }
}
