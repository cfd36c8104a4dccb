use serde::{Deserialize, Serialize};
use zoo_core::{HiddenLayer, Preprocess};

/// What a record says about itself: everything that is needed to classify with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The variant's name: `resnet50`.
    pub variant: String,
    /// The published weights' tag, if they are such: `imagenet1k_v2`.
    pub tag: Option<String>,
    /// Number of classes.
    pub num_classes: usize,
    /// Channels of the images.
    pub in_channels: usize,
    /// Whether the record holds the auxiliary classifiers that the architecture is trained with.
    #[serde(default)]
    pub has_auxiliary: bool,
    /// Whether the classifier was trained, and not only the layers before it.
    #[serde(default = "yes")]
    pub has_classifier: bool,
    /// The hidden layers of a classifier that has several layers where the network has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<HiddenLayer>,
    /// The classes' names in order, or none at all.
    pub labels: Vec<String>,
    /// How an image becomes the network's input.
    pub preprocess: Preprocess,
    /// Where the weights came from.
    pub origin: Origin,
}

fn yes() -> bool {
    true
}

impl ModelCard {
    /// What makes the card unusable, if anything does.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let Preprocess { resize, crop, std, .. } = self.preprocess;
        if self.num_classes == 0 || self.in_channels == 0 {
            Some("it has no classes or no channels")
        } else if self.num_classes.max(self.in_channels) > MANY {
            Some("it has more classes or channels than any network")
        } else if self.hidden.iter().any(|layer| !(1..=MANY).contains(&layer.width)) {
            Some("a hidden layer has no outputs, or more than any network")
        } else if !self.labels.is_empty() && self.labels.len() != self.num_classes {
            Some("it does not have a name for each class")
        } else if !(1..=MAX_SIDE).contains(&crop) || resize > MAX_SIDE {
            Some("its images are empty or too large")
        } else if !std.iter().all(|&std| std > 0.0) {
            Some("it divides pixels by nothing")
        } else {
            None
        }
    }
}

/// More than the classes or the channels of any network.
const MANY: usize = 1 << 24;

/// The largest images, in pixels a side, that a network here is given.
const MAX_SIDE: u32 = 4096;

/// Where weights came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the file.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Whose spelling of the keys it had.
    pub layout: String,
    /// Where it was published, if that is known.
    pub url: Option<String>,
    /// Licence of the weights as an SPDX expression, if that is known.
    pub licence: Option<String>,
}
