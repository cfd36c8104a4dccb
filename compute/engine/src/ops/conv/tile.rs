//! Convolution as a sum over runs of inputs.
//!
//! For a row of output places the input of a *segment* lies at equal steps in memory: 16 channels
//! of a block for one tap of the filter, or a row of the filter where images are not in blocks.
//! A tile keeps the sums of some places × some blocks of channels in registers from the first
//! segment to the last.

use zoo_simd::{Instructions, Isa, Kernel, LANES, Lanes};

/// Inputs that lie one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Of the first input, from that of the output place.
    pub(super) offset: isize,
    pub(super) length: usize,
}

/// Some output places of some blocks of channels.
#[derive(Debug)]
pub(super) struct Tile<'a> {
    pub(super) segments: &'a [Segment],
    /// The input of the first place.
    pub(super) input: *const f32,
    /// From a place's input to that of the next.
    pub(super) input_step: usize,
    /// For each segment and each of its inputs, the weights of all blocks.
    pub(super) weights: *const f32,
    pub(super) output: *mut f32,
    /// From an output place to the next.
    pub(super) output_step: usize,
    /// From a block of output channels to the next.
    pub(super) output_block: usize,
    /// A bias for each channel; the sums so far are in the output where there is none.
    pub(super) bias: Option<*const f32>,
    /// What is to be done when the sums are complete.
    pub(super) finish: Option<Finish>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    /// What is added, with its steps from a place and a block to the next.
    pub(super) residual: Option<(*const f32, usize, usize)>,
    /// The sums' least and greatest value.
    pub(super) clamp: Option<[f32; 2]>,
}

/// The function that computes tiles of a width and a number of blocks, for inputs at a step.
pub(super) type TileFn = unsafe fn(&Tile<'_>);

/// Computes a tile.
///
/// # Safety
///
/// The machine has the instructions of `V`; the pointers are valid for `M` places and `N` blocks
/// at the tile's steps, and for the segments' inputs; `STEP` is the tile's `input_step` or 0.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "places and blocks are addresses too")]
unsafe fn tile<V: Lanes, const M: usize, const N: usize, const STEP: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        let step = if STEP == 0 { tile.input_step } else { STEP };
        let out = |place: usize, block: usize| {
            tile.output.add(place * tile.output_step + block * tile.output_block)
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
                for place in 0..M {
                    for block in 0..N {
                        sums[place][block] = V::load(out(place, block));
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
                for (place, row) in sums.iter_mut().enumerate() {
                    let x = V::splat(*input.add(place * step));
                    for block in 0..N {
                        row[block] = x.mul_add(columns[block], row[block]);
                    }
                }
                input = input.add(1);
                weights = weights.add(N * LANES);
            }
        }

        let Some(Finish { residual, clamp }) = tile.finish else {
            for place in 0..M {
                for block in 0..N {
                    sums[place][block].store(out(place, block));
                }
            }
            return;
        };
        if let Some((residual, step, to_block)) = residual {
            for place in 0..M {
                for block in 0..N {
                    let residual = V::load(residual.add(place * step + block * to_block));
                    sums[place][block] = sums[place][block].add(residual);
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
        for place in 0..M {
            for block in 0..N {
                sums[place][block].store(out(place, block));
            }
        }
    }
}

/// A tile of `M` places and `N` blocks, for inputs at a step that is known or 0.
struct Sized<'a, const M: usize, const N: usize, const STEP: usize>(&'a Tile<'a>);

impl<const M: usize, const N: usize, const STEP: usize> Kernel for Sized<'_, M, N, STEP> {
    type Output = ();

    /// # Safety
    ///
    /// As of [`tile`].
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        // SAFETY: the caller's promise.
        unsafe { tile::<V, M, N, STEP>(self.0) }
    }
}

/// # Safety
///
/// The machine has the instructions; and as of [`tile`].
unsafe fn run<I: Instructions, const M: usize, const N: usize, const STEP: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promise.
    unsafe { I::run(&Sized::<M, N, STEP>(tile)) }
}

/// The most output places that a tile has, for 1, 2, 3 and 4 blocks of output channels; 0 where
/// that many blocks don't fit the registers.
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

/// Picks the function for a tile.
macro_rules! pick {
    ($instructions:path, $places:expr, $blocks:expr, $step:expr,
     $($n:literal: $($m:literal)*;)*) => {
        match ($blocks, $places, $step) {
            $($(
                ($n, $m, 16) => run::<$instructions, $m, $n, 16> as TileFn,
                ($n, $m, 32) => run::<$instructions, $m, $n, 32> as TileFn,
                ($n, $m, _) => run::<$instructions, $m, $n, 0> as TileFn,
            )*)*
            _ => unreachable!("no tile of {} places and {} blocks", $places, $blocks),
        }
    };
}

/// The function for tiles of so many places and blocks, whose inputs are `step` apart.
///
/// # Panics
///
/// When the instruction set has no such tile; see [`widest_tiles`].
pub(super) fn tile_fn(isa: Isa, places: usize, blocks: usize, step: usize) -> TileFn {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => pick!(zoo_simd::Avx512, places, blocks, step,
            1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
            2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14;
            3: 1 2 3 4 5 6 7 8 9;
            4: 1 2 3 4 5 6 7;
        ),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => pick!(zoo_simd::Avx2, places, blocks, step, 1: 1 2 3 4 5 6;),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => pick!(zoo_simd::Neon, places, blocks, step, 1: 1 2 3 4 5 6;),
        Isa::Portable => pick!(zoo_simd::Portable, places, blocks, step, 1: 1 2 3 4;),
    }
}
