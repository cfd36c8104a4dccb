//! # zoo-simd
//!
//! Vectors of 16 numbers for all instruction sets, and kernels that are written once over them.
//!
//! - [`Number`] and [`Lanes`] are the operations of vectors: one register of AVX-512, two of AVX2,
//!   four of NEON, or an array. Plain `f32` is a [`Number`], too.
//! - A [`Kernel`] is a loop over [`Lanes`]; [`Isa::run`] runs it with an instruction set.
//! - [`Activation`], [`exp`], [`sigmoid`] and [`tanh`] are functions of each element.
//!
//! ```
//! use zoo_simd::{Activation, Isa, Kernel, LANES, Lanes};
//!
//! /// Applies ReLU to whole vectors in place.
//! struct Relu {
//!     numbers: *mut f32,
//!     vectors: usize,
//! }
//!
//! impl Kernel for Relu {
//!     type Output = ();
//!
//!     #[inline(always)]
//!     unsafe fn run<V: Lanes>(&self) {
//!         for vector in 0..self.vectors {
//!             // SAFETY: `vector` is less than the number of vectors.
//!             unsafe {
//!                 let at = self.numbers.add(vector * LANES);
//!                 Activation::RELU.apply(V::load(at)).store(at);
//!             }
//!         }
//!     }
//! }
//!
//! let mut numbers = [-1.0; 2 * LANES];
//! // SAFETY: the CPU supports `Isa::best()`; the array has two vectors.
//! unsafe { Isa::best().run(&Relu { numbers: numbers.as_mut_ptr(), vectors: 2 }) }
//! assert_eq!(numbers, [0.0; 2 * LANES]);
//! ```

mod activation;
mod isa;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use activation::{Activation, exp, sigmoid, tanh};
#[cfg(target_arch = "aarch64")]
pub use isa::Neon;
#[cfg(target_arch = "x86_64")]
pub use isa::{Avx2, Avx512};
pub use isa::{Instructions, Isa, Kernel, Portable};
pub use lanes::{Lanes, Number};

/// Number of elements in a vector.
pub const LANES: usize = 16;
