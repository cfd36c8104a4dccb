//! Convolution of each channel by itself.

use super::lanes::Lanes;
use super::{LANES, activate};
use crate::graph::Activation;

/// A row of output places of one block of channels.
#[derive(Debug)]
pub(crate) struct Row {
    /// The input of the first tap of the first place.
    pub(crate) input: *const f32,
    /// From a row of the filter to the next, in the input.
    pub(crate) to_row: usize,
    /// From a column of the filter to the next, in the input.
    pub(crate) to_column: usize,
    /// From a place's input to that of the next.
    pub(crate) step: usize,
    pub(crate) kernel: [usize; 2],
    /// For each tap, those of the block.
    pub(crate) weights: *const f32,
    pub(crate) bias: *const f32,
    pub(crate) output: *mut f32,
    pub(crate) width: usize,
    pub(crate) activation: Activation,
}

/// Computes a row.
///
/// # Safety
///
/// The machine has the instructions of `V`; the pointers are valid for the row and its taps.
#[inline(always)]
pub(crate) unsafe fn row<V: Lanes>(row: &Row) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut x = 0;
        while x + 8 <= row.width {
            places::<V, 8>(row, x);
            x += 8;
        }
        if x + 4 <= row.width {
            places::<V, 4>(row, x);
            x += 4;
        }
        while x < row.width {
            places::<V, 1>(row, x);
            x += 1;
        }
    }
}

/// Computes `M` places.
///
/// # Safety
///
/// As for [`row`]; there are so many places from `at` on.
#[inline(always)]
unsafe fn places<V: Lanes, const M: usize>(row: &Row, at: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::load(row.bias); M];
        let mut weights = row.weights;
        for ky in 0..row.kernel[0] {
            let mut input = row.input.add(at * row.step + ky * row.to_row);
            for _ in 0..row.kernel[1] {
                let weight = V::load(weights);
                for (place, sum) in sums.iter_mut().enumerate() {
                    *sum = weight.mul_add(V::load(input.add(place * row.step)), *sum);
                }
                input = input.add(row.to_column);
                weights = weights.add(LANES);
            }
        }
        for (place, sum) in sums.into_iter().enumerate() {
            activate(sum, row.activation).store(row.output.add((at + place) * LANES));
        }
    }
}
