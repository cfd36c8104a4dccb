//! What a network can be trained to do: what a task has to know, so that everything around it is
//! written once.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use zoo_engine::Session;

use crate::data::Label;
use crate::{Config, Error, Images, Observer};

/// What a network is trained to do.
///
/// [`Classification`](crate::Classification) and [`Segmentation`](crate::Segmentation) are the two
/// there are; `docs/adding-a-training-task.md` says how another is added. [`train`](crate::train())
/// knows nothing of images and labels, only this.
pub trait Task: Sync + Sized {
    /// The network.
    type Model: Module;
    /// What images are labeled with.
    type Label: Label;
    /// What a step is computed from.
    type Batch: Send;
    /// How good a network is.
    type Evaluation: Evaluation<Label = Self::Label>;

    /// Side of the smallest images that a network can be trained with, in pixels.
    fn min_size(model: &Self::Model, config: &Config) -> usize;

    /// Replaces a network's classifier by a fresh one for so many classes.
    fn with_fresh_classifier(
        model: Self::Model,
        num_classes: usize,
        config: &Config,
        device: &Device,
    ) -> Self::Model;

    /// Compares what a network in validation mode makes of images with their labels. A network with
    /// one output tells two classes apart, and has two `names`.
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

    /// What the report of a run shows of an evaluation, as HTML.
    fn report(evaluation: &Self::Evaluation, images: &Images<Self::Label>) -> String;

    /// The task with these data.
    fn new(data: TaskData<Self::Label>) -> Self;

    /// The data that the task was made with.
    fn data(&self) -> &TaskData<Self::Label>;

    /// Computes what stays the same in all epochs.
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

    /// The images of each batch of an epoch; the same for the same epoch of the same run.
    fn plan(&self, epoch: usize) -> Vec<Vec<usize>>;

    /// Loads a batch, whose first image has this place in the epoch; called in worker threads.
    /// None where none of its images can be read.
    fn load(&self, epoch: usize, place: usize, images: &[usize]) -> Option<Self::Batch>;

    /// Freezes what is to stay as it is.
    ///
    /// # Errors
    ///
    /// When that is not part of the network.
    fn prepare(&self, model: Self::Model) -> Result<Self::Model, Error>;

    /// The parameters that were not pretrained.
    fn fresh(&self, model: &Self::Model) -> BTreeSet<ParamId>;

    /// Computes the loss of a batch on an autodiff device.
    fn loss(&self, model: &Self::Model, batch: Self::Batch, device: &Device) -> Loss;

    /// Scores a network that is in validation mode on the validation images; None where there are
    /// none.
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

/// What a task is trained with.
#[derive(Debug, Clone)]
pub struct TaskData<L: Label> {
    /// How.
    pub config: Config,
    /// The names of the classes.
    pub names: Vec<String>,
    /// The images to train on.
    pub train: Arc<Images<L>>,
    /// The images to validate with.
    pub val: Arc<Images<L>>,
    /// How images are evaluated.
    pub batching: Batching,
}

impl<L: Label> TaskData<L> {
    /// A sentence about each image that could not be read, once.
    pub(crate) fn complaints(&self) -> Vec<String> {
        [self.train.complaints(), self.val.complaints()].concat()
    }

    /// Number of images that could not be read, so far.
    pub(crate) fn unreadable(&self) -> usize {
        self.train.unreadable() + self.val.unreadable()
    }
}

/// How images are evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Batching {
    /// How many at once.
    pub batch_size: usize,
    /// Threads that load them.
    pub workers: usize,
    /// Whether the engine runs the network where it can; Burn does otherwise.
    pub engine: bool,
}

impl Batching {
    /// How images are evaluated in a run.
    pub(crate) fn of_run(config: &Config) -> Self {
        Self {
            batch_size: config.recipe.batch_size.min(64),
            workers: config.workers(),
            engine: true,
        }
    }

    /// A network that is only run.
    pub(crate) fn session<M: Module>(&self, model: &M, device: &Device) -> Session<M> {
        let session = Session::new(model.clone(), device);
        if self.engine { session } else { session.without_engine() }
    }

    /// The images of a batch, of so many in all.
    pub(crate) fn range(&self, batch: usize, images: usize) -> std::ops::Range<usize> {
        let start = batch * self.batch_size;
        start..(start + self.batch_size).min(images)
    }
}

/// What a step computes.
#[derive(Debug)]
pub struct Loss {
    /// The mean over the batch.
    pub loss: Tensor<1>,
    /// Number of images.
    pub images: usize,
    /// How many of them, or how much of them in sum, the network got right.
    pub correct: f64,
}

/// How good a network is on labeled images; displayed, it is a summary for people.
pub trait Evaluation: Debug + Display + Serialize {
    /// What the images are labeled with.
    type Label: Label;
    /// What is known about a class.
    type Class: Serialize;
    /// What is known about an image.
    type Row: Serialize;

    /// What decides which of two networks is better.
    fn score(&self) -> Score;

    /// Number of images that were evaluated.
    fn images(&self) -> usize;

    /// Number of images that could not be read.
    fn unreadable(&self) -> usize;

    /// What is known about each class.
    fn classes(&self) -> &[Self::Class];

    /// The names of the classes.
    fn names(&self) -> Vec<String>;

    /// How many images, or pixels, of a class (row) were taken for a class (column).
    fn confusion(&self) -> &[Vec<usize>];

    /// A row for each image that could be read; `images` are those that were evaluated.
    fn rows(&self, images: &Images<Self::Label>) -> Vec<Self::Row>;

    /// The most important numbers, each with what it is: `95.4 %`, `validation accuracy`.
    fn facts(&self) -> Vec<(String, &'static str)>;
}

/// What decides which of two networks is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The mean loss.
    pub loss: f64,
    /// The share of the images, or of their pixels, that is right.
    pub accuracy: f64,
    /// Where pixels are told apart: the mean over the classes of intersection over union.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_iou: Option<f64>,
}

impl Score {
    /// Whether this is better than another: a higher mean IoU, or accuracy where there is no IoU;
    /// of equal ones, the lower loss.
    pub fn is_better_than(&self, other: &Self) -> bool {
        // Where pixels are told apart, zoo 0.1.0 wrote the mean IoU as the accuracy.
        let quality = |score: &Self| score.mean_iou.unwrap_or(score.accuracy);
        (quality(self), -self.loss) > (quality(other), -other.loss)
    }
}
