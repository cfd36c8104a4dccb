//! The memory of a computation's values.

use std::ops::Range;

use zoo_simd::LANES;

/// The order of a value's numbers in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Row-major.
    Plain,
    /// Images in blocks of 16 channels, `[N, C / 16, H, W, 16]` (oneDNN: `nChw16c`), with a margin
    /// of zeros.
    Blocked,
    /// Images, `[N, C, H, W]`, with a margin of zeros.
    Planar,
}

/// Index of a buffer.
pub(crate) type BufferId = usize;

/// The memory of one value.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    pub(crate) shape: Vec<usize>,
    pub(crate) format: Format,
    /// Numbers of rows of zeros above and below the images, and of columns left and right.
    pub(crate) above: usize,
    pub(crate) below: usize,
    pub(crate) left: usize,
    pub(crate) right: usize,
    /// The buffer that contains this one, and the block at which this one starts.
    pub(crate) parent: Option<(BufferId, usize)>,
    /// The first step that writes it and the last that reads it.
    pub(crate) life: Option<(usize, usize)>,
    /// Its start in the arena.
    pub(crate) offset: usize,
    /// Constant numbers, which are written once when the plan is made.
    pub(crate) constant: Option<Vec<f32>>,
    /// The number of items of a batch that it holds. If it is 1, each item overwrites the one
    /// before.
    pub(crate) items: usize,
    /// Whether it is scratch memory: no step reads it after the one that writes it.
    pub(crate) is_scratch: bool,
}

/// The location of the row-major numbers of each item.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    /// The shape of an item.
    pub(crate) shape: Vec<usize>,
    pub(crate) offset: usize,
    /// Distance between items; 0 if each overwrites the one before.
    pub(crate) item_stride: usize,
}

impl Location {
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn at(&self, item: usize) -> usize {
        self.offset + item * self.item_stride
    }

    /// Returns the distance between images, if it holds these images.
    pub(crate) fn image_stride(&self, images: Images) -> usize {
        if images.shape[0] == 1 { self.item_stride } else { images.shape[1..].iter().product() }
    }
}

/// Images in memory. The offset and the distances count elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Images {
    pub(crate) shape: [usize; 4],
    /// The offset of the first pixel.
    pub(crate) offset: usize,
    /// Distance between images; 0 if each overwrites the one before.
    pub(crate) image: usize,
    /// Distance between blocks of channels, or between channels in the planar format.
    pub(crate) block: usize,
    /// Distance between rows.
    pub(crate) row: usize,
    /// Distance between adjacent pixels of a row.
    pub(crate) pixel: usize,
    /// Whether the format is [`Format::Blocked`]; otherwise [`Format::Planar`].
    pub(crate) is_blocked: bool,
    /// Sizes of the margins: above, below, left and right.
    pub(crate) margins: [usize; 4],
}

impl Images {
    /// Returns the number of blocks of channels, or of channels in the planar format.
    pub(crate) fn blocks(&self) -> usize {
        if self.is_blocked { self.shape[1].div_ceil(LANES) } else { self.shape[1] }
    }

    /// Whether the rows of a block are contiguous, without margins.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.row == self.shape[3] * self.pixel
    }

    /// Returns the range of the images of some items.
    pub(crate) fn of(&self, items: &Range<usize>) -> Range<usize> {
        items.start * self.shape[0]..items.end * self.shape[0]
    }

    pub(crate) fn at(&self, image: usize, block: usize, row: usize) -> usize {
        self.offset + image * self.image + block * self.block + row * self.row
    }
}

impl Buffer {
    pub(crate) fn new(shape: &[usize], format: Format) -> Self {
        Self {
            shape: shape.to_vec(),
            format,
            above: 0,
            below: 0,
            left: 0,
            right: 0,
            parent: None,
            life: None,
            offset: 0,
            constant: None,
            items: 1,
            is_scratch: false,
        }
    }

    /// Returns the number of elements that it occupies in the arena.
    pub(crate) fn len(&self) -> usize {
        self.item_len() * self.items
    }

    fn item_len(&self) -> usize {
        let length = match self.format {
            Format::Plain => self.shape.iter().product(),
            _ => self.images().blocks() * self.images().block * self.shape[0],
        };
        length.next_multiple_of(LANES)
    }

    /// Returns the distance between items.
    fn item_stride(&self) -> usize {
        if self.items == 1 { 0 } else { self.item_len() }
    }

    /// Returns its images, as if it had no parent.
    fn images(&self) -> Images {
        let shape: [usize; 4] = self.shape.as_slice().try_into().expect("images have 4 dimensions");
        let pixel = if self.format == Format::Blocked { LANES } else { 1 };
        let blocks = shape[1].div_ceil(pixel);
        let row = (self.left + shape[3] + self.right) * pixel;
        let block = (self.above + shape[2] + self.below) * row;
        Images {
            shape,
            offset: self.offset + self.above * row + self.left * pixel,
            image: match (shape[0], self.items) {
                (1, 1) => 0,
                (1, _) => (blocks * block).next_multiple_of(LANES),
                _ => blocks * block,
            },
            block,
            row,
            pixel,
            is_blocked: self.format == Format::Blocked,
            margins: [self.above, self.below, self.left, self.right],
        }
    }
}

/// All buffers of a plan.
#[derive(Debug, Default)]
pub(crate) struct Buffers(pub(crate) Vec<Buffer>);

impl Buffers {
    pub(crate) fn add(&mut self, buffer: Buffer) -> BufferId {
        self.0.push(buffer);
        self.0.len() - 1
    }

    /// Returns the outermost buffer that contains a buffer, or itself, and the block at which the
    /// buffer starts.
    pub(crate) fn root(&self, mut id: BufferId) -> (BufferId, usize) {
        let mut block = 0;
        while let Some((parent, offset)) = self.0[id].parent {
            block += offset;
            id = parent;
        }
        (id, block)
    }

    /// Returns the location of a buffer that has no parent.
    pub(crate) fn location(&self, id: BufferId) -> Location {
        let buffer = &self.0[id];
        Location {
            shape: buffer.shape.clone(),
            offset: buffer.offset,
            item_stride: buffer.item_stride(),
        }
    }

    /// Returns the number of elements in an item of a buffer's value, without margins.
    pub(crate) fn value_len(&self, id: BufferId) -> u64 {
        self.0[id].shape.iter().product::<usize>() as u64
    }

    /// Returns a buffer's images in the arena.
    pub(crate) fn images(&self, id: BufferId) -> Images {
        let (root, block) = self.root(id);
        let images = self.0[root].images();
        let shape = self.0[id].shape.as_slice().try_into().expect("images have 4 dimensions");
        Images { shape, offset: images.offset + block * images.block, ..images }
    }

    /// Enlarges the margin around a buffer's images to at least this size.
    pub(crate) fn margin(&mut self, id: BufferId, [above, below, left, right]: [usize; 4]) {
        let (root, _) = self.root(id);
        let buffer = &mut self.0[root];
        buffer.above = buffer.above.max(above);
        buffer.below = buffer.below.max(below);
        buffer.left = buffer.left.max(left);
        buffer.right = buffer.right.max(right);
    }

    /// Puts a buffer into another one, at a block.
    pub(crate) fn place(&mut self, id: BufferId, parent: BufferId, block: usize) {
        self.0[id].parent = Some((parent, block));
        let Buffer { above, below, left, right, .. } = self.0[id];
        self.margin(parent, [above, below, left, right]);
    }

    /// Extends the life of a buffer to a step that writes or reads it.
    pub(crate) fn touch(&mut self, id: BufferId, step: usize) {
        let (root, _) = self.root(id);
        let life = self.0[root].life.get_or_insert((step, step));
        life.0 = life.0.min(step);
        life.1 = life.1.max(step);
    }

    /// Assigns each buffer an offset in an arena, such that buffers with overlapping lives don't
    /// overlap. Returns the arena's length.
    ///
    /// The largest buffers come first; each gets the lowest offset that is free during its life.
    pub(crate) fn plan(&mut self) -> usize {
        let mut order: Vec<BufferId> =
            (0..self.0.len()).filter(|&id| self.0[id].parent.is_none()).collect();
        order.sort_by_key(|&id| (std::cmp::Reverse(self.0[id].len()), id));
        let mut placed: Vec<BufferId> = Vec::new();
        let mut length = 0;
        for id in order {
            let Some((start, end)) = self.0[id].life else { continue };
            let size = self.0[id].len();
            let mut taken: Vec<(usize, usize)> = placed
                .iter()
                .map(|&other| &self.0[other])
                .filter(|other| other.life.is_some_and(|life| life.0 <= end && start <= life.1))
                .map(|other| (other.offset, other.offset + other.len()))
                .collect();
            taken.sort_unstable();
            let mut offset = 0;
            for (from, to) in taken {
                if offset + size <= from {
                    break;
                }
                offset = offset.max(to);
            }
            self.0[id].offset = offset;
            length = length.max(offset + size);
            placed.push(id);
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buffers_with_overlapping_lives_do_not_overlap(
            lives in prop::collection::vec((1..100_usize, 0..20_usize, 0..5_usize), 1..30)
        ) {
            let mut buffers = Buffers::default();
            for &(size, start, length) in &lives {
                let id = buffers.add(Buffer::new(&[size], Format::Plain));
                buffers.touch(id, start);
                buffers.touch(id, start + length);
            }
            let total = buffers.plan();
            for (i, a) in buffers.0.iter().enumerate() {
                prop_assert!(a.offset + a.len() <= total);
                for b in &buffers.0[..i] {
                    let (x, y) = (a.life.unwrap(), b.life.unwrap());
                    let is_disjoint_in_time = x.1 < y.0 || y.1 < x.0;
                    let is_disjoint_in_memory =
                        a.offset + a.len() <= b.offset || b.offset + b.len() <= a.offset;
                    prop_assert!(is_disjoint_in_time || is_disjoint_in_memory);
                }
            }
        }
    }

    #[test]
    fn a_part_has_the_strides_of_its_parent() {
        let mut buffers = Buffers::default();
        let whole = buffers.add(Buffer::new(&[2, 48, 3, 5], Format::Blocked));
        let part = buffers.add(Buffer::new(&[2, 16, 3, 5], Format::Blocked));
        buffers.margin(part, [1, 0, 0, 2]);
        buffers.place(part, whole, 1);
        buffers.touch(part, 0);
        buffers.plan();
        let (whole, part) = (buffers.images(whole), buffers.images(part));
        assert_eq!(whole.row, 7 * LANES);
        assert_eq!(part.offset, whole.offset + whole.block);
        assert_eq!(part.image, 3 * 4 * 7 * LANES);
    }
}
