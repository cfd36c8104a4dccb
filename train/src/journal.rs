//! What a run writes down as it goes: `metrics.csv` and TensorBoard's events.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use zoo_record::write_atomically;

use crate::{EpochRow, Error};

/// The name of the table of epochs in a run's folder.
pub const METRICS: &str = "metrics.csv";

/// The files of a run that grow with it.
pub(crate) struct Journal {
    folder: PathBuf,
    events: File,
}

impl Journal {
    /// Begins a file of events beside those that are there.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let time = now();
        let pid = std::process::id();
        let path = folder.join(format!("events.out.tfevents.{}.zoo.{pid}", time as u64));
        let failed = |error: std::io::Error| write_failed(&path, &error);
        let mut events = File::create(&path).map_err(failed)?;
        let mut event = Message::default();
        event.double(1, time);
        event.bytes(3, b"brain.Event:2");
        events.write_all(&record(&event.0)).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), events })
    }

    /// Notes a step.
    pub(crate) fn step(&mut self, step: usize, loss: f64, lr: f64) -> Result<(), Error> {
        self.scalars(step, &[("step/loss", loss), ("step/learning_rate", lr)])
    }

    /// Notes the last epoch and writes the table of all.
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
        self.scalars(row.step, &scalars)
    }

    fn scalars(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<(), Error> {
        let mut summary = Message::default();
        for (tag, value) in scalars {
            let mut scalar = Message::default();
            scalar.bytes(1, tag.as_bytes());
            scalar.float(2, *value as f32);
            summary.bytes(1, &scalar.0);
        }
        let mut event = Message::default();
        event.double(1, now());
        event.number(2, step as u64);
        event.bytes(5, &summary.0);
        let written = self.events.write_all(&record(&event.0));
        written.map_err(|error| write_failed(&self.folder, &error))
    }
}

fn write_failed(path: &Path, error: &std::io::Error) -> Error {
    zoo_record::Error::Write { path: path.to_owned(), reason: error.to_string() }.into()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// TensorFlow's framing of a message: length, its checksum, message, its checksum.
fn record(message: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked(message).to_le_bytes());
    record
}

/// A protobuf message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, kind: u64) {
        self.varint((field << 3) | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_as_tensorflow_does() {
        let mut event = Message::default();
        event.double(1, 0.0);
        event.bytes(3, b"brain.Event:2");
        assert_eq!(event.0, *b"\x09\0\0\0\0\0\0\0\0\x1a\x0dbrain.Event:2");
        let record = record(&event.0);
        assert_eq!(record[..8], 24_u64.to_le_bytes());
        // Every file of events begins with these twelve bytes.
        assert_eq!(record[8..12], [0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(record.len(), 24 + 16);
    }
}
