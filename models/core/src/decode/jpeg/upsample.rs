//! Upsamples a component to one sample per pixel, as libjpeg's "fancy" upsampling (`jdsample.c`).

use super::idct::{Block, inverse_dct};

/// The upsampling of a component to the image's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upsampling {
    /// Doubles the width: three parts of the nearest sample, one part of the next nearest.
    Width,
    /// Doubles the height, with the same weights.
    Height,
    /// Doubles width and height.
    Both,
    /// Repeats each sample this often to the right and downwards.
    Repeat(usize, usize),
}

/// A component's samples.
pub(super) struct Plane {
    pub(super) samples: Vec<u8>,
    /// Distance between two rows, in samples.
    pub(super) stride: usize,
    /// Number of columns, without those that only fill the last blocks.
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) upsampling: Upsampling,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        let start = y.min(self.height - 1) * self.stride;
        &self.samples[start..start + self.width]
    }

    /// Writes a block's samples. `[x, y]` are the block's column and row.
    #[inline(always)]
    pub(super) fn write(&mut self, block: &Block, quantization: &[u16; 64], [x, y]: [usize; 2]) {
        let start = 8 * (y * self.stride + x);
        inverse_dct(block, quantization, &mut self.samples[start..], self.stride);
    }

    /// Writes the image's row `y` to `output`, which is longer than the row. `sums` is a scratch buffer.
    pub(super) fn upsample(&self, y: usize, sums: &mut Vec<u16>, output: &mut [u8]) {
        let near = self.row(y / 2);
        let far = self.row(if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 });
        let both = near
            .iter()
            .zip(far)
            .map(|(&near, &far)| (3 * u16::from(near)).wrapping_add(u16::from(far)));
        match self.upsampling {
            Upsampling::Width => {
                repeat_ends(self.row(y).iter().map(|&sample| u16::from(sample)), sums);
                widen::<2>(sums, [1, 2], output);
            }
            Upsampling::Height => {
                let bias = 1 + (y % 2) as u16;
                output
                    .iter_mut()
                    .zip(both)
                    .for_each(|(x, sum)| *x = (sum.wrapping_add(bias) >> 2) as u8);
            }
            Upsampling::Both => {
                repeat_ends(both, sums);
                widen::<4>(sums, [8, 7], output);
            }
            Upsampling::Repeat(1, down) => output[..self.width].copy_from_slice(self.row(y / down)),
            Upsampling::Repeat(right, down) => {
                for (output, &sample) in output.chunks_mut(right).zip(self.row(y / down)) {
                    output.fill(sample);
                }
            }
        }
    }
}

/// Collects values and repeats the first and the last one.
fn repeat_ends(values: impl Iterator<Item = u16>, output: &mut Vec<u16>) {
    output.clear();
    output.push(0);
    output.extend(values);
    output[0] = output[1];
    output.push(output[output.len() - 1]);
}

/// Computes two samples from each value and its neighbors.
fn widen<const SHIFT: u32>(values: &[u16], bias: [u16; 2], output: &mut [u8]) {
    let middle = &values[1..values.len() - 1];
    let sides = values.iter().zip(&values[2..]);
    for ((pair, &value), (&left, &right)) in output.chunks_exact_mut(2).zip(middle).zip(sides) {
        let three = value.wrapping_mul(3);
        pair[0] = (three.wrapping_add(left).wrapping_add(bias[0]) >> SHIFT) as u8;
        pair[1] = (three.wrapping_add(right).wrapping_add(bias[1]) >> SHIFT) as u8;
    }
}
