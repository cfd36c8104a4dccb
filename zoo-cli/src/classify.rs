//! `zoo classify`: from files to the names of what is in them.
//!
//! file → [`decode_over`] → [`Preprocess::pixels`] → images `[N, C, H, W]` → [`Runner::logits`] →
//! logits `[N, K]` → softmax, or the sigmoid where K is 1 → the `k` most probable → [`Prediction`]

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;
use walkdir::{DirEntry, WalkDir};
use zoo_core::{Preprocess, decode::decode_over};
use zoo_import::ModelCard;
use zoo_models::{Network, NotAClassifier};
use zoo_train::is_leftover;

use crate::args::{Classify, Format};
use crate::device::{self, Backend};
use crate::model::{self, Model};
use crate::runner::Runner;
use crate::{Outcome, lines};

/// One class and how sure the network is of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Position of the class among the logits. Of one logit: 1 for what it is trained to find, 0
    /// for all else. None where no class is probable enough.
    pub class: Option<usize>,
    /// Its name, `class 7` where the model does not know names, or [`UNKNOWN`].
    pub label: String,
    /// In `[0, 1]`; those of all classes add up to 1. That of the most probable class where none is
    /// probable enough.
    pub probability: f32,
}

/// The answer where no class is probable enough.
pub const UNKNOWN: &str = "unknown";

/// Runs the command.
pub fn run(args: &Classify) -> anyhow::Result<Outcome> {
    let paths = collect(args)?;
    let device = device::of(&args.run)?;
    let Model { network, card } = model::load(&args.model, &Backend::Cpu.device()?)?;
    if !matches!(network, Network::Classifier(_)) {
        return Err(NotAClassifier.into());
    }
    ensure!(
        card.has_classifier,
        "the record of {} has no classifier, only the layers before it\nhint: `zoo finetune` \
         teaches it classes",
        card.variant
    );
    let mut runner = Runner::new(network, args.run.backend, &device);
    let preprocess = card.preprocess;

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
        runner.plan(images_shape(&preprocess, paths.len().min(args.batch_size)), false)?;
        for (chunk, images) in paths.chunks(args.batch_size).zip(receiver) {
            let predictions = predict(&card, &mut runner, images, args)?;
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
    // A decoder that panics on a broken file costs that file, not the others.
    let image = crate::catch(|| decode_over(&bytes, preprocess.background))??;
    Ok(preprocess.pixels(&image))
}

/// Classifies a batch; an image that could not be read keeps its place.
fn predict(
    card: &ModelCard,
    runner: &mut Runner,
    images: Vec<anyhow::Result<Vec<f32>>>,
    args: &Classify,
) -> anyhow::Result<Vec<anyhow::Result<Vec<Prediction>>>> {
    let pixels: Vec<f32> = images.iter().flatten().flatten().copied().collect();
    let batch = images.iter().flatten().count();
    let mut rows = Vec::new();
    let names = card.answers();
    if batch > 0 {
        let shape = images_shape(&card.preprocess, batch);
        let logits = runner.logits(pixels, shape)?.try_into_vec::<f32>();
        rows = logits
            .map_err(|error| anyhow::anyhow!("{error:?}"))?
            .chunks_exact(card.num_classes)
            .map(|row| -> anyhow::Result<_> {
                let probabilities = probabilities(row);
                ensure!(
                    probabilities.iter().all(|probability| probability.is_finite()),
                    "the network's answer is not a number\nhint: its weights are probably damaged"
                );
                Ok(answer(&probabilities, &names, args))
            })
            .collect();
    }
    let mut rows = rows.into_iter();
    let with_row = |image: anyhow::Result<_>| {
        image.and_then(|_| rows.next().expect("a row of logits for each image"))
    };
    Ok(images.into_iter().map(with_row).collect())
}

fn images_shape(preprocess: &Preprocess, batch: usize) -> [usize; 4] {
    let side = preprocess.crop as usize;
    [batch, preprocess.channels(), side, side]
}

/// The probability of each class. One logit alone is the second class's, beside 0 for the first:
/// the softmax of both is its sigmoid.
fn probabilities(logits: &[f32]) -> Vec<f32> {
    match logits {
        [logit] => softmax(&[0.0, *logit]),
        logits => softmax(logits),
    }
}

/// Probabilities in proportion to the exponentials of logits.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.into_iter().map(|x| x / sum).collect()
}

/// The most probable classes, the most probable first, or that no class is probable enough.
fn answer(probabilities: &[f32], names: &[String], args: &Classify) -> Vec<Prediction> {
    let mut classes: Vec<usize> = (0..probabilities.len()).collect();
    classes.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let highest = probabilities[classes[0]];
    if highest < args.min_probability {
        let label = UNKNOWN.to_owned();
        return vec![Prediction { class: None, label, probability: highest }];
    }
    classes
        .into_iter()
        .take(args.top_k)
        .map(|class| Prediction {
            class: Some(class),
            label: names.get(class).map_or_else(|| format!("class {class}"), Clone::clone),
            probability: probabilities[class],
        })
        .collect()
}

/// The images that a command line names, in its order; those of a folder by name.
fn collect(args: &Classify) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in &args.paths {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let depth = if args.recursive { usize::MAX } else { 1 };
        let before = paths.len();
        let is_meant = |entry: &DirEntry| entry.depth() == 0 || !is_leftover(entry.file_name());
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
