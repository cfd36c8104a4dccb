use std::ops::Range;

use zoo_simd::LANES;

use super::index::{indices, strides};
use super::{Operator, View};
use crate::Error;
use crate::graph::Node;
use crate::memory::Arena;
use crate::plan::buffers::{Format, Images};
use crate::plan::draft::{Step, Work};
use crate::plan::lower::Lowering;
use crate::plan::rows::rows;
use crate::threads::Member;

/// A slice or a padding. Output element `i` is input element `start + i · step` in each dimension,
/// or `fill` outside the input.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) start: Vec<isize>,
    pub(crate) step: Vec<isize>,
    pub(crate) fill: f32,
}

impl Slice {
    /// Converts ranges of the first dimensions of an input; the other dimensions are whole.
    ///
    /// # Errors
    ///
    /// When a range has a negative step or a start that is counted from the end.
    pub(super) fn of_ranges(
        ranges: &[burn::tensor::Slice],
        input: &[usize],
    ) -> Result<Self, Error> {
        if ranges.iter().any(|range| range.step < 1 || range.start < 0) {
            return Err(Error::unsupported("Slice"));
        }
        let mut slice = Self { start: vec![0; input.len()], step: vec![1; input.len()], fill: 0.0 };
        for (axis, range) in ranges.iter().enumerate() {
            (slice.start[axis], slice.step[axis]) = (range.start, range.step);
        }
        Ok(slice)
    }

    /// Converts a padding, given as elements before and after each dimension.
    pub(super) fn of_padding(padding: &[(usize, usize)], fill: f32) -> Self {
        let start = padding.iter().map(|&(before, _)| -(before as isize)).collect();
        Self { start, step: vec![1; padding.len()], fill }
    }
}

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let (from, x) = inputs[0];
        let strides = strides(from);
        indices(shape)
            .map(|index| {
                let mut offset = 0;
                for axis in 0..from.len() {
                    let at = self.start[axis] + index[axis] as isize * self.step[axis];
                    if at < 0 || at >= from[axis] as isize {
                        return self.fill;
                    }
                    offset += at as usize * strides[axis];
                }
                x[offset]
            })
            .collect()
    }

    fn is_batch_independent(&self, _shape: &[usize]) -> bool {
        self.start[0] == 0 && self.step[0] == 1
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        let Self { start, step, fill } = self;
        let Some((x, out)) = lowering.images_of(node) else { return false };
        if x[..2] != out[..2] || start[..2] != [0, 0] || step[..2] != [1, 1] {
            return false;
        }
        let inputs = vec![lowering.read(node.inputs[0], Format::Blocked)];
        lowering.blocked(node, inputs, move |at| {
            let (start, step) = ([start[2], start[3]], [step[2], step[3]]);
            let (input, output) = (at.input(0), at.output());
            Some(Step::new(Shift { input, output, start, step, fill: *fill }, self.name()))
        });
        true
    }
}

/// The work of a slice step on the rows and columns of images.
#[derive(Debug)]
struct Shift {
    input: Images,
    output: Images,
    /// The row and column of the first output pixel in the input.
    start: [isize; 2],
    /// Distances in the input between adjacent output rows and columns.
    step: [isize; 2],
    /// The value outside the input.
    fill: f32,
}

impl Work for Shift {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let [_, _, height, width] = self.output.shape;
        let inside = |axis: usize, at: usize| {
            let at = self.start[axis] + at as isize * self.step[axis];
            usize::try_from(at).ok().filter(|&at| at < self.input.shape[axis + 2])
        };
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let output = arena.at(self.output.at(image, block, y));
            let row = inside(0, y).map(|y| arena.at(self.input.at(image, block, y)));
            for x in 0..width {
                // SAFETY: both images have this position, and only this thread writes it.
                unsafe {
                    let output = output.add(x * LANES);
                    match row.zip(inside(1, x)) {
                        Some((row, x)) => {
                            output.copy_from_nonoverlapping(row.add(x * LANES), LANES);
                        }
                        None => {
                            for lane in 0..LANES {
                                *output.add(lane) = self.fill;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::passes::testing::graph;
    use crate::plan::testing::check;

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn slices_match_their_definition(
            batch in 1..3_usize, channels in 1..20_usize, size in [1..9_usize, 1..9],
            start in [-2..3_isize, -2..3], step in [1..3_isize, 1..3], out in [1..9_usize, 1..9],
        ) {
            let mut graph = graph([batch, channels, size[0], size[1]]);
            let op = Slice {
                start: vec![0, 0, start[0], start[1]],
                step: vec![1, 1, step[0], step[1]],
                fill: -1.0,
            };
            let x = graph.node(op, [graph.input], [batch, channels, out[0], out[1]]);
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }
}
