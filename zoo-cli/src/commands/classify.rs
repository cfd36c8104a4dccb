//! `zoo classify`: from files to the names of what is in them.
//!
//! file → [`decode::decode_over`] → [`Preprocess::pixels`] → images `[N, C, H, W]` → [`Model::logits`] →
//! logits `[N, K]` → [`probabilities`] → [`top_k`] → [`Prediction`]

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use anyhow::{Context, ensure};
use burn_zoo::models::Preprocess;
use burn_zoo::{Model, Prediction, catch_panic, decode, probabilities, top_k, train};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use crate::options::{Format, ModelOptions, RunOptions, positive, probability};
use crate::{Outcome, lines};

/// `zoo classify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --model and --weights, the embedded EfficientNet-Lite0 answers, which knows the 1,000 classes of ImageNet. Where a
network has one output, it tells two classes apart: the first, which is all else, and the second, which it is trained to find.
What is in folders by itself, such as hidden files, __MACOSX and @eaDir, is no image.

Exit codes: 0 all images were classified, 1 some input was unusable, 2 failure.")]
pub(crate) struct Args {
    /// Image files, folders of them, or - for an image on standard input
    #[arg(value_name = "PATH", required_unless_present = "from_file")]
    pub(crate) paths: Vec<PathBuf>,

    /// A text file with the path of an image on each line, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,

    /// Look into the folders in folders too
    #[arg(long, short)]
    pub(crate) recursive: bool,

    /// Where the model comes from.
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// How many classes to name for each image
    #[arg(long, short = 'k', value_name = "K", default_value_t = 5, value_parser = positive())]
    pub(crate) top_k: usize,

    /// Where no class is as probable as this, from 0 to 1, answer `unknown`, without a class but
    /// with the highest probability
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub(crate) min_probability: f32,

    /// How many images to compute at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive())]
    pub(crate) batch_size: usize,

    /// How to print the results
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let paths = collect(args)?;
    let device = args.run.device()?;
    let mut model = args.model.load(&device)?;
    model.ensure_classifies()?;
    let preprocess = *model.preprocess();

    let progress = progress_bar(paths.len());
    let mut printer = Printer::new(args.format)?;
    let mut outcome = Outcome::Done;
    std::thread::scope(|scope| {
        // Two batches wait at most, while a third is decoded, so that memory does not grow with the number of images.
        let (sender, receiver) = sync_channel(2);
        let paths = &paths;
        scope.spawn(move || {
            for chunk in paths.chunks(args.batch_size) {
                let images: Vec<_> = chunk.par_iter().map(|path| read(path, &preprocess)).collect();
                if sender.send(images).is_err() {
                    break;
                }
            }
        });
        // The first plan is made while the first images are decoded.
        model.plan(model.input_shape(paths.len().min(args.batch_size)))?;
        for (chunk, images) in paths.chunks(args.batch_size).zip(receiver) {
            let predictions = predict(&mut model, images, args)?;
            progress.suspend(|| {
                chunk.iter().zip(predictions).try_for_each(|(path, result)| {
                    if result.is_err() {
                        outcome = Outcome::SomeInputWasBad;
                    }
                    printer.print(path, result)
                })
            })?;
            progress.inc(chunk.len() as u64);
        }
        printer.finish()
    })?;
    progress.finish_and_clear();
    Ok(outcome)
}

/// Reads an image file into the network's input, `[C, H, W]` row-major.
fn read(path: &Path, preprocess: &Preprocess) -> anyhow::Result<Vec<f32>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(path)?;
    }
    // A decoder that panics on a damaged file costs that file, not the others.
    let image = catch_panic(|| decode::decode_over(&bytes, preprocess.background))??;
    Ok(preprocess.pixels(&image))
}

/// Classifies a batch; an image that could not be read keeps its place.
fn predict(
    model: &mut Model,
    images: Vec<anyhow::Result<Vec<f32>>>,
    args: &Args,
) -> anyhow::Result<Vec<anyhow::Result<Vec<Prediction>>>> {
    let pixels: Vec<f32> = images.iter().flatten().flatten().copied().collect();
    let mut logits = Vec::new();
    match images.iter().flatten().count() {
        0 => {}
        batch => logits = model.logits(pixels, model.input_shape(batch))?.iter::<f32>().collect(),
    }
    let names = model.card().answers();
    let mut rows = logits.chunks_exact(model.card().num_classes);
    let answer = |image: anyhow::Result<_>| {
        image?;
        let row = rows.next().expect("there is a row of logits for each image");
        let probabilities = probabilities(row)?;
        let predictions = top_k(&probabilities, &names, args.top_k);
        match predictions.first() {
            Some(best) if best.probability < args.min_probability => {
                Ok(vec![Prediction::unknown(best.probability)])
            }
            _ => Ok(predictions),
        }
    };
    Ok(images.into_iter().map(answer).collect())
}

/// The images that a command line names, in its order; those of a folder by name.
fn collect(args: &Args) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in &args.paths {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let depth = if args.recursive { usize::MAX } else { 1 };
        let before = paths.len();
        let is_meant =
            |entry: &DirEntry| entry.depth() == 0 || !train::is_leftover(entry.file_name());
        let entries = WalkDir::new(path).max_depth(depth).sort_by_file_name();
        for entry in entries.into_iter().filter_entry(is_meant) {
            let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
            let is_image = image::ImageFormat::from_path(entry.path()).is_ok();
            // A pipe would be waited for; a broken link is an image that can't be read.
            let is_other = entry.path().metadata().is_ok_and(|metadata| !metadata.is_file());
            if is_image && !is_other {
                paths.push(entry.into_path());
            }
        }
        ensure!(
            paths.len() > before,
            "there are no images in {}{}",
            path.display(),
            if args.recursive { "" } else { "\nhint: --recursive looks into the folders in it" }
        );
    }
    if let Some(list) = &args.from_file {
        let lines = lines::read(list)?.into_iter().filter(|line| !line.trim().is_empty());
        paths.extend(lines.map(PathBuf::from));
        ensure!(!paths.is_empty(), "there are no paths in {}", list.display());
    }
    Ok(paths)
}

/// A bar on standard error where there is much to do and somebody to see it.
fn progress_bar(length: usize) -> ProgressBar {
    if length < 16 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:40} {pos}/{len} images, {per_sec}, {eta} left";
    ProgressBar::new(length as u64)
        .with_style(ProgressStyle::with_template(style).expect("the template is valid"))
}

/// Writes results in the order they are given.
enum Printer {
    Text(io::Stdout),
    Json(io::Stdout),
    Csv(Box<csv::Writer<io::Stdout>>),
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<&'a [Prediction]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Printer {
    fn new(format: Format) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Text => Self::Text(io::stdout()),
            Format::Json => Self::Json(io::stdout()),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(io::stdout());
                writer.write_record(["path", "rank", "class", "label", "probability"])?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    fn print(
        &mut self,
        path: &Path,
        result: anyhow::Result<Vec<Prediction>>,
    ) -> anyhow::Result<()> {
        let path = path.to_string_lossy();
        if let Err(error) = &result {
            eprintln!("zoo: {path}: {error:#}");
        }
        match (self, result) {
            (Self::Json(out), result) => {
                let line = Line {
                    path: &path,
                    predictions: result.as_deref().ok(),
                    error: result.as_ref().err().map(|error| format!("{error:#}")),
                };
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
            (_, Err(_)) => {}
            (Self::Text(out), Ok(predictions)) => {
                writeln!(out, "{path}")?;
                for prediction in predictions {
                    let percent = 100.0 * prediction.probability;
                    writeln!(out, "  {percent:5.1} %  {}", prediction.label)?;
                }
            }
            (Self::Csv(writer), Ok(predictions)) => {
                for (rank, prediction) in predictions.iter().enumerate() {
                    writer.write_record([
                        &*path,
                        &(rank + 1).to_string(),
                        &prediction.class.map_or_else(String::new, |class| class.to_string()),
                        &prediction.label,
                        &prediction.probability.to_string(),
                    ])?;
                }
                writer.flush()?;
            }
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Text(mut out) | Self::Json(mut out) => out.flush()?,
            Self::Csv(mut writer) => writer.flush()?,
        }
        Ok(())
    }
}
