use crate::LANES;

/// What a number and a vector of numbers can do.
///
/// # Safety
///
/// Every method needs a machine with the instructions of the implementation. Only a
/// [`Kernel`](crate::Kernel) calls those of a vector, since it is compiled for these instructions.
#[expect(clippy::missing_safety_doc, reason = "the trait's own section is that of each method")]
pub trait Number: Copy {
    /// This number in all places.
    unsafe fn splat(x: f32) -> Self;
    /// `self + other`
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`
    unsafe fn sub(self, other: Self) -> Self;
    /// `self · other`
    unsafe fn mul(self, other: Self) -> Self;
    /// `self / other`
    unsafe fn div(self, other: Self) -> Self;
    /// The larger one; a NaN of `self` stays one.
    unsafe fn max(self, other: Self) -> Self;
    /// The smaller one; a NaN of `self` stays one.
    unsafe fn min(self, other: Self) -> Self;
    /// `self · factor + summand`; rounded once where there is an instruction for it, else twice.
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// The nearest whole number `n` and `2ⁿ`, of numbers in `[-126, 127]`.
    unsafe fn round_exp2(self) -> (Self, Self);
}

/// 16 numbers, in as many registers as they take.
#[expect(clippy::missing_safety_doc, reason = "the trait's own section is that of each method")]
pub trait Lanes: Number {
    /// Reads 16 numbers.
    ///
    /// # Safety
    ///
    /// As of [`Number`]; and `from` is valid for reading 16 numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes 16 numbers.
    ///
    /// # Safety
    ///
    /// As of [`Number`]; and `to` is valid for writing 16 numbers.
    unsafe fn store(self, to: *mut f32);
    /// The larger one; a NaN of either stays one.
    unsafe fn largest(self, other: Self) -> Self;
}

/// For loops over plain numbers, of which the compiler makes vectors.
impl Number for f32 {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        x
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self * other
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self / other
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        if self <= other { other } else { self }
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        if self >= other { other } else { self }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // Without the instruction a fused operation is a call of a library.
        self * factor + summand
    }

    #[inline(always)]
    unsafe fn round_exp2(self) -> (Self, Self) {
        let rounded = self + ROUND;
        let bits = (rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits());
        (rounded - ROUND, f32::from_bits(bits))
    }
}

/// Added to a small number, it leaves the nearest whole number in the last bits.
const ROUND: f32 = 12_582_912.0;

/// For machines that are not known; the compiler makes of it what vectors there are.
impl Number for [f32; LANES] {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; LANES]
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
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // Without the instruction a fused operation is a call of a library.
        std::array::from_fn(|i| self[i] * factor[i] + summand[i])
    }

    #[inline(always)]
    unsafe fn round_exp2(self) -> (Self, Self) {
        let n: Self = std::array::from_fn(|i| self[i].round_ties_even());
        (n, std::array::from_fn(|i| f32::from_bits(((n[i] as i32 + 127) << 23) as u32)))
    }
}

impl Lanes for [f32; LANES] {
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
    unsafe fn largest(self, other: Self) -> Self {
        std::array::from_fn(
            |i| {
                if self[i] > other[i] || self[i].is_nan() { self[i] } else { other[i] }
            },
        )
    }
}
