//! An image and its components, with the layout of their blocks and samples.

use super::huffman::Band;
use super::idct::Block;
use super::segments::Tables;
use super::smooth::{self, ESTIMATED, Known};
use super::upsample::{Plane, Upsampling};
use super::{Damage, unread};
use crate::decode::DecodeError;

/// An image's header and components.
pub(super) struct Frame {
    pub(super) is_progressive: bool,
    /// Width and height.
    pub(super) size: [usize; 2],
    pub(super) components: Vec<Component>,
    /// Number of units (MCUs) across and down.
    pub(super) units: [usize; 2],
}

/// One color component of an image.
pub(super) struct Component {
    pub(super) id: u8,
    /// Number of its blocks in a unit, across and down.
    pub(super) sampling: [usize; 2],
    /// Number of its blocks across and down, without those that only fill the last units.
    pub(super) blocks: [usize; 2],
    pub(super) table: usize,
    /// The factors at its first scan.
    pub(super) quantization: Option<[u16; 64]>,
    /// All blocks; empty if each is converted to samples when it is read.
    pub(super) coefficients: Vec<Block>,
    pub(super) plane: Plane,
    pub(super) known: Known,
    /// `known` before the last scan.
    pub(super) known_before: Known,
}

impl Frame {
    pub(super) fn new(is_progressive: bool, segment: &[u8]) -> Result<Self, DecodeError> {
        let Some((&[bits, y1, y0, x1, x0, count], rest)) = segment.split_first_chunk() else {
            return Err(Damage("a segment is too short").into());
        };
        let [width, height] = [[x1, x0], [y1, y0]].map(u16::from_be_bytes);
        if bits != 8 {
            return Err(unread(&format!("a JPEG of {bits} bits a sample")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unread(&format!("a JPEG of {count} components")));
        }
        if width == 0 || height == 0 {
            return Err(DecodeError::Size(width.into(), height.into()));
        }
        let (rows, []) = rest.as_chunks::<3>() else {
            return Err(Damage("a segment is too long").into());
        };
        let sampling = |factors: u8| [factors >> 4, factors & 15].map(usize::from);
        let most =
            rows.iter().map(|row| sampling(row[1])).reduce(|a, b| [a[0].max(b[0]), a[1].max(b[1])]);
        let most = most
            .filter(|_| rows.len() == usize::from(count))
            .ok_or(Damage("a segment is too short"))?;
        let size = [width, height].map(usize::from);
        let components = rows
            .iter()
            .map(|&[id, factors, table]| {
                Component::new(id, sampling(factors), table.into(), size, most)
            })
            .collect::<Result<_, _>>()?;
        let units = [0, 1].map(|axis| size[axis].div_ceil(8 * most[axis]));
        Ok(Self { is_progressive, size, components, units })
    }

    /// Converts all coefficients to samples. `last_row` is the last row of units in the last scan;
    /// `is_only` says that this scan is the only one.
    pub(super) fn transform(&mut self, last_row: usize, is_only: bool) {
        let tables = self.components.iter().map(|component| {
            component.quantization.as_ref().map(|quantization| (&component.known, quantization))
        });
        let smooths = self.is_progressive
            && tables.collect::<Option<Vec<_>>>().is_some_and(|tables| smooth::is_useful(&tables));
        let units = self.units;
        for component in &mut self.components {
            let [across, _] = component.all_blocks(units);
            let Some(quantization) = component.quantization else { continue };
            let coefficients = std::mem::take(&mut component.coefficients);
            for y in 0..component.blocks[1] {
                let row = y / component.sampling[1];
                let known = match row > last_row {
                    false => component.known,
                    true if is_only => [-1; ESTIMATED],
                    true => component.known_before,
                };
                let rows = component.rows_around(y, units[1]);
                for x in 0..component.blocks[0] {
                    let mut block = coefficients[y * across + x];
                    if smooths {
                        let right = component.blocks[0] - 1;
                        let means = std::array::from_fn(|i| {
                            let x = (x + i % 5).saturating_sub(2).min(right);
                            coefficients[rows[i / 5] * across + x][0]
                        });
                        smooth::estimate(&mut block, &means, &known, &quantization);
                    }
                    component.plane.write(&block, &quantization, [x, y]);
                }
            }
        }
    }
}

impl Component {
    pub(super) fn new(
        id: u8,
        sampling: [usize; 2],
        table: usize,
        size: [usize; 2],
        most: [usize; 2],
    ) -> Result<Self, DecodeError> {
        if sampling.iter().any(|factor| !(1..=4).contains(factor)) {
            return Err(Damage("a component has no size").into());
        }
        let [right, down] = [0, 1].map(|axis| most[axis] / sampling[axis]);
        if [right * sampling[0], down * sampling[1]] != most {
            return Err(unread("a JPEG with fractional sampling"));
        }
        let [width, height] = [0, 1].map(|axis| (size[axis] * sampling[axis]).div_ceil(most[axis]));
        let upsampling = match (right, down) {
            (2, 1) if width > 2 => Upsampling::Width,
            (1, 2) => Upsampling::Height,
            (2, 2) if width > 2 => Upsampling::Both,
            (right, down) => Upsampling::Repeat(right, down),
        };
        Ok(Self {
            id,
            sampling,
            blocks: [width, height].map(|samples| samples.div_ceil(8)),
            table,
            quantization: None,
            coefficients: Vec::new(),
            plane: Plane { samples: Vec::new(), stride: 0, width, height, upsampling },
            known: [-1; ESTIMATED],
            known_before: [-1; ESTIMATED],
        })
    }

    /// Number of blocks across and down, with those that only fill the last units.
    pub(super) fn all_blocks(&self, units: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| units[axis] * self.sampling[axis])
    }

    /// Returns the rows of blocks from two above a row to two below it, within the image.
    fn rows_around(&self, y: usize, units: usize) -> [usize; 5] {
        let (row, rest) = (y / self.sampling[1], y % self.sampling[1]);
        // In the last unit libjpeg assumes that all units have as few rows as the last one.
        let (above, bottom) = if row + 1 == units {
            (row * (self.blocks[1] - row * self.sampling[1]) + rest, self.blocks[1] - 1)
        } else {
            (y, units * self.sampling[1] - 1)
        };
        let below = |distance: usize| (y + distance).min(bottom);
        [y - above.min(2), y - above.min(1), y, below(1), below(2)]
    }

    /// Stores the factors at the first scan, and the known bits after this scan.
    pub(super) fn begin_scan(
        &mut self,
        tables: &Tables,
        band: &Band,
        is_first: bool,
    ) -> Result<(), Damage> {
        if self.quantization.is_none() {
            let table = tables.quantization.get(self.table).copied().flatten();
            self.quantization = Some(table.ok_or(Damage("a table of factors is missing"))?);
        }
        self.known_before = if is_first { [0; ESTIMATED] } else { self.known };
        for known in self.known.iter_mut().take(band.last + 1).skip(band.first) {
            *known = band.low as i8;
        }
        Ok(())
    }

    /// Reads the block in column `x` and row `y`. Writes its samples if the scan has the whole image.
    #[inline(always)]
    pub(super) fn read_block(
        &mut self,
        [x, y]: [usize; 2],
        is_whole: bool,
        read: impl FnOnce(&mut Block),
    ) {
        if !is_whole {
            return read(&mut self.coefficients[y * (self.plane.stride / 8) + x]);
        }
        let mut block = [0; 64];
        read(&mut block);
        if let Some(quantization) = &self.quantization {
            self.plane.write(&block, quantization, [x, y]);
        }
    }
}
