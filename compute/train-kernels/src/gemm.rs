//! Products of matrices that are packed into panels.
//!
//! A panel is some rows of the left matrix or some columns of the right one. The numbers of these
//! rows or columns are adjacent for each step of the sum. A tile, the product of two panels, stays
//! in registers. Every sum adds its terms in order, so the result does not depend on the division
//! of the work.

use zoo_simd::{Instructions, Isa, Kernel, LANES, Lanes};

/// The division of a product into tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiling {
    isa: Isa,
    /// Number of rows in a tile.
    pub(crate) rows: usize,
    /// Number of columns in a tile.
    pub(crate) columns: usize,
}

/// The maximum number of elements in a tile.
const TILE: usize = 14 * 2 * LANES;

/// Number of elements of a matrix that are packed at once: 1 MiB, half of a usual L2 cache.
pub(crate) const BLOCK: usize = 1 << 18;

/// A function that computes tiles of one size.
type TileFn = unsafe fn(&[u32], *const f32, *const f32, *mut f32);

/// The panels of a right matrix in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Right<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) panels: usize,
    /// Distance between panels.
    pub(crate) stride: usize,
    /// The offset of each step's columns in a panel.
    pub(crate) steps: &'a [u32],
}

impl Tiling {
    /// Returns the tiling of a product with a number of rows and columns.
    pub(crate) fn new(isa: Isa, rows: usize, columns: usize) -> Self {
        let (most_rows, vectors) = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => (14, 2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => (6, 1),
            _ => (4, 1),
        };
        // Panels of nearly equal size, so that the last one is not mostly empty.
        let panels = rows.div_ceil(most_rows).max(1);
        let vectors = if columns > LANES { vectors } else { 1 };
        Self { isa, rows: rows.div_ceil(panels).max(1), columns: vectors * LANES }
    }

    fn tile_fn(self) -> TileFn {
        macro_rules! pick {
            ($instructions:ident, $vectors:literal, $($rows:literal)*) => {
                match self.rows {
                    $($rows => tile::<zoo_simd::$instructions, $rows, $vectors>,)*
                    rows => unreachable!("no tile has {rows} rows"),
                }
            };
        }
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if self.columns == LANES => {
                pick!(Avx512, 1, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => pick!(Avx512, 2, 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => pick!(Avx2, 1, 1 2 3 4 5 6),
            _ => pick!(Portable, 1, 1 2 3 4),
        }
    }

    /// Returns the offset of each step's columns in a packed panel.
    pub(crate) fn packed_steps(self, depth: usize) -> Vec<u32> {
        (0..depth).map(|step| (step * self.columns) as u32).collect()
    }

    /// Returns a right matrix of packed, contiguous panels.
    pub(crate) fn packed<'a>(self, numbers: &'a [f32], steps: &'a [u32]) -> Right<'a> {
        let stride = self.columns * steps.len();
        Right { numbers, panels: numbers.len() / stride, stride, steps }
    }

    /// Multiplies panels. `store` takes the index of the left panel, that of the right panel, and
    /// their tile, row-major.
    pub(crate) fn multiply(
        self,
        left: &[f32],
        right: Right<'_>,
        mut store: impl FnMut(usize, usize, &[f32]),
    ) {
        let Right { numbers, panels, stride, steps } = right;
        let reach = steps.iter().max().map_or(0, |last| *last as usize + self.columns);
        assert!(panels.saturating_sub(1) * stride + reach <= numbers.len(), "panels are whole");
        let tile_fn = self.tile_fn();
        let mut tile = [0.0; TILE];
        let tile = &mut tile[..self.rows * self.columns];
        for (i, left) in left.chunks_exact(self.rows * steps.len()).enumerate() {
            for j in 0..panels {
                let right = &numbers[j * stride..];
                // SAFETY: the CPU supports `isa`; the left panel has the tile's rows for each step;
                // the assertion checks the columns of the right panel; the tile holds the product.
                unsafe { tile_fn(steps, left.as_ptr(), right.as_ptr(), tile.as_mut_ptr()) };
                store(i, j, tile);
            }
        }
    }
}

/// The product of two panels with `M` rows and `N` vectors of columns.
struct Tile<'a, const M: usize, const N: usize> {
    steps: &'a [u32],
    left: *const f32,
    right: *const f32,
    out: *mut f32,
}

impl<const M: usize, const N: usize> Kernel for Tile<'_, M, N> {
    type Output = ();

    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; `left` holds `M` numbers for each step, `right`
    /// holds `N · 16` numbers from each of `steps`, and `out` holds `M · N · 16` numbers.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        let &Self { steps, left, right, out } = self;
        // SAFETY: the caller guarantees that the CPU supports `V` and that the pointers are valid.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; M];
            for (step, at) in steps.iter().enumerate() {
                let mut columns = [V::splat(0.0); N];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = V::load(right.add(*at as usize + j * LANES));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let row = V::splat(*left.add(step * M + i));
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = row.mul_add(column, *sum);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    sum.store(out.add((i * N + j) * LANES));
                }
            }
        }
    }
}

/// Computes a [`Tile`] with an instruction set.
///
/// # Safety
///
/// The CPU supports `I`; and as for the kernel [`Tile`].
unsafe fn tile<I: Instructions, const M: usize, const N: usize>(
    steps: &[u32],
    left: *const f32,
    right: *const f32,
    out: *mut f32,
) {
    // SAFETY: the caller guarantees that the CPU supports `I`, and what `Tile` needs.
    unsafe { I::run(&Tile::<M, N> { steps, left, right, out }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_all_sizes_multiply_correctly() {
        let depth = 5;
        for isa in Isa::available() {
            for (rows, columns) in (1..=14).flat_map(|rows| [(rows, 16), (rows, 32)]) {
                let tiling = Tiling::new(isa, rows, columns);
                let panels = [rows.div_ceil(tiling.rows), columns.div_ceil(tiling.columns)];
                let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
                let left: Vec<f32> = (0..panels[0] * tiling.rows * depth).map(number).collect();
                let right: Vec<f32> = (0..panels[1] * tiling.columns * depth).map(number).collect();
                let mut tiles = 0;
                let steps = tiling.packed_steps(depth);
                tiling.multiply(&left, tiling.packed(&right, &steps), |i, j, tile| {
                    tiles += 1;
                    let left = &left[i * tiling.rows * depth..];
                    let right = &right[j * tiling.columns * depth..];
                    for (at, got) in tile.iter().enumerate() {
                        let (row, column) = (at / tiling.columns, at % tiling.columns);
                        let expected: f32 = (0..depth)
                            .map(|k| {
                                left[k * tiling.rows + row] * right[k * tiling.columns + column]
                            })
                            .sum();
                        assert_eq!(*got, expected, "{tiling:?}, {row}, {column}");
                    }
                });
                assert_eq!(tiles, panels[0] * panels[1]);
            }
        }
    }
}
