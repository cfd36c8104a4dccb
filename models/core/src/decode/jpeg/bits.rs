//! Reads the bits of a scan, with markers between them.

/// Restart markers within a scan: RST0 to RST7.
const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;

/// Reads bits of entropy-coded data, in which a byte 0xff is followed by 0.
///
/// After the last bit, which a marker follows, it returns zeros without end.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Index of the next byte. At a marker, the index of its byte 0xff.
    position: usize,
    /// The next bits, from the highest on. After `count` bits it holds some of the following or zeros.
    buffer: u64,
    count: u32,
    /// Number of the `count` bits that are zeros after the end of the data.
    made_up: u32,
    next_restart: u8,
}

impl<'a> Bits<'a> {
    /// Starts after a scan's header.
    pub(super) fn new(data: &'a [u8], position: usize) -> Self {
        Self { data, position, buffer: 0, count: 0, made_up: 0, next_restart: 0 }
    }

    /// Index of the end of the data: at a marker, or before one if the scan was shorter than its data.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Whether more bits were read than the data has.
    pub(super) fn is_exhausted(&self) -> bool {
        self.made_up > self.count
    }

    /// Loads bits until at least 32 are available.
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
        // The bits after `count` are read again.
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

    /// Returns the next `count` bits, 1 to 32, without removing them.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.buffer >> (64 - count)) as u32
    }

    /// Removes bits that [`fill`](Self::fill) has loaded.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// Returns the next `count` bits, 0 to 16, and removes them.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        self.fill();
        let bits = (self.buffer >> 1 >> (63 - count)) as u32;
        self.skip(count);
        bits
    }

    /// Moves after the restart marker that is due.
    ///
    /// If there is another marker, this does what libjpeg does, so that the rest of the image stays in
    /// its position.
    pub(super) fn restart(&mut self) {
        let was_exhausted = self.is_exhausted();
        (self.buffer, self.count, self.made_up) = (0, 0, 0);
        let due = self.next_restart;
        self.next_restart = (due + 1) % 8;
        while let Some((marker, end)) = next_marker(self.data, self.position) {
            let ahead = marker.wrapping_sub(*RESTARTS.start()).wrapping_sub(due) % 8;
            let is_restart = RESTARTS.contains(&marker);
            if marker >= 0xc0 && (!is_restart || matches!(ahead, 1 | 2)) {
                // The marker that is due is missing; this one belongs to a later position.
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

/// Returns the next marker from a position on, and the index after it. Bytes before it are skipped.
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
