//! The bytes of a PyTorch file's tensors, which are outside its pickle.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use zip::read::ArchiveOffset;
use zip::{CompressionMethod, ZipArchive};

/// The source of the tensors' bytes.
#[derive(Debug)]
pub(super) enum Storages {
    /// A zip archive, the format since PyTorch 1.6.
    Archive(Archive),
    /// A stream of pickles followed by the storages, the format before 1.6.
    Stream(Stream),
    /// A pickle that has no storages.
    Nothing,
}

impl Storages {
    /// Reads bytes of a storage, from byte `start`.
    ///
    /// # Errors
    ///
    /// When the storage is shorter or can't be read.
    pub(super) fn read(&self, key: &str, start: u64, length: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Archive(archive) => archive.read(key, start, length),
            Self::Stream(stream) => stream.read(key, start, length),
            Self::Nothing => Err(damaged("the file has no storages")),
        }
    }

    /// Returns the length of a storage in bytes, if the file has it.
    pub(super) fn length(&self, key: &str) -> Option<u64> {
        match self {
            Self::Archive(archive) => archive.storages.get(key).map(|storage| storage.length),
            Self::Stream(stream) => stream.storages.get(key).map(|(_, length)| *length),
            Self::Nothing => None,
        }
    }
}

/// A zip archive of a pickle and storages.
#[derive(Debug)]
pub(super) struct Archive {
    archive: Mutex<ZipArchive<BufReader<File>>>,
    storages: HashMap<String, Entry>,
}

/// A storage in an archive.
#[derive(Debug)]
struct Entry {
    index: usize,
    length: u64,
}

/// The largest size in bytes of a compressed pickle.
const MOST_COMPRESSED: u64 = 100 << 20;

impl Archive {
    /// Opens an archive. Also returns the entry that describes the storages, such as `data.pkl`;
    /// they are in the folder `storages` beside it.
    ///
    /// # Errors
    ///
    /// When the archive is invalid.
    pub(super) fn open(
        path: &Path,
        index: &str,
        storages: &str,
    ) -> Result<(Self, Vec<u8>), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let file = File::open(path).map_err(|error| text(&error))?;
        let config = zip::read::Config { archive_offset: ArchiveOffset::Known(0) };
        let archive = ZipArchive::with_config(config, BufReader::new(file));
        let mut archive = archive.map_err(|error| text(&error))?;
        let names: Vec<String> = archive.file_names().flatten().map(Into::into).collect();
        let folder = names.iter().find_map(|name| {
            name.strip_suffix(index).filter(|rest| rest.is_empty() || rest.ends_with('/'))
        });
        let folder = folder.ok_or_else(|| format!("it has no {index}"))?.to_owned();

        let mut read = |name: &str| -> Result<Option<Vec<u8>>, String> {
            let Some(index) = archive.index_for_name(&format!("{folder}{name}")) else {
                return Ok(None);
            };
            let entry = archive.by_index(index).map_err(|error| text(&error))?;
            let length = entry.size();
            if entry.compression() != CompressionMethod::Stored && length > MOST_COMPRESSED {
                return Err(format!("`{name}` would be of {length} bytes"));
            }
            let mut bytes = Vec::new();
            entry.take(length).read_to_end(&mut bytes).map_err(|error| text(&error))?;
            Ok(Some(bytes))
        };
        if read("byteorder")?.is_some_and(|order| order.starts_with(b"big")) {
            return Err(BIG_ENDIAN.to_owned());
        }
        let index = read(index)?.ok_or_else(|| format!("it has no {index}"))?;

        let inside = format!("{folder}{storages}");
        let mut storages = HashMap::new();
        for name in &names {
            let key = name.strip_prefix(&inside);
            if let (Some(key), Some(number)) = (key, archive.index_for_name(name)) {
                let entry = archive.by_index_raw(number).map_err(|error| text(&error))?;
                storages.insert(key.to_owned(), Entry { index: number, length: entry.size() });
            }
        }
        Ok((Self { archive: Mutex::new(archive), storages }, index))
    }

    fn read(&self, key: &str, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let Entry { index, length: whole } =
            self.storages.get(key).ok_or_else(|| damaged("the file lacks its storage"))?;
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let is_all = start == 0 && length as u64 == *whole;
        let entry = archive.by_index_raw(*index).map_err(io::Error::other)?;
        if entry.compression() == CompressionMethod::Stored && !is_all {
            drop(entry);
            let mut entry = archive.by_index_seek(*index).map_err(io::Error::other)?;
            entry.seek(SeekFrom::Start(start))?;
            return exactly(entry, length);
        }
        drop(entry);
        // An entry that is read to its end is compared with its checksum.
        let mut entry = archive.by_index(*index).map_err(io::Error::other)?;
        io::copy(&mut entry.by_ref().take(start), &mut io::sink())?;
        let bytes = exactly(&mut entry, length)?;
        if is_all {
            entry.read_exact(&mut [0]).err().map_or(Ok(()), |error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(()),
                _ => Err(error),
            })?;
        }
        Ok(bytes)
    }
}

/// A file with consecutive storages.
#[derive(Debug)]
pub(super) struct Stream {
    file: Mutex<File>,
    /// The offset and the length of each storage, in bytes.
    storages: HashMap<String, (u64, u64)>,
}

impl Stream {
    /// Finds the storages that begin at an offset of a file, in the order of `keys`. Each consists
    /// of its number of elements and the elements, whose width in bytes is in `widths`.
    ///
    /// # Errors
    ///
    /// When the file is too short.
    pub(super) fn new(
        mut file: File,
        mut start: u64,
        keys: &[String],
        widths: &HashMap<String, u64>,
    ) -> Result<Self, String> {
        let size = file.metadata().map_err(|error| error.to_string())?.len();
        let mut storages = HashMap::new();
        for key in keys {
            let mut count = [0; 8];
            file.seek(SeekFrom::Start(start))
                .and_then(|_| file.read_exact(&mut count))
                .map_err(|_| format!("the file ends before storage {key}"))?;
            let width = widths.get(key).ok_or_else(|| format!("storage {key} has no type"))?;
            let length = u64::from_le_bytes(count).checked_mul(*width);
            let end = length.and_then(|length| (start + 8).checked_add(length));
            match (length, end) {
                (Some(length), Some(end)) if end <= size => {
                    storages.insert(key.clone(), (start + 8, length));
                    start = end;
                }
                _ => return Err(format!("the file ends within storage {key}")),
            }
        }
        Ok(Self { file: Mutex::new(file), storages })
    }

    fn read(&self, key: &str, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let (offset, whole) =
            self.storages.get(key).ok_or_else(|| damaged("the file lacks its storage"))?;
        if start + length as u64 > *whole {
            return Err(damaged("its storage is too short"));
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset + start))?;
        exactly(&mut *file, length)
    }
}

pub(super) const BIG_ENDIAN: &str = "its numbers are big-endian, which is not read";

/// Reads exactly `length` bytes. A length beyond the end of the file allocates no memory.
fn exactly(reader: impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(1 << 24));
    reader.take(length as u64).read_to_end(&mut bytes)?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(damaged("its storage is too short")),
    }
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
