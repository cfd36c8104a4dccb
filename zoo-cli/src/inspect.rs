//! `zoo inspect`: what is in a file of weights.

use std::io::{self, Write};

use serde::Serialize;
use zoo_import::{Checkpoint, Record, is_record_file};

use crate::args::{Format, Inspect};
use crate::recognise::{Identified, identify};

/// One tensor of the file.
#[derive(Serialize)]
struct Entry {
    key: String,
    dtype: String,
    shape: Vec<usize>,
}

impl Entry {
    fn new(tensor: &zoo_import::Tensor) -> Self {
        Self {
            key: tensor.name.clone(),
            dtype: tensor.dtype.name().to_owned(),
            shape: tensor.shape.to_vec(),
        }
    }
}

/// Runs the command.
pub fn run(args: &Inspect) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let (entries, summary) = if is_record_file(&args.file)? {
        let record = Record::open(&args.file)?;
        let entries: Vec<Entry> = record.tensors().iter().map(Entry::new).collect();
        let card = &record.card;
        let summary = format!(
            "a record of {}, {} classes, {} channels, from {}",
            card.variant, card.num_classes, card.in_channels, card.origin.file
        );
        (entries, summary)
    } else {
        let checkpoint = Checkpoint::open(&args.file)?;
        let entries = checkpoint.tensors.iter().map(|(key, tensor)| {
            let mut entry = Entry::new(tensor);
            entry.key.clone_from(key);
            entry
        });
        (entries.collect(), describe(identify(&checkpoint)))
    };
    match args.format {
        Format::Text => {
            let width = entries.iter().map(|entry| entry.key.len()).max().unwrap_or_default();
            for Entry { key, dtype, shape } in &entries {
                writeln!(out, "{key:<width$}  {dtype:<4}  {shape:?}")?;
            }
            writeln!(out, "\n{} tensors: {summary}", entries.len())?;
        }
        Format::Json => {
            for entry in &entries {
                writeln!(out, "{}", serde_json::to_string(entry)?)?;
            }
            eprintln!("{summary}");
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(out);
            writer.write_record(["key", "dtype", "shape"])?;
            for Entry { key, dtype, shape } in &entries {
                writer.write_record([key, dtype, &format!("{shape:?}")])?;
            }
            writer.flush()?;
            eprintln!("{summary}");
        }
    }
    Ok(())
}

/// The recognition as a phrase.
fn describe(identified: anyhow::Result<Identified>) -> String {
    match identified {
        Ok(Identified { recognition: found, .. }) => format!(
            "{}{}, keys as {} has them, {}, {} channels",
            found.name,
            match &found.others[..] {
                [] => String::new(),
                others => format!(" (or {}, by keys and shapes alone)", others.join(" or ")),
            },
            found.layout,
            if found.is_headless {
                "no classifier".to_owned()
            } else {
                format!("{} classes", found.num_classes)
            },
            found.in_channels
        ),
        Err(unrecognised) => unrecognised.to_string(),
    }
}
