use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Candidate;
use super::limits::Cost;
use crate::Error;

/// The name of the file with all candidates in a search's folder.
pub const CANDIDATES: &str = "search.csv";

/// The end of a candidate's assessment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was trained.
    Trained,
    /// It exceeds a limit, and was not trained.
    Rejected,
    /// Its training failed: it diverged or ran out of memory.
    Failed,
}

/// A row of `search.csv`: a candidate, its cost and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Index of the candidate, from 0.
    pub id: usize,
    /// The part of the search that asked for it: `search` or `random`.
    pub method: String,
    /// The generation or the rung, from 0.
    pub generation: usize,
    /// The networks that it comes from, separated by spaces.
    pub parents: String,
    /// The name of the network.
    pub network: String,
    /// Height and width of the images in pixels.
    pub image_size: usize,
    /// Epochs of its training.
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
    /// The end of its assessment.
    pub status: Status,
    /// Accuracy on the validation images, in `[0, 1]`.
    pub accuracy: Option<f64>,
    /// Seconds of measuring and training.
    pub seconds: f64,
    /// The exceeded limit or the failure.
    pub reason: String,
}

impl Row {
    /// Sets the measured cost.
    pub(super) fn set_cost(&mut self, cost: &Cost) {
        let Cost { params, macs, size, memory, latency_ms } = *cost;
        (self.params, self.macs, self.size) = (params, macs, size);
        (self.memory, self.latency_ms) = (memory, latency_ms);
    }
}

/// The rows of a search, which the file has too. A row is written when a candidate is assessed, so a killed process loses only the
/// candidate under way.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    rows: Vec<Row>,
    by_candidate: BTreeMap<(Candidate, usize), usize>,
}

impl Journal {
    /// Opens the journal of a folder, with the rows of an earlier process.
    ///
    /// # Errors
    ///
    /// When the file can't be read or written.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(CANDIDATES);
        let write = |error: std::io::Error| zoo_record::Error::Write {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut rows: Vec<Row> = Vec::new();
        let mut complete = 0;
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(write)?;
            // A killed process may have written a part of the last line.
            complete = text.rfind('\n').map_or(0, |end| end + 1);
            let mut reader = csv::Reader::from_reader(&text.as_bytes()[..complete]);
            for row in reader.deserialize() {
                rows.push(
                    row.map_err(|error| Error::Search(format!("{}: {error}", path.display())))?,
                );
            }
        }
        let file = File::options().create(true).append(true).open(&path).map_err(write)?;
        file.set_len(complete as u64).map_err(write)?;
        let mut journal = Self { path, file, rows: Vec::new(), by_candidate: BTreeMap::new() };
        rows.into_iter().for_each(|row| journal.remember(row));
        Ok(journal)
    }

    fn remember(&mut self, row: Row) {
        let candidate = Candidate { network: row.network.clone(), image_size: row.image_size };
        self.by_candidate.insert((candidate, row.epochs), self.rows.len());
        self.rows.push(row);
    }

    /// The row of a candidate that was trained for a number of epochs, or rejected.
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
        let mut writer =
            csv::WriterBuilder::new().has_headers(self.rows.is_empty()).from_writer(Vec::new());
        let failed = |path: &Path, reason: String| {
            Error::from(zoo_record::Error::Write { path: path.to_owned(), reason })
        };
        writer.serialize(&row).map_err(|error| failed(&self.path, error.to_string()))?;
        let line = writer.into_inner().map_err(|error| failed(&self.path, error.to_string()))?;
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| failed(&self.path, error.to_string()))?;
        self.remember(row);
        Ok(())
    }
}
