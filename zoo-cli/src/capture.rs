//! A network's computation as a graph.
//!
//! The network is built and run on Burn's capture device, which records operations instead of
//! computing them, so that even the largest one takes milliseconds.

use std::collections::HashMap;

use anyhow::anyhow;
use burn::backend::Capture as CaptureBackend;
use burn::backend::ir::TensorId;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use zoo_core::{HiddenLayer, root_prefix};
use zoo_import::Capture;
use zoo_models::{Config, Logits, Network};

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
) -> anyhow::Result<(Network, Capture)> {
    let device = Device::capture();
    let mut built = None;
    let recorded = crate::catch(|| {
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
    })?
    .map_err(|error| anyhow!("the network could not be captured: {error:?}"))?;
    let (network, images, parameters) =
        built.ok_or_else(|| anyhow!("the network was not built"))?;
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
