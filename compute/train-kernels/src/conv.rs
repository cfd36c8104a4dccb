//! Convolutions as matrix products.
//!
//! The kernels are the left matrix. The right matrix has a column for each output position, with
//! all inputs of its window (im2col). It never exists as a whole: its panels are gathered from the
//! images when they are needed, or read from a padded copy of an image.

use std::ops::Range;

use rayon::prelude::*;

use crate::gemm::{BLOCK, Right, Tiling};
use crate::geometry::{Geometry, Run};
use crate::padded::{self, Padded};
use crate::scratch::{Shared, with_scratch, zeros};
use crate::transpose::{SLACK, transpose};
use zoo_simd::{Isa, LANES};

/// Number of steps of a weight gradient's sum that are packed at once.
const STEPS: usize = 256;

/// The left matrix as a view of the kernels.
#[derive(Clone, Copy)]
struct Kernels<'a> {
    weight: &'a [f32],
    /// Distances between rows and between the channels of a row.
    strides: [usize; 2],
    /// Whether the taps are in reverse order.
    flipped: bool,
}

impl Kernels<'_> {
    /// Packs all rows of a group.
    fn pack(&self, tiling: Tiling, offset: usize, [rows, channels, taps]: [usize; 3]) -> Vec<f32> {
        let panel = tiling.rows * channels * taps;
        let mut packed = vec![0.0; rows.div_ceil(tiling.rows) * panel];
        packed.par_chunks_mut(panel).enumerate().for_each(|(index, panel)| {
            let first = index * tiling.rows;
            let rows = tiling.rows.min(rows - first);
            // Panels are larger than the L1 cache, so this writes them in order.
            for (step, panel) in panel.chunks_exact_mut(tiling.rows).enumerate() {
                let (channel, tap) = (step / taps, step % taps);
                let tap = if self.flipped { taps - 1 - tap } else { tap };
                let from = offset + first * self.strides[0] + channel * self.strides[1] + tap;
                let from = self.weight[from..].iter().step_by(self.strides[0]);
                panel.iter_mut().take(rows).zip(from).for_each(|(to, from)| *to = *from);
            }
        });
        packed
    }
}

/// Computes the output of a convolution.
pub(crate) fn forward(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let [group_in, group_out] = g.group();
    let kernels = Kernels { weight, strides: [group_in * g.taps(), g.taps()], flipped: false };
    let group = group_out * group_in * g.taps();
    convolve(&g.flattened(), x, kernels, group, bias)
}

/// Computes the gradient of a convolution's input.
pub(crate) fn input_gradient(g: &Geometry, grad: &[f32], weight: &[f32]) -> Vec<f32> {
    if g.stride != [1, 1] {
        return scattered(g, grad, weight);
    }
    let [group_in, group_out] = g.group();
    let kernels = Kernels { weight, strides: [g.taps(), group_in * g.taps()], flipped: true };
    let group = group_out * group_in * g.taps();
    convolve(&g.transposed().flattened(), grad, kernels, group, None)
}

fn convolve(
    g: &Geometry,
    x: &[f32],
    kernels: Kernels<'_>,
    group_len: usize,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let [group_in, group_out] = g.group();
    let depth = group_in * g.taps();
    let positions = g.batch * g.outputs();
    let tiling = Tiling::new(Isa::best(), group_out, positions);
    let packed: Vec<_> = (0..g.groups)
        .map(|group| kernels.pack(tiling, group * group_len, [group_out, group_in, g.taps()]))
        .collect();

    let mut out = zeros(positions * g.channels[1]);
    let output = Output { g, bias, tiling, shared: Shared::new(&mut out) };
    // Each image and group is a task, so there must be enough of them.
    let padded = Padded::of(g).filter(|_| g.batch * g.groups >= rayon::current_num_threads());
    if let Some(padded) = padded {
        let panels: Vec<_> = padded.runs(g, tiling.columns).collect();
        let steps = padded.steps(g, 1);
        (0..g.batch * g.groups).into_par_iter().for_each(|task| {
            let (image, group) = (task / g.groups, task % g.groups);
            with_scratch(padded.len(g, 1), |numbers| {
                padded.copy(g, x, image..image + 1, group, numbers);
                let right =
                    Right { numbers, panels: panels.len(), stride: tiling.columns, steps: &steps };
                tiling.multiply(&packed[group], right, |i, j, tile| {
                    output.store(image, group, i, &panels[j], tile);
                });
            });
        });
        return out;
    }
    let steps = tiling.packed_steps(depth);
    // Small enough to divide the work. No sum extends over several blocks, so the block size may
    // depend on the number of threads.
    let shared = positions.div_ceil(4 * rayon::current_num_threads());
    let block = block_len(depth, shared, tiling.columns);
    let blocks = positions.div_ceil(block);
    (0..g.groups * blocks).into_par_iter().for_each(|task| {
        let (group, first) = (task / blocks, task % blocks * block);
        let panels = block.min(positions - first).div_ceil(tiling.columns);
        let runs: Vec<_> = (0..panels)
            .map(|panel| {
                let start = first + panel * tiling.columns;
                g.runs(start..(start + tiling.columns).min(positions))
            })
            .collect();
        with_scratch(panels * tiling.columns * depth, |right| {
            for (panel, runs) in right.chunks_exact_mut(tiling.columns * depth).zip(&runs) {
                gather(g, x, group, tiling.columns, runs, panel);
            }
            tiling.multiply(&packed[group], tiling.packed(right, &steps), |i, j, tile| {
                output.store(0, group, i, &runs[j], tile);
            });
        });
    });
    out
}

/// The destination of tiles.
struct Output<'a> {
    g: &'a Geometry,
    bias: Option<&'a [f32]>,
    tiling: Tiling,
    shared: Shared<'a>,
}

impl Output<'_> {
    /// Writes a tile of the left panel `panel`. The images of the runs are relative to `image`.
    fn store(&self, image: usize, group: usize, panel: usize, runs: &[Run], tile: &[f32]) {
        let Self { g, bias, tiling, shared } = self;
        let [_, group_out] = g.group();
        let rows = tile.chunks_exact(tiling.columns);
        for (row, tile) in (panel * tiling.rows..group_out).zip(rows) {
            let channel = group * group_out + row;
            for run in runs {
                let start = ((image + run.image) * g.channels[1] + channel) * g.outputs()
                    + run.row * g.output[1]
                    + run.column;
                // SAFETY: each task writes its own positions or channels.
                let out = unsafe { shared.part(start, run.len) };
                out.copy_from_slice(&tile[run.at..run.at + run.len]);
                if let Some(bias) = bias {
                    out.iter_mut().for_each(|out| *out += bias[channel]);
                }
            }
        }
    }
}

/// Returns the number of columns that are packed at once: those that a block holds, at most `most`.
fn block_len(depth: usize, most: usize, columns: usize) -> usize {
    (BLOCK / depth.max(1)).min(most).max(1).next_multiple_of(columns)
}

/// The numbers that a tap reads for a run: their start in the channel and in the row of the panel.
struct Read {
    from: usize,
    to: usize,
    len: usize,
}

/// Returns the numbers inside the input that each tap reads for the positions of a panel.
fn reads(g: &Geometry, runs: &[Run]) -> Vec<Vec<Read>> {
    let taps = (0..g.taps()).map(|tap| {
        let reads = runs.iter().filter_map(|run| {
            let y = g.input_row(run.row, tap / g.kernel[1])?;
            let (first, inside) = g.input_columns(run, tap % g.kernel[1]);
            let row = run.image * g.channels[0] * g.inputs() + y * g.input[1];
            let from = row.checked_add_signed(first + (inside.start * g.stride[1]) as isize)?;
            let read = Read { from, to: run.at + inside.start, len: inside.len() };
            (read.len > 0).then_some(read)
        });
        reads.collect()
    });
    taps.collect()
}

/// Packs the inputs of the windows of a group at some positions.
fn gather(g: &Geometry, x: &[f32], group: usize, columns: usize, runs: &[Run], panel: &mut [f32]) {
    let [group_in, _] = g.group();
    let reads = reads(g, runs);
    let channels = panel.chunks_exact_mut(columns * g.taps());
    for (channel, rows) in (group * group_in..).zip(channels) {
        let x = &x[channel * g.inputs()..];
        for (row, reads) in rows.chunks_exact_mut(columns).zip(&reads) {
            read(g, x, reads, row);
        }
    }
}

/// Copies the numbers of a channel that a tap reads.
fn read(g: &Geometry, x: &[f32], reads: &[Read], row: &mut [f32]) {
    if reads.iter().map(|read| read.len).sum::<usize>() < row.len() {
        row.fill(0.0);
    }
    for read in reads {
        let row = &mut row[read.to..read.to + read.len];
        match g.stride[1] {
            1 => row.copy_from_slice(&x[read.from..read.from + read.len]),
            stride => {
                let x = x[read.from..].iter().step_by(stride);
                row.iter_mut().zip(x).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Computes the input's gradient of a strided convolution. It multiplies the gradient of each
/// output pixel by the kernels and adds the products to the input pixels of its window.
fn scattered(g: &Geometry, grad: &[f32], weight: &[f32]) -> Vec<f32> {
    let [group_in, group_out] = g.group();
    let rows = group_in * g.taps();
    let positions = g.outputs();
    let tiling = Tiling::new(Isa::best(), rows, positions);
    // The left matrix has a row for each channel and tap of the input.
    let kernels = Kernels { weight, strides: [1, rows], flipped: false };
    let packed: Vec<_> = (0..g.groups)
        .map(|group| kernels.pack(tiling, group * group_out * rows, [rows, group_out, 1]))
        .collect();
    // The right matrix is the gradient, read position by position.
    let read = Geometry {
        channels: [g.channels[1]; 2],
        input: g.output,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
        ..*g
    };

    let mut out = zeros(g.batch * g.channels[0] * g.inputs());
    let steps = tiling.packed_steps(group_out);
    // Sums extend over several blocks, so the block size must not depend on the number of threads.
    let block = block_len(group_out, positions, tiling.columns);
    let part = group_in * g.inputs();
    out.par_chunks_mut(part).enumerate().for_each(|(task, out)| {
        let (image, group) = (task / g.groups, task % g.groups);
        for first in (0..positions).step_by(block) {
            let panels = block.min(positions - first).div_ceil(tiling.columns);
            with_scratch(panels * tiling.columns * group_out, |right| {
                let runs: Vec<_> = (0..panels)
                    .map(|panel| {
                        let start = first + panel * tiling.columns;
                        let end = (start + tiling.columns).min(positions);
                        read.runs(image * positions + start..image * positions + end)
                    })
                    .collect();
                for (panel, runs) in right.chunks_exact_mut(tiling.columns * group_out).zip(&runs) {
                    gather(&read, grad, group, tiling.columns, runs, panel);
                }
                tiling.multiply(&packed[group], tiling.packed(right, &steps), |i, j, tile| {
                    let tile = tile.chunks_exact(tiling.columns);
                    for (row, tile) in (i * tiling.rows..rows).zip(tile) {
                        let (channel, tap) = (row / g.taps(), row % g.taps());
                        for run in &runs[j] {
                            let Some(y) = g.input_row(run.row, tap / g.kernel[1]) else { continue };
                            let (first, inside) = g.input_columns(run, tap % g.kernel[1]);
                            let row = &mut out[channel * g.inputs() + y * g.input[1]..];
                            for position in inside {
                                let x = first + (position * g.stride[1]) as isize;
                                row[x as usize] += tile[run.at + position];
                            }
                        }
                    }
                });
            });
        }
    });
    out
}

/// Computes the gradient of a convolution's kernels.
pub(crate) fn weight_gradient(g: &Geometry, x: &[f32], grad: &[f32]) -> Vec<f32> {
    if let Some(padded) = Padded::of(g).filter(|_| padded::has_few_weights(g)) {
        return padded.weight_gradient(g, x, grad);
    }
    let g = &g.flattened();
    let [group_in, group_out] = g.group();
    let columns = group_in * g.taps();
    let tiling = Tiling::new(Isa::best(), group_out, columns);
    let all_steps = tiling.packed_steps(STEPS);
    let [left_panels, right_panels] =
        [group_out.div_ceil(tiling.rows), columns.div_ceil(tiling.columns)];
    // The threads divide the larger side.
    let threads = rayon::current_num_threads().div_ceil(g.groups);
    let shares = match left_panels > right_panels {
        true => [threads.min(left_panels), 1],
        false => [1, threads.min(right_panels)],
    };

    let mut out = vec![0.0; g.channels[1] * columns];
    let shared = Shared::new(&mut out);
    (0..g.groups * shares[0] * shares[1]).into_par_iter().for_each(|task| {
        let (group, task) = (task / (shares[0] * shares[1]), task % (shares[0] * shares[1]));
        let [i, j] = [task / shares[1], task % shares[1]];
        let lefts = i * left_panels / shares[0]..(i + 1) * left_panels / shares[0];
        let rights = j * right_panels / shares[1]..(j + 1) * right_panels / shares[1];
        let left_len = lefts.len() * tiling.rows * STEPS + SLACK;
        let right_len = rights.len() * tiling.columns * STEPS + SLACK;
        let lines_len = 2 * LANES * STEPS;
        with_scratch(left_len + right_len + lines_len, |scratch| {
            let (left, scratch) = scratch.split_at_mut(left_len);
            let (right, lines) = scratch.split_at_mut(right_len);
            let positions = g.batch * g.outputs();
            for first in (0..positions).step_by(STEPS) {
                let runs = g.runs(first..(first + STEPS).min(positions));
                // Rounded up to whole vectors; the additional steps multiply zeros.
                let steps = STEPS.min(positions - first).next_multiple_of(LANES);
                lines.fill(0.0);
                for (at, index) in lefts.clone().enumerate() {
                    let first = index * tiling.rows;
                    let channels = first..(first + tiling.rows).min(group_out);
                    gradient_lines(g, grad, group, channels, &runs, lines, steps);
                    let panel = &mut left[at * tiling.rows * steps..];
                    transpose(lines, steps, tiling.rows, panel);
                }
                let reads = reads(g, &runs);
                for (at, index) in rights.clone().enumerate() {
                    let first = index * tiling.columns;
                    let range = first..(first + tiling.columns).min(columns);
                    input_lines(g, x, group, range, &reads, lines, steps);
                    let panel = &mut right[at * tiling.columns * steps..];
                    transpose(lines, steps, tiling.columns, panel);
                }
                let left = &left[..lefts.len() * tiling.rows * steps];
                let right = &right[..rights.len() * tiling.columns * steps];
                let steps = &all_steps[..steps];
                tiling.multiply(left, tiling.packed(right, steps), |i, j, tile| {
                    let column = (rights.start + j) * tiling.columns;
                    let len = tiling.columns.min(columns - column);
                    let row = (lefts.start + i) * tiling.rows;
                    let tile = tile.chunks_exact(tiling.columns);
                    for (row, tile) in (row..group_out).zip(tile) {
                        let start = (group * group_out + row) * columns + column;
                        // SAFETY: each task writes its own rows or columns.
                        let out = unsafe { shared.part(start, len) };
                        out.iter_mut().zip(tile).for_each(|(out, tile)| *out += tile);
                    }
                });
            }
        });
    });
    out
}

/// Copies the output gradients of some channels, one line per channel.
fn gradient_lines(
    g: &Geometry,
    grad: &[f32],
    group: usize,
    channels: Range<usize>,
    runs: &[Run],
    lines: &mut [f32],
    steps: usize,
) {
    let [_, group_out] = g.group();
    for (channel, line) in channels.zip(lines.chunks_exact_mut(steps)) {
        let channel = group * group_out + channel;
        for run in runs {
            let from = (run.image * g.channels[1] + channel) * g.outputs()
                + run.row * g.output[1]
                + run.column;
            line[run.at..run.at + run.len].copy_from_slice(&grad[from..from + run.len]);
        }
    }
}

/// Copies the inputs that some taps of the kernels read, one line per tap.
fn input_lines(
    g: &Geometry,
    x: &[f32],
    group: usize,
    columns: Range<usize>,
    reads: &[Vec<Read>],
    lines: &mut [f32],
    steps: usize,
) {
    let [group_in, _] = g.group();
    for (column, line) in columns.zip(lines.chunks_exact_mut(steps)) {
        let x = &x[(group * group_in + column / g.taps()) * g.inputs()..];
        read(g, x, &reads[column % g.taps()], line);
    }
}
