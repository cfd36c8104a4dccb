//! The variants and the checkpoints that they can load.

use zoo_core::{Color, Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::InceptionV2Config;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "inception_v2",
    title: "Inception v2",
    paper: Paper {
        authors: "Ioffe & Szegedy",
        year: 2015,
        title: "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        url: "https://arxiv.org/abs/1502.03167",
    },
};

pub(crate) const PLAIN: InceptionV2Config =
    InceptionV2Config { squeeze_reduction: None, in_channels: 3, num_classes: 1000 };

/// The keys in the file of `pretrainedmodels`: Caffe's names, with modules from 3a on.
#[rustfmt::skip]
const CADENE: &[KeyLayout] = &[KeyLayout {
    name: "Cadene",
    rules: &[
        ("stem", "conv1_7x7_s2[|_bn]"),
        ("conv2.0", "conv2_3x3_reduce[|_bn]"),
        ("conv2.1", "conv2_3x3[|_bn]"),
        ("stages.{s}.{m}.conv1x1", "inception_{s+3}{m+a}_1x1[|_bn]"),
        ("stages.{s}.{m}.conv3x3.0", "inception_{s+3}{m+a}_3x3_reduce[|_bn]"),
        ("stages.{s}.{m}.conv3x3.1", "inception_{s+3}{m+a}_3x3[|_bn]"),
        ("stages.{s}.{m}.double3x3.0", "inception_{s+3}{m+a}_double_3x3_reduce[|_bn]"),
        ("stages.{s}.{m}.double3x3.{i}", "inception_{s+3}{m+a}_double_3x3_{i}[|_bn]"),
        ("stages.{s}.{m}.project", "inception_{s+3}{m+a}_pool_proj[|_bn]"),
        ("stages.{s}.{m}.squeeze_excite.reduce", "inception_{s+3}{m+a}_se.fc1"),
        ("stages.{s}.{m}.squeeze_excite.expand", "inception_{s+3}{m+a}_se.fc2"),
        ("classifier.linear", "last_linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variants' names, sizes and weights; those of `inception_v2` are as `pretrainedmodels`
/// states them (<https://github.com/Cadene/pretrained-models.pytorch>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<InceptionV2Config>] = &[
    Variant {
        name: "inception_v2",
        config: PLAIN,
        size: 224, params: Some(11_295_240), gmacs: Some(2.033), layouts: CADENE,
        weights: &[Weights {
            tag: "imagenet1k",
            url: "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",
            sha256: "52deb4733",
            labels: Labels::ImageNet1k,
            preprocess: CAFFE,
            accuracy: Some([73.524, 91.562]),
            license: "NOASSERTION",
        }],
    },
    Variant {
        name: "se_inception_v2",
        config: InceptionV2Config { squeeze_reduction: Some(16), ..PLAIN },
        size: 224, params: Some(11_941_638), gmacs: Some(2.033), layouts: CADENE,
        weights: &[],
    },
];

/// Preprocessing in Caffe: values from 0 to 255 minus the mean of each channel, in the order blue,
/// green, red.
const CAFFE: Preprocess = Preprocess {
    color: Color::Bgr,
    mean: [104.0 / 255.0, 117.0 / 255.0, 128.0 / 255.0],
    std: [1.0 / 255.0; 3],
    ..Preprocess::IMAGENET
};

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<InceptionV2Config>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
