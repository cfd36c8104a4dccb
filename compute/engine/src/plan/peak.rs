//! The peak speed of the CPU.

use zoo_simd::{Kernel, LANES, Lanes};

/// Number of independent sums.
pub(super) const SUMS: usize = 12;

/// A kernel that only multiplies and adds in registers.
pub(super) struct Peak {
    pub(super) rounds: usize,
}

impl Kernel for Peak {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) -> f32 {
        // SAFETY: the caller guarantees that the CPU supports `V`; `out` has the 16 numbers of a
        // vector.
        unsafe {
            let factor = V::splat(std::hint::black_box(0.5));
            let mut sums = [V::splat(1.0); SUMS];
            for _ in 0..self.rounds {
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
}
