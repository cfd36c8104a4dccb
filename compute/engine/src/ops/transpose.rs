use super::index::{dot, indices, strides};
use super::{Operator, View};

/// Output dimension `i` is input dimension `axes[i]`.
#[derive(Debug, Clone)]
pub(crate) struct Transpose {
    pub(crate) axes: Vec<usize>,
}

impl Operator for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let (from, x) = inputs[0];
        let strides = strides(from);
        let strides: Vec<usize> = self.axes.iter().map(|&axis| strides[axis]).collect();
        indices(shape).map(|index| x[dot(&index, &strides)]).collect()
    }

    fn is_batch_independent(&self, _shape: &[usize]) -> bool {
        self.axes[0] == 0
    }
}
