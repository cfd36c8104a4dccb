//! 3×3 convolutions with Winograd's algorithm.

use std::ops::Range;

use zoo_graph::Window;
use zoo_simd::{Activation, Isa, LANES};

use super::direct::{Description, group_sizes, tile_widths};
use super::tile::{Segment, Tile, tile_fn, widest_tiles};
use super::transforms::{Input, Output, PATCH, PRODUCTS, TILE, filters};
use crate::memory::{Aligned, Arena};
use crate::plan::buffers::Images;
use crate::plan::draft::{Placed, Work};
use crate::plan::rows::by_block;
use crate::threads::{Member, spread};

/// Bytes of transformed filters that fit the L2 cache of a core during a loop over the tiles.
const FILTERS_IN_CACHE: usize = 1 << 20;
/// Bytes of products and of their transformed inputs that fit the L2 cache of a core.
const PRODUCTS_IN_CACHE: usize = 1 << 20;

/// The work of a convolution with Winograd's algorithm.
#[derive(Debug)]
pub(crate) struct Winograd {
    isa: Isa,
    input: Images,
    output: Images,
    residual: Option<Images>,
    before: [usize; 2],
    /// Number of tiles in an image, vertically and horizontally.
    tiles: [usize; 2],
    /// The offset of the scratch memory for transformed inputs and products.
    scratch: usize,
    split: Split,
    /// The transformed filters, for each product and each group of output channels.
    filters: Aligned,
    groups: Vec<usize>,
    segments: Vec<Segment>,
    zeros: Aligned,
    bias: Aligned,
    activation: Activation,
}

/// The division of the work among threads. The results do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Each thread computes some tiles, this many at once.
    Tiles(usize),
    /// All threads transform this many tiles; then each computes some output channels.
    Channels(usize),
}

impl Split {
    fn of(input: usize, output: usize, tiles: usize) -> Self {
        let per_tile = PRODUCTS * (blocks(input) + blocks(output)) * LANES * size_of::<f32>();
        let filters = PRODUCTS * input * output * size_of::<f32>();
        let fit = (PRODUCTS_IN_CACHE / per_tile).max(1);
        if filters <= FILTERS_IN_CACHE {
            // A multiple of 14, the width of a tile of the kernel, if it is large enough.
            Self::Tiles(if fit > 14 { fit / 14 * 14 } else { fit }.min(tiles))
        } else {
            // Products may use up to twice the memory of the filters, which are read again soon.
            let most = (2 * filters / per_tile).clamp(fit, 8 * fit);
            Self::Channels(most.min(tiles))
        }
    }

    fn tiles(self) -> usize {
        match self {
            Self::Tiles(tiles) | Self::Channels(tiles) => tiles,
        }
    }
}

fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// Returns the number of tiles that cover an output, vertically and horizontally.
fn tiles_of(output: [usize; 4]) -> [usize; 2] {
    [output[2].div_ceil(TILE), output[3].div_ceil(TILE)]
}

/// Whether the algorithm needs fewer estimated cycles than the direct one, for `items` items at
/// once.
pub(crate) fn pays(
    items: usize,
    window: &Window,
    groups: usize,
    input: [usize; 4],
    output: [usize; 4],
) -> bool {
    if window.kernel != [3, 3]
        || window.stride != [1, 1]
        || window.dilation != [1, 1]
        || groups != 1
        || input[1] < LANES
        || output[1] < LANES
    {
        return false;
    }
    let count = |numbers: &[usize]| numbers.iter().product::<usize>() as f64;
    let [down, across] = tiles_of(output);
    let images = items * output[0];
    let tiles = count(&[images, down, across]);
    let channels = count(&[input[1], output[1]]);
    // At most 32 operations per cycle; weights that don't fit the L2 cache cause waiting time.
    let wait = |bytes: f64| if bytes > 1.5e6 { bytes * 0.12 } else { 0.0 };
    let direct =
        count(&[images, output[2], output[3]]) * 9.0 * channels / 27.0 + wait(9.0 * 4.0 * channels);
    let products = tiles * 36.0 * channels / 25.0 + wait(36.0 * 4.0 * channels);
    let transforms = tiles * (220 * blocks(input[1]) + 180 * blocks(output[1])) as f64;
    products + transforms < direct
}

/// Returns the length of the scratch memory for a number of items at once and of threads.
pub(crate) fn scratch_len(
    items: usize,
    input: [usize; 4],
    output: [usize; 4],
    threads: usize,
) -> usize {
    let [down, across] = tiles_of(output);
    let split = Split::of(input[1], output[1], items * output[0] * down * across);
    let numbers = PRODUCTS * (blocks(input[1]) + blocks(output[1])) * LANES * split.tiles();
    match split {
        Split::Tiles(_) => numbers * threads,
        Split::Channels(_) => numbers,
    }
}

/// Returns the margin of zeros that the tiles need around the images.
pub(crate) fn margin(window: &Window, input: [usize; 4], output: [usize; 4]) -> [usize; 4] {
    let tiles = tiles_of(output);
    let after = |axis: usize| {
        (tiles[axis] * TILE + 2).saturating_sub(window.before[axis] + input[axis + 2])
    };
    [window.before[0], after(0), window.before[1], after(1)]
}

impl Winograd {
    /// Transforms the filters of a convolution from `input` to `output`.
    pub(crate) fn new(
        placed: &Placed<'_>,
        description: &Description<'_>,
        [input, output]: [Images; 2],
        residual: Option<Images>,
    ) -> Self {
        let &Placed { isa, items, .. } = placed;
        let tiles = tiles_of(output.shape);
        let all = items * output.shape[0] * tiles[0] * tiles[1];
        let split = Split::of(input.shape[1], output.shape[1], all);
        let groups = group_sizes(isa, output.blocks(), split.tiles());
        let depth = input.shape[1];
        let segments = (0..input.blocks())
            .map(|block| Segment {
                offset: (block * split.tiles() * LANES) as isize,
                length: (depth - block * LANES).min(LANES),
            })
            .collect();
        Self {
            isa,
            input,
            output,
            residual,
            before: description.window.before,
            tiles,
            scratch: placed.scratch(),
            split,
            filters: pack(description.weights, depth, output.shape[1], &groups),
            groups,
            segments,
            zeros: Aligned::zeros(4 * LANES),
            bias: by_block(description.bias),
            activation: description.activation,
        }
    }
}

impl Work for Winograd {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn weights_len(&self) -> usize {
        self.filters.len() + self.bias.len()
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let images = self.output.of(items);
        let [first, end] = [images.start, images.end].map(|n| n * self.tiles[0] * self.tiles[1]);
        let at_once = self.split.tiles();
        let inputs = PRODUCTS * self.input.blocks() * at_once * LANES;
        let outputs = PRODUCTS * self.output.blocks() * at_once * LANES;
        let (input_blocks, output_blocks) = (0..self.input.blocks(), 0..self.output.blocks());
        match self.split {
            Split::Tiles(_) => {
                let scratch = self.scratch + member.index * (inputs + outputs);
                let share = member.share(end - first);
                for start in share.clone().step_by(at_once) {
                    let tiles = first + start..first + (start + at_once).min(share.end);
                    let positions = 0..tiles.len();
                    self.inputs(arena, scratch, tiles.clone(), positions.clone(), &input_blocks);
                    let work = 0..PRODUCTS * self.groups.len();
                    self.products(arena, scratch, positions.clone(), work);
                    self.outputs(arena, scratch + inputs, tiles, positions, &output_blocks);
                }
            }
            Split::Channels(_) => {
                for start in (first..end).step_by(at_once) {
                    let tiles = start..(start + at_once).min(end);
                    for index in member.share(tiles.len() * input_blocks.len()) {
                        let (block, position) = (index / tiles.len(), index % tiles.len());
                        let (tile, position) = (start + position, position..position + 1);
                        self.inputs(
                            arena,
                            self.scratch,
                            tile..tile + 1,
                            position,
                            &(block..block + 1),
                        );
                    }
                    member.barrier();
                    let work = member.share(PRODUCTS * self.groups.len());
                    self.products(arena, self.scratch, 0..tiles.len(), work);
                    member.barrier();
                    for index in member.share(tiles.len() * output_blocks.len()) {
                        let (block, position) = (index / tiles.len(), index % tiles.len());
                        let (tile, position) = (start + position, position..position + 1);
                        let scratch = self.scratch + inputs;
                        self.outputs(arena, scratch, tile..tile + 1, position, &(block..block + 1));
                    }
                    // The next tiles overwrite products that other threads may still read.
                    member.barrier();
                }
            }
        }
    }
}

impl Winograd {
    /// Returns the image, the first row and the first column of a tile's outputs.
    fn corner(&self, tile: usize) -> (usize, usize, usize) {
        let [down, across] = self.tiles;
        (tile / across / down, tile / across % down * TILE, tile % across * TILE)
    }

    fn inputs(
        &self,
        arena: Arena,
        scratch: usize,
        tiles: Range<usize>,
        positions: Range<usize>,
        blocks: &Range<usize>,
    ) {
        let at_once = self.split.tiles();
        for block in blocks.clone() {
            for (tile, position) in tiles.clone().zip(positions.clone()) {
                let (image, y, x) = self.corner(tile);
                let from = self.input.at(image, block, y) + x * LANES
                    - self.before[0] * self.input.row
                    - self.before[1] * LANES;
                let tile = Input {
                    from: arena.at(from),
                    row_stride: self.input.row,
                    to: arena.at(scratch + (block * at_once + position) * LANES),
                    product: self.input.blocks() * at_once * LANES,
                };
                // SAFETY: the CPU supports `self.isa`; the patch is inside the image and its
                // margins; only this thread writes this tile and block.
                unsafe { self.isa.run(&tile) }
            }
        }
    }

    /// Multiplies the transformed inputs by the filters. `work` is a range of indices over products
    /// and groups of output channels; the groups of a product are adjacent.
    fn products(&self, arena: Arena, scratch: usize, positions: Range<usize>, work: Range<usize>) {
        let at_once = self.split.tiles();
        let (inputs, outputs) = (self.input.blocks(), self.output.blocks());
        let depth = self.input.shape[1];
        let to = scratch + PRODUCTS * inputs * at_once * LANES;
        let widest = widest_tiles(self.isa);
        for index in work {
            let (product, group) = (index / self.groups.len(), index % self.groups.len());
            let first: usize = self.groups[..group].iter().sum();
            let blocks = self.groups[group];
            let filters = (product * outputs + first) * depth * LANES;
            let mut position = positions.start;
            for width in tile_widths(positions.len(), widest[blocks - 1]) {
                let tile = Tile {
                    segments: &self.segments,
                    input: arena.at(scratch + (product * inputs * at_once + position) * LANES),
                    input_step: LANES,
                    weights: self.filters.as_slice()[filters..].as_ptr(),
                    output: arena
                        .at(to + ((product * outputs + first) * at_once + position) * LANES),
                    output_step: LANES,
                    output_block: at_once * LANES,
                    bias: Some(self.zeros.as_slice().as_ptr()),
                    finish: None,
                };
                // SAFETY: the tile is one of `self.isa`, which the CPU supports; its inputs are in
                // the scratch memory; only this thread writes these outputs.
                unsafe { tile_fn(self.isa, width, blocks, LANES)(&tile) }
                position += width;
            }
        }
    }

    fn outputs(
        &self,
        arena: Arena,
        scratch: usize,
        tiles: Range<usize>,
        positions: Range<usize>,
        blocks: &Range<usize>,
    ) {
        let at_once = self.split.tiles();
        let [_, _, height, width] = self.output.shape;
        for block in blocks.clone() {
            for (tile, position) in tiles.clone().zip(positions.clone()) {
                let (image, y, x) = self.corner(tile);
                let residual = self.residual.map(|images| {
                    let from = images.at(image, block, y) + x * images.pixel;
                    (arena.at(from).cast_const(), images.row)
                });
                let tile = Output {
                    from: arena.at(scratch + (block * at_once + position) * LANES),
                    product: self.output.blocks() * at_once * LANES,
                    to: arena.at(self.output.at(image, block, y) + x * LANES),
                    row_stride: self.output.row,
                    pixel: LANES,
                    residual,
                    rows: (height - y).min(TILE),
                    columns: (width - x).min(TILE),
                    bias: self.bias.as_slice()[block * LANES..].as_ptr(),
                    activation: self.activation,
                };
                // SAFETY: the CPU supports `self.isa`; the rows and columns are inside the image;
                // only this thread writes this tile and block.
                unsafe { self.isa.run(&tile) }
            }
        }
    }
}

/// Transforms filters `[out, in, 3, 3]` and packs them in the order in which the tiles read them.
fn pack(weights: &[f32], depth: usize, channels: usize, groups: &[usize]) -> Aligned {
    let outputs = blocks(channels);
    let of_product = outputs * depth * LANES;
    let mut packed = Aligned::zeros(PRODUCTS * of_product);
    let mut products: Vec<&mut [f32]> =
        packed.as_mut_slice().chunks_exact_mut(of_product).collect();
    // For each group its first block, its number of blocks and its part of each product.
    let mut parts: Vec<(usize, usize, Vec<&mut [f32]>)> = Vec::new();
    let mut first = 0;
    for &size in groups {
        let mut of_group = Vec::with_capacity(PRODUCTS);
        for rest in &mut products {
            let (part, others) = std::mem::take(rest).split_at_mut(size * depth * LANES);
            of_group.push(part);
            *rest = others;
        }
        parts.push((first, size, of_group));
        first += size;
    }
    spread(parts, PRODUCTS * of_product, |(first, size, mut of_group)| {
        for (block, input) in
            (0..size).flat_map(|block| (0..depth).map(move |input| (block, input)))
        {
            let mut nine = [[0.0; LANES]; 9];
            let channel = (first + block) * LANES;
            for lane in 0..LANES.min(channels - channel) {
                let from = ((channel + lane) * depth + input) * 9;
                for (tap, weight) in nine.iter_mut().zip(&weights[from..from + 9]) {
                    tap[lane] = f64::from(*weight);
                }
            }
            let to = (input * size + block) * LANES;
            for (part, values) in of_group.iter_mut().zip(filters(&nine)) {
                part[to..to + LANES].copy_from_slice(&values);
            }
        }
    });
    packed
}

const _: () = assert!(PATCH * PATCH == PRODUCTS);
