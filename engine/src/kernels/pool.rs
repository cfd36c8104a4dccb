//! Largest values and averages of windows.

use super::LANES;
use super::lanes::Lanes;

/// A row of output places of one block of channels.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The block of the input.
    pub(crate) input: *const f32,
    /// From a row of the input to the next.
    pub(crate) to_row: usize,
    /// The rows that the windows take in.
    pub(crate) rows: &'a [usize],
    /// The columns that each window takes in.
    pub(crate) columns: &'a [Vec<usize>],
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
    // SAFETY: the caller's promise.
    unsafe {
        for (place, columns) in row.columns.iter().enumerate() {
            let at = |y: usize, x: usize| V::load(row.input.add(y * row.to_row + x * LANES));
            let value = match row.factors {
                None => {
                    let mut largest = V::splat(f32::NEG_INFINITY);
                    for &y in row.rows {
                        for &x in columns {
                            largest = largest.max(at(y, x));
                        }
                    }
                    largest
                }
                Some(factors) => {
                    // A sum for each of some columns: one would wait for itself.
                    let mut sums = [V::splat(0.0); 4];
                    for &y in row.rows {
                        for columns in columns.chunks(4) {
                            for (sum, &x) in sums.iter_mut().zip(columns) {
                                *sum = sum.add(at(y, x));
                            }
                        }
                    }
                    let sum = sums[0].add(sums[1]).add(sums[2].add(sums[3]));
                    sum.mul(V::splat(factors[place]))
                }
            };
            value.store(row.output.add(place * LANES));
        }
    }
}
