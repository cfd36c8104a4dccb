//! The variants and the key layouts of their checkpoints.

use zoo_core::{Family, KeyLayout, Paper, Variant};

use crate::ShuffleNetV1Config;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "shufflenet_v1",
    title: "ShuffleNet",
    paper: Paper {
        authors: "Zhang et al.",
        year: 2017,
        title: "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
        url: "https://arxiv.org/abs/1707.01083",
    },
};

pub(crate) const GROUPS_1: ShuffleNetV1Config =
    ShuffleNetV1Config { groups: 1, in_channels: 3, num_classes: 1000 };

const PYTORCHCV: &[KeyLayout] = &[KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem", "features.init_block.[conv|bn]"),
        ("stages.{s}.{b}.compress", "features.stage{s+1}.unit{b+1}.compress_[conv|bn]1"),
        ("stages.{s}.{b}.depthwise", "features.stage{s+1}.unit{b+1}.dw_[conv|bn]2"),
        ("stages.{s}.{b}.expand", "features.stage{s+1}.unit{b+1}.expand_[conv|bn]3"),
        ("classifier.linear", "output"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variants' names and sizes: the columns of the paper's table 1. The paper rounds their
/// multiply-accumulates to 143, 140, 137, 133 and 137 million.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<ShuffleNetV1Config>] = &[
    Variant {
        name: "shufflenet_v1_g1",
        config: ShuffleNetV1Config { groups: 1, ..GROUPS_1 },
        size: 224, params: Some(1_531_936), gmacs: Some(0.143), layouts: PYTORCHCV, weights: &[],
    },
    Variant {
        name: "shufflenet_v1_g2",
        config: ShuffleNetV1Config { groups: 2, ..GROUPS_1 },
        size: 224, params: Some(1_733_848), gmacs: Some(0.141), layouts: PYTORCHCV, weights: &[],
    },
    Variant {
        name: "shufflenet_v1_g3",
        config: ShuffleNetV1Config { groups: 3, ..GROUPS_1 },
        size: 224, params: Some(1_865_728), gmacs: Some(0.138), layouts: PYTORCHCV, weights: &[],
    },
    Variant {
        name: "shufflenet_v1_g4",
        config: ShuffleNetV1Config { groups: 4, ..GROUPS_1 },
        size: 224, params: Some(1_968_344), gmacs: Some(0.134), layouts: PYTORCHCV, weights: &[],
    },
    Variant {
        name: "shufflenet_v1_g8",
        config: ShuffleNetV1Config { groups: 8, ..GROUPS_1 },
        size: 224, params: Some(2_434_768), gmacs: Some(0.138), layouts: PYTORCHCV, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<ShuffleNetV1Config>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
