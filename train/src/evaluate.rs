//! Evaluation of image classifiers.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use zoo_core::ImageClassifier;

use crate::data::Label;
use crate::images::prefetch;
use crate::observer::percent;
use crate::summary::ClassifiedImage;
use crate::task::Evaluation;
use crate::{Batching, Error, Event, Images, Observer, Score};

/// The result of the evaluation of an image classifier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassificationEvaluation {
    /// Number of images that were classified.
    pub images: usize,
    /// Number of images that could not be read.
    pub unreadable: usize,
    /// The share of images whose most probable class is right.
    pub top1: f64,
    /// The share of images whose class is among the five most probable.
    pub top5: f64,
    /// The mean cross-entropy.
    pub loss: f64,
    /// The confusion matrix, in images: rows are true classes, columns predicted ones.
    pub confusion: Vec<Vec<usize>>,
    /// The results of each class.
    pub classes: Vec<ClassScore>,
    /// The most probable classes of each image.
    #[serde(skip)]
    pub answers: Vec<Answer>,
}

/// The results of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its name.
    pub name: String,
    /// Number of its images.
    pub images: usize,
    /// The share of images predicted as this class that belong to it; `None` if no image was
    /// predicted as it.
    pub precision: Option<f64>,
    /// The share of its images that were predicted as it; `None` if it has no images.
    pub recall: Option<f64>,
    /// The harmonic mean of both; `None` if it has no images and no image was predicted as it.
    pub f1: Option<f64>,
}

/// The prediction for an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Index of the image.
    pub index: usize,
    /// Its true class.
    pub class: usize,
    /// Up to five classes, the most probable first, with their probabilities.
    pub top: Vec<(usize, f32)>,
    /// The cross-entropy.
    pub loss: f64,
}

/// Classifies images with a network in validation mode, and compares with their labels. `names` are
/// the names of the classes; there are two for a network with one output.
///
/// # Errors
///
/// When no image can be read.
pub(crate) fn evaluate<M: ImageClassifier>(
    model: &M,
    images: &Images,
    names: &[String],
    batching: Batching,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<ClassificationEvaluation, Error> {
    let count = images.samples().len();
    observer.on(&Event::Pass { name: "validating", images: count });
    let batches = count.div_ceil(batching.batch_size);
    let range = |batch: usize| batching.range(batch, count);
    let load = |batch: usize| {
        let mut read = Vec::new();
        let mut values = Vec::new();
        for index in range(batch) {
            if let Some(view) = images.plain(index) {
                read.push(index);
                values.extend(images.values(&view));
            }
        }
        (read, values)
    };
    let mut answers = Vec::with_capacity(count);
    let mut session = batching.session(model, device);
    prefetch(0..batches, batching.workers, load, |loaded| {
        for (batch, (read, values)) in loaded.enumerate() {
            if !read.is_empty() {
                let shape = shape_of(read.len(), images);
                let logits = session.run_tensor("logits", values, shape, M::forward);
                answers.extend(compare(logits, &read, images));
            }
            observer.on(&Event::Progress(range(batch).len()));
        }
    });
    observer.on(&Event::PassDone);
    ClassificationEvaluation::of(answers, count, names)
}

/// Converts the values of images to a tensor `[N, C, S, S]`.
pub(crate) fn to_tensor<L: Label>(
    values: Vec<f32>,
    count: usize,
    images: &Images<L>,
    device: &Device,
) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape_of(count, images)), device)
}

/// Returns the shape `[N, C, S, S]` of `count` images.
pub(crate) fn shape_of<L: Label>(count: usize, images: &Images<L>) -> [usize; 4] {
    let preprocess = images.preprocess();
    let side = preprocess.crop as usize;
    [count, preprocess.channels(), side, side]
}

/// Compares logits `[N, K]` with the labels of images. A single logit belongs to the second class,
/// and that of the first class is 0: the softmax of both is the sigmoid.
pub(crate) fn compare(logits: Tensor<2>, indices: &[usize], images: &Images) -> Vec<Answer> {
    let logits = match logits.dims() {
        [_, 1] => Tensor::cat(vec![logits.zeros_like(), logits], 1),
        _ => logits,
    };
    let [_, classes] = logits.dims();
    let scores: Vec<f32> = log_softmax(logits, 1).into_data().iter::<f32>().collect();
    let answer = |(&index, row): (&usize, &[f32])| {
        let class = images.samples()[index].label;
        let mut order: Vec<usize> = (0..classes).collect();
        let best = 5.min(classes);
        let more = |&a: &usize, &b: &usize| row[b].total_cmp(&row[a]).then(a.cmp(&b));
        order.select_nth_unstable_by(best - 1, more);
        order.truncate(best);
        order.sort_by(more);
        let top = order.into_iter().map(|class| (class, row[class].exp())).collect();
        Answer { index, class, top, loss: f64::from(-row[class]) }
    };
    indices.iter().zip(scores.chunks_exact(classes)).map(answer).collect()
}

impl ClassificationEvaluation {
    /// Counts the correct answers; `count` is the number of all images, readable or not.
    pub(crate) fn of(answers: Vec<Answer>, count: usize, names: &[String]) -> Result<Self, Error> {
        if answers.is_empty() {
            return Err(Error::Data("none of the images can be read".to_owned()));
        }
        let mut confusion = vec![vec![0; names.len()]; names.len()];
        let (mut top1, mut top5) = (0, 0);
        for answer in &answers {
            confusion[answer.class][answer.best().0] += 1;
            top1 += usize::from(answer.is_right());
            top5 += usize::from(answer.top.iter().any(|(class, _)| *class == answer.class));
        }
        let ratio = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        let classes = names.iter().enumerate().map(|(class, name)| {
            let right = confusion[class][class];
            let images = confusion[class].iter().sum();
            let taken: usize = confusion.iter().map(|row| row[class]).sum();
            ClassScore {
                name: name.clone(),
                images,
                precision: ratio(right, taken),
                recall: ratio(right, images),
                f1: ratio(2 * right, images + taken),
            }
        });
        let classes = classes.collect();
        let images = answers.len();
        Ok(Self {
            images,
            unreadable: count - images,
            top1: top1 as f64 / images as f64,
            top5: top5 as f64 / images as f64,
            loss: answers.iter().map(|answer| answer.loss).sum::<f64>() / images as f64,
            confusion,
            classes,
            answers,
        })
    }

    /// Returns the wrong answers, the most confident first.
    pub fn mistakes(&self) -> Vec<&Answer> {
        let mut mistakes: Vec<_> =
            self.answers.iter().filter(|answer| !answer.is_right()).collect();
        mistakes.sort_by(|a, b| b.best().1.total_cmp(&a.best().1));
        mistakes
    }
}

impl Evaluation for ClassificationEvaluation {
    type Label = usize;
    type Class = ClassScore;
    type Row = ClassifiedImage;

    fn score(&self) -> Score {
        Score { loss: self.loss, accuracy: self.top1, mean_iou: None }
    }

    fn images(&self) -> usize {
        self.images
    }

    fn unreadable(&self) -> usize {
        self.unreadable
    }

    fn classes(&self) -> &[ClassScore] {
        &self.classes
    }

    fn names(&self) -> Vec<String> {
        self.classes.iter().map(|class| class.name.clone()).collect()
    }

    fn confusion(&self) -> &[Vec<usize>] {
        &self.confusion
    }

    fn rows(&self, images: &Images) -> Vec<ClassifiedImage> {
        self.image_rows(images)
    }

    fn facts(&self) -> Vec<(String, &'static str)> {
        let mut facts = vec![(percent(self.top1), "validation accuracy")];
        // With five classes or fewer, top-5 accuracy is always 1.
        if self.classes.len() > 5 {
            facts.push((percent(self.top5), "top-5 accuracy"));
        }
        facts
    }
}

impl Answer {
    /// Returns the most probable class and its probability.
    pub fn best(&self) -> (usize, f32) {
        self.top[0]
    }

    /// Whether the most probable class is the true one.
    pub fn is_right(&self) -> bool {
        self.best().0 == self.class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(class: usize, best: usize, probability: f32) -> Answer {
        let top = vec![(best, probability), (1 - best, 1.0 - probability)];
        Answer { index: 0, class, top, loss: 0.5 }
    }

    #[test]
    fn precision_recall_and_f1() {
        let names = ["a".to_owned(), "b".to_owned()];
        let answers = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 1), (1, 0)];
        let answers = answers.iter().map(|&(class, best)| answer(class, best, 0.9)).collect();
        let evaluation = ClassificationEvaluation::of(answers, 8, &names).unwrap();
        assert_eq!(evaluation.confusion, [[2, 1], [1, 3]]);
        assert_eq!((evaluation.images, evaluation.unreadable), (7, 1));
        assert_eq!(evaluation.top1, 5.0 / 7.0);
        assert_eq!(evaluation.top5, 1.0);
        let [a, b] = &evaluation.classes[..] else { panic!("two classes") };
        assert_eq!(
            (a.precision, a.recall, a.f1),
            (Some(2.0 / 3.0), Some(2.0 / 3.0), Some(2.0 / 3.0))
        );
        assert_eq!((b.precision, b.recall, b.images), (Some(0.75), Some(0.75), 4));
    }

    #[test]
    fn what_there_is_nothing_of_has_no_share() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let answers = vec![answer(0, 0, 0.9), answer(0, 1, 0.9)];
        let evaluation = ClassificationEvaluation::of(answers, 2, &names).unwrap();
        let shares =
            evaluation.classes.iter().map(|class| (class.precision, class.recall, class.f1));
        let expected = [
            (Some(1.0), Some(0.5), Some(2.0 / 3.0)),
            (Some(0.0), None, Some(0.0)),
            (None, None, None),
        ];
        assert_eq!(shares.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_most_confident_mistake_comes_first() {
        let names = ["a".to_owned(), "b".to_owned()];
        let answers = vec![answer(0, 1, 0.6), answer(0, 0, 0.99), answer(1, 0, 0.8)];
        let evaluation = ClassificationEvaluation::of(answers, 3, &names).unwrap();
        let sure: Vec<_> = evaluation.mistakes().iter().map(|answer| answer.best().1).collect();
        assert_eq!(sure, [0.8, 0.6]);
    }
}
