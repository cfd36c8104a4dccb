//! Winograd's F(4×4, 3×3): 16 outputs of a 3×3 filter from 36 products instead of 144.
//!
//! [Lavin and Gray, 2015](https://arxiv.org/abs/1509.09308), §4.3. An image is divided into tiles
//! of 4×4 outputs. The 6×6 inputs of a tile are transformed into 36 numbers, those of all tiles
//! into 36 matrices. These are multiplied by 36 matrices of transformed filters.

use zoo_simd::{Activation, Kernel, LANES, Lanes};

/// Number of outputs of a tile along an axis.
pub(super) const TILE: usize = 4;
/// Number of inputs of a tile along an axis.
pub(super) const PATCH: usize = TILE + 2;
/// Number of products of a tile.
pub(super) const PRODUCTS: usize = PATCH * PATCH;

/// The input transform of one tile of one block of input channels.
#[derive(Debug)]
pub(super) struct Input {
    /// The first input of the tile.
    pub(super) from: *const f32,
    pub(super) row_stride: usize,
    /// The transformed input of the first product.
    pub(super) to: *mut f32,
    /// Distance between products.
    pub(super) product: usize,
}

/// The output transform of one tile of one block of output channels.
#[derive(Debug)]
pub(super) struct Output {
    /// The first product of the tile.
    pub(super) from: *const f32,
    /// Distance between products.
    pub(super) product: usize,
    /// The first output of the tile.
    pub(super) to: *mut f32,
    pub(super) row_stride: usize,
    /// Distance between adjacent output pixels.
    pub(super) pixel: usize,
    /// The residual of the first output, and the distance between rows of the residual.
    pub(super) residual: Option<(*const f32, usize)>,
    /// Numbers of rows and columns that are inside the image.
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) bias: *const f32,
    pub(super) activation: Activation,
}

/// Computes `Bᵀ d`.
#[inline(always)]
unsafe fn input_transform<V: Lanes>(d: [V; PATCH]) -> [V; PATCH] {
    // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
    unsafe {
        let [two, four, five] = [V::splat(2.0), V::splat(4.0), V::splat(-5.0)];
        let minus = V::splat(-4.0);
        let a = d[2].mul_add(minus, d[4]);
        let b = d[1].mul_add(minus, d[3]);
        let c = d[4].sub(d[2]);
        let e = d[3].sub(d[1]).mul(two);
        [
            d[0].mul_add(four, d[2].mul_add(five, d[4])),
            a.add(b),
            a.sub(b),
            c.add(e),
            c.sub(e),
            d[1].mul_add(four, d[3].mul_add(five, d[5])),
        ]
    }
}

/// Computes `Aᵀ m`.
#[inline(always)]
unsafe fn output_transform<V: Lanes>(m: [V; PATCH]) -> [V; TILE] {
    // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
    unsafe {
        let [two, four, eight] = [V::splat(2.0), V::splat(4.0), V::splat(8.0)];
        let (a, b) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (c, d) = (m[3].add(m[4]), m[3].sub(m[4]));
        [m[0].add(a).add(c), d.mul_add(two, b), c.mul_add(four, a), d.mul_add(eight, b).add(m[5])]
    }
}

impl Kernel for Input {
    type Output = ();

    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; the pointers are valid for the tile.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "columns are addresses too")]
    unsafe fn run<V: Lanes>(&self) {
        // SAFETY: the caller guarantees that the CPU supports `V` and that the pointers are valid.
        unsafe {
            let zero = V::splat(0.0);
            let mut half = [[zero; PATCH]; PATCH];
            for x in 0..PATCH {
                let mut column = [zero; PATCH];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = V::load(self.from.add(y * self.row_stride + x * LANES));
                }
                let column = input_transform(column);
                for y in 0..PATCH {
                    half[y][x] = column[y];
                }
            }
            for (y, row) in half.into_iter().enumerate() {
                for (x, value) in input_transform(row).into_iter().enumerate() {
                    value.store(self.to.add((y * PATCH + x) * self.product));
                }
            }
        }
    }
}

impl Kernel for Output {
    type Output = ();

    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; the pointers are valid for the tile.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "columns are addresses too")]
    unsafe fn run<V: Lanes>(&self) {
        // SAFETY: the caller guarantees that the CPU supports `V` and that the pointers are valid.
        unsafe {
            let zero = V::splat(0.0);
            let mut half = [[zero; PATCH]; TILE];
            for x in 0..PATCH {
                let mut column = [zero; PATCH];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = V::load(self.from.add((y * PATCH + x) * self.product));
                }
                let column = output_transform(column);
                for y in 0..TILE {
                    half[y][x] = column[y];
                }
            }
            let bias = V::load(self.bias);
            for (y, row) in half.into_iter().enumerate().take(self.rows) {
                for (x, value) in output_transform(row).into_iter().enumerate() {
                    if x < self.columns {
                        let mut value = value.add(bias);
                        if let Some((residual, row_stride)) = self.residual {
                            let residual = residual.add(y * row_stride + x * self.pixel);
                            value = value.add(V::load(residual));
                        }
                        let to = self.to.add(y * self.row_stride + x * self.pixel);
                        self.activation.apply(value).store(to);
                    }
                }
            }
        }
    }
}

/// A number of each of 16 filters.
type Filters = [f64; LANES];

/// Computes `G g`.
#[inline(always)]
fn filter_transform(g: [&Filters; 3]) -> [Filters; PATCH] {
    let mut out = [[0.0; LANES]; PATCH];
    for lane in 0..LANES {
        let [a, b, c] = g.map(|g| g[lane]);
        let (far, half) = (a / 24.0 + c / 6.0, b / 12.0);
        let all = [a / 4.0, -(a + c + b) / 6.0, -(a + c - b) / 6.0, far + half, far - half, c];
        for (out, value) in out.iter_mut().zip(all) {
            out[lane] = value;
        }
    }
    out
}

/// Computes `G g Gᵀ`, the 36 numbers of a transformed 3×3 filter, for 16 filters at once.
pub(super) fn filters(weights: &[Filters; 9]) -> [[f32; LANES]; PRODUCTS] {
    let columns: [_; 3] =
        std::array::from_fn(|x| filter_transform([0, 3, 6].map(|row| &weights[row + x])));
    let mut out = [[0.0; LANES]; PRODUCTS];
    for (y, out) in out.chunks_exact_mut(PATCH).enumerate() {
        let row = filter_transform([0, 1, 2].map(|x: usize| &columns[x][y]));
        for (out, values) in out.iter_mut().zip(row) {
            *out = values.map(|value| value as f32);
        }
    }
    out
}
