//! How good a network is on images whose classes are known.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;
use zoo_core::ImageClassifier;

use crate::forward::Forward;
use crate::images::prefetch;
use crate::{Error, Event, Images, Observer, Score};

/// What a network says about labelled images, and how much of it is right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Number of images that were classified.
    pub images: usize,
    /// Number of images that could not be read.
    pub unreadable: usize,
    /// The share whose most probable class is right.
    pub top1: f64,
    /// The share whose class is among the five most probable.
    pub top5: f64,
    /// The mean cross-entropy.
    pub loss: f64,
    /// How many images of a class (row) were taken for a class (column).
    pub confusion: Vec<Vec<usize>>,
    /// What is known about each class.
    pub classes: Vec<ClassScore>,
    /// The most probable classes of each image.
    #[serde(skip)]
    pub answers: Vec<Answer>,
}

/// How well a class is recognised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its name.
    pub name: String,
    /// Number of its images.
    pub images: usize,
    /// The share of what was taken for it that is it.
    pub precision: f64,
    /// The share of it that was taken for it.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

/// What a network says about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Which image.
    pub index: usize,
    /// What it is.
    pub class: usize,
    /// Up to five classes, the most probable first, with their probabilities.
    pub top: Vec<(usize, f32)>,
    /// The cross-entropy.
    pub loss: f64,
}

/// How images are classified.
#[derive(Debug, Clone, Copy)]
pub struct Batching {
    /// How many at once.
    pub batch_size: usize,
    /// Threads that load them.
    pub workers: usize,
    /// Threads of zoo-engine, which runs the network if the device is the processor; none where
    /// Burn does.
    pub engine_threads: Option<usize>,
}

/// Classifies images with a network in validation mode, and compares. A network with one output
/// tells two classes apart, and has two `names`.
///
/// # Errors
///
/// When no image can be read.
pub fn evaluate<M: ImageClassifier>(
    model: &M,
    images: &Images,
    names: &[String],
    batching: Batching,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Evaluation, Error> {
    let count = images.samples().len();
    observer.on(&Event::Pass { name: "validating", images: count });
    let batches = count.div_ceil(batching.batch_size);
    let range = |batch: usize| {
        let start = batch * batching.batch_size;
        start..(start + batching.batch_size).min(count)
    };
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
    let mut forward = Forward::new(model, device, batching.engine_threads, M::forward);
    prefetch(0..batches, batching.workers, load, |loaded| {
        for (batch, (read, values)) in loaded.enumerate() {
            if !read.is_empty() {
                let logits = forward.run(values, shape_of(read.len(), images));
                answers.extend(compare(logits, &read, images));
            }
            observer.on(&Event::Progress(range(batch).len()));
        }
    });
    observer.on(&Event::PassDone);
    Evaluation::of(answers, count, names)
}

/// Values of images as a tensor `[N, C, S, S]`.
pub(crate) fn to_tensor(
    values: Vec<f32>,
    count: usize,
    images: &Images,
    device: &Device,
) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape_of(count, images)), device)
}

/// The shape `[N, C, S, S]` of so many images.
pub(crate) fn shape_of(count: usize, images: &Images) -> [usize; 4] {
    let preprocess = images.preprocess();
    let side = preprocess.crop as usize;
    [count, preprocess.channels(), side, side]
}

/// What logits `[N, K]` say about images. One logit alone is the second class's, beside 0 for the
/// first: the softmax of both is its sigmoid.
pub(crate) fn compare(logits: Tensor<2>, indices: &[usize], images: &Images) -> Vec<Answer> {
    let logits = match logits.dims() {
        [_, 1] => Tensor::cat(vec![logits.zeros_like(), logits], 1),
        _ => logits,
    };
    let [_, classes] = logits.dims();
    let scores: Vec<f32> = log_softmax(logits, 1).into_data().iter::<f32>().collect();
    let answer = |(&index, row): (&usize, &[f32])| {
        let class = images.samples()[index].class;
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

impl Evaluation {
    /// Counts what is right among the answers about so many images.
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
        let ratio = |part: usize, whole: usize| {
            if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
        };
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
            top1: ratio(top1, images),
            top5: ratio(top5, images),
            loss: answers.iter().map(|answer| answer.loss).sum::<f64>() / images as f64,
            confusion,
            classes,
            answers,
        })
    }

    /// What counts for being the best.
    pub fn score(&self) -> Score {
        Score { loss: self.loss, accuracy: self.top1 }
    }

    /// The wrong answers, the surest first.
    pub fn mistakes(&self) -> Vec<&Answer> {
        let mut mistakes: Vec<_> =
            self.answers.iter().filter(|answer| !answer.is_right()).collect();
        mistakes.sort_by(|a, b| b.best().1.total_cmp(&a.best().1));
        mistakes
    }
}

impl Answer {
    /// The most probable class and its probability.
    pub fn best(&self) -> (usize, f32) {
        self.top[0]
    }

    /// Whether it is the right one.
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
        let evaluation = Evaluation::of(answers, 8, &names).unwrap();
        assert_eq!(evaluation.confusion, [[2, 1], [1, 3]]);
        assert_eq!((evaluation.images, evaluation.unreadable), (7, 1));
        assert_eq!(evaluation.top1, 5.0 / 7.0);
        assert_eq!(evaluation.top5, 1.0);
        let [a, b] = &evaluation.classes[..] else { panic!("two classes") };
        assert_eq!((a.precision, a.recall, a.f1), (2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0));
        assert_eq!((b.precision, b.recall, b.images), (0.75, 0.75, 4));
    }

    #[test]
    fn the_surest_mistake_comes_first() {
        let names = ["a".to_owned(), "b".to_owned()];
        let answers = vec![answer(0, 1, 0.6), answer(0, 0, 0.99), answer(1, 0, 0.8)];
        let evaluation = Evaluation::of(answers, 3, &names).unwrap();
        let sure: Vec<_> = evaluation.mistakes().iter().map(|answer| answer.best().1).collect();
        assert_eq!(sure, [0.8, 0.6]);
    }
}
