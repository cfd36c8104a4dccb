//! `zoo eval`: how good a model is on images whose classes are known.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use burn_zoo::record::{Record, Seen, is_record_file, write_atomically};
use burn_zoo::train::{
    Batching, Budget, ClassScore, Dataset, Evaluation, Event, Images, Observer, evaluate,
};
use burn_zoo::{Backend, default_threads};
use image::ImageFormat;
use serde::Serialize;

use crate::Outcome;
use crate::options::{Format, ModelOptions, RunOptions, positive};
use crate::output::{classes, csv_records, ensure_apart, images, json_lines};
use crate::progress::Bars;

/// `zoo eval`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of the images of a record that `zoo finetune` has written, those that it was trained on are left out, unless DATA names the
parts or has no others. A network with one output tells two classes apart, negative and positive; classes without names are
labeled with their numbers, from 0.

Exit codes: 0 done, 1 some input was unusable, 2 failure.")]
pub(crate) struct Args {
    /// Images with their classes, as `zoo finetune` takes them; of parts, `val` counts, else `test`
    pub(crate) data: String,

    /// Where the model comes from.
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// How many images to compute at once
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = positive())]
    pub(crate) batch_size: usize,

    /// Draw the confusion matrix into a PNG file
    #[arg(long, value_name = "FILE")]
    pub(crate) confusion: Option<PathBuf>,

    /// Write the answer to each image into a .csv or .jsonl file
    #[arg(long, value_name = "FILE")]
    pub(crate) predictions: Option<PathBuf>,

    /// How to print the results
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(path) = &args.predictions {
        ensure_apart(Path::new(&args.data), path)?;
    }
    let device = args.run.device()?;
    let (network, card) = args.model.load(&device)?.into_parts()?;
    let mut labels = card.answers();
    if labels.is_empty() {
        labels = (0..card.num_answers()).map(|class| class.to_string()).collect();
        eprintln!(
            "zoo: the model does not know what its classes are called: labels are their numbers, 0 to \
             {}; `zoo import --labels FILE` gives them names",
            labels.len() - 1
        );
    }
    let mut dataset = Dataset::open_for(&args.data, &labels)?;
    let mut bars = Bars::default();
    dataset.leave_out(&seen(args.model.weights.as_deref())?, default_threads(), &mut bars);
    for warning in &dataset.warnings {
        bars.on(&Event::Warning(warning));
    }
    let network = network.into_classifier()?;
    // Each image is seen once; none has to be kept.
    let images = Images::new(dataset.val, card.preprocess, &Budget::mib(0));
    let batching = Batching {
        batch_size: args.batch_size,
        workers: default_threads(),
        engine_threads: (args.run.backend == Backend::Cpu).then(default_threads),
    };
    let evaluation = evaluate(&network, &images, &labels, batching, &device, &mut bars);
    for complaint in images.complaints() {
        eprintln!("zoo: {complaint}");
    }
    let evaluation = evaluation?;
    if let Some(path) = &args.confusion {
        let mut png = Cursor::new(Vec::new());
        evaluation.confusion_image().write_to(&mut png, ImageFormat::Png)?;
        write_atomically(path, |file| file.write_all(png.get_ref()))?;
    }
    if let Some(path) = &args.predictions {
        write_predictions(path, &evaluation, &images)?;
    }
    print(&evaluation, args.format)?;
    Ok(if evaluation.unreadable > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}

/// What a record says that its network was trained on; nothing where the weights are no record.
///
/// # Errors
///
/// When it can't be read.
pub(crate) fn seen(weights: Option<&Path>) -> anyhow::Result<Seen> {
    match weights {
        Some(path) if is_record_file(path)? => Ok(Record::open(path)?.seen()?),
        _ => Ok(Seen::default()),
    }
}

/// What a network says about an image.
#[derive(Serialize)]
struct Row<'a> {
    path: String,
    label: &'a str,
    predicted: &'a str,
    probability: f32,
    correct: bool,
}

/// Writes the answer to each image that could be read, as JSON lines where the file is called so.
fn write_predictions(path: &Path, evaluation: &Evaluation, images: &Images) -> anyhow::Result<()> {
    let name = |class: usize| evaluation.classes[class].name.as_str();
    let rows: Vec<_> = evaluation
        .answers
        .iter()
        .map(|answer| {
            let (predicted, probability) = answer.best();
            Row {
                path: images.samples()[answer.index].source.name(),
                label: name(answer.class),
                predicted: name(predicted),
                probability,
                correct: answer.is_right(),
            }
        })
        .collect();
    let mut text = Vec::new();
    match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl")) {
        true => json_lines(&mut text, &rows)?,
        false => csv_records(&mut text, &rows)?,
    }
    Ok(write_atomically(path, |file| file.write_all(&text))?)
}

fn print(evaluation: &Evaluation, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, &[evaluation])?,
        Format::Csv => csv_records(&mut out, &evaluation.classes)?,
        Format::Text => write!(out, "{}", text(evaluation))?,
    }
    Ok(())
}

/// Results for people.
fn text(evaluation: &Evaluation) -> String {
    let is_answer = |class: usize| evaluation.confusion.iter().any(|row| row[class] > 0);
    let seen = evaluation.classes.iter().enumerate();
    let seen = seen.filter(|(class, score)| score.images > 0 || is_answer(*class));
    let seen: Vec<_> = seen.map(|(_, score)| score).collect();
    let width = width(seen.iter().copied());
    let mut text = format!(
        "{}: top-1 {:.2} %, top-5 {:.2} %, loss {:.4}\n\n{:width$}  images  precision  recall     F1\n",
        images(evaluation.images),
        100.0 * evaluation.top1,
        100.0 * evaluation.top5,
        evaluation.loss,
        "class",
    );
    for class in &seen {
        text += &format!(
            "{:width$}  {:6}  {:7.1} %  {:4.1} %  {:5.3}\n",
            class.name,
            class.images,
            100.0 * class.precision,
            100.0 * class.recall,
            class.f1,
        );
    }
    let others = evaluation.classes.len() - seen.len();
    if others > 0 {
        let (are, them) = if others == 1 { ("is", "it") } else { ("are", "them") };
        text += &format!(
            "{} {are} left out: no image is of {them} or was taken for {them}\n",
            classes(others)
        );
    }
    if evaluation.classes.len() <= 30 {
        let width = self::width(evaluation.classes.iter());
        text += "\nwhat is (row) and what it was taken for (column)\n";
        for (class, row) in evaluation.classes.iter().zip(&evaluation.confusion) {
            text += &format!("{:width$}", class.name);
            for count in row {
                text += &format!(" {count:4}");
            }
            text += "\n";
        }
    }
    text
}

/// How many characters a column of names takes.
fn width<'a>(classes: impl Iterator<Item = &'a ClassScore>) -> usize {
    classes.map(|class| class.name.chars().count()).max().unwrap_or_default().max(5)
}
