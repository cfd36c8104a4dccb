//! Aligned memory for vectors.

use zoo_simd::LANES;

/// The numbers of one vector, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read through pointers")] [f32; LANES]);

/// Numbers that start at a cache line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    /// Returns at least `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        Self(vec![Line([0.0; LANES]); length.div_ceil(LANES)])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len() * LANES
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: the lines are contiguous, and each is 16 numbers without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.len()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: the lines are contiguous, and each is 16 numbers without padding.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.len()) }
    }
}

/// The memory of a plan's buffers, which its steps read and write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arena {
    start: *mut f32,
    length: usize,
}

// SAFETY: between two barriers each thread writes its own part; every step guarantees this.
unsafe impl Send for Arena {}
// SAFETY: see above.
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) fn of(memory: &mut Aligned) -> Self {
        let memory = memory.as_mut_slice();
        Self { start: memory.as_mut_ptr(), length: memory.len() }
    }

    /// Returns a pointer to the number at an offset.
    pub(crate) fn at(self, offset: usize) -> *mut f32 {
        // Kernels call this too often for a check outside tests.
        if cfg!(test) {
            assert!(offset <= self.length, "{offset} is outside of {}", self.length);
        }
        self.origin(offset)
    }

    /// Returns the pointer from which the positions of a window are counted. It may be outside the
    /// arena.
    pub(crate) fn origin(self, offset: usize) -> *mut f32 {
        self.start.wrapping_add(offset)
    }
}
