use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be opened or read.
    #[error("cannot read {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is empty.
    #[error("{0} is empty\nhint: the download or copy it comes from was probably cut off")]
    Empty(PathBuf),
    /// Something in the file is damaged.
    #[error("{path} is damaged or incomplete: {reason}\nhint: copy or download it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The record has no model card, so its network is not known.
    #[error(
        "{0} is a Burn record without a model card\nhint: {hint}",
        hint = without_card(.0)
    )]
    NoCard(PathBuf),
    /// The file could not be written; an older file is unchanged.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// Returns the hint for a record without a card. A run's training state is such a record.
fn without_card(path: &Path) -> &'static str {
    if path.file_name().is_some_and(|name| name == "checkpoint.bpk") {
        "a training run resumes from it; the trained model is model.bpk in the same folder"
    } else {
        "only records that `zoo` wrote say which model they are for"
    }
}
