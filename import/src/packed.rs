//! A checkpoint in a folder or an archive.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::store::burn_pack::Tensor;
use tempfile::{NamedTempFile, TempPath};
use zip::ZipArchive;

use crate::error::{damaged, unsupported};
use crate::{Checkpoint, Error};

/// Extensions of files with weights.
pub(crate) const ENDINGS: [&str; 10] =
    [".pth", ".pt", ".pt2", ".safetensors", ".onnx", ".bin", ".ckpt", ".pth.tar", ".h5", ".keras"];

/// Names of the same weights in two formats on model hubs. The first one is used.
const SAME: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The largest ratio of unpacked to packed size.
const MOST_PER_BYTE: u64 = 32;

fn is_checkpoint(name: &str) -> bool {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let is_hidden = file.starts_with('.') || name.starts_with("__MACOSX");
    !is_hidden && ENDINGS.iter().any(|end| file.to_lowercase().ends_with(end))
}

/// Returns the only checkpoint among some names.
///
/// # Errors
///
/// When there is no checkpoint or more than one. The error suggests what to do.
fn only(
    kind: &str,
    mut names: Vec<String>,
) -> Result<String, (Cow<'static, str>, Cow<'static, str>)> {
    names.retain(|name| is_checkpoint(name));
    names.sort();
    if let Some(first) = SAME.iter().find(|same| names.iter().any(|name| name.ends_with(**same))) {
        names.retain(|name| name.ends_with(first) || !SAME.iter().any(|same| name.ends_with(same)));
    }
    match &names[..] {
        [name] => Ok(name.clone()),
        [] => Err((
            format!("{kind} without a checkpoint").into(),
            "give the file with the weights".into(),
        )),
        [first, second, rest @ ..] => {
            let more = if rest.is_empty() { "" } else { ", …" };
            let found = format!("{kind} with {} checkpoints: {first}, {second}{more}", names.len());
            Err((found.into(), "give one of them".into()))
        }
    }
}

/// Opens the only checkpoint in a folder.
pub(crate) fn open_folder(path: &Path) -> Result<Checkpoint, Error> {
    let entries =
        std::fs::read_dir(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let name = only("a folder", names).map_err(|(found, hint)| unsupported(path, found, hint))?;
    Checkpoint::open(&path.join(name))
}

/// Opens the only checkpoint in a tar archive.
pub(crate) fn open_tape(path: &Path) -> Result<Checkpoint, Error> {
    let open = |source| Error::Open { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(open)?.len();
    let archive = || File::open(path).map(|file| tar::Archive::new(BufReader::new(file)));
    let name_of = |entry: &tar::Entry<'_, BufReader<File>>| {
        entry.path().map(|path| path.to_string_lossy().into_owned())
    };
    let names = archive().and_then(|mut archive| {
        archive.entries_with_seek()?.map(|entry| name_of(&entry?)).collect::<io::Result<_>>()
    });
    let names = names.map_err(|error| damaged(path, error))?;
    let name =
        only("a tape archive", names).map_err(|(found, hint)| unsupported(path, found, hint))?;
    let mut archive = archive().map_err(open)?;
    for entry in archive.entries_with_seek().map_err(open)? {
        let entry = entry.map_err(|error| damaged(path, error))?;
        if name_of(&entry).is_ok_and(|found| found == name) {
            if entry.size() > size {
                return Err(damaged(path, "an entry would be larger than the file"));
            }
            return open_unpacked(path, name, entry);
        }
    }
    Err(damaged(path, format!("`{name}` is gone")))
}

/// Opens the only checkpoint in a zip archive.
pub(crate) fn open_zip(path: &Path) -> Result<Checkpoint, Error> {
    let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(path, error))?;
    let names: Vec<String> = archive.file_names().flatten().map(Cow::into_owned).collect();
    let name = only("an archive", names).map_err(|(found, hint)| unsupported(path, found, hint))?;
    let entry = archive.by_name(&name).map_err(|error| damaged(path, error))?;
    let (size, most) = (entry.size(), entry.compressed_size().saturating_mul(MOST_PER_BYTE));
    if size > most {
        return Err(damaged(path, format!("`{name}` would be of {size} bytes")));
    }
    open_unpacked(path, name, entry.take(size))
}

/// Opens an unpacked entry, and names its archive in errors.
fn open_unpacked(path: &Path, entry: String, mut reader: impl Read) -> Result<Checkpoint, Error> {
    let write = |reason: String| -> Error {
        zoo_record::Error::Write { path: std::env::temp_dir(), reason }.into()
    };
    let end = ENDINGS.iter().find(|end| entry.ends_with(**end)).unwrap_or(&"");
    let file = NamedTempFile::with_suffix(end).map_err(|error| write(error.to_string()))?;
    io::copy(&mut reader, &mut file.as_file()).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(path, error),
        _ => write(error.to_string()),
    })?;
    let file = Arc::new(file.into_temp_path());
    let mut checkpoint =
        Checkpoint::open(&file).map_err(|error| error.within(&file, path, &entry))?;
    path.clone_into(&mut checkpoint.path);
    checkpoint.facts.entry = Some(entry);
    checkpoint.tensors = checkpoint
        .tensors
        .into_iter()
        .map(|(key, tensor)| (key, holding(tensor, file.clone())))
        .collect();
    Ok(checkpoint)
}

/// Returns the tensor with a reference that keeps its temporary file alive.
fn holding(tensor: Tensor, file: Arc<TempPath>) -> Tensor {
    let (name, dtype, shape) = (tensor.name.clone(), tensor.dtype, tensor.shape.clone());
    let length = tensor.byte_len();
    Tensor::deferred(name, dtype, shape, None, length, move || {
        let _file = &file;
        tensor.to_bytes()
    })
}

impl Error {
    /// Returns the error with the archive and its entry instead of the temporary file.
    fn within(self, file: &Path, archive: &Path, entry: &str) -> Self {
        let named = |path: PathBuf| match path == file {
            true => archive.join(entry),
            false => path,
        };
        match self {
            Self::Unsupported { path, found, hint } => {
                Self::Unsupported { path: named(path), found, hint }
            }
            Self::Damaged { path, reason } => Self::Damaged { path: named(path), reason },
            Self::Empty(path) => Self::Empty(named(path)),
            other => other,
        }
    }
}
