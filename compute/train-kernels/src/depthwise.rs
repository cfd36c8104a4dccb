//! Depthwise convolutions.
//!
//! A channel's input is copied to a layout in which each tap of the kernel reads contiguous
//! numbers: with padding, and split into parts by the remainder of rows and columns divided by the
//! stride. Output rows are as long as the rows of a part; the numbers between two output rows are
//! discarded at the end. So output, input gradient and kernel gradient are loops over whole planes.

use rayon::prelude::*;

use crate::geometry::Geometry;
use crate::scratch::{with_scratch, zeros};
use crate::vectorized::{total, vectorized};
use zoo_simd::LANES;

/// The layout of a channel in scratch memory.
pub(crate) struct Layout {
    /// Numbers of rows and columns of a part.
    pub(crate) part: [usize; 2],
    /// The start of each tap.
    pub(crate) taps: Vec<usize>,
    /// Number of elements from the first output to the last, with those between two rows.
    pub(crate) span: usize,
}

impl Layout {
    pub(crate) fn new(g: &Geometry) -> Self {
        let part = [0, 1].map(|axis| {
            let reach = (g.kernel[axis] - 1) * g.dilation[axis] / g.stride[axis];
            g.output[axis] + reach
        });
        let taps = (0..g.taps()).map(|tap| {
            let [y, x] = [tap / g.kernel[1] * g.dilation[0], tap % g.kernel[1] * g.dilation[1]];
            let phase = y % g.stride[0] * g.stride[1] + x % g.stride[1];
            (phase * part[0] + y / g.stride[0]) * part[1] + x / g.stride[1]
        });
        let span = (g.output[0] - 1) * part[1] + g.output[1];
        Self { part, taps: taps.collect(), span }
    }

    /// Returns the length of all parts, with a margin for vectors that extend beyond the last one.
    pub(crate) fn len(&self, g: &Geometry) -> usize {
        g.stride[0] * g.stride[1] * self.part[0] * self.part[1] + 2 * MARGIN
    }

    /// Calls `row` for each row of the parts, with the row's offset and the input's numbers in it:
    /// their start in the row, their start in the input and their count.
    fn rows(&self, g: &Geometry, mut row: impl FnMut(usize, [usize; 3])) {
        let [rows, columns] = self.part;
        for phase in 0..g.stride[0] * g.stride[1] {
            let (phase_y, phase_x) = (phase / g.stride[1], phase % g.stride[1]);
            // The columns of the part that are inside the input.
            let offset = phase_x as isize - g.padding[1];
            let after = |x: isize| usize::try_from(x).unwrap_or(0).div_ceil(g.stride[1]);
            let start = after(-offset).min(columns);
            let end = after(g.input[1] as isize - offset).clamp(start, columns);
            for i in 0..rows {
                let y = (i * g.stride[0] + phase_y) as isize - g.padding[0];
                let at = (phase * rows + i) * columns;
                match usize::try_from(y) {
                    Ok(y) if y < g.input[0] && start < end => {
                        let x = (start * g.stride[1]) as isize + offset;
                        row(at, [start, y * g.input[1] + x as usize, end - start]);
                    }
                    _ => row(at, [0, 0, 0]),
                }
            }
        }
    }

    /// Copies a channel into parts of length [`len`](Self::len), with `outside` around it.
    pub(crate) fn spread(&self, g: &Geometry, x: &[f32], outside: f32, parts: &mut [f32]) {
        self.rows(g, |at, [start, from, len]| {
            let row = &mut parts[at..at + self.part[1]];
            row[..start].fill(outside);
            row[start + len..].fill(outside);
            let row = &mut row[start..start + len];
            match g.stride[1] {
                1 => row.copy_from_slice(&x[from..from + len]),
                2 => every_second(&x[from..], row),
                stride => {
                    let from = x[from..].iter().step_by(stride);
                    row.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        });
        let used = parts.len() - 2 * MARGIN;
        parts[used..].fill(0.0);
    }

    /// Copies parts back into a channel; the inverse of [`spread`](Self::spread).
    fn collect(&self, g: &Geometry, parts: &[f32], x: &mut [f32]) {
        self.rows(g, |at, [start, to, len]| {
            let row = &parts[at + start..at + start + len];
            match g.stride[1] {
                1 => x[to..to + len].copy_from_slice(row),
                stride => {
                    let to = x[to..].iter_mut().step_by(stride);
                    to.zip(row).for_each(|(to, from)| *to = *from);
                }
            }
        });
    }

    /// Copies an output's gradient, with zeros between its rows.
    fn spread_gradient(&self, g: &Geometry, grad: &[f32], spread: &mut [f32]) {
        let rows = grad.chunks_exact(g.output[1]);
        for (to, from) in spread.chunks_mut(self.part[1]).zip(rows) {
            to[..g.output[1]].copy_from_slice(from);
            to[g.output[1]..].fill(0.0);
        }
        spread[self.span..].fill(0.0);
    }
}

/// Number of elements after a plane that vectors may read.
pub(crate) const MARGIN: usize = 4 * LANES;

vectorized! {
    fn every_second(x: &[f32], out: &mut [f32]) {
        let (pairs, _) = x.as_chunks::<2>();
        let Some((last, most)) = out.split_last_mut() else { return };
        for (out, [x, _]) in most.iter_mut().zip(pairs) {
            *out = *x;
        }
        // The last number may be without a pair.
        *last = x[2 * most.len()];
    }
}

vectorized! {
    /// Computes the sums over all taps. A tap with offset 0 starts at index `before` of `x`.
    fn correlate(x: &[f32], before: usize, taps: &[(isize, f32)], bias: f32, out: &mut [f32]) {
        let (chunks, []) = out.as_chunks_mut::<MARGIN>() else {
            unreachable!("planes end with a whole chunk");
        };
        for (i, chunk) in chunks.iter_mut().enumerate() {
            let mut sums = [bias; MARGIN];
            for (offset, factor) in taps {
                let start = (before + i * MARGIN).wrapping_add_signed(*offset);
                let x: &[f32; MARGIN] = x[start..].first_chunk().expect("planes have a margin");
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum += factor * x;
                }
            }
            *chunk = sums;
        }
    }
}

vectorized! {
    /// Computes `Σ a · b`.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0; MARGIN];
        let (a, _) = a.as_chunks::<MARGIN>();
        let (b, _) = b.as_chunks::<MARGIN>();
        for (a, b) in a.iter().zip(b) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        total(sums)
    }
}

/// Computes the output of a convolution.
pub(crate) fn forward(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let layout = Layout::new(g);
    let span = layout.span.next_multiple_of(MARGIN);
    let parts_len = layout.len(g);
    let mut out = zeros(g.batch * g.channels[1] * g.outputs());
    out.par_chunks_mut(g.outputs()).enumerate().for_each(|(plane, out)| {
        let channel = plane % g.channels[1];
        let kernel = &weight[channel * g.taps()..(channel + 1) * g.taps()];
        let taps: Vec<_> =
            layout.taps.iter().zip(kernel).map(|(tap, factor)| (*tap as isize, *factor)).collect();
        with_scratch(parts_len + span, |scratch| {
            let (parts, sums) = scratch.split_at_mut(parts_len);
            layout.spread(g, &x[plane * g.inputs()..(plane + 1) * g.inputs()], 0.0, parts);
            correlate(parts, 0, &taps, bias.map_or(0.0, |bias| bias[channel]), sums);
            for (to, from) in out.chunks_exact_mut(g.output[1]).zip(sums.chunks(layout.part[1])) {
                to.copy_from_slice(&from[..g.output[1]]);
            }
        });
    });
    out
}

/// Computes the gradient of a convolution's input.
pub(crate) fn input_gradient(g: &Geometry, grad: &[f32], weight: &[f32]) -> Vec<f32> {
    if g.stride == [1, 1] {
        // The kernels in reverse order.
        let flipped = weight.chunks_exact(g.taps()).flat_map(|kernel| kernel.iter().rev());
        return forward(&g.transposed(), grad, &flipped.copied().collect::<Vec<_>>(), None);
    }
    let layout = Layout::new(g);
    let part = layout.part[0] * layout.part[1];
    let padded = part.next_multiple_of(MARGIN);
    let phases = g.stride[0] * g.stride[1];
    // A position of a part is read by outputs before it, up to the size of the kernel.
    let reach = layout.taps.iter().map(|tap| tap % part).max().unwrap_or(0);
    let before = reach.next_multiple_of(LANES);
    let grad_len = before + padded.max(layout.span) + MARGIN;
    let mut out = zeros(g.batch * g.channels[0] * g.inputs());
    out.par_chunks_mut(g.inputs()).enumerate().for_each(|(plane, out)| {
        let channel = plane % g.channels[0];
        let kernel = &weight[channel * g.taps()..(channel + 1) * g.taps()];
        with_scratch(grad_len + (phases + 1) * padded, |scratch| {
            let (spread, parts) = scratch.split_at_mut(grad_len);
            spread[..before].fill(0.0);
            let grad = &grad[plane * g.outputs()..(plane + 1) * g.outputs()];
            layout.spread_gradient(g, grad, &mut spread[before..]);
            for phase in 0..phases {
                let taps: Vec<_> = layout
                    .taps
                    .iter()
                    .zip(kernel)
                    .filter(|(tap, _)| *tap / part == phase)
                    .map(|(tap, factor)| (-((tap % part) as isize), *factor))
                    .collect();
                // The next part overwrites the numbers that are written after this one.
                let part = &mut parts[phase * part..phase * part + padded];
                correlate(spread, before, &taps, 0.0, part);
            }
            layout.collect(g, parts, out);
        });
    });
    out
}

/// Computes the gradient of a convolution's kernels.
pub(crate) fn weight_gradient(g: &Geometry, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let layout = Layout::new(g);
    let span = layout.span.next_multiple_of(MARGIN);
    let parts_len = layout.len(g);
    let mut planes = vec![0.0; g.batch * g.channels[0] * g.taps()];
    planes.par_chunks_mut(g.taps()).enumerate().for_each(|(plane, sums)| {
        with_scratch(parts_len + span, |scratch| {
            let (parts, spread) = scratch.split_at_mut(parts_len);
            layout.spread(g, &x[plane * g.inputs()..(plane + 1) * g.inputs()], 0.0, parts);
            let grad = &grad[plane * g.outputs()..(plane + 1) * g.outputs()];
            layout.spread_gradient(g, grad, spread);
            for (sum, tap) in sums.iter_mut().zip(&layout.taps) {
                *sum = dot(spread, &parts[*tap..*tap + span]);
            }
        });
    });
    let mut out = vec![0.0; g.channels[0] * g.taps()];
    for image in planes.chunks_exact(out.len()) {
        out.iter_mut().zip(image).for_each(|(out, plane)| *out += plane);
    }
    out
}
