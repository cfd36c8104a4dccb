//! Decodes Huffman codes and the blocks that consist of them (ITU-T T.81, annexes F and G).

use super::bits::Bits;
use super::idct::Block;

/// Index in a block of each coefficient, in the order of the file. A run of zeros in a damaged file
/// may go 16 further than the last.
const ZIGZAG: [u8; 80] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
    63, 63, 63, 63, 63, 63,
];

/// Returns the index in a block of the coefficient with this index in the file's order.
#[inline(always)]
pub(super) fn at(index: usize) -> usize {
    usize::from(ZIGZAG[index] & 63)
}

/// Number of bits that are looked up at once.
const LOOKUP_BITS: u32 = 9;

/// A Huffman code.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length and symbol of the code that the next bits begin with; length 0 if the code is longer.
    short: Box<[[u8; 2]; 1 << LOOKUP_BITS]>,
    /// The coefficient in the next bits, after its code: value, zeros before it, length of code and
    /// value. Length 0 if the bits do not contain all of it.
    whole: Box<[(i16, u8, u8); 1 << LOOKUP_BITS]>,
    /// For each length, the end of its codes as 16 bits, and the number to add to a code to get an index
    /// in `symbols`.
    ends: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// Creates a code from the number of codes of each length, 1 to 16, and their symbols.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut short = Box::new([[0, 0]; 1 << LOOKUP_BITS]);
        let mut whole = Box::new([(0, 0, 0); 1 << LOOKUP_BITS]);
        let mut ends = [(0, 0); 17];
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(counts) {
            ends[length as usize].1 = index as i32 - code as i32;
            for &symbol in symbols.get(index..index + usize::from(count))? {
                if length <= LOOKUP_BITS {
                    let first = (code << (LOOKUP_BITS - length)) as usize;
                    short
                        .get_mut(first..)?
                        .iter_mut()
                        .take(1 << (LOOKUP_BITS - length))
                        .for_each(|entry| *entry = [length as u8, symbol]);
                }
                code += 1;
            }
            if code > 1 << length {
                return None;
            }
            index += usize::from(count);
            ends[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        for (bits, (&[length, symbol], whole)) in (0_u32..).zip(short.iter().zip(&mut whole[..])) {
            let (zeros, size) = (symbol >> 4, symbol & 15);
            let end = u32::from(length + size);
            if length > 0 && size > 0 && end <= LOOKUP_BITS {
                let value = (bits >> (LOOKUP_BITS - end)) & ((1 << size) - 1);
                *whole = (extend(value, size.into()) as i16, zeros, end as u8);
            }
        }
        Some(Self { short, whole, ends, symbols: symbols.to_vec() })
    }

    /// Reads the next symbol; 0 if no code has these bits.
    #[inline(always)]
    fn symbol(&self, bits: &mut Bits) -> u8 {
        bits.fill();
        let [length, symbol] = self.short[bits.peek(LOOKUP_BITS) as usize];
        if length > 0 {
            bits.skip(length.into());
            return symbol;
        }
        self.long_symbol(bits)
    }

    #[cold]
    fn long_symbol(&self, bits: &mut Bits) -> u8 {
        let next = bits.peek(16);
        let length = (LOOKUP_BITS as usize + 1..17).find(|&length| next < self.ends[length].0);
        let Some(length) = length else {
            bits.skip(17);
            return 0;
        };
        bits.skip(length as u32);
        let index = (next >> (16 - length)) as i32 + self.ends[length].1;
        self.symbols[index as usize]
    }

    /// Reads the difference of a block's mean to the one before it.
    #[inline(always)]
    fn difference(&self, bits: &mut Bits) -> i32 {
        let size = u32::from(self.symbol(bits)) & 15;
        extend(bits.take(size), size)
    }
}

/// Converts a value of `size` bits to a number: values that begin with 0 are negative.
#[inline(always)]
fn extend(value: u32, size: u32) -> i32 {
    let value = value as i32;
    if value < (1 << size) >> 1 { value - (1 << size) + 1 } else { value }
}

/// The codes that a scan uses for a component: for means and for other coefficients.
pub(super) struct Codes<'a>(Option<&'a Huffman>, Option<&'a Huffman>);

/// The state that a component carries from one block to the next.
#[derive(Clone, Default)]
pub(super) struct State {
    mean: i32,
    /// Number of following blocks without further coefficients in this scan.
    skipped: u32,
}

/// The coefficients of a scan, and their lowest bit.
pub(super) struct Band {
    pub(super) first: usize,
    pub(super) last: usize,
    /// The lowest bit in the scan.
    pub(super) low: u32,
    /// Whether earlier scans had the higher bits.
    refines: bool,
}

impl Band {
    /// The band of a sequential image.
    pub(super) const WHOLE: Self = Self { first: 0, last: 63, low: 0, refines: false };

    /// Creates the band of a progressive image: either means or other coefficients; either their higher
    /// bits or one more bit.
    pub(super) fn new(first: usize, last: usize, bits: u8) -> Option<Self> {
        let (high, low) = (bits >> 4, bits & 15);
        let is_sound = if first == 0 { last == 0 } else { first <= last && last < 64 };
        let is_sound = is_sound && low <= 13 && (high == 0 || high == low + 1);
        is_sound.then(|| Self { first, last, low: low.into(), refines: high > 0 })
    }

    /// Selects the codes of a component that the scan needs. `None` if one is missing.
    pub(super) fn codes<'a>(
        &self,
        means: Option<&'a Huffman>,
        coefficients: Option<&'a Huffman>,
    ) -> Option<Codes<'a>> {
        let (has_means, has_others) = (self.first == 0 && !self.refines, self.last > 0);
        let is_there = (means.is_some() || !has_means) && (coefficients.is_some() || !has_others);
        is_there.then(|| Codes(means.filter(|_| has_means), coefficients.filter(|_| has_others)))
    }

    /// Reads a scan's bits of a block.
    #[inline(always)]
    pub(super) fn read(
        &self,
        bits: &mut Bits,
        codes: &Codes,
        state: &mut State,
        block: &mut Block,
    ) {
        match *codes {
            Codes(Some(means), Some(others)) => {
                read_block(bits, means, others, &mut state.mean, block);
            }
            Codes(Some(means), None) => {
                state.mean = state.mean.wrapping_add(means.difference(bits));
                block[0] = (state.mean << self.low) as i16;
            }
            Codes(None, None) => block[0] |= (bits.take(1) << self.low) as i16,
            Codes(None, Some(others)) if state.skipped == 0 || self.refines => {
                if self.refines {
                    self.refine(bits, others, &mut state.skipped, block);
                } else {
                    self.read_first(bits, others, &mut state.skipped, block);
                }
            }
            Codes(None, Some(_)) => state.skipped -= 1,
        }
    }

    /// Reads the higher bits of coefficients.
    fn read_first(&self, bits: &mut Bits, code: &Huffman, skipped: &mut u32, block: &mut Block) {
        let mut index = self.first;
        while index <= self.last {
            let symbol = code.symbol(bits);
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            index += zeros as usize;
            if size > 0 {
                block[at(index)] = (extend(bits.take(size), size) << self.low) as i16;
            } else if zeros < 15 {
                *skipped = (1 << zeros) - 1 + bits.take(zeros);
                return;
            }
            index += 1;
        }
    }

    /// Adds a bit to the coefficients, and reads those that begin with it.
    fn refine(&self, bits: &mut Bits, code: &Huffman, skipped: &mut u32, block: &mut Block) {
        let one = 1_i16 << self.low;
        let add_bit = |bits: &mut Bits, coefficient: &mut i16| {
            if bits.take(1) == 1 && *coefficient & one == 0 {
                *coefficient = coefficient.wrapping_add(if *coefficient < 0 { -one } else { one });
            }
        };
        let mut index = self.first;
        while *skipped == 0 && index <= self.last {
            let symbol = code.symbol(bits);
            let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
            let mut value = 0;
            if size > 0 {
                value = if bits.take(1) == 1 { one } else { -one };
            } else if zeros < 15 {
                *skipped = (1 << zeros) + bits.take(zeros);
                break;
            }
            while index <= self.last {
                let coefficient = &mut block[at(index)];
                if *coefficient != 0 {
                    add_bit(bits, coefficient);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                index += 1;
            }
            if value != 0 {
                block[at(index)] = value;
            }
            index += 1;
        }
        if *skipped > 0 {
            for index in index..=self.last {
                let coefficient = &mut block[at(index)];
                if *coefficient != 0 {
                    add_bit(bits, coefficient);
                }
            }
            *skipped -= 1;
        }
    }
}

/// Reads a block of a sequential image into `block`, which is 0. `mean` is the mean of the block
/// before.
#[inline(always)]
fn read_block(
    bits: &mut Bits,
    means: &Huffman,
    others: &Huffman,
    mean: &mut i32,
    block: &mut Block,
) {
    *mean = mean.wrapping_add(means.difference(bits));
    block[0] = *mean as i16;
    let mut index = 1;
    while index < 64 {
        bits.fill();
        let (value, zeros, length) = others.whole[bits.peek(LOOKUP_BITS) as usize];
        if length > 0 {
            index += usize::from(zeros);
            block[at(index)] = value;
            bits.skip(length.into());
        } else {
            let symbol = others.symbol(bits);
            let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            index += zeros;
            if size > 0 {
                block[at(index)] = extend(bits.take(size), size) as i16;
            } else if zeros < 15 {
                return;
            }
        }
        index += 1;
    }
}
