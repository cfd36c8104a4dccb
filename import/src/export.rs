//! Export of a model to files of other programs.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::Path;

use burn::module::Module;
use burn::store::burn_pack::Tensor;
use burn::store::{
    BurnToPyTorchAdapter, HalfPrecisionAdapter, ModuleAdapter, ModuleContext, ModuleSnapshot,
    bridge,
};
use burn::tensor::{DType, TensorData};
use safetensors::Dtype;
use safetensors::tensor::View;
use zoo_core::layers::Activation;
use zoo_core::{HiddenLayer, KeyLayout, LayerKind, parameters, root_prefix};

use crate::load::keys_of;
use zoo_record::{Precision, write_atomically};

use crate::Error;

mod network;
mod onnx;
mod protobuf;
mod pth;

pub use network::{ExportFormat, ExportOptions, export};
pub use onnx::OPSETS;

/// A model's parameters with PyTorch's keys and shapes, like its `state_dict()`.
#[derive(Debug)]
pub struct StateDict {
    /// The tensors, named by their keys, in the model's order.
    tensors: Vec<Tensor>,
    /// The locations of the parameters' tensors, by their paths in the model.
    locations: HashMap<String, Location>,
}

/// The location of a parameter in a [`StateDict`].
#[derive(Debug)]
struct Location {
    index: usize,
    /// Whether PyTorch stores the transpose of Burn's tensor.
    is_transposed: bool,
}

impl StateDict {
    /// Converts a model's parameters to the keys of a layout, except those at the paths in
    /// `absent`.
    ///
    /// Each BatchNorm also gets a counter of batches, zero, because PyTorch's strict loading
    /// requires one. In half precision BatchNorm stays in single precision, as in records.
    ///
    /// # Panics
    ///
    /// When the layout has no rule for one of the parameters.
    pub fn of<M: Module>(
        model: &M,
        layout: &KeyLayout,
        absent: &BTreeSet<String>,
        precision: Precision,
    ) -> Self {
        let parameters = parameters(model);
        let root = root_prefix(model);
        let mut values: HashMap<String, Tensor> = model
            .collect(None, None, false)
            .into_iter()
            .map(|tensor| (tensor.name[root.len()..].to_owned(), tensor))
            .collect();

        let mut state = Self { tensors: Vec::new(), locations: HashMap::new() };
        for (parameter, key) in parameters.iter().zip(keys_of(layout, &parameters)) {
            let value = values.remove(&parameter.path).expect("a parameter has a value");
            if absent.contains(&parameter.path) {
                continue;
            }
            let containers = [parameter.layer.container_type()];
            let context = ModuleContext::new(&containers);
            let value = BurnToPyTorchAdapter.adapt(value, context);
            let mut value = match precision {
                Precision::Single => value,
                Precision::Half => HalfPrecisionAdapter::new().adapt(value, context),
            };
            value.name.clone_from(&key);
            let is_transposed = parameter.layer == LayerKind::Linear && parameter.shape.len() == 2;
            let location = Location { index: state.tensors.len(), is_transposed };
            state.locations.insert(parameter.path.clone(), location);
            state.tensors.push(value);
            if let Some(norm) = key.strip_suffix("running_var") {
                let zero = TensorData::new(vec![0_i64], [0; 0]);
                state.tensors.push(bridge::from_data(
                    zero,
                    format!("{norm}num_batches_tracked"),
                    None,
                ));
            }
        }
        state
    }

    /// Names a classifier with hidden layers as `torch.nn.Sequential` does: its fully connected
    /// layers and activations are numbered.
    ///
    /// `classifier` are the paths of the network's own classifier, which is the first layer.
    #[must_use]
    pub fn with_hidden(mut self, hidden: &[HiddenLayer], classifier: &BTreeSet<String>) -> Self {
        let part = |path: &String| path.rsplit('.').next().unwrap_or_default().to_owned();
        let own = classifier.iter().find_map(|path| {
            let key = &self.tensors[self.locations.get(path)?.index].name;
            Some(key[..key.len() - part(path).len()].to_owned())
        });
        let (Some(own), false) = (own, hidden.is_empty()) else { return self };
        let mut numbers = vec![0];
        for layer in hidden {
            let steps = if layer.activation == Activation::Identity { 1 } else { 2 };
            numbers.push(numbers[numbers.len() - 1] + steps);
        }
        for (path, location) in &self.locations {
            let tail = path.strip_prefix("tail.").and_then(|rest| rest.split('.').next());
            let layer = match tail.and_then(|index| index.parse::<usize>().ok()) {
                Some(index) => index + 1,
                None if classifier.contains(path) => 0,
                None => continue,
            };
            self.tensors[location.index].name = format!("{own}{}.{}", numbers[layer], part(path));
        }
        self
    }

    /// The tensors, named by their keys.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Writes a safetensors file with the metadata of PyTorch's tools.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn save_safetensors(&self, path: &Path) -> Result<(), Error> {
        let views = self.tensors.iter().map(|tensor| (tensor.name.as_str(), Stored(tensor)));
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        Ok(write_atomically(path, |file| {
            let bytes = safetensors::serialize(views, Some(metadata)).map_err(io::Error::other)?;
            file.write_all(&bytes)
        })?)
    }

    /// Writes a `.pth` file, which `torch.load` reads with `weights_only=True`.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn save_pth(&self, path: &Path) -> Result<(), Error> {
        Ok(write_atomically(path, |file| pth::write(&self.tensors, file))?)
    }
}

/// Returns a tensor's bytes, little-endian and row-major.
///
/// # Panics
///
/// When the tensor's values can't be read. A model's values are in memory.
fn bytes(tensor: &Tensor) -> burn::tensor::Bytes {
    tensor.to_bytes().expect("a model's values are in memory")
}

struct Stored<'t>(&'t Tensor);

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.dtype {
            DType::F16 => Dtype::F16,
            DType::I64 => Dtype::I64,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        bytes(self.0).to_vec().into()
    }

    fn data_len(&self) -> usize {
        self.0.byte_len()
    }
}
