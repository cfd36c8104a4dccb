//! Functions for steps on images.

use std::ops::Range;

use super::buffers::Images;
use crate::memory::{Aligned, Arena};
use crate::threads::Member;

/// Returns a thread's share of the images' rows: the indices of image, block and row.
pub(crate) fn rows(
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

/// Fills the margins of images with zeros.
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
        // SAFETY: the margin is part of the buffer, and only this thread writes this block.
        unsafe { arena.at(offset).write_bytes(0, length) }
    };
    for (image, block, _) in rows(images.of(items), images.blocks(), 1, member) {
        let first = images.at(image, block, 0) - left * images.pixel;
        zero(first - above * images.row, above * images.row);
        for row in 0..height {
            let row = first + row * images.row;
            zero(row, left * images.pixel);
            zero(row + images.row - right * images.pixel, right * images.pixel);
        }
        zero(first + height * images.row, below * images.row);
    }
}

/// Copies one number for each channel and fills the last block with zeros.
pub(crate) fn by_block(values: &[f32]) -> Aligned {
    let mut blocks = Aligned::zeros(values.len());
    blocks.as_mut_slice()[..values.len()].copy_from_slice(values);
    blocks
}
