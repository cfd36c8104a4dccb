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

const LAYOUTS: &[KeyLayout] = &[TORCHVISION, TIMM];

/// torchvision numbers a block's layers, and the first block has no expansion.
#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
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
    ..KeyLayout::EMPTY
};

/// timm counts the blocks of a stage.
macro_rules! timm {
    ($($block:literal: $place:literal),* $(,)?) => {
        KeyLayout {
            name: "timm",
            rules: &[
                ("stem.conv", "conv_stem"),
                ("stem.norm", "bn1"),
                ("blocks.0.depthwise.conv", "blocks.0.0.conv_dw"),
                ("blocks.0.depthwise.norm", "blocks.0.0.bn1"),
                ("blocks.0.project.conv", "blocks.0.0.conv_pw"),
                ("blocks.0.project.norm", "blocks.0.0.bn2"),
                $(
                    (concat!("blocks.", $block, ".expand.conv"), concat!("blocks.", $place, ".conv_pw")),
                    (concat!("blocks.", $block, ".expand.norm"), concat!("blocks.", $place, ".bn1")),
                    (concat!("blocks.", $block, ".depthwise.conv"), concat!("blocks.", $place, ".conv_dw")),
                    (concat!("blocks.", $block, ".depthwise.norm"), concat!("blocks.", $place, ".bn2")),
                    (concat!("blocks.", $block, ".project.conv"), concat!("blocks.", $place, ".conv_pwl")),
                    (concat!("blocks.", $block, ".project.norm"), concat!("blocks.", $place, ".bn3")),
                )*
                ("head_conv.conv", "conv_head"),
                ("head_conv.norm", "bn2"),
                ("classifier.linear", "classifier"),
            ],
            ..KeyLayout::EMPTY
        }
    };
}

#[rustfmt::skip]
const TIMM: KeyLayout = timm![
    1: "1.0", 2: "1.1",
    3: "2.0", 4: "2.1", 5: "2.2",
    6: "3.0", 7: "3.1", 8: "3.2", 9: "3.3",
    10: "4.0", 11: "4.1", 12: "4.2",
    13: "5.0", 14: "5.1", 15: "5.2",
    16: "6.0",
];

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
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
}];

/// The variants' names, sizes and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<MobileNetV2Config>] = &[
    Variant {
        name: "mobilenet_v2",
        config: WIDTH_1,
        size: 224, params: Some(3_504_872), gmacs: Some(0.301), layouts: LAYOUTS,
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
        None => (width, WIDTH_1, LAYOUTS),
    };
    let width_mult = zoo_core::parse_width(width)?;
    let config = MobileNetV2Config { width_mult, ..port };
    Some(Variant::unlisted(name, config, 224, layouts))
}
