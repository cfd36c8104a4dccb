use std::path::PathBuf;

use zoo_models::UnknownName;

/// An error of the [`Hub`](super::Hub).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no folder for downloaded weights.
    #[error("the system has no cache folder\nhint: set ZOO_CACHE=FOLDER")]
    NoCache,
    /// No network has this name, or it has no weights with this tag.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// The weights are not on this machine, and downloads are forbidden.
    #[error(
        "{name} is not on this machine, and ZOO_OFFLINE forbids downloading it\nhint: download \
         {url} elsewhere and open it with Model::open"
    )]
    Offline {
        /// The weights' name.
        name: String,
        /// The URL of the published checkpoint.
        url: String,
    },
    /// A file could not be downloaded. The partial file is kept, and the next try continues it.
    #[error(
        "cannot download {url}: {reason}\nhint: try again, download it elsewhere and open it with \
         Model::open, or set ZOO_WEIGHTS_MIRROR=URL to a server that has it"
    )]
    Download {
        /// The URL.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The downloaded file is not the published one. It is deleted.
    #[error(
        "{url} is not the file that was published: {reason}\nhint: a proxy or a mirror may have \
         sent something else; download it elsewhere and open it with Model::open"
    )]
    Altered {
        /// The URL.
        url: String,
        /// The difference.
        reason: String,
    },
    /// The record of published weights has changed since it was written.
    #[error("{path} is damaged\nhint: pull {name} again")]
    Damaged {
        /// The record.
        path: PathBuf,
        /// The weights' name.
        name: String,
    },
    /// The record is intact, but this version can't load it.
    #[error(
        "the record of {name} does not fit this version of zoo: {reason}\nhint: remove {name}, then pull \
         {name} again"
    )]
    OtherVersion {
        /// The weights' name.
        name: String,
        /// The cause.
        reason: String,
    },
    /// A record can't be read or written.
    #[error(transparent)]
    Record(#[from] zoo_record::Error),
    /// The published checkpoint can't be imported.
    #[error(transparent)]
    Import(#[from] zoo_import::Error),
}
