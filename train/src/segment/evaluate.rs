//! Evaluation of segmenters.

use burn::tensor::{Device, Tensor};
use image::GrayImage;
use serde::Serialize;
use zoo_core::ImageSegmenter;

use super::{classes_to_tensor, cross_entropy_and_dice};
use crate::evaluate::shape_of;
use crate::images::prefetch;
use crate::observer::percent;
use crate::summary::SegmentedImage;
use crate::task::Evaluation;
use crate::{Batching, Error, Event, Images, Mask, Observer, Score};

/// Number of images that are kept with their predictions.
const EXAMPLES: usize = 8;

/// The result of the evaluation of a segmenter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentationEvaluation {
    /// Number of images that were evaluated.
    pub images: usize,
    /// Number of images that could not be read, or whose mask could not.
    pub unreadable: usize,
    /// The mean intersection over union of the classes. Classes without true or predicted pixels
    /// don't count.
    pub mean_iou: f64,
    /// The share of correct pixels.
    pub pixel_accuracy: f64,
    /// The mean loss.
    pub loss: f64,
    /// The confusion matrix, in pixels: rows are true classes, columns predicted ones.
    pub confusion: Vec<Vec<usize>>,
    /// The results of each class.
    pub classes: Vec<PixelClass>,
    /// The results of each image.
    #[serde(skip)]
    pub answers: Vec<PixelAnswer>,
    /// The images with the smallest shares of correct pixels, the worst first.
    #[serde(skip)]
    pub examples: Vec<Example>,
}

/// The results of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PixelClass {
    /// Its name.
    pub name: String,
    /// Number of its pixels.
    pub pixels: usize,
    /// Intersection over union; `None` if the class has no true and no predicted pixels.
    pub iou: Option<f64>,
}

/// The results of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelAnswer {
    /// Index of the image.
    pub index: usize,
    /// The share of correct pixels.
    pub pixel_accuracy: f64,
    /// The mean intersection over union of the classes in the image.
    pub mean_iou: f64,
}

/// An image with its prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The image and its results.
    pub answer: PixelAnswer,
    /// The predicted class of each pixel.
    pub predicted: GrayImage,
}

/// Compares the predictions of a network in validation mode with the masks of images.
pub(super) fn evaluate<M: ImageSegmenter>(
    model: &M,
    images: &Images<Mask>,
    names: &[String],
    batching: Batching,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<SegmentationEvaluation, Error> {
    let count = images.samples().len();
    let side = images.preprocess().crop;
    let pixels = (side * side) as usize;
    observer.on(&Event::Pass { name: "validating", images: count });
    let range = |batch: usize| batching.range(batch, count);
    let load = |batch: usize| {
        let masked = range(batch).filter_map(|index| Some((index, images.masked(index)?)));
        let masked: Vec<_> = masked.collect();
        let values: Vec<f32> =
            masked.iter().flat_map(|(_, masked)| images.values(&masked.image)).collect();
        (masked, values)
    };
    let mut sums = Sums::new(names.len());
    let mut session = batching.session(model, device);
    let batches = count.div_ceil(batching.batch_size);
    prefetch(0..batches, batching.workers, load, |loaded| {
        for (batch, (masked, values)) in loaded.enumerate() {
            observer.on(&Event::Progress(range(batch).len()));
            if masked.is_empty() {
                continue;
            }
            let shape = shape_of(masked.len(), images);
            let logits = match session.run_tensor("logits", values, shape, M::forward) {
                // A single logit belongs to the second class; that of the first class is 0.
                logits if logits.dims()[1] == 1 => {
                    Tensor::cat(vec![logits.zeros_like(), logits], 1)
                }
                logits => logits,
            };
            let taken = logits.clone().argmax(1).into_data();
            let taken: Vec<u8> = taken.iter::<i64>().map(|class| class as u8).collect();
            for (place, (index, masked)) in masked.iter().enumerate() {
                let truth = masked.classes.as_raw();
                let taken = taken[place * pixels..][..pixels].to_vec();
                let classes = classes_to_tensor(truth, 1, images, device);
                let loss = cross_entropy_and_dice(logits.clone().narrow(0, place, 1), classes);
                sums.loss += f64::from(loss.into_scalar::<f32>());
                sums.add(*index, truth, taken, side);
            }
        }
    });
    observer.on(&Event::PassDone);
    sums.evaluation(count, names)
}

/// The counts over the images so far.
struct Sums {
    confusion: Vec<Vec<usize>>,
    loss: f64,
    answers: Vec<PixelAnswer>,
    examples: Vec<Example>,
}

impl Sums {
    fn new(classes: usize) -> Self {
        let confusion = vec![vec![0; classes]; classes];
        Self { confusion, loss: 0.0, answers: Vec::new(), examples: Vec::new() }
    }

    /// Counts the pixels of an image.
    fn add(&mut self, index: usize, truth: &[u8], taken: Vec<u8>, side: u32) {
        let mut own = vec![vec![0; self.confusion.len()]; self.confusion.len()];
        for (&is, &taken) in truth.iter().zip(&taken) {
            own[usize::from(is)][usize::from(taken)] += 1;
        }
        for (sum, own) in self.confusion.iter_mut().flatten().zip(own.iter().flatten()) {
            *sum += own;
        }
        let (pixel_accuracy, mean_iou) = (accuracy(&own), mean(&ious(&own)));
        let answer = PixelAnswer { index, pixel_accuracy, mean_iou };
        self.answers.push(answer);
        let place = self.examples.partition_point(|it| it.answer.pixel_accuracy <= pixel_accuracy);
        if place < EXAMPLES {
            let predicted = GrayImage::from_raw(side, side, taken).expect("a byte for each pixel");
            self.examples.insert(place, Example { answer, predicted });
            self.examples.truncate(EXAMPLES);
        }
    }

    fn evaluation(self, count: usize, names: &[String]) -> Result<SegmentationEvaluation, Error> {
        let Self { confusion, loss, answers, examples } = self;
        if answers.is_empty() {
            return Err(Error::Data("none of the images to validate with can be read".to_owned()));
        }
        let ious = ious(&confusion);
        let class = |((name, row), iou): ((&String, &Vec<usize>), &Option<f64>)| PixelClass {
            name: name.clone(),
            pixels: row.iter().sum(),
            iou: *iou,
        };
        let images = answers.len();
        Ok(SegmentationEvaluation {
            images,
            unreadable: count - images,
            mean_iou: mean(&ious),
            pixel_accuracy: accuracy(&confusion),
            loss: loss / images as f64,
            classes: names.iter().zip(&confusion).zip(&ious).map(class).collect(),
            confusion,
            answers,
            examples,
        })
    }
}

/// Returns the share of all pixels that is right.
fn accuracy(confusion: &[Vec<usize>]) -> f64 {
    let right: usize = confusion.iter().enumerate().map(|(class, row)| row[class]).sum();
    right as f64 / confusion.iter().flatten().sum::<usize>().max(1) as f64
}

/// Returns the intersection over union of each class; `None` if it has no true and no predicted
/// pixels.
fn ious(confusion: &[Vec<usize>]) -> Vec<Option<f64>> {
    let iou = |class: usize| {
        let both = confusion[class][class];
        let is: usize = confusion[class].iter().sum();
        let taken: usize = confusion.iter().map(|row| row[class]).sum();
        let union = is + taken - both;
        (union > 0).then(|| both as f64 / union as f64)
    };
    (0..confusion.len()).map(iou).collect()
}

/// Returns the mean of the values that are not `None`.
fn mean(values: &[Option<f64>]) -> f64 {
    let count = values.iter().flatten().count().max(1);
    values.iter().flatten().sum::<f64>() / count as f64
}

impl Evaluation for SegmentationEvaluation {
    type Label = Mask;
    type Class = PixelClass;
    type Row = SegmentedImage;

    fn score(&self) -> Score {
        Score { loss: self.loss, accuracy: self.pixel_accuracy, mean_iou: Some(self.mean_iou) }
    }

    fn images(&self) -> usize {
        self.images
    }

    fn unreadable(&self) -> usize {
        self.unreadable
    }

    fn classes(&self) -> &[PixelClass] {
        &self.classes
    }

    fn names(&self) -> Vec<String> {
        self.classes.iter().map(|class| class.name.clone()).collect()
    }

    fn confusion(&self) -> &[Vec<usize>] {
        &self.confusion
    }

    fn rows(&self, images: &Images<Mask>) -> Vec<SegmentedImage> {
        self.image_rows(images)
    }

    fn facts(&self) -> Vec<(String, &'static str)> {
        vec![
            (format!("{:.3}", self.mean_iou), "validation mean IoU"),
            (percent(self.pixel_accuracy), "pixel accuracy"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections_are_compared_with_unions() {
        let names = ["ground", "cell", "nucleus"].map(str::to_owned);
        let mut sums = Sums::new(3);
        sums.add(0, &[0, 0, 0, 1], vec![0, 0, 1, 1], 2);
        sums.add(2, &[0, 0, 0, 0], vec![0, 0, 0, 0], 2);
        let evaluation = sums.evaluation(3, &names).unwrap();
        assert_eq!(evaluation.confusion, [[6, 1, 0], [0, 1, 0], [0, 0, 0]]);
        let ious: Vec<_> = evaluation.classes.iter().map(|class| class.iou).collect();
        // A class without pixels does not count.
        assert_eq!(ious, [Some(6.0 / 7.0), Some(0.5), None]);
        assert_eq!(evaluation.mean_iou, (6.0 / 7.0 + 0.5) / 2.0);
        assert_eq!((evaluation.pixel_accuracy, evaluation.unreadable), (7.0 / 8.0, 1));
        let worst: Vec<_> = evaluation.examples.iter().map(|it| it.answer.index).collect();
        assert_eq!(worst, [0, 2]);
        assert!(Sums::new(2).evaluation(1, &names[..2]).is_err());
    }
}
