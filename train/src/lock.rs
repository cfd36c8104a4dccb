use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use crate::Error;

/// The name of the locked file in a run's folder.
const LOCK: &str = "lock";

/// Keeps other processes from writing into a run's folder, until this value is dropped or its
/// process ends.
#[derive(Debug)]
pub struct Lock {
    /// The operating system unlocks the file when it is closed.
    _file: File,
}

impl Lock {
    /// Locks a folder.
    ///
    /// # Errors
    ///
    /// When another process has locked it, or the folder is not writable.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(LOCK);
        let failed = |error: std::io::Error| zoo_record::Error::Write {
            path: path.clone(),
            reason: error.to_string(),
        };
        let file = File::create(&path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Locked { folder: folder.to_owned() }),
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                Err(failed(error).into())
            }
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_folder_has_one_writer() {
        let folder = TempDir::new().unwrap();
        let first = Lock::of(folder.path()).unwrap();
        let error = Lock::of(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::Locked { folder: it } if it == folder.path()), "{error}");
        drop(first);
        Lock::of(folder.path()).unwrap();
        assert!(Lock::of(&folder.path().join("missing")).is_err());
    }
}
