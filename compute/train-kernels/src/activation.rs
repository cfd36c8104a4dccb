//! Activations and their derivatives.

use rayon::prelude::*;
use zoo_simd::Activation;

use crate::scratch::zeros;
use crate::vectorized::vectorized;

/// Returns the function's value at `x`.
#[inline(always)]
pub(crate) fn value(activation: Activation, x: f32) -> f32 {
    // SAFETY: every CPU supports operations on `f32`.
    unsafe { activation.apply(x) }
}

/// Returns the function's derivative at `x`. Where it has two values, the result is 0, as in
/// PyTorch.
#[inline(always)]
pub(crate) fn slope(activation: Activation, x: f32) -> f32 {
    // The comparisons are written so that a NaN stays a NaN.
    match activation {
        Activation::Identity => 1.0,
        Activation::Clamp { low, high } => {
            let slope = if x <= low { 0.0 } else { 1.0 };
            if x >= high { 0.0 } else { slope }
        }
        Activation::Sigmoid => {
            let sigmoid = value(Activation::Sigmoid, x);
            sigmoid * (1.0 - sigmoid)
        }
        Activation::Silu => {
            let sigmoid = value(Activation::Sigmoid, x);
            sigmoid * (1.0 + x * (1.0 - sigmoid))
        }
        Activation::HardSigmoid { slope: steepness, offset } => {
            let line = steepness * x + offset;
            let slope = if line <= 0.0 { 0.0 } else { steepness };
            if line >= 1.0 { 0.0 } else { slope }
        }
        Activation::HardSwish { slope: steepness, offset } => {
            let line = steepness * x + offset;
            let slope = if line <= 0.0 { 0.0 } else { line + steepness * x };
            if line >= 1.0 { 1.0 } else { slope }
        }
        Activation::Tanh => {
            let tanh = value(Activation::Tanh, x);
            1.0 - tanh * tanh
        }
    }
}

/// Repeats an expression for each kind of activation, so that its loops contain no branch on the
/// kind.
macro_rules! for_each_kind {
    ($activation:ident => $loops:expr) => {
        match $activation {
            zoo_simd::Activation::Identity => {
                let $activation = zoo_simd::Activation::Identity;
                $loops
            }
            zoo_simd::Activation::Clamp { low, high } => {
                let $activation = zoo_simd::Activation::Clamp { low, high };
                $loops
            }
            zoo_simd::Activation::Sigmoid => {
                let $activation = zoo_simd::Activation::Sigmoid;
                $loops
            }
            zoo_simd::Activation::Silu => {
                let $activation = zoo_simd::Activation::Silu;
                $loops
            }
            zoo_simd::Activation::HardSigmoid { slope, offset } => {
                let $activation = zoo_simd::Activation::HardSigmoid { slope, offset };
                $loops
            }
            zoo_simd::Activation::HardSwish { slope, offset } => {
                let $activation = zoo_simd::Activation::HardSwish { slope, offset };
                $loops
            }
            zoo_simd::Activation::Tanh => {
                let $activation = zoo_simd::Activation::Tanh;
                $loops
            }
        }
    };
}
pub(crate) use for_each_kind;

/// Number of elements that a thread takes at once.
const CHUNK: usize = 1 << 14;

vectorized! {
    fn values(activation: Activation, x: &[f32], out: &mut [f32]) {
        for_each_kind!(activation => for (out, x) in out.iter_mut().zip(x) {
            *out = value(activation, *x);
        })
    }
}

vectorized! {
    fn values_of_sums(activation: Activation, x: &[f32], y: &[f32], out: &mut [f32]) {
        for_each_kind!(activation => for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
            *out = value(activation, x + y);
        })
    }
}

vectorized! {
    fn slopes(activation: Activation, x: &[f32], grad: &mut [f32]) {
        for_each_kind!(activation => for (grad, x) in grad.iter_mut().zip(x) {
            *grad *= slope(activation, *x);
        })
    }
}

/// Applies an activation.
pub(crate) fn forward(activation: Activation, x: &[f32]) -> Vec<f32> {
    let mut out = zeros(x.len());
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
        values(activation, x, out);
    });
    out
}

/// Applies an activation to a sum.
pub(crate) fn forward_sum(activation: Activation, x: &[f32], y: &[f32]) -> Vec<f32> {
    let mut out = zeros(x.len());
    let summands = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK));
    out.par_chunks_mut(CHUNK).zip(summands).for_each(|(out, (x, y))| {
        values_of_sums(activation, x, y, out);
    });
    out
}

/// Replaces the output's gradient by the input's.
pub(crate) fn backward(activation: Activation, x: &[f32], grad: &mut [f32]) {
    grad.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(grad, x)| {
        slopes(activation, x, grad);
    });
}

vectorized! {
    fn add_all(sums: &mut [f32], numbers: &[f32]) {
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
}

/// Adds `numbers` to `sums`.
pub(crate) fn add(sums: &mut [f32], numbers: &[f32]) {
    let chunks = sums.par_chunks_mut(CHUNK).zip(numbers.par_chunks(CHUNK));
    chunks.for_each(|(sums, numbers)| add_all(sums, numbers));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(activation: Activation, expected: impl Fn(f64) -> f64) {
        for i in -999..999 {
            // These points are not at the kinks of the functions.
            let x = f64::from(i as f32 * 0.01 + 0.005);
            let got = f64::from(value(activation, x as f32));
            assert!((got - expected(x)).abs() < 1e-6 * (1.0 + x.abs()), "value {got} at {x}");
            let got = f64::from(slope(activation, x as f32));
            let expected = (expected(x + 1e-4) - expected(x - 1e-4)) / 2e-4;
            assert!((got - expected).abs() < 1e-5, "slope {got} at {x}");
        }
        assert!(value(activation, f32::NAN).is_nan());
    }

    #[test]
    fn values_and_slopes_match_the_definitions() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        check(Activation::Identity, |x| x);
        check(Activation::RELU, |x| x.max(0.0));
        check(Activation::Clamp { low: 0.0, high: 1.0 }, |x| x.clamp(0.0, 1.0));
        check(Activation::RELU6, |x| x.clamp(0.0, 6.0));
        check(Activation::Silu, |x| x * sigmoid(x));
        check(Activation::HARD_SWISH, |x| x * ((x + 3.0) / 6.0).clamp(0.0, 1.0));
        check(Activation::Sigmoid, sigmoid);
        check(Activation::HARD_SIGMOID, |x| ((x + 3.0) / 6.0).clamp(0.0, 1.0));
        check(Activation::Tanh, f64::tanh);
    }
}
