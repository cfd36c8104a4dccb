//! `zoo eval`: evaluates a model on labeled images.

use std::io::{Cursor, Write, stdout};
use std::path::{Path, PathBuf};

use burn_zoo::record::write_atomically;
use burn_zoo::train::{Evaluation, confusion_image};
use burn_zoo::{EvaluateOptions, Evaluated};
use image::ImageFormat;

use crate::Outcome;
use crate::options::{Format, ModelOptions, RunOptions, positive};
use crate::output::{csv_table, ensure_apart, json_lines};
use crate::progress::Bars;

/// `zoo eval`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Images that a record of `zoo finetune` was trained on are left out, unless DATA names the splits or has no other images. A \
network with one output has two classes, negative and positive. Classes without names have their numbers as labels, from 0.

For a segmenter, such as U-Net, DATA is a folder with the folders `images` and `masks`.

Exit codes: 0 done, 1 some input was unusable, 2 failure.")]
pub(crate) struct Args {
    /// Images with their classes, as for `zoo finetune`; of several splits, `val` is used, else `test`
    pub(crate) data: String,

    /// Options that choose the model.
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// Number of images in a batch [default: 32, or 1 for segmentation]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub(crate) batch_size: Option<usize>,

    /// Write the confusion matrix as a PNG image
    #[arg(long, value_name = "FILE")]
    pub(crate) confusion: Option<PathBuf>,

    /// Write the prediction for each image to a .csv or .jsonl file; for segmentation, its pixel
    /// accuracy and mean IoU
    #[arg(long, value_name = "FILE")]
    pub(crate) predictions: Option<PathBuf>,

    /// Write the results as an HTML page
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// The format of the output
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(path) = &args.predictions {
        ensure_apart(Path::new(&args.data), path)?;
    }
    let model = args.model.load(&args.run.device()?)?;
    let options = EvaluateOptions { batch_size: args.batch_size, report: args.report.clone() };
    match model.evaluate(&args.data, &options, &mut Bars::default())? {
        Evaluated::Classification(evaluation, images) => write_results(args, &evaluation, &images),
        Evaluated::Segmentation(evaluation, images) => write_results(args, &evaluation, &images),
    }
}

/// Writes the requested files, and prints the evaluation.
fn write_results<E: Evaluation>(
    args: &Args,
    evaluation: &E,
    images: &[E::Row],
) -> anyhow::Result<Outcome> {
    if let Some(path) = &args.confusion {
        let mut png = Cursor::new(Vec::new());
        confusion_image(&evaluation.names(), evaluation.confusion())
            .write_to(&mut png, ImageFormat::Png)?;
        write_atomically(path, |file| file.write_all(png.get_ref()))?;
    }
    if let Some(path) = &args.predictions {
        let mut text = Vec::new();
        match path.extension().is_some_and(|it| it.eq_ignore_ascii_case("jsonl")) {
            true => json_lines(&mut text, images)?,
            false => csv_table(&mut text, &[], images)?,
        }
        write_atomically(path, |file| file.write_all(&text))?;
    }
    let mut out = stdout().lock();
    match args.format {
        Format::Json => json_lines(&mut out, &[evaluation])?,
        Format::Csv => csv_table(&mut out, &[], evaluation.classes())?,
        Format::Text => write!(out, "{evaluation}")?,
    }
    Ok(if evaluation.unreadable() > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}
