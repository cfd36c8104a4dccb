//! What a plan does one after the other, but convolutions.

use std::ops::Range;

use super::Place;
use super::buffers::Images;
use crate::graph::{Activation, Binary, Op, PoolKind, Source, Window};
use crate::kernels::pool::Taps;
use crate::kernels::{Isa, LANES, depthwise, dispatch, elementwise, pool};
use crate::memory::{Aligned, Arena};
use crate::reference;
use crate::threads::Member;

/// Writes the zeros around images.
pub(super) fn clear_margins(
    images: Images,
    arena: Arena,
    items: &Range<usize>,
    member: &Member<'_>,
) {
    let [above, below, left, right] = images.margins;
    if images.margins == [0; 4] {
        return;
    }
    let height = images.shape[2];
    let zero = |offset: usize, length: usize| {
        // SAFETY: the margin is part of the buffer, and no other thread has this block.
        unsafe { arena.at(offset).write_bytes(0, length) }
    };
    for (image, block, _) in rows(images.of(items), images.blocks(), 1, member) {
        let first = images.at(image, block, 0) - left * images.place;
        zero(first - above * images.row, above * images.row);
        for row in 0..height {
            let row = first + row * images.row;
            zero(row, left * images.place);
            zero(row + images.row - right * images.place, right * images.place);
        }
        zero(first + height * images.row, below * images.row);
    }
}

/// A row of the depthwise kernel for each row of each block.
#[derive(Debug)]
pub(super) struct Depthwise {
    pub(super) isa: Isa,
    pub(super) input: Images,
    pub(super) output: Images,
    window: Window,
    weights: Aligned,
    bias: Aligned,
    activation: Activation,
}

impl Depthwise {
    pub(super) fn new(
        isa: Isa,
        window: Window,
        [weights, bias]: [&[f32]; 2],
        activation: Activation,
        input: Images,
        output: Images,
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

    pub(super) fn weights_len(&self) -> usize {
        self.weights.len() + self.bias.len()
    }

    pub(super) fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let Window { kernel, stride, dilation, before, .. } = self.window;
        let [_, _, height, width] = self.output.shape;
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let input = self.input.at(image, block, y * stride[0])
                - before[0] * self.input.row
                - before[1] * LANES;
            let taps = kernel[0] * kernel[1] * LANES;
            let row = depthwise::Row {
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
            unsafe { dispatch!(self.isa, depthwise(&row)) }
        }
    }
}

/// Poolings.
#[derive(Debug)]
pub(super) struct Pool {
    isa: Isa,
    input: Images,
    pub(super) output: Images,
    dilation: [usize; 2],
    /// The rows and columns that each row and column of the output takes in.
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// What sums are multiplied by, for each row of the output.
    factors: Option<Vec<Vec<f32>>>,
}

impl Pool {
    pub(super) fn new(
        isa: Isa,
        kind: PoolKind,
        window: Window,
        input: Images,
        output: Images,
    ) -> Self {
        let taps = |axis: usize| -> Vec<Taps> {
            let of = |at: usize| {
                let mut taps = window.taps(axis, at, input.shape[axis + 2]);
                let count = taps.clone().count();
                Taps { first: taps.next().unwrap_or_default(), count }
            };
            (0..output.shape[axis + 2]).map(of).collect()
        };
        let (rows, columns) = (taps(0), taps(1));
        let count = |axis: usize, at: usize, taps: &Taps| match kind {
            PoolKind::PaddedAverage => window.padded_taps(axis, at, input.shape[axis + 2]),
            _ => taps.count,
        };
        let of_row = |(y, row): (usize, &Taps)| -> Vec<f32> {
            let high = count(0, y, row);
            let factor =
                |(x, column): (usize, &Taps)| 1.0 / (high * count(1, x, column)).max(1) as f32;
            columns.iter().enumerate().map(factor).collect()
        };
        let factors =
            (kind != PoolKind::Max).then(|| rows.iter().enumerate().map(of_row).collect());
        Self { isa, input, output, dilation: window.dilation, rows, columns, factors }
    }

    pub(super) fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let height = self.output.shape[2];
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let rows = self.rows[y];
            let row = pool::Row {
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
            unsafe { dispatch!(self.isa, pool(&row)) }
        }
    }
}

/// Functions of each element.
#[derive(Debug)]
pub(super) struct Elementwise {
    isa: Isa,
    input: Images,
    pub(super) output: Images,
    affine: Option<[Aligned; 2]>,
    operand: Option<Images>,
    binary: Binary,
    is_flipped: bool,
    activation: Activation,
}

impl Elementwise {
    pub(super) fn affine(
        isa: Isa,
        [scale, offset]: [&[f32]; 2],
        activation: Activation,
        input: Images,
        output: Images,
    ) -> Self {
        let affine = Some([by_block(scale), by_block(offset)]);
        Self { affine, ..Self::activation(isa, activation, input, output) }
    }

    pub(super) fn activation(
        isa: Isa,
        activation: Activation,
        input: Images,
        output: Images,
    ) -> Self {
        Self {
            isa,
            input,
            output,
            affine: None,
            operand: None,
            binary: Binary::Add,
            is_flipped: false,
            activation,
        }
    }

    /// The second operand is as large as the first or has one place.
    pub(super) fn binary(
        isa: Isa,
        (binary, is_flipped): (Binary, bool),
        activation: Activation,
        input: Images,
        operand: Images,
        output: Images,
    ) -> Self {
        let operand = Some(operand);
        Self { operand, binary, is_flipped, ..Self::activation(isa, activation, input, output) }
    }

    pub(super) fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let [_, _, mut height, mut width] = self.output.shape;
        let is_whole = |images: Images| images.is_contiguous() || images.shape[2..] == [1, 1];
        if [Some(self.input), Some(self.output), self.operand].into_iter().flatten().all(is_whole) {
            (height, width) = (1, height * width);
        }
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let operand = match self.operand {
                None => elementwise::Operand::None,
                Some(images) => {
                    if images.shape[2..] == [1, 1] {
                        elementwise::Operand::Same(arena.at(images.at(image, block, 0)))
                    } else {
                        elementwise::Operand::Each(arena.at(images.at(image, block, y)))
                    }
                }
            };
            let affine = self
                .affine
                .as_ref()
                .map(|both| [0, 1].map(|i| both[i].as_slice()[block * LANES..].as_ptr()));
            let row = elementwise::Row {
                input: arena.at(self.input.at(image, block, y)),
                output: arena.at(self.output.at(image, block, y)),
                width,
                affine,
                operand,
                binary: self.binary,
                is_flipped: self.is_flipped,
                activation: self.activation,
            };
            // SAFETY: the machine has the instructions; the images have this row, and no other
            // thread has it.
            unsafe { dispatch!(self.isa, elementwise(&row)) }
        }
    }
}

/// Channels in another order.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) output: Images,
    /// For each block of the output that is not in its place already.
    blocks: Vec<(usize, Lanes)>,
}

#[derive(Debug)]
enum Lanes {
    /// A whole block of an input.
    Block(Images, usize),
    /// Each from somewhere, or zero.
    Each(Box<[Option<(Images, usize)>; LANES]>),
}

impl Gather {
    /// The inputs that are `in_place` lie where their channels belong.
    pub(super) fn new(
        sources: &[Source],
        inputs: &[Images],
        in_place: &[bool],
        output: Images,
    ) -> Self {
        let mut blocks = Vec::new();
        for (block, sources) in sources.chunks(LANES).enumerate() {
            let first = sources[0];
            let follows = |(lane, source): (usize, &Source)| match (first, *source) {
                (Source::Channel { input, channel }, Source::Channel { input: i, channel: c }) => {
                    channel % LANES == 0 && i == input && c == channel + lane
                }
                _ => false,
            };
            let lanes = match first {
                Source::Channel { input, channel }
                    if sources.iter().enumerate().all(follows)
                        && (sources.len() == LANES
                            || channel + sources.len() == inputs[input].shape[1]) =>
                {
                    if in_place[input] {
                        continue;
                    }
                    Lanes::Block(inputs[input], channel / LANES)
                }
                _ => Lanes::Each(Box::new(std::array::from_fn(|lane| match sources.get(lane) {
                    Some(&Source::Channel { input, channel }) => Some((inputs[input], channel)),
                    _ => None,
                }))),
            };
            blocks.push((block, lanes));
        }
        Self { output, blocks }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let [_, _, height, width] = self.output.shape;
        for (image, block, y) in rows(self.output.of(items), self.blocks.len(), height, member) {
            let (block, lanes) = &self.blocks[block];
            let output = arena.at(self.output.at(image, *block, y));
            match lanes {
                Lanes::Block(from, block) => {
                    let input = arena.at(from.at(image, *block, y));
                    // SAFETY: both images have this row, and no other thread writes it.
                    unsafe { output.copy_from_nonoverlapping(input, width * LANES) }
                }
                Lanes::Each(lanes) => {
                    for (lane, from) in lanes.iter().enumerate() {
                        let from = from.map(|(from, channel)| {
                            arena.at(from.at(image, channel / LANES, y) + channel % LANES)
                        });
                        for x in 0..width {
                            // SAFETY: both images have this row, and no other thread writes it.
                            unsafe {
                                let value = from.map_or(0.0, |from| *from.add(x * LANES));
                                *output.add(x * LANES + lane) = value;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Places of images moved, left out or added.
#[derive(Debug)]
pub(super) struct Shift {
    pub(super) input: Images,
    pub(super) output: Images,
    /// Where the first output place is in the input, and the steps from there.
    pub(super) start: [isize; 2],
    pub(super) step: [isize; 2],
    /// What is outside of the input.
    pub(super) fill: f32,
}

impl Shift {
    pub(super) fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let [_, _, height, width] = self.output.shape;
        let inside = |axis: usize, at: usize| {
            let at = self.start[axis] + at as isize * self.step[axis];
            usize::try_from(at).ok().filter(|&at| at < self.input.shape[axis + 2])
        };
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let output = arena.at(self.output.at(image, block, y));
            let row = inside(0, y).map(|y| arena.at(self.input.at(image, block, y)));
            for x in 0..width {
                // SAFETY: both images have this place, and no other thread writes it.
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

/// Bilinear resizing.
#[derive(Debug)]
pub(super) struct Resize {
    pub(super) input: Images,
    pub(super) output: Images,
    rows: Vec<(usize, usize, f32)>,
    columns: Vec<(usize, usize, f32)>,
}

impl Resize {
    pub(super) fn new(align_corners: bool, input: Images, output: Images) -> Self {
        let taps =
            |axis: usize| reference::taps(input.shape[axis], output.shape[axis], align_corners);
        Self { input, output, rows: taps(2), columns: taps(3) }
    }

    pub(super) fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let height = self.output.shape[2];
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let output = arena.at(self.output.at(image, block, y));
            let (low, high, down) = self.rows[y];
            let [low, high] = [low, high].map(|y| arena.at(self.input.at(image, block, y)));
            for (x, &(left, right, across)) in self.columns.iter().enumerate() {
                for lane in 0..LANES {
                    // SAFETY: both images have these places, and no other thread writes them.
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

/// From row-major images into blocks or planes.
pub(super) fn import(
    from: &Place,
    to: Images,
    arena: Arena,
    items: &Range<usize>,
    member: &Member<'_>,
) {
    let [_, channels, height, width] = to.shape;
    let to_image = from.to_image(to);
    for (image, block, y) in rows(to.of(items), to.blocks(), height, member) {
        let output = arena.at(to.at(image, block, y));
        let first = from.offset + image * to_image;
        let source = |channel: usize| arena.at(first + (channel * height + y) * width);
        // SAFETY: the images have this row, and no other thread writes it.
        unsafe {
            if !to.is_blocked {
                output.copy_from_nonoverlapping(source(block), width);
                continue;
            }
            let first = block * LANES;
            let count = (channels - first).min(LANES);
            for lane in 0..LANES {
                let input = (lane < count).then(|| source(first + lane));
                for x in 0..width {
                    *output.add(x * LANES + lane) = input.map_or(0.0, |input| *input.add(x));
                }
            }
        }
    }
}

/// From blocks into row-major images.
pub(super) fn export(
    from: Images,
    to: &Place,
    arena: Arena,
    items: &Range<usize>,
    member: &Member<'_>,
) {
    let [_, channels, height, width] = from.shape;
    let to_image = to.to_image(from);
    for (image, channel, y) in rows(from.of(items), channels, height, member) {
        let input = arena.at(from.at(image, channel / LANES, y) + channel % LANES);
        let output = arena.at(to.offset + image * to_image + (channel * height + y) * width);
        for x in 0..width {
            // SAFETY: the images have this row, and no other thread writes it.
            unsafe { *output.add(x) = *input.add(x * LANES) }
        }
    }
}

/// Row-major values that no step makes.
type Constant = std::sync::Arc<Vec<f32>>;

/// Row-major tensors that the reference computes, with one thread.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) op: Op,
    /// Where they are; constants are here, with their shapes.
    pub(super) inputs: Vec<Result<Place, (Vec<usize>, Constant)>>,
    pub(super) output: Place,
}

impl Plain {
    pub(super) fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        if member.index != 0 {
            return;
        }
        for item in items.clone() {
            let inputs = self.inputs.iter().map(|input| match input {
                Ok(place) => {
                    let start = arena.at(place.at(item));
                    // SAFETY: the buffer has this length, and nobody writes it now.
                    let values = unsafe { std::slice::from_raw_parts(start, place.len()) };
                    (place.shape.as_slice(), values)
                }
                Err((shape, constant)) => (shape.as_slice(), constant.as_slice()),
            });
            let inputs: Vec<_> = inputs.collect();
            let values = reference::evaluate(&self.op, &inputs, &self.output.shape);
            let output = arena.at(self.output.at(item));
            // SAFETY: the buffer has this length, and no other thread has it.
            unsafe { output.copy_from_nonoverlapping(values.as_ptr(), values.len()) }
        }
    }
}

/// A number for each channel, with zeros up to the end of the last block.
pub(super) fn by_block(values: &[f32]) -> Aligned {
    let mut blocks = Aligned::zeros(values.len());
    blocks.as_mut_slice()[..values.len()].copy_from_slice(values);
    blocks
}

/// A thread's share of the images' rows: image, block and row.
fn rows(
    images: Range<usize>,
    blocks: usize,
    height: usize,
    member: &Member<'_>,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let share = member.share(images.len() * blocks * height);
    share.map(move |index| {
        (images.start + index / height / blocks, index / height % blocks, index % height)
    })
}
