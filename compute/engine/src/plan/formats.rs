//! Steps between row-major images and images in blocks or planes.

use std::ops::Range;

use zoo_simd::LANES;

use super::buffers::{Images, Location};
use super::draft::Work;
use super::rows::rows;
use crate::memory::Arena;
use crate::threads::Member;

/// From row-major images into blocks or planes.
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
        let to_image = from.to_image(*to);
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
}

/// From blocks into row-major images.
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
        let to_image = to.to_image(*from);
        for (image, channel, y) in rows(from.of(items), channels, height, member) {
            let input = arena.at(from.at(image, channel / LANES, y) + channel % LANES);
            let output = arena.at(to.offset + image * to_image + (channel * height + y) * width);
            for x in 0..width {
                // SAFETY: the images have this row, and no other thread writes it.
                unsafe { *output.add(x) = *input.add(x * LANES) }
            }
        }
    }
}
