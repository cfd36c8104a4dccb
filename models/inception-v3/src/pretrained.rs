//! The variants and the checkpoints that they can load.

use zoo_core::{Family, Implementation, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::InceptionV3Config;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "inception_v3",
    title: "Inception v3",
    paper: Paper {
        authors: "Szegedy et al.",
        year: 2015,
        title: "Rethinking the Inception Architecture for Computer Vision",
        url: "https://arxiv.org/abs/1512.00567",
    },
};

/// torchvision's keys name modules by the grid's number and a letter, which starts with `b` in the
/// first grid, and branches by their kernels.
#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem.branches.0.0.Conv", "Conv2d_1a_3x3.[conv|bn]"),
        ("stem.branches.0.1.Conv", "Conv2d_2a_3x3.[conv|bn]"),
        ("stem.branches.0.2.Conv", "Conv2d_2b_3x3.[conv|bn]"),
        ("stem.branches.0.4.Conv", "Conv2d_3b_1x1.[conv|bn]"),
        ("stem.branches.0.5.Conv", "Conv2d_4a_3x3.[conv|bn]"),

        ("stages.0.{m}.branches.0.0.Conv", "Mixed_5{m+b}.branch1x1.[conv|bn]"),
        ("stages.0.{m}.branches.1.{i}.Conv", "Mixed_5{m+b}.branch5x5_{i+1}.[conv|bn]"),
        ("stages.0.{m}.branches.2.{i}.Conv", "Mixed_5{m+b}.branch3x3dbl_{i+1}.[conv|bn]"),
        ("stages.0.{m}.branches.3.1.Conv", "Mixed_5{m+b}.branch_pool.[conv|bn]"),

        ("stages.1.0.branches.0.0.Conv", "Mixed_6a.branch3x3.[conv|bn]"),
        ("stages.1.0.branches.1.{i}.Conv", "Mixed_6a.branch3x3dbl_{i+1}.[conv|bn]"),
        ("stages.1.{m}.branches.0.0.Conv", "Mixed_6{m+a}.branch1x1.[conv|bn]"),
        ("stages.1.{m}.branches.1.{i}.Conv", "Mixed_6{m+a}.branch7x7_{i+1}.[conv|bn]"),
        ("stages.1.{m}.branches.2.{i}.Conv", "Mixed_6{m+a}.branch7x7dbl_{i+1}.[conv|bn]"),
        ("stages.1.{m}.branches.3.1.Conv", "Mixed_6{m+a}.branch_pool.[conv|bn]"),

        ("stages.2.0.branches.0.{i}.Conv", "Mixed_7a.branch3x3_{i+1}.[conv|bn]"),
        ("stages.2.0.branches.1.{i}.Conv", "Mixed_7a.branch7x7x3_{i+1}.[conv|bn]"),
        ("stages.2.{m}.branches.0.0.Conv", "Mixed_7{m+a}.branch1x1.[conv|bn]"),
        ("stages.2.{m}.branches.1.{i}.Conv", "Mixed_7{m+a}.branch3x3_{i+1}.[conv|bn]"),
        ("stages.2.{m}.branches.1.{i}.Fork.wide", "Mixed_7{m+a}.branch3x3_{i+1}a.[conv|bn]"),
        ("stages.2.{m}.branches.1.{i}.Fork.tall", "Mixed_7{m+a}.branch3x3_{i+1}b.[conv|bn]"),
        ("stages.2.{m}.branches.2.{i}.Conv", "Mixed_7{m+a}.branch3x3dbl_{i+1}.[conv|bn]"),
        ("stages.2.{m}.branches.2.{i}.Fork.wide", "Mixed_7{m+a}.branch3x3dbl_{i+1}a.[conv|bn]"),
        ("stages.2.{m}.branches.2.{i}.Fork.tall", "Mixed_7{m+a}.branch3x3dbl_{i+1}b.[conv|bn]"),
        ("stages.2.{m}.branches.3.1.Conv", "Mixed_7{m+a}.branch_pool.[conv|bn]"),

        ("aux.convs.{i}", "AuxLogits.conv{i}.[conv|bn]"),
        ("aux.classifier.linear", "AuxLogits.fc"),
        ("classifier.linear", "fc"),
    ],
    optional: &["AuxLogits"],
    ..KeyLayout::EMPTY
};

/// torchvision's keys as `pretrained-models.pytorch` renames them.
const CADENE: KeyLayout = TORCHVISION.renamed("Cadene", &[("fc", "last_linear")]);

/// The names of the layers in `keras.applications`: numbers, in the order of their creation.
#[rustfmt::skip]
const KERAS: &[KeyLayout] = &[KeyLayout {
    name: "Keras",
    rules: &[
        ("stem.branches.0.{i}.Conv", "[conv2d|batch_normalization]_{#}"),
        ("stages.{s}.{m}.branches.{b}.{i}.Conv", "[conv2d|batch_normalization]_{#}"),
        ("stages.{s}.{m}.branches.{b}.{i}.Fork.{shape}", "[conv2d|batch_normalization]_{#}"),
        ("aux", "aux"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
}];

pub(crate) const WITH_DROPOUT: InceptionV3Config = InceptionV3Config {
    dropout: 0.5,
    implementation: Implementation::PyTorch,
    in_channels: 3,
    num_classes: 1000,
};

/// The variants' size and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>). Its 27,161,264 parameters include the
/// auxiliary classifier's 3,326,696. The weights expect TensorFlow's preprocessing; torchvision's
/// network converts its usual input to it (`transform_input`).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<InceptionV3Config>] = &[
    Variant {
        name: "inception_v3",
        config: WITH_DROPOUT,
        size: 299, params: Some(23_834_568), gmacs: Some(5.713), layouts: &[TORCHVISION, CADENE],
        weights: &[Weights {
            tag: "imagenet1k_v1",
            url: "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
            sha256: "0cc3c7bd",
            labels: Labels::ImageNet1k,
            preprocess: Preprocess {
                mean: [0.5; 3],
                std: [0.5; 3],
                ..Preprocess::IMAGENET.sized(342, 299)
            },
            accuracy: Some([77.294, 93.450]),
            license: "BSD-3-Clause",
        }],
    },
    Variant {
        name: "inception_v3_keras",
        config: InceptionV3Config { dropout: 0.0, implementation: Implementation::Keras, ..WITH_DROPOUT },
        size: 299, params: Some(23_834_568), gmacs: Some(5.713), layouts: KERAS,
        weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<InceptionV3Config>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
