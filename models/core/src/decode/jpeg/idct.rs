//! The inverse DCT from 64 coefficients to 8×8 samples, as libjpeg's accurate integer method
//! (`jidctint.c`).

use std::array::from_fn;
use std::num::Wrapping;

/// Coefficients of a block, row by row.
pub(super) type Block = [i16; 64];

type Lanes = [Wrapping<i32>; 8];

/// Fractional bits of the constants.
const CONSTANT_BITS: usize = 13;
/// Fractional bits between the passes.
const PASS_BITS: usize = 2;

/// Computes a block's samples and writes them to `output`, whose rows are `stride` apart.
///
/// `quantization` has the factor of each coefficient at the same index as `block`.
pub(super) fn inverse_dct(
    block: &Block,
    quantization: &[u16; 64],
    output: &mut [u8],
    stride: usize,
) {
    let dequantized = |index: usize| block[index].wrapping_mul(quantization[index] as i16);
    if block[1..].iter().all(|&coefficient| coefficient == 0) {
        let sample = level(((i32::from(dequantized(0)) << PASS_BITS) + 16) >> 5);
        for row in output.chunks_mut(stride).take(8) {
            row[..8].fill(sample);
        }
        return;
    }
    let rows = from_fn(|y| from_fn(|x| Wrapping(i32::from(dequantized(8 * y + x)))));
    let columns = transposed(&pass::<{ CONSTANT_BITS - PASS_BITS }>(&rows));
    let samples = transposed(&pass::<{ CONSTANT_BITS + PASS_BITS + 3 }>(&columns));
    for (row, samples) in output.chunks_mut(stride).zip(samples) {
        for (output, sample) in row.iter_mut().zip(samples) {
            *output = level(sample.0);
        }
    }
}

/// Shifts a sample to the range 0 to 255.
fn level(sample: i32) -> u8 {
    sample.wrapping_add(128).clamp(0, 255) as u8
}

fn transposed(rows: &[Lanes; 8]) -> [Lanes; 8] {
    from_fn(|y| from_fn(|x| rows[x][y]))
}

/// Computes eight inverse transforms in parallel: each lane is one, with its coefficients in the rows.
#[inline(always)]
fn pass<const SHIFT: usize>(input: &[Lanes; 8]) -> [Lanes; 8] {
    let mut output = [Lanes::default(); 8];
    for lane in 0..8 {
        let [y0, y1, y2, y3, y4, y5, y6, y7] = from_fn(|row| input[row][lane]);
        let times = |value: Wrapping<i32>, factor: i32| value * Wrapping(factor);

        // The even part: the constants are products of square roots and cosines.
        let z1 = times(y2 + y6, 4433);
        let (even2, even3) = (z1 + times(y6, -15137), z1 + times(y2, 6270));
        let (even0, even1) = ((y0 + y4) << CONSTANT_BITS, (y0 - y4) << CONSTANT_BITS);
        let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

        let z5 = times(y7 + y3 + y5 + y1, 9633);
        let (z1, z2) = (times(y7 + y1, -7373), times(y5 + y3, -20995));
        let (z3, z4) = (times(y7 + y3, -16069) + z5, times(y5 + y1, -3196) + z5);
        let odd = [
            times(y1, 12299) + z1 + z4,
            times(y3, 25172) + z2 + z3,
            times(y5, 16819) + z2 + z4,
            times(y7, 2446) + z1 + z3,
        ];

        let half = Wrapping(1 << (SHIFT - 1));
        for row in 0..4 {
            output[row][lane] = (even[row] + odd[row] + half) >> SHIFT;
            output[7 - row][lane] = (even[row] - odd[row] + half) >> SHIFT;
        }
    }
    output
}
