//! The networks that have names, and the spellings of their checkpoints.

use zoo_core::layers::{Activation, HeadKind};
use zoo_core::{Family, KeyLayout, Paper, Port, Preprocess, Variant};

use crate::MobileNetV1Config;

/// What the literature calls these networks.
pub const FAMILY: Family = Family {
    name: "mobilenet_v1",
    title: "MobileNet",
    paper: Paper {
        authors: "Howard et al.",
        year: 2017,
        title: "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
        url: "https://arxiv.org/abs/1704.04861",
    },
};

const WIDTH_1: MobileNetV1Config = MobileNetV1Config {
    width_mult: 1.0,
    dropout: 0.0,
    activation: Activation::Relu,
    port: Port::PyTorch,
    head: HeadKind::FullyConnected,
    in_channels: 3,
    num_classes: 1000,
};

const KERAS_PORT: MobileNetV1Config = MobileNetV1Config {
    dropout: 0.001,
    activation: Activation::Relu6,
    port: Port::Keras,
    ..WIDTH_1
};

/// pytorchcv counts stages and units from 1.
#[rustfmt::skip]
const PYTORCHCV: &[KeyLayout] = &[KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem.conv", "features.init_block.conv"),
        ("stem.norm", "features.init_block.bn"),
        ("stages.{s}.{b}.depthwise.conv", "features.stage{s+1}.unit{b+1}.dw_conv.conv"),
        ("stages.{s}.{b}.depthwise.norm", "features.stage{s+1}.unit{b+1}.dw_conv.bn"),
        ("stages.{s}.{b}.pointwise.conv", "features.stage{s+1}.unit{b+1}.pw_conv.conv"),
        ("stages.{s}.{b}.pointwise.norm", "features.stage{s+1}.unit{b+1}.pw_conv.bn"),
        ("classifier.linear", "output"),
    ],
    ..KeyLayout::EMPTY
}];

#[rustfmt::skip]
const TIMM: &[KeyLayout] = &[KeyLayout {
    name: "timm",
    rules: &[
        ("stem.conv", "conv_stem"),
        ("stem.norm", "bn1"),
        ("stages.{s}.{b}.depthwise.conv", "blocks.{s}.{b}.conv_dw"),
        ("stages.{s}.{b}.depthwise.norm", "blocks.{s}.{b}.bn1"),
        ("stages.{s}.{b}.pointwise.conv", "blocks.{s}.{b}.conv_pw"),
        ("stages.{s}.{b}.pointwise.norm", "blocks.{s}.{b}.bn2"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
}];

/// The names of the layers in `keras.applications`, with the classifier `conv_preds`, and with one
/// that was put on the network without its own.
const KERAS: &[KeyLayout] = &[
    KeyLayout {
        name: "Keras",
        rules: &keras("conv_preds"),
        preprocess: Some(Preprocess::TENSORFLOW),
        ..KeyLayout::EMPTY
    },
    KeyLayout {
        name: "Keras, fine-tuned",
        rules: &keras("predictions"),
        preprocess: Some(Preprocess::TENSORFLOW),
        ..KeyLayout::EMPTY
    },
];

/// Blocks are numbered through, from 1.
#[rustfmt::skip]
const fn keras(classifier: &'static str) -> [(&'static str, &'static str); 7] {
    [
        ("stem.conv", "conv1"),
        ("stem.norm", "conv1_bn"),
        ("stages.{s}.{b}.depthwise.conv", "conv_dw_{#+1}"),
        ("stages.{s}.{b}.depthwise.norm", "conv_dw_{#+1}_bn"),
        ("stages.{s}.{b}.pointwise.conv", "conv_pw_{#+1}"),
        ("stages.{s}.{b}.pointwise.norm", "conv_pw_{#+1}_bn"),
        ("classifier.linear", classifier),
    ]
}

/// The variants' names and sizes: the widths of the paper's table 6 as in pytorchcv
/// (<https://github.com/osmr/pytorchcv>), timm's
/// `mobilenetv1_100`, and those of Keras.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<MobileNetV1Config>] = &[
    Variant {
        name: "mobilenet_v1_1_0",
        config: WIDTH_1,
        size: 224, params: Some(4_231_976), gmacs: Some(0.569), layouts: PYTORCHCV,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_0_75",
        config: MobileNetV1Config { width_mult: 0.75, ..WIDTH_1 },
        size: 224, params: Some(2_585_560), gmacs: Some(0.325), layouts: PYTORCHCV,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_0_5",
        config: MobileNetV1Config { width_mult: 0.5, ..WIDTH_1 },
        size: 224, params: Some(1_331_592), gmacs: Some(0.149), layouts: PYTORCHCV,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_0_25",
        config: MobileNetV1Config { width_mult: 0.25, ..WIDTH_1 },
        size: 224, params: Some(470_072), gmacs: Some(0.041), layouts: PYTORCHCV,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_timm",
        config: MobileNetV1Config { activation: Activation::Relu6, ..WIDTH_1 },
        size: 224, params: Some(4_231_976), gmacs: Some(0.569), layouts: TIMM,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_1_0_keras",
        config: KERAS_PORT,
        size: 224, params: Some(4_231_976), gmacs: Some(0.569), layouts: KERAS,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_0_75_keras",
        config: MobileNetV1Config { width_mult: 0.75, ..KERAS_PORT },
        size: 224, params: Some(2_585_560), gmacs: Some(0.325), layouts: KERAS,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_0_5_keras",
        config: MobileNetV1Config { width_mult: 0.5, ..KERAS_PORT },
        size: 224, params: Some(1_331_592), gmacs: Some(0.149), layouts: KERAS,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_0_25_keras",
        config: MobileNetV1Config { width_mult: 0.25, ..KERAS_PORT },
        size: 224, params: Some(470_072), gmacs: Some(0.041), layouts: KERAS,
        weights: &[],
    },
];

/// The variant with a name: a row of [`VARIANTS`], or `mobilenet_v1_<width>` with an underscore
/// for the decimal point, such as `mobilenet_v1_0_35`, and `_keras` behind it for Keras's.
pub fn variant(name: &str) -> Option<Variant<MobileNetV1Config>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let width = name.strip_prefix("mobilenet_v1_")?;
    let (width, port, layouts) = match width.strip_suffix("_keras") {
        Some(width) => (width, KERAS_PORT, KERAS),
        None => (width, WIDTH_1, PYTORCHCV),
    };
    let width_mult = zoo_core::parse_width(width)?;
    let config = MobileNetV1Config { width_mult, ..port };
    Some(Variant::unlisted(name, config, 224, layouts))
}
