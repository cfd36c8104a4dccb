//! Computes a graph node by node, to compare a record with what it was made from.
//!
//! Slow and plain: it covers the operators of convolutional networks, and says which one it
//! lacks. All values are floats in single precision, integers too, which it holds exactly as far
//! as sizes go.

use std::collections::HashMap;

use burn::tensor::module::{
    adaptive_avg_pool2d, avg_pool2d, conv_transpose2d, conv2d, interpolate, max_pool2d,
};
use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions,
    MaxPoolOptions,
};
use burn::tensor::{Device, Int, Slice, Tensor, TensorData, activation};

use super::constant::Constant;
use super::graph::{self, Graph, Node};

/// Why a graph was not computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRun {
    /// The node that could not be, as its exporter named it.
    pub node: String,
    /// What about it.
    pub reason: String,
}

impl std::fmt::Display for NotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.node, self.reason)
    }
}

impl std::error::Error for NotRun {}

/// What a node says it lacks.
type Fault = String;

/// Dimensions that a value has at most.
const RANK: usize = 6;

/// Elements that a value has at most: a gigabyte.
const LARGEST: usize = 1 << 28;

/// A value of the graph: its elements in a row, and how they are arranged.
#[derive(Debug, Clone)]
struct Value {
    flat: Tensor<1>,
    dims: Vec<usize>,
    is_integer: bool,
}

impl Value {
    fn of<const D: usize>(tensor: Tensor<D>, dims: Vec<usize>) -> Result<Self, Fault> {
        let count = tensor.shape().num_elements();
        if count != dims.iter().product::<usize>() || count == 0 || dims.len() > RANK {
            return Err(format!("it gives the size {dims:?}"));
        }
        Ok(Self { flat: tensor.reshape([count]), dims, is_integer: false })
    }

    fn integer(self, is_integer: bool) -> Self {
        Self { is_integer, ..self }
    }

    /// With dimensions of size 1 in front, as many as are missing.
    fn ranked<const D: usize>(&self) -> Result<Tensor<D>, Fault> {
        let missing = D.checked_sub(self.dims.len());
        let missing = missing.ok_or_else(|| format!("it has {} dimensions", self.dims.len()))?;
        let mut dims = [1; D];
        dims[missing..].copy_from_slice(&self.dims);
        Ok(self.flat.clone().reshape(dims))
    }

    fn image(&self) -> Result<Tensor<4>, Fault> {
        match self.dims.len() {
            4 => self.ranked(),
            rank => Err(format!("its input has {rank} dimensions, not 4")),
        }
    }

    fn map(&self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        Self { flat: f(self.flat.clone()), ..self.clone() }
    }

    fn numbers(&self) -> Vec<f64> {
        self.flat.to_data().iter::<f64>().collect()
    }
}

/// The value of a tensor of four dimensions.
fn image(tensor: Tensor<4>) -> Result<Value, Fault> {
    let dims = tensor.dims().to_vec();
    Value::of(tensor, dims)
}

fn check(dims: &[usize]) -> Result<(), Fault> {
    let count = dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim));
    match count {
        Some(count) if count <= LARGEST => Ok(()),
        _ => Err(format!("it gives the size {dims:?}, too large to check")),
    }
}

impl Graph {
    /// The sizes of the images that it takes, `[N, C, H, W]`; `None` where any will do.
    ///
    /// Nothing where it takes something else than images, or several things.
    pub fn image_shape(&self, channels: usize) -> Option<ImageShape> {
        let [(_, shape)] = self.inputs.as_slice() else {
            return None;
        };
        match shape.as_slice() {
            &[batch, c, height, width] if c.is_none_or(|c| c == channels) => {
                Some(ImageShape { batch, height, width, channels_last: false })
            }
            &[batch, height, width, c] if c == Some(channels) => {
                Some(ImageShape { batch, height, width, channels_last: true })
            }
            [] => Some(ImageShape { batch: None, height: None, width: None, channels_last: false }),
            _ => None,
        }
    }

    /// Computes the logits of images `[N, C, H, W]` on the images' device.
    ///
    /// A softmax or sigmoid at the end is left out, so that they are logits.
    ///
    /// # Errors
    ///
    /// Which node could not be computed.
    ///
    /// # Panics
    ///
    /// When the sizes in the graph contradict each other.
    pub fn logits(&self, images: Tensor<4>, channels_last: bool) -> Result<Vec<f32>, NotRun> {
        let fault = |node: &str, reason: &str| NotRun { node: node.into(), reason: reason.into() };
        let device = images.device();
        let images = if channels_last { images.permute([0, 2, 3, 1]) } else { images };
        let (input, _) = self.inputs.first().ok_or_else(|| fault("the graph", "has no input"))?;
        let images = image(images).map_err(|reason| fault(input, &reason))?;
        let output = self.before_probabilities();
        let needed = self.needed(output);
        let mut last_use: HashMap<&str, usize> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            last_use.extend(node.inputs.iter().map(|name| (name.as_str(), index)));
        }
        let mut run =
            Run { graph: self, values: HashMap::from([(input.as_str(), images)]), device };
        for (index, node) in self.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            let values = run.node(node).map_err(|reason| {
                let operator = &node.operator;
                fault(&node.name, &format!("{operator}, {reason}"))
            })?;
            run.values.extend(node.outputs.iter().map(String::as_str).zip(values));
            for name in &node.inputs {
                if last_use.get(name.as_str()) == Some(&index) && name != output {
                    run.values.remove(name.as_str());
                }
            }
        }
        let logits = run.values.get(output).ok_or_else(|| fault(output, "is never computed"))?;
        Ok(logits.flat.to_data().iter::<f32>().collect())
    }

    /// The output, or what goes into the softmax or sigmoid at the end.
    fn before_probabilities(&self) -> &str {
        let mut output = self.outputs.first().map(String::as_str).unwrap_or_default();
        let made_by = |name: &str| {
            let mut nodes = self.nodes.iter().rev();
            nodes.find(|node| node.outputs.first().is_some_and(|output| output == name))
        };
        let mut end = output;
        for _ in 0..4 {
            let Some(node) = made_by(end) else { break };
            match (node.operator.as_str(), node.input(0)) {
                ("Softmax" | "LogSoftmax" | "Sigmoid", Some(input)) => {
                    (output, end) = (input, input)
                }
                ("Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze", Some(input)) => {
                    end = input
                }
                _ => break,
            }
        }
        output
    }

    /// Which nodes a value depends on.
    fn needed(&self, output: &str) -> Vec<bool> {
        let mut names = std::collections::HashSet::from([output]);
        let mut needed = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if node.outputs.iter().any(|name| names.contains(name.as_str())) {
                needed[index] = true;
                names.extend(node.inputs.iter().map(String::as_str));
            }
        }
        needed
    }
}

/// The sizes of the images that a graph takes, where they are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Images in a batch.
    pub batch: Option<usize>,
    /// Rows.
    pub height: Option<usize>,
    /// Columns.
    pub width: Option<usize>,
    /// Whether the channels are the last dimension.
    pub channels_last: bool,
}

struct Run<'g> {
    graph: &'g Graph,
    values: HashMap<&'g str, Value>,
    device: Device,
}

impl Run<'_> {
    fn constant(&self, node: &Node, index: usize) -> Option<&Constant> {
        self.graph.constants.get(node.input(index)?)
    }

    /// An input that has to be there.
    fn value(&self, node: &Node, index: usize) -> Result<Value, Fault> {
        let name = node.input(index).ok_or_else(|| format!("it has no input {index}"))?;
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let constant = self.graph.constants.get(name);
        let constant = constant.ok_or_else(|| format!("its input `{name}` is unknown"))?;
        check(&constant.dims)?;
        let values = constant.floats().map_err(|error| error.to_string())?;
        let count = values.len();
        let flat = Tensor::<1>::from_data(TensorData::new(values, [count]), &self.device);
        Ok(Value::of(flat, constant.dims.clone())?.integer(!constant.is_float()))
    }

    /// Numbers that say how to compute.
    fn numbers(&self, node: &Node, index: usize) -> Result<Option<Vec<f64>>, Fault> {
        if node.input(index).is_none() {
            return Ok(None);
        }
        match self.constant(node, index) {
            Some(constant) => constant.numbers().map(Some).map_err(|error| error.to_string()),
            None => Ok(Some(self.value(node, index)?.numbers())),
        }
    }

    /// Numbers that were an attribute once and became an input.
    fn ints(&self, node: &Node, name: &str, index: usize) -> Result<Option<Vec<i64>>, Fault> {
        if let Some(ints) = node.ints(name) {
            return Ok(Some(ints.to_vec()));
        }
        let numbers = self.numbers(node, index)?;
        Ok(numbers.map(|numbers| numbers.into_iter().map(|number| number as i64).collect()))
    }

    fn float(&self, node: &Node, name: &str, index: usize) -> Result<Option<f32>, Fault> {
        if node.has(name) {
            return Ok(Some(node.float(name, 0.0)));
        }
        let numbers = self.numbers(node, index)?;
        Ok(numbers.and_then(|numbers| numbers.first().map(|&number| number as f32)))
    }

    /// The outputs of a node.
    fn node(&self, node: &Node) -> Result<Vec<Value>, Fault> {
        let x = || self.value(node, 0);
        let one = match node.operator.as_str() {
            "Conv" => self.conv(node)?,
            "ConvTranspose" => self.conv_transpose(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.matmul(node)?,
            "BatchNormalization" => self.batch_normalization(node)?,
            "LRN" => self.local_response(node)?,
            "MaxPool" | "AveragePool" => self.pool(node)?,
            "GlobalAveragePool" => image(adaptive_avg_pool2d(x()?.image()?, [1, 1]))?,
            "GlobalMaxPool" => image(x()?.image()?.max_dim(2).max_dim(3))?,
            "ReduceMean" | "ReduceSum" | "ReduceMax" => self.reduce(node)?,
            "Identity" | "Dropout" => x()?,
            "Relu" => x()?.map(activation::relu),
            "LeakyRelu" => {
                let alpha = f64::from(node.float("alpha", 0.01));
                x()?.map(|x| activation::leaky_relu(x, alpha))
            }
            "Sigmoid" => x()?.map(activation::sigmoid),
            "Tanh" => x()?.map(Tensor::tanh),
            "Sqrt" => x()?.map(Tensor::sqrt),
            "Exp" => x()?.map(Tensor::exp),
            "Neg" => x()?.map(Tensor::neg),
            "Abs" => x()?.map(Tensor::abs),
            "Reciprocal" => x()?.map(Tensor::recip),
            "Floor" => x()?.map(Tensor::floor),
            "Ceil" => x()?.map(Tensor::ceil),
            "HardSwish" => x()?.map(activation::hard_swish),
            "HardSigmoid" => {
                let alpha = f64::from(node.float("alpha", 0.2));
                let beta = f64::from(node.float("beta", 0.5));
                x()?.map(|x| activation::hard_sigmoid(x, alpha, beta))
            }
            "Clip" => {
                let low = self.float(node, "min", 1)?.unwrap_or(f32::MIN);
                let high = self.float(node, "max", 2)?.unwrap_or(f32::MAX);
                x()?.map(|x| x.clamp(low, high))
            }
            "Softmax" => self.softmax(node)?,
            "Add" | "Sum" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" => {
                let mut value = x()?;
                for index in 1..node.inputs.len() {
                    value = arithmetic(&node.operator, &value, &self.value(node, index)?)?;
                }
                value
            }
            "Cast" | "CastLike" => {
                let is_integer = match node.operator.as_str() {
                    "Cast" => !graph::is_float_code(node.int("to", 1)),
                    _ => self.value(node, 1)?.is_integer,
                };
                let value = x()?;
                let is_rounded = is_integer && !value.is_integer;
                let value = if is_rounded { value.map(Tensor::trunc) } else { value };
                value.integer(is_integer)
            }
            "Shape" => {
                let dims: Vec<f32> = x()?.dims.iter().map(|&dim| dim as f32).collect();
                self.list(dims)?
            }
            "ConstantOfShape" => {
                let dims = self.ints(node, "shape", 0)?.unwrap_or_default();
                let dims: Vec<usize> =
                    dims.into_iter().map(|dim| usize::try_from(dim).unwrap_or(0)).collect();
                check(&dims)?;
                let count = dims.iter().product::<usize>();
                let value = self.float(node, "", 1)?.unwrap_or(0.0);
                Value::of(Tensor::<1>::full([count], value, &self.device), dims)?
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.rearrange(node)?,
            "Transpose" => self.transpose(node)?,
            "Expand" => self.expand(node)?,
            "Concat" => self.concat(node)?,
            "Gather" => self.gather(node)?,
            "Slice" => self.slice(node)?,
            "Split" => return self.split(node),
            "Pad" => self.pad(node)?,
            "Resize" | "Upsample" => self.resize(node)?,
            _ => return Err("an operator that is not understood here".to_owned()),
        };
        if node.outputs.len() > 1 && !matches!(node.operator.as_str(), "Dropout") {
            return Err("its further outputs are not understood here".to_owned());
        }
        Ok(vec![one])
    }

    fn list(&self, values: Vec<f32>) -> Result<Value, Fault> {
        let count = values.len();
        let flat = Tensor::<1>::from_data(TensorData::new(values, [count]), &self.device);
        Ok(Value::of(flat, vec![count])?.integer(true))
    }

    fn bias(&self, node: &Node, index: usize) -> Result<Option<Tensor<1>>, Fault> {
        node.input(index).map(|_| Ok(self.value(node, index)?.flat)).transpose()
    }

    fn conv(&self, node: &Node) -> Result<Value, Fault> {
        let (x, kernel) = (self.value(node, 0)?.image()?, self.value(node, 1)?.image()?);
        let [channels, inputs] = [x.dims()[1], kernel.dims()[1]];
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        if groups == 0 || inputs.checked_mul(groups) != Some(channels) {
            return Err(format!("{channels} channels do not fit its kernel"));
        }
        let window = Window::of(node, &x, [kernel.dims()[2], kernel.dims()[3]])?;
        let options =
            ConvOptions::new_with_padding(window.stride, window.padding, window.dilation, groups);
        check(&[x.dims()[0], kernel.dims()[0], window.outputs[0], window.outputs[1]])?;
        image(conv2d(x, kernel, self.bias(node, 2)?, options))
    }

    fn conv_transpose(&self, node: &Node) -> Result<Value, Fault> {
        let (x, kernel) = (self.value(node, 0)?.image()?, self.value(node, 1)?.image()?);
        if x.dims()[1] != kernel.dims()[0] {
            return Err(format!("{} channels do not fit its kernel", x.dims()[1]));
        }
        if node.has("output_shape") || node.string("auto_pad").is_some_and(|pad| pad != "NOTSET") {
            return Err("its padding is not understood here".to_owned());
        }
        let pair = |name, default| node.pair(name, default).ok_or("its window is not flat");
        let [top, left, bottom, right] = pads(node)?;
        if (top, left) != (bottom, right) {
            return Err("its padding is not the same on both sides".to_owned());
        }
        let (stride, dilation) = (pair("strides", 1)?, pair("dilations", 1)?);
        let output_padding = pair("output_padding", 0)?;
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        let (size, side) = (x.dims(), kernel.dims());
        let grown = |axis: usize| {
            let inside = (size[axis + 2] - 1).saturating_mul(stride[axis]);
            let window = (side[axis + 2] - 1).saturating_mul(dilation[axis]);
            inside.saturating_add(window).saturating_add(output_padding[axis]).saturating_add(1)
        };
        if groups == 0 || stride.contains(&0) || dilation.contains(&0) {
            return Err("its window has no size".to_owned());
        }
        check(&[size[0], side[1].saturating_mul(groups), grown(0), grown(1)])?;
        let options =
            ConvTransposeOptions::new(stride, [top, left], output_padding, dilation, groups);
        image(conv_transpose2d(x, kernel, self.bias(node, 2)?, options))
    }

    fn gemm(&self, node: &Node) -> Result<Value, Fault> {
        let matrix = |index: usize, flag: &str| -> Result<Tensor<2>, Fault> {
            let matrix = self.value(node, index)?.ranked::<2>()?;
            Ok(if node.int(flag, 0) == 0 { matrix } else { matrix.transpose() })
        };
        let (a, b) = (matrix(0, "transA")?, matrix(1, "transB")?);
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        if a.dims()[1] != b.dims()[0] {
            return Err(format!("{:?} times {:?}", a.dims(), b.dims()));
        }
        check(&[a.dims()[0], b.dims()[1]])?;
        let mut product = a.matmul(b);
        if alpha != 1.0 {
            product = product.mul_scalar(alpha);
        }
        let dims = product.dims().to_vec();
        let product = Value::of(product, dims)?;
        match node.input(2) {
            None => Ok(product),
            Some(_) => {
                let bias = self.value(node, 2)?.map(|bias| bias.mul_scalar(beta));
                arithmetic("Add", &product, &bias)
            }
        }
    }

    fn matmul(&self, node: &Node) -> Result<Value, Fault> {
        let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
        let ([.., inner], &[rows, columns]) = (a.dims.as_slice(), b.dims.as_slice()) else {
            return Err("only a matrix on the right is understood here".to_owned());
        };
        if *inner != rows {
            return Err(format!("{:?} times {:?}", a.dims, b.dims));
        }
        let mut dims = a.dims.clone();
        let count: usize = dims[..dims.len() - 1].iter().product();
        check(&[count, columns])?;
        let product = a.flat.clone().reshape([count, rows]).matmul(b.ranked::<2>()?);
        if let Some(last) = dims.last_mut() {
            *last = columns;
        }
        Value::of(product, dims)
    }

    fn batch_normalization(&self, node: &Node) -> Result<Value, Fault> {
        if node.int("training_mode", 0) != 0 {
            return Err("in training mode it depends on the batch".to_owned());
        }
        let x = self.value(node, 0)?;
        let mut around = vec![1; x.dims.len()];
        let channels = *x.dims.get(1).ok_or("its input has no channels")?;
        around[1] = channels;
        let each = |index| -> Result<Value, Fault> {
            let value = self.value(node, index)?;
            if value.dims != [channels] {
                return Err(format!("{:?} numbers for {channels} channels", value.dims));
            }
            Ok(Value { dims: around.clone(), ..value })
        };
        let [gamma, beta, mean, variance] = [each(1)?, each(2)?, each(3)?, each(4)?];
        let epsilon = node.float("epsilon", 1e-5);
        let deviation = variance.map(|variance| variance.add_scalar(epsilon).sqrt());
        let scale = arithmetic("Div", &gamma, &deviation)?;
        let centred = arithmetic("Sub", &x, &mean)?;
        arithmetic("Add", &arithmetic("Mul", &centred, &scale)?, &beta)
    }

    /// Krizhevsky et al., 2012, §3.3, as ONNX defines it.
    fn local_response(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?.image()?;
        let size = usize::try_from(node.int("size", 5)).unwrap_or(0);
        let alpha = node.float("alpha", 1e-4) / size as f32;
        let [batch, channels, height, width] = x.dims();
        let before = size.saturating_sub(1) / 2;
        check(&[batch, channels.saturating_add(size), height, width])?;
        let zeros = |channels| Tensor::zeros([batch, channels, height, width], &self.device);
        let mut parts = vec![x.clone().square()];
        if before > 0 {
            parts.insert(0, zeros(before));
        }
        if size > before + 1 {
            parts.push(zeros(size - 1 - before));
        }
        let padded = Tensor::cat(parts, 1);
        let mut sum = padded.clone().narrow(1, 0, channels);
        for start in 1..size {
            sum = sum + padded.clone().narrow(1, start, channels);
        }
        let scale = sum.mul_scalar(alpha).add_scalar(node.float("bias", 1.0));
        image(x / scale.powf_scalar(node.float("beta", 0.75)))
    }

    fn pool(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?.image()?;
        let kernel = node.pair("kernel_shape", 0).filter(|kernel| !kernel.contains(&0));
        let kernel = kernel.ok_or("its window has no size")?;
        let window = Window::of(node, &x, kernel)?;
        let ceil_mode = node.int("ceil_mode", 0) != 0;
        let [batch, channels, ..] = x.dims();
        check(&[batch, channels, window.outputs[0], window.outputs[1]])?;
        if node.operator == "MaxPool" {
            return image(max_pool2d(
                x,
                MaxPoolOptions {
                    kernel_size: kernel,
                    stride: window.stride,
                    padding: window.padding,
                    dilation: window.dilation,
                    ceil_mode,
                },
            ));
        }
        if window.dilation != [1; 2] {
            return Err("dilated averages are not understood here".to_owned());
        }
        image(avg_pool2d(
            x,
            AvgPoolOptions {
                kernel_size: kernel,
                stride: window.stride,
                padding: window.padding,
                count_include_pad: node.int("count_include_pad", 0) != 0,
                ceil_mode,
            },
        ))
    }

    fn reduce(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let rank = x.dims.len();
        let axes = self.ints(node, "axes", 1)?.unwrap_or_else(|| (0..rank as i64).collect());
        let mut tensor = x.ranked::<RANK>()?;
        let mut dims: Vec<Option<usize>> = x.dims.iter().copied().map(Some).collect();
        for index in axes {
            let axis = self::axis(index, rank)?;
            let at = axis + RANK - rank;
            tensor = match node.operator.as_str() {
                "ReduceMean" => tensor.mean_dim(at),
                "ReduceSum" => tensor.sum_dim(at),
                _ => tensor.max_dim(at),
            };
            dims[axis] = (node.int("keepdims", 1) != 0).then_some(1);
        }
        Ok(Value::of(tensor, dims.into_iter().flatten().collect())?.integer(x.is_integer))
    }

    fn softmax(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let default = if self.graph.opset < 13 { 1 } else { -1 };
        let axis = axis(node.int("axis", default), x.dims.len())?;
        let at = axis + RANK - x.dims.len();
        if self.graph.opset < 13 && x.dims[axis + 1..].iter().any(|&dim| dim != 1) {
            return Err("over several dimensions it is not understood here".to_owned());
        }
        Value::of(activation::softmax(x.ranked::<RANK>()?, at), x.dims)
    }

    fn rearrange(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let dims = match node.operator.as_str() {
            "Reshape" => {
                let target = self.ints(node, "shape", 1)?.unwrap_or_default();
                graph::reshape(&x.dims, &target)
            }
            "Flatten" => graph::axis(node.int("axis", 1), x.dims.len()).map(|axis| {
                let (rows, columns) = x.dims.split_at(axis);
                vec![rows.iter().product(), columns.iter().product()]
            }),
            "Squeeze" => graph::squeeze(&x.dims, self.ints(node, "axes", 1)?.as_deref()),
            _ => {
                let axes = self.ints(node, "axes", 1)?.unwrap_or_default();
                graph::unsqueeze(&x.dims, &axes)
            }
        };
        let dims = dims.ok_or_else(|| format!("{:?} can't become that", x.dims))?;
        Ok(Value::of(x.flat, dims)?.integer(x.is_integer))
    }

    fn transpose(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let rank = x.dims.len();
        let order: Vec<usize> = match node.ints("perm") {
            Some(order) => {
                order.iter().map(|&index| axis(index, rank)).collect::<Result<_, _>>()?
            }
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return Err(format!("the order {order:?} of {rank} dimensions"));
        }
        let tensor = x.ranked::<RANK>()?;
        let shift = RANK - rank;
        let mut full: [isize; RANK] = std::array::from_fn(|index| index as isize);
        for (index, &axis) in order.iter().enumerate() {
            full[index + shift] = (axis + shift) as isize;
        }
        let dims = order.iter().map(|&axis| x.dims[axis]).collect();
        Ok(Value::of(tensor.permute(full), dims)?.integer(x.is_integer))
    }

    fn expand(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let target = self.ints(node, "shape", 1)?.unwrap_or_default();
        let target: Vec<usize> =
            target.into_iter().map(|dim| usize::try_from(dim).unwrap_or(0)).collect();
        let dims = broadcast(&x.dims, &target)?;
        let mut full = [1; RANK];
        full[RANK - dims.len()..].copy_from_slice(&dims);
        Ok(Value::of(x.ranked::<RANK>()?.expand(full), dims)?.integer(x.is_integer))
    }

    fn concat(&self, node: &Node) -> Result<Value, Fault> {
        let parts: Vec<Value> = (0..node.inputs.len())
            .map(|index| self.value(node, index))
            .collect::<Result<_, _>>()?;
        let first = parts.first().ok_or("it joins nothing")?;
        let axis = axis(node.int("axis", 1), first.dims.len())?;
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        for part in &parts {
            let fits = |(index, dim): (usize, &usize)| index == axis || part.dims[index] == *dim;
            if part.dims.len() != dims.len() || !dims.iter().enumerate().all(fits) {
                return Err(format!("{:?} beside {:?}", part.dims, first.dims));
            }
            dims[axis] += part.dims[axis];
        }
        check(&dims)?;
        let at = axis + RANK - dims.len();
        let is_integer = first.is_integer;
        let tensors = parts.iter().map(Value::ranked::<RANK>).collect::<Result<_, _>>()?;
        Ok(Value::of(Tensor::cat(tensors, at), dims)?.integer(is_integer))
    }

    fn gather(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let axis = axis(node.int("axis", 0), x.dims.len())?;
        let indices = self.value(node, 1)?;
        let size = x.dims[axis];
        let list: Vec<i32> = indices
            .numbers()
            .into_iter()
            .map(|index| if index < 0.0 { index + size as f64 } else { index })
            .map(|index| {
                if (0.0..size as f64).contains(&index) {
                    Ok(index as i32)
                } else {
                    Err(format!("the index {index} of {size}"))
                }
            })
            .collect::<Result<_, _>>()?;
        let count = list.len();
        let list = Tensor::<1, Int>::from_data(TensorData::new(list, [count]), &self.device);
        let mut dims = x.dims.clone();
        // One index takes the dimension away.
        dims.splice(axis..=axis, indices.dims.iter().copied());
        check(&dims)?;
        let tensor = x.ranked::<RANK>()?.select(axis + RANK - x.dims.len(), list);
        Ok(Value::of(tensor, dims)?.integer(x.is_integer))
    }

    fn slice(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let starts = self.ints(node, "starts", 1)?.ok_or("it has no starts")?;
        let ends = self.ints(node, "ends", 2)?.ok_or("it has no ends")?;
        let axes = self.ints(node, "axes", 3)?;
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.numbers(node, 4)?.unwrap_or_else(|| vec![1.0; starts.len()]);
        let mut ranges: Vec<(usize, usize, usize)> =
            x.dims.iter().map(|&dim| (0, dim, 1)).collect();
        let mut backwards = Vec::new();
        for (((&start, &end), &index), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = axis(index, x.dims.len())?;
            let size = x.dims[axis] as i64;
            let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
            if step == -1.0 {
                // The same elements forwards, to be turned round.
                let (first, last) = (from_start(end).clamp(-1, size), from_start(start));
                ranges[axis] = ((first + 1) as usize, (last.clamp(-1, size - 1) + 1) as usize, 1);
                backwards.push((axis + RANK - x.dims.len()) as isize);
                continue;
            }
            if step < 1.0 {
                return Err(format!("steps of {step} are not understood here"));
            }
            let clamp = |at: i64| from_start(at).clamp(0, size) as usize;
            ranges[axis] = (clamp(start), clamp(end), step as usize);
        }
        let forwards = sliced(&x, &ranges)?;
        if backwards.is_empty() {
            return Ok(forwards);
        }
        let turned = backwards
            .into_iter()
            .fold(forwards.ranked::<RANK>()?, |turned, axis: isize| turned.flip([axis]));
        Ok(Value::of(turned, forwards.dims)?.integer(forwards.is_integer))
    }

    fn split(&self, node: &Node) -> Result<Vec<Value>, Fault> {
        let x = self.value(node, 0)?;
        let axis = axis(node.int("axis", 0), x.dims.len())?;
        let sizes = match self.ints(node, "split", 1)? {
            Some(sizes) => sizes,
            None => vec![x.dims[axis].div_ceil(node.outputs.len()) as i64; node.outputs.len()],
        };
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            let end = start + usize::try_from(size).unwrap_or(0);
            let mut ranges: Vec<_> = x.dims.iter().map(|&dim| (0, dim, 1)).collect();
            ranges[axis] = (start, end.min(x.dims[axis]), 1);
            parts.push(sliced(&x, &ranges)?);
            start = end;
        }
        Ok(parts)
    }

    fn pad(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        if node.string("mode").is_some_and(|mode| mode != "constant") {
            return Err("only padding with a constant is understood here".to_owned());
        }
        let pads = self.ints(node, "pads", 1)?.unwrap_or_default();
        let value = self.float(node, "value", 2)?.unwrap_or(0.0);
        let rank = x.dims.len();
        let axes = match self.ints(node, "", 3)? {
            Some(axes) => axes.iter().map(|&index| axis(index, rank)).collect::<Result<_, _>>()?,
            None => (0..rank).collect::<Vec<_>>(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("{} paddings for {} dimensions", pads.len(), axes.len()));
        }
        // What is negative is cut off.
        let mut ranges: Vec<_> = x.dims.iter().map(|&dim| (0, dim, 1)).collect();
        for (index, &axis) in axes.iter().enumerate() {
            let cut = |pad: i64| usize::try_from(pad.saturating_neg()).unwrap_or(0);
            let (before, behind) = (cut(pads[index]), cut(pads[axes.len() + index]));
            ranges[axis] = (before, x.dims[axis].saturating_sub(behind), 1);
        }
        let cut = sliced(&x, &ranges)?;
        let mut tensor = cut.ranked::<RANK>()?;
        let mut dims = cut.dims;
        for (index, &axis) in axes.iter().enumerate() {
            let at = axis + RANK - rank;
            for (pad, is_before) in [(pads[index], true), (pads[axes.len() + index], false)] {
                let pad = usize::try_from(pad).unwrap_or(0);
                if pad == 0 {
                    continue;
                }
                let mut shape: [usize; RANK] = tensor.dims();
                dims[axis] = dims[axis].saturating_add(pad);
                check(&dims)?;
                shape[at] = pad;
                let border = Tensor::full(shape, value, &self.device);
                let parts = if is_before { vec![border, tensor] } else { vec![tensor, border] };
                tensor = Tensor::cat(parts, at);
            }
        }
        Value::of(tensor, dims)
    }

    fn resize(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?.image()?;
        let [batch, channels, height, width] = x.dims();
        let (scales_at, sizes_at) = if node.inputs.len() > 2 { (2, 3) } else { (1, 9) };
        let scales = match node.floats("scales") {
            Some(scales) => Some(scales.iter().map(|&scale| f64::from(scale)).collect()),
            None => self.numbers(node, scales_at)?,
        };
        let sizes = self.numbers(node, sizes_at)?;
        let target = match (sizes, scales) {
            (Some(sizes), _) if sizes.len() >= 2 => {
                [sizes[sizes.len() - 2] as usize, sizes[sizes.len() - 1] as usize]
            }
            (_, Some(scales)) if scales.len() >= 2 => {
                let last = [scales[scales.len() - 2], scales[scales.len() - 1]];
                [(height as f64 * last[0]) as usize, (width as f64 * last[1]) as usize]
            }
            _ => return Err("it does not say how large".to_owned()),
        };
        check(&[batch, channels, target[0], target[1]])?;
        if target.contains(&0) {
            return Err("it leaves nothing".to_owned());
        }
        let asymmetric = if node.operator == "Upsample" || self.graph.opset < 11 {
            "asymmetric"
        } else {
            "half_pixel"
        };
        let coordinates = node.string("coordinate_transformation_mode").unwrap_or(asymmetric);
        let mode = node.string("mode").unwrap_or("nearest");
        let (mode, align_corners) = match (mode, coordinates) {
            ("linear", "align_corners") => (InterpolateMode::Bilinear, true),
            ("linear", "half_pixel" | "pytorch_half_pixel") => (InterpolateMode::Bilinear, false),
            ("nearest", "asymmetric") => (InterpolateMode::Nearest, false),
            (mode, coordinates) => {
                return Err(format!("{mode} with {coordinates} is not understood here"));
            }
        };
        let options = InterpolateOptions::new(mode).with_align_corners(align_corners);
        image(interpolate(x, options.with_output_size(target)))
    }
}

/// How a kernel moves over an image.
struct Window {
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [(usize, usize); 2],
    outputs: [usize; 2],
}

impl Window {
    fn of(node: &Node, x: &Tensor<4>, kernel: [usize; 2]) -> Result<Self, Fault> {
        let pair = |name| node.pair(name, 1).filter(|pair| !pair.contains(&0));
        let stride = pair("strides").ok_or("its stride is none")?;
        let dilation = pair("dilations").ok_or("its dilation is none")?;
        let [_, _, height, width] = x.dims();
        let size = [height, width];
        let reach: [usize; 2] = std::array::from_fn(|axis| {
            (kernel[axis].max(1) - 1).saturating_mul(dilation[axis]).saturating_add(1)
        });
        let auto = node.string("auto_pad").unwrap_or("NOTSET");
        let padding = match auto {
            "SAME_UPPER" | "SAME_LOWER" => std::array::from_fn(|axis| {
                let steps = size[axis].div_ceil(stride[axis]) - 1;
                let covered = steps.saturating_mul(stride[axis]).saturating_add(reach[axis]);
                let all = covered.saturating_sub(size[axis]);
                let (less, more) = (all / 2, all - all / 2);
                if auto == "SAME_UPPER" { (less, more) } else { (more, less) }
            }),
            "VALID" => [(0, 0); 2],
            _ => {
                let [top, left, bottom, right] = pads(node)?;
                [(top, bottom), (left, right)]
            }
        };
        let mut outputs = [0; 2];
        for axis in 0..2 {
            let (before, behind) = padding[axis];
            let padded = size[axis].saturating_add(before).saturating_add(behind);
            if reach[axis] > padded {
                return Err(format!("its window is larger than the {size:?} pixels"));
            }
            outputs[axis] = (padded - reach[axis]) / stride[axis] + 1;
            check(&[padded, padded])?;
        }
        Ok(Self { stride, dilation, padding, outputs })
    }
}

/// Top, left, bottom, right.
fn pads(node: &Node) -> Result<[usize; 4], Fault> {
    match node.ints("pads") {
        None => Ok([0; 4]),
        Some(&[a, b, c, d]) => {
            let mut pads = [0; 4];
            for (pad, value) in pads.iter_mut().zip([a, b, c, d]) {
                *pad = usize::try_from(value).map_err(|_| format!("it pads by {value}"))?;
            }
            Ok(pads)
        }
        Some(pads) => Err(format!("it pads by {pads:?}")),
    }
}

fn axis(index: i64, rank: usize) -> Result<usize, Fault> {
    let axis = graph::axis(index, rank).filter(|&axis| axis < rank);
    axis.ok_or_else(|| format!("the dimension {index} of {rank}"))
}

/// The dimensions that two values have together.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], index: usize| {
        (index + dims.len()).checked_sub(rank).map_or(1, |index| dims[index])
    };
    let dims = (0..rank)
        .map(|index| match (dim(a, index), dim(b, index)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => Err(format!("{a:?} with {b:?}")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    check(&dims)?;
    Ok(dims)
}

fn arithmetic(operator: &str, a: &Value, b: &Value) -> Result<Value, Fault> {
    let dims = broadcast(&a.dims, &b.dims)?;
    let is_integer = a.is_integer && b.is_integer;
    // Four dimensions are what backends are made for.
    let value = if dims.len() <= 4 {
        Value::of(combine(operator, a.ranked::<4>()?, b.ranked::<4>()?), dims)?
    } else {
        Value::of(combine(operator, a.ranked::<RANK>()?, b.ranked::<RANK>()?), dims)?
    };
    let value = if is_integer && operator == "Div" { value.map(Tensor::trunc) } else { value };
    Ok(value.integer(is_integer))
}

fn combine<const D: usize>(operator: &str, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match operator {
        "Add" | "Sum" => a + b,
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Pow" => a.powf(b),
        "Min" => a.min_pair(b),
        _ => a.max_pair(b),
    }
}

/// From, to and step in each dimension.
fn sliced(x: &Value, ranges: &[(usize, usize, usize)]) -> Result<Value, Fault> {
    let shift = RANK - x.dims.len().min(RANK);
    let mut slices = [Slice::new(0, None, 1); RANK];
    let mut dims = Vec::with_capacity(ranges.len());
    for (index, &(start, end, step)) in ranges.iter().enumerate() {
        if start >= end {
            return Err("it leaves nothing".to_owned());
        }
        dims.push((end - start).div_ceil(step));
        slices[index + shift] =
            Slice::new(start as isize, Some(end as isize), step.min(1 << 30) as isize);
    }
    Ok(Value::of(x.ranked::<RANK>()?.slice(slices), dims)?.integer(x.is_integer))
}
