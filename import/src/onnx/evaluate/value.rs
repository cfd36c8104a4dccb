//! The values between nodes, and arithmetic with them.

use burn::tensor::Tensor;

use super::Fault;
use crate::onnx::graph;

/// The largest number of dimensions of a value.
pub(super) const RANK: usize = 6;

/// The largest number of elements of a value: a gigabyte.
pub(super) const LARGEST: usize = 1 << 28;

/// A value of the graph: its elements, row-major, and its dimensions.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) flat: Tensor<1>,
    pub(super) dims: Vec<usize>,
    pub(super) is_integer: bool,
}

impl Value {
    pub(super) fn of<const D: usize>(tensor: Tensor<D>, dims: Vec<usize>) -> Result<Self, Fault> {
        let count = tensor.shape().num_elements();
        if count != dims.iter().product::<usize>() || count == 0 || dims.len() > RANK {
            return Err(format!("it gives the size {dims:?}"));
        }
        Ok(Self { flat: tensor.reshape([count]), dims, is_integer: false })
    }

    pub(super) fn integer(self, is_integer: bool) -> Self {
        Self { is_integer, ..self }
    }

    /// Converts to a tensor of rank `D`, with dimensions of size 1 added in front.
    pub(super) fn ranked<const D: usize>(&self) -> Result<Tensor<D>, Fault> {
        let missing = D.checked_sub(self.dims.len());
        let missing = missing.ok_or_else(|| format!("it has {} dimensions", self.dims.len()))?;
        let mut dims = [1; D];
        dims[missing..].copy_from_slice(&self.dims);
        Ok(self.flat.clone().reshape(dims))
    }

    pub(super) fn image(&self) -> Result<Tensor<4>, Fault> {
        match self.dims.len() {
            4 => self.ranked(),
            rank => Err(format!("its input has {rank} dimensions, not 4")),
        }
    }

    pub(super) fn map(&self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        Self { flat: f(self.flat.clone()), ..self.clone() }
    }

    pub(super) fn numbers(&self) -> Vec<f64> {
        self.flat.to_data().iter::<f64>().collect()
    }
}

/// Returns the value of a tensor of four dimensions.
pub(super) fn image(tensor: Tensor<4>) -> Result<Value, Fault> {
    let dims = tensor.dims().to_vec();
    Value::of(tensor, dims)
}

pub(super) fn check(dims: &[usize]) -> Result<(), Fault> {
    let count = dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim));
    match count {
        Some(count) if count <= LARGEST => Ok(()),
        _ => Err(format!("it gives the size {dims:?}, too large to check")),
    }
}

pub(super) fn axis(index: i64, rank: usize) -> Result<usize, Fault> {
    let axis = graph::axis(index, rank).filter(|&axis| axis < rank);
    axis.ok_or_else(|| format!("the dimension {index} of {rank}"))
}

/// Returns the broadcast dimensions of two values.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], index: usize| {
        (index + dims.len()).checked_sub(rank).map_or(1, |index| dims[index])
    };
    let dims = (0..rank)
        .map(|index| match (dim(a, index), dim(b, index)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => Err(format!("{a:?} with {b:?}")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    check(&dims)?;
    Ok(dims)
}

pub(super) fn arithmetic(operator: &str, a: &Value, b: &Value) -> Result<Value, Fault> {
    let dims = broadcast(&a.dims, &b.dims)?;
    let is_integer = a.is_integer && b.is_integer;
    // Backends are optimized for four dimensions.
    let value = if dims.len() <= 4 {
        Value::of(combine(operator, a.ranked::<4>()?, b.ranked::<4>()?), dims)?
    } else {
        Value::of(combine(operator, a.ranked::<RANK>()?, b.ranked::<RANK>()?), dims)?
    };
    let value = if is_integer && operator == "Div" { value.map(Tensor::trunc) } else { value };
    Ok(value.integer(is_integer))
}

fn combine<const D: usize>(operator: &str, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match operator {
        "Add" | "Sum" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Pow" => a.powf(b),
        "Min" => a.min_pair(b),
        "Max" => a.max_pair(b),
        _ => a.equal(b).float(),
    }
}

/// Returns the numbers of `a` where `condition` is not 0, and those of `b` elsewhere.
pub(super) fn choose(condition: &Value, a: &Value, b: &Value) -> Result<Value, Fault> {
    let dims = broadcast(&broadcast(&condition.dims, &a.dims)?, &b.dims)?;
    let mut shape = [1; RANK];
    shape[RANK - dims.len()..].copy_from_slice(&dims);
    let is_not = condition.ranked::<RANK>()?.equal_elem(0.0).expand(shape);
    let [a, b] = [a.ranked::<RANK>()?, b.ranked::<RANK>()?].map(|x| x.expand(shape));
    Value::of(a.mask_where(is_not, b), dims)
}
