//! JPEGs, to the pixels that PIL gives: libjpeg-turbo's arithmetic with its default settings.
//!
//! Decoders are free to round otherwise, and most do; a network's answer then moves by a percent. Read
//! are Huffman-coded images of 8 bits, sequential and progressive (ITU-T T.81). Where the coded data is
//! damaged the picture goes on as libjpeg's does; only a file that ends too early is refused.

mod bits;
mod color;
mod huffman;
mod idct;
mod smooth;
mod standard;
mod upsample;

use std::io;

use image::{ColorType, ImageDecoder, ImageResult, Limits};

use super::DecodeError;
use bits::{Bits, next_marker};
use color::Space;
use huffman::{Band, Huffman, State, at};
use idct::Block;
use smooth::{ESTIMATED, Known};
use upsample::{Plane, Upsampling};

/// How many blocks all scans together may have. A file that says the same again and again has more.
const MAX_BLOCKS: u64 = 1 << 30;

/// What a row of samples is longer than its pixels, so that several pixels at once can be made of it.
const PADDING: usize = 64;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Damage(&'static str);

const CUT_OFF: Damage = Damage("the file ends before the image does");

impl From<Damage> for DecodeError {
    fn from(damage: Damage) -> Self {
        Self::Broken(damage.0.to_owned())
    }
}

/// A JPEG whose header was read.
pub(super) struct Decoder<'a> {
    data: &'a [u8],
    /// The header of the first scan.
    scan: Scan,
    /// Behind that.
    position: usize,
    tables: Tables,
    frame: Frame,
    space: Space,
    exif: Option<&'a [u8]>,
}

/// What scans refer to by number, and what may change between them.
struct Tables {
    /// Factors at their coefficient's place.
    quantization: [Option<[u16; 64]>; 4],
    means: [Option<Huffman>; 4],
    coefficients: [Option<Huffman>; 4],
    /// After how many units a marker stands in a scan; 0 for never.
    restart_interval: usize,
}

/// What an image consists of.
struct Frame {
    is_progressive: bool,
    /// Width and height.
    size: [usize; 2],
    components: Vec<Component>,
    /// How many units of all components go across and down.
    units: [usize; 2],
}

/// One of an image's colors.
struct Component {
    id: u8,
    /// How many blocks of it a unit has, across and down.
    sampling: [usize; 2],
    /// How many blocks it has across and down, without what fills the last units.
    blocks: [usize; 2],
    table: usize,
    /// The factors that its first scan found.
    quantization: Option<[u16; 64]>,
    /// All blocks, unless each is turned into samples as soon as it is read.
    coefficients: Vec<Block>,
    plane: Plane,
    known: Known,
    /// The same before the last scan.
    known_before: Known,
}

/// The header of a scan.
struct Scan {
    parts: Vec<Part>,
    band: Band,
}

/// A scan's component and the numbers of its Huffman codes.
struct Part {
    index: usize,
    means: usize,
    coefficients: usize,
}

impl<'a> Decoder<'a> {
    /// Reads the header, up to the first scan's. Takes no memory for the image yet.
    pub(super) fn new(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut position = 0;
        let mut tables = Tables {
            quantization: [None; 4],
            means: standard::means(),
            coefficients: standard::coefficients(),
            restart_interval: 0,
        };
        let (mut frame, mut exif, mut is_jfif, mut adobe) = (None::<Frame>, None, false, None);
        let scan = loop {
            let (marker, segment) = next_segment(data, &mut position)?;
            match (marker, &frame) {
                (0xc0..=0xc2, None) => frame = Some(Frame::new(marker == 0xc2, segment)?),
                (0xc0..=0xc2, Some(_)) => return Err(Damage("it has two headers").into()),
                (0xda, Some(frame)) => break Scan::new(segment, frame)?,
                (0xda | 0xd9, _) => return Err(Damage("the image is missing").into()),
                (0xe0, _) => is_jfif |= segment.len() >= 14 && segment.starts_with(b"JFIF\0"),
                (0xe1, _) => exif = exif.or(segment.strip_prefix(b"Exif\0\0")),
                (0xee, _) if segment.len() >= 12 && segment.starts_with(b"Adobe") => {
                    adobe = Some(segment[11]);
                }
                (0xc3 | 0xcb, _) => return Err(unread("a lossless JPEG")),
                (0xc5..=0xc7 | 0xcd..=0xcf | 0xde, _) => return Err(unread("a hierarchical JPEG")),
                (0xc9 | 0xca, _) => return Err(unread("a JPEG with arithmetic coding")),
                (0xf7, _) => return Err(unread("a JPEG-LS image")),
                _ => tables.read(marker, segment)?,
            }
        };
        let Some(frame) = frame else { return Err(Damage("the image is missing").into()) };
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        let space = match (ids.len(), adobe) {
            (1, _) => Space::Grey,
            (3, _) if is_jfif => Space::YCbCr,
            (3, Some(0)) => Space::Rgb,
            (3, None) if ids == b"RGB" => Space::Rgb,
            (3, _) => Space::YCbCr,
            (_, None | Some(0)) => Space::Cmyk,
            _ => Space::Ycck,
        };
        let decoder = Self { data, scan, position, tables, frame, space, exif };
        let units = decoder.frame.units;
        let blocks =
            decoder.frame.components.iter().map(|c| c.all_blocks(units).iter().product::<usize>());
        let bytes = if decoder.is_whole() { 64 } else { 64 + size_of::<Block>() };
        let samples = blocks.sum::<usize>() as u64 * bytes as u64;
        Limits::default().reserve(decoder.total_bytes() + samples)?;
        Ok(decoder)
    }

    /// Whether the first scan has all of the image.
    fn is_whole(&self) -> bool {
        !self.frame.is_progressive && self.scan.parts.len() == self.frame.components.len()
    }

    /// Reads all scans, and turns their coefficients into samples.
    fn read_scans(&mut self) -> Result<(), Damage> {
        let is_whole = self.is_whole();
        for component in &mut self.frame.components {
            let [across, down] = component.all_blocks(self.frame.units);
            component.plane.stride = 8 * across;
            // What no scan brings is grey.
            component.plane.samples = vec![128; 64 * across * down];
            if !is_whole {
                component.coefficients = vec![[0; 64]; across * down];
            }
        }
        let (mut blocks, mut is_first) = (0, true);
        loop {
            let last_row = self.read_scan(is_first)?;
            blocks += self.scan.blocks(&self.frame);
            if blocks > MAX_BLOCKS {
                return Err(Damage("it has more scans than an image needs"));
            }
            let next = loop {
                match next_segment(self.data, &mut self.position)? {
                    (0xd9, _) => break None,
                    // What comes behind a whole image is none of it.
                    (0xda, _) if is_whole => {}
                    (0xda, segment) => break Some(Scan::new(segment, &self.frame)?),
                    (marker, segment) => self.tables.read(marker, segment)?,
                }
            };
            match next {
                Some(next) => self.scan = next,
                None if is_whole => return Ok(()),
                None => {
                    self.frame.transform(last_row, is_first);
                    return Ok(());
                }
            }
            is_first = false;
        }
    }

    /// Reads a scan's blocks. Returns the last row of units for which there is data.
    fn read_scan(&mut self, is_first: bool) -> Result<usize, Damage> {
        let is_whole = self.is_whole();
        let Self { data, scan, position, tables, frame, .. } = self;
        let is_interleaved = scan.parts.len() > 1;
        let mut codes = Vec::with_capacity(scan.parts.len());
        for part in &scan.parts {
            frame.components[part.index].begin_scan(tables, &scan.band, is_first)?;
            let means = tables.means.get(part.means).and_then(Option::as_ref);
            let coefficients = tables.coefficients.get(part.coefficients).and_then(Option::as_ref);
            let needed = scan.band.codes(means, coefficients);
            codes.push(needed.ok_or(Damage("a Huffman code is missing"))?);
        }
        let units =
            if is_interleaved { frame.units } else { frame.components[scan.parts[0].index].blocks };
        let rows_of_units =
            if is_interleaved { 1 } else { frame.components[scan.parts[0].index].sampling[1] };
        let mut bits = Bits::new(data, *position);
        let mut states = vec![State::default(); scan.parts.len()];
        let mut until_restart = tables.restart_interval;
        let mut last_row = 0;
        'scan: for row in 0..units[1] {
            for column in 0..units[0] {
                if tables.restart_interval > 0 {
                    if until_restart == 0 {
                        bits.restart();
                        states.fill(State::default());
                        until_restart = tables.restart_interval;
                    }
                    until_restart -= 1;
                }
                if bits.is_exhausted() {
                    if tables.restart_interval == 0 {
                        break 'scan;
                    }
                    continue;
                }
                last_row = row / rows_of_units;
                for ((part, codes), state) in scan.parts.iter().zip(&codes).zip(&mut states) {
                    let component = &mut frame.components[part.index];
                    let [across, down] = if is_interleaved { component.sampling } else { [1, 1] };
                    for (y, x) in (0..down).flat_map(|y| (0..across).map(move |x| (y, x))) {
                        let place = [column * across + x, row * down + y];
                        let read =
                            |block: &mut Block| scan.band.read(&mut bits, codes, state, block);
                        component.read_block(place, is_whole, read);
                    }
                }
            }
        }
        *position = bits.position();
        Ok(last_row)
    }
}

impl Tables {
    /// Reads a segment between scans, if it has to do with them.
    fn read(&mut self, marker: u8, segment: &[u8]) -> Result<(), Damage> {
        match marker {
            0xdb => self.read_quantization(segment).ok_or(Damage("a table of factors is damaged")),
            0xc4 => self.read_codes(segment).ok_or(Damage("a Huffman code is damaged")),
            0xdd => {
                let &interval = segment.first_chunk().ok_or(Damage("a segment is too short"))?;
                self.restart_interval = u16::from_be_bytes(interval).into();
                Ok(())
            }
            0xc0..=0xc2 => Err(Damage("it has two headers")),
            _ => Ok(()),
        }
    }

    fn read_quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let size = if kind >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * size)?;
            let table = self.quantization.get_mut(usize::from(kind & 15))?.insert([0; 64]);
            for (place, value) in values.chunks_exact(size).enumerate() {
                table[at(place)] = value.iter().fold(0, |sum, &byte| sum << 8 | u16::from(byte));
            }
            segment = rest;
        }
        Some(())
    }

    fn read_codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total)?;
            let codes = if kind >> 4 == 0 { &mut self.means } else { &mut self.coefficients };
            *codes.get_mut(usize::from(kind & 15))? = Some(Huffman::new(counts, symbols)?);
            segment = rest;
        }
        Some(())
    }
}

impl Frame {
    fn new(is_progressive: bool, segment: &[u8]) -> Result<Self, DecodeError> {
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

    /// Turns all coefficients into samples. `last_row` is that of the last scan's units, which is the
    /// `only` one or one of several.
    fn transform(&mut self, last_row: usize, is_only: bool) {
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
    fn new(
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

    /// How many blocks the component has with those that fill the last units.
    fn all_blocks(&self, units: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| units[axis] * self.sampling[axis])
    }

    /// The rows of blocks from two above a row to two below it, within the image.
    fn rows_around(&self, y: usize, units: usize) -> [usize; 5] {
        let (row, rest) = (y / self.sampling[1], y % self.sampling[1]);
        // In the last unit libjpeg counts as if all units had as few rows as that one.
        let (above, bottom) = if row + 1 == units {
            (row * (self.blocks[1] - row * self.sampling[1]) + rest, self.blocks[1] - 1)
        } else {
            (y, units * self.sampling[1] - 1)
        };
        let below = |distance: usize| (y + distance).min(bottom);
        [y - above.min(2), y - above.min(1), y, below(1), below(2)]
    }

    /// Takes the factors that count from its first scan on, and notes what a scan brings.
    fn begin_scan(&mut self, tables: &Tables, band: &Band, is_first: bool) -> Result<(), Damage> {
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

    /// Reads a block, whose place is its column and row, and writes its samples if it is `whole`.
    #[inline(always)]
    fn read_block(&mut self, [x, y]: [usize; 2], is_whole: bool, read: impl FnOnce(&mut Block)) {
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

impl Scan {
    fn new(segment: &[u8], frame: &Frame) -> Result<Self, Damage> {
        const WRONG: Damage = Damage("a scan's header is damaged");
        let (&count, rest) = segment.split_first().ok_or(WRONG)?;
        let (list, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or(WRONG)?;
        let &[first, last, bits] = rest else { return Err(WRONG) };
        let mut parts = Vec::<Part>::new();
        for &[id, codes] in list.as_chunks().0 {
            let is_new = |index: &usize| parts.iter().all(|part| part.index != *index);
            let mut indices = (0..frame.components.len()).filter(is_new);
            let index = indices.find(|&index| frame.components[index].id == id).ok_or(WRONG)?;
            let [means, coefficients] = [codes >> 4, codes & 15].map(usize::from);
            parts.push(Part { index, means, coefficients });
        }
        let band = if frame.is_progressive {
            Band::new(first.into(), last.into(), bits).filter(|band| band.first == 0 || count == 1)
        } else {
            Some(Band::WHOLE)
        };
        let band = band.filter(|_| count > 0).ok_or(WRONG)?;
        Ok(Self { parts, band })
    }

    /// How many blocks it has.
    fn blocks(&self, frame: &Frame) -> u64 {
        let of = |part: &Part| {
            let [across, down] = frame.components[part.index].all_blocks(frame.units);
            (across * down) as u64
        };
        self.parts.iter().map(of).sum()
    }
}

/// The next marker and what stands behind it. Markers that nothing belongs to are passed over.
fn next_segment<'a>(data: &'a [u8], position: &mut usize) -> Result<(u8, &'a [u8]), Damage> {
    loop {
        let (marker, start) = next_marker(data, *position).ok_or(CUT_OFF)?;
        *position = start;
        match marker {
            0x01..=0xbf | 0xd0..=0xd8 => continue,
            0xd9 => return Ok((marker, &[])),
            _ => {}
        }
        let &length = data[start..].first_chunk().ok_or(CUT_OFF)?;
        let length = usize::from(u16::from_be_bytes(length));
        let segment = data.get(start + 2..start + length.max(2)).ok_or(CUT_OFF)?;
        *position = start + length;
        return Ok((marker, segment));
    }
}

fn unread(kind: &str) -> DecodeError {
    DecodeError::UnknownKind(format!("{kind} is not read"))
}

impl ImageDecoder for Decoder<'_> {
    fn dimensions(&self) -> (u32, u32) {
        let [width, height] = self.frame.size;
        (width as u32, height as u32)
    }

    fn color_type(&self) -> ColorType {
        if self.space == Space::Grey { ColorType::L8 } else { ColorType::Rgb8 }
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.exif.map(<[u8]>::to_vec))
    }

    fn read_image(mut self, output: &mut [u8]) -> ImageResult<()> {
        self.read_scans().map_err(io::Error::other)?;
        let width = self.frame.size[0];
        let mut rows = vec![vec![0; width + PADDING]; self.frame.components.len()];
        let mut sums = Vec::with_capacity(width + PADDING);
        let row_bytes = width * usize::from(self.color_type().bytes_per_pixel());
        for (y, output) in output.chunks_exact_mut(row_bytes).enumerate() {
            for (component, row) in self.frame.components.iter().zip(&mut rows) {
                component.plane.upsample(y, &mut sums, row);
            }
            color::convert(self.space, &rows, output);
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, output: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(output)
    }
}
