//! Steps whose buffers have no locations yet.

use std::fmt;
use std::ops::Range;

use zoo_simd::Isa;

use super::buffers::{BufferId, Buffers, Images, Location};
use crate::memory::Arena;
use crate::ops::gather::Source;
use crate::threads::Member;

/// The work of a step, with all that it needs but the memory.
pub(crate) trait Work: fmt::Debug + Send + Sync {
    /// The images whose margins are cleared before it runs.
    fn cleared(&self) -> Option<Images>;

    /// Numbers of weights that it keeps.
    fn weights_len(&self) -> usize {
        0
    }

    /// Computes this thread's part for some items of a batch.
    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>);
}

/// What a plan does at once.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) work: Box<dyn Work>,
    /// What it is, for people.
    pub(super) label: String,
    /// The shape of the output; the plan sets it, as it does [`bytes`](Self::bytes).
    pub(super) shape: Vec<usize>,
    /// Multiplications and additions.
    pub(super) operations: u64,
    /// Bytes that are read and written at least.
    pub(super) bytes: u64,
    /// Numbers that are read for all items of a batch together.
    pub(super) parameters: u64,
}

impl Step {
    pub(crate) fn new(work: impl Work + 'static, label: impl Into<String>) -> Self {
        let (work, label) = (Box::new(work), label.into());
        Self { work, label, shape: Vec::new(), operations: 0, bytes: 0, parameters: 0 }
    }

    /// With multiplications and additions for an item of the batch.
    pub(crate) fn with_operations(self, operations: u64) -> Self {
        Self { operations, ..self }
    }

    /// With numbers that are read for all items of a batch together.
    pub(crate) fn with_parameters(self, parameters: usize) -> Self {
        Self { parameters: parameters as u64, ..self }
    }
}

/// Makes a step, or none where there is nothing to be done.
pub(crate) type Make<'g> = Box<dyn Fn(&Placed<'_>) -> Option<Step> + 'g>;

/// A step whose buffers have no locations yet.
pub(crate) struct Draft<'g> {
    pub(crate) inputs: Vec<BufferId>,
    pub(crate) output: BufferId,
    /// Numbers of weights as they take up a cache, to weigh against images.
    pub(crate) weights: usize,
    pub(crate) scratch: Option<Scratch>,
    /// Where the channels of the output come from, if all that it does is to gather them. Inputs
    /// may then be made in their places in the output.
    pub(crate) sources: Option<&'g [Source]>,
    pub(crate) make: Make<'g>,
}

/// Memory that only one step uses.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) buffer: BufferId,
    /// Its numbers for so many items at once, for the shapes of an item's first input and of its
    /// output, and for so many threads.
    pub(crate) length: fn(usize, [usize; 4], [usize; 4], usize) -> usize,
}

impl<'g> Draft<'g> {
    /// A draft without weights or scratch memory.
    pub(crate) fn new(
        inputs: Vec<BufferId>,
        output: BufferId,
        make: impl Fn(&Placed<'_>) -> Option<Step> + 'g,
    ) -> Self {
        let make = Box::new(make);
        Self { inputs, output, weights: 0, scratch: None, sources: None, make }
    }
}

/// A draft's buffers with their locations, and what the step is made for.
pub(crate) struct Placed<'a> {
    pub(crate) isa: Isa,
    /// Items of a batch that the step computes at once.
    pub(crate) items: usize,
    pub(super) buffers: &'a Buffers,
    pub(super) draft: &'a Draft<'a>,
}

impl Placed<'_> {
    /// The images of an input.
    pub(crate) fn input(&self, index: usize) -> Images {
        self.buffers.images(self.draft.inputs[index])
    }

    /// The images of all inputs.
    pub(crate) fn inputs(&self) -> Vec<Images> {
        self.draft.inputs.iter().map(|&id| self.buffers.images(id)).collect()
    }

    /// The images of the output.
    pub(crate) fn output(&self) -> Images {
        self.buffers.images(self.draft.output)
    }

    /// Where the row-major numbers of an input lie.
    pub(crate) fn input_location(&self, index: usize) -> Location {
        self.buffers.location(self.draft.inputs[index])
    }

    /// Where the row-major numbers of the output lie.
    pub(crate) fn output_location(&self) -> Location {
        self.buffers.location(self.draft.output)
    }

    /// Where the scratch memory starts.
    ///
    /// # Panics
    ///
    /// When the draft has none.
    pub(crate) fn scratch(&self) -> usize {
        let scratch = self.draft.scratch.as_ref().expect("the draft has scratch memory");
        self.buffers.location(scratch.buffer).offset
    }

    /// Whether an input lies at a block of the output, since it was made there.
    pub(crate) fn is_in_place(&self, index: usize, block: usize) -> bool {
        let (root, first) = self.buffers.root(self.draft.output);
        self.buffers.root(self.draft.inputs[index]) == (root, first + block)
    }

    /// Numbers of the output, for an item of the batch.
    pub(crate) fn output_len(&self) -> u64 {
        self.buffers.value_len(self.draft.output)
    }
}
