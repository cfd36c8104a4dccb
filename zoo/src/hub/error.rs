use std::path::PathBuf;

use zoo_models::UnknownName;

/// Why published weights can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no folder for records that are downloaded.
    #[error(
        "this system does not say where caches are kept\nhint: name a folder with ZOO_CACHE=FOLDER"
    )]
    NoCache,
    /// No network is called that, or it has no such weights.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// Published weights are not on this machine, and are not to be downloaded.
    #[error(
        "{name} is not on this machine, and ZOO_OFFLINE forbids downloading it\nhint: download \
         {url} elsewhere and open it with Model::open"
    )]
    Offline {
        /// The weights' name.
        name: String,
        /// Where they are published.
        url: String,
    },
    /// A file could not be downloaded; what has arrived of it is kept and will be gone on with.
    #[error(
        "cannot download {url}: {reason}\nhint: try again, download it elsewhere and open it with \
         Model::open, or name a server that has it with ZOO_WEIGHTS_MIRROR=http://…"
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
         sent something else; download it elsewhere and open it with Model::open"
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
    /// The record was written by a version that had other networks.
    #[error(
        "the record of {name} is from another version of zoo: {reason}\nhint: `zoo weights remove \
         {name}`, then pull it again"
    )]
    OtherVersion {
        /// The weights' name.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// A record can't be read or written.
    #[error(transparent)]
    Record(#[from] zoo_record::Error),
    /// The published checkpoint can't be imported.
    #[error(transparent)]
    Import(#[from] zoo_import::Error),
}
