//! The loops that take the time, for each instruction set.
//!
//! Images are stored in blocks of [`LANES`] channels: `[N, C / 16, H, W, 16]`, so that a vector
//! holds one place of a block and every kernel is the same for all widths of register. A kernel
//! is written once over [`Lanes`] and compiled for each instruction set by [`kernels`].

pub(crate) mod conv;
pub(crate) mod depthwise;
pub(crate) mod elementwise;
pub(crate) mod lanes;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod pool;
pub(crate) mod winograd;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use lanes::Lanes;

/// Channels of a block.
pub(crate) const LANES: usize = 16;

/// A set of instructions that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Isa {
    /// Those that this machine has, the best first.
    pub(crate) fn available() -> Vec<Self> {
        let mut available = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("fma")
            {
                available.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                available.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        available.push(Self::Neon);
        available.push(Self::Portable);
        available
    }

    /// The best that this machine has.
    pub(crate) fn best() -> Self {
        Self::available()[0]
    }

    /// A word for it.
    pub(crate) fn name(self) -> &'static str {
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

    /// The most output places that a convolution computes at once, for 1, 2, 3 and 4 blocks of
    /// output channels; 0 where that many blocks don't fit the registers.
    pub(crate) fn tile_widths(self) -> [usize; 4] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => [14, 14, 9, 7],
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => [6, 0, 0, 0],
            #[cfg(target_arch = "aarch64")]
            Self::Neon => [6, 0, 0, 0],
            Self::Portable => [4, 0, 0, 0],
        }
    }
}

/// Compiles the kernels for an instruction set.
macro_rules! kernels {
    ($module:ident, $lanes:ty $(, $feature:literal)?) => {
        pub(crate) mod $module {
            use crate::kernels::{conv, depthwise, elementwise, lanes, pool, winograd};

            /// # Safety
            ///
            /// As of [`conv::tile`]; and the machine has the instructions.
            $(#[target_feature(enable = $feature)])?
            pub(crate) unsafe fn tile<const M: usize, const N: usize, const STEP: usize>(
                tile: &conv::Tile<'_>,
            ) {
                // SAFETY: the caller's promise.
                unsafe { conv::tile::<$lanes, M, N, STEP>(tile) }
            }

            /// # Safety
            ///
            /// The machine has the instructions.
            $(#[target_feature(enable = $feature)])?
            pub(crate) unsafe fn peak(rounds: usize) -> f32 {
                // SAFETY: the caller's promise.
                unsafe { lanes::peak::<$lanes>(rounds) }
            }

            /// # Safety
            ///
            /// As of [`depthwise::row`]; and the machine has the instructions.
            $(#[target_feature(enable = $feature)])?
            pub(crate) unsafe fn depthwise(row: &depthwise::Row) {
                // SAFETY: the caller's promise.
                unsafe { depthwise::row::<$lanes>(row) }
            }

            /// # Safety
            ///
            /// As of [`pool::row`]; and the machine has the instructions.
            $(#[target_feature(enable = $feature)])?
            pub(crate) unsafe fn pool(row: &pool::Row) {
                // SAFETY: the caller's promise.
                unsafe { pool::row::<$lanes>(row) }
            }

            /// # Safety
            ///
            /// As of [`winograd::input`]; and the machine has the instructions.
            $(#[target_feature(enable = $feature)])?
            pub(crate) unsafe fn winograd_input(tile: &winograd::Input) {
                // SAFETY: the caller's promise.
                unsafe { winograd::input::<$lanes>(tile) }
            }

            /// # Safety
            ///
            /// As of [`winograd::output`]; and the machine has the instructions.
            $(#[target_feature(enable = $feature)])?
            pub(crate) unsafe fn winograd_output(tile: &winograd::Output) {
                // SAFETY: the caller's promise.
                unsafe { winograd::output::<$lanes>(tile) }
            }

            /// # Safety
            ///
            /// As of [`elementwise::row`]; and the machine has the instructions.
            $(#[target_feature(enable = $feature)])?
            pub(crate) unsafe fn elementwise(row: &elementwise::Row) {
                // SAFETY: the caller's promise.
                unsafe { elementwise::row::<$lanes>(row) }
            }
        }
    };
}
pub(crate) use kernels;

kernels!(portable, [f32; crate::kernels::LANES]);

/// Calls a kernel of the instruction set.
macro_rules! dispatch {
    ($isa:expr, $kernel:ident ( $($argument:expr),* )) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::Isa::Avx512 => $crate::kernels::x86::avx512::$kernel($($argument),*),
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::Isa::Avx2 => $crate::kernels::x86::avx2::$kernel($($argument),*),
            #[cfg(target_arch = "aarch64")]
            $crate::kernels::Isa::Neon => $crate::kernels::neon::neon::$kernel($($argument),*),
            $crate::kernels::Isa::Portable => $crate::kernels::portable::$kernel($($argument),*),
        }
    };
}
pub(crate) use dispatch;

/// How a function of each element is applied to a vector.
///
/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn activate<V: Lanes>(x: V, activation: crate::graph::Activation) -> V {
    use crate::graph::Activation;
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::Identity => x,
            Activation::Clamp { low, high } => x.max(V::splat(low)).min(V::splat(high)),
            Activation::Sigmoid => lanes::sigmoid(x),
            Activation::Silu => x.mul(lanes::sigmoid(x)),
            Activation::HardSigmoid { slope, offset } => hard(x, slope, offset),
            Activation::HardSwish { slope, offset } => x.mul(hard(x, slope, offset)),
            Activation::Tanh => {
                // tanh x = 2 · sigmoid(2x) - 1
                let sigmoid = lanes::sigmoid(x.add(x));
                sigmoid.mul_add(V::splat(2.0), V::splat(-1.0))
            }
        }
    }
}

/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn hard<V: Lanes>(x: V, slope: f32, offset: f32) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let line = x.mul_add(V::splat(slope), V::splat(offset));
        line.max(V::splat(0.0)).min(V::splat(1.0))
    }
}
