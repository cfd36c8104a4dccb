//! What a file is, by its content: its name may say anything.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ArchiveOffset;

use crate::keras::WEIGHTS;
use crate::onnx::is_onnx;
use crate::packed::ENDINGS;
use crate::pytorch::EXPORTED;
use crate::{Error, is_record};

/// The kinds of files that tensors are read from.
pub(crate) enum Kind {
    Pytorch,
    Safetensors,
    Onnx,
    Hdf5,
    Keras,
    /// What `torch.export.save` writes.
    Exported,
    /// A folder or an archive, in which a checkpoint may be.
    Folder,
    Tape,
    Archive,
}

impl Kind {
    /// # Errors
    ///
    /// When the file is of a kind that holds no weights, or that is not read; each has a sentence
    /// of its own.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let open = |source| Error::Open { path: path.to_owned(), source };
        let refuse = |(found, hint): Refusal| Error::Unsupported { path: path.into(), found, hint };
        if path.is_dir() {
            return folder(path).map_or(Ok(Self::Folder), |refusal| Err(refuse(refusal)));
        }
        let mut head = Vec::new();
        File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head)).map_err(open)?;
        if head.is_empty() {
            Err(Error::Empty(path.to_owned()))
        } else if head.get(8) == Some(&b'{') && head[5..8] == [0; 3] {
            // It begins with a length, which may look like anything.
            Ok(Self::Safetensors)
        } else if let Some(refusal) = foreign(&head) {
            Err(refuse(refusal))
        } else if head.starts_with(b"PK") {
            archive(path).map_err(|fault| match fault {
                Fault::Foreign(refusal) => refuse(refusal),
                Fault::Broken(reason) => Error::Broken { path: path.to_owned(), reason },
            })
        } else if head.starts_with(b"\x89HDF\r\n\x1a\n") {
            Ok(Self::Hdf5)
        } else if is_onnx(&head) {
            Ok(Self::Onnx)
        } else if is_tape(&head) && !is_pytorch_tape(path).map_err(open)? {
            Ok(Self::Tape)
        } else {
            Ok(Self::Pytorch)
        }
    }
}

/// What a file is, and what to do about it.
type Refusal = (Cow<'static, str>, Cow<'static, str>);

/// Bytes that are enough to tell.
const HEAD: u64 = 512;

const GIVE_WEIGHTS: &str = "give the file with the weights themselves";
const UNPACK: &str = "unpack it, and give what is in it";

/// Bytes at a certain place that files of a kind begin with.
#[rustfmt::skip]
const FOREIGN: [(usize, &[u8], &str, &str); 20] = [
    (4, b"TFL3", "a TensorFlow Lite model, whose weights are laid out for small devices",
        "import the network that it was converted from"),
    // The version of a SavedModel is 1, older than any ONNX of opset 7.
    (0, b"\x08\x01\x12", "a TensorFlow SavedModel, which is a program",
        "export it to ONNX with tf2onnx, or save its weights from Keras"),
    (0, b"\x93NUMPY", "a NumPy array", "save all tensors by name, as safetensors"),
    (0, b"GGUF", "a GGUF file, which language models are kept in", GIVE_WEIGHTS),
    (0, b"\x89PNG\r\n", "an image", "`zoo classify` names what is in it"),
    (0, b"\xff\xd8\xff", "an image", "`zoo classify` names what is in it"),
    (0, b"GIF8", "an image", "`zoo classify` names what is in it"),
    (8, b"WEBP", "an image", "`zoo classify` names what is in it"),
    (0, b"II*\0", "an image", "`zoo classify` names what is in it"),
    (0, b"MM\0*", "an image", "`zoo classify` names what is in it"),
    (0, b"\x1f\x8b", "a compressed file", UNPACK),
    (0, b"BZh", "a compressed file", UNPACK),
    (0, b"\xfd7zXZ\0", "a compressed file", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a compressed file", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a compressed file", UNPACK),
    (0, b"Rar!", "a compressed file", UNPACK),
    (0, b"\x7fELF", "a program", GIVE_WEIGHTS),
    (0, b"MZ\x90\0", "a program", GIVE_WEIGHTS),
    (0, b"%PDF", "a PDF document", GIVE_WEIGHTS),
    (0, b"PK\x05\x06", "an empty archive", GIVE_WEIGHTS),
];

/// A file of no use here, if its first bytes are those of one.
fn foreign(head: &[u8]) -> Option<Refusal> {
    let refusal = |found: &'static str, hint: &'static str| Some((found.into(), hint.into()));
    let is_there = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|b| b.starts_with(magic));
    if let Some(&(.., found, hint)) = FOREIGN.iter().find(|(at, magic, ..)| is_there(*at, magic)) {
        return refusal(found, hint);
    }
    if is_record(head) {
        return refusal("a Burn record already", "give it to `zoo classify --weights` as it is");
    }
    let contains = |text: &str| head.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    // A GraphDef begins with a node, and that with its name.
    if matches!(head, [0x0a, _, 0x0a, ..] | [0x0a, _, _, 0x0a, ..])
        && ["Placeholder", "Const", "VarHandleOp"].into_iter().any(contains)
    {
        return refusal(
            "a TensorFlow graph, without the names of its layers",
            "export it to ONNX with tf2onnx",
        );
    }
    let is_text = head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    // PyTorch's oldest pickles may be written in letters, and begin with this number.
    if !is_text || is_there(0, b"L119547037146038801333356L") {
        return None;
    }
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    if text.starts_with("version https://git-lfs") {
        refusal(
            "a pointer of git-lfs, not the file itself",
            "run `git lfs pull` where it comes from",
        )
    } else if text.starts_with("<!doctype html") || text.starts_with("<html") {
        refusal("a web page", "the download link led to a page, not to the file")
    } else {
        refusal("a text file", GIVE_WEIGHTS)
    }
}

/// What a folder as a whole is, if it is of no use.
fn folder(path: &Path) -> Option<Refusal> {
    path.join("saved_model.pb").exists().then(|| {
        let found = "a TensorFlow SavedModel, which is a program";
        let hint = "export it to ONNX with tf2onnx, or save its weights from Keras";
        (found.into(), hint.into())
    })
}

fn is_tape(head: &[u8]) -> bool {
    head.get(257..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// Whether a tape archive is one of PyTorch's before 2017, which have their storages in an entry.
fn is_pytorch_tape(path: &Path) -> std::io::Result<bool> {
    let mut archive = tar::Archive::new(BufReader::new(File::open(path)?));
    let mut entries = archive.entries_with_seek()?.map_while(Result::ok);
    Ok(entries.any(|entry| entry.path_bytes().ends_with(b"storages")))
}

/// What is wrong with an archive.
enum Fault {
    Foreign(Refusal),
    Broken(String),
}

/// Whose archive it is, if none of its entries lies over another one.
fn archive(path: &Path) -> Result<Kind, Fault> {
    let broken = |error: &dyn std::fmt::Display| Fault::Broken(error.to_string());
    let foreign = |found: Cow<'static, str>, hint: Cow<'static, str>| Fault::Foreign((found, hint));
    let file = File::open(path).map_err(|error| broken(&error))?;
    // Nothing is before an archive that anybody saved; else all of it would be searched.
    let config = zip::read::Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, BufReader::new(file));
    let mut archive = archive.map_err(|error| broken(&error))?;
    if archive.has_overlapping_files().map_err(|error| broken(&error))? {
        return Err(Fault::Broken("parts of it lie over one another".to_owned()));
    }
    let names: Vec<Cow<'_, str>> = archive.file_names().flatten().collect();
    let is_entry = |name: &str, entry: &str| {
        name.strip_suffix(entry).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    let has = |entry: &str| names.iter().any(|name| is_entry(name, entry));
    if has("data.pkl") {
        return Ok(Kind::Pytorch);
    }
    if names.iter().any(|name| name == WEIGHTS) {
        return Ok(Kind::Keras);
    }
    if has(EXPORTED) {
        return Ok(Kind::Exported);
    }
    if names.iter().any(|name| ENDINGS.iter().any(|end| name.ends_with(end))) {
        return Ok(Kind::Archive);
    }
    if names.iter().any(|name| name.ends_with(".npy")) {
        let found = "an archive of NumPy arrays";
        return Err(foreign(found.into(), "save them as safetensors".into()));
    }
    Err(foreign("an archive without weights".into(), GIVE_WEIGHTS.into()))
}
