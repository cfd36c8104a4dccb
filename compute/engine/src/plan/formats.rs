//! Steps that convert images between memory formats.

use std::ops::Range;

use zoo_simd::LANES;

use super::buffers::{Images, Location};
use super::draft::Work;
use super::rows::rows;
use crate::memory::Arena;
use crate::threads::Member;

/// Conversion of row-major images to the blocked or planar format.
#[derive(Debug)]
pub(super) struct Pack {
    from: Location,
    to: Images,
}

impl Pack {
    pub(super) fn new(from: Location, to: Images) -> Self {
        Self { from, to }
    }
}

impl Work for Pack {
    fn cleared(&self) -> Option<Images> {
        Some(self.to)
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let Self { from, to } = self;
        let [_, channels, height, width] = to.shape;
        let image_stride = from.image_stride(*to);
        for (image, block, y) in rows(to.of(items), to.blocks(), height, member) {
            let output = arena.at(to.at(image, block, y));
            let first = from.offset + image * image_stride;
            let source = |channel: usize| arena.at(first + (channel * height + y) * width);
            // SAFETY: both images have this row, and only this thread writes it.
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
}

/// Conversion of images in the blocked format to row-major.
#[derive(Debug)]
pub(super) struct Unpack {
    from: Images,
    to: Location,
}

impl Unpack {
    pub(super) fn new(from: Images, to: Location) -> Self {
        Self { from, to }
    }
}

impl Work for Unpack {
    fn cleared(&self) -> Option<Images> {
        None
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let Self { from, to } = self;
        let [_, channels, height, width] = from.shape;
        let image_stride = to.image_stride(*from);
        for (image, channel, y) in rows(from.of(items), channels, height, member) {
            let input = arena.at(from.at(image, channel / LANES, y) + channel % LANES);
            let output =
                arena.at(to.offset + image * image_stride + (channel * height + y) * width);
            for x in 0..width {
                // SAFETY: both images have this row, and only this thread writes it.
                unsafe { *output.add(x) = *input.add(x * LANES) }
            }
        }
    }
}
