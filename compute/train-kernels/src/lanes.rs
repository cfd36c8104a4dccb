//! The instruction sets that the kernels are compiled for.

/// Numbers of a vector, in as many registers as they take.
pub(crate) const LANES: usize = 16;

/// A set of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    /// Those that this machine has, the best first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let has_fma = is_x86_feature_detected!("fma");
        #[cfg(target_arch = "x86_64")]
        let (avx512, avx2) = (
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && has_fma,
            is_x86_feature_detected!("avx2") && has_fma,
        );
        [
            #[cfg(target_arch = "x86_64")]
            avx512.then_some(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            avx2.then_some(Self::Avx2),
            Some(Self::Portable),
        ]
        .into_iter()
        .flatten()
    }

    /// The best that this machine has.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }
}

/// The sum of partial ones, two halves after the other; `N` is a power of two.
#[inline(always)]
pub(crate) fn total<const N: usize>(mut sums: [f32; N]) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

/// Compiles a function of plain loops for each instruction set; the best one runs.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$f:ident: $bound:path>)? (
        $($arg:ident: $type:ty),* $(,)?
    ) $(-> $return:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
        $vis fn $name $(<$f: $bound>)? ($($arg: $type),*) $(-> $return)? {
            #[inline(always)]
            fn portable $(<$f: $bound>)? ($($arg: $type),*) $(-> $return)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq,fma")]
            fn avx512 $(<$f: $bound>)? ($($arg: $type),*) $(-> $return)? {
                portable $(::<$f>)? ($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$f: $bound>)? ($($arg: $type),*) $(-> $return)? {
                portable $(::<$f>)? ($($arg),*)
            }

            match $crate::lanes::Isa::best() {
                // SAFETY: the machine has the instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::lanes::Isa::Avx512 => unsafe { avx512 $(::<$f>)? ($($arg),*) },
                // SAFETY: the machine has the instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::lanes::Isa::Avx2 => unsafe { avx2 $(::<$f>)? ($($arg),*) },
                $crate::lanes::Isa::Portable => portable $(::<$f>)? ($($arg),*),
            }
        }
    };
}
pub(crate) use vectorised;

/// A vector of 16 numbers.
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
    /// `self · factor + summand`
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    impl Lanes for __m512 {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the machine has AVX-512; so in all of this implementation.
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above; the pointer is the caller's promise.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above; the pointer is the caller's promise.
            unsafe { _mm512_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_fmadd_ps(self, factor, summand) }
        }
    }

    impl Lanes for [__m256; 2] {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the machine has AVX2 and FMA; so in all of this implementation.
            unsafe { [_mm256_set1_ps(x); 2] }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above; the pointer is the caller's promise.
            unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above; the pointer is the caller's promise.
            unsafe {
                _mm256_storeu_ps(to, self[0]);
                _mm256_storeu_ps(to.add(8), self[1]);
            }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
            // SAFETY: see above.
            unsafe {
                [
                    _mm256_fmadd_ps(self[0], factor[0], summand[0]),
                    _mm256_fmadd_ps(self[1], factor[1], summand[1]),
                ]
            }
        }
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
    unsafe fn mul_add(self, factor: Self, summand: Self) -> Self {
        // Without the instruction a fused operation is a call of a library.
        std::array::from_fn(|i| self[i] * factor[i] + summand[i])
    }
}
