use serde::{Deserialize, Serialize};
use zoo_core::Preprocess;

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
    /// The classes' names in order, or none at all.
    pub labels: Vec<String>,
    /// How an image becomes the network's input.
    pub preprocess: Preprocess,
    /// Where the weights came from.
    pub origin: Origin,
}

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
