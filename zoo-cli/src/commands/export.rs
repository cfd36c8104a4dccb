//! `zoo export`: turns a record into a file for other programs.

use std::path::PathBuf;

use anyhow::ensure;
use burn_zoo::import::{ExportFormat, ExportOptions, OPSETS};
use burn_zoo::record::{Precision, is_record_file};
use burn_zoo::{Backend, Model};
use clap::ValueEnum;

use crate::options::positive;
use crate::output::ensure_apart;

/// `zoo export`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The record
    pub(crate) record: PathBuf,

    /// The format to write
    #[arg(long, value_enum)]
    pub(crate) to: Target,

    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// The key layout to write, if there are several [default: that of the imported checkpoint]
    #[arg(long, value_name = "NAME")]
    pub(crate) layout: Option<String>,

    /// Store the weights in half precision, except those of BatchNorm
    #[arg(long)]
    pub(crate) half: bool,

    /// ONNX's operator set [default: 18]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(OPSETS))]
    pub(crate) opset: Option<i64>,

    /// Height and width of the ONNX model's images, in pixels [default: those of the record]
    #[arg(long, value_name = "PIXELS", value_parser = positive())]
    pub(crate) size: Option<usize>,
}

/// The formats that `zoo export` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Safetensors with the keys of the PyTorch implementation, for `load_state_dict`
    Safetensors,
    /// A .pth file with these keys, for `torch.load`
    #[value(alias = "pth-keys")]
    Pth,
    /// An ONNX model for any batch size
    Onnx,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.to == Target::Onnx || args.opset.is_none() && args.size.is_none(),
        "only ONNX has operator sets and image sizes\n\
         hint: leave --opset and --size out, or add --to onnx"
    );
    ensure_apart(&args.record, &args.output)?;
    ensure!(
        is_record_file(&args.record)?,
        "{} is not a record\nhint: convert it with `zoo import`",
        args.record.display()
    );
    let model = Model::open(&args.record, &Backend::Cpu.device()?)?;
    let format = match args.to {
        Target::Safetensors => ExportFormat::Safetensors,
        Target::Pth => ExportFormat::Pth,
        Target::Onnx => ExportFormat::Onnx { opset: args.opset.unwrap_or(18), size: args.size },
    };
    let precision = if args.half { Precision::Half } else { Precision::Single };
    let options = ExportOptions { format, layout: args.layout.as_deref(), precision };
    let layout = model.export(options, &args.output)?;
    eprintln!("read {} as {}, keys: {}", args.record.display(), model.card().variant, layout.name);
    if !model.card().has_classifier {
        eprintln!("  without a classifier, because the record has no trained one");
    }
    eprintln!("wrote {}", args.output.display());
    Ok(())
}
