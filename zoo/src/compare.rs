//! Comparison of models: their accuracy on the same images, their speed at the same time, and their size.
//!
//! [`compare`] measures, [`Comparison::page`] shows the results as an HTML page.

mod accuracy;
mod advice;
mod page;
mod speed;

use image::RgbImage;
use serde::Serialize;
use zoo_core::count_trainable;
use zoo_engine::default_threads;
use zoo_models::variant;
use zoo_train::Observer;

use crate::search::Limits;
use crate::{Error, Model, Summary, summary};

/// A model with the name that the comparison shows.
#[derive(Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The model. Without a trained classifier, only its speed and its size are compared.
    pub model: Model,
    /// Milliseconds that it took to load.
    pub load_ms: f64,
    /// Size of its file in bytes. By default, that of the weights in single precision.
    pub file_bytes: Option<u64>,
}

/// Options of [`compare`].
#[derive(Debug, Clone, PartialEq)]
pub struct CompareOptions {
    /// Labeled images, as [`Model::evaluate`] takes them.
    pub data: Option<String>,
    /// The limits that a model has to meet.
    pub limits: Limits,
    /// The longest time in which the speed of all models is measured, in seconds.
    pub seconds: f64,
    /// The largest number of images on which the models disagree that are kept with heat maps.
    pub disagreements: usize,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self { data: None, limits: Limits::default(), seconds: 60.0, disagreements: 24 }
    }
}

/// The results of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The model to choose, and why.
    pub recommendation: Recommendation,
    /// The models in the given order.
    pub models: Vec<Compared>,
    /// Tests of each pair of models.
    pub pairs: Vec<Pair>,
    /// The accuracy of each class.
    pub classes: Vec<ClassRecalls>,
    /// The images on which the models disagree, those on which one is right first.
    pub disagreements: Vec<Disagreement>,
    /// The labeled images.
    pub data: Option<String>,
    /// Number of images that are left out because a model was trained on them.
    pub left_out: usize,
    /// The limits.
    pub limits: Limits,
    /// The machine.
    pub machine: Machine,
}

/// The results of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// The variant of its network.
    pub variant: String,
    /// The origin of its weights.
    pub weights: String,
    /// Height and width of its images in pixels.
    pub size: usize,
    /// Its preprocessing.
    pub preprocess: String,
    /// Trainable parameters.
    pub params: usize,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// Size of the outputs of all layers for one image, in bytes.
    pub activation_bytes: u64,
    /// Size of the weights in bytes.
    pub file_bytes: u64,
    /// Memory of the engine's plan for one image, weights and activations, in bytes. `None` if Burn runs the network.
    pub memory_bytes: Option<u64>,
    /// What computes: `engine` or `burn`.
    pub computed_by: &'static str,
    /// Milliseconds until the first result: loading, compilation and the first image.
    pub cold_start_ms: f64,
    /// Median time of one image, in milliseconds.
    pub latency_ms: f64,
    /// The time that 90 % of the runs with one image do not exceed.
    pub latency_p90_ms: f64,
    /// The range of the middle half of these times, as a share of the median.
    pub latency_spread: f64,
    /// Median time of a batch of eight images, in milliseconds.
    pub batch8_ms: f64,
    /// The time that 90 % of the runs with eight images do not exceed.
    pub batch8_p90_ms: f64,
    /// Images per second, in batches of eight.
    pub images_per_s: f64,
    /// Number of images that were classified.
    pub images: Option<usize>,
    /// The share of images that are classified correctly, in `[0, 1]`.
    pub top1: Option<f64>,
    /// The bounds of its 95 % interval by Wilson's method.
    pub top1_low: Option<f64>,
    /// The upper bound.
    pub top1_high: Option<f64>,
    /// The share of images whose class is among the five most probable ones.
    pub top5: Option<f64>,
    /// The lower bound of its interval.
    pub top5_low: Option<f64>,
    /// The upper bound.
    pub top5_high: Option<f64>,
    /// Expected calibration error, in `[0, 1]`: the mean difference of the probability of the most probable class and of how often it is
    /// right, in 15 bins (Guo et al., 2017: [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)).
    pub ece: Option<f64>,
    /// Whether no other model is both faster and more accurate, or, without labeled images, both faster and smaller.
    pub on_front: bool,
    /// The limit that it exceeds.
    pub exceeds: Option<String>,
    /// The bins of the calibration error.
    #[serde(skip)]
    pub calibration: Vec<CalibrationBin>,
}

/// Images whose most probable class has a similar probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// The mean probability of the most probable class.
    pub confidence: f64,
    /// The share of images that are classified correctly.
    pub accuracy: f64,
    /// Number of images.
    pub images: usize,
}

/// McNemar's test of two models on the same images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// Indices of the models.
    pub models: [usize; 2],
    /// Number of images that only the first one classifies correctly.
    pub only_first: usize,
    /// Number of images that only the second one classifies correctly.
    pub only_second: usize,
    /// The probability that two equally good models differ at least this much, in `[0, 1]`.
    pub p: f64,
}

/// The accuracy of the models for a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassRecalls {
    /// Its name.
    pub name: String,
    /// Number of its images.
    pub images: usize,
    /// The share of them that each model classifies correctly, in `[0, 1]`.
    pub recalls: Vec<f64>,
}

/// An image on which the models disagree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disagreement {
    /// Its file.
    pub path: String,
    /// Its class.
    pub class: String,
    /// The answer of each model.
    pub answers: Vec<GivenAnswer>,
    /// The photograph, at most 320 pixels wide and high.
    #[serde(skip)]
    pub photograph: Option<RgbImage>,
}

/// The answer of a model for an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GivenAnswer {
    /// The most probable class.
    pub label: String,
    /// Its probability, in `[0, 1]`.
    pub probability: f32,
    /// Whether it is the true one.
    pub is_right: bool,
    /// The photograph with the Grad-CAM of this class.
    #[serde(skip)]
    pub heat_map: Option<RgbImage>,
}

/// The model to choose, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommendation {
    /// Its index. `None` if no model meets the limits.
    pub model: Option<usize>,
    /// A sentence for the user.
    pub sentence: String,
}

/// The machine on which models were compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// The name of the processor, if the system tells.
    pub processor: Option<String>,
    /// Number of threads.
    pub threads: usize,
    /// The version of this crate.
    pub version: &'static str,
}

/// Compares models on the same images and at the same time.
///
/// # Errors
///
/// When a model can't be measured, the models have different classes, a model has no trained classifier although there are labeled
/// images, or the images can't be used.
///
/// # Panics
///
/// When there is no model.
pub fn compare(
    mut subjects: Vec<Subject>,
    options: &CompareOptions,
    observer: &mut dyn Observer,
) -> Result<Comparison, Error> {
    assert!(!subjects.is_empty(), "a comparison needs a model");
    let speeds = speed::measure(&mut subjects, options.seconds, observer)?;
    let summaries: Vec<_> = subjects.iter().map(cost).collect::<Result<_, _>>()?;
    let mut models: Vec<_> = subjects
        .iter()
        .zip(summaries)
        .zip(speeds)
        .map(|((subject, summary), speed)| compared(subject, &summary, &speed))
        .collect();
    let mut found = accuracy::Found::default();
    if let Some(data) = &options.data {
        found = accuracy::evaluate(&mut subjects, data, options.disagreements, observer)?;
        for (model, accuracy) in models.iter_mut().zip(&found.accuracies) {
            accuracy.fill(model);
        }
    }
    for model in &mut models {
        model.exceeds = options.limits.exceeded(&model.cost());
    }
    advice::mark_front(&mut models);
    Ok(Comparison {
        recommendation: advice::recommend(&models, &found.pairs, &options.limits),
        models,
        pairs: found.pairs,
        classes: found.classes,
        disagreements: found.disagreements,
        data: options.data.clone(),
        left_out: found.left_out,
        limits: options.limits,
        machine: Machine::this(),
    })
}

/// The parameters and operations of a network.
fn cost(subject: &Subject) -> Result<Summary, Error> {
    let card = subject.model.card();
    let config = variant(&card.variant).map_err(zoo_models::UnknownName::from)?.config;
    let config = config.with_num_classes(card.num_classes).with_in_channels(card.in_channels);
    let summary = summary(&config, card.preprocess.crop as usize)?;
    Ok(Summary { params: count_trainable(subject.model.network()), ..summary })
}

fn compared(subject: &Subject, summary: &Summary, speed: &speed::Speed) -> Compared {
    let card = subject.model.card();
    let (single, eight) = (&speed.batch1, &speed.batch8);
    Compared {
        name: subject.name.clone(),
        variant: card.variant.clone(),
        weights: match (&card.tag, card.has_classifier) {
            (_, false) => "random".to_owned(),
            (Some(tag), true) => tag.clone(),
            (None, true) => "from a file".to_owned(),
        },
        size: card.preprocess.crop as usize,
        preprocess: card.preprocess.to_string(),
        params: summary.params,
        macs: summary.macs,
        activation_bytes: summary.activation_bytes,
        file_bytes: subject.file_bytes.unwrap_or(summary.bytes),
        memory_bytes: speed.memory_bytes,
        computed_by: speed.computed_by,
        cold_start_ms: subject.load_ms + speed.first_ms,
        latency_ms: single.median(),
        latency_p90_ms: single.quantile(0.9),
        latency_spread: (single.quantile(0.75) - single.quantile(0.25)) / single.median(),
        batch8_ms: eight.median(),
        batch8_p90_ms: eight.quantile(0.9),
        images_per_s: 8e3 / eight.median(),
        images: None,
        top1: None,
        top1_low: None,
        top1_high: None,
        top5: None,
        top5_low: None,
        top5_high: None,
        ece: None,
        on_front: false,
        exceeds: None,
        calibration: Vec::new(),
    }
}

impl Compared {
    /// What limits apply to.
    fn cost(&self) -> crate::search::Cost {
        crate::search::Cost {
            params: self.params,
            macs: self.macs,
            size: self.file_bytes,
            memory: self.memory_bytes.unwrap_or_default(),
            latency_ms: Some(self.latency_ms),
        }
    }
}

impl Machine {
    fn this() -> Self {
        // Linux alone tells it in a file.
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("model name"));
        Self {
            processor: name.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())),
            threads: default_threads(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model with this latency in milliseconds and this accuracy.
    pub(super) fn model(name: &str, latency_ms: f64, top1: Option<f64>) -> Compared {
        Compared {
            name: name.to_owned(),
            variant: "resnet18".to_owned(),
            weights: "imagenet1k_v1".to_owned(),
            size: 224,
            preprocess: "resize 256".to_owned(),
            params: 1_000_000,
            macs: 1_000_000_000,
            activation_bytes: 1_000_000,
            file_bytes: 4_000_000,
            memory_bytes: Some(9_000_000),
            computed_by: "engine",
            cold_start_ms: 100.0,
            latency_ms,
            latency_p90_ms: 1.1 * latency_ms,
            latency_spread: 0.05,
            batch8_ms: 8.0 * latency_ms,
            batch8_p90_ms: 8.8 * latency_ms,
            images_per_s: 1e3 / latency_ms,
            images: top1.map(|_| 100),
            top1,
            top1_low: top1,
            top1_high: top1,
            top5: top1,
            top5_low: top1,
            top5_high: top1,
            ece: top1.map(|_| 0.02),
            on_front: true,
            exceeds: None,
            calibration: vec![CalibrationBin { confidence: 0.9, accuracy: 0.8, images: 100 }],
        }
    }
}
