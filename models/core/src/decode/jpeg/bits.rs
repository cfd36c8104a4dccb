//! The bits of a scan, between which markers lie.

/// Markers that begin anew within a scan: RST0 to RST7.
const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;

/// Reads bits of entropy-coded data, in which a byte 0xff is followed by 0.
///
/// Behind the last bit, which a marker follows, are zeros without end.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// What is read next. Where a marker was met, its byte 0xff.
    position: usize,
    /// The next bits, from the highest on. Behind `count` bits are some of the following or zeros.
    buffer: u64,
    count: u32,
    /// How many of the `count` bits are zeros that the data does not have.
    made_up: u32,
    next_restart: u8,
}

impl<'a> Bits<'a> {
    /// Starts where a scan's header ends.
    pub(super) fn new(data: &'a [u8], position: usize) -> Self {
        Self { data, position, buffer: 0, count: 0, made_up: 0, next_restart: 0 }
    }

    /// Where the data ends: at a marker, or before one if the scan was shorter than its data.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Whether more was read than there is.
    pub(super) fn is_exhausted(&self) -> bool {
        self.made_up > self.count
    }

    /// Makes sure that 32 bits can be looked at and taken.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        if self.count < 32 {
            match self.data[self.position..].first_chunk() {
                Some(&bytes) if !has_marker(u64::from_be_bytes(bytes)) => {
                    self.buffer |= u64::from_be_bytes(bytes) >> self.count;
                    let taken = (63 - self.count) / 8;
                    self.position += taken as usize;
                    self.count += taken * 8;
                }
                _ => self.fill_by_bytes(),
            }
        }
    }

    #[cold]
    fn fill_by_bytes(&mut self) {
        // The bits behind `count` come again.
        self.buffer &= !(u64::MAX >> self.count);
        while self.count <= 56 {
            let byte = match self.data[self.position..] {
                [0xff, ref rest @ ..] => {
                    let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
                    if rest.get(fill) != Some(&0) {
                        self.made_up += 64 - self.count;
                        self.count = 64;
                        return;
                    }
                    self.position += 2 + fill;
                    0xff
                }
                [byte, ..] => {
                    self.position += 1;
                    byte
                }
                [] => {
                    self.made_up += 64 - self.count;
                    self.count = 64;
                    return;
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next `count` bits, 1 to 32 of them, which stay.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.buffer >> (64 - count)) as u32
    }

    /// Takes bits that [`fill`](Self::fill) has brought.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// The next `count` bits, 0 to 16 of them.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        self.fill();
        let bits = (self.buffer >> 1 >> (63 - count)) as u32;
        self.skip(count);
        bits
    }

    /// Goes behind the restart marker that is due.
    ///
    /// Where another marker stands there, what libjpeg does is done, so that the rest of the
    /// image stays in its place.
    pub(super) fn restart(&mut self) {
        let was_exhausted = self.is_exhausted();
        (self.buffer, self.count, self.made_up) = (0, 0, 0);
        let due = self.next_restart;
        self.next_restart = (due + 1) % 8;
        while let Some((marker, end)) = next_marker(self.data, self.position) {
            let ahead = marker.wrapping_sub(*RESTARTS.start()).wrapping_sub(due) % 8;
            let is_restart = RESTARTS.contains(&marker);
            if marker >= 0xc0 && (!is_restart || matches!(ahead, 1 | 2)) {
                // What is due is missing, and this is for later.
                self.position = end - 2;
                self.made_up = was_exhausted.into();
                return;
            }
            self.position = end;
            if is_restart && !matches!(ahead, 6 | 7) {
                return;
            }
        }
        self.position = self.data.len();
    }
}

/// Whether one of eight bytes is 0xff.
#[inline(always)]
fn has_marker(bytes: u64) -> bool {
    (!bytes).wrapping_sub(0x0101_0101_0101_0101) & bytes & 0x8080_8080_8080_8080 != 0
}

/// The next marker from a position on, and where it ends. Whatever is before it is skipped.
pub(super) fn next_marker(data: &[u8], mut position: usize) -> Option<(u8, usize)> {
    loop {
        position += data.get(position..)?.iter().position(|&byte| byte == 0xff)?;
        position += data[position..].iter().take_while(|&&byte| byte == 0xff).count();
        let marker = *data.get(position)?;
        position += 1;
        if marker != 0 {
            return Some((marker, position));
        }
    }
}
