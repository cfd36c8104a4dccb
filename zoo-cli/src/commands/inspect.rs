//! `zoo inspect`: the tensors of a file and their model.

use std::io::{Write, stdout};
use std::path::PathBuf;

use burn_zoo::record::ModelCard;
use burn_zoo::{Contents, Source};
use serde::Serialize;

use crate::options::Format;
use crate::output::{csv_table, json_lines, without_hint};

/// `zoo inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A record, or a .pt, .pth, .safetensors, .onnx, .h5 or .keras file
    pub(crate) file: PathBuf,

    /// The format of the output
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// The file as a whole: the last line of JSON.
#[derive(Serialize)]
struct Whole<'a> {
    tensors: usize,
    /// The name of the model, if it is clear.
    model: Option<&'a str>,
    summary: &'a str,
    /// The card of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<&'a ModelCard>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let contents = Contents::of(&args.file)?;
    let tensors = &contents.tensors;
    let (summary, card) = match &contents.source {
        Source::Record(card) => (format!("a record of {card}"), Some(&**card)),
        Source::Checkpoint(Ok(recognition)) => (recognition.to_string(), None),
        // The library's hint names options of `zoo import`.
        Source::Checkpoint(Err(unidentified)) => {
            let reason = unidentified.to_string();
            let hint = "`zoo import --model NAME` says how it differs from a model";
            (format!("{}\nhint: {hint}", without_hint(&reason)), None)
        }
    };
    let mut out = stdout().lock();
    match args.format {
        Format::Text => {
            let width = tensors.iter().map(|tensor| tensor.key.len()).max().unwrap_or_default();
            for tensor in tensors {
                writeln!(out, "{:<width$}  {:<4}  {:?}", tensor.key, tensor.dtype, tensor.shape)?;
            }
            writeln!(out, "\n{} tensors: {summary}", tensors.len())?;
        }
        Format::Json => {
            json_lines(&mut out, tensors)?;
            let (tensors, model) = (tensors.len(), contents.model());
            json_lines(&mut out, &[Whole { tensors, model, summary: &summary, card }])?;
        }
        Format::Csv => {
            let rows = tensors.iter().map(|it| (&it.key, it.dtype, format!("{:?}", it.shape)));
            csv_table(&mut out, &["key", "dtype", "shape"], rows)?;
            eprintln!("{summary}");
        }
    }
    Ok(())
}
