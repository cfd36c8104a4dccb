//! Depthwise convolutions.

use std::ops::Range;

use zoo_graph::Window;
use zoo_simd::{Activation, Isa, Kernel, LANES, Lanes};

use super::direct::Description;
use crate::memory::{Aligned, Arena};
use crate::plan::buffers::Images;
use crate::plan::draft::Work;
use crate::plan::rows::{by_block, rows};
use crate::threads::Member;

/// The work of a depthwise convolution. It runs a kernel for each row of each block.
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
                let position = (channel / LANES * taps + tap) * LANES + channel % LANES;
                packed.as_mut_slice()[position] = *weight;
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
                row_stride: self.input.row * dilation[0],
                column_stride: LANES * dilation[1],
                step: LANES * stride[1],
                kernel,
                weights: self.weights.as_slice()[block * taps..].as_ptr(),
                bias: self.bias.as_slice()[block * LANES..].as_ptr(),
                output: arena.at(self.output.at(image, block, y)),
                width,
                activation: self.activation,
            };
            // SAFETY: the CPU supports `self.isa`; all taps are inside the input and its margins;
            // only this thread writes this row.
            unsafe { self.isa.run(&row) }
        }
    }
}

/// An output row of one block of channels.
#[derive(Debug)]
struct Row {
    /// The input of the first tap of the first position.
    input: *const f32,
    /// Distance in the input between rows of the filter.
    row_stride: usize,
    /// Distance in the input between columns of the filter.
    column_stride: usize,
    /// Distance between the inputs of adjacent positions.
    step: usize,
    kernel: [usize; 2],
    /// For each tap, the weights of the block's channels.
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
    /// The CPU supports the instruction set of `V`; the pointers are valid for the row and its
    /// taps.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        // SAFETY: the caller guarantees the same; `x + M <= self.width` at each call.
        unsafe {
            let mut x = 0;
            while x + 8 <= self.width {
                positions::<V, 8>(self, x);
                x += 8;
            }
            if x + 4 <= self.width {
                positions::<V, 4>(self, x);
                x += 4;
            }
            while x < self.width {
                positions::<V, 1>(self, x);
                x += 1;
            }
        }
    }
}

/// Computes `M` positions, from `at`.
///
/// # Safety
///
/// As for [`Kernel::run`]; `at + M <= row.width`.
#[inline(always)]
unsafe fn positions<V: Lanes, const M: usize>(row: &Row, at: usize) {
    // SAFETY: the caller guarantees that the pointers are valid for these positions and their taps.
    unsafe {
        let mut sums = [V::load(row.bias); M];
        let mut weights = row.weights;
        for ky in 0..row.kernel[0] {
            let mut input = row.input.add(at * row.step + ky * row.row_stride);
            for _ in 0..row.kernel[1] {
                let weight = V::load(weights);
                for (position, sum) in sums.iter_mut().enumerate() {
                    *sum = weight.mul_add(V::load(input.add(position * row.step)), *sum);
                }
                input = input.add(row.column_stride);
                weights = weights.add(LANES);
            }
        }
        for (position, sum) in sums.into_iter().enumerate() {
            row.activation.apply(sum).store(row.output.add((at + position) * LANES));
        }
    }
}
