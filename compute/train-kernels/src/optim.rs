//! Optimizer updates, in one loop over the weights.

use rayon::prelude::*;

use crate::vectorized::{total, vectorized};
use zoo_simd::LANES;

/// One update of weights `w` with a gradient `g`, as Burn's optimizers compute it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The optimizer's rule.
    pub rule: Rule,
    /// The learning rate.
    pub rate: f64,
    /// Weight decay that is added to the gradient: `g ← g + decay · w`.
    pub decay: f32,
    /// Decoupled weight decay: `w ← w - rate · decoupled_decay · w`.
    pub decoupled_decay: f32,
    /// The number of this update of the weights, from 1.
    pub time: usize,
}

/// The update rule of an optimizer. Moments are 0 before the first update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// SGD with Nesterov's momentum: `v ← μ·v + g`, `w ← w - rate·(g + μ·v)`.
    Nesterov {
        /// `μ`
        momentum: f32,
    },
    /// Adam: `m ← β₁·m + (1 - β₁)·g`, `v ← β₂·v + (1 - β₂)·g²`,
    /// `w ← w - rate · m̂ / (√v̂ + ε)`.
    Adam {
        /// `β₁` and `β₂`
        betas: [f32; 2],
        /// `ε`
        epsilon: f32,
    },
    /// RMSprop: `v ← α·v + (1 - α)·g²`, `b ← μ·b + g / (√v + ε)`, `w ← w - rate·b`.
    RmsProp {
        /// `α`
        alpha: f32,
        /// `μ`
        momentum: f32,
        /// `ε`
        epsilon: f32,
    },
}

impl Rule {
    /// Returns the number of moments that it keeps for each weight.
    pub fn moments(&self) -> usize {
        match self {
            Self::Nesterov { .. } => 1,
            Self::Adam { .. } | Self::RmsProp { .. } => 2,
        }
    }
}

vectorized! {
    fn nesterov(w: &mut [f32], g: &[f32], v: &mut [f32], decay: [f32; 2], rate: f32, momentum: f32) {
        for ((w, g), v) in w.iter_mut().zip(g).zip(v) {
            let g = g + decay[0] * *w;
            *v = momentum * *v + g;
            *w = *w * decay[1] - rate * (g + momentum * *v);
        }
    }
}

vectorized! {
    /// `unbias` holds the factors of `m` (with the learning rate) and of `√v`.
    fn adam(
        w: &mut [f32],
        g: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        decay: [f32; 2],
        betas: [f32; 2],
        unbias: [f32; 2],
        epsilon: f32,
    ) {
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g + decay[0] * *w;
            *m = betas[0] * *m + (1.0 - betas[0]) * g;
            *v = betas[1] * *v + (1.0 - betas[1]) * (g * g);
            *w = *w * decay[1] - *m * unbias[0] / (v.sqrt() * unbias[1] + epsilon);
        }
    }
}

vectorized! {
    fn rms_prop(
        w: &mut [f32],
        g: &[f32],
        v: &mut [f32],
        b: &mut [f32],
        decay: [f32; 2],
        rate: f32,
        factors: [f32; 2],
        epsilon: f32,
    ) {
        for (((w, g), v), b) in w.iter_mut().zip(g).zip(v).zip(b) {
            let g = g + decay[0] * *w;
            *v = factors[0] * *v + (1.0 - factors[0]) * (g * g);
            *b = factors[1] * *b + g / (v.sqrt() + epsilon);
            *w = *w * decay[1] - rate * *b;
        }
    }
}

vectorized! {
    /// Computes `Σ x²`.
    fn squares(x: &[f32]) -> f64 {
        let mut sums = [0.0_f32; 2 * LANES];
        let (chunks, rest) = x.as_chunks::<{ 2 * LANES }>();
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x * x);
        }
        f64::from(total(sums)) + rest.iter().map(|x| f64::from(x * x)).sum::<f64>()
    }
}

/// Number of elements that a thread takes at once.
const CHUNK: usize = 1 << 14;

/// Updates the weights and the moments. `second` is empty if the rule keeps one moment.
pub(crate) fn take(
    step: &Step,
    weights: &mut [f32],
    grad: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let decay = [step.decay, (1.0 - step.rate * f64::from(step.decoupled_decay)) as f32];
    let rate = step.rate as f32;
    let chunks = weights.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
    let chunks = chunks.zip(first.par_chunks_mut(CHUNK));
    match step.rule {
        Rule::Nesterov { momentum } => chunks.for_each(|((w, g), v)| {
            nesterov(w, g, v, decay, rate, momentum);
        }),
        Rule::Adam { betas, epsilon } => {
            let rest = betas.map(|beta| 1.0 - f64::from(beta).powf(step.time as f64));
            let unbias = [(step.rate / rest[0]) as f32, (1.0 / rest[1].sqrt()) as f32];
            chunks.zip(second.par_chunks_mut(CHUNK)).for_each(|(((w, g), m), v)| {
                adam(w, g, m, v, decay, betas, unbias, epsilon);
            });
        }
        Rule::RmsProp { alpha, momentum, epsilon } => {
            let factors = [alpha, momentum];
            chunks.zip(second.par_chunks_mut(CHUNK)).for_each(|(((w, g), v), b)| {
                rms_prop(w, g, v, b, decay, rate, factors, epsilon);
            });
        }
    }
}

/// Computes `Σ x²`, with the same result for any number of threads.
pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
    x.par_chunks(CHUNK).map(squares).collect::<Vec<_>>().iter().sum()
}

/// Multiplies all numbers.
pub(crate) fn multiply(x: &mut [f32], factor: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| x.iter_mut().for_each(|x| *x *= factor));
}
