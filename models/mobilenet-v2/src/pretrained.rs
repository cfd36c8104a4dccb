//! The variants and the checkpoints that they can load.

use zoo_core::{Family, Implementation, KeyLayout, Paper, Preprocess, StemKind, Variant, Weights};

use crate::MobileNetV2Config;

/// The name, the title and the paper of the architecture.
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

pub(crate) const WIDTH_1: MobileNetV2Config = MobileNetV2Config {
    width_mult: 1.0,
    dropout: 0.2,
    implementation: Implementation::PyTorch,
    stem: StemKind::ImageNet,
    in_channels: 3,
    num_classes: 1000,
};

/// Keras's networks, which have no dropout before the classifier.
const KERAS_PORT: MobileNetV2Config =
    MobileNetV2Config { dropout: 0.0, implementation: Implementation::Keras, ..WIDTH_1 };

/// The network for CIFAR-10 and CIFAR-100 in `chenyaofo/pytorch-cifar-models`.
const CIFAR: MobileNetV2Config =
    MobileNetV2Config { stem: StemKind::Cifar, num_classes: 10, ..WIDTH_1 };

const LAYOUTS: &[KeyLayout] =
    &[TORCHVISION, TIMM, TONYLINS, TONYLINS_SEQUENTIAL, D_LI14, OPENMMLAB];

/// The network for CIFAR has the keys and shapes of the one for ImageNet; its files have names such as
/// `cifar10_mobilenetv2_x1_0`.
const CIFAR_LAYOUTS: &[KeyLayout] = &[KeyLayout { file_prefix: "cifar", ..TORCHVISION }];

/// torchvision's keys number a block's layers; the first block has no expansion.
#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "features.0.[0|1]"),
        ("blocks.0.depthwise", "features.1.conv.0.[0|1]"),
        ("blocks.0.project", "features.1.conv.[1|2]"),
        ("blocks.{b}.expand", "features.{b+1}.conv.0.[0|1]"),
        ("blocks.{b}.depthwise", "features.{b+1}.conv.1.[0|1]"),
        ("blocks.{b}.project", "features.{b+1}.conv.[2|3]"),
        ("head_conv", "features.18.[0|1]"),
        ("classifier.linear", "classifier.1"),
    ],
    ..KeyLayout::EMPTY
};

/// The keys of `tonylins/pytorch-mobilenet-v2`, which number a block's layers, including activations.
const TONYLINS: KeyLayout = KeyLayout {
    name: "tonylins",
    rules: &flat(["features.18.[0|1]", "classifier"]),
    ..KeyLayout::EMPTY
};
const TONYLINS_SEQUENTIAL: KeyLayout =
    KeyLayout { rules: &flat(["features.18.[0|1]", "classifier.1"]), ..TONYLINS };

/// The keys of `d-li14/mobilenetv2.pytorch`.
const D_LI14: KeyLayout =
    KeyLayout { name: "d-li14", rules: &flat(["conv.[0|1]", "classifier"]), ..KeyLayout::EMPTY };

#[rustfmt::skip]
const fn flat([head_conv, classifier]: [&'static str; 2]) -> [(&'static str, &'static str); 8] {
    [
        ("stem", "features.0.[0|1]"),
        ("blocks.0.depthwise", "features.1.conv.[0|1]"),
        ("blocks.0.project", "features.1.conv.[3|4]"),
        ("blocks.{b}.expand", "features.{b+1}.conv.[0|1]"),
        ("blocks.{b}.depthwise", "features.{b+1}.conv.[3|4]"),
        ("blocks.{b}.project", "features.{b+1}.conv.[6|7]"),
        ("head_conv", head_conv),
        ("classifier.linear", classifier),
    ]
}

/// Number of blocks in each stage, for the keys of timm and OpenMMLab.
const DEPTHS: &[usize] = &[1, 2, 3, 4, 3, 3, 1];

/// The first block has no expansion, so its layers have lower numbers.
#[rustfmt::skip]
const TIMM: KeyLayout = KeyLayout {
    name: "timm",
    rules: &[
        ("stem", "[conv_stem|bn1]"),
        ("blocks.0.depthwise", "blocks.0.0.[conv_dw|bn1]"),
        ("blocks.0.project", "blocks.0.0.[conv_pw|bn2]"),
        ("blocks.{b}.expand", "blocks.{b:s}.{b:i}.[conv_pw|bn1]"),
        ("blocks.{b}.depthwise", "blocks.{b:s}.{b:i}.[conv_dw|bn2]"),
        ("blocks.{b}.project", "blocks.{b:s}.{b:i}.[conv_pwl|bn3]"),
        ("head_conv", "[conv_head|bn2]"),
        ("classifier.linear", "classifier"),
    ],
    depths: DEPTHS,
    ..KeyLayout::EMPTY
};
#[rustfmt::skip]
const OPENMMLAB: KeyLayout = KeyLayout {
    name: "OpenMMLab",
    rules: &[
        ("stem", "backbone.conv1.[conv|bn]"),
        ("blocks.0.depthwise", "backbone.layer1.0.conv.0.[conv|bn]"),
        ("blocks.0.project", "backbone.layer1.0.conv.1.[conv|bn]"),
        ("blocks.{b}.expand", "backbone.layer{b:s+1}.{b:i}.conv.0.[conv|bn]"),
        ("blocks.{b}.depthwise", "backbone.layer{b:s+1}.{b:i}.conv.1.[conv|bn]"),
        ("blocks.{b}.project", "backbone.layer{b:s+1}.{b:i}.conv.2.[conv|bn]"),
        ("head_conv", "backbone.conv2.[conv|bn]"),
        ("classifier.linear", "head.fc"),
    ],
    depths: DEPTHS,
    ..KeyLayout::EMPTY
};

/// The names of the layers in `keras.applications`.
#[rustfmt::skip]
const KERAS: KeyLayout = KeyLayout {
    name: "Keras",
    rules: &[
        ("stem", "[|bn_]Conv1"),
        ("blocks.0.{part}", "expanded_conv_{part}[|_BN]"),
        ("blocks.{b}.{part}", "block_{b}_{part}[|_BN]"),
        ("head_conv", "Conv_1[|_bn]"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
};

/// The keys of `transformers`, whose networks are TensorFlow's: the first block belongs to the stem.
#[rustfmt::skip]
const TRANSFORMERS: KeyLayout = KeyLayout {
    name: "transformers",
    rules: &[
        ("stem", "mobilenet_v2.conv_stem.first_conv.[convolution|normalization]"),
        ("blocks.0.depthwise", "mobilenet_v2.conv_stem.conv_3x3.[convolution|normalization]"),
        ("blocks.0.project", "mobilenet_v2.conv_stem.reduce_1x1.[convolution|normalization]"),
        ("blocks.{b}.expand", "mobilenet_v2.layer.{#}.expand_1x1.[convolution|normalization]"),
        ("blocks.{b}.depthwise", "mobilenet_v2.layer.{#}.conv_3x3.[convolution|normalization]"),
        ("blocks.{b}.project", "mobilenet_v2.layer.{#}.reduce_1x1.[convolution|normalization]"),
        ("head_conv", "mobilenet_v2.conv_1x1.[convolution|normalization]"),
        ("classifier.linear", "classifier"),
    ],
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
};

const KERAS_LAYOUTS: &[KeyLayout] = &[KERAS, TRANSFORMERS];

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
        size: 224, params: Some(3_504_872), gmacs: Some(0.301), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v2_w0_5_cifar",
        config: MobileNetV2Config { width_mult: 0.5, ..CIFAR },
        size: 32, params: Some(700_490), gmacs: Some(0.028), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "mobilenet_v2_w0_75_cifar",
        config: MobileNetV2Config { width_mult: 0.75, ..CIFAR },
        size: 32, params: Some(1_368_234), gmacs: Some(0.059), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "mobilenet_v2_cifar",
        config: CIFAR,
        size: 32, params: Some(2_236_682), gmacs: Some(0.088), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "mobilenet_v2_w1_4_cifar",
        config: MobileNetV2Config { width_mult: 1.4, ..CIFAR },
        size: 32, params: Some(4_333_706), gmacs: Some(0.170), layouts: CIFAR_LAYOUTS, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`], or `mobilenet_v2_w<width>` with an
/// underscore for the decimal point, such as `mobilenet_v2_w0_35`. The suffix `_keras` selects
/// Keras's network, `_cifar` the one for CIFAR.
pub fn variant(name: &str) -> Option<Variant<MobileNetV2Config>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let width = name.strip_prefix("mobilenet_v2_w")?;
    let (width, config, size, layouts) = if let Some(width) = width.strip_suffix("_keras") {
        (width, KERAS_PORT, 224, KERAS_LAYOUTS)
    } else if let Some(width) = width.strip_suffix("_cifar") {
        (width, CIFAR, 32, CIFAR_LAYOUTS)
    } else {
        (width, WIDTH_1, 224, LAYOUTS)
    };
    let width_mult = zoo_core::parse_width(width)?;
    let config = MobileNetV2Config { width_mult, ..config };
    Some(Variant::unlisted(name, config, size, layouts))
}
