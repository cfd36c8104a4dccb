use std::fmt;

use serde::{Deserialize, Serialize};
use zoo_core::{HiddenLayer, Preprocess, counted};

/// What a record says about itself: everything that is needed to classify with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The variant's name: `resnet50`.
    pub variant: String,
    /// The published weights' tag, if they are such: `imagenet1k_v2`.
    pub tag: Option<String>,
    /// Number of the network's outputs. Each is a class; one alone tells two classes apart.
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
    /// The classes' names in order, or none at all. With one output these are two, negative and
    /// positive, or one, that of the positive class.
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
    /// Number of classes that an answer may name: two where the network has one output, whose
    /// sigmoid is the probability of the second, positive class.
    pub fn num_answers(&self) -> usize {
        self.num_classes.max(2)
    }

    /// The names of these classes in order, or none at all.
    pub fn answers(&self) -> Vec<String> {
        match &self.labels[..] {
            [positive] if self.num_classes == 1 => {
                vec![format!("not {positive}"), positive.clone()]
            }
            labels => labels.to_vec(),
        }
    }

    /// Whether a network with so many outputs can have so many names of classes.
    pub fn can_be_named(num_classes: usize, names: usize) -> bool {
        names == 0 || names == num_classes || (num_classes, names) == (1, 2)
    }

    /// What makes the card unusable, if anything does.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        let Preprocess { resize, crop, std, .. } = self.preprocess;
        if self.num_classes == 0 || self.in_channels == 0 {
            Some("it has no classes or no channels")
        } else if self.num_classes.max(self.in_channels) > MANY {
            Some("it has more classes or channels than any network")
        } else if self.hidden.iter().any(|layer| !(1..=MANY).contains(&layer.width)) {
            Some("a hidden layer has no outputs, or more than any network")
        } else if !Self::can_be_named(self.num_classes, self.labels.len()) {
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

/// The network, its classes, and the preprocessing, as a phrase.
impl fmt::Display for ModelCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}, {}, from {}\n  {} of classes\n  images: {}",
            self.variant,
            counted(self.num_classes, "class"),
            counted(self.in_channels, "channel"),
            self.origin.file,
            counted(self.labels.len(), "name"),
            self.preprocess
        )
    }
}

/// More than the classes or the channels of any network.
const MANY: usize = 1 << 24;

/// The largest images, in pixels a side, that a network here is given.
const MAX_SIDE: u32 = 4096;

/// Where weights came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the file.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Whose spelling of the keys it had.
    pub layout: String,
    /// Where it was published, if that is known.
    pub url: Option<String>,
    /// License of the weights as an SPDX expression, if that is known.
    #[serde(alias = "licence")]
    pub license: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_output_tells_two_classes_apart() {
        let card = |num_classes, labels: &[&str]| ModelCard {
            hidden: Vec::new(),
            variant: "resnet18".to_owned(),
            tag: None,
            num_classes,
            in_channels: 3,
            has_auxiliary: false,
            has_classifier: true,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            preprocess: Preprocess::IMAGENET,
            origin: Origin::default(),
        };
        assert_eq!(card(1, &["cat"]).answers(), ["not cat", "cat"]);
        assert_eq!(card(1, &["dog", "cat"]).answers(), ["dog", "cat"]);
        assert_eq!(card(3, &["a", "b", "c"]).answers(), ["a", "b", "c"]);
        assert!(card(1, &[]).answers().is_empty());
        assert_eq!((card(1, &[]).num_answers(), card(3, &[]).num_answers()), (2, 3));
        assert_eq!(card(1, &["dog", "cat"]).flaw(), None);
        for wrong in [card(1, &["a", "b", "c"]), card(2, &["a"]), card(3, &["a", "b"])] {
            assert!(wrong.flaw().is_some(), "{wrong:?}");
        }
    }
}
