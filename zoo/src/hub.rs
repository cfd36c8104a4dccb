//! Published weights by name. They are downloaded when they are needed and cached as records.

mod download;
mod error;

use std::env;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use burn::store::burn_pack::AtomicFile;
use burn::tensor::Device;
use zoo_core::Weights;
use zoo_import::{Checkpoint, ImportOptions, import};
use zoo_models::{all_published, with_weights};
use zoo_record::{Precision, Record, sha256};

use crate::{EMBEDDED_MODEL, Model};

use download::Source;
pub use download::{Event, Limits};
pub use error::Error;

/// A cache of published weights, with the server that they are downloaded from.
///
/// Each entry has its own folder. During a download the folder holds the partial checkpoint, then the
/// checkpoint. At the end it holds the record and its SHA-256, in the format of `sha256sum`. The SHA-256
/// is written last, so a record without it is incomplete.
#[derive(Debug, Clone)]
pub struct Hub {
    folder: PathBuf,
    mirror: Option<String>,
    is_offline: bool,
    limits: Limits,
}

/// Published weights and their folder in a [`Hub`].
#[derive(Debug, Clone)]
pub struct Entry<'s> {
    hub: &'s Hub,
    /// `resnet50.imagenet1k_v2`
    name: String,
    weights: Weights,
    folder: PathBuf,
}

/// Whether published weights are in a [`Hub`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheState {
    /// They are not.
    Missing,
    /// The checkpoint is downloaded in part: its number of bytes so far.
    Partial(u64),
    /// The record is complete: its size in bytes.
    Cached(u64),
}

impl Hub {
    /// A hub in a folder. The first download creates the folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), mirror: None, is_offline: false, limits: Limits::default() }
    }

    /// The hub that environment variables describe.
    ///
    /// Its folder is `$ZOO_CACHE/weights`, or `zoo/weights` in the system's cache folder. `ZOO_WEIGHTS_MIRROR`
    /// is the argument of [`with_mirror`](Self::with_mirror). `ZOO_OFFLINE=1` means [`offline`](Self::offline).
    ///
    /// # Errors
    ///
    /// When `ZOO_CACHE` is not set and the system has no cache folder.
    pub fn from_env() -> Result<Self, Error> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let cache = set("ZOO_CACHE")
            .map(PathBuf::from)
            .or_else(|| Some(dirs::cache_dir()?.join("zoo")))
            .ok_or(Error::NoCache)?;
        let mut hub = Self::new(cache.join("weights"));
        if let Some(mirror) = set("ZOO_WEIGHTS_MIRROR") {
            hub = hub.with_mirror(mirror.to_string_lossy());
        }
        if set("ZOO_OFFLINE").is_some_and(|value| value != "0") {
            hub = hub.offline();
        }
        Ok(hub)
    }

    /// Downloads from `base/FILE` instead of the published URL; FILE is the name of the published file.
    pub fn with_mirror(mut self, base: impl Into<String>) -> Self {
        self.mirror = Some(base.into());
        self
    }

    /// Forbids downloads.
    pub fn offline(mut self) -> Self {
        self.is_offline = true;
        self
    }

    /// Sets the limits of a download.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The folder that holds the entries.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The weights with a name, such as `resnet50.imagenet1k_v2`; without a tag, the latest.
    ///
    /// # Errors
    ///
    /// When no weights are published under that name.
    pub fn entry(&self, name: &str) -> Result<Entry<'_>, Error> {
        let (variant, weights) = with_weights(name)?;
        Ok(self.entry_of(variant.name, weights))
    }

    /// The entry of a variant's weights.
    pub fn entry_of(&self, variant: &str, weights: &Weights) -> Entry<'_> {
        let name = format!("{variant}.{}", weights.tag);
        let folder = self.folder.join(format!("{name}-{}", weights.sha256));
        Entry { hub: self, name, weights: *weights, folder }
    }

    /// All published weights except those of [`EMBEDDED_MODEL`].
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let others = all_published().filter(|(variant, _)| variant.name != EMBEDDED_MODEL);
        others.map(|(variant, weights)| self.entry_of(variant.name, weights))
    }

    /// Loads weights by name, and downloads them first if they are missing. `progress` receives the events.
    ///
    /// # Errors
    ///
    /// When there are no such weights, or they can't be downloaded or loaded.
    pub fn load(
        &self,
        name: &str,
        device: &Device,
        progress: impl FnMut(Event<'_>),
    ) -> Result<Model, crate::Error> {
        let entry = self.entry(name)?;
        // A damaged record is not replaced silently, because the disk may be failing; `open` reports it.
        if !matches!(entry.state(), CacheState::Cached(_)) {
            entry.pull(progress)?;
        }
        Model::from_record(entry.open()?, device).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split("\nhint: ").next().unwrap_or_default().to_owned();
            Error::OtherVersion { name: entry.name.clone(), reason }.into()
        })
    }
}

impl Entry<'_> {
    /// The weights' name: `resnet50.imagenet1k_v2`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the published checkpoint.
    pub fn url(&self) -> &'static str {
        self.weights.url
    }

    /// The path of the record, which exists once the weights are cached.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.bpk", self.name))
    }

    /// Whether the weights are cached.
    pub fn state(&self) -> CacheState {
        let length = |path: PathBuf| fs::metadata(path).map(|metadata| metadata.len());
        match (
            length(self.path()),
            length(self.checksum_path()),
            length(self.source().part(&self.folder)),
        ) {
            (Ok(record), Ok(_), _) => CacheState::Cached(record),
            (_, _, Ok(part)) => CacheState::Partial(part),
            _ => CacheState::Missing,
        }
    }

    /// Verifies and opens the record.
    ///
    /// # Errors
    ///
    /// When the record is missing or damaged.
    pub fn open(&self) -> Result<Record, Error> {
        self.verify()?;
        Ok(Record::open(&self.path())?)
    }

    /// Compares the record's SHA-256 with the one that is stored beside it.
    ///
    /// # Errors
    ///
    /// When they differ, or one of the two files is missing.
    pub fn verify(&self) -> Result<(), Error> {
        let path = self.path();
        let read = |source| zoo_record::Error::Open { path: path.clone(), source };
        let written = fs::read_to_string(self.checksum_path()).map_err(read)?;
        if written != self.checksum_line().map_err(read)? {
            return Err(Error::Damaged { path, name: self.name.clone() });
        }
        Ok(())
    }

    /// Downloads and imports the published checkpoint, unless the record is cached and intact.
    ///
    /// # Errors
    ///
    /// When the checkpoint can't be downloaded or imported.
    pub fn pull(&self, progress: impl FnMut(Event<'_>)) -> Result<(), Error> {
        self.pull_with(progress, |checkpoint, record| {
            let checkpoint = Checkpoint::open(checkpoint)?;
            let options = ImportOptions { variant: Some(self.name.clone()), ..Default::default() };
            let imported = import(&checkpoint, &options, &Device::flex())?;
            Ok(Record::save(imported.network, &imported.card, Precision::Single, record)?)
        })
    }

    /// [`pull`](Self::pull) with another import function.
    ///
    /// `import` turns the checkpoint (first path) into a record (second path) and must write it atomically.
    /// If two processes pull the same weights, one works and the other waits.
    ///
    /// # Errors
    ///
    /// When the checkpoint can't be downloaded, and the errors of `import`.
    pub fn pull_with<E: From<Error>>(
        &self,
        mut progress: impl FnMut(Event<'_>),
        import: impl FnOnce(&Path, &Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let offline =
            || Error::Offline { name: self.name.clone(), url: self.weights.url.to_owned() };
        // Without a folder there is nothing to lock.
        if self.hub.is_offline && !self.folder.exists() {
            return Err(offline().into());
        }
        let _lock = self.lock(|| progress(Event::Waiting))?;
        if self.verify().is_err() {
            let checkpoint = match self.downloaded() {
                Some(checkpoint) => checkpoint,
                None if self.hub.is_offline => return Err(offline().into()),
                None => self.source().download(&self.folder, self.hub.limits, &mut progress)?,
            };
            progress(Event::Importing);
            // If this process is killed after the import, an old SHA-256 would make the new record look damaged.
            delete(&self.checksum_path())?;
            import(&checkpoint, &self.path())?;
            self.write_checksum()?;
        }
        // The other files are the checkpoint and the remains of killed processes.
        let kept = [self.path(), self.checksum_path(), self.lock_path()];
        let mut others = self.files().into_iter().filter(|file| !kept.contains(file));
        Ok(others.try_for_each(|file| delete(&file))?)
    }

    /// Deletes the record and partial downloads. Returns whether there were any.
    ///
    /// # Errors
    ///
    /// When a file can't be deleted.
    pub fn remove(&self) -> Result<bool, Error> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let _lock = self.lock(|| ())?;
        // The lock file stays: another process may wait for it.
        let mut files = self.files();
        files.retain(|file| *file != self.lock_path());
        // The SHA-256 goes first: if this process is killed after that, the record counts as incomplete.
        delete(&self.checksum_path())?;
        files.iter().try_for_each(|file| delete(file))?;
        Ok(!files.is_empty())
    }

    fn source(&self) -> Source<'_> {
        Source { weights: &self.weights, mirror: self.hub.mirror.as_deref() }
    }

    /// The path of the file with the record's SHA-256.
    fn checksum_path(&self) -> PathBuf {
        self.folder.join(format!("{}.bpk.sha256", self.name))
    }

    /// The content that the SHA-256 file should have for the record as it is now.
    fn checksum_line(&self) -> io::Result<String> {
        Ok(format!("{}  {}.bpk\n", sha256(&self.path())?, self.name))
    }

    fn write_checksum(&self) -> Result<(), Error> {
        let path = self.checksum_path();
        let write = |reason: String| failed(&path, reason);
        let line = self.checksum_line().map_err(|error| write(error.to_string()))?;
        let (scratch, file) =
            AtomicFile::create(&path).map_err(|error| write(error.to_string()))?;
        drop(file);
        fs::write(scratch.path(), line).map_err(|error| write(error.to_string()))?;
        scratch.commit().map_err(|error| write(error.to_string()))
    }

    /// A complete checkpoint in the folder, from an interrupted import or from the user.
    fn downloaded(&self) -> Option<PathBuf> {
        let is_part = |path: &PathBuf| path.extension().is_some_and(|it| it == "part");
        self.files()
            .into_iter()
            .filter(|path| !is_part(path))
            .find(|path| sha256(path).is_ok_and(|sha256| sha256.starts_with(self.weights.sha256)))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Locks these weights for this process until the file is dropped. Calls `wait` if another process has the lock.
    fn lock(&self, wait: impl FnOnce()) -> Result<File, Error> {
        let path = self.lock_path();
        let take = || {
            fs::create_dir_all(&self.folder)?;
            let file = File::create(&path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    wait();
                    file.lock()?;
                }
                // Some network file systems have no locks. Two downloads may then run at once, and the
                // SHA-256 shows a damaged result.
                Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                    return Err(error);
                }
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            Ok(file)
        };
        take().map_err(|error| failed(&path, error.to_string()))
    }
}

fn failed(path: &Path, reason: String) -> Error {
    zoo_record::Error::Write { path: path.to_owned(), reason }.into()
}

fn delete(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(path, error.to_string()))
        }
        _ => Ok(()),
    }
}
