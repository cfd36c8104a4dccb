//! Makes steps of drafts: what is run, what it is called and what it costs.

use super::buffers::{BufferId, Buffers, Images};
use super::conv::{Conv, Description};
use super::lower::{Draft, Task, whole_at};
use super::{Kind, Place, Step, steps, winograd};
use crate::graph::{Activation, Graph, Node, Op, Source, ValueId, Window};
use crate::kernels::{Isa, LANES};

/// What steps are made for.
pub(super) struct Target<'a> {
    pub(super) isa: Isa,
    pub(super) graph: &'a Graph,
    pub(super) buffers: &'a Buffers,
    pub(super) batch: usize,
}

/// What a draft becomes.
struct Made {
    kind: Kind,
    label: String,
    /// Floating-point operations for an item of the batch.
    operations: u64,
    /// Numbers that are read for all items together.
    parameters: u64,
}

impl Made {
    fn new(kind: Kind, label: impl Into<String>) -> Self {
        Self { kind, label: label.into(), operations: 0, parameters: 0 }
    }

    fn with_operations(self, operations: u64) -> Self {
        Self { operations, ..self }
    }
}

impl Target<'_> {
    /// Makes a step of a draft that is run for so many items at once, unless there is nothing to
    /// be done.
    pub(super) fn step(&self, draft: &Draft, items: usize) -> Option<Step> {
        let &Draft { output, .. } = draft;
        let Made { kind, label, operations, parameters } = match &draft.task {
            Task::Import => {
                let kind = Kind::Import(self.place(draft.inputs[0]), self.images(output));
                Made::new(kind, "import")
            }
            Task::Export => {
                let kind = Kind::Export(self.images(draft.inputs[0]), self.place(output));
                Made::new(kind, "export")
            }
            Task::Plain(node) => self.plain(node, draft),
            Task::Tap { node, tap } => self.tap(node, *tap, draft, items),
            Task::Winograd { node, scratch } => self.winograd(node, *scratch, draft, items),
            Task::Binary { op, activation, is_flipped } => {
                let whole = Op::Binary { op: *op, activation: *activation };
                let [input, operand] = [0, 1].map(|i| self.images(draft.inputs[i]));
                let to = self.images(output);
                let op = (*op, *is_flipped);
                let step =
                    steps::Elementwise::binary(self.isa, op, *activation, input, operand, to);
                let label = format!("{}{}", whole.name(), suffix(*activation));
                Made::new(Kind::Elementwise(step), label).with_operations(self.size(output))
            }
            Task::Blocked(node) => self.blocked(node, draft, items)?,
        };
        let mut shape = self.buffers.0[output].shape.clone();
        shape[0] *= self.batch;
        let batch = self.batch as u64;
        let numbers: u64 = draft.inputs.iter().chain([&output]).map(|&id| self.size(id)).sum();
        let bytes = 4 * (numbers * batch + parameters);
        Some(Step { kind, label, shape, operations: operations * batch, bytes })
    }

    fn place(&self, id: BufferId) -> Place {
        self.buffers.place_of(id)
    }

    fn images(&self, id: BufferId) -> Images {
        self.buffers.images(id)
    }

    fn size(&self, id: BufferId) -> u64 {
        self.buffers.0[id].shape.iter().product::<usize>() as u64
    }

    /// The value of a weight.
    fn constant(&self, value: ValueId) -> &[f32] {
        self.graph.data(value).expect("it was checked")
    }

    /// A node, by the reference.
    fn plain(&self, node: &Node, draft: &Draft) -> Made {
        let mut made = draft.inputs.iter();
        let inputs = node.inputs.iter().map(|&value| match &self.graph.values[value].constant {
            Some(constant) => Err((self.graph.shape(value).to_vec(), constant.clone())),
            None => Ok(self.place(*made.next().expect("it was drafted"))),
        });
        let inputs = inputs.collect();
        let output = self.place(draft.output);
        let step = steps::Plain { op: node.op.clone(), inputs, output };
        Made::new(Kind::Plain(step), format!("{} (plain)", node.op.name()))
    }

    /// One tap of a transposed convolution, which is a 1×1 convolution into every so many rows and
    /// places.
    fn tap(&self, node: &Node, tap: [usize; 2], draft: &Draft, items: usize) -> Made {
        let Op::ConvTranspose { stride, .. } = &node.op else { unreachable!() };
        let (weights, bias) = (self.constant(node.inputs[1]), self.constant(node.inputs[2]));
        let from = self.images(draft.inputs[0]);
        let whole = self.images(draft.output);
        let to = Images {
            shape: [whole.shape[0], whole.shape[1], from.shape[2], from.shape[3]],
            offset: whole.offset + tap[0] * whole.row + tap[1] * whole.place,
            row: whole.row * stride[0],
            place: whole.place * stride[1],
            // Only the first tap clears them.
            margins: [0; 4],
            ..whole
        };
        let taps = stride[0] * stride[1];
        let one = tap[0] * stride[1] + tap[1];
        // [in, out, taps] → [in, out]
        let weights: Vec<f32> = weights.iter().skip(one).step_by(taps).copied().collect();
        let description = Description {
            window: Window::whole([1, 1]),
            groups: 1,
            weights: &weights,
            out_last: true,
            bias,
            activation: Activation::Identity,
        };
        let mut conv = Conv::new(self.isa, items, &description, from, to, None);
        if tap == [0, 0] {
            conv.clears(whole);
        }
        let label = format!("conv transpose, tap {} {}", tap[0], tap[1]);
        Made::new(Kind::Conv(Box::new(conv)), label)
            .with_operations(2 * self.size(draft.output) / taps as u64 * from.shape[1] as u64)
    }

    /// A convolution by Winograd's algorithm.
    fn winograd(&self, node: &Node, scratch: BufferId, draft: &Draft, items: usize) -> Made {
        let (description, residual) = self.described(node);
        let conv = winograd::Winograd::new(
            self.isa,
            items,
            &description,
            self.images(draft.inputs[0]),
            self.images(draft.output),
            draft.inputs.get(1).map(|&id| self.images(id)),
            self.place(scratch).offset,
        );
        let add = if residual { " + add" } else { "" };
        let label = format!("winograd conv 3x3{add}{}", suffix(description.activation));
        self.convolution(Kind::Winograd(Box::new(conv)), label, &description, draft)
    }

    /// What a convolution is to do, and whether it adds a residual.
    fn described(&self, node: &Node) -> (Description<'_>, bool) {
        let Op::Conv { window, groups, out_last, residual, activation } = node.op else {
            unreachable!()
        };
        let (weights, bias) = (self.constant(node.inputs[1]), self.constant(node.inputs[2]));
        (Description { window, groups, weights, out_last, bias, activation }, residual)
    }

    /// A convolution, with what it costs however it is computed.
    fn convolution(
        &self,
        kind: Kind,
        label: String,
        description: &Description<'_>,
        draft: &Draft,
    ) -> Made {
        let Description { weights, bias, .. } = description;
        let [_, channels, ..] = self.images(draft.output).shape;
        Made {
            kind,
            label,
            operations: 2 * self.size(draft.output) * (weights.len() / channels) as u64,
            parameters: (weights.len() + bias.len()) as u64,
        }
    }

    /// A node, by a kernel for blocks.
    fn blocked(&self, node: &Node, draft: &Draft, items: usize) -> Option<Made> {
        let (isa, name) = (self.isa, node.op.name());
        let (input, to) = (self.images(draft.inputs[0]), self.images(draft.output));
        let size = self.size(draft.output);
        Some(match &node.op {
            Op::Conv { .. } => self.conv(node, draft, items),
            Op::Affine { activation } => {
                let affine = [1, 2].map(|index| self.constant(node.inputs[index]));
                let step = steps::Elementwise::affine(isa, affine, *activation, input, to);
                Made::new(Kind::Elementwise(step), format!("{name}{}", suffix(*activation)))
                    .with_operations(2 * size)
            }
            Op::Activation(activation) => {
                let step = steps::Elementwise::activation(isa, *activation, input, to);
                let label = suffix(*activation).trim_start_matches(" + ");
                Made::new(Kind::Elementwise(step), label).with_operations(size)
            }
            Op::Pool { kind, window } => {
                let [height, width] = window.kernel;
                let step = steps::Pool::new(isa, *kind, *window, input, to);
                Made::new(Kind::Pool(step), format!("{name} {height}x{width}"))
                    .with_operations(size * (height * width) as u64)
            }
            Op::Gather { sources } => {
                let gather = self.gather(sources, draft);
                if gather.is_nothing() {
                    return None;
                }
                Made::new(Kind::Gather(gather), name)
            }
            Op::Slice { start, step, fill } => {
                let (start, step) = ([start[2], start[3]], [step[2], step[3]]);
                let shift = steps::Shift { input, output: to, start, step, fill: *fill };
                Made::new(Kind::Shift(shift), name)
            }
            Op::Resize { align_corners } => {
                let step = steps::Resize::new(*align_corners, input, to);
                Made::new(Kind::Resize(step), name).with_operations(6 * size)
            }
            _ => unreachable!("{name} has no kernel"),
        })
    }

    /// A convolution by the definition.
    fn conv(&self, node: &Node, draft: &Draft, items: usize) -> Made {
        let (isa, (description, residual)) = (self.isa, self.described(node));
        let Description { window, groups, weights, bias, activation, .. } = description;
        let (input, to) = (self.images(draft.inputs[0]), self.images(draft.output));
        let is_depthwise = groups > 1 && groups == input.shape[1] && groups == to.shape[1];
        let kind = if is_depthwise {
            let parameters = [weights, bias];
            Kind::Depthwise(steps::Depthwise::new(isa, window, parameters, activation, input, to))
        } else {
            let residual = draft.inputs.get(1).map(|&id| self.images(id));
            Kind::Conv(Box::new(Conv::new(isa, items, &description, input, to, residual)))
        };

        let [height, width] = window.kernel;
        let mut label = format!("{} {height}x{width}", node.op.name());
        if is_depthwise {
            label.insert_str(0, "depthwise ");
        }
        if window.stride != [1, 1] {
            label.push_str(&format!(" /{}", window.stride[0]));
        }
        if residual {
            label.push_str(" + add");
        }
        label.push_str(suffix(activation));
        if groups > 1 && !is_depthwise {
            label.push_str(&format!(", {groups} groups"));
        }
        self.convolution(kind, label, &description, draft)
    }

    /// A gathering of channels, but of those that are made where they belong.
    fn gather(&self, sources: &[Source], draft: &Draft) -> steps::Gather {
        let inputs: Vec<Images> = draft.inputs.iter().map(|&id| self.images(id)).collect();
        let (root, first) = self.buffers.root(draft.output);
        let is_in_place = |(index, &id): (usize, &BufferId)| {
            whole_at(sources, index, self.buffers.0[id].shape[1])
                .is_some_and(|start| self.buffers.root(id) == (root, first + start / LANES))
        };
        let in_place: Vec<bool> = draft.inputs.iter().enumerate().map(is_in_place).collect();
        steps::Gather::new(sources, &inputs, &in_place, self.images(draft.output))
    }
}

/// How a fused activation is called.
fn suffix(activation: Activation) -> &'static str {
    match activation {
        Activation::Identity => "",
        Activation::Clamp { low: 0.0, high: f32::INFINITY } => " + relu",
        Activation::Clamp { .. } => " + clamp",
        Activation::Sigmoid => " + sigmoid",
        Activation::Silu => " + silu",
        Activation::HardSigmoid { .. } => " + hard sigmoid",
        Activation::HardSwish { .. } => " + hard swish",
        Activation::Tanh => " + tanh",
    }
}
