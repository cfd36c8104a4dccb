//! Convolution as a sum over segments of inputs.
//!
//! A *segment* is a range of inputs that are adjacent in memory: 16 channels of a block for one tap
//! of the filter, or in the planar format a row of the filter. For a row of output positions the
//! segments have equal distances. A tile keeps the sums of some positions × some blocks of channels
//! in registers from the first segment to the last.

use zoo_simd::{Instructions, Isa, Kernel, LANES, Lanes};

/// Inputs that are adjacent in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Offset of the first input, relative to the input of the output position.
    pub(super) offset: isize,
    pub(super) length: usize,
}

/// Some output positions of some blocks of channels.
#[derive(Debug)]
pub(super) struct Tile<'a> {
    pub(super) segments: &'a [Segment],
    /// The input of the first position.
    pub(super) input: *const f32,
    /// Distance between the inputs of adjacent positions.
    pub(super) input_step: usize,
    /// For each segment and each of its inputs, the weights of all blocks.
    pub(super) weights: *const f32,
    pub(super) output: *mut f32,
    /// Distance between adjacent output positions.
    pub(super) output_step: usize,
    /// Distance between blocks of output channels.
    pub(super) output_block: usize,
    /// A bias for each channel. If there is none, the sums start with the numbers in the output.
    pub(super) bias: Option<*const f32>,
    /// The operations on the complete sums; `None` if more passes follow.
    pub(super) finish: Option<Finish>,
}

/// The operations on complete sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    /// The residual to add, with the distances between its positions and between its blocks.
    pub(super) residual: Option<(*const f32, usize, usize)>,
    /// The lowest and the highest result.
    pub(super) clamp: Option<[f32; 2]>,
}

/// A function that computes tiles of one width, number of blocks and `input_step`.
pub(super) type TileFn = unsafe fn(&Tile<'_>);

/// Computes a tile.
///
/// # Safety
///
/// The CPU supports the instruction set of `V`; the pointers are valid for `M` positions and `N`
/// blocks at the tile's distances, and for the segments' inputs; `STEP` is the tile's `input_step`
/// or 0.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "positions and blocks are addresses too")]
unsafe fn tile<V: Lanes, const M: usize, const N: usize, const STEP: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller guarantees that the CPU supports `V` and that all pointers are valid.
    unsafe {
        let step = if STEP == 0 { tile.input_step } else { STEP };
        let out = |position: usize, block: usize| {
            tile.output.add(position * tile.output_step + block * tile.output_block)
        };
        let mut sums = [[V::splat(0.0); N]; M];
        match tile.bias {
            Some(bias) => {
                for block in 0..N {
                    let bias = V::load(bias.add(block * LANES));
                    for row in &mut sums {
                        row[block] = bias;
                    }
                }
            }
            None => {
                for position in 0..M {
                    for block in 0..N {
                        sums[position][block] = V::load(out(position, block));
                    }
                }
            }
        }

        let mut weights = tile.weights;
        for segment in tile.segments {
            let mut input = tile.input.offset(segment.offset);
            for _ in 0..segment.length {
                let mut columns = [V::splat(0.0); N];
                for (block, column) in columns.iter_mut().enumerate() {
                    *column = V::load(weights.add(block * LANES));
                }
                for (position, row) in sums.iter_mut().enumerate() {
                    let x = V::splat(*input.add(position * step));
                    for block in 0..N {
                        row[block] = x.mul_add(columns[block], row[block]);
                    }
                }
                input = input.add(1);
                weights = weights.add(N * LANES);
            }
        }

        let Some(Finish { residual, clamp }) = tile.finish else {
            for position in 0..M {
                for block in 0..N {
                    sums[position][block].store(out(position, block));
                }
            }
            return;
        };
        if let Some((residual, step, block_stride)) = residual {
            for position in 0..M {
                for block in 0..N {
                    let residual = V::load(residual.add(position * step + block * block_stride));
                    sums[position][block] = sums[position][block].add(residual);
                }
            }
        }
        if let Some([low, high]) = clamp {
            let (low, high) = (V::splat(low), V::splat(high));
            for row in &mut sums {
                for sum in row {
                    *sum = sum.max(low).min(high);
                }
            }
        }
        for position in 0..M {
            for block in 0..N {
                sums[position][block].store(out(position, block));
            }
        }
    }
}

/// A tile of `M` positions and `N` blocks, with `input_step` equal to `STEP`, or any if `STEP` is
/// 0.
struct Sized<'a, const M: usize, const N: usize, const STEP: usize>(&'a Tile<'a>);

impl<const M: usize, const N: usize, const STEP: usize> Kernel for Sized<'_, M, N, STEP> {
    type Output = ();

    /// # Safety
    ///
    /// As for [`tile`].
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        // SAFETY: the caller guarantees what `tile` needs.
        unsafe { tile::<V, M, N, STEP>(self.0) }
    }
}

/// Runs a tile with an instruction set.
///
/// # Safety
///
/// The CPU supports `I`; and as for [`tile`].
unsafe fn run<I: Instructions, const M: usize, const N: usize, const STEP: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller guarantees that the CPU supports `I`, and what `tile` needs.
    unsafe { I::run(&Sized::<M, N, STEP>(tile)) }
}

/// Returns the maximum number of positions in a tile, for 1, 2, 3 and 4 blocks of output channels;
/// 0 if the registers are too few for these blocks.
pub(super) fn widest_tiles(isa: Isa) -> [usize; 4] {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => [14, 14, 9, 7],
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => [6, 0, 0, 0],
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => [6, 0, 0, 0],
        Isa::Portable => [4, 0, 0, 0],
    }
}

/// Selects the function for a tile.
macro_rules! pick {
    ($instructions:path, $positions:expr, $blocks:expr, $step:expr,
     $($n:literal: $($m:literal)*;)*) => {
        match ($blocks, $positions, $step) {
            $($(
                ($n, $m, 16) => run::<$instructions, $m, $n, 16> as TileFn,
                ($n, $m, 32) => run::<$instructions, $m, $n, 32> as TileFn,
                ($n, $m, _) => run::<$instructions, $m, $n, 0> as TileFn,
            )*)*
            _ => unreachable!("no tile of {} positions and {} blocks", $positions, $blocks),
        }
    };
}

/// Returns the function for tiles of a number of positions and blocks, with `input_step` equal to
/// `step`.
///
/// # Panics
///
/// When the instruction set has no such tile; see [`widest_tiles`].
pub(super) fn tile_fn(isa: Isa, positions: usize, blocks: usize, step: usize) -> TileFn {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => pick!(zoo_simd::Avx512, positions, blocks, step,
            1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
            2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
            3: 1 2 3 4 5 6 7 8 9;
            4: 1 2 3 4 5 6 7;
        ),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => pick!(zoo_simd::Avx2, positions, blocks, step, 1: 1 2 3 4 5 6;),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => pick!(zoo_simd::Neon, positions, blocks, step, 1: 1 2 3 4 5 6;),
        Isa::Portable => pick!(zoo_simd::Portable, positions, blocks, step, 1: 1 2 3 4;),
    }
}
