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

/// One number for each window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    kind: Kind,
    window: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Max,
    /// The average of what lies inside the image.
    Average,
    /// The average with the zeros of the padding.
    PaddedAverage,
}

impl Pool {
    /// The largest value of each window.
    pub(crate) fn max(window: Window) -> Self {
        Self { kind: Kind::Max, window }
    }

    /// The average of each window, in which the padding may count.
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
            let step = Windows::new(at.isa, *self, at.input(0), at.output());
            let [height, width] = self.window.kernel;
            let step = Step::new(step, format!("{} {height}x{width}", self.name()));
            Some(step.with_operations(at.output_len() * (height * width) as u64))
        });
        true
    }
}

/// The places inside the image that a window takes in along an axis.
fn taps(
    window: &Window,
    axis: usize,
    at: usize,
    size: usize,
) -> impl Iterator<Item = usize> + Clone {
    let window = *window;
    (0..window.kernel[axis]).filter_map(move |k| {
        let place = at * window.stride[axis] + k * window.dilation[axis];
        place.checked_sub(window.before[axis]).filter(|&place| place < size)
    })
}

/// The number of places inside the padded image that a window takes in along an axis.
fn padded_taps(window: &Window, axis: usize, at: usize, size: usize) -> usize {
    let end = size + window.before[axis] + window.after[axis];
    let place = |k: &usize| at * window.stride[axis] + k * window.dilation[axis] < end;
    (0..window.kernel[axis]).filter(place).count()
}

/// A pooling that is ready to run.
#[derive(Debug)]
struct Windows {
    isa: Isa,
    input: Images,
    output: Images,
    dilation: [usize; 2],
    /// The rows and columns that each row and column of the output takes in.
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// What sums are multiplied by, for each row of the output.
    factors: Option<Vec<Vec<f32>>>,
}

impl Windows {
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

impl Work for Windows {
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
                to_row: self.input.row * self.dilation[0],
                columns: &self.columns,
                to_column: LANES * self.dilation[1],
                factors: self.factors.as_ref().map(|factors| factors[y].as_slice()),
                output: arena.at(self.output.at(image, block, y)),
            };
            // SAFETY: the machine has the instructions; the rows and columns are inside of the
            // images, and no other thread has this row.
            unsafe { self.isa.run(&row) }
        }
    }
}

/// What a window takes in along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taps {
    first: usize,
    count: usize,
}

/// A row of output places of one block of channels.
#[derive(Debug)]
struct Row<'a> {
    /// The first row that the windows take in.
    input: *const f32,
    /// How many rows they take in, and from one of them to the next.
    rows: usize,
    to_row: usize,
    /// The columns that each window takes in, and from one of them to the next.
    columns: &'a [Taps],
    to_column: usize,
    /// What the sum of each window is multiplied by; the largest value is taken where there are
    /// no factors.
    factors: Option<&'a [f32]>,
    output: *mut f32,
}

impl Kernel for Row<'_> {
    type Output = ();

    /// # Safety
    ///
    /// The machine has the instructions of `V`; the pointers are valid for the rows and columns.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        let mut place = 0;
        while place < self.columns.len() {
            let next = &self.columns[place..];
            let are_alike =
                next.len() >= 4 && next[..4].iter().all(|taps| taps.count == next[0].count);
            // SAFETY: the caller's promise.
            unsafe {
                match (self.factors, are_alike) {
                    (None, true) => largest::<V, 4>(self, place),
                    (None, false) => largest::<V, 1>(self, place),
                    (Some(factors), true) => average::<V, 4>(self, factors, place),
                    (Some(factors), false) => average::<V, 1>(self, factors, place),
                }
            }
            place += if are_alike { 4 } else { 1 };
        }
    }
}

/// The largest values of `M` windows with as many columns.
///
/// # Safety
///
/// As for the kernel; there are so many windows from `at` on.
#[inline(always)]
unsafe fn largest<V: Lanes, const M: usize>(row: &Row<'_>, at: usize) {
    let taps: [Taps; M] = std::array::from_fn(|i| row.columns[at + i]);
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = [V::splat(f32::NEG_INFINITY); M];
        for y in 0..row.rows {
            for x in 0..taps[0].count {
                for (value, taps) in values.iter_mut().zip(&taps) {
                    let place = y * row.to_row + taps.first * LANES + x * row.to_column;
                    *value = value.largest(V::load(row.input.add(place)));
                }
            }
        }
        for (i, value) in values.into_iter().enumerate() {
            value.store(row.output.add((at + i) * LANES));
        }
    }
}

/// The sums of `M` windows with as many columns, each times its factor.
///
/// # Safety
///
/// As for the kernel; there are so many windows from `at` on.
#[inline(always)]
unsafe fn average<V: Lanes, const M: usize>(row: &Row<'_>, factors: &[f32], at: usize) {
    let taps: [Taps; M] = std::array::from_fn(|i| row.columns[at + i]);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(0.0); M];
        for y in 0..row.rows {
            for x in 0..taps[0].count {
                for (sum, taps) in sums.iter_mut().zip(&taps) {
                    let place = y * row.to_row + taps.first * LANES + x * row.to_column;
                    *sum = sum.add(V::load(row.input.add(place)));
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
        fn poolings(
            batch in 1..3_usize, channels in 1..40_usize, size in [1..20_usize, 1..20],
            mut window in windows(),
            kind in prop::sample::select(vec![Kind::Max, Kind::Average, Kind::PaddedAverage]),
        ) {
            // More padding than half of a window leaves windows with nothing in them.
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
