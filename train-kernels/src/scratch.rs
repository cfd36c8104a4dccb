//! Memory that kernels work in.

use std::cell::RefCell;
use std::marker::PhantomData;

/// Lends a buffer of the thread with numbers from before in it.
///
/// `work` must not start work on other threads: while it waits for that, this thread could take
/// up work that wants the same buffer.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            *buffer = vec![0.0; len];
        }
        work(&mut buffer[..len])
    })
}

/// A slice that threads write disjoint parts of.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: those who take parts promise that they are disjoint.
unsafe impl Send for Shared<'_> {}
// SAFETY: see above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrowed: PhantomData }
    }

    /// A part of the slice.
    ///
    /// # Safety
    ///
    /// As long as it lives, nothing else has a part that overlaps it.
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "outside of the slice");
        // SAFETY: inside of the slice, and alone there by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
