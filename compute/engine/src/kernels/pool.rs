//! Largest values and averages of windows.

use super::LANES;
use super::lanes::Lanes;

/// What a window takes in along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taps {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// A row of output places of one block of channels.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The first row that the windows take in.
    pub(crate) input: *const f32,
    /// How many rows they take in, and from one of them to the next.
    pub(crate) rows: usize,
    pub(crate) to_row: usize,
    /// The columns that each window takes in, and from one of them to the next.
    pub(crate) columns: &'a [Taps],
    pub(crate) to_column: usize,
    /// What the sum of each window is multiplied by; the largest value is taken where there are
    /// no factors.
    pub(crate) factors: Option<&'a [f32]>,
    pub(crate) output: *mut f32,
}

/// Computes a row.
///
/// # Safety
///
/// The machine has the instructions of `V`; the pointers are valid for the rows and columns.
#[inline(always)]
pub(crate) unsafe fn row<V: Lanes>(row: &Row<'_>) {
    let mut place = 0;
    while place < row.columns.len() {
        let next = &row.columns[place..];
        let are_alike = next.len() >= 4 && next[..4].iter().all(|taps| taps.count == next[0].count);
        // SAFETY: the caller's promise.
        unsafe {
            match (row.factors, are_alike) {
                (None, true) => largest::<V, 4>(row, place),
                (None, false) => largest::<V, 1>(row, place),
                (Some(factors), true) => average::<V, 4>(row, factors, place),
                (Some(factors), false) => average::<V, 1>(row, factors, place),
            }
        }
        place += if are_alike { 4 } else { 1 };
    }
}

/// The largest values of `M` windows with as many columns.
///
/// # Safety
///
/// As for [`row`]; there are so many windows from `at` on.
#[inline(always)]
unsafe fn largest<V: Lanes, const M: usize>(row: &Row<'_>, at: usize) {
    let taps: [Taps; M] = std::array::from_fn(|i| row.columns[at + i]);
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = [V::splat(f32::NEG_INFINITY); M];
        for y in 0..row.rows {
            for x in 0..taps[0].count {
                for (value, taps) in values.iter_mut().zip(&taps) {
                    let place = y * row.to_row + taps.first * LANES + x * row.to_column;
                    *value = value.largest(V::load(row.input.add(place)));
                }
            }
        }
        for (i, value) in values.into_iter().enumerate() {
            value.store(row.output.add((at + i) * LANES));
        }
    }
}

/// The sums of `M` windows with as many columns, each times its factor.
///
/// # Safety
///
/// As for [`row`]; there are so many windows from `at` on.
#[inline(always)]
unsafe fn average<V: Lanes, const M: usize>(row: &Row<'_>, factors: &[f32], at: usize) {
    let taps: [Taps; M] = std::array::from_fn(|i| row.columns[at + i]);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(0.0); M];
        for y in 0..row.rows {
            for x in 0..taps[0].count {
                for (sum, taps) in sums.iter_mut().zip(&taps) {
                    let place = y * row.to_row + taps.first * LANES + x * row.to_column;
                    *sum = sum.add(V::load(row.input.add(place)));
                }
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            let factor = V::splat(factors[at + i]);
            sum.mul(factor).store(row.output.add((at + i) * LANES));
        }
    }
}
