//! Memory that kernels work in.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Numbers that a thread writes at once.
const CHUNK: usize = 1 << 16;

/// Zeros, written by all threads: memory of before comes with other numbers in it.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    if len <= CHUNK {
        return vec![0.0; len];
    }
    written(len, |_, chunk| chunk.fill(MaybeUninit::new(0.0)))
}

/// A copy, made by all threads.
pub(crate) fn copied(numbers: &[f32]) -> Vec<f32> {
    written(numbers.len(), |start, chunk| {
        chunk.write_copy_of_slice(&numbers[start..start + chunk.len()]);
    })
}

/// Numbers that `write` writes all of, from the start of a chunk on.
fn written(len: usize, write: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(len);
    let chunks = numbers.spare_capacity_mut()[..len].par_chunks_mut(CHUNK).enumerate();
    chunks.for_each(|(index, chunk)| write(index * CHUNK, chunk));
    // SAFETY: so many numbers were written.
    unsafe { numbers.set_len(len) };
    numbers
}

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
