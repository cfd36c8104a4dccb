//! The readers of files that strangers wrote, as functions of bytes: for a fuzzer, and for the
//! test that replays what one has found.
//!
//! Whatever the bytes are, a reader gives tensors, pixels or an error. It does not panic, and
//! what it takes in memory has to do with what the file has.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zoo_import::{Checkpoint, Tensor, onnx};
use zoo_record::Record;

/// A kind of file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// PyTorch's checkpoints.
    Pth,
    /// Hugging Face's.
    Safetensors,
    /// Graphs.
    Onnx,
    /// Keras's weights.
    Keras,
    /// Our own.
    Record,
    /// Photographs.
    Image,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pth, Self::Safetensors, Self::Onnx, Self::Keras, Self::Record, Self::Image];

    /// Its name, which is that of its folder in `corpus` too.
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

    /// The folder with files to begin with, and those that once were too much for a reader.
    pub fn corpus(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name())
    }

    /// Reads bytes as such a file, and all that is in it.
    ///
    /// # Panics
    ///
    /// When the reader does, or what it says about the file contradicts itself.
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
                    // Tensors may be packed, and what they unpack to is known before.
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

/// Reads the values of tensors that were accepted: they are no larger than the file says.
fn read_all<'t>(tensors: impl IntoIterator<Item = &'t Tensor>, most: usize) {
    for tensor in tensors {
        let size = tensor.byte_len();
        assert!(size <= most, "{} has {size} bytes, of at most {most}", tensor.name);
        if let Ok(bytes) = tensor.to_bytes() {
            assert_eq!(bytes.len(), size, "{}", tensor.name);
        }
    }
}

/// A folder for the file that is read.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A new folder.
    ///
    /// # Panics
    ///
    /// When the system has no room for one.
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
