use super::{Operator, View};

/// 1 if an element equals this number, otherwise 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Equals(pub(crate) f32);

impl Operator for Equals {
    fn name(&self) -> &'static str {
        "equals"
    }

    fn evaluate(&self, inputs: &[View<'_>], _shape: &[usize]) -> Vec<f32> {
        inputs[0].1.iter().map(|&x| f32::from(x == self.0)).collect()
    }
}
