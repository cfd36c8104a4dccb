//! Functions of each element.

use crate::Number;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `min(max(x, low), high)`; ReLU has no upper bound.
    Clamp {
        /// The lowest value.
        low: f32,
        /// The highest value.
        high: f32,
    },
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `x · sigmoid(x)`
    Silu,
    /// `min(max(slope · x + offset, 0), 1)`
    HardSigmoid {
        /// The factor of `x`.
        slope: f32,
        /// The value at 0.
        offset: f32,
    },
    /// `x · min(max(slope · x + offset, 0), 1)`
    HardSwish {
        /// The factor of `x` in the gate.
        slope: f32,
        /// The gate's value at 0.
        offset: f32,
    },
    /// `(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`
    Tanh,
}

impl Activation {
    /// `max(x, 0)`
    pub const RELU: Self = Self::Clamp { low: 0.0, high: f32::INFINITY };
    /// `min(max(x, 0), 6)`
    pub const RELU6: Self = Self::Clamp { low: 0.0, high: 6.0 };
    /// `relu6(x + 3) / 6`, as in PyTorch.
    pub const HARD_SIGMOID: Self = Self::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 };
    /// `x · relu6(x + 3) / 6`, as in PyTorch.
    pub const HARD_SWISH: Self = Self::HardSwish { slope: 1.0 / 6.0, offset: 0.5 };

    /// Applies the function. The result for NaN is NaN.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`.
    #[inline(always)]
    pub unsafe fn apply<V: Number>(self, x: V) -> V {
        // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
        unsafe {
            match self {
                Self::Identity => x,
                Self::Clamp { low, high } => x.max(V::splat(low)).min(V::splat(high)),
                Self::Sigmoid => sigmoid(x),
                Self::Silu => x.mul(sigmoid(x)),
                Self::HardSigmoid { slope, offset } => gate(x, slope, offset),
                Self::HardSwish { slope, offset } => x.mul(gate(x, slope, offset)),
                Self::Tanh => tanh(x),
            }
        }
    }
}

/// Computes `min(max(slope · x + offset, 0), 1)`.
///
/// # Safety
///
/// The CPU supports the instruction set of `V`.
#[inline(always)]
unsafe fn gate<V: Number>(x: V, slope: f32, offset: f32) -> V {
    // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
    unsafe {
        let line = x.mul_add(V::splat(slope), V::splat(offset));
        line.max(V::splat(0.0)).min(V::splat(1.0))
    }
}

/// Computes `e^x` with an error of about two units in the last place, as Cephes' `expf` does.
///
/// # Safety
///
/// The CPU supports the instruction set of `V`.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "the published constants")]
pub unsafe fn exp<V: Number>(x: V) -> V {
    // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
    unsafe {
        let x = x.max(V::splat(-87.0)).min(V::splat(88.0));
        let (n, exp2) = x.mul(V::splat(std::f32::consts::LOG2_E)).round_exp2();
        let r = n.mul_add(V::splat(-0.693_359_375), x);
        let r = n.mul_add(V::splat(2.121_944_4e-4), r);
        let mut p = V::splat(1.987_569_150_0e-4);
        for c in [
            1.398_199_950_7e-3,
            8.333_451_907_3e-3,
            4.166_579_589_4e-2,
            1.666_666_545_9e-1,
            5.000_000_120_1e-1,
        ] {
            p = p.mul_add(r, V::splat(c));
        }
        let p = p.mul_add(r.mul(r), r).add(V::splat(1.0));
        p.mul(exp2)
    }
}

/// Computes `1 / (1 + e⁻ˣ)`.
///
/// # Safety
///
/// The CPU supports the instruction set of `V`.
#[inline(always)]
pub unsafe fn sigmoid<V: Number>(x: V) -> V {
    // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
    unsafe {
        let e = exp(V::splat(0.0).sub(x));
        V::splat(1.0).div(V::splat(1.0).add(e))
    }
}

/// Computes the hyperbolic tangent as `2 · sigmoid(2x) - 1`.
///
/// # Safety
///
/// The CPU supports the instruction set of `V`.
#[inline(always)]
pub unsafe fn tanh<V: Number>(x: V) -> V {
    // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
    unsafe { sigmoid(x.add(x)).mul_add(V::splat(2.0), V::splat(-1.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Kernel, LANES, Lanes};

    #[test]
    fn exp_agrees_with_the_standard_library() {
        struct Exp([f32; LANES]);
        impl Kernel for Exp {
            type Output = [f32; LANES];

            #[inline(always)]
            unsafe fn run<V: Lanes>(&self) -> [f32; LANES] {
                let mut out = [0.0; LANES];
                // SAFETY: both arrays have 16 numbers.
                unsafe { exp(V::load(self.0.as_ptr())).store(out.as_mut_ptr()) };
                out
            }
        }
        for i in -800..800 {
            let x = i as f32 * 0.1;
            let expected = x.exp();
            let is_close = |got: f32| (got - expected).abs() <= 3e-7 * expected;
            for isa in Isa::available() {
                // SAFETY: the CPU supports `isa`.
                let got = unsafe { isa.run(&Exp([x; LANES])) }[0];
                assert!(is_close(got), "{}: e^{x} = {got}", isa.name());
            }
            // SAFETY: every CPU supports operations on `f32`.
            let got = unsafe { exp(x) };
            assert!(is_close(got), "e^{x} = {got}");
        }
    }
}
