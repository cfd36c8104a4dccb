use crate::{LANES, Lanes};

/// A loop that is written once over [`Lanes`] and compiled for each set of instructions.
///
/// An implementation marks [`run`](Self::run) and every function that it calls with
/// `#[inline(always)]`: the compiler uses the instructions only in the function that is compiled
/// for them, [`Isa::run`]'s, and in what is inlined there. It has no closures around vectors, which
/// need not be inlined.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// Runs the loop.
    ///
    /// # Safety
    ///
    /// The machine has the instructions of `V`; and what the kernel says of its own pointers.
    unsafe fn run<V: Lanes>(&self) -> Self::Output;
}

/// A set of instructions.
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
    /// Those of every machine.
    Portable,
}

impl Isa {
    /// Those that this machine has, the best first.
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

    /// The best that this machine has.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// Its name: `AVX2`.
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

    /// Runs a kernel with these instructions.
    ///
    /// # Safety
    ///
    /// The machine has the instructions; and what the kernel says of its own pointers.
    #[inline]
    pub unsafe fn run<K: Kernel>(self, kernel: &K) -> K::Output {
        // SAFETY: the caller's promise.
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

/// A set of instructions that is known when a function is compiled.
pub trait Instructions {
    /// Runs a kernel with these instructions.
    ///
    /// # Safety
    ///
    /// The machine has the instructions; and what the kernel says of its own pointers.
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output;
}

/// [`Isa::Avx512`]
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx512 {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { crate::x86::avx512(kernel) }
    }
}

/// [`Isa::Avx2`]
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx2 {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { crate::x86::avx2(kernel) }
    }
}

/// [`Isa::Neon`]
#[cfg(target_arch = "aarch64")]
#[derive(Debug)]
pub struct Neon;

#[cfg(target_arch = "aarch64")]
impl Instructions for Neon {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: the caller's promise.
        unsafe { crate::neon::neon(kernel) }
    }
}

/// [`Isa::Portable`]
#[derive(Debug)]
pub struct Portable;

impl Instructions for Portable {
    #[inline(always)]
    unsafe fn run<K: Kernel>(kernel: &K) -> K::Output {
        // SAFETY: the caller's promise; every machine has these instructions.
        unsafe { kernel.run::<[f32; LANES]>() }
    }
}
