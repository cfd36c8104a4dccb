//! Functions of each element and their slopes.

use rayon::prelude::*;

use crate::scratch::zeros;
use crate::vectorized::vectorized;

/// A function applied to each element, with PyTorch's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 1)`
    Relu1,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x · sigmoid(x)`
    Silu,
    /// `x · relu6(x + 3) / 6`
    HardSwish,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `relu6(x + 3) / 6`
    HardSigmoid,
    /// `(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`
    Tanh,
}

/// A function and its derivative. Where that has two values, it is 0, as in PyTorch.
pub(crate) trait Function {
    fn value(x: f32) -> f32;
    fn slope(x: f32) -> f32;
}

pub(crate) struct Identity;
pub(crate) struct Relu;
/// `min(max(x, 0), N)`
pub(crate) struct Clamp<const N: u8>;
pub(crate) struct Silu;
pub(crate) struct HardSwish;
pub(crate) struct Sigmoid;
pub(crate) struct HardSigmoid;
pub(crate) struct Tanh;

impl Function for Identity {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn slope(_: f32) -> f32 {
        1.0
    }
}

// Comparisons are such that a NaN stays a NaN.
impl Function for Relu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { 1.0 }
    }
}

impl<const N: u8> Function for Clamp<N> {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        let x = if x <= 0.0 { 0.0 } else { x };
        if x >= f32::from(N) { f32::from(N) } else { x }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let slope = if x <= 0.0 { 0.0 } else { 1.0 };
        if x >= f32::from(N) { 0.0 } else { slope }
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * Sigmoid::value(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let sigmoid = Sigmoid::value(x);
        sigmoid * (1.0 + x * (1.0 - sigmoid))
    }
}

impl Function for HardSwish {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * HardSigmoid::value(x)
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let slope = if x <= -3.0 { 0.0 } else { x / 3.0 + 0.5 };
        if x >= 3.0 { 1.0 } else { slope }
    }
}

impl Function for Sigmoid {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        // SAFETY: `f32` needs no special instructions.
        unsafe { zoo_simd::sigmoid(x) }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let sigmoid = Self::value(x);
        sigmoid * (1.0 - sigmoid)
    }
}

impl Function for HardSigmoid {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        Clamp::<6>::value(x + 3.0) / 6.0
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        Clamp::<6>::slope(x + 3.0) / 6.0
    }
}

impl Function for Tanh {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        // SAFETY: `f32` needs no special instructions.
        unsafe { zoo_simd::tanh(x) }
    }

    #[inline(always)]
    fn slope(x: f32) -> f32 {
        let value = Self::value(x);
        1.0 - value * value
    }
}

/// Calls a function that is compiled for each activation.
macro_rules! with_function {
    ($activation:expr, $call:ident($($argument:expr),* $(,)?)) => {{
        use $crate::activation::{self as a, Activation};
        match $activation {
            Activation::Identity => $call::<a::Identity>($($argument),*),
            Activation::Relu => $call::<a::Relu>($($argument),*),
            Activation::Relu1 => $call::<a::Clamp<1>>($($argument),*),
            Activation::Relu6 => $call::<a::Clamp<6>>($($argument),*),
            Activation::Silu => $call::<a::Silu>($($argument),*),
            Activation::HardSwish => $call::<a::HardSwish>($($argument),*),
            Activation::Sigmoid => $call::<a::Sigmoid>($($argument),*),
            Activation::HardSigmoid => $call::<a::HardSigmoid>($($argument),*),
            Activation::Tanh => $call::<a::Tanh>($($argument),*),
        }
    }};
}
pub(crate) use with_function;

/// Numbers that a thread takes at once.
const CHUNK: usize = 1 << 14;

vectorized! {
    fn values<F: Function>(x: &[f32], out: &mut [f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = F::value(*x);
        }
    }
}

vectorized! {
    fn values_of_sums<F: Function>(x: &[f32], y: &[f32], out: &mut [f32]) {
        for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
            *out = F::value(x + y);
        }
    }
}

vectorized! {
    fn slopes<F: Function>(x: &[f32], grad: &mut [f32]) {
        for (grad, x) in grad.iter_mut().zip(x) {
            *grad *= F::slope(*x);
        }
    }
}

/// Applies the function.
pub(crate) fn forward(activation: Activation, x: &[f32]) -> Vec<f32> {
    let mut out = zeros(x.len());
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
        with_function!(activation, values(x, out));
    });
    out
}

/// Applies the function to a sum.
pub(crate) fn forward_sum(activation: Activation, x: &[f32], y: &[f32]) -> Vec<f32> {
    let mut out = zeros(x.len());
    let summands = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK));
    out.par_chunks_mut(CHUNK).zip(summands).for_each(|(out, (x, y))| {
        with_function!(activation, values_of_sums(x, y, out));
    });
    out
}

/// Makes the output's gradient the input's.
pub(crate) fn backward(activation: Activation, x: &[f32], grad: &mut [f32]) {
    grad.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(grad, x)| {
        with_function!(activation, slopes(x, grad));
    });
}

vectorized! {
    fn add_all(sums: &mut [f32], numbers: &[f32]) {
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
}

/// Adds numbers to others.
pub(crate) fn add(sums: &mut [f32], numbers: &[f32]) {
    let chunks = sums.par_chunks_mut(CHUNK).zip(numbers.par_chunks(CHUNK));
    chunks.for_each(|(sums, numbers)| add_all(sums, numbers));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<F: Function>(expected: impl Fn(f64) -> f64) {
        for i in -999..999 {
            // Between the corners of the functions.
            let x = f64::from(i as f32 * 0.01 + 0.005);
            let value = f64::from(F::value(x as f32));
            assert!((value - expected(x)).abs() < 1e-6 * (1.0 + x.abs()), "value {value} at {x}");
            let slope = (expected(x + 1e-4) - expected(x - 1e-4)) / 2e-4;
            assert!((f64::from(F::slope(x as f32)) - slope).abs() < 1e-5, "slope at {x}");
        }
        assert!(F::value(f32::NAN).is_nan());
    }

    #[test]
    fn values_and_slopes_are_the_functions() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        check::<Identity>(|x| x);
        check::<Relu>(|x| x.max(0.0));
        check::<Clamp<1>>(|x| x.clamp(0.0, 1.0));
        check::<Clamp<6>>(|x| x.clamp(0.0, 6.0));
        check::<Silu>(|x| x * sigmoid(x));
        check::<HardSwish>(|x| x * ((x + 3.0) / 6.0).clamp(0.0, 1.0));
        check::<Sigmoid>(sigmoid);
        check::<HardSigmoid>(|x| ((x + 3.0) / 6.0).clamp(0.0, 1.0));
        check::<Tanh>(f64::tanh);
    }
}
