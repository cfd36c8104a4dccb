//! `zoo inspect`: what is in a file of weights.

use std::io::{self, Write};

use std::path::PathBuf;

use burn_zoo::import::onnx::Match;
use burn_zoo::import::{Checkpoint, Choice, Identified, Unidentified, identify};
use burn_zoo::models::Preprocess;
use burn_zoo::record::{ModelCard, Record, is_record_file};
use serde::Serialize;

use crate::options::Format;
use crate::output::{channels, classes, json_lines, without_hint};

/// `zoo inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A record, or a .pt, .pth, .safetensors, .onnx, .h5 or .keras file
    pub(crate) file: PathBuf,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// One tensor of the file.
#[derive(Serialize)]
struct Entry {
    key: String,
    dtype: String,
    shape: Vec<usize>,
}

impl Entry {
    fn new(tensor: &burn_zoo::import::Tensor) -> Self {
        Self {
            key: tensor.name.clone(),
            dtype: tensor.dtype.name().to_owned(),
            shape: tensor.shape.to_vec(),
        }
    }
}

/// The file as a whole: the last line of JSON.
#[derive(Serialize)]
struct Whole {
    tensors: usize,
    /// The model that it is of, where that is clear.
    model: Option<String>,
    summary: String,
    /// Of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<ModelCard>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let (entries, whole) = if is_record_file(&args.file)? {
        let record = Record::open(&args.file)?;
        let entries: Vec<Entry> = record.tensors().iter().map(Entry::new).collect();
        let whole = Whole {
            tensors: entries.len(),
            model: Some(record.card.variant.clone()),
            summary: describe_card(&record.card),
            card: Some(record.card),
        };
        (entries, whole)
    } else {
        let checkpoint = Checkpoint::open(&args.file)?;
        let entries = checkpoint.tensors.iter().map(|(key, tensor)| {
            let mut entry = Entry::new(tensor);
            entry.key.clone_from(key);
            entry
        });
        let entries: Vec<Entry> = entries.collect();
        let identified = identify(&checkpoint, &Choice::default());
        let whole = Whole {
            tensors: entries.len(),
            model: identified.as_ref().ok().map(|found| found.recognition.name.clone()),
            summary: describe(identified),
            card: None,
        };
        (entries, whole)
    };
    match args.format {
        Format::Text => {
            let width = entries.iter().map(|entry| entry.key.len()).max().unwrap_or_default();
            for Entry { key, dtype, shape } in &entries {
                writeln!(out, "{key:<width$}  {dtype:<4}  {shape:?}")?;
            }
            writeln!(out, "\n{} tensors: {}", whole.tensors, whole.summary)?;
        }
        Format::Json => {
            json_lines(&mut out, &entries)?;
            json_lines(&mut out, &[whole])?;
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(out);
            writer.write_record(["key", "dtype", "shape"])?;
            for Entry { key, dtype, shape } in &entries {
                writer.write_record([key, dtype, &format!("{shape:?}")])?;
            }
            writer.flush()?;
            eprintln!("{}", whole.summary);
        }
    }
    Ok(())
}

/// A record's card as a phrase, and how its images are prepared.
fn describe_card(card: &ModelCard) -> String {
    let Preprocess { resize, crop, interpolation, mean, std, .. } = card.preprocess;
    format!(
        "a record of {}, {}, {}, from {}\n  {} names of classes\n  \
         images: resize {resize} ({interpolation:?}), crop {crop}, mean {mean:.3?}, std {std:.3?}",
        card.variant,
        classes(card.num_classes),
        channels(card.in_channels),
        card.origin.file,
        card.labels.len()
    )
}

/// The recognition as a phrase.
fn describe(identified: Result<Identified, Unidentified>) -> String {
    match identified {
        Ok(Identified { recognition: found, .. }) => format!(
            "{}{}, {}, {}, {}",
            found.name,
            match &found.others[..] {
                [] => String::new(),
                others => format!(" (or {}, by keys and shapes alone)", others.join(" or ")),
            },
            match found.layout == Match::LAYOUTS[0].name {
                true => "matched by the graph's structure".to_owned(),
                false => format!("keys: {}", found.layout),
            },
            if found.is_headless { "no classifier".to_owned() } else { classes(found.num_classes) },
            channels(found.in_channels)
        ),
        // The hint is for commands that have the option.
        Err(unrecognized) => format!(
            "{}\nhint: `zoo import --variant NAME` says which it is, or how it differs",
            without_hint(&unrecognized.to_string())
        ),
    }
}
