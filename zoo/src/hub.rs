//! Published weights by name, downloaded when they are needed and kept as records.

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

/// Published weights, kept as records in a folder, and where they are downloaded from.
///
/// Weights have a folder of their own each. While they are on their way, it holds the part of the
/// checkpoint that has arrived, then the checkpoint; in the end the record and its SHA-256, as
/// `sha256sum` writes it. Only a record with a SHA-256 beside it counts: that is written last.
#[derive(Debug, Clone)]
pub struct Hub {
    folder: PathBuf,
    mirror: Option<String>,
    is_offline: bool,
    limits: Limits,
}

/// The place of published weights in a [`Hub`].
#[derive(Debug, Clone)]
pub struct Entry<'s> {
    hub: &'s Hub,
    /// `resnet50.imagenet1k_v2`
    name: String,
    weights: Weights,
    folder: PathBuf,
}

/// How much of published weights a [`Hub`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// So many bytes of the checkpoint.
    Begun(u64),
    /// The record, of so many bytes.
    Kept(u64),
}

impl Hub {
    /// A hub in a folder, which appears when something is put there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), mirror: None, is_offline: false, limits: Limits::default() }
    }

    /// The hub that the environment asks for.
    ///
    /// It is in `ZOO_CACHE`, or else where the system keeps caches. `ZOO_WEIGHTS_MIRROR` is as in
    /// [`with_mirror`](Self::with_mirror). `ZOO_OFFLINE=1` is [`offline`](Self::offline).
    ///
    /// # Errors
    ///
    /// When `ZOO_CACHE` is not set and the system has no folder for caches.
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

    /// Downloads from below a URL instead, where a file has the name that it was published under.
    pub fn with_mirror(mut self, base: impl Into<String>) -> Self {
        self.mirror = Some(base.into());
        self
    }

    /// Downloads nothing.
    pub fn offline(mut self) -> Self {
        self.is_offline = true;
        self
    }

    /// Bounds what a download may take.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The folder.
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

    /// The place of a variant's weights.
    pub fn entry_of(&self, variant: &str, weights: &Weights) -> Entry<'_> {
        let name = format!("{variant}.{}", weights.tag);
        let folder = self.folder.join(format!("{name}-{}", weights.sha256));
        Entry { hub: self, name, weights: *weights, folder }
    }

    /// All published weights, but those of [`EMBEDDED_MODEL`].
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let others = all_published().filter(|(variant, _)| variant.name != EMBEDDED_MODEL);
        others.map(|(variant, weights)| self.entry_of(variant.name, weights))
    }

    /// Loads weights by name, and downloads them where they are not on this machine; `progress` hears of it.
    ///
    /// # Errors
    ///
    /// When there are no such weights, or they can't be had.
    pub fn load(
        &self,
        name: &str,
        device: &Device,
        progress: impl FnMut(Event<'_>),
    ) -> Result<Model, crate::Error> {
        let entry = self.entry(name)?;
        // A record that is there is not made anew without being asked for: it may be the disk.
        if !matches!(entry.state(), State::Kept(_)) {
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

    /// Where they are published.
    pub fn url(&self) -> &'static str {
        self.weights.url
    }

    /// The record, which need not be there.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.bpk", self.name))
    }

    /// How much of the weights is here.
    pub fn state(&self) -> State {
        let length = |path: PathBuf| fs::metadata(path).map(|metadata| metadata.len());
        match (length(self.path()), length(self.seal()), length(self.source().part(&self.folder))) {
            (Ok(record), Ok(_), _) => State::Kept(record),
            (_, _, Ok(part)) => State::Begun(part),
            _ => State::Absent,
        }
    }

    /// Opens the record, if it is as it was written.
    ///
    /// # Errors
    ///
    /// When it is not, or not there, or no record.
    pub fn open(&self) -> Result<Record, Error> {
        self.verify()?;
        Ok(Record::open(&self.path())?)
    }

    /// Compares each byte of the record with what was written.
    ///
    /// # Errors
    ///
    /// When one differs, or the record is not there.
    pub fn verify(&self) -> Result<(), Error> {
        let path = self.path();
        let read = |source| zoo_record::Error::Open { path: path.clone(), source };
        let seal = fs::read_to_string(self.seal()).map_err(read)?;
        if seal != self.sealed().map_err(read)? {
            return Err(Error::Damaged { path, name: self.name.clone() });
        }
        Ok(())
    }

    /// Makes sure that a sound record is here: downloads the published checkpoint and imports it, where needed.
    ///
    /// # Errors
    ///
    /// When the checkpoint can't be had or imported.
    pub fn pull(&self, progress: impl FnMut(Event<'_>)) -> Result<(), Error> {
        self.pull_with(progress, |checkpoint, record| {
            let checkpoint = Checkpoint::open(checkpoint)?;
            let options = ImportOptions { variant: Some(self.name.clone()), ..Default::default() };
            let imported = import(&checkpoint, &options, &Device::flex())?;
            Ok(Record::save(imported.network, &imported.card, Precision::Single, record)?)
        })
    }

    /// The same with another import.
    ///
    /// The published checkpoint is downloaded where needed, and `import` turns it, the first path,
    /// into a record, the second path, whole or not at all. Of two processes one does the work and
    /// the other waits.
    ///
    /// # Errors
    ///
    /// When the checkpoint can't be had, or what `import` says.
    pub fn pull_with<E: From<Error>>(
        &self,
        mut progress: impl FnMut(Event<'_>),
        import: impl FnOnce(&Path, &Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let offline =
            || Error::Offline { name: self.name.clone(), url: self.weights.url.to_owned() };
        // Not even a lock has to be made then.
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
            // A new record with an old one's SHA-256 would look damaged.
            delete(&self.seal())?;
            import(&checkpoint, &self.path())?;
            self.write_seal()?;
        }
        // The checkpoint, and what killed processes left.
        let kept = [self.path(), self.seal(), self.lock_path()];
        let mut others = self.files().into_iter().filter(|file| !kept.contains(file));
        Ok(others.try_for_each(|file| delete(&file))?)
    }

    /// Deletes all that is here of the weights; returns whether there was anything.
    ///
    /// # Errors
    ///
    /// When a file can't be deleted.
    pub fn remove(&self) -> Result<bool, Error> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let _lock = self.lock(|| ())?;
        // The lock itself stays: somebody may be waiting for it.
        let mut files = self.files();
        files.retain(|file| *file != self.lock_path());
        // Without it the record doesn't count, whatever happens to the rest.
        delete(&self.seal())?;
        files.iter().try_for_each(|file| delete(file))?;
        Ok(!files.is_empty())
    }

    fn source(&self) -> Source<'_> {
        Source { weights: &self.weights, mirror: self.hub.mirror.as_deref() }
    }

    /// Where the record's SHA-256 is.
    fn seal(&self) -> PathBuf {
        self.folder.join(format!("{}.bpk.sha256", self.name))
    }

    /// What is there if the record is as it was written.
    fn sealed(&self) -> io::Result<String> {
        Ok(format!("{}  {}.bpk\n", sha256(&self.path())?, self.name))
    }

    fn write_seal(&self) -> Result<(), Error> {
        let path = self.seal();
        let write = |reason: String| failed(&path, reason);
        let sealed = self.sealed().map_err(|error| write(error.to_string()))?;
        let (scratch, file) =
            AtomicFile::create(&path).map_err(|error| write(error.to_string()))?;
        drop(file);
        fs::write(scratch.path(), sealed).map_err(|error| write(error.to_string()))?;
        scratch.commit().map_err(|error| write(error.to_string()))
    }

    /// A checkpoint whose import was interrupted, or that somebody put here.
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

    /// Waits until no other process is at these weights, until the file is dropped.
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
                // Some network file systems have no locks. Two downloads at once are then possible,
                // and the SHA-256 tells what came of it.
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
