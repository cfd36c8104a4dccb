//! The files that a run extends as it advances: `metrics.csv` and TensorBoard's events.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use zoo_record::write_atomically;

use crate::{EpochRow, Error};

/// The name of the table of epochs in a run's folder.
pub const METRICS: &str = "metrics.csv";

/// The files that grow during a run.
pub(crate) struct Journal {
    folder: PathBuf,
    events: File,
}

impl Journal {
    /// Begins a new file of events; those of earlier sessions stay.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let time = now();
        let pid = std::process::id();
        let path = folder.join(format!("events.out.tfevents.{}.zoo.{pid}", time as u64));
        let failed = |error: std::io::Error| write_failed(&path, &error);
        let mut events = File::create(&path).map_err(failed)?;
        let event = Event { wall_time: Some(time), ..Event::of_version() };
        events.write_all(&record(&event.encode_to_vec())).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), events })
    }

    /// Writes an update.
    pub(crate) fn step(&mut self, step: usize, loss: f64, lr: f64) -> Result<(), Error> {
        self.scalars(step, &[("step/loss", loss), ("step/learning_rate", lr)])
    }

    /// Writes the last epoch, and the table of all epochs.
    pub(crate) fn epoch(&mut self, history: &[EpochRow]) -> Result<(), Error> {
        let path = self.folder.join(METRICS);
        write_atomically(&path, |file| {
            let mut table = csv::Writer::from_writer(file);
            history.iter().try_for_each(|row| table.serialize(row))?;
            table.flush()
        })?;
        let Some(row) = history.last() else { return Ok(()) };
        let mut scalars = vec![
            ("epoch/train_loss", row.train_loss),
            ("epoch/train_accuracy", row.train_accuracy),
            ("epoch/images_per_second", row.images_per_second),
        ];
        scalars.extend(row.val_loss.map(|loss| ("epoch/val_loss", loss)));
        scalars.extend(row.val_accuracy.map(|accuracy| ("epoch/val_accuracy", accuracy)));
        scalars.extend(row.val_mean_iou.map(|iou| ("epoch/val_mean_iou", iou)));
        self.scalars(row.step, &scalars)
    }

    fn scalars(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<(), Error> {
        let value = |(tag, value): &(&str, f64)| Scalar {
            tag: (*tag).to_owned(),
            simple_value: *value as f32,
        };
        let event = Event {
            wall_time: Some(now()),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            summary: Some(Summary { value: scalars.iter().map(value).collect() }),
            ..Event::default()
        };
        let written = self.events.write_all(&record(&event.encode_to_vec()));
        written.map_err(|error| write_failed(&self.folder, &error))
    }
}

/// The fields of TensorFlow's `Event` that are written here.
#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(double, optional, tag = "1")]
    wall_time: Option<f64>,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

impl Event {
    /// Returns the first event of a file.
    fn of_version() -> Self {
        Self { file_version: Some("brain.Event:2".to_owned()), ..Self::default() }
    }
}

/// TensorFlow's `Summary`.
#[derive(Clone, PartialEq, prost::Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// TensorFlow's `Summary.Value`, with one number.
#[derive(Clone, PartialEq, prost::Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

fn write_failed(path: &Path, error: &std::io::Error) -> Error {
    zoo_record::Error::Write { path: path.to_owned(), reason: error.to_string() }.into()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Frames a message as TensorFlow does: length, its checksum, message, its checksum.
fn record(message: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked(message).to_le_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_as_tensorflow_does() {
        let event = Event { wall_time: Some(0.0), ..Event::of_version() }.encode_to_vec();
        assert_eq!(event, *b"\x09\0\0\0\0\0\0\0\0\x1a\x0dbrain.Event:2");
        let record = record(&event);
        assert_eq!(record[..8], 24_u64.to_le_bytes());
        // Every file of events begins with these twelve bytes.
        assert_eq!(record[8..12], [0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(record.len(), 24 + 16);
    }
}
