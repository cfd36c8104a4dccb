//! Direct convolutions: the packing of the weights, and the tiles that cover the output.

use std::ops::Range;

use zoo_graph::Window;
use zoo_simd::{Activation, Isa, LANES};

use super::tile::{Finish, Segment, Tile, TileFn, tile_fn, widest_tiles};
use crate::memory::{Aligned, Arena};
use crate::ops::elementwise;
use crate::plan::buffers::Images;
use crate::plan::draft::{Placed, Work};
use crate::threads::{Member, spread};

/// Bytes of weights that fit the L2 cache of a core together with the images.
const WEIGHTS_IN_CACHE: usize = 768 << 10;
/// Bytes of weights in one pass over the rows of some channels, if not all weights fit the cache.
const WEIGHTS_OF_PASS: usize = 192 << 10;
/// Bytes of images that fit the L2 cache of a core.
const IMAGES_IN_CACHE: usize = 384 << 10;

/// A convolution before its weights are packed.
#[derive(Debug)]
pub(crate) struct Description<'a> {
    pub(crate) window: Window,
    pub(crate) groups: usize,
    /// The weights, `[out, in / groups, h, w]`, or `[in, h, w, out]` if `out_channels_last`.
    pub(crate) weights: &'a [f32],
    pub(crate) out_channels_last: bool,
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
}

/// The work of a direct convolution.
#[derive(Debug)]
pub(crate) struct Direct {
    isa: Isa,
    input: Images,
    output: Images,
    cleared: Images,
    residual: Option<Images>,
    stride: usize,
    /// Whether the images have one pixel each. The pixels of all images are then treated as one
    /// row.
    is_across_images: bool,
    input_step: usize,
    segments: Vec<Segment>,
    groups: Vec<Group>,
    /// The tiles of a row of an image, for groups of 1, 2, 3 and 4 blocks.
    tiles: [Vec<(usize, TileFn)>; 4],
    weights: Aligned,
    bias: Aligned,
    activation: Activation,
}

/// Adjacent blocks of output channels that are computed together.
#[derive(Debug)]
struct Group {
    first: usize,
    blocks: usize,
    /// For each pass over the rows, its segments and the start of their weights.
    passes: Vec<(Range<usize>, usize)>,
}

impl Direct {
    /// Packs the weights of a convolution from `input` to `output`.
    pub(crate) fn new(
        &Placed { isa, items, .. }: &Placed<'_>,
        description: &Description<'_>,
        [input, output]: [Images; 2],
        residual: Option<Images>,
    ) -> Self {
        let window = description.window;
        let [_, _, height, width] = output.shape;
        let is_across_images = height * width == 1;
        let images = items * output.shape[0];
        let (rows, width) = if is_across_images { (1, images) } else { (images * height, width) };
        let input_step =
            if is_across_images { input.image } else { window.stride[1] * input.pixel };

        // Blocks without a common input are not computed together.
        let per_group = output.shape[1] / description.groups;
        let sizes = if description.groups > 1 && per_group < 2 * LANES {
            vec![1; output.blocks()]
        } else {
            group_sizes(isa, output.blocks(), width)
        };
        let tiles = std::array::from_fn(|blocks| {
            if !sizes.contains(&(blocks + 1)) {
                return Vec::new();
            }
            row_of_tiles(isa, width, blocks + 1, input_step)
        });

        let mut packer = Packer { description, input, output, segments: Vec::new() };
        let mut groups = Vec::new();
        let mut first = 0;
        let mut length = 0;
        for blocks in sizes {
            let segments = packer.segments_of(first, blocks);
            let passes = passes(&packer.segments, segments, blocks, rows, &mut length);
            groups.push(Group { first, blocks, passes });
            first += blocks;
        }
        let mut weights = Aligned::zeros(length);
        packer.pack(&groups, weights.as_mut_slice());
        let mut bias = Aligned::zeros(output.blocks() * LANES);
        bias.as_mut_slice()[..description.bias.len()].copy_from_slice(description.bias);
        Self {
            isa,
            input,
            output,
            cleared: output,
            residual,
            stride: window.stride[0],
            is_across_images,
            input_step,
            segments: packer.segments,
            groups,
            tiles,
            weights,
            bias,
            activation: description.activation,
        }
    }

    /// Sets the images whose margins are cleared, if they are not those that it writes.
    pub(crate) fn clears(&mut self, images: Images) {
        self.cleared = images;
    }
}

impl Work for Direct {
    fn cleared(&self) -> Option<Images> {
        Some(self.cleared)
    }

    fn weights_len(&self) -> usize {
        self.weights.len() + self.bias.len()
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let images = self.output.of(items);
        let rows = if self.is_across_images { 1 } else { images.len() * self.output.shape[2] };
        let all_stay = self.weights.len() * size_of::<f32>() <= WEIGHTS_IN_CACHE;
        let threads = member.threads();
        if all_stay && (rows.is_multiple_of(threads) || rows >= 8 * threads) {
            // Computes all channels of some rows, then of the next rows.
            let share = member.share(rows);
            let row = (self.input.row * self.stride * self.input.blocks()
                + self.output.row * self.output.blocks())
                * size_of::<f32>();
            let chunk = (IMAGES_IN_CACHE / row.max(1)).max(1);
            let mut start = share.start;
            while start < share.end {
                let end = (start + chunk).min(share.end);
                for group in &self.groups {
                    self.group(arena, group, &images, start..end);
                }
                start = end;
            }
        } else {
            // Computes all rows of some channels, then of the next channels.
            let share = member.share(rows * self.groups.len());
            for (index, group) in self.groups.iter().enumerate() {
                let first = index * rows;
                let start = share.start.max(first);
                let end = share.end.min(first + rows);
                if start < end {
                    self.group(arena, group, &images, start - first..end - first);
                }
            }
        }
    }
}

impl Direct {
    fn group(&self, arena: Arena, group: &Group, images: &Range<usize>, rows: Range<usize>) {
        let across;
        let tiles = if self.is_across_images {
            across = row_of_tiles(self.isa, images.len(), group.blocks, self.input_step);
            &across
        } else {
            &self.tiles[group.blocks - 1]
        };
        let bias = self.bias.as_slice()[group.first * LANES..].as_ptr();
        let step = |images: Images| {
            if self.is_across_images { images.image } else { images.pixel }
        };
        let output_step = step(self.output);
        let clamp = match self.activation {
            Activation::Clamp { low, high } => Some([low, high]),
            _ => None,
        };
        let needs_kernel = clamp.is_none() && self.activation != Activation::Identity;
        for (pass, (segments, weights)) in group.passes.iter().enumerate() {
            let is_last = pass + 1 == group.passes.len();
            let weights = self.weights.as_slice()[*weights..].as_ptr();
            for row in rows.clone() {
                let height = self.output.shape[2];
                let (image, y) = (images.start + row / height, row % height);
                let input = self.input.at(image, 0, y * self.stride);
                let output = self.output.at(image, group.first, y);
                let residual =
                    self.residual.map(|images| (images, images.at(image, group.first, y)));
                for &(start, tile) in tiles {
                    let finish = is_last.then(|| Finish {
                        residual: residual.map(|(images, offset)| {
                            let step = step(images);
                            (arena.at(offset + start * step).cast_const(), step, images.block)
                        }),
                        clamp,
                    });
                    let tile_of = Tile {
                        segments: &self.segments[segments.clone()],
                        input: arena.origin(input + start * self.input_step),
                        input_step: self.input_step,
                        weights,
                        output: arena.at(output + start * output_step),
                        output_step,
                        output_block: self.output.block,
                        bias: (pass == 0).then_some(bias),
                        finish,
                    };
                    // SAFETY: the tile is one of `self.isa`, which the CPU supports; the segments
                    // are inside the images and their margins; only this thread writes these rows
                    // and blocks.
                    unsafe { tile(&tile_of) }
                }
                if is_last && needs_kernel {
                    self.activate(arena, group, output, images.len());
                }
            }
        }
    }

    /// Applies an activation that the tiles lack to a row that was just written.
    fn activate(&self, arena: Arena, group: &Group, output: usize, images: usize) {
        let (positions, step) = if self.is_across_images {
            (images, self.output.image)
        } else {
            (self.output.shape[3], self.output.pixel)
        };
        let is_dense = step == LANES;
        for block in 0..group.blocks {
            for position in 0..if is_dense { 1 } else { positions } {
                let start = arena.at(output + block * self.output.block + position * step);
                let width = if is_dense { positions } else { 1 };
                let row = elementwise::Row::in_place(start, width, self.activation);
                // SAFETY: the CPU supports `self.isa`, and only this thread uses the row.
                unsafe { self.isa.run(&row) }
            }
        }
    }
}

/// Returns the tiles of a row: their start and the function that computes them.
fn row_of_tiles(isa: Isa, width: usize, blocks: usize, step: usize) -> Vec<(usize, TileFn)> {
    let mut start = 0;
    let tile = |positions| {
        start += positions;
        (start - positions, tile_fn(isa, positions, blocks, step))
    };
    tile_widths(width, widest_tiles(isa)[blocks - 1]).into_iter().map(tile).collect()
}

/// Divides a row into tiles of nearly equal width, at most `widest`.
pub(super) fn tile_widths(width: usize, widest: usize) -> Vec<usize> {
    let count = width.div_ceil(widest);
    (0..count).map(|i| (i + 1) * width / count - i * width / count).collect()
}

/// Returns the number of blocks in each group of channels, with the lowest estimated number of
/// cycles.
pub(super) fn group_sizes(isa: Isa, blocks: usize, width: usize) -> Vec<usize> {
    let widest = widest_tiles(isa);
    let of_row = |size: usize| -> f64 {
        let tile = |positions: usize| {
            let (sums, loads) = ((positions * size) as f64, (positions + size) as f64);
            // Two sums or two loads per cycle; an addition to the same sum takes four cycles.
            (sums / 2.0).max(4.0).max(loads / 2.0) + 0.05 * loads
        };
        tile_widths(width, widest[size - 1]).into_iter().map(tile).sum()
    };
    let possible: Vec<usize> = (1..=4).filter(|&size| widest[size - 1] > 0).collect();
    // The lowest cost for each number of blocks, and the size of the last group.
    let mut best: Vec<(f64, usize)> = vec![(0.0, 0)];
    for count in 1..=blocks {
        let ways = possible.iter().filter(|&&size| size <= count);
        let ways = ways.map(|&size| (best[count - size].0 + of_row(size), size));
        best.push(ways.min_by(|a, b| a.0.total_cmp(&b.0)).expect("one block always fits"));
    }
    let mut sizes = Vec::new();
    let mut left = blocks;
    while left > 0 {
        sizes.push(best[left].1);
        left -= best[left].1;
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

/// Divides the segments of a group into passes over the rows.
fn passes(
    segments: &[Segment],
    of_group: Range<usize>,
    blocks: usize,
    rows: usize,
    length: &mut usize,
) -> Vec<(Range<usize>, usize)> {
    let bytes = |segment: &Segment| segment.length * blocks * LANES * size_of::<f32>();
    let total: usize = segments[of_group.clone()].iter().map(bytes).sum();
    let most = if total <= WEIGHTS_IN_CACHE || rows < 4 {
        total
    } else {
        total.div_ceil(total.div_ceil(WEIGHTS_OF_PASS))
    };
    let mut passes = Vec::new();
    let mut start = of_group.start;
    while start < of_group.end || passes.is_empty() {
        let mut end = start;
        let mut size = 0;
        while end < of_group.end && (size == 0 || size + bytes(&segments[end]) <= most) {
            size += bytes(&segments[end]);
            end += 1;
        }
        passes.push((start..end, *length));
        *length += size / size_of::<f32>();
        start = end;
    }
    passes
}

/// Finds the segments and packs the weights in the order in which tiles read them.
struct Packer<'a> {
    description: &'a Description<'a>,
    input: Images,
    output: Images,
    segments: Vec<Segment>,
}

/// The part of the filter that a segment covers, by its first input channel, row and column.
struct Taps {
    channel: usize,
    row: usize,
    column: usize,
}

impl Packer<'_> {
    /// Returns the segments of some blocks of output channels. Adds them, unless the blocks before
    /// have the same ones.
    fn segments_of(&mut self, first: usize, blocks: usize) -> Range<usize> {
        let segments: Vec<Segment> =
            self.taps(first, blocks).into_iter().map(|(_, segment)| segment).collect();
        let start = self.segments.len().checked_sub(segments.len());
        if let Some(start) = start.filter(|&start| self.segments[start..] == segments) {
            return start..self.segments.len();
        }
        let start = self.segments.len();
        self.segments.extend(segments);
        start..self.segments.len()
    }

    fn taps(&self, first: usize, blocks: usize) -> Vec<(Taps, Segment)> {
        let Description { window, groups, .. } = self.description;
        let (inputs, outputs) = (self.input.shape[1] / groups, self.output.shape[1] / groups);
        // The input channels that any of the output channels reads.
        let last = ((first + blocks) * LANES).min(self.output.shape[1]) - 1;
        let channels = first * LANES / outputs * inputs..(last / outputs + 1) * inputs;
        let Images { block, row: row_stride, pixel: pixel_stride, is_blocked, .. } = self.input;
        let offset = |channel: usize, row: usize, column: usize| {
            let y = (row * window.dilation[0]) as isize - window.before[0] as isize;
            let x = (column * window.dilation[1]) as isize - window.before[1] as isize;
            let start = if is_blocked {
                channel / LANES * block + channel % LANES
            } else {
                channel * block
            };
            start as isize + y * row_stride as isize + x * pixel_stride as isize
        };
        let mut taps = Vec::new();
        let mut channel = channels.start;
        while channel < channels.end {
            let length =
                if is_blocked { (LANES - channel % LANES).min(channels.end - channel) } else { 1 };
            for row in 0..window.kernel[0] {
                // Adjacent in memory are the pixels of a row in the planar format, and the channels
                // in the blocked format.
                let is_row = !is_blocked && window.dilation[1] == 1;
                let columns = if is_row { 1 } else { window.kernel[1] };
                for column in 0..columns {
                    let length = if is_row { window.kernel[1] } else { length };
                    let segment = Segment { offset: offset(channel, row, column), length };
                    taps.push((Taps { channel, row, column }, segment));
                }
            }
            channel += length;
        }
        taps
    }

    /// Packs the weights of all groups on all cores.
    fn pack(&self, groups: &[Group], packed: &mut [f32]) {
        let packed_len = packed.len();
        let mut parts = Vec::new();
        let mut rest = packed;
        let starts = groups.iter().skip(1).map(|group| group.passes[0].1);
        let mut end = 0;
        for start in starts {
            let (part, others) = rest.split_at_mut(start - end);
            parts.push(part);
            (rest, end) = (others, start);
        }
        parts.push(rest);
        let work = groups.iter().zip(parts).collect();
        spread(work, packed_len, |(group, part)| self.pack_group(group, part));
    }

    fn pack_group(&self, group: &Group, packed: &mut [f32]) {
        let Description { window, groups, weights, out_channels_last, .. } = self.description;
        let all = self.output.shape[1];
        let (inputs, outputs) = (self.input.shape[1] / groups, all / groups);
        let taps = window.kernel[0] * window.kernel[1];
        let width = group.blocks * LANES;
        let first = group.first * LANES;
        let count = width.min(all - first);
        let is_row = !self.input.is_blocked;
        // Distances between the weights of adjacent output channels and of adjacent taps.
        let (out_stride, tap_stride) =
            if *out_channels_last { (1, all) } else { (inputs * taps, 1) };
        let mut rows = packed.chunks_exact_mut(width);
        for (tap, segment) in self.taps(group.first, group.blocks) {
            for i in 0..segment.length {
                let row = rows.next().expect("the group's weights have this length");
                let (channel, column) = if is_row {
                    (tap.channel, tap.column + i)
                } else {
                    (tap.channel + i, tap.column)
                };
                let position = tap.row * window.kernel[1] + column;
                // Only the output channels of one group read this input channel.
                let (of_group, channel) = (channel / inputs, channel % inputs);
                let start = (of_group * outputs).max(first);
                let end = ((of_group + 1) * outputs).min(first + count);
                let from =
                    &weights[start * out_stride + (channel * taps + position) * tap_stride..];
                let row = row[start - first..end - first].iter_mut();
                row.zip(from.iter().step_by(out_stride)).for_each(|(to, from)| *to = *from);
            }
        }
    }
}
