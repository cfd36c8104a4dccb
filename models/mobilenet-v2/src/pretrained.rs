//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::layers::HeadKind;
use zoo_core::{Family, KeyLayout, Paper, Port, Preprocess, Variant, Weights};

use crate::MobileNetV2Config;

/// What the literature calls these networks.
pub const FAMILY: Family = Family {
    name: "mobilenet_v2",
    title: "MobileNetV2",
    paper: Paper {
        authors: "Sandler et al.",
        year: 2018,
        title: "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        url: "https://arxiv.org/abs/1801.04381",
    },
};

const WIDTH_1: MobileNetV2Config = MobileNetV2Config {
    width_mult: 1.0,
    dropout: 0.2,
    port: Port::PyTorch,
    head: HeadKind::FullyConnected,
    in_channels: 3,
    num_classes: 1000,
};

/// Keras has no dropout before the classifier.
const KERAS_PORT: MobileNetV2Config =
    MobileNetV2Config { dropout: 0.0, port: Port::Keras, ..WIDTH_1 };

/// torchvision numbers a block's layers, and the first block has no expansion.
#[rustfmt::skip]
const TORCHVISION: &[KeyLayout] = &[KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem.conv", "features.0.0"),
        ("stem.norm", "features.0.1"),
        ("blocks.0.depthwise.conv", "features.1.conv.0.0"),
        ("blocks.0.depthwise.norm", "features.1.conv.0.1"),
        ("blocks.0.project.conv", "features.1.conv.1"),
        ("blocks.0.project.norm", "features.1.conv.2"),
        ("blocks.{b}.expand.conv", "features.{b+1}.conv.0.0"),
        ("blocks.{b}.expand.norm", "features.{b+1}.conv.0.1"),
        ("blocks.{b}.depthwise.conv", "features.{b+1}.conv.1.0"),
        ("blocks.{b}.depthwise.norm", "features.{b+1}.conv.1.1"),
        ("blocks.{b}.project.conv", "features.{b+1}.conv.2"),
        ("blocks.{b}.project.norm", "features.{b+1}.conv.3"),
        ("head_conv.conv", "features.18.0"),
        ("head_conv.norm", "features.18.1"),
        ("classifier.linear", "classifier.1"),
    ],
    optional: &[],
    preprocess: None,
}];

/// The names of the layers in `keras.applications`.
#[rustfmt::skip]
const KERAS: &[KeyLayout] = &[KeyLayout {
    name: "Keras",
    rules: &[
        ("stem.conv", "Conv1"),
        ("stem.norm", "bn_Conv1"),
        ("blocks.0.{part}.conv", "expanded_conv_{part}"),
        ("blocks.0.{part}.norm", "expanded_conv_{part}_BN"),
        ("blocks.{b}.{part}.conv", "block_{b}_{part}"),
        ("blocks.{b}.{part}.norm", "block_{b}_{part}_BN"),
        ("head_conv.conv", "Conv_1"),
        ("head_conv.norm", "Conv_1_bn"),
        ("classifier.linear", "predictions"),
    ],
    optional: &[],
    preprocess: Some(Preprocess::TENSORFLOW),
}];

/// The variants' names, sizes and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<MobileNetV2Config>] = &[
    Variant {
        name: "mobilenet_v2",
        config: WIDTH_1,
        size: 224, params: Some(3_504_872), gmacs: Some(0.301), layouts: TORCHVISION,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth", "b0353104", 256, [71.878, 90.286]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth", "7ebf99e0", 232, [72.154, 90.822]),
        ],
    },
    Variant {
        name: "mobilenet_v2_keras",
        config: KERAS_PORT,
        size: 224, params: Some(3_504_872), gmacs: Some(0.301), layouts: KERAS,
        weights: &[],
    },
];

/// The variant with a name: a row of [`VARIANTS`], or `mobilenet_v2_w<width>` with an
/// underscore for the decimal point, such as `mobilenet_v2_w0_35`, and `_keras` behind it for
/// Keras's.
pub fn variant(name: &str) -> Option<Variant<MobileNetV2Config>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let width = name.strip_prefix("mobilenet_v2_w")?;
    let (width, port, layouts) = match width.strip_suffix("_keras") {
        Some(width) => (width, KERAS_PORT, KERAS),
        None => (width, WIDTH_1, TORCHVISION),
    };
    let width = width.replacen('_', ".", 1);
    let width_mult: f64 = width.parse().ok()?;
    if !(0.05..=20.0).contains(&width_mult) {
        return None;
    }
    let config = MobileNetV2Config { width_mult, ..port };
    Some(Variant::unlisted(name, config, 224, layouts))
}
