use std::path::PathBuf;

use zoo_core::decode::DecodeError;
use zoo_models::UnknownName;

use crate::Backend;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No network or no published weights have this name.
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
    /// The computation of a network can't be captured.
    #[cfg(feature = "import")]
    #[error(transparent)]
    NotCaptured(#[from] zoo_import::NotCaptured),
    /// The file is not a record, and this build reads nothing else.
    #[error("{0} is not a record\nhint: the feature `import` reads checkpoints")]
    NoImport(PathBuf),
    /// Published weights can't be downloaded or read.
    #[cfg(feature = "download")]
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
    /// The record belongs to another network than the requested one.
    #[error("{path} is a record of {found}, not of {expected}")]
    OtherVariant {
        /// The record.
        path: PathBuf,
        /// The network of the record.
        found: String,
        /// The requested network.
        expected: String,
    },
    /// The record belongs to a network that this version does not have.
    #[error("{path} is a record of a model that this version does not have: {reason}")]
    UnknownVariant {
        /// The record.
        path: PathBuf,
        /// The nearest known name, or the version that has the network.
        reason: zoo_models::UnknownVariant,
    },
    /// The weights have no classifier, only the layers before it.
    #[error("{0} has no classifier, only the layers before it")]
    NoClassifier(String),
    /// The network is a segmenter.
    #[error("{0} is a segmenter, not an image classifier")]
    NotAClassifier(String),
    /// The model has no class with this index.
    #[error("there is no class {class}; the model has {classes}, from 0")]
    NoSuchClass {
        /// The index.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The model has no class with this name.
    #[error("no class has the name `{name}`\nhint: similar names are {nearest}")]
    UnknownClass {
        /// The name.
        name: String,
        /// Names that are similar.
        nearest: String,
    },
    /// Several classes have this name.
    #[error("several classes contain `{name}`: {classes}\nhint: give the whole name or the index")]
    AmbiguousClass {
        /// The name.
        name: String,
        /// The names that contain it.
        classes: String,
    },
    /// The network has no layer with this index or name.
    #[error("{network} has no layer {layer}\nhint: it has {layers}")]
    NoSuchLayer {
        /// The network.
        network: String,
        /// The layer.
        layer: String,
        /// The names of its layers.
        layers: String,
    },
    /// The classifier is not one fully connected layer after an average, so it can't be applied at each position.
    #[error(
        "{0} has no class activation maps, because its classifier has several layers\nhint: the method grad-cam suits any network"
    )]
    NoClassMaps(String),
    /// The layer has no channel with this index.
    #[error("{layer} has no channel {channel}; it has {channels}, from 0")]
    NoSuchChannel {
        /// The name of the layer.
        layer: String,
        /// The index.
        channel: usize,
        /// Number of channels.
        channels: usize,
    },
    /// The network has no convolution.
    #[error("{0} has no convolution, so it has no filters to show")]
    NoFilters(String),
    /// The method does not suit segmenters.
    #[error(
        "{network} is a segmenter, and {method} explains only image classifiers\nhint: grad-cam, hires-cam and layer-cam suit it"
    )]
    NotForSegmenters {
        /// The network.
        network: String,
        /// The name of the method.
        method: &'static str,
    },
    /// The segmenter predicts no pixel as the class.
    #[error("no pixel is predicted as {class}\nhint: choose a class that is: {predicted}")]
    NoPixels {
        /// The class.
        class: String,
        /// The classes that are predicted, the most frequent first.
        predicted: String,
    },
    /// The network is an image classifier.
    #[error("{0} is an image classifier, not a segmenter")]
    NotASegmenter(String),
    /// The setting `data.path` is missing.
    #[cfg(feature = "train")]
    #[error("the setting data.path is missing\nhint: set it to a folder or a list of images")]
    NoImages,
    /// There are no images that all compared models can be evaluated on.
    #[cfg(feature = "train")]
    #[error(
        "all images in {0} were used to train one of the models\nhint: compare on other images"
    )]
    NoCommonImages(String),
    /// The folder already has a training run.
    #[cfg(feature = "train")]
    #[error("{0} already has a training run\nhint: resume it, or choose another folder")]
    RunExists(PathBuf),
    /// The run has trained more epochs than requested.
    #[cfg(feature = "train")]
    #[error(
        "the run in {folder} has already trained {done} epochs\nhint: raise recipe.epochs above {done} to continue it"
    )]
    EpochsDone {
        /// The run's folder.
        folder: PathBuf,
        /// Number of epochs.
        done: usize,
    },
    /// The folder already has a search.
    #[cfg(feature = "train")]
    #[error("{0} already has a search\nhint: resume it, or choose another folder")]
    SearchExists(PathBuf),
    /// No network of the space meets the limits.
    #[cfg(feature = "train")]
    #[error(
        "none of {candidates} networks meets the limits; one of them has {example}\nhint: raise the limits"
    )]
    NothingFits {
        /// Number of networks that were measured.
        candidates: usize,
        /// The limit that one of them exceeds.
        example: String,
    },
    /// A search can't start or continue.
    #[cfg(feature = "train")]
    #[error("{0}")]
    Search(String),
    /// Training can't start or continue.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] zoo_train::Error),
    /// An image can't be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The bytes of an image can't be read.
    #[error(transparent)]
    Bytes(std::io::Error),
    /// The bytes are not a supported image, or the image is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A decoder or a network panicked on unusual input.
    #[error("{0}")]
    CaughtPanic(String),
    /// The images are too small for the network.
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
        /// The network's message.
        reason: String,
    },
    /// An output of the network is NaN or infinite.
    #[error("an output of the network is NaN or infinite\nhint: its weights are probably damaged")]
    NonFiniteOutput,
    /// The engine lacks an operator of the network.
    #[error("Burn computes this network, because the engine can't: {0}")]
    NoPlan(String),
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
    /// A parameter is too large for one tensor of the device.
    #[error("the parameter {path} has {} MB; the device allows {} MB in one tensor", .bytes / 1_000_000, .limit / 1_000_000)]
    TooLarge {
        /// The parameter.
        path: String,
        /// Its size in bytes.
        bytes: u64,
        /// The largest tensor of the device in bytes.
        limit: u64,
    },
    /// A feature map of a batch is too large for one tensor of the device.
    #[error(
        "a feature map of {batch} images has more than the {} MB that the device allows in one tensor\n\
         hint: use a smaller batch", .limit / 1_000_000
    )]
    BatchTooLarge {
        /// Images in the batch.
        batch: usize,
        /// The largest tensor of the device in bytes.
        limit: u64,
    },
    /// Another machine can't be reached, or refuses the connection.
    #[error("cannot connect to the device {url}: {reason}")]
    Remote {
        /// The address.
        url: String,
        /// The cause.
        reason: String,
    },
}

impl From<zoo_core::CaughtPanic> for Error {
    fn from(panicked: zoo_core::CaughtPanic) -> Self {
        Self::CaughtPanic(panicked.0)
    }
}
