use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is wrong with the images or how they are listed.
    #[error("{0}")]
    Data(String),
    /// Something is wrong with the configuration.
    #[error("{0}")]
    Config(String),
    /// A setting can't have this value.
    #[error("{setting} {must}")]
    Setting {
        /// The setting's name: `recipe.lr`.
        setting: &'static str,
        /// The required value and the actual one: `must be at least 1, not 0`.
        must: String,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The message of the operating system.
        reason: String,
    },
    /// A file could not be written, or a record could not be read.
    #[error(transparent)]
    Record(#[from] zoo_record::Error),
    /// Another process writes into the run's folder.
    #[error(
        "another process is training in {folder}\nhint: wait until it has ended or stop it, or \
         write to another folder"
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The loss is NaN or infinite.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; the last good state is kept in \
         {folder}\nhint: a lower learning rate (recipe.lr) or clipped gradients (recipe.clip=1) usually \
         help"
    )]
    Diverged {
        /// The loss.
        loss: f32,
        /// The epoch, from 1.
        epoch: usize,
        /// The update of the run, from 1.
        step: usize,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// The training state does not belong to this run, or is damaged.
    #[error("{path} can't be resumed: {reason}\nhint: start anew in another folder")]
    Resume {
        /// The file with the training state.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl Error {
    pub(crate) fn read(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Read { path: path.into(), reason: reason.to_string() }
    }
}
