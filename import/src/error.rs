use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::{Report, Unidentified};

/// Why a checkpoint could not be read, recognized, imported or exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system did not give us the file.
    #[error("cannot read {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file has no bytes.
    #[error("{0} is empty\nhint: the download or copy it comes from was probably cut off")]
    Empty(PathBuf),
    /// The file is of a kind that holds no weights, or that is not read.
    #[error("{path} is {found}\nhint: {hint}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: Cow<'static, str>,
        /// What to do instead.
        hint: Cow<'static, str>,
    },
    /// The file is of a known kind but something in it is damaged.
    #[error("{path} is damaged or incomplete: {reason}\nhint: copy or download it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint's tensors are not the model's.
    #[error("{path} does not fit {model}\n{report}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The model it was to be loaded into.
        model: String,
        /// All that is wrong.
        report: Box<Report>,
    },
    /// The network computes something that the format has no word for, or that we don't translate.
    #[error("the network can't be written as {format}: {reason}")]
    NotExportable {
        /// The format.
        format: &'static str,
        /// What stands in the way.
        reason: String,
    },
    /// It is not clear which network the checkpoint is of.
    #[error("can't tell which model {path} is of: {reason}")]
    Unrecognized {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        #[source]
        reason: Box<Unidentified>,
    },
    /// What was asked for is not in the checkpoint.
    #[error("{path}: {reason}")]
    NotThere {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        #[source]
        reason: Box<Unidentified>,
    },
    /// The checkpoint is not of the network that was named.
    #[error("{path} does not fit {model}: {reason}")]
    NotOf {
        /// The file.
        path: PathBuf,
        /// The network's name.
        model: String,
        /// What differs.
        #[source]
        reason: Box<Unidentified>,
    },
    /// The network has no key layout of that name.
    #[error(
        "{model} has no keys as `{layout}` spells them\nhint: it has those of {}",
        .layouts.join(", ")
    )]
    NoLayout {
        /// The network's name.
        model: String,
        /// The layout that was asked for.
        layout: String,
        /// The layouts that it has.
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
    /// The graph does what no network of the zoo does.
    #[error("{path} can't be imported: {reason}")]
    Graph {
        /// The file.
        path: PathBuf,
        /// What it does.
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
        /// The largest difference of a logit.
        difference: f32,
        /// The largest logit, whatever its sign.
        largest: f32,
        /// What the graph may do.
        hint: &'static str,
    },
    /// There are not as many class names as classes.
    #[error(
        "{names} names of classes were given, but the checkpoint has {classes} classes\n\
         hint: give one name for each class"
    )]
    ClassNames {
        /// The names that were given.
        names: usize,
        /// The classes of the checkpoint.
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

/// A file of a kind that is not read.
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
