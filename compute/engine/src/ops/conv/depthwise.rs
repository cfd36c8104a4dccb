//! Convolutions of each channel by itself.

use std::ops::Range;

use zoo_graph::Window;
use zoo_simd::{Activation, Isa, Kernel, LANES, Lanes};

use super::direct::Description;
use crate::memory::{Aligned, Arena};
use crate::plan::buffers::Images;
use crate::plan::draft::Work;
use crate::plan::rows::{by_block, rows};
use crate::threads::Member;

/// A depthwise convolution that is ready to run: its kernel for each row of each block.
#[derive(Debug)]
pub(super) struct Depthwise {
    isa: Isa,
    input: Images,
    output: Images,
    window: Window,
    weights: Aligned,
    bias: Aligned,
    activation: Activation,
}

impl Depthwise {
    pub(super) fn new(
        isa: Isa,
        &Description { window, weights, bias, activation, .. }: &Description<'_>,
        [input, output]: [Images; 2],
    ) -> Self {
        let taps = window.kernel[0] * window.kernel[1];
        let mut packed = Aligned::zeros(output.blocks() * taps * LANES);
        for (channel, filter) in weights.chunks_exact(taps).enumerate() {
            for (tap, weight) in filter.iter().enumerate() {
                let place = (channel / LANES * taps + tap) * LANES + channel % LANES;
                packed.as_mut_slice()[place] = *weight;
            }
        }
        Self { isa, input, output, window, weights: packed, bias: by_block(bias), activation }
    }
}

impl Work for Depthwise {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn weights_len(&self) -> usize {
        self.weights.len() + self.bias.len()
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let Window { kernel, stride, dilation, before, .. } = self.window;
        let [_, _, height, width] = self.output.shape;
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let input = self.input.at(image, block, y * stride[0])
                - before[0] * self.input.row
                - before[1] * LANES;
            let taps = kernel[0] * kernel[1] * LANES;
            let row = Row {
                input: arena.at(input),
                to_row: self.input.row * dilation[0],
                to_column: LANES * dilation[1],
                step: LANES * stride[1],
                kernel,
                weights: self.weights.as_slice()[block * taps..].as_ptr(),
                bias: self.bias.as_slice()[block * LANES..].as_ptr(),
                output: arena.at(self.output.at(image, block, y)),
                width,
                activation: self.activation,
            };
            // SAFETY: the machine has the instructions; the input's margins hold all taps, and
            // no other thread has this row.
            unsafe { self.isa.run(&row) }
        }
    }
}

/// A row of output places of one block of channels.
#[derive(Debug)]
struct Row {
    /// The input of the first tap of the first place.
    input: *const f32,
    /// From a row of the filter to the next, in the input.
    to_row: usize,
    /// From a column of the filter to the next, in the input.
    to_column: usize,
    /// From a place's input to that of the next.
    step: usize,
    kernel: [usize; 2],
    /// For each tap, those of the block.
    weights: *const f32,
    bias: *const f32,
    output: *mut f32,
    width: usize,
    activation: Activation,
}

impl Kernel for Row {
    type Output = ();

    /// # Safety
    ///
    /// The machine has the instructions of `V`; the pointers are valid for the row and its taps.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut x = 0;
            while x + 8 <= self.width {
                places::<V, 8>(self, x);
                x += 8;
            }
            if x + 4 <= self.width {
                places::<V, 4>(self, x);
                x += 4;
            }
            while x < self.width {
                places::<V, 1>(self, x);
                x += 1;
            }
        }
    }
}

/// Computes `M` places.
///
/// # Safety
///
/// As for the kernel; there are so many places from `at` on.
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
            row.activation.apply(sum).store(row.output.add((at + place) * LANES));
        }
    }
}
