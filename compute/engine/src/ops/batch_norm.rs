use super::affine::Affine;
use super::{Operator, View};

/// BatchNorm with running statistics. Inputs: images, then gamma, beta, mean and variance, `[C]`
/// each. A pass converts it to an [`Affine`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchNorm {
    /// The number that is added to the variance.
    pub(crate) epsilon: f64,
}

impl BatchNorm {
    /// Computes the factor and the offset of each channel, from gamma, beta, mean and variance.
    pub(crate) fn affine(
        &self,
        [gamma, beta, mean, variance]: [&[f32]; 4],
    ) -> (Vec<f32>, Vec<f32>) {
        let factor = |(&gamma, &variance): (&f32, &f32)| {
            (f64::from(gamma) / (f64::from(variance) + self.epsilon).sqrt()) as f32
        };
        let factors: Vec<f32> = gamma.iter().zip(variance).map(factor).collect();
        let offsets = beta.iter().zip(mean.iter().zip(&factors));
        let offsets = offsets.map(|(beta, (mean, factor))| beta - mean * factor).collect();
        (factors, offsets)
    }
}

impl Operator for BatchNorm {
    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let (factors, offsets) = self.affine([1, 2, 3, 4].map(|index| inputs[index].1));
        let channels = [shape[1]];
        Affine::BARE.evaluate(&[inputs[0], (&channels, &factors), (&channels, &offsets)], shape)
    }
}
