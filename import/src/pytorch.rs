//! Tensors out of PyTorch's files, of every age.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use burn::store::bridge;
use burn::store::burn_pack::Tensor;
use burn::store::pytorch_reader::{PickleError, PytorchError, PytorchReader};

use crate::Error;
use crate::checkpoint::check_claim;
use crate::error::{NOT_QUANTISED, QUANTISED, unsupported};

/// The tensors of a `.pth` file by key, their values still on disk.
///
/// A pickled module is read as its state dict. Nothing in a pickle is ever called.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let size = check_tar(path)?;
    let reader = PytorchReader::new(path).map_err(|error| refusal(path, error))?;
    let mut tensors = BTreeMap::new();
    for tensor in reader.into_tensors().into_values() {
        // The reader compares a storage with the file, but a view may repeat its elements.
        check_claim(&tensor.name, tensor.dtype().size(), tensor.shape(), size)
            .map_err(|reason| Error::Broken { path: path.to_owned(), reason })?;
        tensors.insert(tensor.name.clone(), bridge::from_pytorch(tensor));
    }
    Ok(tensors)
}

/// The oldest files are tape archives, which are read into memory: none of their entries may be
/// larger than the file, as a sparse one would be. Returns the file's size.
fn check_tar(path: &Path) -> Result<u64, Error> {
    let open = |source| Error::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(open)?;
    let size = file.metadata().map_err(open)?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    // In other files the first header is none, and the iteration ends.
    for entry in archive.entries_with_seek().map_err(open)?.map_while(Result::ok) {
        if entry.size() > size {
            let reason = "an entry would be larger than the file".to_owned();
            return Err(Error::Broken { path: path.to_owned(), reason });
        }
    }
    Ok(size)
}

/// Says in our words why a file could not be read.
fn refusal(path: &Path, error: PytorchError) -> Error {
    const SAVE: &str = "in Python, load it where its classes are known and save the model's \
                        `state_dict()`";
    match &error {
        PytorchError::InvalidFormat(reason) if reason.starts_with("not a PyTorch") => unsupported(
            path,
            "neither a PyTorch checkpoint nor a safetensors file",
            "save the model's `state_dict()` with `torch.save` or as safetensors",
        ),
        PytorchError::InvalidFormat(reason) => match reason.split_once("found ") {
            Some((before, class)) if before.starts_with("Expected a dictionary") => {
                unsupported(path, format!("a pickled {class}, not a dictionary of tensors"), SAVE)
            }
            _ => broken(path, &error),
        },
        PytorchError::Pickle(PickleError::UnsupportedType(class)) => {
            if class.starts_with("torch.Q") || class.contains("_rebuild_qtensor") {
                unsupported(path, QUANTISED, NOT_QUANTISED)
            } else if class.contains("_rebuild_sparse") {
                unsupported(
                    path,
                    "a checkpoint with sparse tensors",
                    "in Python, save them with `to_dense()`",
                )
            } else {
                unsupported(path, format!("a pickle of objects, `{class}`, with tensors"), SAVE)
            }
        }
        error => broken(path, error),
    }
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Broken { path: path.to_owned(), reason: error.to_string() }
}
