//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::{Family, Images, KeyLayout, Paper, Port, Preprocess, Variant, Weights};

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
    images: Images::ImageNet,
    in_channels: 3,
    num_classes: 1000,
};

/// Keras has no dropout before the classifier.
const KERAS_PORT: MobileNetV2Config =
    MobileNetV2Config { dropout: 0.0, port: Port::Keras, ..WIDTH_1 };

/// The network for CIFAR-10 and CIFAR-100 in `chenyaofo/pytorch-cifar-models`.
const CIFAR: MobileNetV2Config =
    MobileNetV2Config { images: Images::Cifar, num_classes: 10, ..WIDTH_1 };

const LAYOUTS: &[KeyLayout] =
    &[TORCHVISION, TIMM, TONYLINS, TONYLINS_SEQUENTIAL, D_LI14, OPENMMLAB];

/// Its keys and shapes are those for ImageNet; its files have names such as `cifar10_mobilenetv2_x1_0`.
const CIFAR_LAYOUTS: &[KeyLayout] = &[KeyLayout { file_prefix: "cifar", ..TORCHVISION }];

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

/// The keys of `tonylins/pytorch-mobilenet-v2`, which numbers a block's layers, activations too.
const TONYLINS: KeyLayout = KeyLayout {
    name: "tonylins",
    rules: &flat(["features.18.0", "features.18.1", "classifier"]),
    ..KeyLayout::EMPTY
};
const TONYLINS_SEQUENTIAL: KeyLayout =
    KeyLayout { rules: &flat(["features.18.0", "features.18.1", "classifier.1"]), ..TONYLINS };

/// The keys of `d-li14/mobilenetv2.pytorch`.
const D_LI14: KeyLayout = KeyLayout {
    name: "d-li14",
    rules: &flat(["conv.0", "conv.1", "classifier"]),
    ..KeyLayout::EMPTY
};

#[rustfmt::skip]
const fn flat([head_conv, head_norm, classifier]: [&'static str; 3]) -> [(&'static str, &'static str); 15] {
    [
        ("stem.conv", "features.0.0"),
        ("stem.norm", "features.0.1"),
        ("blocks.0.depthwise.conv", "features.1.conv.0"),
        ("blocks.0.depthwise.norm", "features.1.conv.1"),
        ("blocks.0.project.conv", "features.1.conv.3"),
        ("blocks.0.project.norm", "features.1.conv.4"),
        ("blocks.{b}.expand.conv", "features.{b+1}.conv.0"),
        ("blocks.{b}.expand.norm", "features.{b+1}.conv.1"),
        ("blocks.{b}.depthwise.conv", "features.{b+1}.conv.3"),
        ("blocks.{b}.depthwise.norm", "features.{b+1}.conv.4"),
        ("blocks.{b}.project.conv", "features.{b+1}.conv.6"),
        ("blocks.{b}.project.norm", "features.{b+1}.conv.7"),
        ("head_conv.conv", head_conv),
        ("head_conv.norm", head_norm),
        ("classifier.linear", classifier),
    ]
}

/// timm and OpenMMLab count the blocks of a stage, from stage 0 and from stage 1: for each block but
/// the first, its places there.
macro_rules! by_stage {
    ($layout:ident) => {
        $layout![
            1: "1.0" "2.0", 2: "1.1" "2.1",
            3: "2.0" "3.0", 4: "2.1" "3.1", 5: "2.2" "3.2",
            6: "3.0" "4.0", 7: "3.1" "4.1", 8: "3.2" "4.2", 9: "3.3" "4.3",
            10: "4.0" "5.0", 11: "4.1" "5.1", 12: "4.2" "5.2",
            13: "5.0" "6.0", 14: "5.1" "6.1", 15: "5.2" "6.2",
            16: "6.0" "7.0",
        ]
    };
}

macro_rules! timm {
    ($($block:literal: $place:literal $_place:literal),* $(,)?) => {
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

macro_rules! openmmlab {
    ($($block:literal: $_place:literal $place:literal),* $(,)?) => {
        KeyLayout {
            name: "OpenMMLab",
            rules: &[
                ("stem.conv", "backbone.conv1.conv"),
                ("stem.norm", "backbone.conv1.bn"),
                ("blocks.0.depthwise.conv", "backbone.layer1.0.conv.0.conv"),
                ("blocks.0.depthwise.norm", "backbone.layer1.0.conv.0.bn"),
                ("blocks.0.project.conv", "backbone.layer1.0.conv.1.conv"),
                ("blocks.0.project.norm", "backbone.layer1.0.conv.1.bn"),
                $(
                    (concat!("blocks.", $block, ".expand.conv"), concat!("backbone.layer", $place, ".conv.0.conv")),
                    (concat!("blocks.", $block, ".expand.norm"), concat!("backbone.layer", $place, ".conv.0.bn")),
                    (concat!("blocks.", $block, ".depthwise.conv"), concat!("backbone.layer", $place, ".conv.1.conv")),
                    (concat!("blocks.", $block, ".depthwise.norm"), concat!("backbone.layer", $place, ".conv.1.bn")),
                    (concat!("blocks.", $block, ".project.conv"), concat!("backbone.layer", $place, ".conv.2.conv")),
                    (concat!("blocks.", $block, ".project.norm"), concat!("backbone.layer", $place, ".conv.2.bn")),
                )*
                ("head_conv.conv", "backbone.conv2.conv"),
                ("head_conv.norm", "backbone.conv2.bn"),
                ("classifier.linear", "head.fc"),
            ],
            ..KeyLayout::EMPTY
        }
    };
}

const TIMM: KeyLayout = by_stage!(timm);
const OPENMMLAB: KeyLayout = by_stage!(openmmlab);

/// The names of the layers in `keras.applications`.
#[rustfmt::skip]
const KERAS: KeyLayout = KeyLayout {
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
};

/// The keys of `transformers`, whose networks are TensorFlow's: the first block is a part of the stem.
#[rustfmt::skip]
const TRANSFORMERS: KeyLayout = KeyLayout {
    name: "transformers",
    rules: &[
        ("stem.conv", "mobilenet_v2.conv_stem.first_conv.convolution"),
        ("stem.norm", "mobilenet_v2.conv_stem.first_conv.normalization"),
        ("blocks.0.depthwise.conv", "mobilenet_v2.conv_stem.conv_3x3.convolution"),
        ("blocks.0.depthwise.norm", "mobilenet_v2.conv_stem.conv_3x3.normalization"),
        ("blocks.0.project.conv", "mobilenet_v2.conv_stem.reduce_1x1.convolution"),
        ("blocks.0.project.norm", "mobilenet_v2.conv_stem.reduce_1x1.normalization"),
        ("blocks.{b}.expand.conv", "mobilenet_v2.layer.{#}.expand_1x1.convolution"),
        ("blocks.{b}.expand.norm", "mobilenet_v2.layer.{#}.expand_1x1.normalization"),
        ("blocks.{b}.depthwise.conv", "mobilenet_v2.layer.{#}.conv_3x3.convolution"),
        ("blocks.{b}.depthwise.norm", "mobilenet_v2.layer.{#}.conv_3x3.normalization"),
        ("blocks.{b}.project.conv", "mobilenet_v2.layer.{#}.reduce_1x1.convolution"),
        ("blocks.{b}.project.norm", "mobilenet_v2.layer.{#}.reduce_1x1.normalization"),
        ("head_conv.conv", "mobilenet_v2.conv_1x1.convolution"),
        ("head_conv.norm", "mobilenet_v2.conv_1x1.normalization"),
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

/// The variant with a name: a row of [`VARIANTS`], or `mobilenet_v2_w<width>` with an
/// underscore for the decimal point, such as `mobilenet_v2_w0_35`, and behind it `_keras` for
/// Keras's or `_cifar` for the one for CIFAR.
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
