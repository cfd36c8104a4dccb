//! The variant and the checkpoints that it can load.

use zoo_core::{Family, KeyLayout, Paper, Variant, Weights};

use crate::AlexNetConfig;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "alexnet",
    title: "AlexNet",
    paper: Paper {
        authors: "Krizhevsky et al.",
        year: 2012,
        title: "ImageNet Classification with Deep Convolutional Neural Networks",
        url: "https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html",
    },
};

pub(crate) const DEFAULT: AlexNetConfig =
    AlexNetConfig { dropout: 0.5, in_channels: 3, num_classes: 1000 };

/// torchvision's keys. They also count activations, poolings and dropout.
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stages.0.0", "features.0"),
        ("stages.1.0", "features.3"),
        ("stages.2.0", "features.6"),
        ("stages.2.1", "features.8"),
        ("stages.2.2", "features.10"),
        ("hidden.0", "classifier.1"),
        ("hidden.1", "classifier.4"),
        ("classifier", "classifier.6"),
    ],
    ..KeyLayout::EMPTY
};

const CADENE: KeyLayout = TORCHVISION.renamed(
    "Cadene",
    &[
        ("features", "_features"),
        ("classifier.1", "linear0"),
        ("classifier.4", "linear1"),
        ("classifier.6", "last_linear"),
    ],
);

const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stages.{s}.{c}", "features.stage{s+1}.unit{c+1}.conv"),
        ("hidden.{h}", "output.fc{h+1}.fc"),
        ("classifier", "output.fc3"),
    ],
    ..KeyLayout::EMPTY
};

/// The only variant, with its size and weights as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<AlexNetConfig>] = &[
    Variant {
        name: "alexnet",
        config: DEFAULT,
        size: 224, params: Some(61_100_840), gmacs: Some(0.714), layouts: &[TORCHVISION, CADENE, PYTORCHCV],
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79", 256, [56.522, 79.066]),
        ],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<AlexNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
