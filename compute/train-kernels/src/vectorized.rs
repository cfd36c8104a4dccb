//! Loops over plain numbers, which the compiler vectorizes.

/// Adds partial sums pairwise. `N` is a power of two.
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

/// Compiles a function of plain loops for each instruction set. A call runs the best one.
macro_rules! vectorized {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$f:ident: $bound:path>)? (
        $($arg:ident: $type:ty),* $(,)?
    ) $(-> $return:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel takes its parameters separately")]
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

            match zoo_simd::Isa::best() {
                // SAFETY: the CPU supports `Isa::best()`.
                #[cfg(target_arch = "x86_64")]
                zoo_simd::Isa::Avx512 => unsafe { avx512 $(::<$f>)? ($($arg),*) },
                // SAFETY: the CPU supports `Isa::best()`.
                #[cfg(target_arch = "x86_64")]
                zoo_simd::Isa::Avx2 => unsafe { avx2 $(::<$f>)? ($($arg),*) },
                // Other CPUs always support their vector instructions.
                _ => portable $(::<$f>)? ($($arg),*),
            }
        }
    };
}
pub(crate) use vectorized;
