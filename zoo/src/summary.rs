//! What a network consists of and what it costs, read off its own computation.

use serde::Serialize;
use zoo_core::{count_trainable, parameters};
use zoo_graph::{Node, Op};
use zoo_import::{NotCaptured, capture};
use zoo_models::Config;

/// What a network consists of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Trainable parameters.
    #[serde(skip)]
    pub params: usize,
    /// Multiply-accumulate operations of all convolutions and fully connected layers, for one
    /// image.
    pub macs: u64,
    /// The parts in the order of computation.
    pub parts: Vec<ModuleSummary>,
}

/// A field of the network's struct, or a stage where a field is a list of stages.
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

/// Takes a network apart, for square images of a size.
///
/// # Errors
///
/// When the network can't take images of that size.
pub fn summary(config: &Config, size: usize) -> Result<Summary, NotCaptured> {
    let (model, graph) = capture(config, &[], [1, config.in_channels(), size, size])?;
    let paths = graph.parameters();
    let mut parts: Vec<ModuleSummary> = Vec::new();
    let mut current = None;
    for node in &graph.nodes {
        let output = graph.shape(node.output);
        if !is_layer(node) {
            if let Some(index) = current
                && is_map(&node.op)
                && output.len() > 1
            {
                let part: &mut ModuleSummary = &mut parts[index];
                // A BatchNorm may be of the next part already, behind a pooling.
                let normed = matches!(node.op, Op::BatchNorm { .. }).then(|| node.inputs[1]);
                let normed = normed.and_then(|gamma| paths.get(&gamma));
                if normed.is_none_or(|path| part_of(path) == part.name) {
                    part.output = output.to_vec();
                }
            }
            continue;
        }
        let Some(path) = paths.get(&node.inputs[1]) else {
            continue;
        };
        let name = part_of(path);
        let index = parts.iter().position(|part| part.name == name);
        let index = index.unwrap_or_else(|| {
            parts.push(ModuleSummary {
                name: name.to_owned(),
                layers: 0,
                params: 0,
                macs: 0,
                output: Vec::new(),
            });
            parts.len() - 1
        });
        parts[index].layers += 1;
        parts[index].macs += graph.macs(node);
        parts[index].output = output.to_vec();
        current = Some(index);
    }
    for parameter in parameters(&model).iter().filter(|parameter| parameter.is_trainable()) {
        let name = part_of(&parameter.path);
        if let Some(part) = parts.iter_mut().find(|part| part.name == name) {
            part.params += parameter.shape.iter().product::<usize>();
        }
    }
    Ok(Summary {
        params: count_trainable(&model),
        macs: parts.iter().map(|part| part.macs).sum(),
        parts,
    })
}

/// Whether an operation is a convolution or a fully connected layer, where its second input is a
/// parameter.
fn is_layer(node: &Node) -> bool {
    matches!(node.op, Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Linear | Op::MatMul)
}

/// Whether an operation takes maps together or scales them, so that a part may end with it.
fn is_map(op: &Op) -> bool {
    matches!(op, Op::BatchNorm { .. } | Op::Binary(_) | Op::Concat { .. } | Op::Scalar(..))
}

/// The first segment of a path, with the second one where that is a number.
fn part_of(path: &str) -> &str {
    let mut ends = path.match_indices('.').map(|(end, _)| end);
    let Some(first) = ends.next() else {
        return path;
    };
    match ends.next() {
        Some(second) if path[first + 1..second].parse::<usize>().is_ok() => &path[..second],
        _ => &path[..first],
    }
}
