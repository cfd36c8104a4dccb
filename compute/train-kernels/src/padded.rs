//! Convolutions with stride 1, on a padded copy of the input.
//!
//! Output positions are counted along the rows of the copy. The positions at the end of a row are
//! also computed, and then discarded. So a tap reads contiguous numbers, however short the rows
//! are, and nothing is packed.

use std::ops::Range;

use rayon::prelude::*;

use crate::gemm::BLOCK;
use crate::geometry::{Geometry, Run};
use crate::scratch::with_scratch;
use crate::vectorized::total;
use zoo_simd::{Isa, Kernel, LANES, Lanes};

/// Number of positions in a sum of a weight gradient; small images are joined to reach it.
const STRETCH: usize = 1 << 11;

/// Number of partial sums of a weight gradient. It does not depend on the number of threads.
const PARTS: usize = 16;

/// The size of a padded plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Padded {
    rows: usize,
    width: usize,
}

/// Some channels of images.
struct Planes<'a> {
    numbers: &'a [f32],
    /// Number of channels in an image.
    all: usize,
    channels: Range<usize>,
    /// Height and width.
    size: [usize; 2],
}

/// Whether there are few enough weights for a gradient in each partial sum.
pub(crate) fn has_few_weights(g: &Geometry) -> bool {
    let [group_in, group_out] = g.group();
    group_in * group_out * g.taps() <= BLOCK
}

impl Padded {
    /// Returns the padded size, or `None` for strided and 1×1 convolutions, and if the copy of an
    /// image's group would not fit the L2 cache.
    pub(crate) fn of(g: &Geometry) -> Option<Self> {
        let [rows, width] =
            [0, 1].map(|axis| g.output[axis] + g.dilation[axis] * (g.kernel[axis] - 1));
        let fits = g.group()[0] * rows * width <= BLOCK;
        (g.stride == [1, 1] && g.taps() > 1 && fits).then_some(Self { rows, width })
    }

    fn plane(self) -> usize {
        self.rows * self.width
    }

    /// Returns the distance between the channels of some images.
    fn stride(self, images: usize) -> usize {
        (images * self.plane()).next_multiple_of(LANES)
    }

    /// Returns the length of the copy of some images, with the numbers that the last tap reads
    /// after the last position.
    pub(crate) fn len(self, g: &Geometry, images: usize) -> usize {
        g.group()[0] * self.stride(images) + self.plane() + 2 * LANES
    }

    /// Returns the offset of each tap of each channel, relative to a position, in the copy of some
    /// images.
    pub(crate) fn steps(self, g: &Geometry, images: usize) -> Vec<u32> {
        let [rows, columns] = g.kernel;
        let steps = (0..g.group()[0] * rows * columns).map(|step| {
            let (channel, row, column) = (step / g.taps(), step / columns % rows, step % columns);
            let tap = row * g.dilation[0] * self.width + column * g.dilation[1];
            (channel * self.stride(images) + tap) as u32
        });
        steps.collect()
    }

    /// Returns the positions of each panel that are not discarded.
    pub(crate) fn runs(self, g: &Geometry, columns: usize) -> impl Iterator<Item = Vec<Run>> {
        let [height, width] = g.output;
        let positions = (height * self.width).saturating_sub(self.width - width);
        (0..positions.div_ceil(columns)).map(move |panel| {
            let panel = panel * columns..(panel + 1) * columns;
            let rows = panel.start / self.width..panel.end.div_ceil(self.width).min(height);
            let runs = rows.filter_map(|row| {
                let start = (row * self.width).max(panel.start);
                let end = (row * self.width + width).min(panel.end);
                let (at, column) = (start - panel.start, start - row * self.width);
                (start < end).then(|| Run { at, len: end - start, image: 0, row, column })
            });
            runs.collect()
        })
    }

    /// Copies some images: for each channel, all images.
    pub(crate) fn copy(
        self,
        g: &Geometry,
        x: &[f32],
        images: Range<usize>,
        group: usize,
        out: &mut [f32],
    ) {
        let [group_in, _] = g.group();
        let channels = group * group_in..(group + 1) * group_in;
        let planes = Planes { numbers: x, all: g.channels[0], channels, size: g.input };
        self.lay_out(&planes, g.padding, images, out);
    }

    /// Copies planes into padded ones, shifted by `before` rows and columns, with zeros around
    /// them.
    fn lay_out(self, x: &Planes<'_>, before: [isize; 2], images: Range<usize>, out: &mut [f32]) {
        out.fill(0.0);
        let [height, width] = x.size;
        let stride = self.stride(images.len());
        let columns = before[1].max(0) as usize..;
        let skipped = (-before[1]).max(0) as usize;
        for (channel, out) in x.channels.clone().zip(out.chunks_mut(stride)) {
            for (image, out) in images.clone().zip(out.chunks_mut(self.plane())) {
                let x = &x.numbers[(image * x.all + channel) * height * width..][..height * width];
                for (row, out) in out.chunks_exact_mut(self.width).enumerate() {
                    let row = usize::try_from(row as isize - before[0]);
                    let Some(row) = row.ok().filter(|row| *row < height) else { continue };
                    let x = &x[row * width..][..width][skipped.min(width)..];
                    let out = &mut out[columns.clone()];
                    let len = x.len().min(out.len());
                    out[..len].copy_from_slice(&x[..len]);
                }
            }
        }
    }

    /// Computes the gradient of a convolution's kernels. Each number is the dot product of a
    /// channel of the output's gradient and a tap's view of an input channel.
    pub(crate) fn weight_gradient(self, g: &Geometry, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let [group_in, group_out] = g.group();
        let images = (STRETCH / self.plane()).clamp(1, g.batch);
        let passes = g.batch.div_ceil(images);
        let parts = passes.min(PARTS);
        let sums: Vec<_> = (0..g.groups * parts)
            .into_par_iter()
            .map(|task| {
                let (group, part) = (task / parts, task % parts);
                let mut sums = vec![0.0; group_out * group_in * g.taps()];
                for pass in part * passes / parts..(part + 1) * passes / parts {
                    let images = pass * images..((pass + 1) * images).min(g.batch);
                    let (stride, len) = (self.stride(images.len()), self.len(g, images.len()));
                    let steps = self.steps(g, images.len());
                    with_scratch(len + group_out * stride, |scratch| {
                        let (inputs, grads) = scratch.split_at_mut(len);
                        self.copy(g, x, images.clone(), group, inputs);
                        let channels = group * group_out..(group + 1) * group_out;
                        let all = g.channels[1];
                        let planes = Planes { numbers: grad, all, channels, size: g.output };
                        self.lay_out(&planes, [0, 0], images, grads);
                        products(Isa::best(), grads, stride, inputs, &steps, &mut sums);
                    });
                }
                sums
            })
            .collect();
        let groups = sums.chunks(parts).flat_map(|parts| {
            let mut parts = parts.iter();
            let mut sum = parts.next().cloned().unwrap_or_default();
            for part in parts {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
            sum
        });
        groups.collect()
    }
}

/// Adds the dot products of each row of `left` with the numbers of `right` that start at each of
/// `steps`.
fn products(isa: Isa, left: &[f32], len: usize, right: &[f32], steps: &[u32], sums: &mut [f32]) {
    let rows = left.len() / len;
    let reach = steps.iter().max().map_or(0, |last| *last as usize + len);
    assert!(len.is_multiple_of(LANES) && reach <= right.len() && sums.len() == rows * steps.len());
    macro_rules! products {
        ($m:literal, $n:literal) => {
            Products::<$m, $n> { left, len, right, steps, sums: sums.as_mut_ptr() }
        };
    }
    // SAFETY: the CPU supports `isa`; the assertion checks all lengths.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => isa.run(&products!(4, 6)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => isa.run(&products!(2, 2)),
            _ => Isa::Portable.run(&products!(2, 2)),
        }
    }
}

/// The kernel of [`products`], with `M` rows and `N` steps at once.
struct Products<'a, const M: usize, const N: usize> {
    left: &'a [f32],
    len: usize,
    right: &'a [f32],
    steps: &'a [u32],
    /// One sum for each row and step.
    sums: *mut f32,
}

impl<const M: usize, const N: usize> Kernel for Products<'_, M, N> {
    type Output = ();

    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; rows of `left` have `len` numbers, a multiple
    /// of 16; `right` has `len` numbers from each of `steps`; `sums` is valid for each row and
    /// step.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        let &Self { left, len, right, steps, sums } = self;
        let rows = left.len() / len;
        for row in (0..rows).step_by(M) {
            for column in (0..steps.len()).step_by(N) {
                // Repeats the last row or step if there are fewer.
                let lefts: [_; M] = std::array::from_fn(|i| &left[(row + i).min(rows - 1) * len..]);
                let rights: [_; N] = std::array::from_fn(|j| {
                    &right[steps[(column + j).min(steps.len() - 1)] as usize..]
                });
                // SAFETY: the caller guarantees that the CPU supports `V` and the lengths.
                let block = unsafe {
                    let mut block = [[V::splat(0.0); N]; M];
                    for at in (0..len).step_by(LANES) {
                        let mut columns = [V::splat(0.0); N];
                        for (column, right) in columns.iter_mut().zip(rights) {
                            *column = V::load(right.as_ptr().add(at));
                        }
                        for (left, sums) in lefts.iter().zip(&mut block) {
                            let row = V::load(left.as_ptr().add(at));
                            for (sum, column) in sums.iter_mut().zip(columns) {
                                *sum = row.mul_add(column, *sum);
                            }
                        }
                    }
                    block
                };
                for (row, block) in (row..rows).zip(block) {
                    for (column, lanes) in (column..steps.len()).zip(block) {
                        let mut numbers = [0.0; LANES];
                        // SAFETY: the array holds a vector; the caller guarantees a sum for each
                        // row and step.
                        unsafe {
                            lanes.store(numbers.as_mut_ptr());
                            *sums.add(row * steps.len() + column) += total(numbers);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_instruction_sets_compute_the_same_products() {
        let len = 3 * LANES;
        let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
        for (isa, rows, columns) in
            Isa::available().flat_map(|isa| [(isa, 1, 1), (isa, 4, 6), (isa, 5, 7), (isa, 9, 17)])
        {
            let left: Vec<f32> = (0..rows * len).map(number).collect();
            let steps: Vec<u32> = (0..columns as u32).map(|step| step * 5).collect();
            let right: Vec<f32> = (0..columns * 5 + len).map(number).collect();
            let mut sums = vec![1.0; rows * columns];
            products(isa, &left, len, &right, &steps, &mut sums);
            for (at, sum) in sums.iter().enumerate() {
                let (row, step) = (at / columns, steps[at % columns] as usize);
                let terms = left[row * len..][..len].iter().zip(&right[step..]);
                let expected = 1.0 + terms.map(|(a, b)| a * b).sum::<f32>();
                assert_eq!(*sum, expected, "{isa:?}, {rows} x {columns}, {at}");
            }
        }
    }
}
