use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Candidate, Shard};
use crate::Error;

/// The name of the file with all candidates in a search's folder.
pub const CANDIDATES: &str = "search.csv";

/// What a row says about a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was measured, and meets the limits.
    Measured,
    /// It exceeds a limit, and is never trained.
    Rejected,
    /// It was trained.
    Trained,
    /// It can't take images of this size, its training diverged, or there was not enough memory.
    Failed,
}

/// A row of `search.csv`: the measurement or the training of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The part of the search that asked for it: `search`, `random`, `params` or `registry`.
    pub method: String,
    /// The generation or the rung, from 0.
    pub generation: usize,
    /// The networks that it comes from, separated by spaces.
    pub parents: String,
    /// The name of the network.
    pub network: String,
    /// Height and width of the images in pixels.
    pub image_size: usize,
    /// Epochs of the training; 0 for a measurement.
    pub epochs: usize,
    /// Trainable parameters.
    pub params: usize,
    /// Multiply-accumulate operations for one image.
    pub macs: u64,
    /// Size of the weights in bytes.
    pub size: u64,
    /// Memory of the engine's plan in bytes.
    pub memory: u64,
    /// Median time of one image, in milliseconds.
    pub latency_ms: Option<f64>,
    /// The score [`Proxy::Synflow`](super::Proxy::Synflow).
    pub synflow: Option<f64>,
    /// The score [`Proxy::Nwot`](super::Proxy::Nwot).
    pub nwot: Option<f64>,
    /// What the row says.
    pub status: Status,
    /// Accuracy on the validation images, in `[0, 1]`.
    pub accuracy: Option<f64>,
    /// Seconds of the measurement or the training.
    pub seconds: f64,
    /// The exceeded limit or the failure.
    pub reason: String,
}

impl Row {
    pub(super) fn candidate(&self) -> Candidate {
        Candidate { network: self.network.clone(), image_size: self.image_size }
    }
}

/// The rows of a search, which its folder has too. A row is written when a candidate is measured or trained, so a killed process
/// loses only the candidate under way.
///
/// Each shard of a search writes its own file, and reads those of the others.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    rows: Vec<Row>,
    by_candidate: BTreeMap<(Candidate, usize), usize>,
    /// For each file the number of bytes that are read.
    read: BTreeMap<PathBuf, u64>,
}

impl Journal {
    /// Opens the journal of a folder, with the rows of earlier processes and of other shards.
    ///
    /// # Errors
    ///
    /// When a file can't be read or written.
    pub(super) fn open(folder: &Path, shard: Shard) -> Result<Self, Error> {
        let path = folder.join(match shard.count {
            1 => CANDIDATES.to_owned(),
            _ => format!("search-{}.csv", shard.index + 1),
        });
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| write_error(&path, error))?;
        let mut journal = Self {
            folder: folder.to_owned(),
            path,
            file,
            rows: Vec::new(),
            by_candidate: BTreeMap::new(),
            read: BTreeMap::new(),
        };
        journal.refresh()?;
        // A killed process may have written a part of the last line.
        let complete = journal.read[&journal.path];
        journal.file.set_len(complete).map_err(|error| write_error(&journal.path, error))?;
        Ok(journal)
    }

    /// Reads the new rows of all files.
    ///
    /// # Errors
    ///
    /// When a file can't be read or is damaged.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let failed = |path: &Path, source| Error::Read { path: path.to_owned(), source };
        let entries = std::fs::read_dir(&self.folder);
        let entries = entries.map_err(|source| failed(&self.folder, source))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("search") || !name.ends_with(".csv") {
                continue;
            }
            let start = self.read.get(&path).copied().unwrap_or_default();
            let mut text = Vec::new();
            let read = File::open(&path).and_then(|mut file| {
                file.seek(SeekFrom::Start(start))?;
                file.read_to_end(&mut text)
            });
            read.map_err(|source| failed(&path, source))?;
            let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let mut reader =
                csv::ReaderBuilder::new().has_headers(start == 0).from_reader(&text[..complete]);
            for row in reader.deserialize() {
                let row = row.map_err(|error| {
                    let error = std::io::Error::new(ErrorKind::InvalidData, error);
                    failed(&path, error)
                })?;
                self.remember(row);
            }
            self.read.insert(path, start + complete as u64);
        }
        Ok(())
    }

    fn remember(&mut self, row: Row) {
        let index = self.rows.len();
        self.by_candidate.entry((row.candidate(), row.epochs)).or_insert_with(|| {
            self.rows.push(row);
            index
        });
    }

    /// The row of a candidate that was trained for a number of epochs, or measured if that is 0.
    pub(super) fn find(&self, candidate: &Candidate, epochs: usize) -> Option<&Row> {
        let index = self.by_candidate.get(&(candidate.clone(), epochs))?;
        Some(&self.rows[*index])
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Appends a row, and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub(super) fn add(&mut self, row: Row) -> Result<(), Error> {
        let position = self.read.entry(self.path.clone()).or_default();
        let mut writer =
            csv::WriterBuilder::new().has_headers(*position == 0).from_writer(Vec::new());
        writer.serialize(&row).expect("a row has no nested fields");
        let line = writer.into_inner().expect("memory can be written");
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // A part of the line must not stay in front of the next one.
            let _ = self.file.set_len(*position);
            return Err(write_error(&self.path, error));
        }
        *position += line.len() as u64;
        self.remember(row);
        Ok(())
    }
}

fn write_error(path: &Path, error: std::io::Error) -> Error {
    zoo_record::Error::Write { path: path.to_owned(), reason: error.to_string() }.into()
}
