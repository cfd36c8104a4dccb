//! What a network computes, as its configuration tells: a graph of ONNX's operators.
//!
//! Maps are channels by height by width here, as in the networks that weights are loaded into, so
//! kernels are transposed as the checkpoint's are. What comes out of `Flatten` is in Keras's order.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value as Json;

use super::layers::{Layer, Role};
use crate::onnx::{Constant, Graph, Node};

/// The network of a configuration with its weights.
///
/// Nothing where the configuration does not say how layers are connected, as that of a network that
/// is a Python class. What can't be computed here is the graph's refusal.
pub(super) fn graph(config: &Json, layers: &[Layer]) -> Option<Graph> {
    if !is_network(config) || !is_connected(config) {
        return None;
    }
    let mut builder = Builder {
        layers: layers.iter().map(|layer| (layer.name.as_str(), layer)).collect(),
        nodes: Vec::new(),
        constants: HashMap::new(),
        names: BTreeSet::new(),
        shape: vec![None; 4],
    };
    let images = Value { name: "images".to_owned(), kind: Kind::Map };
    let (output, refusal) = match builder.network(config, images) {
        Ok(output) => (output.name, None),
        Err(refusal) => (String::new(), Some(refusal)),
    };
    let Builder { nodes, constants, shape, .. } = builder;
    Some(Graph::of_keras(nodes, constants, ("images".to_owned(), shape), output, refusal))
}

/// Whether a layer consists of layers.
fn is_network(layer: &Json) -> bool {
    layer["class_name"].is_string() && !members(layer).is_empty()
}

/// The layers of a network; before Keras 2.3 a sequence is nothing but a list of them.
fn members(network: &Json) -> &[Json] {
    let config = &network["config"];
    let layers = config["layers"].as_array().or_else(|| config.as_array());
    layers.map_or(&[], Vec::as_slice)
}

fn is_sequence(network: &Json) -> bool {
    network["class_name"] == "Sequential" || network["config"]["output_layers"].is_null()
}

/// Whether it is known what feeds what.
fn is_connected(network: &Json) -> bool {
    network["class_name"] == "Sequential" || !network["config"]["output_layers"].is_null()
}

/// Layers that do nothing once a network is trained.
const ABSENT: [&str; 12] = [
    "Dropout",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
    "RandAugment",
    "AugMix",
    "CutMix",
    "MixUp",
    "Cast",
];

/// A value between layers.
#[derive(Debug, Clone)]
struct Value {
    name: String,
    kind: Kind,
}

/// What the dimensions of a value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Batch, channels, height, width.
    Map,
    /// Batch, height, width.
    Plane,
    /// Batch, features.
    Vector,
}

/// What a layer is called with.
#[derive(Debug, Clone)]
enum Argument {
    Value(Value),
    /// A number, or one for each channel.
    Numbers(Vec<f32>),
    Other(Json),
}

struct Builder<'a> {
    layers: HashMap<&'a str, &'a Layer>,
    nodes: Vec<Node>,
    constants: HashMap<String, Constant>,
    /// The names of values that are taken.
    names: BTreeSet<String>,
    /// The sizes of the images.
    shape: Vec<Option<usize>>,
}

/// Where a value is made: the layer, which call of it, and which of its outputs.
type Place = (String, u64, u64);

impl Builder<'_> {
    fn network(&mut self, network: &Json, images: Value) -> Result<Value, String> {
        if is_sequence(network) {
            let mut value = images;
            for layer in members(network) {
                value = self.layer(layer, &[Argument::Value(value)])?;
            }
            return Ok(value);
        }
        let config = &network["config"];
        let ([_], [output]) =
            (&places(&config["input_layers"])[..], &places(&config["output_layers"])[..])
        else {
            return Err(
                "it has several inputs or outputs\nhint: save the part that turns one image \
                        into one row of logits"
                    .to_owned(),
            );
        };
        let mut values: HashMap<Place, Value> = HashMap::new();
        let mut open: Vec<(&Json, u64, &Json)> = Vec::new();
        for layer in members(network) {
            if layer["class_name"] == "InputLayer" {
                let value = self.layer(layer, &[Argument::Value(images.clone())])?;
                values.insert((name(layer), 0, 0), value);
            } else {
                let calls = layer["inbound_nodes"].as_array().into_iter().flatten();
                open.extend((0..).zip(calls).map(|(index, call)| (layer, index, call)));
            }
        }
        // They are mostly listed in the order of computation.
        while !open.is_empty() {
            let before = open.len();
            let mut later = Vec::new();
            for (layer, index, call) in open {
                match arguments(call, &values) {
                    Some(arguments) => {
                        let value = self.layer(layer, &arguments)?;
                        values.insert((name(layer), index, 0), value);
                    }
                    None => later.push((layer, index, call)),
                }
            }
            if later.len() == before {
                break;
            }
            open = later;
        }
        let output = values.remove(output);
        output.ok_or_else(|| {
            "its configuration does not say where its output comes from\nhint: \
                              save it again in Keras"
                .to_owned()
        })
    }

    /// Adds what a layer does.
    ///
    /// # Errors
    ///
    /// What of it is not computed here.
    fn layer(&mut self, layer: &Json, arguments: &[Argument]) -> Result<Value, String> {
        let class = layer["class_name"].as_str().unwrap_or_default();
        let refused = |what: &str| refusal(&name(layer), what);
        let config = &layer["config"];
        let Some(Argument::Value(x)) =
            arguments.iter().find(|one| matches!(one, Argument::Value(_)))
        else {
            return Err(refused(&format!("is a `{class}` of no other layer's output")));
        };
        let x = x.clone();
        if is_network(layer) {
            return self.network(layer, x);
        }
        if config["data_format"] == "channels_first" {
            return Err(refused("has its channels first"));
        }
        if class == "InputLayer" || !self.has_layers() {
            self.note_size(class, config);
        }
        let name = self.unique(&name(layer));
        let layer = Described { name: &name, class, config };
        match class {
            "InputLayer" => Ok(x),
            _ if ABSENT.contains(&class) => Ok(x),
            "Resizing" | "CenterCrop" | "RandomCrop" if !self.has_layers() => Ok(x),
            "RandomCrop" => Err(refused("is a `RandomCrop`")),
            _ if class.starts_with("Random") => Ok(x),
            "Conv2D" | "Convolution2D" => self.conv(&layer, x, Role::Kernel, Role::Bias),
            "DepthwiseConv2D" => self.conv(&layer, x, Role::DepthwiseKernel, Role::Bias),
            "SeparableConv2D" | "SeparableConvolution2D" => self.separable(&layer, x),
            "BatchNormalization" => self.norm(&layer, x),
            "Dense" => self.dense(&layer, x),
            "Activation" => {
                let activation = &config["activation"];
                self.activated(&layer, x, activation)
            }
            "ReLU" => self.relu(&layer, x),
            "LeakyReLU" => {
                let slope = [&config["negative_slope"], &config["alpha"]];
                let slope = slope.into_iter().find_map(Json::as_f64).unwrap_or(0.3);
                Ok(self.node(&layer, "LeakyRelu", &[&x], |node| node.with_float("alpha", slope)))
            }
            "Softmax" => self.activated(&layer, x, &Json::from("softmax")),
            "ZeroPadding2D" => self.padded(&layer, x, 1),
            "Cropping2D" => self.padded(&layer, x, -1),
            "MaxPooling2D" | "AveragePooling2D" => self.pooled(&layer, x),
            "GlobalAveragePooling2D" if x.kind == Kind::Map => {
                let mean = self.node(&layer, "GlobalAveragePool", &[&x], |node| node);
                match config["keepdims"].as_bool() {
                    Some(true) => Ok(mean),
                    _ => Ok(self.flattened(&layer, mean)),
                }
            }
            "GlobalMaxPooling2D" => Err(format!(
                "its layer `{name}` takes the maximum of each map, where all models here take the \
                 mean\nhint: train it with GlobalAveragePooling2D, or save the layers before it alone, to \
                 fine-tune them here"
            )),
            "Flatten" => Ok(self.flattened(&layer, x)),
            "Reshape" => self.reshaped(&layer, x),
            "Concatenate" if is_last(&config["axis"], x.kind) => {
                let parts = values_of(arguments);
                Ok(self.node(&layer, "Concat", &parts, |node| node.with_int("axis", 1)))
            }
            "Add" | "Subtract" | "Multiply" | "TrueDivide" | "Divide" => {
                self.arithmetic(&layer, arguments)
            }
            "CustomScaleLayer" => self.scaled_sum(&layer, arguments, &config["scale"]),
            // Inception-ResNet as Keras 2 has it.
            "Lambda" if !config["arguments"]["scale"].is_null() => {
                self.scaled_sum(&layer, arguments, &config["arguments"]["scale"])
            }
            "Rescaling" => {
                let scale = numbers(&config["scale"]).unwrap_or_else(|| vec![1.0]);
                let offset = numbers(&config["offset"]).unwrap_or_else(|| vec![0.0]);
                let scaled = self.by(&layer, "Mul", x, scale);
                Ok(self.by(&layer, "Add", scaled, offset))
            }
            "Normalization" => self.normalized(&layer, x),
            "GetItem" => self.item(&layer, x, arguments),
            "SlicingOpLambda" => self.item(&layer, x, arguments),
            "Stack" if config["axis"] == -1 => {
                let planes = values_of(arguments);
                if planes.iter().any(|plane| plane.kind != Kind::Plane) {
                    return Err(refused("is a `Stack` of something else than channels"));
                }
                let channels: Vec<Value> = planes
                    .into_iter()
                    .map(|plane| {
                        let axes = |node: Node| node.with_ints("axes", &[1]);
                        Value { kind: Kind::Map, ..self.node(&layer, "Unsqueeze", &[plane], axes) }
                    })
                    .collect();
                let channels: Vec<&Value> = channels.iter().collect();
                Ok(self.node(&layer, "Concat", &channels, |node| node.with_int("axis", 1)))
            }
            "TFOpLambda" => self.function(&layer, arguments),
            "Lambda" => Err(refused("is a `Lambda`, which is a program")),
            _ => Err(refused(&format!("is a `{class}`"))),
        }
    }

    /// Whether a layer with weights was met.
    fn has_layers(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.operator(), "Conv" | "MatMul"))
    }

    /// Notes the size of the images that a layer at the beginning says.
    fn note_size(&mut self, class: &str, config: &Json) {
        let sizes = match class {
            "InputLayer" | "Resizing" | "CenterCrop" | "RandomCrop" => {
                let shape = [&config["batch_shape"], &config["batch_input_shape"]];
                shape.into_iter().find_map(Json::as_array)
            }
            _ => config["batch_input_shape"].as_array(),
        };
        let size = |json: &Json| json.as_u64().and_then(|size| usize::try_from(size).ok());
        if let Some([_, height, width, channels]) = sizes.map(Vec::as_slice) {
            if self.shape.iter().all(Option::is_none) {
                self.shape = vec![None, size(channels), size(height), size(width)];
            }
        } else if let (Some(height), Some(width)) =
            (size(&config["height"]), size(&config["width"]))
        {
            self.shape[2..].copy_from_slice(&[Some(height), Some(width)]);
        }
    }

    fn unique(&mut self, name: &str) -> String {
        let names = (2..).map(|number| format!("{name} {number}"));
        let mut names = std::iter::once(name.to_owned()).chain(names);
        let name = names.find(|name| !self.names.contains(name)).unwrap_or_default();
        self.names.insert(name.clone());
        name
    }

    /// Adds a node of a layer.
    fn node(
        &mut self,
        layer: &Described<'_>,
        operator: &str,
        inputs: &[&Value],
        attributes: impl FnOnce(Node) -> Node,
    ) -> Value {
        let kind = inputs.first().map_or(Kind::Map, |input| input.kind);
        let names = inputs.iter().map(|input| input.name.clone()).collect();
        let output = self.unique(&format!("{} {operator}", layer.name));
        self.nodes.push(attributes(Node::new(layer.name, operator, names, &output)));
        Value { name: output, kind }
    }

    fn constant(&mut self, name: &str, constant: Constant) -> Value {
        let name = self.unique(name);
        self.constants.insert(name.clone(), constant);
        Value { name, kind: Kind::Vector }
    }

    /// One of a layer's weights; nothing where it has none such.
    fn weight(&mut self, layer: &Described<'_>, role: &Role) -> Option<(Value, Vec<usize>)> {
        let weights = self.layers.get(layer.own_name())?;
        let tensor = weights.constant(role, layer.class == "DepthwiseConv2D")?;
        let dims = tensor.shape.to_vec();
        let key = tensor.name.clone();
        Some((self.constant(&key, Constant::of(tensor)), dims))
    }

    fn needed(
        &mut self,
        layer: &Described<'_>,
        role: &Role,
    ) -> Result<(Value, Vec<usize>), String> {
        self.weight(layer, role).ok_or_else(|| {
            let class = layer.class;
            refusal(layer.own_name(), &format!("is a `{class}` whose weights are not in the file"))
        })
    }

    fn conv(
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

    fn multiplier(&self, layer: &Described<'_>) -> u64 {
        layer.config["depth_multiplier"].as_u64().unwrap_or(1).max(1)
    }

    /// A depthwise convolution and a pointwise one, with nothing between.
    fn separable(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
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

    fn norm(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
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

    fn dense(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
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

    fn activated(
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

    fn clipped(&mut self, layer: &Described<'_>, x: Value, max: f64) -> Value {
        self.node(layer, "Clip", &[&x], |node| node.with_float("min", 0.0).with_float("max", max))
    }

    fn relu(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
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

    /// Zeros around a map, or what is cut off it.
    fn padded(&mut self, layer: &Described<'_>, x: Value, sign: i64) -> Result<Value, String> {
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

    fn pooled(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
        let size = pair(&layer.config["pool_size"]).unwrap_or([2, 2]);
        let window = layer.window(&["strides"])?;
        let is_strided = !layer.config["strides"].is_null();
        let operator = if layer.class == "MaxPooling2D" { "MaxPool" } else { "AveragePool" };
        Ok(self.node(layer, operator, &[&x], |node| {
            let node = window(node).with_ints("kernel_shape", &size);
            if is_strided { node } else { node.with_ints("strides", &size) }
        }))
    }

    /// A map in Keras's order: the channels of each pixel together.
    fn channels_last(&mut self, layer: &Described<'_>, x: Value) -> Value {
        match x.kind {
            Kind::Map => {
                self.node(layer, "Transpose", &[&x], |node| node.with_ints("perm", &[0, 2, 3, 1]))
            }
            _ => x,
        }
    }

    fn flattened(&mut self, layer: &Described<'_>, x: Value) -> Value {
        let x = self.channels_last(layer, x);
        let flat = self.node(layer, "Flatten", &[&x], |node| node.with_int("axis", 1));
        Value { kind: Kind::Vector, ..flat }
    }

    fn reshaped(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
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

    /// Arithmetic with numbers.
    fn by(&mut self, layer: &Described<'_>, operator: &str, x: Value, by: Vec<f32>) -> Value {
        let by = self.numbers(layer, &x, by);
        self.node(layer, operator, &[&x, &by], |node| node)
    }

    /// A number, or one for each channel.
    fn numbers(&mut self, layer: &Described<'_>, x: &Value, numbers: Vec<f32>) -> Value {
        let count = numbers.len();
        let dims = match (count, x.kind) {
            (1, _) => vec![],
            (_, Kind::Map) => vec![1, count, 1, 1],
            _ => vec![count],
        };
        let name = format!("{} number", layer.name);
        self.constant(&name, Constant::of_numbers(&numbers, dims))
    }

    /// Arithmetic of two or more values, some of which may be numbers.
    fn arithmetic(
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

    /// The first value and a part of the second.
    fn scaled_sum(
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

    fn normalized(&mut self, layer: &Described<'_>, x: Value) -> Result<Value, String> {
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
        let centred = self.by(layer, "Sub", x, mean);
        Ok(self.by(layer, "Div", centred, std))
    }

    /// One channel of a map, or all of them in the opposite order.
    fn item(
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
        // What is left as it is comes before.
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

    /// A function of TensorFlow that a network calls between its layers.
    fn function(&mut self, layer: &Described<'_>, arguments: &[Argument]) -> Result<Value, String> {
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

/// A layer of the configuration.
#[derive(Clone, Copy)]
struct Described<'c> {
    /// Its name, and a number where it is called more than once.
    name: &'c str,
    class: &'c str,
    config: &'c Json,
}

impl<'c> Described<'c> {
    fn own_name(&self) -> &'c str {
        self.config["name"].as_str().unwrap_or(self.name)
    }

    /// What strides and padding make of a node.
    fn window(&self, strides: &[&str]) -> Result<impl FnOnce(Node) -> Node, String> {
        let strides = strides.iter().find_map(|name| pair(&self.config[*name]));
        let border = [&self.config["padding"], &self.config["border_mode"]];
        let padding = match border.into_iter().find_map(Json::as_str) {
            Some("same") => "SAME_UPPER",
            Some("valid") | None => "VALID",
            Some(other) => {
                return Err(refusal(self.own_name(), &format!("has the padding `{other}`")));
            }
        };
        Ok(move |node: Node| {
            node.with_ints("strides", &strides.unwrap_or([1, 1])).with_string("auto_pad", padding)
        })
    }
}

fn refusal(layer: &str, what: &str) -> String {
    format!(
        "its layer `{layer}` {what}, unlike any layer of the models here\nhint: import a network of \
         `keras.applications` with one Dense layer on the mean of its maps"
    )
}

fn name(layer: &Json) -> String {
    let names = [&layer["name"], &layer["config"]["name"]];
    names.into_iter().find_map(Json::as_str).unwrap_or_default().to_owned()
}

fn values_of(arguments: &[Argument]) -> Vec<&Value> {
    let mut values = Vec::new();
    for argument in arguments {
        if let Argument::Value(value) = argument {
            values.push(value);
        }
    }
    values
}

/// Whether an axis is that of the channels.
fn is_last(axis: &Json, kind: Kind) -> bool {
    let last = if kind == Kind::Map { 3 } else { 1 };
    let axis = axis.as_array().map_or(axis, |axes| axes.first().unwrap_or(&Json::Null));
    axis.as_i64().is_none_or(|axis| axis == -1 || axis == last)
}

fn pair(json: &Json) -> Option<[i64; 2]> {
    match json {
        Json::Array(two) => match &two[..] {
            [one, other] => Some([one.as_i64()?, other.as_i64()?]),
            [one] => Some([one.as_i64()?; 2]),
            _ => None,
        },
        one => one.as_i64().map(|one| [one; 2]),
    }
}

/// A number, or a list of some, however deep in lists of one.
fn numbers(json: &Json) -> Option<Vec<f32>> {
    match json {
        Json::Number(number) => Some(vec![number.as_f64()? as f32]),
        Json::Array(list) => {
            let parts: Option<Vec<Vec<f32>>> = list.iter().map(numbers).collect();
            Some(parts?.concat()).filter(|numbers| !numbers.is_empty())
        }
        Json::Object(_) => numbers(json.get("config")?.get("value")?),
        _ => None,
    }
}

/// The places in a list of them, or a single one.
fn places(json: &Json) -> Vec<Place> {
    match place(json) {
        Some(place) => vec![place],
        None => json.as_array().into_iter().flatten().filter_map(place).collect(),
    }
}

fn place(json: &Json) -> Option<Place> {
    match json.as_array()?.as_slice() {
        [layer, call, output, ..] => {
            Some((layer.as_str()?.to_owned(), call.as_u64()?, output.as_u64()?))
        }
        _ => None,
    }
}

/// What a layer is called with, if all of that is known.
fn arguments(call: &Json, values: &HashMap<Place, Value>) -> Option<Vec<Argument>> {
    let mut arguments = Vec::new();
    match call {
        // Keras 3.
        Json::Object(_) => {
            for one in call["args"].as_array().into_iter().flatten() {
                collect(one, values, &mut arguments)?;
            }
            for one in call["kwargs"].as_object().into_iter().flat_map(|words| words.values()) {
                if one.to_string().contains("keras_history") {
                    collect(one, values, &mut arguments)?;
                }
            }
        }
        // Keras 2: where each value comes from, and behind it what else the layer is told.
        _ => {
            let single = place(call).is_some().then(|| std::slice::from_ref(call));
            for one in single.or_else(|| call.as_array().map(Vec::as_slice))? {
                arguments.push(Argument::Value(values.get(&place(one)?)?.clone()));
                arguments.extend(one.get(3).cloned().map(Argument::Other));
            }
            // Where it is told nothing, that is an empty object.
            arguments.retain(
                |one| !matches!(one, Argument::Other(Json::Object(words)) if words.is_empty()),
            );
        }
    }
    Some(arguments)
}

fn collect(
    one: &Json,
    values: &HashMap<Place, Value>,
    arguments: &mut Vec<Argument>,
) -> Option<()> {
    if one["class_name"] == "__keras_tensor__" {
        let place = place(&one["config"]["keras_history"])?;
        arguments.push(Argument::Value(values.get(&place)?.clone()));
    } else if let (Some(list), true) = (one.as_array(), one.to_string().contains("keras_history")) {
        for part in list {
            collect(part, values, arguments)?;
        }
    } else if let Some(numbers) = numbers(one) {
        arguments.push(Argument::Numbers(numbers));
    } else {
        arguments.push(Argument::Other(one.clone()));
    }
    Some(())
}
