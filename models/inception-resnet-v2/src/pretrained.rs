//! The variant and the checkpoints that it can load.

use zoo_core::{Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::InceptionResNetV2Config;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "inception_resnet_v2",
    title: "Inception-ResNet-v2",
    paper: Paper {
        authors: "Szegedy et al.",
        year: 2016,
        title: "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
        url: "https://arxiv.org/abs/1602.07261",
    },
};

pub(crate) const DEFAULT: InceptionResNetV2Config =
    InceptionResNetV2Config { dropout: 0.2, in_channels: 3, num_classes: 1000 };

/// The key layouts. The first two differ in the name of the classifier.
const LAYOUTS: &[KeyLayout] = &[
    KeyLayout { name: "timm", rules: &rules("classif"), ..KeyLayout::EMPTY },
    KeyLayout { name: "Cadene", rules: &rules("last_linear"), ..KeyLayout::EMPTY },
    KERAS,
];

/// The names of the layers in `keras.applications`; layers without a name are numbered in the order of
/// their creation.
#[rustfmt::skip]
const KERAS: KeyLayout = KeyLayout {
    name: "Keras",
    rules: &[
        ("stem.branches.0.{i}.Conv", "[conv2d|batch_normalization]_{#}"),
        ("stages.{s}.entry.branches.{b}.{i}.Conv", "[conv2d|batch_normalization]_{#}"),
        ("stages.{s}.blocks.{n}.inception.branches.{b}.{i}.Conv", "[conv2d|batch_normalization]_{#}"),
        ("stages.0.blocks.{n}.expand", "block35_{n+1}_conv"),
        ("stages.1.blocks.{n}.expand", "block17_{n+1}_conv"),
        ("stages.2.blocks.{n}.expand", "block8_{n+1}_conv"),
        ("head_conv", "conv_7b[|_bn]"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
};

/// Returns rules with TensorFlow's names. A layer of a branch has a number, unless the branch has only
/// one layer; the last block has its own name outside its stage.
#[rustfmt::skip]
const fn rules(classifier: &'static str) -> [(&'static str, &'static str); 21] {
    [
        ("stem.branches.0.0.Conv", "conv2d_1a.[conv|bn]"),
        ("stem.branches.0.1.Conv", "conv2d_2a.[conv|bn]"),
        ("stem.branches.0.2.Conv", "conv2d_2b.[conv|bn]"),
        ("stem.branches.0.4.Conv", "conv2d_3b.[conv|bn]"),
        ("stem.branches.0.5.Conv", "conv2d_4a.[conv|bn]"),
        ("stages.0.entry.branches.0.0.Conv", "mixed_5b.branch0.[conv|bn]"),
        ("stages.0.entry.branches.{b}.{i}.Conv", "mixed_5b.branch{b}.{i}.[conv|bn]"),
        ("stages.1.entry.branches.0.0.Conv", "mixed_6a.branch0.[conv|bn]"),
        ("stages.1.entry.branches.{b}.{i}.Conv", "mixed_6a.branch{b}.{i}.[conv|bn]"),
        ("stages.2.entry.branches.{b}.{i}.Conv", "mixed_7a.branch{b}.{i}.[conv|bn]"),
        ("stages.2.blocks.9.inception.branches.0.0.Conv", "block8.branch0.[conv|bn]"),
        ("stages.2.blocks.9.inception.branches.{b}.{i}.Conv", "block8.branch{b}.{i}.[conv|bn]"),
        ("stages.2.blocks.9.expand", "block8.conv2d"),
        ("stages.0.blocks.{n}.inception.branches.0.0.Conv", "repeat.{n}.branch0.[conv|bn]"),
        ("stages.0.blocks.{n}.inception.branches.{b}.{i}.Conv", "repeat.{n}.branch{b}.{i}.[conv|bn]"),
        ("stages.0.blocks.{n}.expand", "repeat.{n}.conv2d"),
        ("stages.{s}.blocks.{n}.inception.branches.0.0.Conv", "repeat_{s}.{n}.branch0.[conv|bn]"),
        ("stages.{s}.blocks.{n}.inception.branches.{b}.{i}.Conv", "repeat_{s}.{n}.branch{b}.{i}.[conv|bn]"),
        ("stages.{s}.blocks.{n}.expand", "repeat_{s}.{n}.conv2d"),
        ("head_conv", "conv2d_7b.[conv|bn]"),
        ("classifier.linear", classifier),
    ]
}

/// The variant's size and weights, as `pretrainedmodels` states them
/// (<https://github.com/Cadene/pretrained-models.pytorch>). Its file has TensorFlow's class 0,
/// the background, before the 1,000 other classes.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<InceptionResNetV2Config>] = &[
    Variant {
        name: "inception_resnet_v2",
        config: DEFAULT,
        size: 299, params: Some(55_843_464), gmacs: Some(13.156), layouts: LAYOUTS,
        weights: &[Weights {
            tag: "imagenet1k",
            url: "http://data.lip6.fr/cadene/pretrainedmodels/inceptionresnetv2-520b38e4.pth",
            sha256: "520b38e4",
            labels: Labels::ImageNet1k,
            preprocess: Preprocess {
                mean: [0.5; 3],
                std: [0.5; 3],
                ..Preprocess::IMAGENET.sized(341, 299)
            },
            accuracy: Some([80.170, 95.234]),
            license: "Apache-2.0",
        }],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<InceptionResNetV2Config>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
