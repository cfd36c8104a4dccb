//! `zoo classify`: names the classes of image files, with [`Model::classify_files`](burn_zoo::Model::classify_files).

use std::io::{self, Read, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use burn_zoo::{ClassifyOptions, Error, Prediction, train};
use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use crate::options::{Format, ModelOptions, RunOptions, positive, probability};
use crate::output::json_lines;
use crate::progress::images_bar;
use crate::{Outcome, lines};

/// `zoo classify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --model and --weights, the program uses the embedded EfficientNet-Lite0, which has the 1,000 classes of ImageNet. A
network with one output has two classes: the second is what it was trained to find, the first is everything else. Hidden files
and system folders such as __MACOSX and @eaDir are ignored.

Exit codes: 0 all images were classified, 1 some input was unusable, 2 failure.")]
pub(crate) struct Args {
    /// Image files, folders of them, or - for an image on standard input
    #[arg(value_name = "PATH", required_unless_present = "from_file")]
    pub(crate) paths: Vec<PathBuf>,

    /// A text file with one path per line, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,

    /// Include the folders in folders
    #[arg(long, short)]
    pub(crate) recursive: bool,

    /// Options that choose the model.
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// Number of classes to print for each image
    #[arg(long, short = 'k', value_name = "K", default_value_t = 5, value_parser = positive())]
    pub(crate) top_k: usize,

    /// Print `unknown`, with the highest probability, if no class reaches this probability, from 0 to
    /// 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability::<f32>)]
    pub(crate) min_probability: f32,

    /// Number of images in a batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive())]
    pub(crate) batch_size: usize,

    /// The format of the output
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let paths = collect(args)?;
    let mut model = args.model.load(&args.run.device()?)?;
    let Args { top_k, min_probability, batch_size, format, .. } = *args;
    let options = ClassifyOptions { top_k, min_probability, batch_size };
    let bar = images_bar(paths.len());
    let mut table = csv::Writer::from_writer(stdout());
    if format == Format::Csv {
        table.write_record(["path", "rank", "class", "label", "probability"])?;
    }
    let mut outcome = Outcome::Done;
    model.classify_files(&paths, read, options, |paths, answers| {
        bar.suspend(|| {
            paths.iter().zip(answers).try_for_each(|(path, answer)| {
                if answer.is_err() {
                    outcome = Outcome::SomeInputWasBad;
                }
                print(format, &mut table, &path.to_string_lossy(), &answer)
            })
        })?;
        bar.inc(paths.len() as u64);
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    table.flush()?;
    Ok(outcome)
}

/// The bytes of an image file, or of standard input for `-`.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map(|_| bytes)
}

/// The image files of the command line, in its order. Those of a folder are sorted by name.
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
            // Reading a pipe would wait. A broken link counts as an image that can't be read.
            let is_other = entry.path().metadata().is_ok_and(|metadata| !metadata.is_file());
            if is_image && !is_other {
                paths.push(entry.into_path());
            }
        }
        ensure!(
            paths.len() > before,
            "there are no images in {}{}",
            path.display(),
            if args.recursive { "" } else { "\nhint: --recursive includes the folders in it" }
        );
    }
    if let Some(list) = &args.from_file {
        let lines = lines::read(list)?.into_iter().filter(|line| !line.trim().is_empty());
        paths.extend(lines.map(PathBuf::from));
        ensure!(!paths.is_empty(), "there are no paths in {}", list.display());
    }
    Ok(paths)
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<&'a [Prediction]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints the predictions for an image, or its error.
fn print(
    format: Format,
    table: &mut csv::Writer<io::Stdout>,
    path: &str,
    answer: &Result<Vec<Prediction>, Error>,
) -> anyhow::Result<()> {
    let error = answer.as_ref().err().map(ToString::to_string);
    if let Some(error) = &error {
        eprintln!("zoo: {path}: {error}");
    }
    let predictions = answer.as_deref().ok();
    match format {
        Format::Json => json_lines(&mut stdout(), &[Line { path, predictions, error }])?,
        Format::Text => {
            if predictions.is_some() {
                writeln!(stdout(), "{path}")?;
            }
            for Prediction { probability, label, .. } in predictions.unwrap_or_default() {
                writeln!(stdout(), "  {:5.1} %  {label}", 100.0 * probability)?;
            }
        }
        Format::Csv => {
            for (rank, it) in (1..).zip(predictions.unwrap_or_default()) {
                table.serialize((path, rank, it.class, &it.label, it.probability.to_string()))?;
            }
            table.flush()?;
        }
    }
    Ok(())
}
