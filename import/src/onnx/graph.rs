//! An ONNX file as nodes and constants.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::store::burn_pack::Tensor;
use prost::Message;

use super::constant::{Constant, Source};
use super::fused::{is_runtimes, unfused};
use super::node::{Node, is_onnx_domain};
use super::preparation::Preparation;
use super::proto;
use crate::Error;
use crate::error::unsupported;

/// A network in an ONNX file.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The version of ONNX's operators.
    pub opset: i64,
    /// The program that wrote it.
    pub producer: String,
    pub(super) nodes: Vec<Node>,
    pub(super) constants: HashMap<String, Constant>,
    /// The inputs, with their fixed sizes.
    pub(super) inputs: Vec<(String, Vec<Option<usize>>)>,
    pub(super) outputs: Vec<String>,
    /// The normalization of the images at the start, if there is one.
    pub(super) preparation: Option<Preparation>,
    /// A part of the network that could not be converted to nodes, with a hint.
    refusal: Option<String>,
}

/// The producer of graphs that come from Keras files.
const KERAS: &str = "Keras";

/// The oldest supported operator set.
const OLDEST_OPSET: i64 = 7;

/// The largest protobuf message: 2 GiB.
const LARGEST: u64 = 1 << 31;

/// Whether a file with these first bytes is an ONNX model.
///
/// It begins with the format's version, a number below 128, followed by another field. A TensorFlow
/// SavedModel does too, but its version is 1, older than any ONNX of opset 7.
pub(crate) fn is_onnx(head: &[u8]) -> bool {
    // The fields of a model, each with its number and type.
    const FIELDS: [u8; 8] = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72];
    matches!(head, [0x08, 3..128, field, ..] if FIELDS.contains(field))
}

impl Graph {
    /// Reads an ONNX file. The values of large tensors stay on disk.
    ///
    /// # Errors
    ///
    /// When the file can't be read, contradicts itself, or holds a quantized network.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let broken = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let unsupported =
            |found: Cow<'static, str>, hint: &'static str| Err(unsupported(path, found, hint));
        let mut content = Vec::new();
        File::open(path)
            .and_then(|file| {
                let size = file.metadata()?.len().min(LARGEST);
                content.reserve_exact(usize::try_from(size).unwrap_or_default());
                file.take(LARGEST).read_to_end(&mut content)
            })
            .map_err(|source| Error::Open { path: path.to_owned(), source })?;
        if content.len() as u64 == LARGEST {
            return unsupported(
                "an ONNX file of more than 2 GiB, which the format does not allow".into(),
                "save the weights as external data, beside the model",
            );
        }
        let content = prost::bytes::Bytes::from(content);
        let model = proto::Model::decode(content.clone())
            .map_err(|error| broken(format!("it is no ONNX model: {error}")))?;
        let source = Source::new(path, content);
        let graph = model.graph.ok_or_else(|| broken("it has no graph".to_owned()))?;
        let opset = model.opsets.iter().find(|opset| is_onnx_domain(&opset.domain));
        let opset = opset.map_or(1, |opset| opset.version);
        if opset < OLDEST_OPSET {
            return unsupported(
                "an ONNX model in operators older than opset 7".into(),
                "`onnx.version_converter.convert_version(model, 13)` makes it a newer one",
            );
        }
        if graph.nodes.iter().any(is_quantized) {
            return unsupported(
                "a quantized ONNX graph, whose weights are integers".into(),
                "export the network before it is quantized",
            );
        }

        let nodes = in_order(graph.nodes.into_iter().flat_map(unfused).collect());
        if let Some(node) = nodes.iter().find(|node| is_runtimes(node)) {
            let operator = format!("{}.{}", node.domain, node.operator);
            return unsupported(
                format!(
                    "a graph that ONNX Runtime made for one kind of processor, with `{operator}`"
                )
                .into(),
                "give the graph that it was made from, or save it with ORT_ENABLE_BASIC",
            );
        }

        let mut constants = HashMap::new();
        if let Some(name) = graph.initializers.iter().find_map(|tensor| source.missing(tensor)) {
            return Err(crate::error::unsupported(
                path,
                "an ONNX model whose weights are in another file",
                format!("put `{name}` beside it, under that name, as it was exported"),
            ));
        }
        for tensor in &graph.initializers {
            if let Some(constant) = source.constant(tensor).map_err(broken)? {
                constants.insert(tensor.name.clone(), constant);
            }
        }
        let mut operations = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.into_iter().enumerate() {
            let (mut node, tensor) = Node::read(node, index);
            match (node.operator.as_str(), node.outputs.first()) {
                ("Constant", Some(output)) => {
                    let constant = match tensor {
                        Some(tensor) => source.constant(&tensor).map_err(broken)?,
                        None => source.constant_of(&node),
                    };
                    if let Some(constant) = constant {
                        constants.insert(output.clone(), constant);
                        continue;
                    }
                }
                (_, Some(output)) => {
                    let output = output.clone();
                    // The tensor that ConstantOfShape repeats becomes an input.
                    if let Some(tensor) = tensor {
                        let name = format!("{} of {output}", tensor.name);
                        if let Some(constant) = source.constant(&tensor).map_err(broken)? {
                            constants.insert(name.clone(), constant);
                            node.inputs.push(name);
                        }
                    }
                    if let Some(view) = view(&node, &constants) {
                        constants.insert(output, view);
                        continue;
                    }
                }
                _ => {}
            }
            operations.push(node);
        }
        let nodes = operations;
        check_overlaps(&constants).map_err(broken)?;
        // Older exporters list the weights among the inputs.
        let inputs = graph.inputs.into_iter().filter(|input| !constants.contains_key(&input.name));
        let inputs = inputs.map(|input| (input.name.clone(), shape(&input)));
        let inputs: Vec<_> = inputs.collect();
        let outputs = graph.outputs.into_iter().map(|output| output.name).collect();
        let preparation = Preparation::of(&nodes, &constants, &inputs);
        let producer = model.producer;
        let refusal = None;
        Ok(Self { opset, producer, nodes, constants, inputs, outputs, preparation, refusal })
    }

    /// Creates the graph of a Keras network.
    pub(crate) fn of_keras(
        nodes: Vec<Node>,
        constants: HashMap<String, Constant>,
        input: (String, Vec<Option<usize>>),
        output: String,
        refusal: Option<String>,
    ) -> Self {
        let inputs = vec![input];
        let preparation = Preparation::of(&nodes, &constants, &inputs);
        Self {
            opset: 13,
            producer: KERAS.to_owned(),
            nodes,
            constants,
            inputs,
            outputs: vec![output],
            preparation,
            refusal,
        }
    }

    /// Whether it comes from a Keras file.
    pub fn is_keras(&self) -> bool {
        self.producer == KERAS
    }

    /// Returns the part of the network that no model of the zoo has, with a hint, as far as it is
    /// known without a comparison.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Returns the weights of its layers by name. Their values stay on disk.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let is_layer = |node: &&Node| {
            let operator = node.operator.as_str();
            matches!(operator, "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "BatchNormalization")
                && !self.is_preparation(node)
        };
        let names = self.nodes.iter().filter(is_layer).flat_map(|node| &node.inputs);
        names
            .filter_map(|name| {
                let constant = self.constants.get(name).filter(|constant| constant.is_float())?;
                let name = constant.origin.as_ref().unwrap_or(name);
                // A view is listed as its original tensor.
                let constant = self.constants.get(name)?;
                Some((name.clone(), constant.tensor(name)))
            })
            .collect()
    }

    /// Whether a node belongs to the normalization of the images.
    pub(super) fn is_preparation(&self, node: &Node) -> bool {
        self.preparation.as_ref().is_some_and(|preparation| preparation.has(node))
    }
}

/// Checks that tensors overlap only if they have exactly the same values.
fn check_overlaps(constants: &HashMap<String, Constant>) -> Result<(), String> {
    let ranges =
        constants.iter().filter_map(|(name, constant)| Some((constant.file_range()?, name)));
    let mut ranges: Vec<_> = ranges.map(|((path, range), name)| (path, range, name)).collect();
    ranges.sort_by_key(|(path, range, _)| (*path, range.start, range.end));
    for pair in ranges.windows(2) {
        let [(path, range, name), (other, next, other_name)] = pair else { continue };
        if path == other && range != next && next.start < range.end {
            return Err(format!("the tensors `{name}` and `{other_name}` lie over one another"));
        }
    }
    Ok(())
}

/// Sorts nodes so that each comes after its inputs, as ONNX requires and some converters forget.
/// Otherwise the order does not change.
fn in_order(nodes: Vec<proto::Node>) -> Vec<proto::Node> {
    let makers: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.outputs.iter().map(move |name| (name.as_str(), index)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let sources = |node: &proto::Node| -> BTreeSet<usize> {
        node.inputs.iter().filter_map(|name| makers.get(name.as_str()).copied()).collect()
    };
    let mut waits: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut users = vec![Vec::new(); nodes.len()];
    let mut is_ordered = true;
    for (index, node) in nodes.iter().enumerate() {
        let sources = sources(node);
        is_ordered &= sources.last().is_none_or(|&last| last < index);
        waits.push(sources.len());
        for source in sources {
            users[source].push(index);
        }
    }
    if is_ordered {
        return nodes;
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|&index| waits[index] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for &user in &users[index] {
            waits[user] -= 1;
            if waits[user] == 0 {
                ready.insert(user);
            }
        }
    }
    // Nodes in a cycle are never computed.
    let mut nodes: Vec<Option<proto::Node>> = nodes.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| nodes[index].take()).collect()
}

fn is_quantized(node: &proto::Node) -> bool {
    let operator = node.operator.as_str();
    operator.starts_with("QLinear")
        || matches!(
            operator,
            "QuantizeLinear"
                | "DequantizeLinear"
                | "DynamicQuantizeLinear"
                | "ConvInteger"
                | "MatMulInteger"
                | "QGemm"
        )
}

/// Returns the sizes of an input, `None` for dynamic ones.
fn shape(input: &proto::ValueInfo) -> Vec<Option<usize>> {
    let tensor = input.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| &shape.dims);
    let size = |dim: &proto::Dim| usize::try_from(dim.value).ok().filter(|&size| size > 0);
    dims.into_iter().flatten().map(size).collect()
}

/// Returns a node's output that is only another view of a constant.
fn view(node: &Node, constants: &HashMap<String, Constant>) -> Option<Constant> {
    let name = node.inputs.first()?;
    let constant = constants.get(name)?;
    let numbers = |index: usize| constants.get(node.inputs.get(index)?)?.ints();
    let axes = || node.ints("axes").map(<[i64]>::to_vec).or_else(|| numbers(1));
    let rank = constant.dims.len();
    let mut view = match node.operator.as_str() {
        "Identity" => return Some(constant.renamed()),
        // A cast between floats only changes the precision.
        "Cast" if constant.is_float() && is_float_code(node.int("to", 0)) => constant.clone(),
        "Transpose" => {
            let order = match node.ints("perm") {
                Some(order) => order.iter().map(|&axis| axis as usize).collect(),
                None => (0..rank).rev().collect(),
            };
            constant.transposed(order)?
        }
        "Reshape" => constant.reshaped(reshape(&constant.dims, &numbers(1)?)?)?,
        "Flatten" => {
            let axis = axis(node.int("axis", 1), rank)?;
            let (rows, columns) = constant.dims.split_at(axis);
            constant.reshaped(vec![rows.iter().product(), columns.iter().product()])?
        }
        "Unsqueeze" => constant.reshaped(unsqueeze(&constant.dims, &axes()?)?)?,
        "Squeeze" => constant.reshaped(squeeze(&constant.dims, axes().as_deref())?)?,
        _ => return None,
    };
    view.origin = Some(constant.origin.clone().unwrap_or_else(|| name.clone()));
    Some(view)
}

/// Whether ONNX's code of a data type is that of a float.
pub(super) fn is_float_code(code: i64) -> bool {
    matches!(code, 1 | 10 | 11 | 16)
}

/// Returns an axis, which may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis <= rank)
}

/// Applies ONNX's rules: 0 keeps a dimension, one -1 is computed from the others.
pub(super) fn reshape(dims: &[usize], target: &[i64]) -> Option<Vec<usize>> {
    let mut shape = Vec::with_capacity(target.len());
    for (index, &size) in target.iter().enumerate() {
        shape.push(match size {
            -1 => 1,
            0 => *dims.get(index)?,
            size => usize::try_from(size).ok()?,
        });
    }
    let product = |dims: &[usize]| dims.iter().try_fold(1_usize, |all, &dim| all.checked_mul(dim));
    if let Some(open) = target.iter().position(|&size| size == -1) {
        shape[open] = product(dims)?.checked_div(product(&shape)?)?;
    }
    (product(dims) == product(&shape)).then_some(shape)
}

pub(super) fn unsqueeze(dims: &[usize], axes: &[i64]) -> Option<Vec<usize>> {
    let rank = dims.len() + axes.len();
    let new: Vec<usize> = axes.iter().map(|&index| axis(index, rank)).collect::<Option<_>>()?;
    let mut old = dims.iter();
    let shape: Vec<usize> = (0..rank)
        .map(|index| if new.contains(&index) { Some(1) } else { old.next().copied() })
        .collect::<Option<_>>()?;
    old.next().is_none().then_some(shape)
}

/// Removes these dimensions, or all of size 1 if there are no axes.
pub(super) fn squeeze(dims: &[usize], axes: Option<&[i64]>) -> Option<Vec<usize>> {
    let gone: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&index| axis(index, dims.len())).collect::<Option<_>>()?,
        None => (0..dims.len()).filter(|&index| dims[index] == 1).collect(),
    };
    if gone.iter().any(|&index| dims.get(index) != Some(&1)) {
        return None;
    }
    Some((0..dims.len()).filter(|index| !gone.contains(index)).map(|index| dims[index]).collect())
}
