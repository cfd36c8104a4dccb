//! Tensors from PyTorch's files of all versions.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use burn::store::bridge;
use burn::store::burn_pack::Tensor;
use burn::store::pytorch_reader::PytorchReader;

use crate::claim::check_claim;
use crate::error::{NOT_QUANTIZED, QUANTIZED, unsupported};
use crate::{Error, Facts};

use self::contents::{Contents, Unsupported, contents, dtype_of, key_of};
pub(crate) use self::exported::WEIGHTS as EXPORTED;
use self::pickle::{Pickle, Value};
use self::storages::{Archive, BIG_ENDIAN, Storages, Stream};

mod contents;
mod exported;
mod pickle;
mod storages;

/// Reads the tensors of a `.pth` file by key, with their values still on disk, and its other facts.
///
/// A key is the path to a tensor through dictionaries and lists. A pickled module is read as its
/// state dict. Nothing in a pickle is ever called, and its other contents are ignored.
pub(crate) fn read(path: &Path) -> Result<(BTreeMap<String, Tensor>, Facts), Error> {
    let broken = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    let open = |source| Error::Open { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(open)?;
    let size = file.metadata().map_err(open)?.len();
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head).map_err(open)?;
    file.rewind().map_err(open)?;

    let (class, contents) = if head.starts_with(b"PK") {
        archive(path).map_err(broken)?
    } else if head.get(USTAR..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return Ok((tape(path, size)?, Facts::default()));
    } else if is_stream(&head) {
        stream(file).map_err(broken)?
    } else if matches!(head.first(), Some(0x80 | b'(' | b'}' | b']' | b'c')) {
        plain(file).map_err(broken)?
    } else {
        return Err(unsupported(
            path,
            "neither a PyTorch checkpoint nor a safetensors file",
            "save the model's `state_dict()` with `torch.save` or as safetensors",
        ));
    };

    let Contents { tensors, facts, unsupported: kind } = contents;
    match kind {
        Some(Unsupported::Quantized) => return Err(unsupported(path, QUANTIZED, NOT_QUANTIZED)),
        Some(Unsupported::Sparse) => {
            return Err(unsupported(
                path,
                "a checkpoint with sparse tensors",
                "in Python, save them with `to_dense()`",
            ));
        }
        Some(Unsupported::Numbers(name)) => {
            return Err(unsupported(
                path,
                format!("a checkpoint with numbers of the type {name}"),
                "convert it to float16 or float32",
            ));
        }
        None => {}
    }
    if tensors.is_empty() {
        return Err(unsupported(
            path,
            format!("a pickled {class} without tensors"),
            "save the model's `state_dict()`",
        ));
    }
    for (key, tensor) in &tensors {
        // A view may repeat the elements of its storage.
        check_claim(key, tensor.dtype.size(), &tensor.shape, size).map_err(broken)?;
    }
    Ok((tensors, facts))
}

/// Reads the tensors of a file of `torch.export.save` by key. Their values stay on disk.
pub(crate) fn read_exported(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    exported::tensors(path).map_err(|reason| Error::Damaged { path: path.to_owned(), reason })
}

/// Number of bytes that are read to recognize the format.
const HEAD: u64 = 512;

/// The offset of a tar archive's signature.
const USTAR: usize = 257;

/// The class of a pickled object, and its contents.
type Unpickled = (String, Contents);

/// Reads a zip archive, the format since PyTorch 1.6.
fn archive(path: &Path) -> Result<Unpickled, String> {
    let (archive, bytes) = Archive::open(path, "data.pkl", "data/")?;
    let pickle = Pickle::read(&mut &bytes[..])?;
    drop(bytes);
    let storages = Arc::new(Storages::Archive(archive));
    Ok((pickle.class(pickle.root()), contents(&pickle, &storages)?))
}

/// The number that files before PyTorch 1.6 begin with, in the binary and in the text protocol.
const MAGIC: [&[u8]; 2] =
    [b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"119547037146038801333356"];

fn is_stream(head: &[u8]) -> bool {
    let start = &head[..head.len().min(64)];
    MAGIC.iter().any(|magic| memchr::memmem::find(start, magic).is_some())
}

/// Reads a stream of pickles: the magic number, the version, facts about the machine, the saved
/// object, the names of the storages; then the storages.
fn stream(file: File) -> Result<Unpickled, String> {
    let mut reader = BufReader::new(file);
    Pickle::read(&mut reader)?;
    Pickle::read(&mut reader)?;
    let machine = Pickle::read(&mut reader)?;
    let is_little = machine.entry(machine.root(), "little_endian");
    if is_little.and_then(|value| machine.int(value)) == Some(0) {
        return Err(BIG_ENDIAN.to_owned());
    }
    let pickle = Pickle::read(&mut reader)?;
    let keys = Pickle::read(&mut reader)?;
    let keys = keys.sequence(keys.root()).map(|list| list.iter().map(|id| key_of(&keys, *id)));
    let keys: Vec<String> = keys
        .and_then(Iterator::collect::<Option<_>>)
        .ok_or("it lacks the names of its storages")?;
    let position = reader.stream_position().map_err(|error| error.to_string())?;

    let mut widths = HashMap::new();
    for value in pickle.values() {
        if let Value::Persistent(id) = value
            && let Some([_, kind, key, ..]) = pickle.sequence(*id)
            && let (Some(kind), Some(key)) = (pickle.global(*kind), key_of(&pickle, *key))
        {
            widths.insert(key, width_of(kind));
        }
    }
    let storages = Stream::new(reader.into_inner(), position, &keys, &widths)?;
    let storages = Arc::new(Storages::Stream(storages));
    Ok((pickle.class(pickle.root()), contents(&pickle, &storages)?))
}

/// Returns the width of a storage's elements in bytes, also of types that are not supported.
fn width_of(kind: &str) -> u64 {
    match dtype_of(kind) {
        Ok(dtype) => dtype.size() as u64,
        Err(_) if kind.ends_with("QInt32Storage") => 4,
        Err(None) if kind.contains("Double") => 16,
        Err(None) => 8,
        Err(_) => 1,
    }
}

/// Reads a single pickle, for example of NumPy arrays.
fn plain(file: File) -> Result<Unpickled, String> {
    let pickle = Pickle::read(&mut BufReader::new(file))?;
    Ok((pickle.class(pickle.root()), contents(&pickle, &Arc::new(Storages::Nothing))?))
}

/// Reads the oldest format, a tar archive, into memory. No entry may be larger than the file, as
/// that of a sparse file would be.
fn tape(path: &Path, size: u64) -> Result<BTreeMap<String, Tensor>, Error> {
    let broken = |reason: String| Error::Damaged { path: path.to_owned(), reason };
    let open = |source| Error::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(open)?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    for entry in archive.entries_with_seek().map_err(open)?.map_while(Result::ok) {
        if entry.size() > size {
            return Err(broken("an entry would be larger than the file".to_owned()));
        }
    }
    let reader = PytorchReader::new(path).map_err(|error| broken(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for tensor in reader.into_tensors().into_values() {
        check_claim(&tensor.name, tensor.dtype().size(), tensor.shape(), size).map_err(broken)?;
        tensors.insert(tensor.name.clone(), bridge::from_pytorch(tensor));
    }
    Ok(tensors)
}
