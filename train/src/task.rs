use std::collections::BTreeSet;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Error, Observer};

/// What a network is trained to do, and with what.
///
/// The loop in [`fit`](crate::fit) knows nothing of images.
pub trait Task: Sync {
    /// The network.
    type Model: Module;
    /// What a step is computed from.
    type Batch: Send;

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

    /// Scores a network that is in validation mode; None where there is nothing to validate with.
    ///
    /// # Errors
    ///
    /// When no image can be read.
    fn validate(
        &self,
        model: &Self::Model,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Option<Score>, Error>;

    /// A sentence about each image that could not be read, once.
    fn complaints(&self) -> Vec<String>;
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

/// How good a network is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The mean loss.
    pub loss: f64,
    /// What is to be high: the share of images that are named rightly, or the mean IoU.
    pub accuracy: f64,
}

impl Score {
    /// Whether this is better than another: more is right, or as much with a lower loss.
    pub fn is_better_than(&self, other: &Self) -> bool {
        (self.accuracy, -self.loss) > (other.accuracy, -other.loss)
    }
}
