//! `zoo eval`: how good a model is on images whose classes, or whose pixels' classes, are known.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_zoo::record::{ModelCard, TrainingImages, write_atomically};
use burn_zoo::train::{
    Batching, Budget, Classification, Dataset, Evaluation, Event, Images, Observer, Segmentation,
    Task, confusion_image,
};
use burn_zoo::{Network, default_threads};
use image::ImageFormat;
use serde::Serialize;

use crate::Outcome;
use crate::options::{Format, ModelOptions, RunOptions, positive};
use crate::output::{csv_records, ensure_apart, json_lines};
use crate::progress::Bars;

/// `zoo eval`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of the images of a record that `zoo finetune` has written, those that it was trained on are left out, unless DATA names the \
parts or has no others. A network with one output tells two classes apart, negative and positive; classes without names are \
labeled with their numbers, from 0.

For a model that tells pixels apart, such as U-Net, DATA is a folder with the folders `images` and `masks`.

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

    /// How many images to compute at once [default: 32, or 1 where pixels are told apart]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub(crate) batch_size: Option<usize>,

    /// Draw the confusion matrix into a PNG file
    #[arg(long, value_name = "FILE")]
    pub(crate) confusion: Option<PathBuf>,

    /// Write the answer to each image into a .csv or .jsonl file; where pixels are told apart, how much
    /// of it is right
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
    let model = args.model.load(&device)?;
    let training_images = model.training_images().clone();
    let (network, card) = model.into_parts()?;
    let labels = labels(&card);
    match network {
        Network::Segmenter(network) => {
            let dataset = Dataset::open_masks_for(&args.data, &labels)?;
            evaluate::<Segmentation<_>>(
                args,
                &network,
                (&card, &training_images),
                dataset,
                1,
                &device,
            )
        }
        network => {
            let network = network.into_classifier()?;
            let dataset = Dataset::open_for(&args.data, &labels)?;
            evaluate::<Classification<_>>(
                args,
                &network,
                (&card, &training_images),
                dataset,
                32,
                &device,
            )
        }
    }
}

/// The names of the classes; their numbers, with a word about it, where they have none.
fn labels(card: &ModelCard) -> Vec<String> {
    let labels = card.answers();
    if !labels.is_empty() {
        return labels;
    }
    let labels: Vec<_> = (0..card.num_answers()).map(|class| class.to_string()).collect();
    eprintln!(
        "zoo: the model does not know what its classes are called: labels are their numbers, 0 to \
         {}; `zoo import --labels FILE` gives them names",
        labels.len() - 1
    );
    labels
}

/// Evaluates a network on images that it was not trained on.
fn evaluate<T: Task>(
    args: &Args,
    network: &T::Model,
    (card, training_images): (&ModelCard, &TrainingImages),
    mut dataset: Dataset<T::Label>,
    batch_size: usize,
    device: &Device,
) -> anyhow::Result<Outcome> {
    let mut bars = Bars::default();
    dataset.leave_out(training_images, default_threads(), &mut bars);
    for warning in &dataset.warnings {
        bars.on(&Event::Warning(warning));
    }
    // Each image is seen once; none has to be kept.
    let images = Images::new(dataset.val, card.preprocess, &Budget::mib(0));
    let batching = Batching {
        batch_size: args.batch_size.unwrap_or(batch_size),
        workers: default_threads(),
        engine: true,
    };
    let names = &dataset.classes;
    let evaluation = T::evaluate(network, &images, names, batching, device, &mut bars);
    for complaint in images.complaints() {
        eprintln!("zoo: {complaint}");
    }
    let evaluation = evaluation?;
    if let Some(path) = &args.confusion {
        let mut png = Cursor::new(Vec::new());
        confusion_image(names, evaluation.confusion()).write_to(&mut png, ImageFormat::Png)?;
        write_atomically(path, |file| file.write_all(png.get_ref()))?;
    }
    if let Some(path) = &args.predictions {
        write_rows(path, &evaluation.rows(&images))?;
    }
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => json_lines(&mut out, &[&evaluation])?,
        Format::Csv => csv_records(&mut out, evaluation.classes())?,
        Format::Text => write!(out, "{evaluation}")?,
    }
    Ok(if evaluation.unreadable() > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}

/// Writes a row for each image, as JSON lines where the file is called so.
fn write_rows(path: &Path, rows: &[impl Serialize]) -> anyhow::Result<()> {
    let mut text = Vec::new();
    match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl")) {
        true => json_lines(&mut text, rows)?,
        false => csv_records(&mut text, rows)?,
    }
    Ok(write_atomically(path, |file| file.write_all(&text))?)
}
