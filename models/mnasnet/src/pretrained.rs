//! The variants and the checkpoints that they can load.

use zoo_core::{Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::{A1_STAGES, B1_STAGES, MnasNetConfig, Stage, Version};

/// The name, the title and the paper of the architecture.
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

pub(crate) const B1: MnasNetConfig = MnasNetConfig {
    version: Version::B1,
    stages: B1_STAGES,
    width_mult: 1.0,
    dropout: 0.2,
    momentum: 3e-4,
    in_channels: 3,
    num_classes: 1000,
};
const A1: MnasNetConfig =
    MnasNetConfig { version: Version::A1, stages: A1_STAGES, momentum: 0.1, ..B1 };

const B1_LAYOUTS: &[KeyLayout] = &[TORCHVISION, TIMM, PYTORCHCV_B1];
const A1_LAYOUTS: &[KeyLayout] = &[TIMM, PYTORCHCV_A1];

/// torchvision's keys number all layers, including activations; the stages with expansion are nested.
#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "layers.[0|1]"),
        ("stages.0.0.depthwise", "layers.[3|4]"),
        ("stages.0.0.project", "layers.[6|7]"),
        ("stages.{s}.{b}.expand", "layers.{s+7}.{b}.layers.[0|1]"),
        ("stages.{s}.{b}.depthwise", "layers.{s+7}.{b}.layers.[3|4]"),
        ("stages.{s}.{b}.project", "layers.{s+7}.{b}.layers.[6|7]"),
        ("head_conv", "layers.[14|15]"),
        ("classifier.linear", "classifier.1"),
    ],
    ..KeyLayout::EMPTY
};

/// timm's keys. The projection is `pwl`, in the first stage `pw`.
#[rustfmt::skip]
const TIMM: KeyLayout = KeyLayout {
    name: "timm",
    rules: &[
        ("stem", "[conv_stem|bn1]"),
        ("stages.0.{b}.depthwise", "blocks.0.{b}.[conv_dw|bn1]"),
        ("stages.0.{b}.project", "blocks.0.{b}.[conv_pw|bn2]"),
        ("stages.{s}.{b}.expand", "blocks.{s}.{b}.[conv_pw|bn1]"),
        ("stages.{s}.{b}.depthwise", "blocks.{s}.{b}.[conv_dw|bn2]"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "blocks.{s}.{b}.se.conv_reduce"),
        ("stages.{s}.{b}.squeeze_excite.expand", "blocks.{s}.{b}.se.conv_expand"),
        ("stages.{s}.{b}.project", "blocks.{s}.{b}.[conv_pwl|bn3]"),
        ("head_conv", "[conv_head|bn2]"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
};

/// The keys of a network of the search space, of which no checkpoints are published: the paths, with BatchNorm's name.
#[rustfmt::skip]
const SEARCHED: &[KeyLayout] = &[KeyLayout {
    name: "pytorch",
    rules: &[
        ("stem", "stem.[conv|bn]"),
        ("stages.{s}.{b}.expand", "stages.{s}.{b}.expand.[conv|bn]"),
        ("stages.{s}.{b}.depthwise", "stages.{s}.{b}.depthwise.[conv|bn]"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "stages.{s}.{b}.se.reduce"),
        ("stages.{s}.{b}.squeeze_excite.expand", "stages.{s}.{b}.se.expand"),
        ("stages.{s}.{b}.project", "stages.{s}.{b}.project.[conv|bn]"),
        ("convs.{s}.{b}.conv", "convs.{s}.{b}.[conv|bn]"),
        ("head_conv", "head.[conv|bn]"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
}];

/// pytorchcv's keys number the blocks from one stride of 2 to the next, so some of its stages are two
/// of ours.
#[rustfmt::skip]
const PYTORCHCV_B1: KeyLayout = KeyLayout {
    name: "pytorchcv",
    modules: &[
        ("stages.0.0", &[("unit", "init_block.conv2")]),
        ("stages.1.{b}", &[("unit", "stage1.unit{b+1}")]),
        ("stages.2.{b}", &[("unit", "stage2.unit{b+1}")]),
        ("stages.3.{b}", &[("unit", "stage3.unit{b+1}")]),
        ("stages.4.{b}", &[("unit", "stage3.unit{b+4}")]),
        ("stages.5.{b}", &[("unit", "stage4.unit{b+1}")]),
        ("stages.6.{b}", &[("unit", "final_block.conv1")]),
    ],
    rules: &[
        ("stem", "features.init_block.conv1.[conv|bn]"),
        ("@.expand", "features.<unit>.exp_conv.[conv|bn]"),
        ("@.depthwise", "features.<unit>.dw_conv.[conv|bn]"),
        ("@.squeeze_excite.reduce", "features.<unit>.se.conv1"),
        ("@.squeeze_excite.expand", "features.<unit>.se.conv2"),
        ("@.project", "features.<unit>.pw_conv.[conv|bn]"),
        ("head_conv", "features.final_block.conv2.[conv|bn]"),
        ("classifier.linear", "output"),
    ],
    ..KeyLayout::EMPTY
};
#[rustfmt::skip]
const PYTORCHCV_A1: KeyLayout = KeyLayout {
    modules: &[
        ("stages.0.0", &[("unit", "init_block.conv2")]),
        ("stages.1.{b}", &[("unit", "stage1.unit{b+1}")]),
        ("stages.2.{b}", &[("unit", "stage2.unit{b+1}")]),
        ("stages.3.{b}", &[("unit", "stage3.unit{b+1}")]),
        ("stages.4.{b}", &[("unit", "stage3.unit{b+5}")]),
        ("stages.5.{b}", &[("unit", "stage4.unit{b+1}")]),
        ("stages.6.{b}", &[("unit", "final_block.conv1")]),
    ],
    ..PYTORCHCV_B1
};

/// The variants' names, sizes and weights: B1 as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>), A1 as timm does, under the name
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
            license: "Apache-2.0",
        }],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`], or a network of another width with an
/// underscore for the decimal point: `mnasnet<width>` for B1, such as `mnasnet0_35`, and
/// `mnasnet_a1_w<width>` for A1; or `mnasnet_` and the codes of seven stages.
pub fn variant(name: &str) -> Option<Variant<MnasNetConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    if let Some(stages) = name.strip_prefix("mnasnet_").and_then(stages) {
        let config = MnasNetConfig { stages, ..A1 };
        return Some(Variant::unlisted(name, config, 224, SEARCHED));
    }
    let (width, config, layouts) = match name.strip_prefix("mnasnet_a1_w") {
        Some(width) => (width, A1, A1_LAYOUTS),
        None => (name.strip_prefix("mnasnet")?, B1, B1_LAYOUTS),
    };
    let config = MnasNetConfig { width_mult: zoo_core::parse_width(width)?, ..config };
    Some(Variant::unlisted(name, config, 224, layouts))
}

/// Parses the codes of seven stages.
fn stages(codes: &str) -> Option<[Stage; 7]> {
    let stages = codes.split('_').map(|code| code.parse().ok()).collect::<Option<Vec<Stage>>>()?;
    stages.try_into().ok()
}
