//! The variants and the checkpoints that they can load.

use zoo_core::{Family, KeyLayout, Paper, StemKind, Variant, Weights};

use crate::ShuffleNetV2Config;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "shufflenet_v2",
    title: "ShuffleNet V2",
    paper: Paper {
        authors: "Ma et al.",
        year: 2018,
        title: "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        url: "https://arxiv.org/abs/1807.11164",
    },
};

pub(crate) const WIDTH_1: ShuffleNetV2Config = ShuffleNetV2Config {
    channels: [116, 232, 464],
    head_channels: 1024,
    stem: StemKind::ImageNet,
    in_channels: 3,
    num_classes: 1000,
};

/// The network for CIFAR-10 and CIFAR-100 in `chenyaofo/pytorch-cifar-models`.
const CIFAR: ShuffleNetV2Config =
    ShuffleNetV2Config { stem: StemKind::Cifar, num_classes: 10, ..WIDTH_1 };

const LAYOUTS: &[KeyLayout] = &[TORCHVISION, OPENMMLAB];

/// The network for CIFAR has the keys and shapes of the one for ImageNet; its files have names such as
/// `cifar10_shufflenetv2_x1_0`.
const CIFAR_LAYOUTS: &[KeyLayout] = &[KeyLayout { file_prefix: "cifar", ..TORCHVISION }];

/// torchvision's keys number a branch's layers, including activations.
#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "conv1.[0|1]"),
        ("stages.{s}.{b}.shortcut.depthwise", "stage{s+2}.{b}.branch1.[0|1]"),
        ("stages.{s}.{b}.shortcut.project", "stage{s+2}.{b}.branch1.[2|3]"),
        ("stages.{s}.{b}.first", "stage{s+2}.{b}.branch2.[0|1]"),
        ("stages.{s}.{b}.depthwise", "stage{s+2}.{b}.branch2.[3|4]"),
        ("stages.{s}.{b}.last", "stage{s+2}.{b}.branch2.[5|6]"),
        ("head_conv", "conv5.[0|1]"),
        ("classifier.linear", "fc"),
    ],
    ..KeyLayout::EMPTY
};

/// OpenMMLab's keys begin with `backbone.` or `head.`; the last stage of the backbone is `head_conv`.
#[rustfmt::skip]
const OPENMMLAB: KeyLayout = KeyLayout {
    name: "OpenMMLab",
    rules: &[
        ("stem", "backbone.conv1.[conv|bn]"),
        ("stages.{s}.{b}.shortcut.depthwise", "backbone.layers.{s}.{b}.branch1.0.[conv|bn]"),
        ("stages.{s}.{b}.shortcut.project", "backbone.layers.{s}.{b}.branch1.1.[conv|bn]"),
        ("stages.{s}.{b}.first", "backbone.layers.{s}.{b}.branch2.0.[conv|bn]"),
        ("stages.{s}.{b}.depthwise", "backbone.layers.{s}.{b}.branch2.1.[conv|bn]"),
        ("stages.{s}.{b}.last", "backbone.layers.{s}.{b}.branch2.2.[conv|bn]"),
        ("head_conv", "backbone.layers.3.[conv|bn]"),
        ("classifier.linear", "head.fc"),
    ],
    ..KeyLayout::EMPTY
};

/// The variants' names, sizes and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<ShuffleNetV2Config>] = &[
    Variant {
        name: "shufflenet_v2_x0_5",
        config: ShuffleNetV2Config { channels: [48, 96, 192], ..WIDTH_1 },
        size: 224, params: Some(1_366_792), gmacs: Some(0.040), layouts: LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/shufflenetv2_x0.5-f707e7126e.pth", "f707e7126e", 256, [60.552, 81.746]),
        ],
    },
    Variant {
        name: "shufflenet_v2_x1_0",
        config: WIDTH_1,
        size: 224, params: Some(2_278_604), gmacs: Some(0.145), layouts: LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/shufflenetv2_x1-5666bf0f80.pth", "5666bf0f80", 256, [69.362, 88.316]),
        ],
    },
    Variant {
        name: "shufflenet_v2_x1_5",
        config: ShuffleNetV2Config { channels: [176, 352, 704], ..WIDTH_1 },
        size: 224, params: Some(3_503_624), gmacs: Some(0.296), layouts: LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/shufflenetv2_x1_5-3c479a10.pth", "3c479a10", 232, [72.996, 91.086]),
        ],
    },
    Variant {
        name: "shufflenet_v2_x2_0",
        config: ShuffleNetV2Config { channels: [244, 488, 976], head_channels: 2048, ..WIDTH_1 },
        size: 224, params: Some(7_393_996), gmacs: Some(0.583), layouts: LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/shufflenetv2_x2_0-8be3c8ee.pth", "8be3c8ee", 232, [76.230, 93.006]),
        ],
    },
    Variant {
        name: "shufflenet_v2_x0_5_cifar",
        config: ShuffleNetV2Config { channels: [48, 96, 192], ..CIFAR },
        size: 32, params: Some(352_042), gmacs: Some(0.011), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "shufflenet_v2_x1_0_cifar",
        config: CIFAR,
        size: 32, params: Some(1_263_854), gmacs: Some(0.045), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "shufflenet_v2_x1_5_cifar",
        config: ShuffleNetV2Config { channels: [176, 352, 704], ..CIFAR },
        size: 32, params: Some(2_488_874), gmacs: Some(0.094), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "shufflenet_v2_x2_0_cifar",
        config: ShuffleNetV2Config { channels: [244, 488, 976], head_channels: 2048, ..CIFAR },
        size: 32, params: Some(5_365_486), gmacs: Some(0.188), layouts: CIFAR_LAYOUTS, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<ShuffleNetV2Config>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
