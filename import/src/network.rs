//! A network's computation as a graph.
//!
//! The network is built and run on Burn's capture device, which records operations instead of
//! computing them, so that even the largest one takes milliseconds.

use std::collections::HashMap;

use burn::backend::Capture as CaptureBackend;
use burn::backend::ir::TensorId;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use zoo_core::{HiddenLayer, catch, root_prefix};
use zoo_models::{Config, Logits, Network};

use crate::Capture;

/// A network could not be recorded, for a reason such as too small images.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NotCaptured(String);

/// Records what a network does with images of a shape; `hidden` are the hidden layers of its classifier, if it has such.
///
/// The network that comes with it tells names and shapes; it has no values.
///
/// # Errors
///
/// When the network can't take images of that shape.
pub fn capture(
    config: &Config,
    hidden: &[HiddenLayer],
    shape: [usize; 4],
) -> Result<(Network, Capture), NotCaptured> {
    let device = Device::capture();
    let mut built = None;
    let recorded = catch(|| {
        device.capture_scope(|scope| {
            let network = config.init_with_hidden(hidden, &device);
            let mut parameters = Parameters::new(root_prefix(&network).matches('.').count());
            network.visit(&mut parameters);
            let images = Tensor::<4>::zeros(shape, &device);
            let input = id(&images);
            let logits = match network.forward(images) {
                Logits::OfImages(logits) => id(&logits),
                Logits::OfPixels(logits) => id(&logits),
            };
            built = Some((network, input, parameters.paths));
            scope.complete([], [logits])
        })
    })
    .map_err(|panicked| NotCaptured(panicked.to_string()))?
    .map_err(|error| NotCaptured(format!("the network can't be captured: {error}")))?;
    let (network, images, parameters) = built.expect("the scope ran");
    Ok((network, Capture::new(recorded, images, parameters)))
}

/// Which tensor is which parameter.
struct Parameters {
    /// How many segments come before those of the network itself.
    root: usize,
    path: Vec<String>,
    paths: HashMap<TensorId, String>,
}

impl Parameters {
    fn new(root: usize) -> Self {
        Self { root, path: Vec::new(), paths: HashMap::new() }
    }
}

impl ModuleVisitor for Parameters {
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
        .try_into_primitive::<CaptureBackend>()
        .expect("the tensor is on the capture device")
        .id()
}
