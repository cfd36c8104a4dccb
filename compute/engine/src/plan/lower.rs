//! Lowering: buffers for the values, in each format that a step reads, and the steps in order.

use std::collections::HashMap;

use zoo_simd::{Isa, LANES};

use super::Program;
use super::buffers::{Buffer, BufferId, Buffers, Format};
use super::draft::{Draft, Placed, Step};
use super::formats::{Pack, Unpack};
use super::plain::Plain;
use crate::graph::{Graph, Node, ValueId};
use crate::memory::Aligned;
use crate::ops::gather::{Source, whole_at};

/// Compiles a graph to a program and its memory. The program computes `at_once` of the `batch`
/// items at once.
pub(super) fn lower(
    graph: &Graph,
    isa: Isa,
    threads: usize,
    [batch, at_once]: [usize; 2],
) -> (Program, Aligned) {
    let mut lowering = Lowering {
        buffers: Buffers::default(),
        drafts: Vec::new(),
        made: HashMap::new(),
        graph,
        batch,
    };
    let input = lowering.add(graph.input, Format::Plain);
    for node in &graph.nodes {
        if !node.op.lower(node, &mut lowering) {
            lowering.plain(node);
        }
    }
    let outputs: Vec<BufferId> =
        graph.outputs.iter().map(|&value| lowering.read(value, Format::Plain)).collect();
    lowering.place_in_concatenations();

    let prefix = lowering.per_item_prefix(at_once);
    let items_of = |step: usize| if step < prefix { 1 } else { at_once };

    let Lowering { mut buffers, drafts, .. } = lowering;
    let last = drafts.len();
    buffers.touch(input, 0);
    for (step, draft) in drafts.iter().enumerate() {
        draft.inputs.iter().chain([&draft.output]).for_each(|&buffer| buffers.touch(buffer, step));
        if let Some(scratch) = &draft.scratch {
            let [x, out] = [draft.inputs[0], draft.output].map(|id| buffers.images(id).shape);
            buffers.0[scratch.buffer].shape[0] = (scratch.length)(items_of(step), x, out, threads);
            buffers.touch(scratch.buffer, step);
        }
    }
    for &output in &outputs {
        buffers.touch(output, last);
    }
    for buffer in &mut buffers.0 {
        let Some(life) = &mut buffer.life else { continue };
        if buffer.constant.is_some() {
            *life = (0, last);
        } else if life.1 >= prefix && !buffer.is_scratch {
            buffer.items = at_once;
            // The next item's first steps must not overwrite it.
            if life.0 < prefix {
                life.0 = 0;
            }
        }
    }
    let mut memory = Aligned::zeros(buffers.plan());
    for buffer in buffers.0.iter().filter(|buffer| buffer.life.is_some()) {
        if let Some(constant) = &buffer.constant {
            memory.as_mut_slice()[buffer.offset..][..constant.len()].copy_from_slice(constant);
        }
    }
    let mut program = Program {
        steps: Vec::new(),
        per_item_prefix: 0,
        input: buffers.location(input),
        outputs: outputs.into_iter().map(|id| buffers.location(id)).collect(),
    };
    for (index, draft) in drafts.iter().enumerate() {
        let placed = Placed { isa, items: items_of(index), buffers: &buffers, draft };
        program.steps.extend((draft.make)(&placed).map(|step| with_costs(step, &placed, batch)));
        if index < prefix {
            program.per_item_prefix = program.steps.len();
        }
    }
    (program, memory)
}

/// Sets a step's output shape and its cost for a whole batch.
fn with_costs(step: Step, placed: &Placed<'_>, batch: usize) -> Step {
    let Placed { buffers, draft, .. } = placed;
    let mut shape = buffers.0[draft.output].shape.clone();
    shape[0] *= batch;
    let batch = batch as u64;
    let numbers: u64 =
        draft.inputs.iter().chain([&draft.output]).map(|&id| buffers.value_len(id)).sum();
    let bytes = 4 * (numbers * batch + step.parameters);
    Step { shape, operations: step.operations * batch, bytes, ..step }
}

/// Turns a graph's nodes into drafts of steps; [`Operator::lower`](crate::ops::Operator::lower)
/// works with it.
pub(crate) struct Lowering<'g> {
    graph: &'g Graph,
    /// Number of items in the batch.
    batch: usize,
    buffers: Buffers,
    drafts: Vec<Draft<'g>>,
    /// The buffers of the values, in each format that a step reads or writes.
    made: HashMap<(ValueId, Format), BufferId>,
}

impl<'g> Lowering<'g> {
    /// Returns the graph.
    pub(crate) fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// Returns the maximum number of items that are computed at once. It does not depend on the
    /// number of threads.
    pub(crate) fn most_items(&self) -> usize {
        self.batch.min(super::MOST_AT_ONCE)
    }

    /// Returns the shapes of a node's first input and of its output, if both are images.
    pub(crate) fn images_of(&self, node: &Node) -> Option<([usize; 4], [usize; 4])> {
        Some((self.graph.shape4(*node.inputs.first()?)?, self.graph.shape4(node.output)?))
    }

    /// Whether a value has a buffer in the blocked format.
    pub(crate) fn is_in_blocks(&self, value: ValueId) -> bool {
        self.made.contains_key(&(value, Format::Blocked))
    }

    /// Adds a buffer for a value that the next step computes.
    pub(crate) fn add(&mut self, value: ValueId, format: Format) -> BufferId {
        let buffer = self.buffers.add(Buffer::new(self.graph.shape(value), format));
        self.made.insert((value, format), buffer);
        buffer
    }

    /// Adds a buffer with constant images in the blocked format; `data` is row-major.
    pub(crate) fn add_constant(&mut self, shape: [usize; 4], data: &[f32]) -> BufferId {
        let mut buffer = Buffer::new(&shape, Format::Blocked);
        buffer.constant = Some(in_blocks(shape, data));
        self.buffers.add(buffer)
    }

    /// Adds a buffer that only one step uses. Its length is set later.
    pub(crate) fn add_scratch(&mut self) -> BufferId {
        let mut buffer = Buffer::new(&[0], Format::Plain);
        buffer.is_scratch = true;
        self.buffers.add(buffer)
    }

    /// Requests a margin of zeros around a buffer's images: above, below, left and right.
    pub(crate) fn margin(&mut self, buffer: BufferId, margin: [usize; 4]) {
        self.buffers.margin(buffer, margin);
    }

    /// Returns the buffer of a value in a format. Drafts a conversion if the value has another
    /// format.
    pub(crate) fn read(&mut self, value: ValueId, format: Format) -> BufferId {
        if let Some(&buffer) = self.made.get(&(value, format)) {
            return buffer;
        }
        let formats = [Format::Plain, Format::Blocked];
        let from = formats.into_iter().find(|&from| self.made.contains_key(&(value, from)));
        let Some(from) = from else {
            let buffer = self.add(value, format);
            let data = self.graph.data(value).expect("a value is computed or constant");
            self.buffers.0[buffer].constant = Some(if format == Format::Blocked {
                in_blocks(self.graph.shape4(value).expect("images"), data)
            } else {
                data.to_vec()
            });
            return buffer;
        };
        // The planar format is only converted from row-major numbers.
        let from = if format == Format::Planar { Format::Plain } else { from };
        let input = self.read(value, from);
        let output = self.add(value, format);
        match format {
            Format::Plain => self.unpack(input, output),
            Format::Blocked | Format::Planar => self.draft(Draft::new(vec![input], output, |at| {
                Some(Step::new(Pack::new(at.input_location(0), at.output()), "pack"))
            })),
        }
        output
    }

    /// Drafts a step that converts images in the blocked format to row-major numbers.
    pub(crate) fn unpack(&mut self, input: BufferId, output: BufferId) {
        self.draft(Draft::new(vec![input], output, |at| {
            Some(Step::new(Unpack::new(at.input(0), at.output_location()), "unpack"))
        }));
    }

    /// Adds a step.
    pub(crate) fn draft(&mut self, draft: Draft<'g>) {
        self.drafts.push(draft);
    }

    /// Drafts a step that computes the node's output in the blocked format. There is no step if
    /// `make` returns `None`.
    pub(crate) fn blocked(
        &mut self,
        node: &'g Node,
        inputs: Vec<BufferId>,
        make: impl Fn(&Placed<'_>) -> Option<Step> + 'g,
    ) {
        let output = self.add(node.output, Format::Blocked);
        let weights = self.weights(node);
        self.draft(Draft { weights, ..Draft::new(inputs, output, make) });
    }

    /// Returns the number of elements in the node's constant inputs.
    pub(crate) fn weights(&self, node: &Node) -> usize {
        node.inputs.iter().filter_map(|&value| self.graph.data(value)).map(<[f32]>::len).sum()
    }

    /// Drafts a step that computes a node with its operator's `evaluate`.
    fn plain(&mut self, node: &'g Node) {
        let graph = self.graph;
        let is_computed = |value: &&ValueId| graph.data(**value).is_none();
        let values: Vec<ValueId> = node.inputs.iter().filter(is_computed).copied().collect();
        let inputs = values.into_iter().map(|value| self.read(value, Format::Plain)).collect();
        let output = self.add(node.output, Format::Plain);
        let weights = self.weights(node);
        let make = move |at: &Placed<'_>| {
            let step = Plain::new(graph, node, at);
            Some(Step::new(step, format!("{} (plain)", node.op.name())))
        };
        self.draft(Draft { weights, ..Draft::new(inputs, output, make) });
    }

    /// Returns the number of first steps that run for one item after another, not for all items at
    /// once. These are the steps whose images are larger than their weights, so that the images
    /// stay in the cache. In the other steps the weights stay in the cache.
    fn per_item_prefix(&self, at_once: usize) -> usize {
        let size = |&id: &BufferId| self.buffers.0[id].shape.iter().product::<usize>();
        let costs = self.drafts.iter().map(|draft| {
            let images: usize = draft.inputs.iter().chain([&draft.output]).map(size).sum();
            (images * at_once) as isize - (draft.weights * (at_once - 1)) as isize
        });
        let (mut best, mut most, mut sum) = (0, 0, 0);
        for (index, cost) in costs.enumerate() {
            sum += cost;
            if sum >= most {
                (best, most) = (index + 1, sum);
            }
        }
        best
    }

    /// Puts the inputs of concatenations into the outputs' buffers, so that no step copies them.
    fn place_in_concatenations(&mut self) {
        // Starts with the last concatenation, because it may contain the others.
        for index in (0..self.drafts.len()).rev() {
            let Draft { sources: Some(sources), inputs, output, .. } = &self.drafts[index] else {
                continue;
            };
            let (sources, inputs, output) = (*sources, inputs.clone(), *output);
            let starts: Vec<Option<usize>> = (0..inputs.len())
                .map(|input| whole_at(sources, input, self.buffers.0[inputs[input]].shape[1]))
                .collect();
            // A common parent has no zeros between the inputs.
            if self.buffers.0[output].parent.is_none()
                && !sources.contains(&Source::Zero)
                && let Some((root, block)) = self.common(&inputs, &starts)
            {
                self.buffers.place(output, root, block);
                continue;
            }
            let (whole, _) = self.buffers.root(output);
            for (input, start) in inputs.into_iter().zip(starts) {
                let Some(start) = start else { continue };
                let buffer = &self.buffers.0[input];
                if buffer.parent.is_none() && buffer.constant.is_none() && input != whole {
                    self.buffers.place(input, output, start / LANES);
                }
            }
        }
    }

    /// Returns the buffer that already contains all inputs in this order, and the block of the
    /// first.
    fn common(&self, inputs: &[BufferId], starts: &[Option<usize>]) -> Option<(BufferId, usize)> {
        let mut found = None;
        for (&input, start) in inputs.iter().zip(starts) {
            self.buffers.0[input].parent?;
            let (root, block) = self.buffers.root(input);
            let location = (root, block.checked_sub((*start)? / LANES)?);
            if *found.get_or_insert(location) != location {
                return None;
            }
        }
        found
    }
}

/// Converts row-major images to the blocked format.
fn in_blocks(shape: [usize; 4], data: &[f32]) -> Vec<f32> {
    let [batch, channels, height, width] = shape;
    let blocks = channels.div_ceil(LANES);
    let mut out = vec![0.0; batch * blocks * height * width * LANES];
    for (index, plane) in data.chunks_exact(height * width).enumerate() {
        let (image, channel) = (index / channels, index % channels);
        for (pixel, &value) in plane.iter().enumerate() {
            let block = image * blocks + channel / LANES;
            out[(block * height * width + pixel) * LANES + channel % LANES] = value;
        }
    }
    out
}
