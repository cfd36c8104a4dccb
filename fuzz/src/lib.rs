//! The readers of untrusted files as functions of bytes: for a fuzzer, and for the test that
//! replays its findings.
//!
//! For any bytes, a reader returns tensors, pixels or an error. It does not panic, and its memory
//! is proportional to the size of the file.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zoo_import::{Checkpoint, Tensor, onnx};
use zoo_record::Record;

/// A file format that is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// PyTorch checkpoints.
    Pth,
    /// Safetensors files.
    Safetensors,
    /// ONNX graphs.
    Onnx,
    /// Keras weights.
    Keras,
    /// Records.
    Record,
    /// Images.
    Image,
}

impl Target {
    /// All formats.
    pub const ALL: [Self; 6] =
        [Self::Pth, Self::Safetensors, Self::Onnx, Self::Keras, Self::Record, Self::Image];

    /// The name of the format and of its folder in `corpus`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pth => "pth",
            Self::Safetensors => "safetensors",
            Self::Onnx => "onnx",
            Self::Keras => "keras",
            Self::Record => "record",
            Self::Image => "image",
        }
    }

    /// The folder with the initial files, and with those that once made a reader fail.
    pub fn corpus(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name())
    }

    /// Reads bytes as a file of this format, with all its contents.
    ///
    /// # Panics
    ///
    /// When the reader panics, or its results contradict each other.
    pub fn read(self, bytes: &[u8], scratch: &Scratch) {
        match self {
            Self::Image => {
                let _ = zoo_core::decode::decode(bytes);
            }
            Self::Record => {
                let _ = Record::from_bytes("fuzzed", bytes.to_vec());
                if let Ok(record) = Record::open(&scratch.file(bytes)) {
                    read_all(record.tensors(), bytes.len());
                }
            }
            Self::Keras => {
                if let Ok(checkpoint) = Checkpoint::open(&scratch.file(bytes)) {
                    // Tensors may be compressed; their unpacked size is known before.
                    let is_small = |tensor: &&Tensor| tensor.byte_len() < 1 << 24;
                    read_all(checkpoint.tensors.values().filter(is_small), 1 << 24);
                }
            }
            Self::Pth | Self::Safetensors | Self::Onnx => {
                if let Ok(checkpoint) = Checkpoint::open(&scratch.file(bytes)) {
                    read_all(checkpoint.tensors.values(), bytes.len());
                    let _ = onnx::recognize(&checkpoint, &[]);
                }
            }
        }
    }
}

/// Reads the values of accepted tensors, which are not larger than the file states.
fn read_all<'t>(tensors: impl IntoIterator<Item = &'t Tensor>, most: usize) {
    for tensor in tensors {
        let size = tensor.byte_len();
        assert!(size <= most, "{} has {size} bytes, of at most {most}", tensor.name);
        if let Ok(bytes) = tensor.to_bytes() {
            assert_eq!(bytes.len(), size, "{}", tensor.name);
        }
    }
}

/// A temporary folder for the file that is read.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Creates a new folder.
    ///
    /// # Panics
    ///
    /// When the system can't create one.
    #[expect(clippy::new_without_default, reason = "it is made once, and makes a folder")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for a folder"))
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("file");
        fs::write(&path, bytes).expect("there is room for a file");
        path
    }
}
