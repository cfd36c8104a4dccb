//! Decodes JPEGs to the pixels that PIL gives: with libjpeg-turbo's arithmetic and default settings.
//!
//! The standard allows other roundings, and most decoders differ; the outputs of a network then
//! change by a percent. This decoder reads Huffman-coded images of 8 bits, sequential and progressive
//! (ITU-T T.81). It continues after damaged data as libjpeg does; only a file that ends too early is
//! refused.

mod bits;
mod color;
mod frame;
mod huffman;
mod idct;
mod segments;
mod smooth;
mod standard;
mod upsample;

use std::io;

use image::{ColorType, ImageDecoder, ImageResult, Limits};

use super::DecodeError;
use bits::Bits;
use color::Space;
use frame::Frame;
use huffman::State;
use idct::Block;
use segments::{Scan, Tables, next_segment};

/// Largest number of blocks in all scans together. A malicious file may repeat scans without end.
const MAX_BLOCKS: u64 = 1 << 30;

/// Extra samples at the end of a row, so that several pixels can be computed at once.
const PADDING: usize = 64;

/// An error in a file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Damage(&'static str);

const CUT_OFF: Damage = Damage("the file ends before the image does");

impl From<Damage> for DecodeError {
    fn from(damage: Damage) -> Self {
        Self::Broken(damage.0.to_owned())
    }
}

/// A JPEG after its header was read.
pub(super) struct Decoder<'a> {
    data: &'a [u8],
    /// The header of the first scan.
    scan: Scan,
    /// The index after that header.
    position: usize,
    tables: Tables,
    frame: Frame,
    space: Space,
    /// Whether the first scan contains the whole image, so that coefficients need not be stored.
    is_whole: bool,
    exif: Option<&'a [u8]>,
}

impl<'a> Decoder<'a> {
    /// Reads all headers up to the first scan's. Allocates no memory for the image yet.
    pub(super) fn new(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut position = 0;
        let mut tables = Tables::new();
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
            (1, _) => Space::Gray,
            (3, _) if is_jfif => Space::YCbCr,
            (3, Some(0)) => Space::Rgb,
            (3, None) if ids == b"RGB" => Space::Rgb,
            (3, _) => Space::YCbCr,
            (_, None | Some(0)) => Space::Cmyk,
            _ => Space::Ycck,
        };
        let is_whole = !frame.is_progressive && scan.parts.len() == frame.components.len();
        let blocks = frame.components.iter().map(|part| {
            let [across, down] = part.all_blocks(frame.units);
            across as u64 * down as u64
        });
        let bytes = if is_whole { 64 } else { 64 + size_of::<Block>() as u64 };
        let samples = bytes * blocks.sum::<u64>();
        let decoder = Self { data, scan, position, tables, frame, space, is_whole, exif };
        Limits::default().reserve(decoder.total_bytes() + samples)?;
        Ok(decoder)
    }

    /// Reads all scans, and turns their coefficients into samples.
    fn read_scans(&mut self) -> Result<(), Damage> {
        for component in &mut self.frame.components {
            let [across, down] = component.all_blocks(self.frame.units);
            component.plane.stride = 8 * across;
            // Blocks that no scan contains are gray.
            component.plane.samples = vec![128; 64 * across * down];
            if !self.is_whole {
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
                    // A scan after a whole image does not belong to it.
                    (0xda, _) if self.is_whole => {}
                    (0xda, segment) => break Some(Scan::new(segment, &self.frame)?),
                    (marker, segment) => self.tables.read(marker, segment)?,
                }
            };
            match next {
                Some(next) => self.scan = next,
                None if self.is_whole => return Ok(()),
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
        let Self { data, scan, position, tables, frame, is_whole, .. } = self;
        let is_interleaved = scan.parts.len() > 1;
        let mut codes = Vec::with_capacity(scan.parts.len());
        for part in &scan.parts {
            frame.components[part.index].begin_scan(tables, &scan.band, is_first)?;
            let means = tables.means.get(part.means).and_then(Option::as_ref);
            let coefficients = tables.coefficients.get(part.coefficients).and_then(Option::as_ref);
            let needed = scan.band.codes(means, coefficients);
            codes.push(needed.ok_or(Damage("a Huffman code is missing"))?);
        }
        // A scan with one component has single blocks, without those that only fill the last units.
        let first = &frame.components[scan.parts[0].index];
        let (units, rows_of_units) =
            if is_interleaved { (frame.units, 1) } else { (first.blocks, first.sampling[1]) };
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
                        let position = [column * across + x, row * down + y];
                        let read =
                            |block: &mut Block| scan.band.read(&mut bits, codes, state, block);
                        component.read_block(position, *is_whole, read);
                    }
                }
            }
        }
        *position = bits.position();
        Ok(last_row)
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
        if self.space == Space::Gray { ColorType::L8 } else { ColorType::Rgb8 }
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
