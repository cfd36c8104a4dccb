//! A summary of a network: its modules, parameters and multiply-accumulates, from its captured graph.

use serde::Serialize;
use zoo_core::{count_trainable, parameters};
use zoo_graph::{Node, Op};
use zoo_import::{NotCaptured, capture};
use zoo_models::Config;

/// The modules of a network and what they cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Trainable parameters.
    #[serde(skip)]
    pub params: usize,
    /// Size of all parameters, trainable or not, in single precision, in bytes.
    #[serde(skip)]
    pub bytes: u64,
    /// Multiply-accumulate operations of all convolutions and fully connected layers, for one
    /// image.
    pub macs: u64,
    /// Size of the outputs of these layers in single precision, in bytes, for one image.
    #[serde(skip)]
    pub activation_bytes: u64,
    /// The modules in the order of computation.
    #[serde(rename = "parts")]
    pub modules: Vec<ModuleSummary>,
}

/// A field of the network's struct, or one stage if the field is a list of stages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModuleSummary {
    /// Its path: `stages.0`.
    pub name: String,
    /// Convolutions and fully connected layers.
    pub layers: usize,
    /// Trainable parameters.
    pub params: usize,
    /// Multiply-accumulate operations for one image.
    pub macs: u64,
    /// Shape of its output for one image, before any pooling that follows.
    pub output: Vec<usize>,
}

/// Summarizes a network for one image of `size` × `size` pixels.
///
/// # Errors
///
/// When the network can't take images of that size.
pub fn summary(config: &Config, size: usize) -> Result<Summary, NotCaptured> {
    let (model, graph) = capture(config, &[], [1, config.in_channels(), size, size])?;
    let paths = graph.parameters();
    let mut modules: Vec<ModuleSummary> = Vec::new();
    let mut current = None;
    let mut activations = 0;
    for node in &graph.nodes {
        let output = graph.shape(node.output);
        if !is_layer(node) {
            if let Some(index) = current
                && may_end_module(&node.op)
                && output.len() > 1
            {
                let module: &mut ModuleSummary = &mut modules[index];
                // After a pooling, a BatchNorm may belong to the next module.
                let normed = matches!(node.op, Op::BatchNorm { .. }).then(|| node.inputs[1]);
                let normed = normed.and_then(|gamma| paths.get(&gamma));
                if normed.is_none_or(|path| module_of(path) == module.name) {
                    module.output = output.to_vec();
                }
            }
            continue;
        }
        let Some(path) = paths.get(&node.inputs[1]) else {
            continue;
        };
        let name = module_of(path);
        let index = modules.iter().position(|module| module.name == name);
        let index = index.unwrap_or_else(|| {
            modules.push(ModuleSummary {
                name: name.to_owned(),
                layers: 0,
                params: 0,
                macs: 0,
                output: Vec::new(),
            });
            modules.len() - 1
        });
        modules[index].layers += 1;
        activations += output.iter().product::<usize>();
        modules[index].macs += graph.macs(node);
        modules[index].output = output.to_vec();
        current = Some(index);
    }
    let parameters = parameters(&model);
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    for parameter in parameters.iter().filter(|parameter| parameter.is_trainable()) {
        let name = module_of(&parameter.path);
        if let Some(module) = modules.iter_mut().find(|module| module.name == name) {
            module.params += count(&parameter.shape);
        }
    }
    Ok(Summary {
        params: count_trainable(&model),
        bytes: parameters.iter().map(|it| (size_of::<f32>() * count(&it.shape)) as u64).sum(),
        macs: modules.iter().map(|module| module.macs).sum(),
        activation_bytes: (size_of::<f32>() * activations) as u64,
        modules,
    })
}

/// Whether a node is a convolution or a fully connected layer, if its second input is a parameter.
fn is_layer(node: &Node) -> bool {
    matches!(node.op, Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Linear | Op::MatMul)
}

/// Whether an operation combines or scales maps, so that it may be the last one of a module.
fn may_end_module(op: &Op) -> bool {
    matches!(op, Op::BatchNorm { .. } | Op::Binary(_) | Op::Concat { .. } | Op::Scalar(..))
}

/// The first segment of a path, with the second one if that is a number.
fn module_of(path: &str) -> &str {
    let mut ends = path.match_indices('.').map(|(end, _)| end);
    let Some(first) = ends.next() else {
        return path;
    };
    match ends.next() {
        Some(second) if path[first + 1..second].parse::<usize>().is_ok() => &path[..second],
        _ => &path[..first],
    }
}

impl ModuleSummary {
    /// The shape of the output: `1 x 64 x 56 x 56`.
    pub fn shape(&self) -> String {
        shape_text(&self.output)
    }
}

/// A shape as text: `1 x 64 x 56 x 56`.
pub(crate) fn shape_text(dims: &[usize]) -> String {
    let dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
    dims.join(" x ")
}
