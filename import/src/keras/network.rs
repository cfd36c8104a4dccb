//! The computation of a network from its Keras configuration, as a graph of ONNX's operators.
//!
//! Maps have the order channels × height × width here, as in the zoo's networks, so kernels are
//! transposed as in the checkpoint. The output of `Flatten` has Keras's order.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::config::{
    Argument, Described, Kind, Origin, Value, arguments, indices, is_connected, is_last,
    is_network, is_sequence, members, name, numbers, origins, refusal, values_of,
};
use super::layers::{Layer, Role};
use crate::onnx::{Constant, Graph, Node};

/// Builds the graph of a configuration and its weights.
///
/// Returns `None` if the configuration does not state the connections between layers, as for a
/// network that is a Python class. A layer that is not supported becomes the graph's refusal.
pub(super) fn graph(config: &Json, layers: &[Layer]) -> Option<Graph> {
    if !is_network(config) || !is_connected(config) {
        return None;
    }
    let mut builder = Builder {
        layers: layers.iter().map(|layer| (layer.name.as_str(), layer)).collect(),
        nodes: Vec::new(),
        constants: HashMap::new(),
        names: HashMap::new(),
        looks: 0,
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

/// The largest number of layers.
const MANY: usize = 1 << 16;

/// Layers without effect in inference.
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

pub(super) struct Builder<'a> {
    pub(super) layers: HashMap<&'a str, &'a Layer>,
    nodes: Vec<Node>,
    constants: HashMap<String, Constant>,
    /// The names of values, and how often each was requested.
    names: HashMap<String, usize>,
    /// Number of layers that were visited.
    looks: usize,
    /// The sizes of the images.
    shape: Vec<Option<usize>>,
}

impl Builder<'_> {
    fn network(&mut self, network: &Json, images: Value) -> Result<Value, String> {
        if is_sequence(network) {
            let mut value = images;
            for layer in members(network) {
                self.look()?;
                value = self.layer(layer, &[Argument::Value(value)])?;
            }
            return Ok(value);
        }
        let config = &network["config"];
        let ([_], [output]) =
            (&origins(&config["input_layers"])[..], &origins(&config["output_layers"])[..])
        else {
            return Err(
                "it has several inputs or outputs\nhint: save the part that turns one image \
                        into one row of logits"
                    .to_owned(),
            );
        };
        let mut values: HashMap<Origin, Value> = HashMap::new();
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
        // They are usually in the order of computation.
        while !open.is_empty() {
            let before = open.len();
            let mut later = Vec::new();
            for (layer, index, call) in open {
                self.look()?;
                match arguments(call, &values) {
                    Some(arguments) => {
                        let value = self.layer(layer, &arguments)?;
                        for index in indices(layer, index) {
                            values.insert((name(layer), index, 0), value.clone());
                        }
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

    /// Counts a visit. Nested networks may be called repeatedly.
    fn look(&mut self) -> Result<(), String> {
        self.looks += 1;
        if self.looks <= MANY {
            return Ok(());
        }
        Err("it has more layers than any network\nhint: save it again in Keras".to_owned())
    }

    /// Adds the operators of a layer.
    ///
    /// # Errors
    ///
    /// When a part of the layer is not supported.
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
            // Inception-ResNet in Keras 2.
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
            _ => Err(refused(&format!("is of the class `{class}`"))),
        }
    }

    /// Whether there was a layer with weights.
    fn has_layers(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.operator(), "Conv" | "MatMul"))
    }

    /// Sets the size of the images from an input layer.
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
        loop {
            let wanted = self.names.entry(name.to_owned()).or_default();
            *wanted += 1;
            if *wanted == 1 {
                return name.to_owned();
            }
            let name = format!("{name} {wanted}");
            if !self.names.contains_key(&name) {
                self.names.insert(name.clone(), 1);
                return name;
            }
        }
    }

    /// Adds a node of a layer.
    pub(super) fn node(
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

    pub(super) fn constant(&mut self, name: &str, constant: Constant) -> Value {
        let name = self.unique(name);
        self.constants.insert(name.clone(), constant);
        Value { name, kind: Kind::Vector }
    }

    /// Adds a weight of a layer as a constant. Returns `None` if the layer does not have it.
    pub(super) fn weight(
        &mut self,
        layer: &Described<'_>,
        role: &Role,
    ) -> Option<(Value, Vec<usize>)> {
        let weights = self.layers.get(layer.own_name())?;
        let tensor = weights.constant(role, layer.class == "DepthwiseConv2D")?;
        let dims = tensor.shape.to_vec();
        let key = tensor.name.clone();
        Some((self.constant(&key, Constant::of(tensor)), dims))
    }

    pub(super) fn needed(
        &mut self,
        layer: &Described<'_>,
        role: &Role,
    ) -> Result<(Value, Vec<usize>), String> {
        self.weight(layer, role).ok_or_else(|| {
            let class = layer.class;
            refusal(layer.own_name(), &format!("is a `{class}` whose weights are not in the file"))
        })
    }
}
