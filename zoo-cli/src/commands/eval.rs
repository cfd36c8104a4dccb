//! `zoo eval`: how good a model is on images whose classes, or whose pixels' classes, are known.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_zoo::record::{ModelCard, Seen, write_atomically};
use burn_zoo::train::{
    Answer, Batching, Budget, ClassScore, Classification, ClassificationEvaluation, Dataset,
    Evaluation, Event, Images, Label, Mask, Observer, PixelAnswer, PixelClass, Segmentation,
    SegmentationEvaluation, Task, confusion_image,
};
use burn_zoo::{Network, default_threads};
use image::ImageFormat;
use serde::Serialize;

use crate::Outcome;
use crate::options::{Format, ModelOptions, RunOptions, positive};
use crate::output::{classes, csv_records, ensure_apart, images, json_lines};
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
    let seen = model.seen().clone();
    let (network, card) = model.into_parts()?;
    let labels = labels(&card);
    match network {
        Network::Segmenter(network) => {
            let dataset = Dataset::open_masks_for(&args.data, &labels)?;
            evaluate::<Segmentation<_>>(args, &network, (&card, &seen), dataset, 1, &device)
        }
        network => {
            let network = network.into_classifier()?;
            let dataset = Dataset::open_for(&args.data, &labels)?;
            evaluate::<Classification<_>>(args, &network, (&card, &seen), dataset, 32, &device)
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
    (card, seen): (&ModelCard, &Seen),
    mut dataset: Dataset<T::Label>,
    batch_size: usize,
    device: &Device,
) -> anyhow::Result<Outcome>
where
    T::Evaluation: Results<T::Label>,
{
    let mut bars = Bars::default();
    dataset.leave_out(seen, default_threads(), &mut bars);
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
        Format::Text => write!(out, "{}", evaluation.text())?,
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

/// How the results of a task are written.
trait Results<L: Label>: Evaluation {
    /// What is written about each class.
    type Class: Serialize;
    /// What is written about each image.
    type Row<'a>: Serialize
    where
        Self: 'a;

    fn classes(&self) -> &[Self::Class];

    fn confusion(&self) -> &[Vec<usize>];

    /// A row for each image that could be read.
    fn rows(&self, images: &Images<L>) -> Vec<Self::Row<'_>>;

    /// Results for people.
    fn text(&self) -> String;
}

/// What a network says about an image.
#[derive(Serialize)]
struct Prediction<'a> {
    path: String,
    label: &'a str,
    predicted: &'a str,
    probability: f32,
    correct: bool,
}

impl Results<usize> for ClassificationEvaluation {
    type Class = ClassScore;
    type Row<'a> = Prediction<'a>;

    fn classes(&self) -> &[ClassScore] {
        &self.classes
    }

    fn confusion(&self) -> &[Vec<usize>] {
        &self.confusion
    }

    fn rows(&self, images: &Images) -> Vec<Prediction<'_>> {
        let name = |class: usize| self.classes[class].name.as_str();
        let row = |answer: &Answer| {
            let (predicted, probability) = answer.best();
            Prediction {
                path: images.samples()[answer.index].source.name(),
                label: name(answer.class),
                predicted: name(predicted),
                probability,
                correct: answer.is_right(),
            }
        };
        self.answers.iter().map(row).collect()
    }

    fn text(&self) -> String {
        let is_answer = |class: usize| self.confusion.iter().any(|row| row[class] > 0);
        let seen = self.classes.iter().enumerate();
        let seen = seen.filter(|(class, score)| score.images > 0 || is_answer(*class));
        let seen: Vec<_> = seen.map(|(_, score)| score).collect();
        let width = width(seen.iter().map(|class| &class.name));
        let mut text = format!("{}: top-1 {:.2} %", images(self.images), 100.0 * self.top1);
        // Among five classes or fewer, the right one always is.
        if self.classes.len() > 5 {
            text += &format!(", top-5 {:.2} %", 100.0 * self.top5);
        }
        text += &format!(
            ", loss {:.4}\n\n{:width$}  images  precision   recall     F1\n",
            self.loss, "class"
        );
        let percent = |share: Option<f64>| {
            share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
        };
        for class in &seen {
            text += &format!(
                "{:width$}  {:6}  {:>9}  {:>7}  {:>5}\n",
                class.name,
                class.images,
                percent(class.precision),
                percent(class.recall),
                class.f1.map_or_else(|| "–".to_owned(), |f1| format!("{f1:.3}")),
            );
        }
        let others = self.classes.len() - seen.len();
        if others > 0 {
            let (are, them) = if others == 1 { ("is", "it") } else { ("are", "them") };
            text += &format!(
                "{} {are} left out: no image is of {them} or was taken for {them}\n",
                classes(others)
            );
        }
        text + &matrix(self.classes.iter().map(|class| &class.name), &self.confusion)
    }
}

/// How much of an image is right.
#[derive(Serialize)]
struct Segmented {
    path: String,
    pixel_accuracy: f64,
    mean_iou: f64,
}

impl Results<Mask> for SegmentationEvaluation {
    type Class = PixelClass;
    type Row<'a> = Segmented;

    fn classes(&self) -> &[PixelClass] {
        &self.classes
    }

    fn confusion(&self) -> &[Vec<usize>] {
        &self.confusion
    }

    fn rows(&self, images: &Images<Mask>) -> Vec<Segmented> {
        let row = |answer: &PixelAnswer| Segmented {
            path: images.samples()[answer.index].source.name(),
            pixel_accuracy: answer.pixel_accuracy,
            mean_iou: answer.mean_iou,
        };
        self.answers.iter().map(row).collect()
    }

    fn text(&self) -> String {
        let width = width(self.classes.iter().map(|class| &class.name));
        let mut text = format!(
            "{}: mean IoU {:.4}, pixel accuracy {:.2} %, loss {:.4}\n\n{:width$}      pixels    IoU\n",
            images(self.images),
            self.mean_iou,
            100.0 * self.pixel_accuracy,
            self.loss,
            "class",
        );
        for class in &self.classes {
            text += &format!(
                "{:width$}  {:10}  {:>5}\n",
                class.name,
                class.pixels,
                class.iou.map_or_else(|| "–".to_owned(), |iou| format!("{iou:.3}")),
            );
        }
        text + &matrix(self.classes.iter().map(|class| &class.name), &self.confusion)
    }
}

/// The confusion matrix of up to thirty classes as text.
fn matrix<'a>(
    names: impl ExactSizeIterator<Item = &'a String> + Clone,
    confusion: &[Vec<usize>],
) -> String {
    if names.len() > 30 {
        return String::new();
    }
    let width = width(names.clone());
    let largest = confusion.iter().flatten().max().copied().unwrap_or_default();
    let cell = largest.to_string().len().max(4);
    let mut text = "\nconfusion matrix (rows: true, columns: predicted)\n".to_owned();
    for (name, row) in names.zip(confusion) {
        text += &format!("{name:width$}");
        for count in row {
            text += &format!(" {count:cell$}");
        }
        text += "\n";
    }
    text
}

/// How many characters a column of names takes.
fn width<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or_default().max(5)
}
