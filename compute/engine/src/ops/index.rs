//! Indices of tensors, for the definitions of operators.

/// Returns all indices of a shape in row-major order.
pub(super) fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let strides = strides(shape);
    (0..shape.iter().product()).map(move |offset: usize| {
        strides.iter().zip(shape).map(|(stride, size)| offset / stride % size).collect()
    })
}

/// Returns the distance between adjacent elements along each dimension.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Returns the strides that read a tensor as if it were broadcast to a larger shape.
pub(super) fn broadcast_strides(from: &[usize], shape: &[usize]) -> Vec<usize> {
    let own = strides(from);
    (0..shape.len()).map(|axis| if from[axis] == 1 { 0 } else { own[axis] }).collect()
}

/// Returns the offset of an index.
pub(super) fn dot(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(i, stride)| i * stride).sum()
}
