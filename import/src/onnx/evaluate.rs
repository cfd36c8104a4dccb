//! Computes a graph node by node, to compare it with the imported network.
//!
//! It is slow and simple. It supports the operators of convolutional networks, and names the one
//! that is missing. All values have single precision, including integers, which are exact as far as
//! sizes need it.

use std::collections::HashMap;

use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor, TensorData, activation};

use super::constant::Constant;
use super::graph::{self, Graph};
use super::node::Node;

mod algebra;
mod arrange;
mod value;
mod windows;

use value::{Value, arithmetic, check, choose, image};

/// The reason why a graph was not computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{node}: {reason}")]
pub struct NotRun {
    /// The node that could not be computed, with its exporter's name.
    pub node: String,
    /// The reason.
    pub reason: String,
}

/// The reason why a node can't be computed.
type Fault = String;

impl Graph {
    /// Returns the sizes of the images that it takes, `[N, C, H, W]`. A size is `None` if it is
    /// dynamic.
    ///
    /// Returns `None` if the graph takes another input than images, or several inputs.
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

    /// Returns the shorter side of the images that it takes, in pixels, if it is fixed.
    pub fn side(&self, channels: usize) -> Option<u32> {
        let shape = self.image_shape(channels)?;
        u32::try_from(shape.height?.min(shape.width?)).ok()
    }

    /// Computes the logits of images `[N, C, H, W]` on the images' device.
    ///
    /// The images are the input of the first layer; the graph's own normalization is inverted
    /// before it. A softmax or sigmoid at the end is left out, so that the results are logits.
    ///
    /// # Errors
    ///
    /// When a node can't be computed; the error names it.
    ///
    /// # Panics
    ///
    /// When the sizes in the graph contradict each other.
    pub fn logits(&self, images: Tensor<4>, channels_last: bool) -> Result<Vec<f32>, NotRun> {
        let fault = |node: &str, reason: &str| NotRun { node: node.into(), reason: reason.into() };
        let device = images.device();
        let images = match &self.preparation {
            Some(preparation) => preparation.undone(images),
            None => images,
        };
        let images = if channels_last { images.permute([0, 2, 3, 1]) } else { images };
        let (input, _) = self.inputs.first().ok_or_else(|| fault("the graph", "has no input"))?;
        let images = image(images).map_err(|reason| fault(input, &reason))?;
        let (output, _) = self.before_probabilities();
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

    /// Whether it has global max pooling, unlike the zoo's networks, which average.
    pub fn takes_maxima(&self) -> bool {
        let operators = ["GlobalMaxPool", "ReduceMax"];
        self.nodes.iter().any(|node| operators.contains(&node.operator.as_str()))
    }

    /// Whether each class has its own probability, from a sigmoid at the end.
    pub fn is_multi_label(&self) -> bool {
        self.before_probabilities().1 == Some("Sigmoid")
    }

    /// Returns the output, or the input of the final softmax or sigmoid, and the name of that
    /// operator.
    fn before_probabilities(&self) -> (&str, Option<&str>) {
        let mut output = self.outputs.first().map(String::as_str).unwrap_or_default();
        let mut activation = None;
        let made_by = |name: &str| {
            let mut nodes = self.nodes.iter().rev();
            nodes.find(|node| node.outputs.first().is_some_and(|output| output == name))
        };
        let mut end = output;
        for _ in 0..4 {
            let Some(node) = made_by(end) else { break };
            match (node.operator.as_str(), node.input(0)) {
                (operator @ ("Softmax" | "LogSoftmax" | "Sigmoid"), Some(input)) => {
                    (output, end, activation) = (input, input, Some(operator));
                }
                ("Identity" | "Cast" | "Reshape" | "Flatten" | "Squeeze", Some(input)) => {
                    end = input
                }
                _ => break,
            }
        }
        (output, activation)
    }

    /// Returns for each node whether a value depends on it.
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

/// The sizes of the images that a graph takes, if they are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Number of images in a batch.
    pub batch: Option<usize>,
    /// Height in pixels.
    pub height: Option<usize>,
    /// Width in pixels.
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

    /// Returns a required input.
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

    /// Returns the values of an input that is a parameter of the operator.
    fn numbers(&self, node: &Node, index: usize) -> Result<Option<Vec<f64>>, Fault> {
        if node.input(index).is_none() {
            return Ok(None);
        }
        match self.constant(node, index) {
            Some(constant) => constant.numbers().map(Some).map_err(|error| error.to_string()),
            None => Ok(Some(self.value(node, index)?.numbers())),
        }
    }

    /// Returns the parameter of an operator that was an attribute in older versions, and became an
    /// input.
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

    /// Computes the outputs of a node.
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
            "Where" => choose(&x()?, &self.value(node, 1)?, &self.value(node, 2)?)?,
            "Add" | "Sum" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Equal" => {
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
                let dims = x()?.dims;
                let rank = dims.len() as i64;
                let at = |name, default| {
                    let at = node.int(name, default);
                    (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
                };
                let part = dims.get(at("start", 0)..at("end", rank)).unwrap_or_default();
                self.list(part.iter().map(|&dim| dim as f32).collect())?
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
}
