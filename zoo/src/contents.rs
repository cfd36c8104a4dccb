//! The contents of a record or a checkpoint: what `zoo inspect` shows.

use std::path::Path;

use serde::Serialize;
use zoo_import::{Checkpoint, Choice, Recognition, Tensor, Unidentified, identify};
use zoo_record::{ModelCard, Record, is_record_file};

use crate::Error;

/// The tensors of a file, and the network that they belong to.
#[derive(Debug)]
pub struct Contents {
    /// The tensors in the order of their keys.
    pub tensors: Vec<TensorInfo>,
    /// The file.
    pub source: Source,
}

/// What kind of file holds the tensors.
#[derive(Debug)]
pub enum Source {
    /// A record, with its card.
    Record(Box<ModelCard>),
    /// A checkpoint, with the network that was recognized.
    Checkpoint(Result<Recognition, Unidentified>),
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its key in the file.
    pub key: String,
    /// The type of its numbers.
    pub dtype: &'static str,
    /// Its shape in the file.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    fn new(key: &str, tensor: &Tensor) -> Self {
        let shape = tensor.shape.to_vec();
        Self { key: key.to_owned(), dtype: tensor.dtype.name(), shape }
    }
}

impl Contents {
    /// Reads the list of tensors, not their numbers, and recognizes the network.
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn of(path: &Path) -> Result<Self, Error> {
        if is_record_file(path)? {
            let record = Record::open(path)?;
            let tensors = record.tensors().iter();
            let tensors = tensors.map(|tensor| TensorInfo::new(&tensor.name, tensor)).collect();
            return Ok(Self { tensors, source: Source::Record(Box::new(record.card)) });
        }
        let checkpoint = Checkpoint::open(path)?;
        let tensors = checkpoint.tensors.iter();
        let tensors = tensors.map(|(key, tensor)| TensorInfo::new(key, tensor)).collect();
        let identified = identify(&checkpoint, &Choice::default());
        let recognition = identified.map(|identified| identified.recognition);
        Ok(Self { tensors, source: Source::Checkpoint(recognition) })
    }

    /// The name of the network, if it is clear.
    pub fn model(&self) -> Option<&str> {
        match &self.source {
            Source::Record(card) => Some(&card.variant),
            Source::Checkpoint(recognition) => Some(&recognition.as_ref().ok()?.name),
        }
    }
}
