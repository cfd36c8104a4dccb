//! Where the values of a computation lie.

use std::ops::Range;

use zoo_simd::LANES;

/// How a value's numbers are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Row-major.
    Plain,
    /// Images in blocks of channels, `[N, C / 16, H, W, 16]`, with a margin of zeros.
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
    /// Rows of zeros above and below the images, columns of zeros left and right.
    pub(crate) above: usize,
    pub(crate) below: usize,
    pub(crate) left: usize,
    pub(crate) right: usize,
    /// The buffer that this one is a part of, from which of its blocks on.
    pub(crate) parent: Option<(BufferId, usize)>,
    /// The first step that writes it and the last that reads it.
    pub(crate) life: Option<(usize, usize)>,
    /// Where it starts in the arena.
    pub(crate) offset: usize,
    /// Written once, when the plan is made.
    pub(crate) constant: Option<Vec<f32>>,
    /// How many items of a batch it keeps apart; one after the other lies in the same place where
    /// it is 1.
    pub(crate) items: usize,
    /// Nobody reads it after the step that it is for.
    pub(crate) is_scratch: bool,
}

/// Where the row-major numbers of each item lie.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    /// Of an item.
    pub(crate) shape: Vec<usize>,
    pub(crate) offset: usize,
    /// From an item to the next; 0 where one after the other lies in the same place.
    pub(crate) to_item: usize,
}

impl Location {
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn at(&self, item: usize) -> usize {
        self.offset + item * self.to_item
    }

    /// From an image to the next, where these images are what it holds.
    pub(crate) fn to_image(&self, images: Images) -> usize {
        if images.shape[0] == 1 { self.to_item } else { images.shape[1..].iter().product() }
    }
}

/// Images in memory. All but the shape counts numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Images {
    pub(crate) shape: [usize; 4],
    /// The first row's first place.
    pub(crate) offset: usize,
    /// From an image to the next; 0 where one after the other lies in the same place.
    pub(crate) image: usize,
    /// From a block of channels to the next; from a channel to the next where it is planar.
    pub(crate) block: usize,
    pub(crate) row: usize,
    /// From a place to the next in its row.
    pub(crate) place: usize,
    /// Whether channels lie in blocks.
    pub(crate) is_blocked: bool,
    /// Margins: above, below, left and right.
    pub(crate) margins: [usize; 4],
}

impl Images {
    /// Blocks of channels, or channels where it is planar.
    pub(crate) fn blocks(&self) -> usize {
        if self.is_blocked { self.shape[1].div_ceil(LANES) } else { self.shape[1] }
    }

    /// Whether a block's rows follow one another without a margin.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.row == self.shape[3] * self.place
    }

    /// The images of some items.
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

    /// The numbers it takes up in the arena.
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

    /// From an item to the next.
    fn to_item(&self) -> usize {
        if self.items == 1 { 0 } else { self.item_len() }
    }

    /// Its images, as if it had no parent.
    fn images(&self) -> Images {
        let shape: [usize; 4] = self.shape.as_slice().try_into().expect("images have 4 dimensions");
        let place = if self.format == Format::Blocked { LANES } else { 1 };
        let blocks = shape[1].div_ceil(place);
        let row = (self.left + shape[3] + self.right) * place;
        let block = (self.above + shape[2] + self.below) * row;
        Images {
            shape,
            offset: self.offset + self.above * row + self.left * place,
            image: match (shape[0], self.items) {
                (1, 1) => 0,
                (1, _) => (blocks * block).next_multiple_of(LANES),
                _ => blocks * block,
            },
            block,
            row,
            place,
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

    /// The buffer that a buffer is a part of, or itself, and from which block on.
    pub(crate) fn root(&self, mut id: BufferId) -> (BufferId, usize) {
        let mut block = 0;
        while let Some((parent, offset)) = self.0[id].parent {
            block += offset;
            id = parent;
        }
        (id, block)
    }

    /// Where the numbers of a buffer that is no part of another one lie.
    pub(crate) fn location(&self, id: BufferId) -> Location {
        let buffer = &self.0[id];
        Location { shape: buffer.shape.clone(), offset: buffer.offset, to_item: buffer.to_item() }
    }

    /// Numbers of the value that a buffer is for, for an item.
    pub(crate) fn value_len(&self, id: BufferId) -> u64 {
        self.0[id].shape.iter().product::<usize>() as u64
    }

    /// A buffer's images in the arena.
    pub(crate) fn images(&self, id: BufferId) -> Images {
        let (root, block) = self.root(id);
        let images = self.0[root].images();
        let shape = self.0[id].shape.as_slice().try_into().expect("images have 4 dimensions");
        Images { shape, offset: images.offset + block * images.block, ..images }
    }

    /// Asks for a margin around a buffer's images.
    pub(crate) fn margin(&mut self, id: BufferId, [above, below, left, right]: [usize; 4]) {
        let (root, _) = self.root(id);
        let buffer = &mut self.0[root];
        buffer.above = buffer.above.max(above);
        buffer.below = buffer.below.max(below);
        buffer.left = buffer.left.max(left);
        buffer.right = buffer.right.max(right);
    }

    /// Makes a buffer a part of another one.
    pub(crate) fn place(&mut self, id: BufferId, parent: BufferId, block: usize) {
        self.0[id].parent = Some((parent, block));
        let Buffer { above, below, left, right, .. } = self.0[id];
        self.margin(parent, [above, below, left, right]);
    }

    /// Notes that a step writes or reads a buffer.
    pub(crate) fn touch(&mut self, id: BufferId, step: usize) {
        let (root, _) = self.root(id);
        let life = self.0[root].life.get_or_insert((step, step));
        life.0 = life.0.min(step);
        life.1 = life.1.max(step);
    }

    /// Gives each buffer a place in an arena, such that those that are alive at the same time
    /// don't overlap, and returns the arena's length.
    ///
    /// The largest are placed first, each at the lowest place that is free during its life.
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
        fn what_lives_at_the_same_time_does_not_overlap(
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
                    let is_apart = x.1 < y.0 || y.1 < x.0;
                    let is_beside = a.offset + a.len() <= b.offset || b.offset + b.len() <= a.offset;
                    prop_assert!(is_apart || is_beside);
                }
            }
        }
    }

    #[test]
    fn parts_lie_in_their_whole() {
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
