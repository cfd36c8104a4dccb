//! Steps whose buffers have no locations yet.

use std::fmt;
use std::ops::Range;

use zoo_simd::Isa;

use super::buffers::{BufferId, Buffers, Images, Location};
use crate::memory::Arena;
use crate::ops::gather::Source;
use crate::threads::Member;

/// The work of a step, with everything that it needs except the memory.
pub(crate) trait Work: fmt::Debug + Send + Sync {
    /// Returns the images whose margins the engine fills with zeros before [`run`](Self::run).
    fn cleared(&self) -> Option<Images>;

    /// Returns the number of weights that it holds.
    fn weights_len(&self) -> usize {
        0
    }

    /// Computes this thread's part for some items of a batch. All threads call it at the same time.
    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>);
}

/// An instruction of a plan.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) work: Box<dyn Work>,
    /// Its name for users.
    pub(super) label: String,
    /// The shape of the output. The plan sets it, and also [`bytes`](Self::bytes).
    pub(super) shape: Vec<usize>,
    /// Number of multiplications and additions.
    pub(super) operations: u64,
    /// Minimum number of bytes that are read and written.
    pub(super) bytes: u64,
    /// Number of elements that are read once for all items of a batch.
    pub(super) parameters: u64,
}

impl Step {
    pub(crate) fn new(work: impl Work + 'static, label: impl Into<String>) -> Self {
        let (work, label) = (Box::new(work), label.into());
        Self { work, label, shape: Vec::new(), operations: 0, bytes: 0, parameters: 0 }
    }

    /// Sets the number of multiplications and additions for an item of the batch.
    pub(crate) fn with_operations(self, operations: u64) -> Self {
        Self { operations, ..self }
    }

    /// Sets the number of elements that are read once for all items of a batch.
    pub(crate) fn with_parameters(self, parameters: usize) -> Self {
        Self { parameters: parameters as u64, ..self }
    }
}

/// A function that makes a step, or `None` if there is nothing to do.
pub(crate) type Make<'g> = Box<dyn Fn(&Placed<'_>) -> Option<Step> + 'g>;

/// A step whose buffers have no locations yet.
pub(crate) struct Draft<'g> {
    pub(crate) inputs: Vec<BufferId>,
    pub(crate) output: BufferId,
    /// Number of weights in the cache. The lowering compares it with the images.
    pub(crate) weights: usize,
    pub(crate) scratch: Option<Scratch>,
    /// The sources of the output's channels, if the step only gathers channels. Inputs can then be
    /// computed directly in the output.
    pub(crate) sources: Option<&'g [Source]>,
    pub(crate) make: Make<'g>,
}

/// Memory that only one step uses.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) buffer: BufferId,
    /// Returns its length for a number of items at once, the shapes of an item's first input and of
    /// its output, and a number of threads.
    pub(crate) length: fn(usize, [usize; 4], [usize; 4], usize) -> usize,
}

impl<'g> Draft<'g> {
    /// Returns a draft without weights or scratch memory.
    pub(crate) fn new(
        inputs: Vec<BufferId>,
        output: BufferId,
        make: impl Fn(&Placed<'_>) -> Option<Step> + 'g,
    ) -> Self {
        let make = Box::new(make);
        Self { inputs, output, weights: 0, scratch: None, sources: None, make }
    }
}

/// A draft's buffers with their locations, and the instruction set and number of items for its step.
pub(crate) struct Placed<'a> {
    pub(crate) isa: Isa,
    /// Number of items of a batch that the step computes at once.
    pub(crate) items: usize,
    pub(super) buffers: &'a Buffers,
    pub(super) draft: &'a Draft<'a>,
}

impl Placed<'_> {
    /// Returns the images of an input.
    pub(crate) fn input(&self, index: usize) -> Images {
        self.buffers.images(self.draft.inputs[index])
    }

    /// Returns the images of all inputs.
    pub(crate) fn inputs(&self) -> Vec<Images> {
        self.draft.inputs.iter().map(|&id| self.buffers.images(id)).collect()
    }

    /// Returns the images of the output.
    pub(crate) fn output(&self) -> Images {
        self.buffers.images(self.draft.output)
    }

    /// Returns the location of the row-major numbers of an input.
    pub(crate) fn input_location(&self, index: usize) -> Location {
        self.buffers.location(self.draft.inputs[index])
    }

    /// Returns the location of the row-major numbers of the output.
    pub(crate) fn output_location(&self) -> Location {
        self.buffers.location(self.draft.output)
    }

    /// Returns the offset of the scratch memory.
    ///
    /// # Panics
    ///
    /// When the draft has no scratch memory.
    pub(crate) fn scratch(&self) -> usize {
        let scratch = self.draft.scratch.as_ref().expect("the draft has scratch memory");
        self.buffers.location(scratch.buffer).offset
    }

    /// Whether an input was computed directly in the output, at this block.
    pub(crate) fn is_in_place(&self, index: usize, block: usize) -> bool {
        let (root, first) = self.buffers.root(self.draft.output);
        self.buffers.root(self.draft.inputs[index]) == (root, first + block)
    }

    /// Returns the number of elements in the output, for an item of the batch.
    pub(crate) fn output_len(&self) -> u64 {
        self.buffers.value_len(self.draft.output)
    }
}
