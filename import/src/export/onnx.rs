//! ONNX, from what Burn's capture device recorded of a network.
//!
//! A recording knows numbers, not what they stand for. So there are two, for different numbers
//! of images: what differs between them is the batch, which is left open in the file.

use std::collections::HashMap;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;

use burn::backend::ir::{
    ActivationOperationIr, AdaptiveAvgPool2dOpIr, BaseOperationIr, BinaryOpIr, FloatOperationIr,
    InterpolateModeIr, ModuleOperationIr, NumericOperationIr, OperationIr, PadModeIr, ScalarOpIr,
    SliceOpIr, TensorId, TensorIr, UnaryOpIr,
};
use burn::store::burn_pack::Tensor;
use burn::tensor::{DType, Slice};

use super::protobuf::Message;
use super::{StateDict, bytes};
use zoo_record::write_atomically;

use crate::{Capture, Error};

/// The operator sets that can be asked for; the operators used here mean the same in all of them.
pub const OPSETS: RangeInclusive<i64> = 11..=21;

/// `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const FLOAT16: i64 = 10;

impl StateDict {
    /// Writes the network that two captures for different numbers of images are of, as an ONNX
    /// model with these weights, input `images` and output `logits`.
    ///
    /// Weights have their keys for names, and PyTorch's layouts. Those in half precision are
    /// widened when the model is loaded, so that it computes in single precision.
    ///
    /// # Errors
    ///
    /// When the file can't be written, or the network does what is not translated.
    pub fn save_onnx(&self, captures: [&Capture; 2], opset: i64, path: &Path) -> Result<(), Error> {
        let mut graph = Graph {
            state: self,
            captures,
            names: HashMap::new(),
            stored: HashMap::new(),
            made_up: 0,
            nodes: Message::default(),
            initializers: Vec::new(),
        };
        let body =
            graph.translate().map_err(|reason| Error::NotExportable { format: "ONNX", reason })?;

        let initializers: Vec<(Message, Values<'_>)> = graph
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
        // The oldest version of the format that came with the operators.
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
struct Graph<'a> {
    state: &'a StateDict,
    captures: [&'a Capture; 2],
    /// The names of the tensors that the nodes so far read and write.
    names: HashMap<TensorId, String>,
    /// The names of the parameters that are among the initializers, in single precision.
    stored: HashMap<TensorId, String>,
    /// How many names were made up.
    made_up: usize,
    /// `GraphProto`, so far with the nodes only.
    nodes: Message,
    /// `TensorProto`s without their values, and these.
    initializers: Vec<(Message, Values<'a>)>,
}

/// Why something is not translated.
type Reason = String;

impl Graph<'_> {
    /// All of the graph but its initializers.
    fn translate(&mut self) -> Result<Message, Reason> {
        let [capture, other] = self.captures;
        if capture.operations.len() != other.operations.len() {
            return Err(DIFFERS.to_owned());
        }
        let mut ends: [Option<(&TensorIr, &TensorIr)>; 2] = [None; 2];
        self.names.insert(capture.images, "images".to_owned());
        for (operation, other) in capture.operations.iter().zip(&other.operations) {
            self.lower(operation, other)?;
            for pair in operation.inputs().zip(other.inputs()) {
                if pair.0.id == capture.images {
                    ends[0] = Some(pair);
                }
            }
            for pair in operation.outputs().zip(other.outputs()) {
                if pair.0.id == capture.logits {
                    ends[1] = Some(pair);
                }
            }
        }
        let [Some(images), Some(logits)] = ends else {
            return Err("its logits don't depend on the images".to_owned());
        };
        let graph = std::mem::take(&mut self.nodes).text(2, "zoo");
        Ok(graph.message(11, value("images", images)).message(12, value("logits", logits)))
    }

    fn lower(&mut self, operation: &OperationIr, other: &OperationIr) -> Result<(), Reason> {
        use {
            ActivationOperationIr as Act, BaseOperationIr as Base, FloatOperationIr as Floats,
            ModuleOperationIr as Layer, NumericOperationIr as Numeric,
            OperationIr::{Activation, BaseFloat, Float, Module, NumericFloat},
        };

        // The output for the other number of images.
        let twin = other.outputs().next().ok_or("an operation has no output")?;
        match operation {
            // The bias of a layer that has it already.
            NumericFloat(_, Numeric::Add(op)) if self.names.contains_key(&op.out.id) => Ok(()),
            NumericFloat(_, Numeric::Add(op)) => self.binary("Add", op),
            NumericFloat(_, Numeric::Sub(op)) => self.binary("Sub", op),
            NumericFloat(_, Numeric::Mul(op)) => self.binary("Mul", op),
            NumericFloat(_, Numeric::Div(op)) => self.binary("Div", op),
            NumericFloat(_, Numeric::AddScalar(op)) => self.scalar("Add", op),
            NumericFloat(_, Numeric::SubScalar(op)) => self.scalar("Sub", op),
            NumericFloat(_, Numeric::MulScalar(op)) => self.scalar("Mul", op),
            NumericFloat(_, Numeric::DivScalar(op)) => self.scalar("Div", op),
            NumericFloat(_, Numeric::Clamp(op)) => {
                let (min, max) = (self.float(op.min.elem()), self.float(op.max.elem()));
                let inputs = vec![self.name(&op.tensor)?, min, max];
                self.node("Clip", inputs, &[], &op.out)
            }
            Float(_, Floats::Tanh(op)) => self.unary("Tanh", op),
            Activation(Act::Relu(op)) => self.unary("Relu", op),
            Activation(Act::Sigmoid(op)) => self.unary("Sigmoid", op),
            Activation(Act::HardSigmoid(op)) => {
                let inputs = vec![self.name(&op.tensor)?];
                let attributes = [float("alpha", op.alpha.elem()), float("beta", op.beta.elem())];
                self.node("HardSigmoid", inputs, &attributes, &op.out)
            }
            Float(_, Floats::Matmul(op)) => self.matmul(&op.lhs, &op.rhs, None, &op.out),
            Module(Layer::Linear(op)) => self.matmul(&op.x, &op.weight, op.bias.as_ref(), &op.out),
            BaseFloat(Base::Reshape(op)) if is_broadcast(&op.input, &op.out) => {
                let name = self.name(&op.input)?;
                self.names.insert(op.out.id, name);
                Ok(())
            }
            BaseFloat(Base::Reshape(op)) => {
                let inputs = vec![self.name(&op.input)?, self.integers(&dims(&op.out, twin)?)];
                self.node("Reshape", inputs, &[], &op.out)
            }
            BaseFloat(Base::SwapDims(op)) => {
                let mut axes: Vec<usize> = (0..op.input.shape.num_dims()).collect();
                axes.swap(op.dim1, op.dim2);
                let inputs = vec![self.name(&op.input)?];
                self.node("Transpose", inputs, &[ints("perm", &axes)], &op.out)
            }
            BaseFloat(Base::Slice(op)) => match other {
                BaseFloat(Base::Slice(other)) => self.slice(op, other),
                _ => Err(DIFFERS.to_owned()),
            },
            BaseFloat(Base::Cat(op)) => {
                let inputs = self.names(&op.tensors)?;
                self.node("Concat", inputs, &[int("axis", op.dim)], &op.out)
            }
            BaseFloat(Base::Zeros(op)) => self.filled(0.0, &op.out, twin),
            BaseFloat(Base::Ones(op)) => self.filled(1.0, &op.out, twin),
            BaseFloat(Base::EqualElem(op)) => self.scalar("Equal", op),
            BaseFloat(Base::MaskFill(op)) => {
                let value = self.float(op.value.elem());
                let inputs = vec![self.name(&op.mask)?, value, self.name(&op.tensor)?];
                self.node("Where", inputs, &[], &op.out)
            }
            NumericFloat(_, Numeric::Pad(op)) => {
                let PadModeIr::Constant(value) = op.mode else {
                    return Err(unsupported(operation));
                };
                let (before, after): (Vec<_>, Vec<_>) =
                    op.padding.iter().map(|&(before, after)| (before as i64, after as i64)).unzip();
                let pads = self.integers(&[before, after].concat());
                let inputs = vec![self.name(&op.input)?, pads, self.float(value.elem())];
                self.node("Pad", inputs, &[], &op.out)
            }
            Module(Layer::Conv2d(op)) => {
                let inputs = self.names([&op.x, &op.weight].into_iter().chain(&op.bias))?;
                let [(top, bottom), (left, right)] = op.options.padding;
                let attributes = [
                    ints("strides", &op.options.stride),
                    ints("pads", &[top, left, bottom, right]),
                    ints("dilations", &op.options.dilation),
                    int("group", op.options.groups),
                ];
                self.node("Conv", inputs, &attributes, &op.out)
            }
            Module(Layer::ConvTranspose2d(op)) => {
                let inputs = self.names([&op.x, &op.weight].into_iter().chain(&op.bias))?;
                let attributes = [
                    ints("strides", &op.options.stride),
                    ints("pads", &op.options.padding.repeat(2)),
                    ints("output_padding", &op.options.padding_out),
                    ints("dilations", &op.options.dilation),
                    int("group", op.options.groups),
                ];
                self.node("ConvTranspose", inputs, &attributes, &op.out)
            }
            Module(Layer::BatchNorm(op)) => {
                let inputs = [&op.x, &op.gamma, &op.beta, &op.mean, &op.variance];
                let inputs = self.names(inputs)?;
                let epsilon = float("epsilon", op.epsilon.elem());
                self.node("BatchNormalization", inputs, &[epsilon], &op.out)
            }
            Module(Layer::MaxPool2d(op)) => {
                let attributes = [
                    ints("kernel_shape", &op.kernel_size),
                    ints("strides", &op.stride),
                    ints("pads", &op.padding.repeat(2)),
                    ints("dilations", &op.dilation),
                    int("ceil_mode", op.ceil_mode.into()),
                ];
                let inputs = vec![self.name(&op.x)?];
                self.node("MaxPool", inputs, &attributes, &op.out)
            }
            Module(Layer::AvgPool2d(op)) => {
                let attributes = [
                    ints("kernel_shape", &op.kernel_size),
                    ints("strides", &op.stride),
                    ints("pads", &op.padding.repeat(2)),
                    int("count_include_pad", op.count_include_pad.into()),
                    int("ceil_mode", op.ceil_mode.into()),
                ];
                let inputs = vec![self.name(&op.x)?];
                self.node("AveragePool", inputs, &attributes, &op.out)
            }
            Module(Layer::AdaptiveAvgPool2d(op)) => self.adaptive_pool(op),
            Module(Layer::Interpolate(op)) if op.options.mode == InterpolateModeIr::Bilinear => {
                let corners = op.options.align_corners;
                let attributes = [
                    text("mode", "linear"),
                    text(
                        "coordinate_transformation_mode",
                        if corners { "align_corners" } else { "half_pixel" },
                    ),
                ];
                let scale = |axis: usize| op.out.shape[axis] as f32 / op.x.shape[axis] as f32;
                let scales = self.floats(&[4], &[1.0, 1.0, scale(2), scale(3)]);
                let inputs = vec![self.name(&op.x)?, self.floats(&[0], &[]), scales];
                self.node("Resize", inputs, &attributes, &op.out)
            }
            _ => Err(unsupported(operation)),
        }
    }

    fn unary(&mut self, kind: &str, op: &UnaryOpIr) -> Result<(), Reason> {
        let inputs = vec![self.name(&op.input)?];
        self.node(kind, inputs, &[], &op.out)
    }

    fn binary(&mut self, kind: &str, op: &BinaryOpIr) -> Result<(), Reason> {
        let inputs = self.names([&op.lhs, &op.rhs])?;
        self.node(kind, inputs, &[], &op.out)
    }

    fn scalar(&mut self, kind: &str, op: &ScalarOpIr) -> Result<(), Reason> {
        let inputs = vec![self.name(&op.lhs)?, self.float(op.rhs.elem())];
        self.node(kind, inputs, &[], &op.out)
    }

    /// A fully connected layer keeps its weight as PyTorch has it.
    fn matmul(
        &mut self,
        x: &TensorIr,
        weight: &TensorIr,
        bias: Option<&TensorIr>,
        out: &TensorIr,
    ) -> Result<(), Reason> {
        let stored = self.parameter(weight.id)?.filter(|(_, is_transposed)| *is_transposed);
        if let (Some((stored, _)), 2) = (stored, x.shape.num_dims()) {
            let mut inputs = vec![self.name(x)?, stored];
            let (bias, out) = match self.added_to(out) {
                Some((added, sum)) if bias.is_none() => (Some(added), sum),
                _ => (bias, out),
            };
            inputs.extend(bias.map(|bias| self.name(bias)).transpose()?);
            return self.node("Gemm", inputs, &[int("transB", 1)], out);
        }
        if bias.is_some() {
            return Err("it has a fully connected layer over more than images".to_owned());
        }
        let inputs = self.names([x, weight])?;
        self.node("MatMul", inputs, &[], out)
    }

    /// The parameter that is added to a tensor as a bias, and the sum.
    fn added_to<'t>(&self, tensor: &'t TensorIr) -> Option<(&'t TensorIr, &'t TensorIr)>
    where
        Self: 't,
    {
        let operations = &self.captures[0].operations;
        let sum = operations.iter().find_map(|operation| match operation {
            OperationIr::NumericFloat(_, NumericOperationIr::Add(op)) => {
                (op.lhs.id == tensor.id).then_some(op)
            }
            _ => None,
        })?;
        let bias = operations.iter().find_map(|operation| match operation {
            OperationIr::BaseFloat(BaseOperationIr::Reshape(op)) => {
                (op.out.id == sum.rhs.id).then_some(&op.input)
            }
            _ => None,
        })?;
        let is_bias = self.captures[0].parameters.contains_key(&bias.id);
        (is_bias && bias.shape.num_dims() == 1).then_some((bias, &sum.out))
    }

    /// Only axes that are cut are named, so that the batch stays open.
    fn slice(&mut self, op: &SliceOpIr, other: &SliceOpIr) -> Result<(), Reason> {
        let [mut starts, mut ends, mut axes, mut steps] = [const { Vec::new() }; 4];
        for (axis, (range, twin)) in op.ranges.iter().zip(&other.ranges).enumerate() {
            if is_full(range, op.tensor.shape[axis]) && is_full(twin, other.tensor.shape[axis]) {
                continue;
            }
            if range != twin || range.step < 1 {
                return Err("it takes images of a batch apart, or backwards".to_owned());
            }
            starts.push(range.start as i64);
            ends.push(range.end.map_or(i64::MAX, |end| end as i64));
            axes.push(axis as i64);
            steps.push(range.step as i64);
        }
        if axes.is_empty() {
            let inputs = vec![self.name(&op.tensor)?];
            return self.node("Identity", inputs, &[], &op.out);
        }
        let mut inputs = vec![self.name(&op.tensor)?];
        inputs.extend([starts, ends, axes, steps].iter().map(|numbers| self.integers(numbers)));
        self.node("Slice", inputs, &[], &op.out)
    }

    /// ONNX has no such operator, but others that do the same for images of a known size.
    fn adaptive_pool(&mut self, op: &AdaptiveAvgPool2dOpIr) -> Result<(), Reason> {
        let AdaptiveAvgPool2dOpIr { x, output_size: size, out } = op;
        let input = self.name(x)?;
        let (height, width) = (x.shape[2], x.shape[3]);
        if *size == [1, 1] {
            return self.node("GlobalAveragePool", vec![input], &[], out);
        }
        if height % size[0] == 0 && width % size[1] == 0 {
            let kernel = [height / size[0], width / size[1]];
            let attributes = [ints("kernel_shape", &kernel), ints("strides", &kernel)];
            return self.node("AveragePool", vec![input], &attributes, out);
        }
        // Rows and columns are averaged by a matrix each.
        let rows = self.floats(&[size[0] as i64, height as i64], &averages(height, size[0]));
        let columns = self.floats(&[size[1] as i64, width as i64], &averages(width, size[1]));
        let low = self.push("MatMul", &[rows, input], &[]);
        let columns = self.push("Transpose", &[columns], &[ints("perm", &[1, 0])]);
        self.node("MatMul", vec![low, columns], &[], out)
    }

    fn filled(&mut self, value: f32, out: &TensorIr, twin: &TensorIr) -> Result<(), Reason> {
        let inputs = vec![self.float(value), self.shape(out, twin)?];
        self.node("Expand", inputs, &[], out)
    }

    /// A shape as a tensor, with the batch open.
    fn shape(&mut self, tensor: &TensorIr, twin: &TensorIr) -> Result<String, Reason> {
        let dims = dims(tensor, twin)?;
        let [OPEN, ref rest @ ..] = dims[..] else {
            return Ok(self.integers(&dims));
        };
        let shape = self.push("Shape", &["images".to_owned()], &[]);
        let first = self.integers(&[0]);
        let batch = self.push("Gather", &[shape, first], &[int("axis", 0)]);
        let rest = self.integers(rest);
        Ok(self.push("Concat", &[batch, rest], &[int("axis", 0)]))
    }

    /// The name of a tensor that a node reads.
    fn name(&mut self, tensor: &TensorIr) -> Result<String, Reason> {
        if let Some(name) = self.names.get(&tensor.id) {
            return Ok(name.clone());
        }
        let name = match self.parameter(tensor.id)? {
            Some((stored, true)) => self.push("Transpose", &[stored], &[ints("perm", &[1, 0])]),
            Some((stored, false)) => stored,
            None => {
                let data = self.captures[0].constants.get(&tensor.id);
                let data = data.filter(|data| data.dtype() == DType::F32);
                let data = data.ok_or("a tensor comes from nowhere")?;
                let dims: Vec<i64> = data.shape().iter().map(|&size| size as i64).collect();
                self.initializer(FLOAT, &dims, data.as_bytes().to_vec())
            }
        };
        self.names.insert(tensor.id, name.clone());
        Ok(name)
    }

    fn names<'t>(
        &mut self,
        tensors: impl IntoIterator<Item = &'t TensorIr>,
    ) -> Result<Vec<String>, Reason> {
        tensors.into_iter().map(|tensor| self.name(tensor)).collect()
    }

    /// The name of a parameter as it is stored, and whether that is Burn's transposed.
    fn parameter(&mut self, id: TensorId) -> Result<Option<(String, bool)>, Reason> {
        let Some(path) = self.captures[0].parameters.get(&id) else {
            return Ok(None);
        };
        let place = self.state.places.get(path);
        let place = place.ok_or_else(|| format!("it has no weights for {path}"))?;
        if let Some(name) = self.stored.get(&id) {
            return Ok(Some((name.clone(), place.is_transposed)));
        }
        let tensor = &self.state.tensors[place.index];
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
        Ok(Some((name, place.is_transposed)))
    }

    /// Adds the node that computes a tensor of the network.
    fn node(
        &mut self,
        kind: &str,
        inputs: Vec<String>,
        attributes: &[Message],
        out: &TensorIr,
    ) -> Result<(), Reason> {
        let is_last = out.id == self.captures[0].logits;
        let name = if is_last { "logits".to_owned() } else { self.fresh() };
        self.write(kind, &inputs, attributes, &name);
        self.names.insert(out.id, name);
        Ok(())
    }

    /// Adds a node that computes something in between, and gives it a name.
    fn push(&mut self, kind: &str, inputs: &[String], attributes: &[Message]) -> String {
        let name = self.fresh();
        self.write(kind, inputs, attributes, &name);
        name
    }

    fn write(&mut self, kind: &str, inputs: &[String], attributes: &[Message], output: &str) {
        let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        let node = node.text(2, output).text(3, &format!("{kind}:{output}")).text(4, kind);
        let node = attributes.iter().fold(node, |node, one| node.message(5, one.clone()));
        self.nodes = std::mem::take(&mut self.nodes).message(1, node);
    }

    /// A name that nothing has yet.
    fn fresh(&mut self) -> String {
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

/// In place of a dimension that differs with the number of images.
const OPEN: i64 = -1;

/// A tensor's shape, given that of the same tensor for another number of images.
fn dims(tensor: &TensorIr, twin: &TensorIr) -> Result<Vec<i64>, Reason> {
    let pairs = tensor.shape.iter().zip(twin.shape.iter());
    let dims: Vec<i64> =
        pairs.map(|(&size, &twin)| if size == twin { size as i64 } else { OPEN }).collect();
    match dims.iter().filter(|&&size| size == OPEN).count() {
        0 | 1 => Ok(dims),
        _ => Err("several dimensions of a tensor depend on the number of images".to_owned()),
    }
}

/// Whether a tensor's new shape only has ones before the old one, which operators do by themselves.
fn is_broadcast(tensor: &TensorIr, reshaped: &TensorIr) -> bool {
    let (old, new) = (tensor.shape.to_vec(), reshaped.shape.to_vec());
    new.strip_suffix(&old[..]).is_some_and(|ones| ones.iter().all(|&size| size == 1))
}

/// Whether a range takes all of a dimension.
fn is_full(range: &Slice, size: usize) -> bool {
    (range.start, range.step) == (0, 1) && range.end.is_none_or(|end| end as usize == size)
}

/// `ValueInfoProto`
fn value(name: &str, (tensor, twin): (&TensorIr, &TensorIr)) -> Message {
    let dims = tensor.shape.iter().zip(twin.shape.iter());
    let shape = dims.fold(Message::default(), |shape, (&size, &twin)| {
        let dim = Message::default();
        let dim = if size == twin { dim.int(1, size as i64) } else { dim.text(2, "batch") };
        shape.message(1, dim)
    });
    let tensor = Message::default().int(1, FLOAT).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}

/// `AttributeProto`s.
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

/// The matrix that averages `size` values into `bins` overlapping bins, as PyTorch cuts them.
fn averages(size: usize, bins: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; bins * size];
    for (bin, row) in matrix.chunks_exact_mut(size).enumerate() {
        let (start, end) = (bin * size / bins, ((bin + 1) * size).div_ceil(bins));
        row[start..end].fill(1.0 / (end - start) as f32);
    }
    matrix
}

/// The name of an operation, for messages.
fn unsupported(operation: &OperationIr) -> Reason {
    let text = format!("{operation:?}");
    let words = text.split(|c: char| !c.is_alphanumeric()).take_while(|word| !word.ends_with("Ir"));
    format!("its operation {} is not translated", words.last().unwrap_or_default())
}
