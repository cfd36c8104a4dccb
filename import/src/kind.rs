//! Recognition of a file's format by its content; its name is not reliable.

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
use zoo_record::is_record;

use crate::Error;

/// The formats that tensors are read from.
pub(crate) enum Kind {
    Pytorch,
    Safetensors,
    Onnx,
    Hdf5,
    Keras,
    /// A file of `torch.export.save`.
    Exported,
    /// A folder or an archive that may contain a checkpoint.
    Folder,
    Tape,
    Archive,
}

impl Kind {
    /// # Errors
    ///
    /// When the file has a format without weights, or one that this crate does not read; each has
    /// its own message.
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
            // The file begins with a length, which can have any bytes.
            Ok(Self::Safetensors)
        } else if let Some(refusal) = foreign(&head).or_else(|| named(path, &head)) {
            Err(refuse(refusal))
        } else if is_text(&head) {
            Err(refuse(("a text file".into(), GIVE_WEIGHTS.into())))
        } else if head.starts_with(b"PK") {
            archive(path).map_err(|fault| match fault {
                Fault::Foreign(refusal) => refuse(refusal),
                Fault::Broken(reason) => Error::Damaged { path: path.to_owned(), reason },
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

/// The format of a file, and what the user can do.
type Refusal = (Cow<'static, str>, Cow<'static, str>);

/// Number of bytes that are read to recognize a format.
const HEAD: u64 = 512;

const TENSORRT: &str = "a TensorRT engine, a program for one kind of graphics card";
const NCNN: &str = "a part of an ncnn model";
const OPENVINO: &str = "a part of an OpenVINO model";
const DARKNET: &str = "the weights of a Darknet network, which have no names";
const DARKNET_HINT: &str = "import the network in PyTorch's format or as ONNX";
const TENSORFLOW_JS: &str = "a part of a TensorFlow.js model";
const TENSORFLOW_JS_HINT: &str = "import the Keras model that it was converted from, or export it to \
                                  ONNX with `python -m tf2onnx.convert --tfjs model.json --output \
                                  model.onnx`";
const CAFFE: &str = "a Caffe network";
const CAFFE_HINT: &str = "import the network in PyTorch's format, or convert it to ONNX with the Python \
                          package `caffe2onnx`";
const PADDLE: &str = "a part of a Paddle model";
const PADDLE_HINT: &str = "export it to ONNX: `paddle2onnx --model_dir FOLDER --model_filename \
                           NAME.pdmodel --params_filename NAME.pdiparams --save_file model.onnx`";
const CORE_ML: &str = "a Core ML model";
const SAVED_CHECKPOINT: &str = "a part of a TensorFlow checkpoint";
const SAVED_CHECKPOINT_HINT: &str =
    "load it in Keras and save the model with `model.save(\"x.keras\")`";
const CONVERTED: &str = "import the model that it was converted from";
const FLAX: &str = "a file of msgpack, as Flax saves networks, whose layers are not PyTorch's";

/// Formats without a signature, by file extension.
const NAMED: [(&str, &str, &str); 14] = [
    (".caffemodel", CAFFE, CAFFE_HINT),
    (".prototxt", CAFFE, CAFFE_HINT),
    (".mlmodel", CORE_ML, CONVERTED),
    (".pdmodel", PADDLE, PADDLE_HINT),
    (".pdiparams", PADDLE, PADDLE_HINT),
    (".mnn", "an MNN model", CONVERTED),
    (".engine", TENSORRT, CONVERTED),
    (".plan", TENSORRT, CONVERTED),
    (".trt", TENSORRT, CONVERTED),
    (".msgpack", FLAX, "import PyTorch's weights of the same network"),
    (".ckpt.index", SAVED_CHECKPOINT, SAVED_CHECKPOINT_HINT),
    (".ckpt.meta", SAVED_CHECKPOINT, SAVED_CHECKPOINT_HINT),
    (".onnx.data", "the values of an ONNX model", "give the `.onnx` file beside it"),
    (".onnx_data", "the values of an ONNX model", "give the `.onnx` file beside it"),
];

/// Recognizes a file by its name, if its content may be of any format.
fn named(path: &Path, head: &[u8]) -> Option<Refusal> {
    let refusal = |found: &'static str, hint: &'static str| Some((found.into(), hint.into()));
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    // PyTorch's files may have any name.
    if head.starts_with(b"PK") || head.starts_with(b"\x80") {
        return None;
    }
    if let Some(&(_, found, hint)) = NAMED.iter().find(|(end, ..)| name.ends_with(end)) {
        return refusal(found, hint);
    }
    let has_beside = |extension: &str| path.with_extension(extension).exists();
    if name.contains("-shard") && name.ends_with(".bin") && name.starts_with("group") {
        refusal(TENSORFLOW_JS, TENSORFLOW_JS_HINT)
    } else if name.contains(".data-0000") {
        refusal(SAVED_CHECKPOINT, SAVED_CHECKPOINT_HINT)
    } else if name.ends_with(".bin") && has_beside("xml") {
        refusal(OPENVINO, CONVERTED)
    } else if name.ends_with(".bin") && has_beside("param") {
        refusal(NCNN, CONVERTED)
    } else {
        None
    }
}

const GIVE_WEIGHTS: &str = "give the file with the weights themselves";
const UNPACK: &str = "unpack it, and give what is in it";

/// The signatures of formats, and their offsets.
#[rustfmt::skip]
const FOREIGN: [(usize, &[u8], &str, &str); 29] = [
    (4, b"TFL3", "a TensorFlow Lite model, whose weights are laid out for small devices",
        "import the network that it was converted from"),
    // The version of a SavedModel is 1, older than any ONNX of opset 7.
    (0, b"\x08\x01\x12", "a TensorFlow SavedModel, which is a program",
        "export it to ONNX with tf2onnx, or save its weights from Keras"),
    (0, b"\x93NUMPY", "a NumPy array", "save all tensors by name, as safetensors"),
    (0, b"GGUF", "a GGUF file, which language models are kept in", GIVE_WEIGHTS),
    (0, b"lmgg", "a GGML file, which language models are kept in", GIVE_WEIGHTS),
    (0, b"fmgg", "a GGML file, which language models are kept in", GIVE_WEIGHTS),
    (0, b"tjgg", "a GGML file, which language models are kept in", GIVE_WEIGHTS),
    (0, b"ftrt", TENSORRT, CONVERTED),
    (0, b"ptrt", TENSORRT, CONVERTED),
    (0, b"7767517\n", NCNN, CONVERTED),
    (0, b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "the parameters of an MXNet network",
        "import the network in PyTorch's format, or export it to ONNX with MXNet's `mx2onnx`"),
    (0, b"\0\0\0\0\x01\0\0\0\0\0\0\0", DARKNET, DARKNET_HINT),
    (0, b"\0\0\0\0\x02\0\0\0", DARKNET, DARKNET_HINT),
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

/// Recognizes formats without weights, by the first bytes.
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
    // A GraphDef begins with a node, and a node with its name.
    if matches!(head, [0x0a, _, 0x0a, ..] | [0x0a, _, _, 0x0a, ..])
        && ["Placeholder", "Const", "VarHandleOp"].into_iter().any(contains)
    {
        return refusal(
            "a TensorFlow graph, without the names of its layers",
            "export it to ONNX with tf2onnx",
        );
    }
    // The file begins with a map, and a map with a key.
    if matches!(head, [0x81..=0x8f, 0xa1..=0xbf, letter, ..] if letter.is_ascii_alphabetic()) {
        return refusal(FLAX, "import PyTorch's weights of the same network");
    }
    // The version as in ONNX, but then a message instead of the producer's name.
    if let [0x08, 1..=20, 0x12, length @ ..] = head {
        let message = length.iter().skip_while(|&&byte| byte >= 0x80).nth(1);
        if matches!(message, Some(0x0a | 0xa2)) {
            return refusal(CORE_ML, CONVERTED);
        }
    }
    // A network begins with its name, followed by its layers.
    if let [0x0a, length, rest @ ..] = head
        && let Some((name, layers)) = rest.split_at_checked(usize::from(*length))
        && *length < 0x80
        && name.iter().all(u8::is_ascii_graphic)
    {
        if contains("GivenTensor") || contains("XavierFill") {
            let found = "a Caffe2 network, which is a program";
            return refusal(found, "export it to ONNX, or import PyTorch's weights of the network");
        }
        if layers.starts_with(b"\x12") || layers.starts_with(b"\xa2\x06") || contains("Convolution")
        {
            return refusal(CAFFE, CAFFE_HINT);
        }
    }
    if !is_text(head) {
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
    } else if text.starts_with('{')
        && ["modeltopology", "weightsmanifest"].iter().any(|key| text.contains(key))
    {
        refusal(TENSORFLOW_JS, TENSORFLOW_JS_HINT)
    } else if text.starts_with('{') && text.contains("\"class_name\"") {
        refusal("the configuration of a Keras network, without weights", SAVE_KERAS)
    } else if text.starts_with("<?xml") && text.contains("<net ") {
        refusal(OPENVINO, CONVERTED)
    } else if text.contains("[net]") || text.contains("[convolutional]") {
        refusal("the configuration of a Darknet network, without weights", DARKNET_HINT)
    } else if ["layer {", "layers {", "input_dim:"].iter().any(|word| text.contains(word)) {
        refusal(CAFFE, CAFFE_HINT)
    } else if text.starts_with("model_checkpoint_path:") {
        refusal(SAVED_CHECKPOINT, SAVED_CHECKPOINT_HINT)
    } else {
        None
    }
}

/// Whether these are letters. PyTorch's oldest pickles may consist of letters; they begin with this
/// number.
fn is_text(head: &[u8]) -> bool {
    head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        && !head.starts_with(b"L119547037146038801333356L")
}

const SAVE_KERAS: &str = "save the whole model, with `model.save(\"x.keras\")`";

/// Recognizes a folder without a checkpoint.
fn folder(path: &Path) -> Option<Refusal> {
    if path.join("saved_model.pb").exists() {
        let found = "a TensorFlow SavedModel, which is a program";
        let hint = "export it to ONNX with tf2onnx, or save its weights from Keras";
        return Some((found.into(), hint.into()));
    }
    let is_core_ml = path.join("Manifest.json").exists() && path.join("Data").exists();
    is_core_ml.then(|| (CORE_ML.into(), CONVERTED.into()))
}

fn is_tape(head: &[u8]) -> bool {
    head.get(257..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// Whether a tar archive is one of PyTorch's before 2017, by the names of its entries.
fn is_pytorch_tape(path: &Path) -> std::io::Result<bool> {
    const ENTRIES: [&[u8]; 4] = [b"sys_info", b"pickle", b"tensors", b"storages"];
    let mut archive = tar::Archive::new(BufReader::new(File::open(path)?));
    let mut entries = archive.entries_with_seek()?.map_while(Result::ok);
    Ok(entries.any(|entry| {
        let path = entry.path_bytes();
        ENTRIES.contains(&path.strip_prefix(b"./").unwrap_or(&path))
    }))
}

/// The fault of an archive.
enum Fault {
    Foreign(Refusal),
    Broken(String),
}

/// Recognizes the program that wrote an archive. Checks that no two entries overlap.
fn archive(path: &Path) -> Result<Kind, Fault> {
    let broken = |error: &dyn std::fmt::Display| Fault::Broken(error.to_string());
    let foreign = |found: Cow<'static, str>, hint: Cow<'static, str>| Fault::Foreign((found, hint));
    let file = File::open(path).map_err(|error| broken(&error))?;
    // Normal archives have nothing before the first entry; otherwise the whole file would be
    // searched.
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
    if has("constants.pkl") && has("data.pkl") {
        // The parameters of a frozen module are constants of its program.
        let is_parameter = |name: &str| {
            let number = name.rsplit_once("/data/").map(|(_, number)| number);
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_constant = |name: &str| name.contains("/constants/");
        if !names.iter().any(|name| is_parameter(name))
            && names.iter().any(|name| is_constant(name))
        {
            return Err(foreign(
                "a frozen TorchScript archive, whose weights have no names".into(),
                "in Python, `torch.onnx.export(torch.jit.load(FILE), torch.randn(1, 3, 224, 224), \
                 'model.onnx', dynamo=False)`, and give that"
                    .into(),
            ));
        }
    }
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
