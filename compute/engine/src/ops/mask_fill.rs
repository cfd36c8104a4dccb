use super::{Inputs, Operator, View};

/// The first input, with a value where the second is not 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskFill(pub(crate) f32);

impl Operator for MaskFill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn evaluate(&self, inputs: &[View<'_>], _shape: &[usize]) -> Vec<f32> {
        let fill = |(&x, &mask): (&f32, &f32)| if mask == 0.0 { x } else { self.0 };
        inputs[0].1.iter().zip(inputs[1].1).map(fill).collect()
    }

    fn inputs(&self) -> Inputs {
        Inputs::Operands
    }
}
