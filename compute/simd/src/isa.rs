use crate::{LANES, Lanes};

/// A loop that is written once over [`Lanes`] and compiled for each instruction set.
///
/// An implementation marks [`run`](Self::run) and every function that it calls with
/// `#[inline(always)]`. The compiler uses the instruction set only in the function that
/// [`Isa::run`] calls and in the functions that are inlined there. Do not use vectors in closures,
/// because the compiler may not inline closures.
pub trait Kernel {
    /// The result of the kernel.
    type Output;

    /// Runs the loop.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; and the kernel's pointers are valid, as its
    /// documentation states.
    unsafe fn run<V: Lanes>(&self) -> Self::Output;
}

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 F and DQ.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The instructions that every CPU of the compilation target supports.
    Portable,
}

impl Isa {
    /// Returns the instruction sets that this CPU supports, the best first.
    pub fn available() -> impl Iterator<Item = Self> {
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
            #[cfg(target_arch = "aarch64")]
            Some(Self::Neon),
            Some(Self::Portable),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns the best instruction set that this CPU supports.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// Returns its name: `AVX2`.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "NEON",
            Self::Portable => "portable",
        }
    }

    /// Runs a kernel with this instruction set.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set; and the kernel's pointers are valid, as its
    /// documentation states.
    #[inline]
    pub unsafe fn run<K: Kernel>(self, kernel: &K) -> K::Output {
        // SAFETY: the caller guarantees that the CPU supports the instruction set and that the
        // kernel's pointers are valid.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => Avx512::run(kernel),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => Avx2::run(kernel),
                #[cfg(target_arch = "aarch64")]
                Self::Neon => Neon::run(kernel),
                Self::Portable => Portable::run(kernel),
            }
        }
    }
}

/// An instruction set that is known at compile time.
pub trait Instructions {
    /// Runs a kernel with this instruction set.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set; and the kernel's pointers are valid, as its
    /// documentation states.
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output;
}

/// The instruction set [`Isa::Avx512`].
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx512 {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: the caller guarantees that the CPU supports the instruction set and that the
        // kernel's pointers are valid.
        unsafe { crate::x86::avx512(kernel) }
    }
}

/// The instruction set [`Isa::Avx2`].
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx2 {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: the caller guarantees that the CPU supports the instruction set and that the
        // kernel's pointers are valid.
        unsafe { crate::x86::avx2(kernel) }
    }
}

/// The instruction set [`Isa::Neon`].
#[cfg(target_arch = "aarch64")]
#[derive(Debug)]
pub struct Neon;

#[cfg(target_arch = "aarch64")]
impl Instructions for Neon {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: the caller guarantees that the CPU supports the instruction set and that the
        // kernel's pointers are valid.
        unsafe { crate::neon::neon(kernel) }
    }
}

/// The instruction set [`Isa::Portable`].
#[derive(Debug)]
pub struct Portable;

impl Instructions for Portable {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: every CPU supports the instruction set; the caller guarantees that the kernel's
        // pointers are valid.
        unsafe { kernel.run::<[f32; LANES]>() }
    }
}
