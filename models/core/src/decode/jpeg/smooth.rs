//! Coefficients that a progressive image has not sent, estimated as libjpeg does (`jdcoefct.c`).

use super::huffman::at;
use super::idct::Block;

/// How many coefficients are estimated, the mean included.
pub(super) const ESTIMATED: usize = 10;

/// To which bit each of the first coefficients is known; -1 where it is not.
pub(super) type Known = [i8; ESTIMATED];

type Kernel = [i16; 25];

/// What the means of five by five blocks say about the one in the middle, if nothing else is known of it.
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

/// The same for coefficients 1 to 5, if others are known.
const FROM_MORE: [Kernel; 5] = [
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -7, 50, 0, -50, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, -7, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, -50, 0, 0, 0, 0, 7, 0, 0],
    [0, 0, -1, 0, 0, 0, 0, 13, 0, 0, 0, 0, -24, 0, 0, 0, 0, 13, 0, 0, 0, 0, -1, 0, 0],
    [0, -1, 0, 1, 0, -1, 10, 0, -10, 1, 0, 0, 0, 0, 0, 1, -10, 0, 10, -1, 0, 1, 0, -1, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 13, -24, 13, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

/// Whether an image's components leave something to estimate, and allow it.
pub(super) fn is_useful(components: &[(&Known, &[u16; 64])]) -> bool {
    components.iter().any(|(known, _)| known[1..].iter().any(|&bit| bit != 0))
        && components.iter().all(|(known, quantization)| {
            known[0] >= 0 && (0..ESTIMATED).all(|place| quantization[at(place)] > 0)
        })
}

/// Fills in a block's unknown coefficients from the means of the blocks around it, row by row.
pub(super) fn estimate(
    block: &mut Block,
    means: &[i16; 25],
    known: &Known,
    quantization: &[u16; 64],
) {
    let only_mean = known[1..].iter().all(|&bit| bit == -1);
    let guess = |place: usize, kernel: &Kernel| {
        let sum = means.iter().zip(kernel).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum::<i64>();
        let numerator = sum * i64::from(quantization[0]);
        let step = i64::from(quantization[at(place)]);
        let mut guess = ((step << 7) + numerator.abs()) / (step << 8);
        // Bits that are known to be zero stay so.
        if place > 0 && known[place] > 0 {
            guess = guess.min((1 << known[place]) - 1);
        }
        (guess * numerator.signum()) as i16
    };
    let kernels = if only_mean { &FROM_MEANS[1..] } else { &FROM_MORE[..] };
    for (place, kernel) in (1..).zip(kernels) {
        if known[place] != 0 && block[at(place)] == 0 {
            block[at(place)] = guess(place, kernel);
        }
    }
    if only_mean {
        block[0] = guess(0, &FROM_MEANS[0]);
    }
}
