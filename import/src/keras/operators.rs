//! The operators of each kind of layer, as nodes of a graph.

use serde_json::Value as Json;

use super::config::{Argument, Described, Kind, Value, is_last, numbers, pair, refusal, values_of};
use super::layers::Role;
use super::network::Builder;
use crate::onnx::{Constant, Node};

impl Builder<'_> {
    pub(super) fn conv(
        &mut self,
        layer: &Described<'_>,
        x: Value,
        kernel: Role,
        bias: Role,
    ) -> Result<Value, String> {
        let is_depthwise = kernel == Role::DepthwiseKernel;
        let kernel = if layer.class == "DepthwiseConv2D" && self.weight(layer, &kernel).is_none() {
            Role::Kernel
        } else {
            kernel
        };
        let (kernel, dims) = self.needed(layer, &kernel)?;
        let groups = match is_depthwise {
            true => dims[0] as u64 / self.multiplier(layer),
            false => layer.config["groups"].as_u64().unwrap_or(1),
        };
        let window = layer.window(&["strides", "subsample"])?;
        let dilation = pair(&layer.config["dilation_rate"]).unwrap_or([1, 1]);
        let bias = self.weight(layer, &bias).map(|(bias, _)| bias);
        let inputs: Vec<&Value> = [&x, &kernel].into_iter().chain(&bias).collect();
        let output = self.node(layer, "Conv", &inputs, |node| {
            window(node).with_ints("dilations", &dilation).with_int("group", groups as i64)
        });
        self.activated(layer, output, &layer.config["activation"])
    }

    pub(super) fn multiplier(&self, layer: &Described<'_>) -> u64 {
        layer.config["depth_multiplier"].as_u64().unwrap_or(1).max(1)
    }

    /// Adds a depthwise and a pointwise convolution, with nothing between them.
    pub(super) fn separable(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        let (kernel, dims) = self.needed(layer, &Role::DepthwiseKernel)?;
        let (pointwise, _) = self.needed(layer, &Role::PointwiseKernel)?;
        let groups = dims[0] as u64 / self.multiplier(layer);
        let window = layer.window(&["strides", "subsample"])?;
        let dilation = pair(&layer.config["dilation_rate"]).unwrap_or([1, 1]);
        let depthwise = self.node(layer, "Conv", &[&x, &kernel], |node| {
            window(node).with_ints("dilations", &dilation).with_int("group", groups as i64)
        });
        let bias = self.weight(layer, &Role::Bias).map(|(bias, _)| bias);
        let inputs: Vec<&Value> = [&depthwise, &pointwise].into_iter().chain(&bias).collect();
        let output = self.node(layer, "Conv", &inputs, |node| node);
        self.activated(layer, output, &layer.config["activation"])
    }

    pub(super) fn norm(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        if !is_last(&layer.config["axis"], x.kind) {
            return Err(refusal(layer.own_name(), "is a `BatchNormalization` over another axis"));
        }
        let (mean, dims) = self.needed(layer, &Role::MovingMean)?;
        let (variance, _) = self.needed(layer, &Role::MovingVariance)?;
        let count = dims.iter().product();
        let mut each = |role, value| match self.weight(layer, &role) {
            Some((weight, _)) => weight,
            None => {
                let name = format!("{} {role:?}", layer.name);
                self.constant(&name, Constant::of_numbers(&vec![value; count], vec![count]))
            }
        };
        let (gamma, beta) = (each(Role::Gamma, 1.0), each(Role::Beta, 0.0));
        let epsilon = layer.config["epsilon"].as_f64().unwrap_or(1e-3);
        let inputs = [&x, &gamma, &beta, &mean, &variance];
        Ok(self
            .node(layer, "BatchNormalization", &inputs, |node| node.with_float("epsilon", epsilon)))
    }

    pub(super) fn dense(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        if x.kind != Kind::Vector {
            return Err(refusal(layer.own_name(), "is a `Dense` layer of a map"));
        }
        let (kernel, _) = self.needed(layer, &Role::Kernel)?;
        let mut output = self.node(layer, "MatMul", &[&x, &kernel], |node| node);
        if let Some((bias, _)) = self.weight(layer, &Role::Bias) {
            output = self.node(layer, "Add", &[&output, &bias], |node| node);
        }
        self.activated(layer, output, &layer.config["activation"])
    }

    pub(super) fn activated(
        &mut self,
        layer: &Described<'_>,
        x: Value,
        activation: &Json,
    ) -> Result<Value, String> {
        let name = [activation, &activation["config"], &activation["class_name"]];
        let name = name.into_iter().find_map(Json::as_str).unwrap_or("linear");
        Ok(match name {
            "linear" => x,
            "relu" => self.node(layer, "Relu", &[&x], |node| node),
            "relu6" => self.clipped(layer, x, 6.0),
            "sigmoid" => self.node(layer, "Sigmoid", &[&x], |node| node),
            "tanh" => self.node(layer, "Tanh", &[&x], |node| node),
            "swish" | "silu" => {
                let gate = self.node(layer, "Sigmoid", &[&x], |node| node);
                self.node(layer, "Mul", &[&x, &gate], |node| node)
            }
            "softmax" => self.node(layer, "Softmax", &[&x], |node| node.with_int("axis", 1)),
            _ => {
                let what = format!("has the activation `{name}`");
                return Err(refusal(layer.own_name(), &what));
            }
        })
    }

    pub(super) fn clipped(&mut self, layer: &Described<'_>, x: Value, max: f64) -> Value {
        self.node(layer, "Clip", &[&x], |node| node.with_float("min", 0.0).with_float("max", max))
    }

    pub(super) fn relu(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        let number = |name: &str| layer.config[name].as_f64().filter(|&number| number != 0.0);
        let slope = number("negative_slope");
        match (number("max_value"), slope, number("threshold")) {
            (None, None, None) => Ok(self.node(layer, "Relu", &[&x], |node| node)),
            (Some(max), None, None) => Ok(self.clipped(layer, x, max)),
            (None, Some(slope), None) => {
                Ok(self.node(layer, "LeakyRelu", &[&x], |node| node.with_float("alpha", slope)))
            }
            _ => Err(refusal(layer.own_name(), "is a `ReLU` with a threshold, or with two slopes")),
        }
    }

    /// Pads a map with zeros, or crops it.
    pub(super) fn padded(
        &mut self,
        layer: &Described<'_>,
        x: Value,
        sign: i64,
    ) -> Result<Value, String> {
        let name = if sign > 0 { "padding" } else { "cropping" };
        let sides = &layer.config[name];
        let side = |axis: usize| match &sides[axis] {
            Json::Array(_) => pair(&sides[axis]),
            number => number.as_i64().map(|number| [number; 2]),
        };
        let sides = match sides.as_i64() {
            Some(number) => Some(([number; 2], [number; 2])),
            None => side(0).zip(side(1)),
        };
        let Some(([top, bottom], [left, right])) = sides else {
            return Err(refusal(layer.own_name(), "has borders that are not understood"));
        };
        let pads = [0, 0, top, left, 0, 0, bottom, right].map(|pad| pad * sign);
        Ok(self.node(layer, "Pad", &[&x], |node| node.with_ints("pads", &pads)))
    }

    pub(super) fn pooled(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        let size = pair(&layer.config["pool_size"]).unwrap_or([2, 2]);
        let window = layer.window(&["strides"])?;
        let is_strided = !layer.config["strides"].is_null();
        let operator = if layer.class == "MaxPooling2D" { "MaxPool" } else { "AveragePool" };
        Ok(self.node(layer, operator, &[&x], |node| {
            let node = window(node).with_ints("kernel_shape", &size);
            if is_strided { node } else { node.with_ints("strides", &size) }
        }))
    }

    /// Transposes a map to Keras's order: the channels of each pixel together.
    pub(super) fn channels_last(&mut self, layer: &Described<'_>, x: Value) -> Value {
        match x.kind {
            Kind::Map => {
                self.node(layer, "Transpose", &[&x], |node| node.with_ints("perm", &[0, 2, 3, 1]))
            }
            _ => x,
        }
    }

    pub(super) fn flattened(&mut self, layer: &Described<'_>, x: Value) -> Value {
        let x = self.channels_last(layer, x);
        let flat = self.node(layer, "Flatten", &[&x], |node| node.with_int("axis", 1));
        Value { kind: Kind::Vector, ..flat }
    }

    pub(super) fn reshaped(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        let sizes = layer.config["target_shape"].as_array().map(|sizes| {
            sizes.iter().map(|size| size.as_f64().unwrap_or(-1.0) as f32).collect::<Vec<_>>()
        });
        let kind = match sizes.as_ref().map(Vec::len) {
            Some(1) => Kind::Vector,
            Some(3) => Kind::Map,
            _ => {
                return Err(refusal(
                    layer.own_name(),
                    "is a `Reshape` to something else than a map",
                ));
            }
        };
        let sizes: Vec<f32> = std::iter::once(0.0).chain(sizes.into_iter().flatten()).collect();
        let count = sizes.len();
        let x = self.channels_last(layer, x);
        let shape = format!("{} shape", layer.name);
        let shape = self.constant(&shape, Constant::of_numbers(&sizes, vec![count]));
        let output = self.node(layer, "Reshape", &[&x, &shape], |node| node);
        if kind == Kind::Vector {
            return Ok(Value { kind, ..output });
        }
        let order = [0, 3, 1, 2];
        let map = self.node(layer, "Transpose", &[&output], |node| node.with_ints("perm", &order));
        Ok(Value { kind, ..map })
    }

    /// Adds arithmetic with numbers.
    pub(super) fn by(
        &mut self,
        layer: &Described<'_>,
        operator: &str,
        x: Value,
        by: Vec<f32>,
    ) -> Value {
        let by = self.numbers(layer, &x, by);
        self.node(layer, operator, &[&x, &by], |node| node)
    }

    /// Adds a constant: one number, or one for each channel.
    pub(super) fn numbers(&mut self, layer: &Described<'_>, x: &Value, numbers: Vec<f32>) -> Value {
        let count = numbers.len();
        let dims = match (count, x.kind) {
            (1, _) => vec![],
            (_, Kind::Map) => vec![1, count, 1, 1],
            _ => vec![count],
        };
        let name = format!("{} number", layer.name);
        self.constant(&name, Constant::of_numbers(&numbers, dims))
    }

    /// Adds arithmetic of two or more values, some of which may be numbers.
    pub(super) fn arithmetic(
        &mut self,
        layer: &Described<'_>,
        arguments: &[Argument],
    ) -> Result<Value, String> {
        let operator = match layer.class {
            "Add" => "Add",
            "Subtract" => "Sub",
            "Multiply" => "Mul",
            _ => "Div",
        };
        let kind = values_of(arguments).first().map_or(Kind::Map, |value| value.kind);
        let like = Value { name: String::new(), kind };
        let mut operands = Vec::new();
        for argument in arguments {
            match argument {
                Argument::Value(value) => operands.push(value.clone()),
                Argument::Numbers(by) => operands.push(self.numbers(layer, &like, by.clone())),
                Argument::Other(Json::Null) => {}
                Argument::Other(_) => {
                    let what = format!("is a `{}` of something else than numbers", layer.class);
                    return Err(refusal(layer.own_name(), &what));
                }
            }
        }
        let mut operands = operands.into_iter();
        let Some(mut value) = operands.next() else {
            return Err(refusal(layer.own_name(), "has no inputs"));
        };
        for operand in operands {
            value = self.node(layer, operator, &[&value, &operand], |node| node);
        }
        Ok(Value { kind, ..value })
    }

    /// Adds the first value and the scaled second one.
    pub(super) fn scaled_sum(
        &mut self,
        layer: &Described<'_>,
        arguments: &[Argument],
        scale: &Json,
    ) -> Result<Value, String> {
        let values: Vec<Value> = values_of(arguments).into_iter().cloned().collect();
        let ([x, residual], Some(scale)) = (&values[..], numbers(scale)) else {
            return Err(refusal(
                layer.own_name(),
                &format!("is a `{}` of a single value", layer.class),
            ));
        };
        let residual = self.by(layer, "Mul", residual.clone(), scale);
        Ok(self.node(layer, "Add", &[x, &residual], |node| node))
    }

    pub(super) fn normalized(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        if layer.config["invert"] == true {
            return Err(refusal(layer.own_name(), "is a `Normalization` backwards"));
        }
        let weights = self.layers.get(layer.own_name()).copied();
        let find = |name: &str, role: Role| match numbers(&layer.config[name]) {
            Some(numbers) => Some(numbers),
            None => weights?.values(&role),
        };
        let (Some(mean), Some(variance)) =
            (find("mean", Role::Mean), find("variance", Role::Variance))
        else {
            let what = "is a `Normalization` whose mean and variance are not in the file";
            return Err(refusal(layer.own_name(), what));
        };
        let std = variance.into_iter().map(|variance| variance.sqrt().max(1e-7)).collect();
        let centered = self.by(layer, "Sub", x, mean);
        Ok(self.by(layer, "Div", centered, std))
    }

    /// Selects one channel of a map, or reverses all of them.
    pub(super) fn item(
        &mut self,
        layer: &Described<'_>,
        x: Value,
        arguments: &[Argument],
    ) -> Result<Value, String> {
        let index = arguments.iter().find_map(|argument| match argument {
            Argument::Other(index) => index.as_array().or_else(|| index["slice_spec"].as_array()),
            _ => None,
        });
        let last = index.and_then(|index| index.last()).cloned().unwrap_or_default();
        // The other axes come first.
        let others = index.map_or(&[][..], |index| &index[..index.len().saturating_sub(1)]);
        let is_whole = |one: &Json| {
            let text = one.to_string();
            text.contains("llipsis")
                || [&one["config"], one].iter().any(|part| {
                    ["start", "stop", "step"].iter().all(|name| {
                        part.get(*name).is_some_and(|bound| bound.is_null() || *bound == "None")
                    })
                })
        };
        let step = [&last["config"]["step"], &last["step"]].into_iter().find_map(Json::as_i64);
        let (numbers, dims, kind) = match (last.as_f64(), step) {
            (Some(channel), _) => (vec![channel as f32], vec![], Kind::Plane),
            (None, Some(-1)) => (vec![2.0, 1.0, 0.0], vec![3], Kind::Map),
            _ => return Err(refusal(layer.own_name(), "takes parts of a map")),
        };
        if x.kind != Kind::Map || others.is_empty() || !others.iter().all(is_whole) {
            return Err(refusal(layer.own_name(), "takes parts of a map"));
        }
        let name = format!("{} channels", layer.name);
        let indices = self.constant(&name, Constant::of_numbers(&numbers, dims));
        let axis = |node: Node| node.with_int("axis", 1);
        Ok(Value { kind, ..self.node(layer, "Gather", &[&x, &indices], axis) })
    }

    /// Adds a function of TensorFlow that a network calls between its layers.
    pub(super) fn function(
        &mut self,
        layer: &Described<'_>,
        arguments: &[Argument],
    ) -> Result<Value, String> {
        let function = layer.config["function"].as_str().unwrap_or_default();
        let class = match function {
            "cast" => "Cast",
            "math.add" | "__operators__.add" | "nn.bias_add" => "Add",
            "math.subtract" => "Subtract",
            "math.multiply" => "Multiply",
            "math.truediv" | "math.divide" => "TrueDivide",
            _ => return Err(refusal(layer.own_name(), &format!("is a call of `tf.{function}`"))),
        };
        let values = values_of(arguments).into_iter().cloned().map(Argument::Value);
        let mut operands: Vec<Argument> = values.collect();
        if class == "Cast" {
            let Some(Argument::Value(value)) = operands.into_iter().next() else {
                return Err(refusal(layer.own_name(), "has no inputs"));
            };
            return Ok(value);
        }
        let by = arguments.iter().find_map(|argument| match argument {
            Argument::Other(keywords) => {
                ["y", "bias"].iter().find_map(|name| numbers(&keywords[*name]))
            }
            _ => None,
        });
        operands.extend(by.map(Argument::Numbers));
        if operands.len() != 2 {
            return Err(refusal(layer.own_name(), &format!("is a call of `tf.{function}`")));
        }
        self.arithmetic(&Described { class, ..*layer }, &operands)
    }
}
