//! Pooling, with the layout of depthwise convolutions.

use rayon::prelude::*;

use crate::depthwise::{self, Layout, MARGIN};
use crate::geometry::Geometry;
use crate::scratch::{with_scratch, zeros};
use crate::vectorized::vectorized;

/// The maximum number of taps, so that an index fits a byte.
pub(crate) const MOST_TAPS: usize = 256;

vectorized! {
    /// Finds the largest number that the taps read, and its tap; of equal numbers the first.
    fn largest(x: &[f32], taps: &[usize], out: &mut [f32], found: &mut [f32]) {
        let (out, _) = out.as_chunks_mut::<MARGIN>();
        let (found, _) = found.as_chunks_mut::<MARGIN>();
        for (i, (out, found)) in out.iter_mut().zip(found).enumerate() {
            let mut most = [f32::NEG_INFINITY; MARGIN];
            let mut at = [0.0; MARGIN];
            for (tap, offset) in taps.iter().enumerate() {
                let start = i * MARGIN + offset;
                let x: &[f32; MARGIN] = x[start..].first_chunk().expect("planes have a margin");
                for lane in 0..MARGIN {
                    // A NaN is the largest, as in PyTorch.
                    let is_larger = x[lane] > most[lane] || x[lane].is_nan();
                    most[lane] = if is_larger { x[lane] } else { most[lane] };
                    at[lane] = if is_larger { tap as f32 } else { at[lane] };
                }
            }
            (*out, *found) = (most, at);
        }
    }
}

/// Computes the maximum of each window, and its tap.
pub(crate) fn max(g: &Geometry, x: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let layout = Layout::new(g);
    let span = layout.span.next_multiple_of(MARGIN);
    let parts_len = layout.len(g);
    let mut out = zeros(g.batch * g.channels[0] * g.outputs());
    let mut taps = vec![0; out.len()];
    let planes = out.par_chunks_mut(g.outputs()).zip(taps.par_chunks_mut(g.outputs()));
    planes.zip(x.par_chunks(g.inputs())).for_each(|((out, taps), x)| {
        with_scratch(parts_len + 2 * span, |scratch| {
            let (parts, results) = scratch.split_at_mut(parts_len);
            let (most, found) = results.split_at_mut(span);
            layout.spread(g, x, f32::NEG_INFINITY, parts);
            largest(parts, &layout.taps, most, found);
            let rows = most.chunks(layout.part[1]).zip(found.chunks(layout.part[1]));
            let (out, taps) = (out.chunks_mut(g.output[1]), taps.chunks_mut(g.output[1]));
            for ((out, taps), (most, found)) in out.zip(taps).zip(rows) {
                out.copy_from_slice(&most[..g.output[1]]);
                taps.iter_mut().zip(found).for_each(|(tap, found)| *tap = *found as u8);
            }
        });
    });
    (out, taps)
}

/// Computes the gradient of the input of [`max`].
pub(crate) fn max_gradient(g: &Geometry, grad: &[f32], taps: &[u8]) -> Vec<f32> {
    let offsets: Vec<[isize; 2]> = (0..g.taps())
        .map(|tap| {
            let position = [tap / g.kernel[1], tap % g.kernel[1]];
            [0, 1].map(|axis| (position[axis] * g.dilation[axis]) as isize - g.padding[axis])
        })
        .collect();
    let mut out = zeros(g.batch * g.channels[0] * g.inputs());
    let planes = out.par_chunks_mut(g.inputs()).zip(grad.par_chunks(g.outputs()));
    planes.zip(taps.par_chunks(g.outputs())).for_each(|((out, grad), taps)| {
        for (position, (grad, tap)) in grad.iter().zip(taps).enumerate() {
            let window =
                [position / g.output[1] * g.stride[0], position % g.output[1] * g.stride[1]];
            let [row, column] = [0, 1].map(|axis| {
                let at = window[axis].wrapping_add_signed(offsets[usize::from(*tap)][axis]);
                // A window with only -∞ has its first tap, which may be outside the input.
                at.min(g.input[axis] - 1)
            });
            out[row * g.input[1] + column] += grad;
        }
    });
    out
}

/// Computes the factor that turns the sum of a window into the mean, for each position of an output
/// plane.
pub(crate) fn shares(g: &Geometry, counts_padding: bool) -> Vec<f32> {
    let inside = |axis: usize, position: usize| {
        let taps = 0..g.kernel[axis];
        let first = (position * g.stride[axis]) as isize - g.padding[axis];
        let read = taps.map(|tap| first + (tap * g.dilation[axis]) as isize);
        match counts_padding {
            true => g.kernel[axis],
            false => read.filter(|at| (0..g.input[axis] as isize).contains(at)).count(),
        }
    };
    let rows: Vec<_> = (0..g.output[0]).map(|row| inside(0, row)).collect();
    let columns: Vec<_> = (0..g.output[1]).map(|column| inside(1, column)).collect();
    let counts = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column));
    counts.map(|count| 1.0 / count.max(1) as f32).collect()
}

/// Computes the mean of each window, with the factors of [`shares`].
pub(crate) fn average(g: &Geometry, x: &[f32], shares: &[f32]) -> Vec<f32> {
    let ones = vec![1.0; g.channels[0] * g.taps()];
    let mut out = depthwise::forward(g, x, &ones, None);
    multiply(&mut out, shares);
    out
}

/// Computes the gradient of the input of [`average`].
pub(crate) fn average_gradient(g: &Geometry, grad: &mut [f32], shares: &[f32]) -> Vec<f32> {
    let ones = vec![1.0; g.channels[0] * g.taps()];
    multiply(grad, shares);
    depthwise::input_gradient(g, grad, &ones)
}

/// Multiplies each plane by the same numbers.
fn multiply(planes: &mut [f32], factors: &[f32]) {
    planes.par_chunks_mut(factors.len()).for_each(|plane| {
        plane.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
    });
}
