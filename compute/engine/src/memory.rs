//! Memory that vectors are read from.

use zoo_simd::LANES;

/// A vector's numbers.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read through pointers")] [f32; LANES]);

/// Numbers that start at the beginning of a cache line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    /// At least `length` zeros.
    pub(crate) fn zeros(length: usize) -> Self {
        Self(vec![Line([0.0; LANES]); length.div_ceil(LANES)])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len() * LANES
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a line is 16 numbers without anything between it and the next.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.len()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: a line is 16 numbers without anything between it and the next.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.len()) }
    }
}

/// The memory that all steps of a plan read and write, each its own part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arena {
    start: *mut f32,
    length: usize,
}

// SAFETY: threads write different parts between two barriers, as each step promises.
unsafe impl Send for Arena {}
// SAFETY: see above.
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) fn of(memory: &mut Aligned) -> Self {
        let memory = memory.as_mut_slice();
        Self { start: memory.as_mut_ptr(), length: memory.len() }
    }

    /// The number at an offset.
    pub(crate) fn at(self, offset: usize) -> *mut f32 {
        // Kernels ask too often for it to be checked outside of tests.
        if cfg!(test) {
            assert!(offset <= self.length, "{offset} is outside of {}", self.length);
        }
        self.origin(offset)
    }

    /// What the places of a window are counted from, which is itself not always inside.
    pub(crate) fn origin(self, offset: usize) -> *mut f32 {
        self.start.wrapping_add(offset)
    }
}
