use super::{Operator, View};

/// `scale · x + offset`. A pass converts it to an [`Affine`](super::affine::Affine).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar {
    pub(crate) scale: f32,
    pub(crate) offset: f32,
}

impl Scalar {
    /// Converts a captured operation on a tensor and a number.
    pub(super) fn of(binary: zoo_graph::Binary, number: f32) -> Self {
        let (scale, offset) = match binary {
            zoo_graph::Binary::Add => (1.0, number),
            zoo_graph::Binary::Sub => (1.0, -number),
            zoo_graph::Binary::Mul => (number, 0.0),
            zoo_graph::Binary::Div => (1.0 / number, 0.0),
        };
        Self { scale, offset }
    }
}

impl Operator for Scalar {
    fn name(&self) -> &'static str {
        "scalar"
    }

    fn evaluate(&self, inputs: &[View<'_>], _shape: &[usize]) -> Vec<f32> {
        inputs[0].1.iter().map(|x| self.scale * x + self.offset).collect()
    }

    fn is_elementwise(&self) -> bool {
        true
    }
}
