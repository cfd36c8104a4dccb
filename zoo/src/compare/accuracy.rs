use std::collections::{BTreeSet, HashMap};

use burn::tensor::Device;
use image::RgbImage;
use zoo_engine::default_threads;
use zoo_models::{Classifier, Network};
use zoo_report::within;
use zoo_train::{
    Answer, Batching, Budget, Classification, ClassificationEvaluation, Dataset, Event, Images,
    Observer, Source, Task,
};

use super::{CalibrationBin, ClassRecalls, Compared, Disagreement, GivenAnswer, Pair, Subject};
use crate::evaluate::labels;
use crate::explain::ExplainOptions;
use crate::statistics::{mcnemar, wilson};
use crate::{Error, Model};

/// Bins of the calibration error.
const BINS: usize = 15;

/// Largest side of the photographs that are kept, in pixels.
const SIDE: u32 = 320;

/// The accuracy of all models on the same images.
#[derive(Default)]
pub(super) struct Found {
    pub(super) accuracies: Vec<Accuracy>,
    pub(super) pairs: Vec<Pair>,
    pub(super) classes: Vec<ClassRecalls>,
    pub(super) disagreements: Vec<Disagreement>,
    pub(super) left_out: usize,
}

/// The accuracy of a model.
pub(super) struct Accuracy {
    images: usize,
    /// Number of images whose class is the most probable one, and among the five most probable ones.
    right: [usize; 2],
    ece: f64,
    bins: Vec<CalibrationBin>,
}

/// A model with its images and its answers.
struct Evaluated {
    images: Images,
    evaluation: ClassificationEvaluation,
}

impl Evaluated {
    fn label(&self, class: usize) -> String {
        self.evaluation.classes[class].name.clone()
    }
}

/// Evaluates all models on the images that none of them was trained on.
pub(super) fn evaluate(
    subjects: &mut [Subject],
    data: &str,
    most: usize,
    observer: &mut dyn Observer,
) -> Result<Found, Error> {
    let mut datasets = Vec::with_capacity(subjects.len());
    for subject in &*subjects {
        datasets.push(dataset(&subject.model, data, observer)?);
    }
    let names = |dataset: &Dataset| {
        dataset.val.iter().map(|sample| sample.source.name()).collect::<BTreeSet<_>>()
    };
    let mut common = names(&datasets[0]);
    let mut all = common.clone();
    for dataset in &datasets[1..] {
        let names = names(dataset);
        all.extend(names.iter().cloned());
        common.retain(|name| names.contains(name));
    }
    let left_out = all.len() - common.len();
    if common.is_empty() {
        return Err(Error::NoCommonImages(data.to_owned()));
    }
    let mut results = Vec::with_capacity(subjects.len());
    for (subject, mut dataset) in subjects.iter().zip(datasets) {
        dataset.val.retain(|sample| common.contains(&sample.source.name()));
        results.push(answers(&subject.model, dataset, observer)?);
    }
    let rows = by_image(&results);
    Ok(Found {
        accuracies: results.iter().map(|result| Accuracy::of(&result.evaluation)).collect(),
        pairs: pairs(&rows, results.len()),
        classes: classes(&rows, &results[0]),
        disagreements: disagreements(subjects, &results, &rows, most),
        left_out,
    })
}

/// The labeled images, without those that the model was trained on.
fn dataset(model: &Model, data: &str, observer: &mut dyn Observer) -> Result<Dataset, Error> {
    model.ensure_classifies()?;
    let labels = labels(model.card(), observer);
    let mut dataset = Dataset::open_for(data, &labels)?;
    dataset.leave_out(model.training_images(), default_threads(), observer);
    Ok(dataset)
}

fn answers(
    model: &Model,
    dataset: Dataset,
    observer: &mut dyn Observer,
) -> Result<Evaluated, Error> {
    let Network::Classifier(network) = model.network() else {
        return Err(Error::NotAClassifier(model.card().variant.clone()));
    };
    let batching = Batching { batch_size: 32, workers: default_threads(), engine: true };
    let images = Images::new(dataset.val, *model.preprocess(), &Budget::mib(0));
    let device: &Device = model.session().device();
    let evaluation = Classification::<Classifier>::evaluate(
        network,
        &images,
        &dataset.classes,
        batching,
        device,
        observer,
    );
    for complaint in images.complaints() {
        observer.on(&Event::Warning(&complaint));
    }
    Ok(Evaluated { evaluation: evaluation?, images })
}

/// The answers of all models for each image that all of them could read.
fn by_image(results: &[Evaluated]) -> Vec<Vec<&Answer>> {
    let mut rows: Vec<(String, Vec<&Answer>)> = Vec::new();
    let mut indices = HashMap::new();
    for result in results {
        for answer in &result.evaluation.answers {
            let name = result.images.samples()[answer.index].source.name();
            let index = *indices.entry(name.clone()).or_insert_with(|| {
                rows.push((name, Vec::new()));
                rows.len() - 1
            });
            rows[index].1.push(answer);
        }
    }
    rows.retain(|(_, answers)| answers.len() == results.len());
    rows.into_iter().map(|(_, answers)| answers).collect()
}

impl Accuracy {
    fn of(evaluation: &ClassificationEvaluation) -> Self {
        let answers = &evaluation.answers;
        let count = |is: fn(&Answer) -> bool| answers.iter().filter(|answer| is(answer)).count();
        let is_in_top5 =
            |answer: &Answer| answer.top.iter().any(|(class, _)| *class == answer.class);
        let sure: Vec<_> =
            answers.iter().map(|answer| (f64::from(answer.best().1), answer.is_right())).collect();
        let bins = calibration(&sure);
        let error =
            |bin: &CalibrationBin| bin.images as f64 * (bin.confidence - bin.accuracy).abs();
        Self {
            images: answers.len(),
            right: [count(Answer::is_right), count(is_in_top5)],
            ece: bins.iter().map(error).sum::<f64>() / answers.len() as f64,
            bins,
        }
    }

    pub(super) fn fill(&self, model: &mut Compared) {
        let share = |right: usize| right as f64 / self.images as f64;
        let [[low1, high1], [low5, high5]] = self.right.map(|right| wilson(right, self.images));
        model.images = Some(self.images);
        [model.top1, model.top5] = self.right.map(|right| Some(share(right)));
        (model.top1_low, model.top1_high) = (Some(low1), Some(high1));
        (model.top5_low, model.top5_high) = (Some(low5), Some(high5));
        model.ece = Some(self.ece);
        model.calibration = self.bins.clone();
    }
}

/// The bins of equal width that have images, from pairs of a probability and whether the answer is right.
fn calibration(answers: &[(f64, bool)]) -> Vec<CalibrationBin> {
    let mut bins = vec![(0.0, 0, 0); BINS];
    for &(probability, is_right) in answers {
        let index = ((probability * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let (sum, right, images) = &mut bins[index];
        *sum += probability;
        *right += usize::from(is_right);
        *images += 1;
    }
    let bin = |(sum, right, images): (f64, usize, usize)| CalibrationBin {
        confidence: sum / images as f64,
        accuracy: right as f64 / images as f64,
        images,
    };
    bins.into_iter().filter(|bin| bin.2 > 0).map(bin).collect()
}

fn pairs(rows: &[Vec<&Answer>], models: usize) -> Vec<Pair> {
    let pair = |first: usize, second: usize| {
        let only = |a: usize, b: usize| {
            rows.iter().filter(|row| row[a].is_right() && !row[b].is_right()).count()
        };
        let [only_first, only_second] = [only(first, second), only(second, first)];
        let p = mcnemar(only_first, only_second);
        Pair { models: [first, second], only_first, only_second, p }
    };
    (0..models).flat_map(|a| (a + 1..models).map(move |b| pair(a, b))).collect()
}

/// The share of right answers of each model for each class with images, in the order of the first model's classes.
fn classes(rows: &[Vec<&Answer>], first: &Evaluated) -> Vec<ClassRecalls> {
    let mut counts: Vec<(usize, Vec<usize>)> =
        vec![(0, Vec::new()); first.evaluation.classes.len()];
    for row in rows {
        let (images, right) = &mut counts[row[0].class];
        right.resize(row.len(), 0);
        *images += 1;
        right.iter_mut().zip(row).for_each(|(right, it)| *right += usize::from(it.is_right()));
    }
    let with_images = counts.into_iter().enumerate().filter(|(_, (images, _))| *images > 0);
    with_images
        .map(|(class, (images, right))| ClassRecalls {
            name: first.label(class),
            images,
            recalls: right.into_iter().map(|right| right as f64 / images as f64).collect(),
        })
        .collect()
}

/// The images on which the models' answers differ, those on which some models are right first.
fn disagreements(
    subjects: &mut [Subject],
    results: &[Evaluated],
    rows: &[Vec<&Answer>],
    most: usize,
) -> Vec<Disagreement> {
    let labels = |row: &[&Answer]| -> Vec<String> {
        row.iter().zip(results).map(|(answer, result)| result.label(answer.best().0)).collect()
    };
    let mut differing: Vec<_> = rows
        .iter()
        .map(|row| (labels(row), row))
        .filter(|(labels, _)| labels.iter().any(|label| *label != labels[0]))
        .collect();
    // The surer a wrong answer is, the more there is to see.
    let interest = |row: &[&Answer]| {
        let wrong = row.iter().filter(|answer| !answer.is_right());
        let surest = wrong.map(|answer| answer.best().1).fold(0.0, f32::max);
        surest + if row.iter().any(|answer| answer.is_right()) { 1.0 } else { 0.0 }
    };
    differing.sort_by(|a, b| interest(b.1).total_cmp(&interest(a.1)));
    differing.truncate(most);
    let disagreement = |(labels, row): (Vec<String>, &Vec<&Answer>)| {
        let source = &results[0].images.samples()[row[0].index].source;
        let mut photograph = None;
        let mut answers = Vec::with_capacity(row.len());
        for ((answer, label), subject) in row.iter().zip(labels).zip(&mut *subjects) {
            let (class, probability) = answer.best();
            let picture = match source {
                Source::File(path) => picture(&mut subject.model, path, class),
                Source::Packed { .. } => None,
            };
            let (image, heat_map) = picture.unzip();
            photograph = photograph.or(image);
            answers.push(GivenAnswer { label, probability, is_right: answer.is_right(), heat_map });
        }
        let class = results[0].label(row[0].class);
        Disagreement { path: source.name(), class, answers, photograph }
    };
    differing.into_iter().map(disagreement).collect()
}

/// The photograph, and its heat map for a class. `None` if the network has no heat maps.
fn picture(
    model: &mut Model,
    path: &std::path::Path,
    class: usize,
) -> Option<(RgbImage, RgbImage)> {
    let image = model.open_image(path).ok()?;
    let options = ExplainOptions { class: Some(class), ..ExplainOptions::default() };
    let overlay = model.explain(&image, &options).ok()?.map.overlay(&image);
    Some((within(&image, SIDE), within(&overlay, SIDE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(class: usize, best: usize, probability: f32) -> Answer {
        Answer { index: 0, class, top: vec![(best, probability), (9, 0.0)], loss: 0.0 }
    }

    #[test]
    fn calibration_compares_probability_and_accuracy() {
        let bins = calibration(&[(0.95, true), (0.97, false), (0.30, true), (1.0, true)]);
        let images: Vec<_> = bins.iter().map(|bin| bin.images).collect();
        assert_eq!(images, [1, 3]);
        assert!((bins[1].confidence - 0.973_333).abs() < 1e-5);
        assert!((bins[1].accuracy - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn pairs_count_the_images_on_which_models_differ() {
        let right = answer(1, 1, 0.9);
        let wrong = answer(1, 2, 0.8);
        let rows =
            vec![vec![&right, &wrong], vec![&right, &wrong], vec![&wrong, &right], vec![&right; 2]];
        let [pair] = pairs(&rows, 2)[..] else { panic!() };
        assert_eq!((pair.only_first, pair.only_second, pair.p), (2, 1, 1.0));
    }
}
