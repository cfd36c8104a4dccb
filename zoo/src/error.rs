use std::path::PathBuf;

use zoo_core::decode::DecodeError;
use zoo_models::UnknownName;

use crate::Backend;

/// What can go wrong between a name and an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No network, or no published weights, are called that.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// The weights are not compiled in, and this build can't download them.
    #[error(
        "the weights of {0} are not in this build\nhint: the feature `download` gets them, `embedded` compiles \
         efficientnet_lite0 in, and Model::open takes a file"
    )]
    NoDownload(String),
    /// A record can't be read or written.
    #[error(transparent)]
    Record(#[from] zoo_record::Error),
    /// A checkpoint can't be read, recognized or imported.
    #[cfg(feature = "import")]
    #[error(transparent)]
    Import(#[from] zoo_import::Error),
    /// The file is no record, and this build reads nothing else.
    #[error("{0} is not a record\nhint: the feature `import` reads checkpoints")]
    NoImport(PathBuf),
    /// Published weights can't be had.
    #[cfg(feature = "download")]
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
    /// The record is of another network than the one with the name that was given.
    #[error("{path} is a record of {found}, not of {expected}")]
    OtherVariant {
        /// The record.
        path: PathBuf,
        /// The network that it is of.
        found: String,
        /// The network that was asked for.
        expected: String,
    },
    /// The record is of a network that this version does not have.
    #[error("{path} is a record of a model that this version does not have: {reason}")]
    UnknownVariant {
        /// The record.
        path: PathBuf,
        /// What is known about the name.
        reason: zoo_models::UnknownVariant,
    },
    /// The weights have no classifier, only the layers before it.
    #[error("{0} has no classifier, only the layers before it")]
    NoClassifier(String),
    /// The network gives a class to each pixel, not to an image as a whole.
    #[error("{0} classifies each pixel, not an image as a whole")]
    NotAClassifier(String),
    /// The network classifies images as a whole, not their pixels.
    #[error("{0} names images, not pixels")]
    NotASegmenter(String),
    /// The settings do not say where the images are.
    #[cfg(feature = "train")]
    #[error("no images are named\nhint: set data.path")]
    NoImages,
    /// There is a run in the folder already.
    #[cfg(feature = "train")]
    #[error("there is a run in {0} already\nhint: resume it, or write to another folder")]
    RunExists(PathBuf),
    /// The run has more epochs than it is to have.
    #[cfg(feature = "train")]
    #[error("the run in {folder} has {done} epochs already\nhint: more epochs continue it")]
    EpochsDone {
        /// The run's folder.
        folder: PathBuf,
        /// The epochs that are done.
        done: usize,
    },
    /// Training can't start or go on.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] zoo_train::Error),
    /// An image can't be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are no image, or a damaged one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A decoder or a network panicked on unusual input.
    #[error("{0}")]
    CaughtPanic(String),
    /// Images are smaller than the network can take.
    #[error(
        "images of {height}x{width} pixels are too small for this network\nhint: it takes {smallest}x{smallest} and \
         larger"
    )]
    TooSmall {
        /// Height of the images in pixels.
        height: usize,
        /// Width of the images in pixels.
        width: usize,
        /// The smallest side that the network takes, in pixels.
        smallest: usize,
    },
    /// The network can't take images of this shape.
    #[error(
        "the network can't take images of {channels} channels, {height}x{width} pixels: {reason}"
    )]
    Shape {
        /// Channels of the images.
        channels: usize,
        /// Height of the images in pixels.
        height: usize,
        /// Width of the images in pixels.
        width: usize,
        /// What the network said.
        reason: String,
    },
    /// An output of the network is NaN or infinite.
    #[error("the network's answer is not a number\nhint: its weights are probably damaged")]
    NotANumber,
    /// The backend is not compiled in.
    #[error("the backend {0} is not in this build")]
    NotBuiltIn(Backend),
    /// This machine can't run the backend.
    #[error("the backend {backend} can't be used: {reason}")]
    Unusable {
        /// The backend.
        backend: Backend,
        /// What is missing.
        reason: String,
    },
    /// A parameter is larger than the device takes in one tensor.
    #[error("{path} of this network has {} MB, and the device takes {} MB in one tensor", .bytes / 1_000_000, .limit / 1_000_000)]
    TooLarge {
        /// The parameter.
        path: String,
        /// Its size in bytes.
        bytes: u64,
        /// The largest tensor of the device in bytes.
        limit: u64,
    },
    /// A layer's values for a batch are more than the device takes in one tensor.
    #[error(
        "a layer's values for {batch} images are more than the {} MB that the device takes in one tensor\n\
         hint: compute fewer images at once", .limit / 1_000_000
    )]
    BatchTooLarge {
        /// Images in the batch.
        batch: usize,
        /// The largest tensor of the device in bytes.
        limit: u64,
    },
    /// Another machine can't be reached, or does not let this one in.
    #[error("{url} can't be computed on: {reason}")]
    Remote {
        /// Its address.
        url: String,
        /// What went wrong.
        reason: String,
    },
}

impl From<zoo_core::CaughtPanic> for Error {
    fn from(panicked: zoo_core::CaughtPanic) -> Self {
        Self::CaughtPanic(panicked.0)
    }
}
