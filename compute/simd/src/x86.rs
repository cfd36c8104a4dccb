use std::arch::x86_64::*;

use crate::{Kernel, Lanes, Number};

/// Runs a kernel with AVX-512.
///
/// # Safety
///
/// The CPU supports AVX-512; and as for [`Kernel::run`].
#[target_feature(enable = "avx512f,avx512dq,fma")]
pub(crate) unsafe fn avx512<K: Kernel>(kernel: &K) -> K::Output {
    // SAFETY: the caller guarantees that the CPU supports AVX-512 and that the kernel's pointers
    // are valid.
    unsafe { kernel.run::<__m512>() }
}

/// Runs a kernel with AVX2.
///
/// # Safety
///
/// The CPU supports AVX2 and FMA; and as for [`Kernel::run`].
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn avx2<K: Kernel>(kernel: &K) -> K::Output {
    // SAFETY: the caller guarantees that the CPU supports AVX2 and FMA, and that the kernel's
    // pointers are valid.
    unsafe { kernel.run::<[__m256; 2]>() }
}

impl Number for __m512 {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller of each method guarantees that the CPU supports AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_div_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: see above. If an operand is NaN, the instruction returns the second operand.
        unsafe { _mm512_max_ps(other, self) }
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(other, self) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(self, factor, summand) }
    }

    #[inline(always)]
    unsafe fn round_exp2(self) -> (Self, Self) {
        // SAFETY: see above.
        unsafe {
            let n = _mm512_roundscale_ps::<0>(self);
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            (n, _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
        }
    }
}

impl Lanes for __m512 {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above; the caller guarantees that 16 numbers can be read.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above; the caller guarantees that 16 numbers can be written.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn largest(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(other, other);
            _mm512_mask_mov_ps(self.max(other), is_nan, other)
        }
    }
}

/// Calls a function for each of the two registers.
#[inline(always)]
fn both(f: impl Fn(usize) -> __m256) -> [__m256; 2] {
    [f(0), f(1)]
}

impl Number for [__m256; 2] {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller of each method guarantees that the CPU supports AVX2 and FMA.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe { _mm256_add_ps(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe { _mm256_sub_ps(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe { _mm256_mul_ps(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe { _mm256_div_ps(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe { _mm256_max_ps(other[i], self[i]) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe { _mm256_min_ps(other[i], self[i]) })
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe { _mm256_fmadd_ps(self[i], factor[i], summand[i]) })
    }

    #[inline(always)]
    unsafe fn round_exp2(self) -> (Self, Self) {
        // SAFETY: see above.
        let n = both(|i| unsafe { _mm256_round_ps::<0>(self[i]) });
        // SAFETY: see above.
        let exp2 = both(|i| unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n[i]), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        });
        (n, exp2)
    }
}

impl Lanes for [__m256; 2] {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above; the caller guarantees that 16 numbers can be read.
        both(|i| unsafe { _mm256_loadu_ps(from.add(8 * i)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above; the caller guarantees that 16 numbers can be written.
        unsafe {
            _mm256_storeu_ps(to, self[0]);
            _mm256_storeu_ps(to.add(8), self[1]);
        }
    }

    #[inline(always)]
    unsafe fn largest(self, other: Self) -> Self {
        // SAFETY: see above.
        both(|i| unsafe {
            let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(other[i], other[i]);
            _mm256_blendv_ps(_mm256_max_ps(other[i], self[i]), other[i], is_nan)
        })
    }
}
