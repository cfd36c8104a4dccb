//! `zoo classify`: names the classes of image files, with [`Model::classify_files`](burn_zoo::Model::classify_files).

use std::io::{self, Write, stdout};

use burn_zoo::{ClassifyOptions, Error, Prediction};
use serde::Serialize;

use crate::Outcome;
use crate::images::{ImagePaths, read};
use crate::options::{Format, ModelOptions, RunOptions, positive, probability};
use crate::output::json_lines;
use crate::progress::images_bar;

/// `zoo classify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --model and --weights, the program uses the embedded EfficientNet-Lite0, which has the 1,000 classes of ImageNet. A
network with one output has two classes: the second is what it was trained to find, the first is everything else. Hidden files
and system folders such as __MACOSX and @eaDir are ignored.

Exit codes: 0 all images were classified, 1 some input was unusable, 2 failure.")]
pub(crate) struct Args {
    /// The images.
    #[command(flatten)]
    pub(crate) images: ImagePaths,

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
    let paths = args.images.collect()?;
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
