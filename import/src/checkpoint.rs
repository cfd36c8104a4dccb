use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::store::burn_pack::Tensor;
use burn::store::{ModuleStore, SafetensorsStore};
use burn::tensor::DType;

use crate::digest::sha256;
use crate::error::{NOT_QUANTISED, QUANTISED, unsupported};
use crate::keras::{self, Normalization};
use crate::kind::Kind;
use crate::onnx::Graph;
use crate::{Error, pytorch};

/// The tensors of a foreign file, by key, their values still on disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// The tensors, without the prefixes that training code wraps around a model's keys.
    pub tensors: BTreeMap<String, Tensor>,
    /// The network that they are of, where the file says that too, as ONNX and most of Keras's do.
    pub graph: Option<Graph>,
    /// How images are to be scaled for the first layer, where the file says that: as graphs do
    /// that scale them before it, and Keras's EfficientNets.
    pub normalization: Option<Normalization>,
}

/// Entries of a training checkpoint that hold the model, in the order of preference.
const ENTRIES: [&str; 6] =
    ["state_dict", "model_state_dict", "model_state", "model", "net", "params"];

/// Those of them that a module may have for a name too: they count only if nothing but training
/// state is beside them, so that no layer is taken for it.
const MODULES: [&str; 3] = ["model", "net", "params"];

/// Words that the names of entries with training state begin with: `optimizer`, `lr_schedulers`.
const STATE: [&str; 8] = ["optim", "sched", "ema", "scaler", "amp", "loss", "criterion", "rng"];

/// Wrappers around wrappers that are looked into.
const NESTED: usize = 8;

/// What wrappers put before every key.
const PREFIXES: [&str; 5] = ["module", "model", "net", "backbone", "_orig_mod"];

impl Checkpoint {
    /// Opens a `.pt`, `.pth`, `.safetensors`, `.onnx`, `.h5` or `.keras` file; what it is, its first bytes
    /// tell, not its name.
    ///
    /// PyTorch's pickles are read as data: nothing in one is ever executed.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is of another kind, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (mut graph, mut normalization) = (None, None);
        let tensors = match Kind::of(path)? {
            Kind::Pytorch => pytorch::read(path)?,
            Kind::Safetensors => read_safetensors(path)?,
            Kind::Onnx => {
                let graph = graph.insert(Graph::open(path)?);
                normalization = graph.normalization();
                graph.tensors()
            }
            kind @ (Kind::Hdf5 | Kind::Keras) => {
                let contents = match kind {
                    Kind::Hdf5 => keras::read_hdf5(path)?,
                    _ => keras::read_archive(path)?,
                };
                (graph, normalization) = (contents.graph, contents.normalization);
                contents.tensors
            }
        };
        let tensors = unwrap(tensors);
        if tensors.is_empty() {
            let hint = "save the model's `state_dict()`";
            return Err(unsupported(path, "a file without tensors", hint));
        }
        if is_quantised(&tensors) {
            return Err(unsupported(path, QUANTISED, NOT_QUANTISED));
        }
        Ok(Self { path: path.to_owned(), tensors, graph, normalization })
    }

    /// SHA-256 of the file, in hexadecimal.
    ///
    /// # Errors
    ///
    /// When the file can't be read any more.
    pub fn sha256(&self) -> Result<String, Error> {
        sha256(&self.path).map_err(|source| Error::Open { path: self.path.clone(), source })
    }
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let mut store = SafetensorsStore::from_file(path).map_indices_contiguous(false);
    let tensors = store.get_all_tensors().map_err(|error| {
        let reason = error.to_string();
        match reason.split_once("Unsupported dtype: ") {
            Some((_, dtype)) => unsupported(
                path,
                format!("a checkpoint with numbers of the type {dtype}"),
                "convert it to float16 or float32",
            ),
            None => broken(reason),
        }
    })?;
    let size = std::fs::metadata(path)
        .map_err(|source| Error::Open { path: path.to_owned(), source })?
        .len();
    for (key, tensor) in tensors {
        check_claim(key, tensor.dtype.size(), &tensor.shape, size).map_err(broken)?;
    }
    Ok(tensors.clone())
}

/// Compares what a tensor claims to hold with the file that it is in, before anything is made
/// of that size. A dimension of 0 makes no other one true.
///
/// # Errors
///
/// When it would be larger than the file.
pub(crate) fn check_claim(
    key: &str,
    width: usize,
    shape: &[usize],
    file: u64,
) -> Result<(), String> {
    let grown = |size: u64, &dim: &usize| size.checked_mul(u64::try_from(dim.max(1)).ok()?);
    match shape.iter().try_fold(width as u64, grown) {
        Some(size) if size <= file => Ok(()),
        _ => Err(format!("`{key}` of {shape:?} would be larger than the file")),
    }
}

/// Whether the weights are integers, and what makes numbers of them is elsewhere.
fn is_quantised(tensors: &BTreeMap<String, Tensor>) -> bool {
    let is_integer = |tensor: &Tensor| matches!(tensor.dtype, DType::I8 | DType::U8);
    tensors.values().any(|tensor| is_integer(tensor) && tensor.shape.len() > 1)
}

/// Takes the model out of a training checkpoint and the wrappers off its keys.
fn unwrap(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let is_inside =
        |key: &str, outer: &str| key.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    let is_state = |key: &str| {
        let name = key.split('.').next().unwrap_or_default();
        name.split('_').any(|word| STATE.iter().any(|state| word.starts_with(state)))
    };
    let entry = ENTRIES.iter().find(|entry| {
        tensors.keys().any(|key| is_inside(key, entry))
            && (!MODULES.contains(entry)
                || tensors.keys().all(|key| is_inside(key, entry) || is_state(key)))
    });
    if let Some(entry) = entry {
        tensors.retain(|key, _| is_inside(key, entry));
        tensors = strip(tensors, entry);
    }
    for _ in 0..NESTED {
        let is_around = |prefix: &&&str| tensors.keys().all(|key| is_inside(key, prefix));
        match PREFIXES.iter().find(is_around) {
            Some(prefix) if !tensors.is_empty() => tensors = strip(tensors, prefix),
            _ => break,
        }
    }
    tensors
}

fn strip(tensors: BTreeMap<String, Tensor>, outer: &str) -> BTreeMap<String, Tensor> {
    tensors.into_iter().map(|(key, tensor)| (key[outer.len() + 1..].to_owned(), tensor)).collect()
}
