use std::ops::Range;

use zoo_graph::Window;
use zoo_simd::{Isa, Kernel, LANES, Lanes};

use super::index::indices;
use super::{Operator, View};
use crate::graph::Node;
use crate::memory::Arena;
use crate::plan::buffers::{Format, Images};
use crate::plan::draft::{Step, Work};
use crate::plan::lower::Lowering;
use crate::plan::rows::rows;
use crate::threads::Member;

/// Max or average pooling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    kind: Kind,
    window: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Max,
    /// The average of the elements inside the image.
    Average,
    /// The average of the elements inside the padded image.
    PaddedAverage,
}

impl Pool {
    /// Returns max pooling.
    pub(crate) fn max(window: Window) -> Self {
        Self { kind: Kind::Max, window }
    }

    /// Returns average pooling. With `count_include_pad` the average includes the padding.
    pub(crate) fn average(window: Window, count_include_pad: bool) -> Self {
        let kind = if count_include_pad { Kind::PaddedAverage } else { Kind::Average };
        Self { kind, window }
    }
}

impl Operator for Pool {
    fn name(&self) -> &'static str {
        if self.kind == Kind::Max { "max pool" } else { "average pool" }
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let (from, x) = inputs[0];
        let [height, width] = [from[2], from[3]];
        indices(shape)
            .map(|at| {
                let plane = (at[0] * shape[1] + at[1]) * height * width;
                let [rows, columns] =
                    [0, 1].map(|axis| taps(&self.window, axis, at[axis + 2], from[axis + 2]));
                let [padded_h, padded_w] = [0, 1]
                    .map(|axis| padded_taps(&self.window, axis, at[axis + 2], from[axis + 2]));
                let values = rows
                    .clone()
                    .flat_map(|y| columns.clone().map(move |column| x[plane + y * width + column]));
                match self.kind {
                    Kind::Max => values.fold(f32::NEG_INFINITY, |largest, x| {
                        if x > largest || x.is_nan() { x } else { largest }
                    }),
                    Kind::Average => {
                        values.sum::<f32>() / (rows.count() * columns.count()).max(1) as f32
                    }
                    Kind::PaddedAverage => {
                        values.sum::<f32>() / (padded_h * padded_w).max(1) as f32
                    }
                }
            })
            .collect()
    }

    fn lower<'g>(&'g self, node: &'g Node, lowering: &mut Lowering<'g>) -> bool {
        if lowering.images_of(node).is_none() {
            return false;
        }
        let inputs = vec![lowering.read(node.inputs[0], Format::Blocked)];
        lowering.blocked(node, inputs, move |at| {
            let step = PoolWork::new(at.isa, *self, at.input(0), at.output());
            let [height, width] = self.window.kernel;
            let step = Step::new(step, format!("{} {height}x{width}", self.name()));
            Some(step.with_operations(at.output_len() * (height * width) as u64))
        });
        true
    }
}

/// Returns the positions of a window along an axis that are inside the image.
fn taps(
    window: &Window,
    axis: usize,
    at: usize,
    size: usize,
) -> impl Iterator<Item = usize> + Clone {
    let window = *window;
    (0..window.kernel[axis]).filter_map(move |k| {
        let position = at * window.stride[axis] + k * window.dilation[axis];
        position.checked_sub(window.before[axis]).filter(|&position| position < size)
    })
}

/// Returns the number of positions of a window along an axis that are inside the padded image.
fn padded_taps(window: &Window, axis: usize, at: usize, size: usize) -> usize {
    let end = size + window.before[axis] + window.after[axis];
    let is_inside = |k: &usize| at * window.stride[axis] + k * window.dilation[axis] < end;
    (0..window.kernel[axis]).filter(is_inside).count()
}

/// The work of a pooling step.
#[derive(Debug)]
struct PoolWork {
    isa: Isa,
    input: Images,
    output: Images,
    dilation: [usize; 2],
    /// The input rows of each output row, and the input columns of each output column.
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// The factors of the sums, for each row of the output; `None` for max pooling.
    factors: Option<Vec<Vec<f32>>>,
}

impl PoolWork {
    fn new(isa: Isa, Pool { kind, window }: Pool, input: Images, output: Images) -> Self {
        let of_axis = |axis: usize| -> Vec<Taps> {
            let of = |at: usize| {
                let mut taps = taps(&window, axis, at, input.shape[axis + 2]);
                let count = taps.clone().count();
                Taps { first: taps.next().unwrap_or_default(), count }
            };
            (0..output.shape[axis + 2]).map(of).collect()
        };
        let (rows, columns) = (of_axis(0), of_axis(1));
        let count = |axis: usize, at: usize, taps: &Taps| match kind {
            Kind::PaddedAverage => padded_taps(&window, axis, at, input.shape[axis + 2]),
            _ => taps.count,
        };
        let of_row = |(y, row): (usize, &Taps)| -> Vec<f32> {
            let high = count(0, y, row);
            let factor =
                |(x, column): (usize, &Taps)| 1.0 / (high * count(1, x, column)).max(1) as f32;
            columns.iter().enumerate().map(factor).collect()
        };
        let factors = (kind != Kind::Max).then(|| rows.iter().enumerate().map(of_row).collect());
        Self { isa, input, output, dilation: window.dilation, rows, columns, factors }
    }
}

impl Work for PoolWork {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let height = self.output.shape[2];
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let rows = self.rows[y];
            let row = Row {
                input: arena.at(self.input.at(image, block, rows.first)),
                rows: rows.count,
                row_stride: self.input.row * self.dilation[0],
                columns: &self.columns,
                column_stride: LANES * self.dilation[1],
                factors: self.factors.as_ref().map(|factors| factors[y].as_slice()),
                output: arena.at(self.output.at(image, block, y)),
            };
            // SAFETY: the CPU supports `self.isa`; the rows and columns are inside the images; only
            // this thread writes this row.
            unsafe { self.isa.run(&row) }
        }
    }
}

/// The positions of a window inside the image along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taps {
    first: usize,
    count: usize,
}

/// An output row of one block of channels.
#[derive(Debug)]
struct Row<'a> {
    /// The first row of the windows.
    input: *const f32,
    /// The number of rows in a window.
    rows: usize,
    /// Distance between two rows, in elements.
    row_stride: usize,
    /// The columns of each window.
    columns: &'a [Taps],
    /// Distance between two columns, in elements.
    column_stride: usize,
    /// The factor of each window's sum; `None` for max pooling.
    factors: Option<&'a [f32]>,
    output: *mut f32,
}

impl Kernel for Row<'_> {
    type Output = ();

    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; the pointers are valid for the rows and
    /// columns.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        let mut position = 0;
        while position < self.columns.len() {
            let next = &self.columns[position..];
            let are_alike =
                next.len() >= 4 && next[..4].iter().all(|taps| taps.count == next[0].count);
            // SAFETY: the caller guarantees the same; `M` is at most the number of columns left.
            unsafe {
                match (self.factors, are_alike) {
                    (None, true) => max_windows::<V, 4>(self, position),
                    (None, false) => max_windows::<V, 1>(self, position),
                    (Some(factors), true) => average_windows::<V, 4>(self, factors, position),
                    (Some(factors), false) => average_windows::<V, 1>(self, factors, position),
                }
            }
            position += if are_alike { 4 } else { 1 };
        }
    }
}

/// Computes the maxima of `M` adjacent windows that have the same number of columns.
///
/// # Safety
///
/// As for [`Kernel::run`]; `at + M <= row.columns.len()`.
#[inline(always)]
unsafe fn max_windows<V: Lanes, const M: usize>(row: &Row<'_>, at: usize) {
    let taps: [Taps; M] = std::array::from_fn(|i| row.columns[at + i]);
    // SAFETY: the caller guarantees that the pointers are valid for these windows.
    unsafe {
        let mut values = [V::splat(f32::NEG_INFINITY); M];
        for y in 0..row.rows {
            for x in 0..taps[0].count {
                for (value, taps) in values.iter_mut().zip(&taps) {
                    let offset = y * row.row_stride + taps.first * LANES + x * row.column_stride;
                    *value = value.largest(V::load(row.input.add(offset)));
                }
            }
        }
        for (i, value) in values.into_iter().enumerate() {
            value.store(row.output.add((at + i) * LANES));
        }
    }
}

/// Computes the averages of `M` adjacent windows that have the same number of columns.
///
/// # Safety
///
/// As for [`Kernel::run`]; `at + M <= row.columns.len()`.
#[inline(always)]
unsafe fn average_windows<V: Lanes, const M: usize>(row: &Row<'_>, factors: &[f32], at: usize) {
    let taps: [Taps; M] = std::array::from_fn(|i| row.columns[at + i]);
    // SAFETY: the caller guarantees that the pointers are valid for these windows.
    unsafe {
        let mut sums = [V::splat(0.0); M];
        for y in 0..row.rows {
            for x in 0..taps[0].count {
                for (sum, taps) in sums.iter_mut().zip(&taps) {
                    let offset = y * row.row_stride + taps.first * LANES + x * row.column_stride;
                    *sum = sum.add(V::load(row.input.add(offset)));
                }
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            let factor = V::splat(factors[at + i]);
            sum.mul(factor).store(row.output.add((at + i) * LANES));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::passes::testing::graph;
    use crate::plan::testing::{check, out_size, windows};

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn poolings_match_their_definition(
            batch in 1..3_usize, channels in 1..40_usize, size in [1..20_usize, 1..20],
            mut window in windows(),
            kind in prop::sample::select(vec![Kind::Max, Kind::Average, Kind::PaddedAverage]),
        ) {
            // More padding than half of a window leaves empty windows.
            for axis in 0..2 {
                window.before[axis] = window.before[axis].min(window.kernel[axis] / 2);
                window.after[axis] = window.before[axis];
            }
            if let Some([height, width]) = out_size(&window, size) {
                let mut graph = graph([batch, channels, size[0], size[1]]);
                let shape = [batch, channels, height, width];
                let x = graph.node(Pool { kind, window }, [graph.input], shape);
                graph.outputs = vec![x];
                check(&graph)?;
            }
        }
    }
}
