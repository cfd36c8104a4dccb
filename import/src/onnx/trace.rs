//! The layers of an ONNX graph.

use std::collections::HashMap;

use super::constant::Constant;
use super::graph::{Graph, axis};
use super::layers::{Flow, Form, Kind, Layers, Tracer};
use super::node::Node;

/// The weights of a layer in a graph.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// The kernel or the matrix; a single BatchNorm has none.
    pub(super) kernel: Option<Constant>,
    /// Whether the matrix is `[inputs, outputs]` instead of `[outputs, inputs]`.
    pub(super) is_transposed: bool,
    /// Number of channels of the map that was flattened with its channels last.
    pub(super) flattened: Option<usize>,
    pub(super) bias: Option<Constant>,
    /// The scales after the layer, in order.
    pub(super) scales: Vec<Scale>,
}

/// A linear function of each channel.
#[derive(Debug, Clone)]
pub(super) enum Scale {
    Norm(Box<Norm>),
    Add(Constant),
    Sub(Constant),
    Mul(Constant),
    Div(Constant),
}

/// A trained BatchNorm.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    pub(super) gamma: Constant,
    pub(super) beta: Constant,
    pub(super) mean: Constant,
    pub(super) variance: Constant,
    pub(super) epsilon: f32,
}

/// The largest number of layers, so that an artificial graph does not take long.
const MANY: usize = 4096;

impl Graph {
    /// Returns the layers that the first output depends on.
    pub(super) fn layers(&self) -> Layers<Weights> {
        let mut uses: HashMap<&str, usize> = HashMap::new();
        let outputs = self.outputs.iter();
        for name in self.nodes.iter().flat_map(|node| &node.inputs).chain(outputs) {
            *uses.entry(name).or_default() += 1;
        }
        let mut trace = Trace { graph: self, uses, tracer: Tracer::new() };
        for (name, _) in &self.inputs {
            trace.tracer.image(name.clone(), None);
        }
        if let Some(preparation) = &self.preparation {
            trace.tracer.image(preparation.output.clone(), None);
        }
        for node in self.nodes.iter().filter(|node| !self.is_preparation(node)) {
            if trace.tracer.layers.len() < MANY && trace.note(node).is_none() {
                trace.pass(node);
            }
        }
        let output = self.outputs.first().cloned().unwrap_or_default();
        trace.tracer.finish(&output)
    }
}

struct Trace<'g> {
    graph: &'g Graph,
    /// Number of uses of each value.
    uses: HashMap<&'g str, usize>,
    tracer: Tracer<String, Weights>,
}

impl Trace<'_> {
    fn constant(&self, node: &Node, index: usize) -> Option<&Constant> {
        self.graph.constants.get(node.input(index)?)
    }

    fn numbers(&self, node: &Node, attribute: &str, index: usize) -> Option<Vec<i64>> {
        if let Some(values) = node.ints(attribute) {
            return Some(values.to_vec());
        }
        self.constant(node, index)?.ints()
    }

    /// Adds a node that is a layer, a scale or a move of channels. Returns `None` for others.
    fn note(&mut self, node: &Node) -> Option<()> {
        match node.operator.as_str() {
            "Conv" | "ConvTranspose" => self.conv(node),
            "Gemm" => {
                let is_plain = node.int("transA", 0) == 0
                    && node.float("alpha", 1.0) == 1.0
                    && node.float("beta", 1.0) == 1.0;
                let bias = self.constant(node, 2).cloned();
                is_plain.then(|| self.dense(node, node.int("transB", 0) == 0, bias))?
            }
            "MatMul" => self.dense(node, true, None),
            "BatchNormalization" => self.norm(node),
            "Add" | "Sub" | "Mul" | "Div" => self.scale(node),
            // The output is the input.
            "Identity" | "Dropout" | "Cast" => {
                let flow = self.tracer.flow(&node.inputs.first()?.clone());
                let bare = flow.bare.filter(|_| self.is_used_once(&node.inputs[0]));
                self.tracer.set(node.outputs.first()?.clone(), Flow { bare, ..flow });
                Some(())
            }
            "Transpose" => {
                let flow = self.tracer.flow(&node.inputs.first()?.clone());
                let channels_last = match node.ints("perm")? {
                    [0, 2, 3, 1] => true,
                    [0, 3, 1, 2] => false,
                    _ => return None,
                };
                let bare = flow.bare.filter(|_| self.is_used_once(&node.inputs[0]));
                let flow = Flow { bare, channels_last, ..flow };
                self.tracer.set(node.outputs.first()?.clone(), flow);
                Some(())
            }
            "Concat" => {
                let channels = |name: &String| {
                    self.graph.constants.get(name).and_then(|zeros| zeros.dims.get(1).copied())
                };
                let parts: Vec<_> =
                    node.inputs.iter().map(|name| (name.clone(), channels(name))).collect();
                self.tracer.concat(&parts, node.outputs.first()?.clone());
                Some(())
            }
            "Split" => self.split(node),
            "Slice" => self.slice(node),
            "Pad" => self.pad(node),
            "AveragePool" | "MaxPool" => self.step(node),
            _ => None,
        }
    }

    fn conv(&mut self, node: &Node) -> Option<()> {
        let kernel = self.constant(node, 1)?.clone();
        let shape: [usize; 4] = kernel.dims.as_slice().try_into().ok()?;
        let mut stride = node.pair("strides", 1)?;
        // A pool of one pixel only strides, so the strides are multiplied.
        if let (Some(step), [_, _, 1, 1]) = (self.tracer.flow(node.inputs.first()?).step, shape) {
            stride = [0, 1].map(|axis| stride[axis].saturating_mul(step[axis]));
        }
        let form = Form {
            kind: if node.operator == "Conv" { Kind::Conv } else { Kind::ConvTranspose },
            shape,
            stride,
            dilation: node.pair("dilations", 1)?,
            groups: usize::try_from(node.int("group", 1)).ok()?,
        };
        let bias = self.constant(node, 2).cloned();
        let weights = Weights {
            kernel: Some(kernel),
            is_transposed: false,
            flattened: None,
            bias,
            scales: Vec::new(),
        };
        self.layer(node, form, weights)
    }

    fn dense(&mut self, node: &Node, is_transposed: bool, bias: Option<Constant>) -> Option<()> {
        let kernel = self.constant(node, 1)?.clone();
        let &[mut outputs, mut inputs] = kernel.dims.as_slice() else {
            return None;
        };
        if is_transposed {
            std::mem::swap(&mut outputs, &mut inputs);
        }
        let flow = self.tracer.flow(&node.inputs[0]);
        let flattened = flow.channels.filter(|&channels| {
            flow.channels_last && channels > 0 && inputs > channels && inputs % channels == 0
        });
        let weights =
            Weights { kernel: Some(kernel), is_transposed, flattened, bias, scales: Vec::new() };
        self.layer(node, Form::dense(outputs, inputs), weights)
    }

    fn layer(&mut self, node: &Node, form: Form, weights: Weights) -> Option<()> {
        let output = node.outputs.first()?.clone();
        self.tracer.layer(&node.inputs[0], output, node.name.clone(), form, weights);
        Some(())
    }

    fn norm(&mut self, node: &Node) -> Option<()> {
        let [gamma, beta, mean, variance] =
            [1, 2, 3, 4].map(|index| self.constant(node, index).cloned());
        let gamma = gamma?;
        let channels = gamma.count();
        let epsilon = node.float("epsilon", 1e-5);
        let norm = Norm { gamma, beta: beta?, mean: mean?, variance: variance?, epsilon };
        let norm = Scale::Norm(Box::new(norm));
        self.scaled(node, 0, channels, norm.clone()).or_else(|| {
            let weights = Weights {
                kernel: None,
                is_transposed: false,
                flattened: None,
                bias: None,
                scales: vec![norm],
            };
            self.layer(node, Form::norm(channels), weights)
        })
    }

    /// Adds arithmetic with a number for each channel: a bias, or BatchNorm as arithmetic.
    fn scale(&mut self, node: &Node) -> Option<()> {
        let is_symmetric = matches!(node.operator.as_str(), "Add" | "Mul");
        let (input, constant) = match (self.constant(node, 0), self.constant(node, 1)) {
            (None, Some(constant)) => (0, constant.clone()),
            (Some(constant), None) if is_symmetric => (1, constant.clone()),
            _ => return None,
        };
        let channels = constant.count();
        // A single number belongs to an activation, unless there is a single channel.
        if channels < 2 && constant.dims.is_empty() {
            return None;
        }
        let scale = match node.operator.as_str() {
            "Add" => Scale::Add(constant),
            "Sub" => Scale::Sub(constant),
            "Mul" => Scale::Mul(constant),
            _ => Scale::Div(constant),
        };
        self.scaled(node, input, channels, scale)
    }

    /// Adds a scale to the layer before an input, unless another node uses its output, too.
    fn scaled(&mut self, node: &Node, input: usize, channels: usize, scale: Scale) -> Option<()> {
        let name = node.input(input)?.to_owned();
        let flow = self.tracer.flow(&name);
        let layer = &mut self.tracer.layers[flow.bare?];
        if !(self.uses.get(name.as_str()) == Some(&1) && layer.form.outputs() == channels) {
            return None;
        }
        layer.weights.scales.push(scale);
        self.tracer.set(node.outputs.first()?.clone(), flow);
        Some(())
    }

    fn is_used_once(&self, name: &str) -> bool {
        self.uses.get(name) == Some(&1)
    }

    /// Whether an axis is that of the channels of an image-shaped value.
    fn is_channels(index: i64, flow: &Flow) -> bool {
        let channels = if flow.channels_last { 3 } else { 1 };
        axis(index, 4) == Some(channels)
    }

    /// Adds a pool of one pixel.
    fn step(&mut self, node: &Node) -> Option<()> {
        let is_plain = node.pair("kernel_shape", 0) == Some([1; 2])
            && node.ints("pads").is_none_or(|pads| pads.iter().all(|&pad| pad == 0));
        let step = Some(node.pair("strides", 1).filter(|_| is_plain)?);
        let flow = self.tracer.flow(node.inputs.first()?);
        self.tracer.set(node.outputs.first()?.clone(), Flow { bare: None, step, ..flow });
        Some(())
    }

    fn split(&mut self, node: &Node) -> Option<()> {
        let name = node.inputs.first()?.clone();
        let flow = self.tracer.flow(&name);
        if !Self::is_channels(node.int("axis", 0), &flow) {
            return None;
        }
        let parts = node.outputs.len() as i64;
        let sizes = self.numbers(node, "split", 1).or_else(|| {
            let size = (flow.channels? as i64).checked_add(parts - 1)?.checked_div(parts)?;
            Some(vec![size; node.outputs.len()])
        })?;
        let mut start = 0_i64;
        for (output, size) in node.outputs.iter().zip(sizes) {
            self.tracer.slice(&name, output.clone(), start, usize::try_from(size).ok());
            start = start.saturating_add(size);
        }
        Some(())
    }

    fn slice(&mut self, node: &Node) -> Option<()> {
        let name = node.inputs.first()?.clone();
        let flow = self.tracer.flow(&name);
        let starts = self.numbers(node, "starts", 1)?;
        let ends = self.numbers(node, "ends", 2)?;
        let axes = self.numbers(node, "axes", 3);
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let Some(at) = axes.iter().position(|&index| Self::is_channels(index, &flow)) else {
            // Pixels are cropped, which does not affect operations on whole channels.
            let bare = flow.bare.filter(|_| self.is_used_once(&name));
            let flow = Flow { bare, step: None, ..flow };
            self.tracer.set(node.outputs.first()?.clone(), flow);
            return Some(());
        };
        let (start, end) = (*starts.get(at)?, *ends.get(at)?);
        let all = flow.channels.map_or(i64::MAX, |all| all as i64);
        let from_end = |index: i64| if index < 0 { index.saturating_add(all) } else { index };
        let (start, end) = (from_end(start), from_end(end).min(all));
        let channels = usize::try_from(end.saturating_sub(start)).ok();
        let channels = channels.filter(|_| flow.channels.is_some());
        self.tracer.slice(&name, node.outputs.first()?.clone(), start, channels);
        Some(())
    }

    fn pad(&mut self, node: &Node) -> Option<()> {
        let name = node.inputs.first()?.clone();
        let flow = self.tracer.flow(&name);
        let pads = self.numbers(node, "pads", 1)?;
        let channels = if flow.channels_last { 3 } else { 1 };
        if pads.len() != 8 || (pads[channels], pads[4 + channels]) == (0, 0) {
            return None;
        }
        let (before, after) = (pads[channels], pads[4 + channels]);
        let padded = flow.channels.and_then(|all| {
            usize::try_from((all as i64).checked_add(before)?.checked_add(after)?).ok()
        });
        self.tracer.slice(&name, node.outputs.first()?.clone(), before.saturating_neg(), padded);
        Some(())
    }

    /// Adds any other node.
    fn pass(&mut self, node: &Node) {
        let inputs = match node.operator.as_str() {
            // These use only the sizes.
            "Shape" | "Size" | "ConstantOfShape" | "Range" => return,
            // Their other inputs are parameters.
            "Reshape" | "Expand" | "Resize" | "Upsample" | "Slice" | "Pad" | "Unsqueeze"
            | "Squeeze" | "Gather" | "Clip" | "Tile" | "ReduceMean" | "ReduceSum" | "ReduceMax"
            | "Split" | "Cast" => node.inputs.get(..1).unwrap_or_default(),
            _ => node.inputs.as_slice(),
        };
        for output in &node.outputs {
            self.tracer.pass(inputs, output.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::proto;

    fn tensor(name: &str, dims: &[i64]) -> proto::Tensor {
        let floats = vec![1.0; dims.iter().product::<i64>() as usize];
        proto::Tensor {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type: 1,
            floats,
            ..Default::default()
        }
    }

    fn node(operator: &str, inputs: &[&str], output: &str, ints: &[(&str, &[i64])]) -> proto::Node {
        let attribute = |&(name, ints): &(&str, &[i64])| proto::Attribute {
            name: name.to_owned(),
            ints: ints.to_vec(),
            ..Default::default()
        };
        proto::Node {
            operator: operator.to_owned(),
            inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            attributes: ints.iter().map(attribute).collect(),
            ..Default::default()
        }
    }

    /// NASNet halves maps like this: a pool strides, and BatchNorm follows on a part of the map.
    #[test]
    fn steps_and_cuts_belong_to_the_convolution_between_them() {
        let norm = ["gamma", "beta", "mean", "variance"];
        let value = |name: &str| proto::ValueInfo { name: name.to_owned(), kind: None };
        let graph = proto::Graph {
            nodes: vec![
                node(
                    "AveragePool",
                    &["images"],
                    "fewer",
                    &[("kernel_shape", &[1, 1]), ("strides", &[2, 2])],
                ),
                node("Conv", &["fewer", "kernel"], "maps", &[]),
                node(
                    "Slice",
                    &["maps"],
                    "part",
                    &[("axes", &[2, 3]), ("starts", &[1, 1]), ("ends", &[9, 9])],
                ),
                node("BatchNormalization", &[&["part"], &norm[..]].concat(), "logits", &[]),
            ],
            initializers: norm
                .iter()
                .map(|name| tensor(name, &[4]))
                .chain([tensor("kernel", &[4, 3, 1, 1])])
                .collect(),
            inputs: vec![value("images")],
            outputs: vec![value("logits")],
        };
        let model = proto::Model {
            graph: Some(graph),
            opsets: vec![proto::Opset { domain: String::new(), version: 9 }],
            ..Default::default()
        };
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let path = folder.path().join("network.onnx");
        std::fs::write(&path, model.encode_to_vec()).expect("there is room for a file");
        let layers = Graph::open(&path).expect("the graph is sound").layers().layers;
        let [layer] = layers.as_slice() else { panic!("{layers:?}") };
        assert_eq!(layer.form.stride, [2, 2]);
        assert!(matches!(layer.weights.scales[..], [Scale::Norm(_)]), "{:?}", layer.weights);
    }
}
