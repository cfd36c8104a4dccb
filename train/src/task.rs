//! The interface between the training loop and a task.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use zoo_engine::Session;

use crate::data::Label;
use crate::{Config, Error, Images, Observer, Results};

/// A task that a network can be trained for.
///
/// [`Classification`](crate::Classification) and [`Segmentation`](crate::Segmentation) implement
/// it; `docs/adding-a-training-task.md` explains how to add another. [`train`](crate::train()) uses
/// only this trait and knows nothing of images and labels.
pub trait Task: Sync + Sized {
    /// The network.
    type Model: Module;
    /// The label of an image.
    type Label: Label;
    /// The input of one loss computation.
    type Batch: Send;
    /// The result of an evaluation.
    type Evaluation: Evaluation<Label = Self::Label>;

    /// Side of the smallest images that a network can be trained with, in pixels.
    fn min_size(model: &Self::Model, config: &Config) -> usize;

    /// Replaces a network's classifier by a randomly initialized one for `num_classes` classes.
    fn with_fresh_classifier(
        model: Self::Model,
        num_classes: usize,
        config: &Config,
        device: &Device,
    ) -> Self::Model;

    /// Evaluates a network in validation mode on labeled images. `names` are the names of the
    /// classes; there are two for a network with one output.
    ///
    /// # Errors
    ///
    /// When no image can be read.
    fn evaluate(
        model: &Self::Model,
        images: &Images<Self::Label>,
        names: &[String],
        batching: Batching,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Self::Evaluation, Error>;

    /// Returns the part of a report that shows an evaluation.
    fn results(evaluation: &Self::Evaluation, images: &Images<Self::Label>) -> Results;

    /// Creates the task for these data.
    fn new(data: TaskData<Self::Label>) -> Self;

    /// Returns the data that the task was created with.
    fn data(&self) -> &TaskData<Self::Label>;

    /// Computes the values that are the same in all epochs.
    ///
    /// # Errors
    ///
    /// When no image can be read.
    fn precompute(
        &mut self,
        _model: &Self::Model,
        _device: &Device,
        _observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the images of each batch of an epoch. The plan depends only on the settings and the
    /// epoch.
    fn plan(&self, epoch: usize) -> Vec<Vec<usize>>;

    /// Loads a batch. `position` is the index of its first image in the epoch. Worker threads call
    /// this. Returns `None` if none of the images can be read.
    fn load(&self, epoch: usize, position: usize, images: &[usize]) -> Option<Self::Batch>;

    /// Freezes the parameters that are not trained.
    ///
    /// # Errors
    ///
    /// When the network does not have the module to freeze.
    fn prepare(&self, model: Self::Model) -> Result<Self::Model, Error>;

    /// Returns the parameters that were not pretrained.
    fn fresh(&self, model: &Self::Model) -> BTreeSet<ParamId>;

    /// Computes the loss of a batch on an autodiff device.
    fn loss(&self, model: &Self::Model, batch: Self::Batch, device: &Device) -> Loss;

    /// Scores a network in validation mode on the validation images. Returns `None` if there are no
    /// such images.
    ///
    /// # Errors
    ///
    /// When no image can be read.
    fn validate(
        &self,
        model: &Self::Model,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Option<Score>, Error> {
        let TaskData { names, val, batching, .. } = self.data();
        if val.samples().is_empty() {
            return Ok(None);
        }
        let evaluation = Self::evaluate(model, val, names, *batching, device, observer)?;
        Ok(Some(evaluation.score()))
    }
}

/// The data and the settings of a task.
#[derive(Debug, Clone)]
pub struct TaskData<L: Label> {
    /// The configuration of the run.
    pub config: Config,
    /// The names of the classes.
    pub names: Vec<String>,
    /// The images to train on.
    pub train: Arc<Images<L>>,
    /// The images to validate on.
    pub val: Arc<Images<L>>,
    /// Batch size and threads for evaluation.
    pub batching: Batching,
}

impl<L: Label> TaskData<L> {
    /// Returns a sentence about each image that could not be read, only once for each image.
    pub(crate) fn complaints(&self) -> Vec<String> {
        [self.train.complaints(), self.val.complaints()].concat()
    }

    /// Number of images that could not be read so far.
    pub(crate) fn unreadable(&self) -> usize {
        self.train.unreadable() + self.val.unreadable()
    }
}

/// Batch size, threads and engine of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Batching {
    /// Number of images in a batch.
    pub batch_size: usize,
    /// Number of threads that load images.
    pub workers: usize,
    /// Whether the engine runs the network if it can. Otherwise Burn runs it.
    pub engine: bool,
}

impl Batching {
    /// Returns the values for the evaluations of a run.
    pub(crate) fn of_run(config: &Config) -> Self {
        Self {
            batch_size: config.recipe.batch_size.min(64),
            workers: config.workers(),
            engine: true,
        }
    }

    /// Creates a session that only runs the network.
    pub(crate) fn session<M: Module>(&self, model: &M, device: &Device) -> Session<M> {
        let session = Session::new(model.clone(), device);
        if self.engine { session } else { session.without_engine() }
    }

    /// Returns the indices of the images of a batch. `images` is the number of all images.
    pub(crate) fn range(&self, batch: usize, images: usize) -> std::ops::Range<usize> {
        let start = batch * self.batch_size;
        start..(start + self.batch_size).min(images)
    }
}

/// The loss of a batch.
#[derive(Debug)]
pub struct Loss {
    /// The mean over the batch.
    pub loss: Tensor<1>,
    /// Number of images.
    pub images: usize,
    /// Number of images that the network got right. For segmentation, the sum of each image's share
    /// of correct pixels.
    pub correct: f64,
}

/// The result of an evaluation on labeled images. Its `Display` is a summary for people.
pub trait Evaluation: Debug + Display + Serialize {
    /// The label of an image.
    type Label: Label;
    /// The results of a class.
    type Class: Serialize;
    /// The results of an image.
    type Row: Serialize;

    /// Returns the numbers that decide which of two networks is better.
    fn score(&self) -> Score;

    /// Number of images that were evaluated.
    fn images(&self) -> usize;

    /// Number of images that could not be read.
    fn unreadable(&self) -> usize;

    /// The results of each class.
    fn classes(&self) -> &[Self::Class];

    /// The names of the classes.
    fn names(&self) -> Vec<String>;

    /// The confusion matrix: rows are true classes, columns predicted ones. Counts images or, for
    /// segmentation, pixels.
    fn confusion(&self) -> &[Vec<usize>];

    /// Returns a row for each image that could be read. `images` are the images that were
    /// evaluated.
    fn rows(&self, images: &Images<Self::Label>) -> Vec<Self::Row>;

    /// The most important numbers, each with its name: `95.4 %`, `validation accuracy`.
    fn facts(&self) -> Vec<(String, &'static str)>;
}

/// The numbers that decide which of two networks is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The mean loss.
    pub loss: f64,
    /// The share of correct images or, for segmentation, of correct pixels.
    pub accuracy: f64,
    /// For segmentation: the mean intersection over union of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_iou: Option<f64>,
}

impl Score {
    /// Whether this is better than another: a higher mean IoU, or a higher accuracy without IoU. If
    /// both are equal, the lower loss is better.
    pub fn is_better_than(&self, other: &Self) -> bool {
        // For segmentation, zoo 0.1.0 wrote the mean IoU as the accuracy.
        let quality = |score: &Self| score.mean_iou.unwrap_or(score.accuracy);
        (quality(self), -self.loss) > (quality(other), -other.loss)
    }
}
