use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use burn::store::burn_pack::AtomicFile;

use crate::Error;

/// Writes a file atomically: an older file stays until the new one is complete and on the disk, even if
/// the process is killed.
///
/// # Errors
///
/// When the file can't be written, or the path is a folder or another thing that is not a file.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let failed = |reason: String| Error::Write { path: path.to_owned(), reason };
    let target = target(path)?;
    let (scratch, file) = AtomicFile::create(&target).map_err(|error| failed(error.to_string()))?;
    let mut file = BufWriter::new(file);
    write(&mut file)
        .and_then(|()| file.flush())
        .and_then(|()| file.get_ref().sync_all())
        .map_err(|error| failed(error.to_string()))?;
    drop(file);
    scratch.commit().map_err(|error| failed(error.to_string()))
}

/// Returns the file that is replaced when a path is written: the target of a link.
///
/// # Errors
///
/// When the path is not a file: a file that is moved onto it would destroy it.
pub(crate) fn target(path: &Path) -> Result<PathBuf, Error> {
    let failed = |reason: String| Error::Write { path: path.to_owned(), reason };
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            return Err(failed("it is a folder\nhint: name a file in it".to_owned()));
        }
        Ok(there) if !there.is_file() => {
            return Err(failed("it is a device, a pipe or a socket\nhint: name a file".to_owned()));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error.to_string())),
        // The path is a file, does not exist, or is a link to one of these.
        _ => {}
    }
    let mut target = path.to_owned();
    while let Ok(link) = fs::read_link(&target) {
        target = target.with_file_name(link);
    }
    Ok(target)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn links_stay_and_other_things_than_files_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |path: &Path| write_atomically(path, |file| file.write_all(b"new"));
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("inner/file"), "old").unwrap();
        symlink("inner/file", at("link")).unwrap();
        symlink(at("link"), at("link to link")).unwrap();
        symlink("inner/nothing", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();

        write(&at("link to link")).unwrap();
        write(&at("dangling")).unwrap();
        assert!(at("link").is_symlink() && at("link to link").is_symlink());
        assert_eq!(fs::read(at("inner/file")).unwrap(), b"new");
        assert_eq!(fs::read(at("inner/nothing")).unwrap(), b"new");
        for path in [at("inner"), at("circle"), at("socket")] {
            assert!(matches!(write(&path), Err(Error::Write { .. })), "{}", path.display());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6, "no temporary file is left");
    }
}
