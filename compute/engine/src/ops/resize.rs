use std::ops::Range;

use zoo_simd::LANES;

use super::index::indices;
use super::{Operator, View};
use crate::graph::Node;
use crate::memory::Arena;
use crate::plan::buffers::{Format, Images};
use crate::plan::draft::{Step, Work};
use crate::plan::lower::Lowering;
use crate::plan::rows::rows;
use crate::threads::Member;

/// Bilinear interpolation to the output's size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resize {
    /// Whether the centers of the corner pixels stay fixed.
    pub(crate) align_corners: bool,
}

impl Operator for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let (from, x) = inputs[0];
        let [height, width] = [from[2], from[3]];
        let rows = taps(height, shape[2], self.align_corners);
        let columns = taps(width, shape[3], self.align_corners);
        indices(shape)
            .map(|at| {
                let plane = (at[0] * shape[1] + at[1]) * height * width;
                let (low, high, down) = rows[at[2]];
                let (left, right, across) = columns[at[3]];
                let row = |y: usize| {
                    let row = &x[plane + y * width..][..width];
                    row[left] * (1.0 - across) + row[right] * across
                };
                row(low) * (1.0 - down) + row(high) * down
            })
            .collect()
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        if lowering.images_of(node).is_none() {
            return false;
        }
        let inputs = vec![lowering.read(node.inputs[0], Format::Blocked)];
        lowering.blocked(node, inputs, move |at| {
            let step = Interpolation::new(self.align_corners, at.input(0), at.output());
            Some(Step::new(step, self.name()).with_operations(6 * at.output_len()))
        });
        true
    }
}

/// Returns for each output its two neighbors in the input and its distance from the first.
fn taps(size: usize, out: usize, align_corners: bool) -> Vec<(usize, usize, f32)> {
    (0..out)
        .map(|i| {
            let position = if align_corners {
                i as f64 * (size as f64 - 1.0) / (out - 1).max(1) as f64
            } else {
                (i as f64 + 0.5) * size as f64 / out as f64 - 0.5
            };
            let low = position.floor().max(0.0) as usize;
            (low, (low + 1).min(size - 1), (position - low as f64).max(0.0) as f32)
        })
        .collect()
}

/// The work of a resize step.
#[derive(Debug)]
struct Interpolation {
    input: Images,
    output: Images,
    rows: Vec<(usize, usize, f32)>,
    columns: Vec<(usize, usize, f32)>,
}

impl Interpolation {
    fn new(align_corners: bool, input: Images, output: Images) -> Self {
        let of_axis = |axis: usize| taps(input.shape[axis], output.shape[axis], align_corners);
        Self { input, output, rows: of_axis(2), columns: of_axis(3) }
    }
}

impl Work for Interpolation {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let height = self.output.shape[2];
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let output = arena.at(self.output.at(image, block, y));
            let (low, high, down) = self.rows[y];
            let [low, high] = [low, high].map(|y| arena.at(self.input.at(image, block, y)));
            for (x, &(left, right, across)) in self.columns.iter().enumerate() {
                for lane in 0..LANES {
                    // SAFETY: both images have these positions, and only this thread writes them.
                    unsafe {
                        let row = |row: *mut f32| {
                            *row.add(left * LANES + lane) * (1.0 - across)
                                + *row.add(right * LANES + lane) * across
                        };
                        *output.add(x * LANES + lane) = row(low) * (1.0 - down) + row(high) * down;
                    }
                }
            }
        }
    }
}
