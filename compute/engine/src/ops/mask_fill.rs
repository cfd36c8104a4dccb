use super::{Inputs, Operator, View};

/// The first input, with elements replaced by this number if the second input is not 0 there.
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
