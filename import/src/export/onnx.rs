//! Export to ONNX, from a network's graph.
//!
//! A graph's shapes do not show which of their dimensions is the batch. So there are two graphs,
//! for different numbers of images. The dimension that differs between them is dynamic in the file.

use std::collections::HashMap;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;

use burn::store::burn_pack::Tensor;
use burn::tensor::{DType, Slice};
use zoo_graph::{Activation, Binary, Graph, Node, Op, ValueId};

use super::protobuf::Message;
use super::{StateDict, bytes};
use zoo_record::write_atomically;

use crate::Error;

/// The supported operator sets; the operators that are used here are the same in all of them.
pub const OPSETS: RangeInclusive<i64> = 11..=21;

/// `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const FLOAT16: i64 = 10;

impl StateDict {
    /// Writes an ONNX model of a network with these weights, with the input `images` and the output
    /// `logits`. The two graphs are of this network, for different numbers of images.
    ///
    /// The weights have their keys as names, and PyTorch's shapes. Weights in half precision are
    /// converted when the model is loaded, so that it computes in single precision.
    ///
    /// # Errors
    ///
    /// When the file can't be written, or the network has an operation that is not translated.
    pub fn save_onnx(&self, graphs: [&Graph; 2], opset: i64, path: &Path) -> Result<(), Error> {
        let mut writer = Writer {
            state: self,
            graphs,
            names: HashMap::new(),
            stored: HashMap::new(),
            made_up: 0,
            nodes: Message::default(),
            initializers: Vec::new(),
        };
        let body =
            writer.translate().map_err(|reason| Error::NotExportable { format: "ONNX", reason })?;

        let initializers: Vec<(Message, Values<'_>)> = writer
            .initializers
            .into_iter()
            .map(|(tensor, values)| {
                let tensor = tensor.head(9, values.len());
                let head = Message::default().head(5, tensor.0.len() + values.len());
                (Message([head.0, tensor.0].concat()), values)
            })
            .collect();
        let length = initializers.iter().map(|(head, values)| head.0.len() + values.len());
        let length = body.0.len() + length.sum::<usize>();
        if i32::try_from(length).is_err() {
            let reason = "its weights exceed the 2 GB of an ONNX file".to_owned();
            return Err(Error::NotExportable { format: "ONNX", reason });
        }
        // The oldest version of the format with this operator set.
        let version = match opset {
            ..=11 => 6,
            12..=14 => 7,
            15..=18 => 8,
            19..=20 => 9,
            _ => 10,
        };
        let model = Message::default()
            .int(1, version)
            .text(2, "zoo")
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(8, Message::default().text(1, "").int(2, opset))
            .head(7, length);
        Ok(write_atomically(path, |file| {
            file.write_all(&model.0)?;
            file.write_all(&body.0)?;
            initializers.iter().try_for_each(|(head, values)| {
                file.write_all(&head.0)?;
                match values {
                    Values::Weights(tensor) => file.write_all(&bytes(tensor)),
                    Values::Constant(bytes) => file.write_all(bytes),
                }
            })
        })?)
    }
}

/// The values of an initializer.
enum Values<'a> {
    Weights(&'a Tensor),
    Constant(Vec<u8>),
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Weights(tensor) => tensor.byte_len(),
            Self::Constant(bytes) => bytes.len(),
        }
    }
}

/// An ONNX graph under construction.
struct Writer<'a> {
    state: &'a StateDict,
    graphs: [&'a Graph; 2],
    /// The names of the values that the nodes so far read and write.
    names: HashMap<ValueId, String>,
    /// The names of the parameters that are already initializers, in single precision.
    stored: HashMap<ValueId, String>,
    /// Number of generated names.
    made_up: usize,
    /// The `GraphProto`, which has only its nodes so far.
    nodes: Message,
    /// `TensorProto`s without their values, and the values.
    initializers: Vec<(Message, Values<'a>)>,
}

/// The reason why something is not translated.
type Reason = String;

impl Writer<'_> {
    /// Translates the graph without its initializers.
    fn translate(&mut self) -> Result<Message, Reason> {
        let [graph, other] = self.graphs;
        let links = |node: &Node| (node.inputs.clone(), node.output);
        if !graph.nodes.iter().map(links).eq(other.nodes.iter().map(links)) {
            return Err(DIFFERS.to_owned());
        }
        self.names.insert(graph.input, "images".to_owned());
        for (node, other) in graph.nodes.iter().zip(&other.nodes) {
            self.lower(node, &other.op)?;
        }
        let logits = graph.outputs[0];
        let is_made = graph.nodes.iter().any(|node| node.output == logits);
        if !is_made || !graph.nodes.iter().any(|node| node.inputs.contains(&graph.input)) {
            return Err("its logits don't depend on the images".to_owned());
        }
        let [images, logits] =
            [("images", graph.input), ("logits", logits)].map(|(name, id)| self.end(name, id));
        let nodes = std::mem::take(&mut self.nodes).text(2, "zoo");
        Ok(nodes.message(11, images).message(12, logits))
    }

    /// Translates a node. `other` is the operator of the same node in the other graph.
    fn lower(&mut self, node: &Node, other: &Op) -> Result<(), Reason> {
        match &node.op {
            // The layer already has this bias.
            Op::Binary(Binary::Add) if self.names.contains_key(&node.output) => Ok(()),
            Op::Binary(binary) => self.simple(operator(*binary), node, &[]),
            Op::Scalar(binary, number) => self.with_number(operator(*binary), node, *number),
            Op::Equals(number) => self.with_number("Equal", node, *number),
            Op::Activation(Activation::Relu) => self.simple("Relu", node, &[]),
            Op::Activation(Activation::Clamp { min, max }) => {
                let mut bound = |bound: &Option<f32>| match *bound {
                    Some(bound) => self.float(bound),
                    None => String::new(),
                };
                let (min, max) = (bound(min), bound(max));
                let inputs = vec![self.name(node.inputs[0])?, min, max];
                self.node("Clip", inputs, &[], node.output)
            }
            Op::Activation(Activation::Sigmoid) => self.simple("Sigmoid", node, &[]),
            Op::Activation(Activation::Tanh) => self.simple("Tanh", node, &[]),
            Op::Activation(Activation::HardSigmoid { alpha, beta }) => {
                let attributes = [float("alpha", *alpha), float("beta", *beta)];
                self.simple("HardSigmoid", node, &attributes)
            }
            Op::Linear | Op::MatMul => self.matmul(node),
            Op::Reshape => {
                let input = self.name(node.inputs[0])?;
                if self.is_broadcast(node) {
                    self.names.insert(node.output, input);
                    return Ok(());
                }
                let dims = self.dims(node.output)?;
                let inputs = vec![input, self.integers(&dims)];
                self.node("Reshape", inputs, &[], node.output)
            }
            Op::Transpose { axes } => self.simple("Transpose", node, &[ints("perm", axes)]),
            Op::Slice(ranges) => match other {
                Op::Slice(other) => self.slice(node, ranges, other),
                _ => Err(DIFFERS.to_owned()),
            },
            Op::Concat { axis } => self.simple("Concat", node, &[int("axis", *axis)]),
            Op::Full(number) => {
                let inputs = vec![self.float(*number), self.shape(node.output)?];
                self.node("Expand", inputs, &[], node.output)
            }
            Op::MaskFill(number) => {
                let [x, mask] = [node.inputs[0], node.inputs[1]];
                let number = self.float(*number);
                let inputs = vec![self.name(mask)?, number, self.name(x)?];
                self.node("Where", inputs, &[], node.output)
            }
            Op::Pad { padding, fill } => {
                let (before, after): (Vec<_>, Vec<_>) =
                    padding.iter().map(|&(before, after)| (before as i64, after as i64)).unzip();
                let pads = self.integers(&[before, after].concat());
                let inputs = vec![self.name(node.inputs[0])?, pads, self.float(*fill)];
                self.node("Pad", inputs, &[], node.output)
            }
            Op::Conv { window, groups } => {
                let attributes = [
                    ints("strides", &window.stride),
                    ints("pads", &[window.before, window.after].concat()),
                    ints("dilations", &window.dilation),
                    int("group", *groups),
                ];
                self.simple("Conv", node, &attributes)
            }
            Op::ConvTranspose { stride, padding, output_padding, dilation, groups } => {
                let attributes = [
                    ints("strides", stride),
                    ints("pads", &padding.repeat(2)),
                    ints("output_padding", output_padding),
                    ints("dilations", dilation),
                    int("group", *groups),
                ];
                self.simple("ConvTranspose", node, &attributes)
            }
            Op::BatchNorm { epsilon } => {
                let epsilon = float("epsilon", *epsilon as f32);
                self.simple("BatchNormalization", node, &[epsilon])
            }
            Op::MaxPool { window, ceil_mode } => {
                let attributes = [
                    ints("kernel_shape", &window.kernel),
                    ints("strides", &window.stride),
                    ints("pads", &[window.before, window.after].concat()),
                    ints("dilations", &window.dilation),
                    int("ceil_mode", (*ceil_mode).into()),
                ];
                self.simple("MaxPool", node, &attributes)
            }
            Op::AveragePool { window, count_include_pad, ceil_mode } => {
                let attributes = [
                    ints("kernel_shape", &window.kernel),
                    ints("strides", &window.stride),
                    ints("pads", &[window.before, window.after].concat()),
                    int("count_include_pad", (*count_include_pad).into()),
                    int("ceil_mode", (*ceil_mode).into()),
                ];
                self.simple("AveragePool", node, &attributes)
            }
            Op::AdaptiveAveragePool => self.adaptive_pool(node),
            Op::Resize { align_corners } => {
                let mode = if *align_corners { "align_corners" } else { "half_pixel" };
                let attributes =
                    [text("mode", "linear"), text("coordinate_transformation_mode", mode)];
                let [from, to] = [node.inputs[0], node.output].map(|id| self.sizes(id));
                let scale = |axis: usize| to[axis] as f32 / from[axis] as f32;
                let scales = self.floats(&[4], &[1.0, 1.0, scale(2), scale(3)]);
                let inputs = vec![self.name(node.inputs[0])?, self.floats(&[0], &[]), scales];
                self.node("Resize", inputs, &attributes, node.output)
            }
            op => Err(format!("its operation {} is not translated", op.name())),
        }
    }

    /// Adds an operator with the node's inputs.
    fn simple(&mut self, kind: &str, node: &Node, attributes: &[Message]) -> Result<(), Reason> {
        let inputs = node.inputs.iter().map(|&input| self.name(input)).collect::<Result<_, _>>()?;
        self.node(kind, inputs, attributes, node.output)
    }

    fn with_number(&mut self, kind: &str, node: &Node, number: f32) -> Result<(), Reason> {
        let inputs = vec![self.name(node.inputs[0])?, self.float(number)];
        self.node(kind, inputs, &[], node.output)
    }

    /// Adds a fully connected layer, with PyTorch's weight.
    fn matmul(&mut self, node: &Node) -> Result<(), Reason> {
        let [x, weight] = [node.inputs[0], node.inputs[1]];
        let bias = node.inputs.get(2).copied();
        let stored = self.parameter(weight)?.filter(|(_, is_transposed)| *is_transposed);
        if let (Some((stored, _)), 2) = (stored, self.sizes(x).len()) {
            let mut inputs = vec![self.name(x)?, stored];
            let (bias, output) = match self.added_to(node.output) {
                Some((added, sum)) if bias.is_none() => (Some(added), sum),
                _ => (bias, node.output),
            };
            inputs.extend(bias.map(|bias| self.name(bias)).transpose()?);
            return self.node("Gemm", inputs, &[int("transB", 1)], output);
        }
        if bias.is_some() {
            return Err("it has a fully connected layer over more than images".to_owned());
        }
        self.simple("MatMul", node, &[])
    }

    /// Returns the parameter that is added to a value as a bias, and the sum.
    fn added_to(&self, value: ValueId) -> Option<(ValueId, ValueId)> {
        let [graph, _] = self.graphs;
        let mut sums = graph.nodes.iter().filter(|node| node.op == Op::Binary(Binary::Add));
        let sum = sums.find(|sum| sum.inputs[0] == value)?;
        let mut reshapes = graph.nodes.iter().filter(|node| node.op == Op::Reshape);
        let bias = reshapes.find(|reshape| reshape.output == sum.inputs[1])?.inputs[0];
        let is_bias = graph.values[bias].parameter.is_some() && graph.shape(bias).len() == 1;
        is_bias.then_some((bias, sum.output))
    }

    /// Adds a slice. Only cropped axes are listed, so that the batch size stays dynamic.
    fn slice(&mut self, node: &Node, ranges: &[Slice], others: &[Slice]) -> Result<(), Reason> {
        let [mut starts, mut ends, mut axes, mut steps] = [const { Vec::new() }; 4];
        let sizes = self.graphs.map(|graph| graph.shape(node.inputs[0]));
        for (axis, (range, other)) in ranges.iter().zip(others).enumerate() {
            if is_full(range, sizes[0][axis]) && is_full(other, sizes[1][axis]) {
                continue;
            }
            if range != other || range.step < 1 {
                return Err("it takes images of a batch apart, or backwards".to_owned());
            }
            starts.push(range.start as i64);
            ends.push(range.end.map_or(i64::MAX, |end| end as i64));
            axes.push(axis as i64);
            steps.push(range.step as i64);
        }
        let mut inputs = vec![self.name(node.inputs[0])?];
        if axes.is_empty() {
            return self.node("Identity", inputs, &[], node.output);
        }
        inputs.extend([starts, ends, axes, steps].iter().map(|numbers| self.integers(numbers)));
        self.node("Slice", inputs, &[], node.output)
    }

    /// Adds an adaptive pooling. ONNX has no such operator, but equivalent ones for a known size.
    fn adaptive_pool(&mut self, node: &Node) -> Result<(), Reason> {
        let input = self.name(node.inputs[0])?;
        let [from, to] = [node.inputs[0], node.output].map(|id| self.sizes(id));
        let (height, width, size) = (from[2], from[3], [to[2], to[3]]);
        if size == [1, 1] {
            return self.node("GlobalAveragePool", vec![input], &[], node.output);
        }
        if height % size[0] == 0 && width % size[1] == 0 {
            let kernel = [height / size[0], width / size[1]];
            let attributes = [ints("kernel_shape", &kernel), ints("strides", &kernel)];
            return self.node("AveragePool", vec![input], &attributes, node.output);
        }
        // Rows and columns are averaged by a matrix each.
        let rows = self.floats(&[size[0] as i64, height as i64], &averages(height, size[0]));
        let columns = self.floats(&[size[1] as i64, width as i64], &averages(width, size[1]));
        let low = self.push("MatMul", &[rows, input], &[]);
        let columns = self.push("Transpose", &[columns], &[ints("perm", &[1, 0])]);
        self.node("MatMul", vec![low, columns], &[], node.output)
    }

    /// Adds a shape as a tensor, with a dynamic batch size.
    fn shape(&mut self, value: ValueId) -> Result<String, Reason> {
        let dims = self.dims(value)?;
        let [OPEN, ref rest @ ..] = dims[..] else {
            return Ok(self.integers(&dims));
        };
        let shape = self.push("Shape", &["images".to_owned()], &[]);
        let first = self.integers(&[0]);
        let batch = self.push("Gather", &[shape, first], &[int("axis", 0)]);
        let rest = self.integers(rest);
        Ok(self.push("Concat", &[batch, rest], &[int("axis", 0)]))
    }

    /// Returns a value's shape in the first graph.
    fn sizes(&self, value: ValueId) -> &[usize] {
        self.graphs[0].shape(value)
    }

    /// Returns a value's shape. The dimension that differs between the graphs is dynamic.
    fn dims(&self, value: ValueId) -> Result<Vec<i64>, Reason> {
        let [sizes, others] = self.graphs.map(|graph| graph.shape(value));
        let pairs = sizes.iter().zip(others);
        let dims: Vec<i64> =
            pairs.map(|(&size, &other)| if size == other { size as i64 } else { OPEN }).collect();
        match dims.iter().filter(|&&size| size == OPEN).count() {
            0 | 1 => Ok(dims),
            _ => Err("several dimensions of a tensor depend on the number of images".to_owned()),
        }
    }

    /// Whether a reshape only adds dimensions of size 1 in front, which broadcasting does anyway.
    fn is_broadcast(&self, reshape: &Node) -> bool {
        let [old, new] = [reshape.inputs[0], reshape.output].map(|id| self.sizes(id));
        new.strip_suffix(old).is_some_and(|ones| ones.iter().all(|&size| size == 1))
    }

    /// Returns the `ValueInfoProto` of the graph's input or output.
    fn end(&self, name: &str, value: ValueId) -> Message {
        let [sizes, others] = self.graphs.map(|graph| graph.shape(value));
        let shape = sizes.iter().zip(others).fold(Message::default(), |shape, (&size, &other)| {
            let dim = Message::default();
            let dim = if size == other { dim.int(1, size as i64) } else { dim.text(2, "batch") };
            shape.message(1, dim)
        });
        let tensor = Message::default().int(1, FLOAT).message(2, shape);
        Message::default().text(1, name).message(2, Message::default().message(1, tensor))
    }

    /// Returns the name of a value that a node reads.
    fn name(&mut self, value: ValueId) -> Result<String, Reason> {
        if let Some(name) = self.names.get(&value) {
            return Ok(name.clone());
        }
        let name = match self.parameter(value)? {
            Some((stored, true)) => self.push("Transpose", &[stored], &[ints("perm", &[1, 0])]),
            Some((stored, false)) => stored,
            None => {
                let constant = self.graphs[0].values[value].constant.as_ref();
                let constant = constant.ok_or("an operation reads an unknown tensor")?;
                let numbers = constant.to_vec().map_err(|error| error.to_string())?;
                let dims: Vec<i64> = self.sizes(value).iter().map(|&size| size as i64).collect();
                self.floats(&dims, &numbers)
            }
        };
        self.names.insert(value, name.clone());
        Ok(name)
    }

    /// Returns the name of a stored parameter, and whether it is the transpose of Burn's.
    fn parameter(&mut self, id: ValueId) -> Result<Option<(String, bool)>, Reason> {
        let Some(path) = &self.graphs[0].values[id].parameter else {
            return Ok(None);
        };
        let location = self.state.locations.get(path);
        let location = location.ok_or_else(|| format!("it has no weights for {path}"))?;
        if let Some(name) = self.stored.get(&id) {
            return Ok(Some((name.clone(), location.is_transposed)));
        }
        let tensor = &self.state.tensors[location.index];
        let is_half = tensor.dtype == DType::F16;
        let dims: Vec<i64> = tensor.shape.iter().map(|&size| size as i64).collect();
        let head = Message::default()
            .ints(1, &dims)
            .int(2, if is_half { FLOAT16 } else { FLOAT })
            .text(8, &tensor.name);
        self.initializers.push((head, Values::Weights(tensor)));
        let mut name = tensor.name.clone();
        if is_half {
            name = self.push("Cast", &[name], &[int("to", FLOAT as usize)]);
        }
        self.stored.insert(id, name.clone());
        Ok(Some((name, location.is_transposed)))
    }

    /// Adds the node that computes a value of the network.
    fn node(
        &mut self,
        kind: &str,
        inputs: Vec<String>,
        attributes: &[Message],
        output: ValueId,
    ) -> Result<(), Reason> {
        let is_last = output == self.graphs[0].outputs[0];
        let name = if is_last { "logits".to_owned() } else { self.unused_name() };
        self.write(kind, &inputs, attributes, &name);
        self.names.insert(output, name);
        Ok(())
    }

    /// Adds a node with an intermediate value, and returns the name of the value.
    fn push(&mut self, kind: &str, inputs: &[String], attributes: &[Message]) -> String {
        let name = self.unused_name();
        self.write(kind, inputs, attributes, &name);
        name
    }

    fn write(&mut self, kind: &str, inputs: &[String], attributes: &[Message], output: &str) {
        let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        let node = node.text(2, output).text(3, &format!("{kind}:{output}")).text(4, kind);
        let node = attributes.iter().fold(node, |node, one| node.message(5, one.clone()));
        self.nodes = std::mem::take(&mut self.nodes).message(1, node);
    }

    /// Returns an unused name.
    fn unused_name(&mut self) -> String {
        self.made_up += 1;
        format!("value_{}", self.made_up)
    }

    fn integers(&mut self, numbers: &[i64]) -> String {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.initializer(INT64, &[numbers.len() as i64], bytes)
    }

    fn float(&mut self, number: f32) -> String {
        self.floats(&[], &[number])
    }

    fn floats(&mut self, dims: &[i64], numbers: &[f32]) -> String {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.initializer(FLOAT, dims, bytes)
    }

    fn initializer(&mut self, data_type: i64, dims: &[i64], bytes: Vec<u8>) -> String {
        let name = format!("constant_{}", self.initializers.len());
        let head = Message::default().ints(1, dims).int(2, data_type).text(8, &name);
        self.initializers.push((head, Values::Constant(bytes)));
        name
    }
}

const DIFFERS: &str = "it computes otherwise for another number of images";

/// The value of a dynamic dimension.
const OPEN: i64 = -1;

/// Returns the operator of an operation on two numbers.
fn operator(binary: Binary) -> &'static str {
    match binary {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
    }
}

/// Whether a range covers a whole dimension.
fn is_full(range: &Slice, size: usize) -> bool {
    (range.start, range.step) == (0, 1) && range.end.is_none_or(|end| end as usize == size)
}

/// Returns an `AttributeProto` with an integer.
fn int(name: &str, value: usize) -> Message {
    Message::default().text(1, name).int(3, value as i64).int(20, 2)
}

fn float(name: &str, value: f32) -> Message {
    Message::default().text(1, name).float(2, value).int(20, 1)
}

fn text(name: &str, value: &str) -> Message {
    Message::default().text(1, name).text(4, value).int(20, 3)
}

fn ints(name: &str, values: &[usize]) -> Message {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    Message::default().text(1, name).ints(8, &values).int(20, 7)
}

/// Returns the matrix that averages `size` values into `bins` bins, which overlap as in PyTorch.
fn averages(size: usize, bins: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; bins * size];
    for (bin, row) in matrix.chunks_exact_mut(size).enumerate() {
        let (start, end) = (bin * size / bins, ((bin + 1) * size).div_ceil(bins));
        row[start..end].fill(1.0 / (end - start) as f32);
    }
    matrix
}
