//! Chooses a kernel and a format for each node, and a place for each value.

use std::collections::HashMap;

use super::buffers::{Buffer, BufferId, Buffers, Format};
use super::make::Target;
use super::{Program, winograd};
use crate::graph::{Activation, Binary, Graph, Node, Op, Source, ValueId, Window};
use crate::kernels::{Isa, LANES};
use crate::memory::Aligned;

/// The most channels of images that a convolution reads in planes.
const PLANAR: usize = 4;

/// A step whose buffers have no places yet.
pub(super) struct Draft {
    pub(super) task: Task,
    pub(super) inputs: Vec<BufferId>,
    pub(super) output: BufferId,
}

pub(super) enum Task {
    Import,
    Export,
    /// A node, by a kernel for blocks.
    Blocked(Node),
    /// Of two values, of which the second may have one place; `is_flipped` where that is the
    /// node's first.
    Binary {
        op: Binary,
        activation: Activation,
        is_flipped: bool,
    },
    /// A convolution by Winograd's algorithm, with its memory.
    Winograd {
        node: Node,
        scratch: BufferId,
    },
    /// One tap of a transposed convolution.
    Tap {
        node: Node,
        tap: [usize; 2],
    },
    /// A node, by the reference.
    Plain(Node),
}

/// Makes a program of a graph, and the memory it works in; so many items of a batch are `at_once`
/// in it.
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
        lowering.node(node);
    }
    let outputs: Vec<BufferId> =
        graph.outputs.iter().map(|&value| lowering.read(value, Format::Plain)).collect();
    lowering.place_in_concatenations();

    let in_turn = lowering.in_turn(at_once);
    let items_of = |step: usize| if step < in_turn { 1 } else { at_once };

    let Lowering { mut buffers, drafts, .. } = lowering;
    let last = drafts.len();
    buffers.touch(input, 0);
    for (step, draft) in drafts.iter().enumerate() {
        draft.inputs.iter().chain([&draft.output]).for_each(|&buffer| buffers.touch(buffer, step));
        if let Task::Winograd { scratch, .. } = draft.task {
            let [x, out] = [draft.inputs[0], draft.output].map(|id| buffers.images(id).shape);
            buffers.0[scratch].shape[0] = winograd::scratch_len(items_of(step), x, out, threads);
            buffers.touch(scratch, step);
        }
    }
    for &output in &outputs {
        buffers.touch(output, last);
    }
    for buffer in &mut buffers.0 {
        let Some(life) = &mut buffer.life else { continue };
        if buffer.constant.is_some() {
            *life = (0, last);
        } else if life.1 >= in_turn && !buffer.is_scratch {
            buffer.items = at_once;
            // The next item's first steps must leave it as it is.
            if life.0 < in_turn {
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
    let target = Target { isa, graph, buffers: &buffers, batch };
    let mut program = Program {
        steps: Vec::new(),
        in_turn: 0,
        input: buffers.place_of(input),
        outputs: outputs.into_iter().map(|id| buffers.place_of(id)).collect(),
    };
    for (index, draft) in drafts.iter().enumerate() {
        program.steps.extend(target.step(draft, items_of(index)));
        if index < in_turn {
            program.in_turn = program.steps.len();
        }
    }
    (program, memory)
}

struct Lowering<'g> {
    graph: &'g Graph,
    batch: usize,
    buffers: Buffers,
    drafts: Vec<Draft>,
    /// The buffers of the values, in each format that somebody asked for.
    made: HashMap<(ValueId, Format), BufferId>,
}

impl Lowering<'_> {
    /// A buffer for a value that is about to be made.
    fn add(&mut self, value: ValueId, format: Format) -> BufferId {
        let buffer = self.buffers.add(Buffer::new(self.graph.shape(value), format));
        self.made.insert((value, format), buffer);
        buffer
    }

    /// The buffer of a value in a format, converted where it is in another one.
    fn read(&mut self, value: ValueId, format: Format) -> BufferId {
        if let Some(&buffer) = self.made.get(&(value, format)) {
            return buffer;
        }
        let formats = [Format::Plain, Format::Blocked];
        let from = formats.into_iter().find(|&from| self.made.contains_key(&(value, from)));
        let Some(from) = from else {
            let buffer = self.add(value, format);
            let data = self.graph.data(value).expect("a value is made or constant");
            self.buffers.0[buffer].constant = Some(if format == Format::Blocked {
                blocked(self.graph.shape4(value).expect("images"), data)
            } else {
                data.to_vec()
            });
            return buffer;
        };
        let input = self.read(value, from);
        if (from, format) == (Format::Blocked, Format::Planar) {
            let plain = self.read(value, Format::Plain);
            let output = self.add(value, format);
            self.drafts.push(Draft { task: Task::Import, inputs: vec![plain], output });
            return output;
        }
        let output = self.add(value, format);
        let task = if format == Format::Plain { Task::Export } else { Task::Import };
        self.drafts.push(Draft { task, inputs: vec![input], output });
        output
    }

    fn node(&mut self, node: &Node) {
        let graph = self.graph;
        let is_known = |value: ValueId| graph.data(value).is_some();
        let out = graph.shape4(node.output);
        let x = graph.shape4(node.inputs[0]);
        match (&node.op, x, out) {
            (Op::Conv { window, groups, .. }, Some(x), Some(out))
                if is_known(node.inputs[1]) && is_known(node.inputs[2]) =>
            {
                let is_depthwise = *groups > 1 && *groups == x[1] && *groups == out[1];
                let is_planar = node.inputs[0] == graph.input && x[1] <= PLANAR && !is_depthwise;
                let format = if is_planar { Format::Planar } else { Format::Blocked };
                let mut inputs = vec![self.read(node.inputs[0], format)];
                // The same for all numbers of threads.
                let items = self.batch.min(super::MOST_AT_ONCE);
                let by_winograd =
                    format == Format::Blocked && winograd::pays(items, window, *groups, x, out);
                let margin = if by_winograd { winograd::margin } else { margin };
                self.buffers.margin(inputs[0], margin(window, x, out));
                inputs.extend(
                    node.inputs.get(3).map(|&residual| self.read(residual, Format::Blocked)),
                );
                if by_winograd {
                    let mut scratch = Buffer::new(&[0], Format::Plain);
                    scratch.is_scratch = true;
                    let scratch = self.buffers.add(scratch);
                    let output = self.add(node.output, Format::Blocked);
                    let task = Task::Winograd { node: node.clone(), scratch };
                    self.drafts.push(Draft { task, inputs, output });
                } else {
                    self.blocked(node.clone(), inputs);
                }
            }
            (
                Op::ConvTranspose { stride, padding: [0, 0], dilation: [1, 1], groups: 1 },
                Some(_),
                _,
            ) if is_known(node.inputs[1])
                && node.inputs.len() == 3
                && graph.shape(node.inputs[1])[2..] == stride[..]
                && out.is_some_and(|out| {
                    let x = graph.shape(node.inputs[0]);
                    out[2] == x[2] * stride[0] && out[3] == x[3] * stride[1]
                }) =>
            {
                let inputs = vec![self.read(node.inputs[0], Format::Blocked)];
                let output = self.add(node.output, Format::Blocked);
                for tap in (0..stride[0]).flat_map(|y| (0..stride[1]).map(move |x| [y, x])) {
                    let task = Task::Tap { node: node.clone(), tap };
                    self.drafts.push(Draft { task, inputs: inputs.clone(), output });
                }
            }
            (
                Op::Affine { .. } | Op::Activation(_) | Op::Pool { .. } | Op::Resize { .. },
                Some(_),
                Some(_),
            ) => {
                let inputs = vec![self.read(node.inputs[0], Format::Blocked)];
                self.blocked(node.clone(), inputs);
            }
            (Op::Gather { .. }, _, Some(_)) => {
                let inputs =
                    node.inputs.iter().map(|&input| self.read(input, Format::Blocked)).collect();
                self.blocked(node.clone(), inputs);
            }
            (Op::Slice { start, step, .. }, Some(x), Some(out))
                if x[..2] == out[..2] && start[..2] == [0, 0] && step[..2] == [1, 1] =>
            {
                let inputs = vec![self.read(node.inputs[0], Format::Blocked)];
                self.blocked(node.clone(), inputs);
            }
            (Op::Binary { op, activation }, _, Some(out)) => {
                let whole = node
                    .inputs
                    .iter()
                    .position(|&input| graph.shape(input) == out && !is_known(input));
                let operand = whole.and_then(|whole| {
                    let other = node.inputs[1 - whole];
                    self.operand(other, out)
                });
                let Some((whole, operand)) = whole.zip(operand) else {
                    return self.plain(node.clone());
                };
                let first = self.read(node.inputs[whole], Format::Blocked);
                let output = self.add(node.output, Format::Blocked);
                let task =
                    Task::Binary { op: *op, activation: *activation, is_flipped: whole == 1 };
                self.drafts.push(Draft { task, inputs: vec![first, operand], output });
            }
            (Op::Reshape, Some(_), _)
                if self.made.contains_key(&(node.inputs[0], Format::Blocked)) =>
            {
                let input = self.read(node.inputs[0], Format::Blocked);
                let output = self.add(node.output, Format::Plain);
                self.drafts.push(Draft { task: Task::Export, inputs: vec![input], output });
            }
            _ => self.plain(node.clone()),
        }
    }

    /// The second operand's buffer: as large as the output, or one place for each channel.
    fn operand(&mut self, value: ValueId, out: [usize; 4]) -> Option<BufferId> {
        let shape = self.graph.shape4(value)?;
        if let Some(data) = self.graph.data(value) {
            // Spread over the channels and places of an image.
            let spread = [shape[0], out[1], out[2], out[3]];
            let one = Op::Binary { op: Binary::Add, activation: Activation::Identity };
            let zero = (&[1, 1, 1, 1][..], &[0.0][..]);
            let data = crate::reference::evaluate(&one, &[(&shape, data), zero], &spread);
            let mut buffer = Buffer::new(&spread, Format::Blocked);
            buffer.constant = Some(blocked(spread, &data));
            return Some(self.buffers.add(buffer));
        }
        let is_gate = shape == [out[0], out[1], 1, 1];
        (shape == out || is_gate).then(|| self.read(value, Format::Blocked))
    }

    fn blocked(&mut self, node: Node, inputs: Vec<BufferId>) {
        let output = self.add(node.output, Format::Blocked);
        self.drafts.push(Draft { task: Task::Blocked(node), inputs, output });
    }

    fn plain(&mut self, node: Node) {
        let known = |value: &&ValueId| self.graph.data(**value).is_none();
        let values: Vec<ValueId> = node.inputs.iter().filter(known).copied().collect();
        let inputs = values.into_iter().map(|value| self.read(value, Format::Plain)).collect();
        let output = self.add(node.output, Format::Plain);
        self.drafts.push(Draft { task: Task::Plain(node), inputs, output });
    }

    /// How many of the first steps are run for one item after the other, and not for all that are
    /// at once: those where a network's images are larger than its weights. So one stays in the
    /// cache, or the others do.
    fn in_turn(&self, at_once: usize) -> usize {
        let size = |&id: &BufferId| self.buffers.0[id].shape.iter().product::<usize>();
        let costs = self.drafts.iter().map(|draft| {
            let images: usize = draft.inputs.iter().chain([&draft.output]).map(size).sum();
            let (node, factor) = match &draft.task {
                Task::Blocked(node) | Task::Tap { node, .. } | Task::Plain(node) => (node, 1),
                Task::Winograd { node, .. } => (node, 4),
                _ => return (images * at_once) as isize,
            };
            let known = node.inputs.iter().filter_map(|&value| self.graph.data(value));
            let weights = factor * known.map(<[f32]>::len).sum::<usize>();
            (images * at_once) as isize - (weights * (at_once - 1)) as isize
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

    /// Lets the inputs of concatenations be made where they belong, so that nothing is copied.
    fn place_in_concatenations(&mut self) {
        // From the last: it holds the others where they are concatenated again and again.
        for index in (0..self.drafts.len()).rev() {
            let Draft {
                task: Task::Blocked(Node { op: Op::Gather { sources }, .. }),
                inputs,
                output,
            } = &self.drafts[index]
            else {
                continue;
            };
            let (inputs, output) = (inputs.clone(), *output);
            let starts: Vec<Option<usize>> = (0..inputs.len())
                .map(|input| whole_at(sources, input, self.buffers.0[inputs[input]].shape[1]))
                .collect();
            // Zeros between the inputs are not in a buffer that is there already.
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

    /// The buffer that all inputs are parts of already, in this order.
    fn common(&self, inputs: &[BufferId], starts: &[Option<usize>]) -> Option<(BufferId, usize)> {
        let mut found = None;
        for (&input, start) in inputs.iter().zip(starts) {
            self.buffers.0[input].parent?;
            let (root, block) = self.buffers.root(input);
            let place = (root, block.checked_sub((*start)? / LANES)?);
            if *found.get_or_insert(place) != place {
                return None;
            }
        }
        found
    }
}

/// Where all of an input's channels are in a gathering, in their order, if they fill blocks.
pub(super) fn whole_at(sources: &[Source], input: usize, channels: usize) -> Option<usize> {
    let is_of = |source: &Source| matches!(source, Source::Channel { input: i, .. } if *i == input);
    let start = sources.iter().position(is_of)?;
    let is_whole = sources.iter().filter(|source| is_of(source)).count() == channels
        && (0..channels).all(|channel| {
            sources.get(start + channel) == Some(&Source::Channel { input, channel })
        });
    let fills = channels.is_multiple_of(LANES) || start + channels == sources.len();
    (is_whole && fills && start % LANES == 0).then_some(start)
}

/// The zeros that a window needs around the images.
fn margin(window: &Window, from: [usize; 4], to: [usize; 4]) -> [usize; 4] {
    let after = |axis: usize| {
        let last = (to[axis + 2] - 1) * window.stride[axis];
        let reach = last + (window.kernel[axis] - 1) * window.dilation[axis] + 1;
        reach.saturating_sub(window.before[axis] + from[axis + 2])
    };
    [window.before[0], after(0), window.before[1], after(1)]
}

/// Row-major images in blocks.
fn blocked(shape: [usize; 4], data: &[f32]) -> Vec<f32> {
    let [batch, channels, height, width] = shape;
    let blocks = channels.div_ceil(LANES);
    let mut out = vec![0.0; batch * blocks * height * width * LANES];
    for (index, plane) in data.chunks_exact(height * width).enumerate() {
        let (image, channel) = (index / channels, index % channels);
        for (place, &value) in plane.iter().enumerate() {
            let block = image * blocks + channel / LANES;
            out[(block * height * width + place) * LANES + channel % LANES] = value;
        }
    }
    out
}
