//! What a network consists of and what it costs, read off its own computation.
//!
//! The network is built and run on Burn's capture device, which records operations instead of
//! computing them, so that even the largest one takes milliseconds.

use std::collections::HashMap;

use anyhow::anyhow;
use burn::backend::Capture;
use burn::backend::ir::{
    BaseOperationIr, FloatOperationIr, ModuleOperationIr, OperationIr, TensorId, TensorIr,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use serde::Serialize;
use zoo_core::{count_trainable, parameters, root_prefix};
use zoo_models::{Config, Logits, Network};

/// What a network consists of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Anatomy {
    /// Trainable parameters.
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
    /// Shape of the last layer's output for one image.
    pub output: Vec<usize>,
}

/// Takes a network apart, for square images of a size.
///
/// # Errors
///
/// When the network can't take images of that size.
pub fn anatomy(config: &Config, size: usize) -> anyhow::Result<Anatomy> {
    let device = Device::capture();
    let mut model: Option<Network> = None;
    let mut weights = Weights::default();
    let captured = crate::catch(|| {
        device.capture_scope(|scope| {
            let network = model.insert(config.init(&device));
            weights.root = root_prefix(network).matches('.').count();
            network.visit(&mut weights);
            let shape = [1, config.in_channels(), size, size];
            let images = Tensor::<4>::zeros(shape, &device);
            let logits = match network.forward(images) {
                Logits::OfImages(logits) => id(&logits),
                Logits::OfPixels(logits) => id(&logits),
            };
            scope.complete([], [logits])
        })
    })?
    .map_err(|error| anyhow!("the network could not be captured: {error:?}"))?;

    let mut parts: Vec<Part> = Vec::new();
    for operation in &captured.graph.operations {
        match operation {
            OperationIr::BaseFloat(BaseOperationIr::Reshape(reshape)) => {
                weights.rename(reshape.input.id, reshape.out.id);
            }
            OperationIr::BaseFloat(BaseOperationIr::SwapDims(swap)) => {
                weights.rename(swap.input.id, swap.out.id);
            }
            _ => {}
        }
        let Some((weight, output, macs)) = layer(operation) else {
            continue;
        };
        let Some(path) = weights.paths.get(&weight.id) else {
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
    }
    let model = model.ok_or_else(|| anyhow!("the network was not built"))?;
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

/// Which tensor of the capture is which parameter.
#[derive(Default)]
struct Weights {
    /// How many segments come before those of the network itself.
    root: usize,
    path: Vec<String>,
    paths: HashMap<TensorId, String>,
}

impl Weights {
    fn rename(&mut self, from: TensorId, to: TensorId) {
        if let Some(path) = self.paths.get(&from) {
            self.paths.insert(to, path.clone());
        }
    }
}

impl ModuleVisitor for Weights {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.paths.insert(id(&param.val()), self.path[self.root..].join("."));
    }
}

fn id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    tensor
        .clone()
        .try_into_primitive::<Capture>()
        .expect("the tensor is on the capture device")
        .id()
}
