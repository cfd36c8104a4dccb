//! Operations on whole planes: means, products with factors, and copies.

use std::ops::Range;

use rayon::prelude::*;

use crate::scratch::zeros;
use crate::vectorized::{total, vectorized};
use zoo_simd::LANES;

vectorized! {
    fn sum(x: &[f32]) -> f32 {
        let mut sums = [0.0; 2 * LANES];
        let (chunks, rest) = x.as_chunks::<{ 2 * LANES }>();
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
        }
        total(sums) + rest.iter().sum::<f32>()
    }
}

vectorized! {
    /// Computes `Σ a · b`.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0; 2 * LANES];
        let (a, a_rest) = a.as_chunks::<{ 2 * LANES }>();
        let (b, b_rest) = b.as_chunks::<{ 2 * LANES }>();
        for (a, b) in a.iter().zip(b) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        total(sums) + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
    }
}

vectorized! {
    fn multiply(x: &[f32], factor: f32, out: &mut [f32]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = x * factor);
    }
}

/// Computes the mean of each plane.
pub(crate) fn means(x: &[f32], positions: usize) -> Vec<f32> {
    x.par_chunks(positions).map(|plane| sum(plane) / positions as f32).collect()
}

/// Computes the gradient of the input of [`means`].
pub(crate) fn means_gradient(grad: &[f32], positions: usize) -> Vec<f32> {
    let mut out = zeros(grad.len() * positions);
    let planes = out.par_chunks_mut(positions).zip(grad);
    planes.for_each(|(out, grad)| out.fill(grad / positions as f32));
    out
}

/// Multiplies each plane by its factor.
pub(crate) fn scale(x: &[f32], factors: &[f32]) -> Vec<f32> {
    let positions = x.len() / factors.len();
    let mut out = zeros(x.len());
    let planes = out.par_chunks_mut(positions).zip(x.par_chunks(positions));
    planes.zip(factors).for_each(|((out, x), factor)| multiply(x, *factor, out));
    out
}

/// Computes the gradient of the factors of [`scale`].
pub(crate) fn factors_gradient(x: &[f32], grad: &[f32], factors: usize) -> Vec<f32> {
    let positions = x.len() / factors;
    x.par_chunks(positions).zip(grad.par_chunks(positions)).map(|(x, grad)| dot(x, grad)).collect()
}

/// Returns the first image of each part, then the second of each part, …
pub(crate) fn interleave(parts: &[&[f32]], images: usize) -> Vec<f32> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(len);
    for image in 0..images {
        for part in parts {
            let size = part.len() / images;
            out.extend_from_slice(&part[image * size..(image + 1) * size]);
        }
    }
    out
}

/// Returns the numbers at a range of each image.
pub(crate) fn take(x: &[f32], images: usize, range: Range<usize>) -> Vec<f32> {
    let mut out = Vec::with_capacity(images * range.len());
    for image in x.chunks_exact(x.len() / images) {
        out.extend_from_slice(&image[range.clone()]);
    }
    out
}

/// Returns the first channel of each group, then the second of each group, …
pub(crate) fn shuffle(x: &[f32], [channels, groups]: [usize; 2], positions: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for image in x.chunks_exact(channels * positions) {
        for channel in 0..channels {
            let from = channel % groups * (channels / groups) + channel / groups;
            out.extend_from_slice(&image[from * positions..(from + 1) * positions]);
        }
    }
    out
}
