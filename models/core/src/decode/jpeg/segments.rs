//! Reads the data between scans: markers, the tables that scans refer to, and the scans' headers.

use super::bits::next_marker;
use super::frame::Frame;
use super::huffman::{Band, Huffman, at};
use super::{CUT_OFF, Damage, standard};

/// Returns the next marker and its segment. Markers without a segment are skipped, except the end.
pub(super) fn next_segment<'a>(
    data: &'a [u8],
    position: &mut usize,
) -> Result<(u8, &'a [u8]), Damage> {
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

/// The tables that scans refer to by number. They may change between scans.
pub(super) struct Tables {
    /// Factors, at the index of their coefficient in a block.
    pub(super) quantization: [Option<[u16; 64]>; 4],
    pub(super) means: [Option<Huffman>; 4],
    pub(super) coefficients: [Option<Huffman>; 4],
    /// Number of units between restart markers in a scan; 0 without such markers.
    pub(super) restart_interval: usize,
}

/// The header of a scan.
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    pub(super) band: Band,
}

/// A component of a scan, and the numbers of its Huffman codes.
pub(super) struct Part {
    pub(super) index: usize,
    pub(super) means: usize,
    pub(super) coefficients: usize,
}

impl Tables {
    /// Creates the default tables.
    pub(super) fn new() -> Self {
        Self {
            quantization: [None; 4],
            means: standard::means(),
            coefficients: standard::coefficients(),
            restart_interval: 0,
        }
    }

    /// Reads a segment between scans. Other segments than tables are ignored.
    pub(super) fn read(&mut self, marker: u8, segment: &[u8]) -> Result<(), Damage> {
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
            for (index, value) in values.chunks_exact(size).enumerate() {
                table[at(index)] = value.iter().fold(0, |sum, &byte| sum << 8 | u16::from(byte));
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

impl Scan {
    pub(super) fn new(segment: &[u8], frame: &Frame) -> Result<Self, Damage> {
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

    /// Number of blocks.
    pub(super) fn blocks(&self, frame: &Frame) -> u64 {
        let of = |part: &Part| {
            let [across, down] = frame.components[part.index].all_blocks(frame.units);
            (across * down) as u64
        };
        self.parts.iter().map(of).sum()
    }
}
