use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::store::burn_pack::Tensor;
use burn::store::pytorch_reader::{self, PytorchReader};
use burn::store::{ModuleStore, SafetensorsStore, bridge};

use crate::digest::sha256;
use crate::onnx::{Graph, is_onnx};
use crate::{Error, is_record};

/// The tensors of a foreign file, by key, their values still on disk.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// The tensors, without the prefixes that training code wraps around a model's keys.
    pub tensors: BTreeMap<String, Tensor>,
    /// The network that they are of, where the file says that too, as ONNX does.
    pub graph: Option<Graph>,
}

/// Entries of a training checkpoint that hold the model, in the order of preference.
const ENTRIES: [&str; 6] =
    ["state_dict", "model_state_dict", "model_state", "model", "net", "params"];

/// What wrappers put before every key.
const PREFIXES: [&str; 5] = ["module", "model", "net", "backbone", "_orig_mod"];

impl Checkpoint {
    /// Opens a `.pt`, `.pth`, `.safetensors` or `.onnx` file; what it is, its first bytes tell, not its name.
    ///
    /// PyTorch's pickles are read as data: nothing in one is ever executed.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is of another kind, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (tensors, graph) = match sniff(path)? {
            Kind::Pytorch => (read_pytorch(path)?, None),
            Kind::Safetensors => (read_safetensors(path)?, None),
            Kind::Onnx => {
                let graph = Graph::open(path)?;
                (graph.tensors(), Some(graph))
            }
        };
        let tensors = unwrap(tensors);
        if tensors.is_empty() {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                found: "a file without tensors",
                hint: "save the model's `state_dict()`",
            });
        }
        Ok(Self { path: path.to_owned(), tensors, graph })
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

enum Kind {
    Pytorch,
    Safetensors,
    Onnx,
}

/// Tells from the first bytes what a file is.
fn sniff(path: &Path) -> Result<Kind, Error> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(512).read_to_end(&mut head))
        .map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let unsupported = |found, hint| Err(Error::Unsupported { path: path.to_owned(), found, hint });
    let text = String::from_utf8_lossy(&head);
    let text = text.trim_start().to_ascii_lowercase();
    if head.is_empty() {
        Err(Error::Empty(path.to_owned()))
    } else if head.get(8) == Some(&b'{') && head[5..8] == [0; 3] {
        Ok(Kind::Safetensors)
    } else if is_onnx(&head) {
        Ok(Kind::Onnx)
    } else if is_record(&head) {
        unsupported("a Burn record already", "give it to `zoo classify --weights` as it is")
    } else if text.starts_with("version https://git-lfs") {
        unsupported(
            "a pointer of git-lfs, not the file itself",
            "run `git lfs pull` where it comes from",
        )
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        unsupported("a web page", "the download link led to a page, not to the file")
    } else if head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        unsupported("a text file", "give the file with the weights themselves")
    } else if head.starts_with(b"\x89HDF") {
        unsupported("an HDF5 file", "save the weights as safetensors or .pth")
    } else {
        Ok(Kind::Pytorch)
    }
}

fn read_pytorch(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    use pytorch_reader::PytorchError;

    let reader = PytorchReader::new(path).map_err(|error| match error {
        PytorchError::InvalidFormat(reason) if reason.starts_with("not a PyTorch") => {
            Error::Unsupported {
                path: path.to_owned(),
                found: "neither a PyTorch checkpoint nor a safetensors file",
                hint: "save the model's `state_dict()` with `torch.save` or as safetensors",
            }
        }
        error => broken(path, &error),
    })?;
    let tensors = reader.into_tensors().into_values();
    Ok(tensors.map(|tensor| (tensor.name.clone(), bridge::from_pytorch(tensor))).collect())
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let mut store = SafetensorsStore::from_file(path).map_indices_contiguous(false);
    let tensors = store.get_all_tensors().map_err(|error| broken(path, &error))?;
    Ok(tensors.clone())
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Broken { path: path.to_owned(), reason: error.to_string() }
}

/// Takes the model out of a training checkpoint and the wrappers off its keys.
fn unwrap(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let is_inside =
        |key: &str, outer: &str| key.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    let entry = ENTRIES.iter().find(|entry| tensors.keys().any(|key| is_inside(key, entry)));
    if let Some(entry) = entry {
        tensors.retain(|key, _| is_inside(key, entry));
        tensors = strip(tensors, entry);
    }
    while let Some(prefix) = PREFIXES
        .iter()
        .find(|prefix| !tensors.is_empty() && tensors.keys().all(|key| is_inside(key, prefix)))
    {
        tensors = strip(tensors, prefix);
    }
    tensors
}

fn strip(tensors: BTreeMap<String, Tensor>, outer: &str) -> BTreeMap<String, Tensor> {
    tensors.into_iter().map(|(key, tensor)| (key[outer.len() + 1..].to_owned(), tensor)).collect()
}
