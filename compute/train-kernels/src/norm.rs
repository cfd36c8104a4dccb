//! BatchNorm with the activation after it.
//!
//! Each channel is a task. Its numbers are read from memory once: they stay in the L2 cache between
//! mean, variance and output, and between the sums and the result of a gradient.

use rayon::prelude::*;

use zoo_simd::Activation;

use crate::activation::{for_each_kind, slope, value};
use crate::scratch::zeros;
use crate::vectorized::{total, vectorized};
use zoo_simd::LANES;

/// The statistics and parameters that normalize a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channel {
    pub(crate) mean: f32,
    pub(crate) variance: f32,
    inverse_deviation: f32,
    gamma: f32,
    beta: f32,
}

impl Channel {
    pub(crate) fn new([mean, variance]: [f32; 2], [gamma, beta]: [f32; 2], epsilon: f64) -> Self {
        let inverse_deviation = 1.0 / (f64::from(variance) + epsilon).sqrt();
        Self { mean, variance, inverse_deviation: inverse_deviation as f32, gamma, beta }
    }

    /// Returns mean, factor and summand: the output is `(x - mean) · factor + summand`. The mean is
    /// subtracted first, because a summand that includes it would lose precision far from 0.
    fn line(&self) -> [f32; 3] {
        [self.mean, self.gamma * self.inverse_deviation, self.beta]
    }
}

/// The number of channels of an image, and of positions of a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) channels: usize,
    pub(crate) positions: usize,
}

impl Shape {
    fn planes<'a>(&self, x: &'a [f32], channel: usize) -> impl Iterator<Item = &'a [f32]> {
        x.chunks_exact(self.positions).skip(channel).step_by(self.channels)
    }

    /// Returns the planes of each channel.
    fn by_channel<'a>(&self, x: &'a mut [f32]) -> Vec<Vec<&'a mut [f32]>> {
        let mut channels: Vec<_> = (0..self.channels).map(|_| Vec::new()).collect();
        for (plane, x) in x.chunks_exact_mut(self.positions).enumerate() {
            channels[plane % self.channels].push(x);
        }
        channels
    }
}

vectorized! {
    /// Computes `Σ (x - mean)ⁿ` for n = 1 and n = 2.
    fn moments(x: &[f32], mean: f32) -> [f64; 2] {
        let mut sums = [[0.0_f32; 2 * LANES]; 2];
        let (chunks, rest) = x.as_chunks::<{ 2 * LANES }>();
        for chunk in chunks {
            for i in 0..2 * LANES {
                let x = chunk[i] - mean;
                sums[0][i] += x;
                sums[1][i] += x * x;
            }
        }
        let mut totals = sums.map(|sums| f64::from(total(sums)));
        for x in rest {
            let x = x - mean;
            totals[0] += f64::from(x);
            totals[1] += f64::from(x * x);
        }
        totals
    }
}

vectorized! {
    fn apply(activation: Activation, x: &[f32], line: [f32; 3], out: &mut [f32]) {
        for_each_kind!(activation => for (out, x) in out.iter_mut().zip(x) {
            *out = value(activation, (x - line[0]) * line[1] + line[2]);
        })
    }
}

vectorized! {
    /// Multiplies the gradient by the activation's slope; returns `Σ g` and `Σ g · (x - mean)`.
    fn sums(
        activation: Activation, x: &[f32], line: [f32; 3], grad: &mut [f32],
    ) -> [f64; 2] {
        for_each_kind!(activation => {
            let mut sums = [[0.0_f32; 2 * LANES]; 2];
            let (chunks, rest) = x.as_chunks::<{ 2 * LANES }>();
            let (grads, grads_rest) = grad.as_chunks_mut::<{ 2 * LANES }>();
            for (chunk, grad) in chunks.iter().zip(grads) {
                for i in 0..2 * LANES {
                    let x = chunk[i] - line[0];
                    let g = grad[i] * slope(activation, x * line[1] + line[2]);
                    grad[i] = g;
                    sums[0][i] += g;
                    sums[1][i] += g * x;
                }
            }
            let mut totals = sums.map(|sums| f64::from(total(sums)));
            for (x, grad) in rest.iter().zip(grads_rest) {
                let x = x - line[0];
                *grad *= slope(activation, x * line[1] + line[2]);
                totals[0] += f64::from(*grad);
                totals[1] += f64::from(*grad * x);
            }
            totals
        })
    }
}

vectorized! {
    /// Computes `grad · line[0] + x · line[1] + line[2]` in place.
    fn combine(x: &[f32], line: [f32; 3], grad: &mut [f32]) {
        for (grad, x) in grad.iter_mut().zip(x) {
            *grad = *grad * line[0] + (x * line[1] + line[2]);
        }
    }
}

/// Computes the mean and the biased variance of a channel.
pub(crate) fn statistics(shape: Shape, x: &[f32], channel: usize) -> [f32; 2] {
    let count = (x.len() / shape.channels) as f64;
    let total =
        |mean: f32| shape.planes(x, channel).map(|plane| moments(plane, mean)).fold([0.0; 2], add);
    let mean = (total(0.0)[0] / count) as f32;
    [mean, (total(mean)[1] / count) as f32]
}

fn add([a, b]: [f64; 2], [c, d]: [f64; 2]) -> [f64; 2] {
    [a + c, b + d]
}

/// Applies BatchNorm and an activation; also returns the channels for [`backward`].
pub(crate) fn forward(
    shape: Shape,
    x: &[f32],
    channel: impl Fn(usize) -> Channel + Sync,
    activation: Activation,
) -> (Vec<f32>, Vec<Channel>) {
    let mut out = zeros(x.len());
    let planes = shape.by_channel(&mut out).into_par_iter().enumerate();
    let channels = planes.map(|(index, out)| {
        let channel = channel(index);
        let line = channel.line();
        for (x, out) in shape.planes(x, index).zip(out) {
            apply(activation, x, line, out);
        }
        channel
    });
    let channels = channels.collect();
    (out, channels)
}

/// Replaces the output's gradient by the input's; returns the gradients of gamma and beta.
///
/// `is_batch` is true if the channels' statistics are those of `x`.
pub(crate) fn backward(
    shape: Shape,
    x: &[f32],
    channels: &[Channel],
    activation: Activation,
    is_batch: bool,
    grad: &mut [f32],
) -> [Vec<f32>; 2] {
    let count = (x.len() / shape.channels) as f64;
    let planes = shape.by_channel(grad);
    planes
        .into_par_iter()
        .enumerate()
        .map(|(index, mut grads)| {
            let channel = &channels[index];
            let line = channel.line();
            let mut totals = [0.0; 2];
            for (x, grad) in shape.planes(x, index).zip(&mut grads) {
                totals = add(totals, sums(activation, x, line, grad));
            }
            let inverse_deviation = f64::from(channel.inverse_deviation);
            let (beta, gamma) = (totals[0], totals[1] * inverse_deviation);
            // g' = γ/σ · (g - mean(g) - x̂ · mean(g · x̂)), as a line in g and x.
            let scale = f64::from(line[1]);
            let slope = match is_batch {
                true => -scale * inverse_deviation * gamma / count,
                false => 0.0,
            };
            let offset = match is_batch {
                true => -scale * beta / count - slope * f64::from(line[0]),
                false => 0.0,
            };
            for (x, grad) in shape.planes(x, index).zip(&mut grads) {
                combine(x, [scale as f32, slope as f32, offset as f32], grad);
            }
            (gamma as f32, beta as f32)
        })
        .collect::<(Vec<_>, Vec<_>)>()
        .into()
}
