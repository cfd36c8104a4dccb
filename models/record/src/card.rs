use std::fmt;

use serde::{Deserialize, Serialize};
use zoo_core::{HiddenLayer, Preprocess, counted};

/// The model card of a record: everything that is needed to classify with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The variant's name: `resnet50`.
    pub variant: String,
    /// The tag of published weights: `imagenet1k_v2`. `None` for other weights.
    pub tag: Option<String>,
    /// Number of the network's outputs. Each is a class; a single output distinguishes two classes.
    pub num_classes: usize,
    /// Channels of the images.
    pub in_channels: usize,
    /// Whether the record holds the auxiliary classifiers that the architecture is trained with.
    #[serde(default)]
    pub has_auxiliary: bool,
    /// Whether the classifier was trained, and not only the layers before it.
    #[serde(default = "yes")]
    pub has_classifier: bool,
    /// The hidden layers of an MLP head, if the network has one instead of a single linear layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<HiddenLayer>,
    /// The names of the classes in order, or none. For a network with one output they are two names,
    /// negative and positive, or one name, that of the positive class.
    pub labels: Vec<String>,
    /// The preprocessing of images.
    pub preprocess: Preprocess,
    /// The origin of the weights.
    pub origin: Origin,
}

fn yes() -> bool {
    true
}

impl ModelCard {
    /// Number of classes that a prediction can name: two if the network has one output, whose sigmoid is
    /// the probability of the second, positive class.
    pub fn num_answers(&self) -> usize {
        self.num_classes.max(2)
    }

    /// Returns the names of these classes in order, or none.
    pub fn answers(&self) -> Vec<String> {
        match &self.labels[..] {
            [positive] if self.num_classes == 1 => {
                vec![format!("not {positive}"), positive.clone()]
            }
            labels => labels.to_vec(),
        }
    }

    /// Whether a network with `num_classes` outputs can have `names` names of classes.
    pub fn can_be_named(num_classes: usize, names: usize) -> bool {
        names == 0 || names == num_classes || (num_classes, names) == (1, 2)
    }

    /// Returns the reason why the card is not usable, if there is one.
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

/// Limit of the classes and of the channels; no network has this many.
const MANY: usize = 1 << 24;

/// Largest height and width of a network's images, in pixels.
const MAX_SIDE: u32 = 4096;

/// The origin of weights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the file.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Key layout of the file.
    pub layout: String,
    /// Address of the published file, if known.
    pub url: Option<String>,
    /// License of the weights as an SPDX expression, if known.
    #[serde(alias = "licence")]
    pub license: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_output_distinguishes_two_classes() {
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
