use std::path::{Path, PathBuf};

/// Why a record could not be read or written.
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
    /// Something in the file is damaged.
    #[error("{path} is damaged or incomplete: {reason}\nhint: copy or download it again")]
    Damaged {
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
    /// The file could not be written; what was there before is untouched.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// What to do about a record without a card: a run keeps the state of its training in one.
fn without_card(path: &Path) -> &'static str {
    if path.file_name().is_some_and(|name| name == "checkpoint.bpk") {
        "a training run resumes from it; the trained model is model.bpk in the same folder"
    } else {
        "only records that `zoo` wrote say which model they are for"
    }
}
