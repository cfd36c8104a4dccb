use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::{Report, Unidentified};

/// An error of reading, recognizing, importing or exporting a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system can't read the file.
    #[error("cannot read {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file has no bytes.
    #[error("{0} is empty\nhint: the download or copy it comes from was probably cut off")]
    Empty(PathBuf),
    /// The file has a format without weights, or one that this crate does not read.
    #[error("{path} is {found}\nhint: {hint}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The format that it seems to have.
        found: Cow<'static, str>,
        /// The remedy.
        hint: Cow<'static, str>,
    },
    /// The format of the file is known, but the file is damaged.
    #[error("{path} is damaged or incomplete: {reason}\nhint: copy or download it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        reason: String,
    },
    /// The checkpoint's tensors do not fit the network.
    #[error("{path} does not fit {model}\n{report}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The name of the model.
        model: String,
        /// All differences.
        report: Box<Report>,
    },
    /// The format can't represent a computation of the network, or this crate does not translate
    /// it.
    #[error("the network can't be written as {format}: {reason}")]
    NotExportable {
        /// The format.
        format: &'static str,
        /// The reason.
        reason: String,
    },
    /// The network of the checkpoint is unknown or ambiguous.
    #[error("can't tell which model {path} is of: {reason}")]
    Unrecognized {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: Box<Unidentified>,
    },
    /// The checkpoint does not have what was requested.
    #[error("{path}: {reason}")]
    NotThere {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: Box<Unidentified>,
    },
    /// The checkpoint does not hold the named network.
    #[error("{path} does not fit {model}: {reason}")]
    NotOf {
        /// The file.
        path: PathBuf,
        /// The network's name.
        model: String,
        /// The difference.
        reason: Box<Unidentified>,
    },
    /// The network has no key layout with this name.
    #[error(
        "{model} has no keys as `{layout}` spells them\nhint: it has those of {}",
        .layouts.join(", ")
    )]
    NoLayout {
        /// The network's name.
        model: String,
        /// The requested layout.
        layout: String,
        /// The layouts of the network.
        layouts: Vec<&'static str>,
    },
    /// Without a trained classifier, there are no logits to export.
    #[error(
        "{0} has no trained classifier, so its logits mean nothing\n\
         hint: fine-tune it, or export its weights to safetensors"
    )]
    NoClassifier(String),
    /// The network could not be recorded.
    #[error(transparent)]
    Capture(#[from] crate::NotCaptured),
    /// No network of the zoo has the graph's computation.
    #[error("{path} can't be imported: {reason}")]
    Graph {
        /// The file.
        path: PathBuf,
        /// The computation.
        reason: String,
    },
    /// A network with the graph's weights gives other logits than the graph.
    #[error(
        "{model} has the graph's weights, but a logit differs by {difference:.1e} of {largest:.1e}\n\
         hint: the graph does something that the model does not{hint}; export the network alone, in \
         evaluation mode"
    )]
    Disagreement {
        /// The network's name.
        model: String,
        /// The largest absolute difference of a logit.
        difference: f32,
        /// The largest absolute value of a logit.
        largest: f32,
        /// A possible reason.
        hint: &'static str,
    },
    /// The number of class names differs from the number of classes.
    #[error(
        "{names} names of classes were given, but the checkpoint has {classes} classes\n\
         hint: give one name for each class"
    )]
    ClassNames {
        /// Number of given names.
        names: usize,
        /// Number of classes of the checkpoint.
        classes: usize,
    },
    /// No network or no published weights have this name.
    #[error(transparent)]
    Name(#[from] zoo_models::UnknownName),
    /// A record could not be read or written.
    #[error(transparent)]
    Record(#[from] zoo_record::Error),
}

pub(crate) const QUANTIZED: &str = "a quantized checkpoint, whose weights are integers";
pub(crate) const NOT_QUANTIZED: &str = "import the network as it was before it was quantized";

/// Returns the error for a format that this crate does not read.
pub(crate) fn unsupported(
    path: &Path,
    found: impl Into<Cow<'static, str>>,
    hint: impl Into<Cow<'static, str>>,
) -> Error {
    Error::Unsupported { path: path.to_owned(), found: found.into(), hint: hint.into() }
}

pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Damaged { path: path.to_owned(), reason: reason.to_string() }
}
