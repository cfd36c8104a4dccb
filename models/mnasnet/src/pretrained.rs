//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::{Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::{MnasNetConfig, Version};

/// What the literature calls these networks.
pub const FAMILY: Family = Family {
    name: "mnasnet",
    title: "MnasNet",
    paper: Paper {
        authors: "Tan et al.",
        year: 2018,
        title: "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
        url: "https://arxiv.org/abs/1807.11626",
    },
};

const B1: MnasNetConfig = MnasNetConfig {
    version: Version::B1,
    width_mult: 1.0,
    dropout: 0.2,
    momentum: 3e-4,
    in_channels: 3,
    num_classes: 1000,
};
const A1: MnasNetConfig = MnasNetConfig { version: Version::A1, momentum: 0.1, ..B1 };

const B1_LAYOUTS: &[KeyLayout] = &[TORCHVISION, TIMM, PYTORCHCV_B1];
const A1_LAYOUTS: &[KeyLayout] = &[TIMM, PYTORCHCV_A1];

/// torchvision numbers all layers through, activations too, but for the stages that expand.
#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem.conv", "layers.0"),
        ("stem.norm", "layers.1"),
        ("stages.0.0.depthwise.conv", "layers.3"),
        ("stages.0.0.depthwise.norm", "layers.4"),
        ("stages.0.0.project.conv", "layers.6"),
        ("stages.0.0.project.norm", "layers.7"),
        ("stages.{s}.{b}.expand.conv", "layers.{s+7}.{b}.layers.0"),
        ("stages.{s}.{b}.expand.norm", "layers.{s+7}.{b}.layers.1"),
        ("stages.{s}.{b}.depthwise.conv", "layers.{s+7}.{b}.layers.3"),
        ("stages.{s}.{b}.depthwise.norm", "layers.{s+7}.{b}.layers.4"),
        ("stages.{s}.{b}.project.conv", "layers.{s+7}.{b}.layers.6"),
        ("stages.{s}.{b}.project.norm", "layers.{s+7}.{b}.layers.7"),
        ("head_conv.conv", "layers.14"),
        ("head_conv.norm", "layers.15"),
        ("classifier.linear", "classifier.1"),
    ],
    ..KeyLayout::EMPTY
};

/// timm calls the projection `pwl`, and the first stage's `pw`.
#[rustfmt::skip]
const TIMM: KeyLayout = KeyLayout {
    name: "timm",
    rules: &[
        ("stem.conv", "conv_stem"),
        ("stem.norm", "bn1"),
        ("stages.0.{b}.depthwise.conv", "blocks.0.{b}.conv_dw"),
        ("stages.0.{b}.depthwise.norm", "blocks.0.{b}.bn1"),
        ("stages.0.{b}.project.conv", "blocks.0.{b}.conv_pw"),
        ("stages.0.{b}.project.norm", "blocks.0.{b}.bn2"),
        ("stages.{s}.{b}.expand.conv", "blocks.{s}.{b}.conv_pw"),
        ("stages.{s}.{b}.expand.norm", "blocks.{s}.{b}.bn1"),
        ("stages.{s}.{b}.depthwise.conv", "blocks.{s}.{b}.conv_dw"),
        ("stages.{s}.{b}.depthwise.norm", "blocks.{s}.{b}.bn2"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "blocks.{s}.{b}.se.conv_reduce"),
        ("stages.{s}.{b}.squeeze_excite.expand", "blocks.{s}.{b}.se.conv_expand"),
        ("stages.{s}.{b}.project.conv", "blocks.{s}.{b}.conv_pwl"),
        ("stages.{s}.{b}.project.norm", "blocks.{s}.{b}.bn3"),
        ("head_conv.conv", "conv_head"),
        ("head_conv.norm", "bn2"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
};

/// pytorchcv counts the blocks between two steps, so that two of our stages are one of its own.
macro_rules! pytorchcv {
    ($($block:literal: $place:literal),* $(,)?) => {
        KeyLayout {
            name: "pytorchcv",
            rules: &[
                ("stem.conv", "features.init_block.conv1.conv"),
                ("stem.norm", "features.init_block.conv1.bn"),
                ("stages.0.0.depthwise.conv", "features.init_block.conv2.dw_conv.conv"),
                ("stages.0.0.depthwise.norm", "features.init_block.conv2.dw_conv.bn"),
                ("stages.0.0.project.conv", "features.init_block.conv2.pw_conv.conv"),
                ("stages.0.0.project.norm", "features.init_block.conv2.pw_conv.bn"),
                $(
                    (concat!("stages.", $block, ".expand.conv"), concat!("features.", $place, ".exp_conv.conv")),
                    (concat!("stages.", $block, ".expand.norm"), concat!("features.", $place, ".exp_conv.bn")),
                    (concat!("stages.", $block, ".depthwise.conv"), concat!("features.", $place, ".dw_conv.conv")),
                    (concat!("stages.", $block, ".depthwise.norm"), concat!("features.", $place, ".dw_conv.bn")),
                    (concat!("stages.", $block, ".squeeze_excite.reduce"), concat!("features.", $place, ".se.conv1")),
                    (concat!("stages.", $block, ".squeeze_excite.expand"), concat!("features.", $place, ".se.conv2")),
                    (concat!("stages.", $block, ".project.conv"), concat!("features.", $place, ".pw_conv.conv")),
                    (concat!("stages.", $block, ".project.norm"), concat!("features.", $place, ".pw_conv.bn")),
                )*
                ("head_conv.conv", "features.final_block.conv2.conv"),
                ("head_conv.norm", "features.final_block.conv2.bn"),
                ("classifier.linear", "output"),
            ],
            ..KeyLayout::EMPTY
        }
    };
}

#[rustfmt::skip]
const PYTORCHCV_B1: KeyLayout = pytorchcv![
    "1.{b}": "stage1.unit{b+1}",
    "2.{b}": "stage2.unit{b+1}",
    "3.{b}": "stage3.unit{b+1}", "4.{b}": "stage3.unit{b+4}",
    "5.{b}": "stage4.unit{b+1}",
    "6.{b}": "final_block.conv1",
];
#[rustfmt::skip]
const PYTORCHCV_A1: KeyLayout = pytorchcv![
    "1.{b}": "stage1.unit{b+1}",
    "2.{b}": "stage2.unit{b+1}",
    "3.{b}": "stage3.unit{b+1}", "4.{b}": "stage3.unit{b+5}",
    "5.{b}": "stage4.unit{b+1}",
    "6.{b}": "final_block.conv1",
];

/// The variants' names, sizes and weights: B1 as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>), A1 as timm does, where it is called
/// `semnasnet_100`.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<MnasNetConfig>] = &[
    Variant {
        name: "mnasnet0_5",
        config: MnasNetConfig { width_mult: 0.5, ..B1 },
        size: 224, params: Some(2_218_512), gmacs: Some(0.104), layouts: B1_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mnasnet0.5_top1_67.823-3ffadce67e.pth", "3ffadce67e", 256, [67.734, 87.490]),
        ],
    },
    Variant {
        name: "mnasnet0_75",
        config: MnasNetConfig { width_mult: 0.75, ..B1 },
        size: 224, params: Some(3_170_208), gmacs: Some(0.215), layouts: B1_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mnasnet0_75-7090bc5f.pth", "7090bc5f", 232, [71.180, 90.496]),
        ],
    },
    Variant {
        name: "mnasnet1_0",
        config: B1,
        size: 224, params: Some(4_383_312), gmacs: Some(0.314), layouts: B1_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mnasnet1.0_top1_73.512-f206786ef8.pth", "f206786ef8", 256, [73.456, 91.510]),
        ],
    },
    Variant {
        name: "mnasnet1_3",
        config: MnasNetConfig { width_mult: 1.3, ..B1 },
        size: 224, params: Some(6_282_256), gmacs: Some(0.526), layouts: B1_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mnasnet1_3-a4c69d6f.pth", "a4c69d6f", 232, [76.506, 93.522]),
        ],
    },
    Variant {
        name: "mnasnet_a1",
        config: A1,
        size: 224, params: Some(3_887_038), gmacs: Some(0.312), layouts: A1_LAYOUTS,
        weights: &[Weights {
            tag: "rmsp_in1k",
            url: "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/mnasnet_a1-d9418771.pth",
            sha256: "d9418771",
            labels: Labels::ImageNet1k,
            preprocess: Preprocess::IMAGENET.bicubic(),
            accuracy: Some([75.45, 92.61]),
            licence: "Apache-2.0",
        }],
    },
];

/// The variant with a name: a row of [`VARIANTS`], or one of another width with an underscore for the
/// decimal point: B1 as `mnasnet<width>`, such as `mnasnet0_35`, A1 as `mnasnet_a1_w<width>`.
pub fn variant(name: &str) -> Option<Variant<MnasNetConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let (width, config, layouts) = match name.strip_prefix("mnasnet_a1_w") {
        Some(width) => (width, A1, A1_LAYOUTS),
        None => (name.strip_prefix("mnasnet")?, B1, B1_LAYOUTS),
    };
    let config = MnasNetConfig { width_mult: zoo_core::parse_width(width)?, ..config };
    Some(Variant::unlisted(name, config, 224, layouts))
}
