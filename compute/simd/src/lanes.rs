use crate::LANES;

/// The operations of a number and of a vector of numbers.
///
/// # Safety
///
/// Every method needs a CPU that supports the instruction set of the implementation. Call the
/// methods of vectors only in a [`Kernel`](crate::Kernel), which is compiled for the instruction
/// set.
#[expect(clippy::missing_safety_doc, reason = "the section of the trait holds for each method")]
pub trait Number: Copy {
    /// Returns a vector whose numbers are all `x`.
    unsafe fn splat(x: f32) -> Self;
    /// `self + other`
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`
    unsafe fn sub(self, other: Self) -> Self;
    /// `self · other`
    unsafe fn mul(self, other: Self) -> Self;
    /// `self / other`
    unsafe fn div(self, other: Self) -> Self;
    /// Returns the maximum; if `self` is NaN, the result is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// Returns the minimum; if `self` is NaN, the result is NaN.
    unsafe fn min(self, other: Self) -> Self;
    /// `self · factor + summand`, rounded once if the instruction set has a fused operation,
    /// otherwise twice.
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// Returns the nearest integer `n` and `2ⁿ`, for numbers in `[-126, 127]`.
    unsafe fn round_exp2(self) -> (Self, Self);
}

/// A vector of 16 numbers, in one or several registers.
#[expect(clippy::missing_safety_doc, reason = "the section of the trait holds for each method")]
pub trait Lanes: Number {
    /// Reads 16 numbers.
    ///
    /// # Safety
    ///
    /// As for [`Number`]; and `from` is valid for reading 16 numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes 16 numbers.
    ///
    /// # Safety
    ///
    /// As for [`Number`]; and `to` is valid for writing 16 numbers.
    unsafe fn store(self, to: *mut f32);
    /// Returns the maximum; if `self` or `other` is NaN, the result is NaN.
    unsafe fn largest(self, other: Self) -> Self;
}

/// For loops over plain numbers, which the compiler vectorizes.
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
        // Without a fused instruction `f32::mul_add` calls a library.
        self * factor + summand
    }

    #[inline(always)]
    unsafe fn round_exp2(self) -> (Self, Self) {
        let rounded = self + ROUND;
        let bits = (rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits());
        (rounded - ROUND, f32::from_bits(bits))
    }
}

/// The last bits of `ROUND + x`, for a small `x`, are the nearest integer of `x`.
const ROUND: f32 = 12_582_912.0;

/// For other instruction sets. The compiler vectorizes the loops over the array.
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
        // Without a fused instruction `f32::mul_add` calls a library.
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
        // SAFETY: the caller guarantees that 16 numbers can be read; an array of `f32` has the
        // alignment of `f32`.
        unsafe { from.cast::<Self>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees that 16 numbers can be written.
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
