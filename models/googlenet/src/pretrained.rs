//! The variant and the checkpoints that it can load.

use zoo_core::{Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::GoogLeNetConfig;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "googlenet",
    title: "GoogLeNet",
    paper: Paper {
        authors: "Szegedy et al.",
        year: 2014,
        title: "Going Deeper with Convolutions",
        url: "https://arxiv.org/abs/1409.4842",
    },
};

pub(crate) const DEFAULT: GoogLeNetConfig =
    GoogLeNetConfig { dropout: 0.2, in_channels: 3, num_classes: 1000 };

#[rustfmt::skip]
const TORCHVISION: &[KeyLayout] = &[KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "conv1.[conv|bn]"),
        ("conv2.{c}", "conv{c+2}.[conv|bn]"),
        ("stages.{s}.{m}.conv1x1", "inception{s+3}{m+a}.branch1.[conv|bn]"),
        ("stages.{s}.{m}.reduce3x3", "inception{s+3}{m+a}.branch2.0.[conv|bn]"),
        ("stages.{s}.{m}.conv3x3", "inception{s+3}{m+a}.branch2.1.[conv|bn]"),
        ("stages.{s}.{m}.reduce5x5", "inception{s+3}{m+a}.branch3.0.[conv|bn]"),
        ("stages.{s}.{m}.conv5x5", "inception{s+3}{m+a}.branch3.1.[conv|bn]"),
        ("stages.{s}.{m}.project", "inception{s+3}{m+a}.branch4.1.[conv|bn]"),
        ("aux.{a}.conv", "aux{a+1}.conv.[conv|bn]"),
        ("aux.{a}.hidden", "aux{a+1}.fc1"),
        ("aux.{a}.classifier", "aux{a+1}.fc2"),
        ("classifier.linear", "fc"),
    ],
    optional: &["aux1", "aux2"],
    ..KeyLayout::EMPTY
}];

/// The only variant, its size without auxiliary classifiers, and its weights as torchvision
/// states them (<https://docs.pytorch.org/vision/stable/models.html>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<GoogLeNetConfig>] = &[
    Variant {
        name: "googlenet",
        config: DEFAULT,
        size: 224, params: Some(6_624_904), gmacs: Some(1.498), layouts: TORCHVISION,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/googlenet-1378be20.pth", "1378be20", 256, [69.778, 89.530]),
        ],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<GoogLeNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}

/// Weights that were trained with a mean and a standard deviation of 0.5. torchvision preprocesses
/// images as for its other networks and converts them inside the network (`transform_input`).
const fn imagenet(
    tag: &'static str,
    url: &'static str,
    sha256: &'static str,
    resize: u32,
    accuracy: [f64; 2],
) -> Weights {
    Weights {
        tag,
        url,
        sha256,
        labels: Labels::ImageNet1k,
        preprocess: Preprocess {
            mean: [0.5; 3],
            std: [0.5; 3],
            ..Preprocess::IMAGENET.sized(resize, 224)
        },
        accuracy: Some(accuracy),
        license: "BSD-3-Clause",
    }
}
