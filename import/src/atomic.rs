use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use burn::store::burn_pack::AtomicFile;

use crate::Error;

/// Writes a file that appears whole or not at all: what was there before stays until all is on
/// the disk, even if the process is killed.
///
/// # Errors
///
/// When the folder or the disk does not take it.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let failed = |reason: String| Error::Write { path: path.to_owned(), reason };
    let (scratch, file) = AtomicFile::create(path).map_err(|error| failed(error.to_string()))?;
    let mut file = BufWriter::new(file);
    write(&mut file)
        .and_then(|()| file.flush())
        .and_then(|()| file.get_ref().sync_all())
        .map_err(|error| failed(error.to_string()))?;
    drop(file);
    scratch.commit().map_err(|error| failed(error.to_string()))
}
