use std::arch::aarch64::*;

use crate::{Kernel, Lanes, Number};

/// Runs a kernel with NEON.
///
/// # Safety
///
/// As for [`Kernel::run`].
#[target_feature(enable = "neon")]
pub(crate) unsafe fn neon<K: Kernel>(kernel: &K) -> K::Output {
    // SAFETY: every aarch64 CPU supports NEON; the caller guarantees that the kernel's pointers are
    // valid.
    unsafe { kernel.run::<[float32x4_t; 4]>() }
}

/// Calls a function for each of the four registers.
#[inline(always)]
fn four(f: impl Fn(usize) -> float32x4_t) -> [float32x4_t; 4] {
    [f(0), f(1), f(2), f(3)]
}

impl Number for [float32x4_t; 4] {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: every aarch64 CPU supports NEON. This holds for the whole implementation.
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        four(|i| unsafe { vaddq_f32(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        four(|i| unsafe { vsubq_f32(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        four(|i| unsafe { vmulq_f32(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        four(|i| unsafe { vdivq_f32(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        four(|i| unsafe { vmaxq_f32(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        four(|i| unsafe { vminq_f32(self[i], other[i]) })
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see above.
        four(|i| unsafe { vfmaq_f32(summand[i], self[i], factor[i]) })
    }

    #[inline(always)]
    unsafe fn round_exp2(self) -> (Self, Self) {
        // SAFETY: see above.
        let n = four(|i| unsafe { vrndnq_f32(self[i]) });
        // SAFETY: see above.
        let exp2 = four(|i| unsafe {
            let exponent = vaddq_s32(vcvtq_s32_f32(n[i]), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        });
        (n, exp2)
    }
}

impl Lanes for [float32x4_t; 4] {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above; the caller guarantees that 16 numbers can be read.
        four(|i| unsafe { vld1q_f32(from.add(4 * i)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for (i, quarter) in self.into_iter().enumerate() {
            // SAFETY: see above; the caller guarantees that 16 numbers can be written.
            unsafe { vst1q_f32(to.add(4 * i), quarter) }
        }
    }

    #[inline(always)]
    unsafe fn largest(self, other: Self) -> Self {
        // SAFETY: see above. The instruction propagates a NaN of both operands.
        unsafe { self.max(other) }
    }
}
