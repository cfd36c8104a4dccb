//! Evaluations as text for people, and as rows of tables.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::observer::{images, percent};
use crate::{Answer, ClassificationEvaluation, Images, Mask, PixelAnswer, SegmentationEvaluation};

/// A confusion matrix with more classes than this is not written as text.
const MOST_CLASSES: usize = 30;

/// The prediction for an image, as a row of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassifiedImage {
    /// The path of the image.
    pub path: String,
    /// The name of its class.
    pub label: String,
    /// The name of the most probable class.
    pub predicted: String,
    /// The probability of that class, in `[0, 1]`.
    pub probability: f32,
    /// Whether the prediction is right.
    pub correct: bool,
}

/// The quality of an image's segmentation, as a row of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentedImage {
    /// The path of the image.
    pub path: String,
    /// The share of correct pixels.
    pub pixel_accuracy: f64,
    /// The mean intersection over union of the classes in the image.
    pub mean_iou: f64,
}

impl ClassificationEvaluation {
    /// The rows of [`Evaluation::rows`](crate::Evaluation::rows).
    pub(crate) fn image_rows(&self, images: &Images) -> Vec<ClassifiedImage> {
        let name = |class: usize| self.classes[class].name.clone();
        let row = |answer: &Answer| {
            let (predicted, probability) = answer.best();
            ClassifiedImage {
                path: images.samples()[answer.index].source.name(),
                label: name(answer.class),
                predicted: name(predicted),
                probability,
                correct: answer.is_right(),
            }
        };
        self.answers.iter().map(row).collect()
    }
}

impl SegmentationEvaluation {
    /// The rows of [`Evaluation::rows`](crate::Evaluation::rows).
    pub(crate) fn image_rows(&self, images: &Images<Mask>) -> Vec<SegmentedImage> {
        let row = |answer: &PixelAnswer| SegmentedImage {
            path: images.samples()[answer.index].source.name(),
            pixel_accuracy: answer.pixel_accuracy,
            mean_iou: answer.mean_iou,
        };
        self.answers.iter().map(row).collect()
    }
}

impl Display for ClassificationEvaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_predicted = |class: usize| self.confusion.iter().any(|row| row[class] > 0);
        let shown = self.classes.iter().enumerate();
        let shown = shown.filter(|(class, score)| score.images > 0 || is_predicted(*class));
        let shown: Vec<_> = shown.map(|(_, score)| score).collect();
        write!(f, "{}: top-1 {:.2} %", images(self.images), 100.0 * self.top1)?;
        // With five classes or fewer, top-5 accuracy is always 1.
        if self.classes.len() > 5 {
            write!(f, ", top-5 {:.2} %", 100.0 * self.top5)?;
        }
        writeln!(f, ", loss {:.4}\n", self.loss)?;
        let width = width(shown.iter().map(|class| &class.name));
        writeln!(f, "{:width$}  images  precision   recall     F1", "class")?;
        for class in &shown {
            writeln!(
                f,
                "{:width$}  {:6}  {:>9}  {:>7}  {:>5}",
                class.name,
                class.images,
                or_dash(class.precision.map(percent)),
                or_dash(class.recall.map(percent)),
                or_dash(class.f1.map(|f1| format!("{f1:.3}"))),
            )?;
        }
        match self.classes.len() - shown.len() {
            0 => {}
            1 => writeln!(f, "1 class is left out: no image is of it or was taken for it")?,
            others => writeln!(
                f,
                "{others} classes are left out: no image is of them or was taken for them"
            )?,
        }
        write_matrix(f, self.classes.iter().map(|class| &class.name), &self.confusion)
    }
}

impl Display for SegmentationEvaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = || self.classes.iter().map(|class| &class.name);
        let width = width(names());
        writeln!(
            f,
            "{}: mean IoU {:.4}, pixel accuracy {:.2} %, loss {:.4}\n",
            images(self.images),
            self.mean_iou,
            100.0 * self.pixel_accuracy,
            self.loss,
        )?;
        writeln!(f, "{:width$}      pixels    IoU", "class")?;
        for class in &self.classes {
            let iou = or_dash(class.iou.map(|iou| format!("{iou:.3}")));
            writeln!(f, "{:width$}  {:10}  {iou:>5}", class.name, class.pixels)?;
        }
        write_matrix(f, names(), &self.confusion)
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// Writes a confusion matrix, if it is small enough to be read.
fn write_matrix<'a>(
    f: &mut Formatter<'_>,
    names: impl ExactSizeIterator<Item = &'a String> + Clone,
    confusion: &[Vec<usize>],
) -> fmt::Result {
    if names.len() > MOST_CLASSES {
        return Ok(());
    }
    let width = width(names.clone());
    let largest = confusion.iter().flatten().max().copied().unwrap_or_default();
    let cell = largest.to_string().len().max(4);
    writeln!(f, "\nconfusion matrix (rows: true, columns: predicted)")?;
    for (name, row) in names.zip(confusion) {
        write!(f, "{name:width$}")?;
        row.iter().try_for_each(|count| write!(f, " {count:cell$}"))?;
        writeln!(f)?;
    }
    Ok(())
}

/// Returns the width of a column of names in characters.
fn width<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or_default().max(5)
}
