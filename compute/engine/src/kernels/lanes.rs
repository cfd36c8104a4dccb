use super::LANES;

/// 16 numbers, in as many registers as they take.
///
/// # Safety
///
/// Every method needs a machine with the instructions of the implementation, which is why they
/// are called by functions only that are compiled for these.
pub(crate) trait Lanes: Copy {
    unsafe fn splat(x: f32) -> Self;
    /// # Safety
    ///
    /// `from` is valid for reading 16 numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    ///
    /// `to` is valid for writing 16 numbers.
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// The larger one; a NaN of `self` stays one.
    unsafe fn max(self, other: Self) -> Self;
    /// The smaller one; a NaN of `self` stays one.
    unsafe fn min(self, other: Self) -> Self;
    /// The larger one; a NaN of either stays one.
    unsafe fn largest(self, other: Self) -> Self;
    /// `self · factor + summand`
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// To the nearest whole number.
    unsafe fn round(self) -> Self;
    /// `2^self` of whole numbers in `[-126, 127]`.
    unsafe fn exp2(self) -> Self;
}

/// `e^x` to about one unit in the last place, as in Cephes' `expf`.
///
/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "as they are published")]
pub(crate) unsafe fn exp<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = x.max(V::splat(-87.0)).min(V::splat(88.0));
        let n = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
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
        p.mul(n.exp2())
    }
}

/// `1 / (1 + e⁻ˣ)`
///
/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn sigmoid<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let e = exp(V::splat(0.0).sub(x));
        V::splat(1.0).div(V::splat(1.0).add(e))
    }
}

/// How many sums [`peak`] adds to in turns.
pub(crate) const PEAK_SUMS: usize = 12;

/// Multiplies and adds in registers as often as is asked for.
///
/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn peak<V: Lanes>(rounds: usize) -> f32 {
    // SAFETY: the caller's promise; a vector is 16 numbers.
    unsafe {
        let factor = V::splat(std::hint::black_box(0.5));
        let mut sums = [V::splat(1.0); PEAK_SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, factor);
            }
        }
        let mut all = sums[0];
        for sum in &sums[1..] {
            all = all.add(*sum);
        }
        let mut out = [0.0; LANES];
        all.store(out.as_mut_ptr());
        out[0]
    }
}

/// For machines that are not known; the compiler makes of it what vectors there are.
impl Lanes for [f32; LANES] {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; LANES]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; an array of floats has their alignment.
        unsafe { from.cast::<Self>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self>().write(self) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] + other[i])
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] - other[i])
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] * other[i])
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] / other[i])
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        std::array::from_fn(|i| if other[i] > self[i] { other[i] } else { self[i] })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        std::array::from_fn(|i| if other[i] < self[i] { other[i] } else { self[i] })
    }

    #[inline(always)]
    unsafe fn largest(self, other: Self) -> Self {
        std::array::from_fn(
            |i| {
                if self[i] > other[i] || self[i].is_nan() { self[i] } else { other[i] }
            },
        )
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // Without the instruction a fused operation is a call of a library.
        std::array::from_fn(|i| self[i] * factor[i] + summand[i])
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        std::array::from_fn(|i| self[i].round_ties_even())
    }

    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        std::array::from_fn(|i| f32::from_bits(((self[i] as i32 + 127) << 23) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_libraries() {
        for i in -800..800 {
            let x = i as f32 * 0.1;
            // SAFETY: every machine has these instructions.
            let got = unsafe { exp([x; LANES]) }[0];
            assert!((got - x.exp()).abs() <= 3e-7 * x.exp(), "e^{x} = {got}");
        }
    }
}
