//! What a network consists of and what it costs, read off its own computation.

use std::collections::HashMap;

use burn::backend::ir::{
    BaseOperationIr, FloatOperationIr, ModuleOperationIr, NumericOperationIr, OperationIr,
    TensorId, TensorIr,
};
use serde::Serialize;
use zoo_core::{count_trainable, parameters};
use zoo_import::{NotCaptured, capture};
use zoo_models::Config;

/// What a network consists of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Anatomy {
    /// Trainable parameters.
    #[serde(skip)]
    pub params: usize,
    /// Multiply-accumulate operations of all convolutions and fully connected layers, for one
    /// image.
    pub macs: u64,
    /// The parts in the order of computation.
    pub parts: Vec<Part>,
}

/// A field of the network's struct, or a stage where a field is a list of stages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
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
pub fn anatomy(config: &Config, size: usize) -> Result<Anatomy, NotCaptured> {
    let (model, mut capture) = capture(config, &[], [1, config.in_channels(), size, size])?;
    let paths = &mut capture.parameters;
    let mut parts: Vec<Part> = Vec::new();
    let mut current = None;
    for operation in &capture.operations {
        match operation {
            OperationIr::BaseFloat(BaseOperationIr::Reshape(reshape)) => {
                rename(paths, reshape.input.id, reshape.out.id);
            }
            OperationIr::BaseFloat(BaseOperationIr::SwapDims(swap)) => {
                rename(paths, swap.input.id, swap.out.id);
            }
            _ => {}
        }
        let Some((weight, output, macs)) = layer(operation) else {
            if let (Some(index), Some(output)) = (current, maps(operation)) {
                let part: &mut Part = &mut parts[index];
                if normed(operation, paths).is_none_or(|name| name == part.name) {
                    part.output = output.shape.to_vec();
                }
            }
            continue;
        };
        let Some(path) = paths.get(&weight.id) else {
            continue;
        };
        let name = part_of(path);
        let index = parts.iter().position(|part| part.name == name);
        let index = index.unwrap_or_else(|| {
            parts.push(Part {
                name: name.to_owned(),
                layers: 0,
                params: 0,
                macs: 0,
                output: Vec::new(),
            });
            parts.len() - 1
        });
        parts[index].layers += 1;
        parts[index].macs += macs;
        parts[index].output = output.shape.to_vec();
        current = Some(index);
    }
    for parameter in parameters(&model).iter().filter(|parameter| parameter.is_trainable()) {
        let name = part_of(&parameter.path);
        if let Some(part) = parts.iter_mut().find(|part| part.name == name) {
            part.params += parameter.shape.iter().product::<usize>();
        }
    }
    Ok(Anatomy {
        params: count_trainable(&model),
        macs: parts.iter().map(|part| part.macs).sum(),
        parts,
    })
}

/// The weight, the output and the multiply-accumulates of an operation that has them.
fn layer(operation: &OperationIr) -> Option<(&TensorIr, &TensorIr, u64)> {
    let count = |tensor: &TensorIr| tensor.shape.iter().product::<usize>() as u64;
    match operation {
        OperationIr::Module(ModuleOperationIr::Conv2d(conv)) => {
            let per_output = count(&conv.weight) / conv.weight.shape[0] as u64;
            Some((&conv.weight, &conv.out, count(&conv.out) * per_output))
        }
        OperationIr::Module(ModuleOperationIr::ConvTranspose2d(conv)) => {
            let per_input = count(&conv.weight) / conv.weight.shape[0] as u64;
            Some((&conv.weight, &conv.out, count(&conv.x) * per_input))
        }
        OperationIr::Module(ModuleOperationIr::Linear(linear)) => {
            let per_output = linear.weight.shape[0] as u64;
            Some((&linear.weight, &linear.out, count(&linear.out) * per_output))
        }
        OperationIr::Float(_, FloatOperationIr::Matmul(matmul)) => {
            let inner = *matmul.lhs.shape.last()? as u64;
            Some((&matmul.rhs, &matmul.out, count(&matmul.out) * inner))
        }
        _ => None,
    }
}

/// What an operation makes of its inputs, if that is as many pixels: a sum, an activation, several
/// maps behind one another.
fn maps(operation: &OperationIr) -> Option<&TensorIr> {
    use NumericOperationIr::{Mean, MeanDim, Sum, SumDim, SumDims};
    match operation {
        OperationIr::BaseFloat(BaseOperationIr::Cat(cat)) => Some(&cat.out),
        OperationIr::NumericFloat(_, Mean(_) | MeanDim(_) | Sum(_) | SumDim(_) | SumDims(_)) => {
            None
        }
        OperationIr::Module(ModuleOperationIr::BatchNorm(norm)) => Some(&norm.out),
        OperationIr::NumericFloat(..) | OperationIr::Float(..) => operation.outputs().next(),
        _ => None,
    }
    .filter(|output| output.shape.num_dims() > 1)
}

/// The part that a BatchNorm is of, which may be the next one already, behind a pooling.
fn normed<'p>(operation: &OperationIr, paths: &'p HashMap<TensorId, String>) -> Option<&'p str> {
    match operation {
        OperationIr::Module(ModuleOperationIr::BatchNorm(norm)) => {
            paths.get(&norm.gamma.id).map(|path| part_of(path))
        }
        _ => None,
    }
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

/// A parameter stays itself under another shape.
fn rename(paths: &mut HashMap<TensorId, String>, from: TensorId, to: TensorId) {
    if let Some(path) = paths.get(&from) {
        paths.insert(to, path.clone());
    }
}
