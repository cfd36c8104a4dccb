use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::Report;

/// Why a checkpoint or a record could not be read, matched or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system would not give us the file.
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
    /// The file is of a known kind but something in it is broken.
    #[error("{path} is damaged or incomplete: {reason}\nhint: copy or download it again")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The record has no model card, so it is not known what its weights are for.
    #[error(
        "{0} is a Burn record without a model card\nhint: {hint}",
        hint = without_card(.0)
    )]
    NoCard(PathBuf),
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
    /// The record could not be written; what was there before is untouched.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// There is no folder for records that are downloaded.
    #[error(
        "this system does not say where caches are kept\nhint: name a folder with ZOO_CACHE=FOLDER"
    )]
    NoCache,
    /// Published weights are not on this machine, and are not to be downloaded.
    #[error(
        "{name} is not on this machine, and ZOO_OFFLINE forbids downloading it\nhint: download \
         {url} elsewhere and give it with --weights FILE"
    )]
    Offline {
        /// The weights' name.
        name: String,
        /// Where they are published.
        url: String,
    },
    /// A file could not be downloaded; what has arrived of it is kept and will be gone on with.
    #[error(
        "cannot download {url}: {reason}\nhint: try again, download it elsewhere and give it with \
         --weights FILE, or name a server that has it with ZOO_WEIGHTS_MIRROR=http://…"
    )]
    Download {
        /// Where it is.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// What was downloaded is not what was published; it is deleted.
    #[error(
        "{url} is not the file that was published: {reason}\nhint: a proxy or a mirror may have \
         sent something else; download it elsewhere and give it with --weights FILE"
    )]
    Altered {
        /// Where it came from.
        url: String,
        /// What tells.
        reason: String,
    },
    /// The record of published weights is not as it was written.
    #[error("{path} is damaged\nhint: `zoo weights pull {name}` makes it anew")]
    Damaged {
        /// The record.
        path: PathBuf,
        /// The weights' name.
        name: String,
    },
}

/// What to do about a record without a card: a run keeps the state of its training in one.
fn without_card(path: &Path) -> &'static str {
    if path.file_name().is_some_and(|name| name == "checkpoint.bpk") {
        "it is where a run goes on from; the model that it trained is model.bpk beside it"
    } else {
        "only records that `zoo` wrote say which model they are for"
    }
}

pub(crate) const QUANTISED: &str = "a quantised checkpoint, whose weights are integers";
pub(crate) const NOT_QUANTISED: &str = "import the network as it was before it was quantised";

/// A file of a kind that is not read.
pub(crate) fn unsupported(
    path: &Path,
    found: impl Into<Cow<'static, str>>,
    hint: impl Into<Cow<'static, str>>,
) -> Error {
    Error::Unsupported { path: path.to_owned(), found: found.into(), hint: hint.into() }
}

pub(crate) fn broken(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Broken { path: path.to_owned(), reason: reason.to_string() }
}
