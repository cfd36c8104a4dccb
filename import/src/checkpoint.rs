use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::store::burn_pack::Tensor;
use burn::store::{ModuleStore, SafetensorsStore};
use burn::tensor::DType;

use crate::claim::check_claim;
use crate::error::{NOT_QUANTIZED, QUANTIZED, unsupported};
use crate::keras::{self, Normalization};
use crate::kind::Kind;
use crate::onnx::Graph;
use crate::reparametrized::merged;
use crate::{Error, Facts, packed, pytorch};
use zoo_record::sha256;

/// The tensors of another program's file by key. Their values stay on disk.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// All tensors of the file. A key is the path to a tensor through dictionaries and modules,
    /// joined with dots.
    pub tensors: BTreeMap<String, Tensor>,
    /// The other information in the file.
    pub facts: Facts,
    /// The graph of the network, if the file has one, as ONNX files and most Keras files do.
    pub graph: Option<Graph>,
    /// The scaling of images before the first layer, if the file states it. Graphs that scale
    /// images themselves and Keras's EfficientNets do.
    pub normalization: Option<Normalization>,
}

/// Segments of keys that come from wrappers around modules: `DataParallel`, `torch.compile`,
/// `FullyShardedDataParallel`.
const WRAPPERS: [&str; 4] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

impl Checkpoint {
    /// Opens a `.pt`, `.pth`, `.pt2`, `.safetensors`, `.onnx`, `.h5` or `.keras` file, or the only
    /// one in a folder or an archive. Its first bytes decide the format, not its name.
    ///
    /// PyTorch's pickles are read as data; nothing in them is executed.
    ///
    /// # Errors
    ///
    /// When the file can't be read, has another format, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut checkpoint = Self { path: path.to_owned(), ..Self::default() };
        let tensors = match Kind::of(path)? {
            Kind::Folder => return packed::open_folder(path),
            Kind::Tape => return packed::open_tape(path),
            Kind::Archive => return packed::open_zip(path),
            Kind::Pytorch => {
                let (tensors, facts) = pytorch::read(path)?;
                checkpoint.facts = facts;
                tensors
            }
            Kind::Exported => pytorch::read_exported(path)?,
            Kind::Safetensors => read_safetensors(path)?,
            Kind::Onnx => {
                let graph = checkpoint.graph.insert(Graph::open(path)?);
                checkpoint.normalization = graph.normalization();
                graph.tensors()
            }
            kind @ (Kind::Hdf5 | Kind::Keras) => {
                let contents = match kind {
                    Kind::Hdf5 => keras::read_hdf5(path)?,
                    _ => keras::read_archive(path)?,
                };
                checkpoint.graph = contents.graph;
                checkpoint.normalization = contents.normalization;
                contents.tensors
            }
        };
        if tensors.is_empty() {
            let hint = "save the model's `state_dict()`";
            return Err(unsupported(path, "a file without tensors", hint));
        }
        if is_quantized(&tensors) {
            return Err(unsupported(path, QUANTIZED, NOT_QUANTIZED));
        }
        checkpoint.tensors = merged(without_wrappers(tensors));
        checkpoint.facts.add_neighbors(path);
        Ok(checkpoint)
    }

    /// Computes the SHA-256 of the file, in hexadecimal.
    ///
    /// # Errors
    ///
    /// When the file can no longer be read.
    pub fn sha256(&self) -> Result<String, Error> {
        sha256(&self.path).map_err(|source| Error::Open { path: self.path.clone(), source })
    }
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let broken = |reason: String| Error::Damaged { path: path.to_owned(), reason };
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

/// Whether the weights are integers whose scales are stored elsewhere.
fn is_quantized(tensors: &BTreeMap<String, Tensor>) -> bool {
    let is_integer = |tensor: &Tensor| matches!(tensor.dtype, DType::I8 | DType::U8);
    tensors.values().any(|tensor| is_integer(tensor) && tensor.shape.len() > 1)
}

/// Removes wrappers from keys, unless two tensors would then have the same key.
fn without_wrappers(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let mut unwrapped = BTreeMap::new();
    let mut others = Vec::new();
    for (key, tensor) in tensors {
        let steps: Vec<&str> = key.split('.').filter(|step| !WRAPPERS.contains(step)).collect();
        let inner = steps.join(".");
        match inner.is_empty() || unwrapped.contains_key(&inner) {
            true => others.push((key, tensor)),
            false => drop(unwrapped.insert(inner, tensor)),
        }
    }
    unwrapped.extend(others);
    unwrapped
}
