//! Estimates coefficients that a progressive image does not contain, as libjpeg does (`jdcoefct.c`).

use super::huffman::at;
use super::idct::Block;

/// Number of coefficients that are estimated, including the mean.
pub(super) const ESTIMATED: usize = 10;

/// The lowest known bit of each of the first coefficients; -1 if none is known.
pub(super) type Known = [i8; ESTIMATED];

type Kernel = [i16; 25];

/// Weights of the means of 5×5 blocks for the coefficients of the middle block, if only its mean is
/// known.
const FROM_MEANS: [Kernel; ESTIMATED] = [
    [
        -2, -6, -8, -6, -2, -6, 6, 42, 6, -6, -8, 42, 152, 42, -8, -6, 6, 42, 6, -6, -2, -6, -8,
        -6, -2,
    ],
    [-1, -1, 0, 1, 1, -3, 13, 0, -13, 3, -3, 38, 0, -38, 3, -3, 13, 0, -13, 3, -1, -1, 0, 1, 1],
    [-1, -3, -3, -3, -1, -1, 13, 38, 13, -1, 0, 0, 0, 0, 0, 1, -13, -38, -13, 1, 1, 3, 3, 3, 1],
    [0, 0, 1, 0, 0, 0, 2, 7, 2, 0, 0, -5, -14, -5, 0, 0, 2, 7, 2, 0, 0, 0, 1, 0, 0],
    [-1, 0, 0, 0, 1, 0, 9, 0, -9, 0, 0, 0, 0, 0, 0, 0, -9, 0, 9, 0, 1, 0, 0, 0, -1],
    [0, 0, 0, 0, 0, 0, 2, -5, 2, 0, 1, 7, -14, 7, 1, 0, 2, -5, 2, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, 2, 0, -2, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, -3, 1, 0, 0, 0, 0, 0, 0, 0, -1, 3, -1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, -3, 0, 3, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, -1, -2, -1, 0, 0, 0, 0, 0, 0],
];

/// Weights of the means of 5×5 blocks for coefficients 1 to 5 of the middle block, if others are
/// known.
const FROM_MORE: [Kernel; 5] = [
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -7, 50, 0, -50, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, -7, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, -50, 0, 0, 0, 0, 7, 0, 0],
    [0, 0, -1, 0, 0, 0, 0, 13, 0, 0, 0, 0, -24, 0, 0, 0, 0, 13, 0, 0, 0, 0, -1, 0, 0],
    [0, -1, 0, 1, 0, -1, 10, 0, -10, 1, 0, 0, 0, 0, 0, 1, -10, 0, 10, -1, 0, 1, 0, -1, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 13, -24, 13, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

/// Whether some coefficient of the components is unknown, and all components have what the
/// estimation needs.
pub(super) fn is_useful(components: &[(&Known, &[u16; 64])]) -> bool {
    components.iter().any(|(known, _)| known[1..].iter().any(|&bit| bit != 0))
        && components.iter().all(|(known, quantization)| {
            known[0] >= 0 && (0..ESTIMATED).all(|index| quantization[at(index)] > 0)
        })
}

/// Estimates a block's unknown coefficients from the means of the 5×5 blocks around it, row by row.
pub(super) fn estimate(
    block: &mut Block,
    means: &[i16; 25],
    known: &Known,
    quantization: &[u16; 64],
) {
    let only_mean = known[1..].iter().all(|&bit| bit == -1);
    let guess = |index: usize, kernel: &Kernel| {
        let sum = means.iter().zip(kernel).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum::<i64>();
        let numerator = sum * i64::from(quantization[0]);
        let step = i64::from(quantization[at(index)]);
        let mut guess = ((step << 7) + numerator.abs()) / (step << 8);
        // Bits that are known to be zero stay so.
        if index > 0 && known[index] > 0 {
            guess = guess.min((1 << known[index]) - 1);
        }
        (guess * numerator.signum()) as i16
    };
    let kernels = if only_mean { &FROM_MEANS[1..] } else { &FROM_MORE[..] };
    for (index, kernel) in (1..).zip(kernels) {
        if known[index] != 0 && block[at(index)] == 0 {
            block[at(index)] = guess(index, kernel);
        }
    }
    if only_mean {
        block[0] = guess(0, &FROM_MEANS[0]);
    }
}
