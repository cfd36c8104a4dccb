//! Memory for kernels.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Number of elements that a thread writes at once.
const CHUNK: usize = 1 << 16;

/// Returns zeros. All threads write them, because reused memory has other numbers in it.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    if len <= CHUNK {
        return vec![0.0; len];
    }
    written(len, |_, chunk| chunk.fill(MaybeUninit::new(0.0)))
}

/// Copies numbers with all threads.
pub(crate) fn copied(numbers: &[f32]) -> Vec<f32> {
    written(numbers.len(), |start, chunk| {
        chunk.write_copy_of_slice(&numbers[start..start + chunk.len()]);
    })
}

/// Returns `len` numbers. `write` takes the start of each chunk and must write the whole chunk.
fn written(len: usize, write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(len);
    let chunks = numbers.spare_capacity_mut()[..len].par_chunks_mut(CHUNK).enumerate();
    chunks.for_each(|(index, chunk)| write(index * CHUNK, chunk));
    // SAFETY: `write` has written all `len` numbers.
    unsafe { numbers.set_len(len) };
    numbers
}

/// Calls `work` with a buffer of this thread. The buffer may contain any numbers.
///
/// `work` must not start work on other threads: while it waits, this thread could run other work
/// that needs the same buffer.
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

// SAFETY: the callers of `part` guarantee that the parts are disjoint.
unsafe impl Send for Shared<'_> {}
// SAFETY: see above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrowed: PhantomData }
    }

    /// Returns a part of the slice.
    ///
    /// # Safety
    ///
    /// No other part that overlaps it exists while it is in use.
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "the part is outside the slice");
        // SAFETY: the assertion checks the range; the caller guarantees that no part overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
