//! The variants, and the checkpoint that one of them can load.

use zoo_core::{Family, Implementation, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::XceptionConfig;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "xception",
    title: "Xception",
    paper: Paper {
        authors: "Chollet",
        year: 2016,
        title: "Xception: Deep Learning with Depthwise Separable Convolutions",
        url: "https://arxiv.org/abs/1610.02357",
    },
};

/// The keys of Cadene's `pretrained-models.pytorch`, which timm keeps. They also count a block's
/// activations; the first block has one less.
#[rustfmt::skip]
const TIMM: KeyLayout = KeyLayout {
    name: "timm",
    rules: &[
        ("stem.{c}", "[conv|bn]{c+1}"),
        ("blocks.0.convs.0.depthwise", "block1.rep.0.conv1"),
        ("blocks.0.convs.0.pointwise", "block1.rep.0.pointwise"),
        ("blocks.0.convs.0.norm", "block1.rep.1"),
        ("blocks.0.convs.1.depthwise", "block1.rep.3.conv1"),
        ("blocks.0.convs.1.pointwise", "block1.rep.3.pointwise"),
        ("blocks.0.convs.1.norm", "block1.rep.4"),
        ("blocks.{b}.convs.0.depthwise", "block{b+1}.rep.1.conv1"),
        ("blocks.{b}.convs.0.pointwise", "block{b+1}.rep.1.pointwise"),
        ("blocks.{b}.convs.0.norm", "block{b+1}.rep.2"),
        ("blocks.{b}.convs.1.depthwise", "block{b+1}.rep.4.conv1"),
        ("blocks.{b}.convs.1.pointwise", "block{b+1}.rep.4.pointwise"),
        ("blocks.{b}.convs.1.norm", "block{b+1}.rep.5"),
        ("blocks.{b}.convs.2.depthwise", "block{b+1}.rep.7.conv1"),
        ("blocks.{b}.convs.2.pointwise", "block{b+1}.rep.7.pointwise"),
        ("blocks.{b}.convs.2.norm", "block{b+1}.rep.8"),
        ("blocks.{b}.shortcut", "block{b+1}.skip[|bn]"),
        ("head_convs.{c}.depthwise", "conv{c+3}.conv1"),
        ("head_convs.{c}.pointwise", "conv{c+3}.pointwise"),
        ("head_convs.{c}.norm", "bn{c+3}"),
        ("classifier.linear", "fc"),
    ],
    ..KeyLayout::EMPTY
};

/// Cadene's keys: the module that loads the files calls `fc` `last_linear`.
const CADENE: KeyLayout = TIMM.renamed("Cadene", &[("fc", "last_linear")]);

/// pytorchcv's keys number the blocks from one stride of 2 to the next.
#[rustfmt::skip]
const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem.{c}", "features.init_block.conv{c+1}.[conv|bn]"),
        ("blocks.{b}.convs.{c}.norm", "features.stage{b:s+1}.unit{b:i+1}.body.block{c+1}.bn"),
        ("blocks.{b}.convs.{c}.depthwise", "features.stage{b:s+1}.unit{b:i+1}.body.block{c+1}.conv.dw_conv"),
        ("blocks.{b}.convs.{c}.pointwise", "features.stage{b:s+1}.unit{b:i+1}.body.block{c+1}.conv.pw_conv"),
        ("blocks.{b}.shortcut", "features.stage{b:s+1}.unit{b:i+1}.identity_conv.[conv|bn]"),
        ("head_convs.{c}.depthwise", "features.final_block.conv{c+1}.conv.dw_conv"),
        ("head_convs.{c}.pointwise", "features.final_block.conv{c+1}.conv.pw_conv"),
        ("head_convs.{c}.norm", "features.final_block.conv{c+1}.bn"),
        ("classifier.linear", "output"),
    ],
    depths: &[1, 1, 9, 1],
    ..KeyLayout::EMPTY
};

/// The names of the layers in `keras.applications`; the shortcuts have no names and are numbered.
#[rustfmt::skip]
const KERAS: &[KeyLayout] = &[KeyLayout {
    name: "Keras",
    rules: &[
        ("stem.{c}", "block1_conv{c+1}[|_bn]"),
        ("blocks.{b}.convs.{c}.norm", "block{b+2}_sepconv{c+1}_bn"),
        ("blocks.{b}.convs.{c}", "block{b+2}_sepconv{c+1}"),
        ("blocks.{b}.shortcut", "[conv2d|batch_normalization]_{#}"),
        ("head_convs.{c}.norm", "block14_sepconv{c+1}_bn"),
        ("head_convs.{c}", "block14_sepconv{c+1}"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
}];

pub(crate) const WITH_DROPOUT: XceptionConfig = XceptionConfig {
    dropout: 0.5,
    implementation: Implementation::PyTorch,
    in_channels: 3,
    num_classes: 1000,
};

/// The variants' names, sizes and weights.
///
/// File, preprocessing and license are timm's; the weights are from Keras.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<XceptionConfig>] = &[
    Variant {
        name: "xception",
        config: WITH_DROPOUT,
        size: 299, params: Some(22_855_952), gmacs: Some(8.357), layouts: &[TIMM, CADENE, PYTORCHCV],
        weights: &[
            Weights {
                tag: "imagenet1k",
                url: "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth",
                sha256: "43020ad28",
                labels: Labels::ImageNet1k,
                preprocess: Preprocess {
                    mean: [0.5; 3],
                    std: [0.5; 3],
                    ..Preprocess::IMAGENET.sized(333, 299).bicubic()
                },
                accuracy: Some([79.06, 94.40]),
                license: "Apache-2.0",
            },
        ],
    },
    Variant {
        name: "xception_keras",
        config: XceptionConfig { dropout: 0.0, implementation: Implementation::Keras, ..WITH_DROPOUT },
        size: 299, params: Some(22_855_952), gmacs: Some(8.357), layouts: KERAS,
        weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<XceptionConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
