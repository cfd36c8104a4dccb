//! The variant and the checkpoints that it can load.

use zoo_core::{Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::InceptionV4Config;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "inception_v4",
    title: "Inception-v4",
    paper: Paper {
        authors: "Szegedy et al.",
        year: 2016,
        title: "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
        url: "https://arxiv.org/abs/1602.07261",
    },
};

pub(crate) const DEFAULT: InceptionV4Config =
    InceptionV4Config { dropout: 0.2, in_channels: 3, num_classes: 1000 };

/// timm's keys: one list of modules, and a number for each layer of a branch, unless the branch has
/// only one layer; in Inception-C, underscores separate the numbers of branches. `pretrainedmodels`
/// has the same keys.
#[rustfmt::skip]
const TIMM: &[KeyLayout] = &[KeyLayout {
    name: "timm",
    rules: &[
        ("stem.branches.0.{i}.Conv", "features.{i}.[conv|bn]"),

        ("stages.0.1.branches.{b}.{i}.Conv", "features.4.branch{b}.{i}.[conv|bn]"),
        ("stages.0.{m}.branches.{b}.0.Conv", "features.{m+3}.conv.[conv|bn]"),

        ("stages.1.{m}.branches.0.0.Conv", "features.{m+6}.branch0.[conv|bn]"),
        ("stages.1.{m}.branches.{b}.{i}.Conv", "features.{m+6}.branch{b}.{i}.[conv|bn]"),

        ("stages.2.{m}.branches.0.0.Conv", "features.{m+10}.branch0.[conv|bn]"),
        ("stages.2.{m}.branches.{b}.{i}.Conv", "features.{m+10}.branch{b}.{i}.[conv|bn]"),

        ("stages.3.0.branches.{b}.{i}.Conv", "features.18.branch{b}.{i}.[conv|bn]"),
        ("stages.3.{m}.branches.0.0.Conv", "features.{m+18}.branch0.[conv|bn]"),
        ("stages.3.{m}.branches.3.1.Conv", "features.{m+18}.branch3.1.[conv|bn]"),
        ("stages.3.{m}.branches.{b}.{i}.Conv", "features.{m+18}.branch{b}_{i}.[conv|bn]"),
        ("stages.3.{m}.branches.{b}.{i}.Fork.wide", "features.{m+18}.branch{b}_{i}a.[conv|bn]"),
        ("stages.3.{m}.branches.{b}.{i}.Fork.tall", "features.{m+18}.branch{b}_{i}b.[conv|bn]"),

        ("classifier.linear", "last_linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variant's size and weights, as `pretrainedmodels` states them
/// (<https://github.com/Cadene/pretrained-models.pytorch>). Its file has TensorFlow's class 0,
/// the background, before the 1,000 other classes.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<InceptionV4Config>] = &[
    Variant {
        name: "inception_v4",
        config: DEFAULT,
        size: 299, params: Some(42_679_816), gmacs: Some(12.254), layouts: TIMM,
        weights: &[Weights {
            tag: "imagenet1k",
            url: "http://data.lip6.fr/cadene/pretrainedmodels/inceptionv4-8e4777a0.pth",
            sha256: "8e4777a0",
            labels: Labels::ImageNet1k,
            preprocess: Preprocess {
                mean: [0.5; 3],
                std: [0.5; 3],
                ..Preprocess::IMAGENET.sized(341, 299)
            },
            accuracy: Some([80.062, 94.926]),
            license: "Apache-2.0",
        }],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<InceptionV4Config>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
