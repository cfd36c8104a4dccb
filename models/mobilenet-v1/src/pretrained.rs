//! The variants and the key layouts of their checkpoints.

use zoo_core::layers::Activation;
use zoo_core::{Family, Implementation, KeyLayout, Paper, Preprocess, StemKind, Variant};

use crate::MobileNetV1Config;

/// The name, the title and the paper of the architecture.
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

pub(crate) const WIDTH_1: MobileNetV1Config = MobileNetV1Config {
    width_mult: 1.0,
    dropout: 0.0,
    activation: Activation::Relu,
    implementation: Implementation::PyTorch,
    stem: StemKind::ImageNet,
    in_channels: 3,
    num_classes: 1000,
};

const KERAS_PORT: MobileNetV1Config = MobileNetV1Config {
    dropout: 0.001,
    activation: Activation::Relu6,
    implementation: Implementation::Keras,
    ..WIDTH_1
};

const TIMM_PORT: MobileNetV1Config = MobileNetV1Config { activation: Activation::Relu6, ..WIDTH_1 };

/// The network for CIFAR-10 in `kuangliu/pytorch-cifar`, whose keys number all blocks in one list.
const CIFAR: MobileNetV1Config =
    MobileNetV1Config { stem: StemKind::Cifar, num_classes: 10, ..WIDTH_1 };

#[rustfmt::skip]
const KUANGLIU: &[KeyLayout] = &[KeyLayout {
    name: "kuangliu",
    rules: &[
        ("stem", "[conv|bn]1"),
        ("stages.{s}.{b}.depthwise", "layers.{#}.[conv|bn]1"),
        ("stages.{s}.{b}.pointwise", "layers.{#}.[conv|bn]2"),
        ("classifier.linear", "linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// pytorchcv's keys. They count stages and units from 1.
#[rustfmt::skip]
const PYTORCHCV: &[KeyLayout] = &[KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem", "features.init_block.[conv|bn]"),
        ("stages.{s}.{b}.depthwise", "features.stage{s+1}.unit{b+1}.dw_conv.[conv|bn]"),
        ("stages.{s}.{b}.pointwise", "features.stage{s+1}.unit{b+1}.pw_conv.[conv|bn]"),
        ("classifier.linear", "output"),
    ],
    ..KeyLayout::EMPTY
}];

#[rustfmt::skip]
const TIMM: &[KeyLayout] = &[KeyLayout {
    name: "timm",
    rules: &[
        ("stem", "[conv_stem|bn1]"),
        ("stages.{s}.{b}.depthwise", "blocks.{s}.{b}.[conv_dw|bn1]"),
        ("stages.{s}.{b}.pointwise", "blocks.{s}.{b}.[conv_pw|bn2]"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
}];

/// The names of the layers in `keras.applications`: with the classifier `conv_preds`, and with another
/// classifier on a network without its own.
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
    TRANSFORMERS,
];

/// The keys of `transformers`, which ported the networks from TensorFlow. TensorFlow's padding equals
/// Keras's for maps that can be halved without a remainder, as in the published sizes. The keys count
/// both layers of a block.
#[rustfmt::skip]
const TRANSFORMERS: KeyLayout = KeyLayout {
    name: "transformers",
    rules: &[
        ("stem", "mobilenet_v1.conv_stem.[convolution|normalization]"),
        ("stages.{s}.{b}.{layer}", "mobilenet_v1.layer.{#}.[convolution|normalization]"),
        ("classifier.linear", "classifier"),
    ],
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
};

/// Keys that number all blocks in one list, from 1.
#[rustfmt::skip]
const fn keras(classifier: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("stem", "conv1[|_bn]"),
        ("stages.{s}.{b}.depthwise", "conv_dw_{#+1}[|_bn]"),
        ("stages.{s}.{b}.pointwise", "conv_pw_{#+1}[|_bn]"),
        ("classifier.linear", classifier),
    ]
}

/// The variants' names and sizes: the widths of the paper's table 6 as in pytorchcv
/// (<https://github.com/osmr/pytorchcv>), timm's
/// `mobilenetv1_100` and `mobilenetv1_125`, and those of Keras.
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
        config: TIMM_PORT,
        size: 224, params: Some(4_231_976), gmacs: Some(0.569), layouts: TIMM,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_1_25_timm",
        config: MobileNetV1Config { width_mult: 1.25, ..TIMM_PORT },
        size: 224, params: Some(6_270_840), gmacs: Some(0.880), layouts: TIMM,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v1_cifar",
        config: CIFAR,
        size: 32, params: Some(3_217_226), gmacs: Some(0.046), layouts: KUANGLIU,
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

/// Returns the variant with this name: a row of [`VARIANTS`], or `mobilenet_v1_<width>` with an
/// underscore for the decimal point, such as `mobilenet_v1_0_35`. The suffix `_keras` selects
/// Keras's network, `_timm` timm's.
pub fn variant(name: &str) -> Option<Variant<MobileNetV1Config>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let width = name.strip_prefix("mobilenet_v1_")?;
    let (width, implementation, layouts) = if let Some(width) = width.strip_suffix("_keras") {
        (width, KERAS_PORT, KERAS)
    } else if let Some(width) = width.strip_suffix("_timm") {
        (width, TIMM_PORT, TIMM)
    } else {
        (width, WIDTH_1, PYTORCHCV)
    };
    let width_mult = zoo_core::parse_width(width)?;
    let config = MobileNetV1Config { width_mult, ..implementation };
    Some(Variant::unlisted(name, config, 224, layouts))
}
