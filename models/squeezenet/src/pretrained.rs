//! The variants and the checkpoints that they can load.

use zoo_core::{Family, KeyLayout, Paper, Variant, Weights};

use crate::{SqueezeNetConfig, Version};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "squeezenet",
    title: "SqueezeNet",
    paper: Paper {
        authors: "Iandola et al.",
        year: 2016,
        title: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
        url: "https://arxiv.org/abs/1602.07360",
    },
};

pub(crate) const V1_0: SqueezeNetConfig =
    SqueezeNetConfig { version: Version::V1_0, dropout: 0.5, in_channels: 3, num_classes: 1000 };
const V1_1: SqueezeNetConfig = SqueezeNetConfig { version: Version::V1_1, ..V1_0 };

/// torchvision's keys also count activations and poolings; the gaps in the numbers are poolings.
#[rustfmt::skip]
const TORCHVISION_1_0: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "features.0"),
        ("fires.0", "features.3"),
        ("fires.1", "features.4"),
        ("fires.2", "features.5"),
        ("fires.7", "features.12"),
        ("fires.{f}", "features.{f+4}"),
        ("classifier", "classifier.1"),
    ],
    ..KeyLayout::EMPTY
};
#[rustfmt::skip]
const TORCHVISION_1_1: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "features.0"),
        ("fires.0", "features.3"),
        ("fires.1", "features.4"),
        ("fires.2", "features.6"),
        ("fires.3", "features.7"),
        ("fires.{f}", "features.{f+5}"),
        ("classifier", "classifier.1"),
    ],
    ..KeyLayout::EMPTY
};

/// torchvision's keys as `pretrained-models.pytorch` renames them.
const CADENE: &[(&str, &str)] = &[("classifier.1", "last_conv")];

/// pytorchcv's keys number the modules between two poolings.
const PYTORCHCV_1_0: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem", "features.init_block.conv"),
        ("fires.{f}.{p}", "features.stage{f:s+1}.unit{f:i+1}.{p}.conv"),
        ("classifier", "output.final_conv"),
    ],
    depths: &[3, 4, 1],
    ..KeyLayout::EMPTY
};
const PYTORCHCV_1_1: KeyLayout = KeyLayout { depths: &[2, 2, 4], ..PYTORCHCV_1_0 };

/// The variants' names, sizes and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<SqueezeNetConfig>] = &[
    Variant {
        name: "squeezenet1_0",
        config: V1_0,
        size: 224, params: Some(1_248_424), gmacs: Some(0.819), layouts: &[TORCHVISION_1_0, TORCHVISION_1_0.renamed("Cadene", CADENE), PYTORCHCV_1_0],
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth", "b66bff10", 256, [58.092, 80.420]),
        ],
    },
    Variant {
        name: "squeezenet1_1",
        config: V1_1,
        size: 224, params: Some(1_235_496), gmacs: Some(0.349), layouts: &[TORCHVISION_1_1, TORCHVISION_1_1.renamed("Cadene", CADENE), PYTORCHCV_1_1],
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "b8a52dc0", 256, [58.178, 80.624]),
        ],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<SqueezeNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
