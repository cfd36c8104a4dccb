//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::{Family, KeyLayout, Paper, Preprocess, Variant, Weights};

use crate::{MobileNetV3Config, Size, Source};

/// What the literature calls these networks.
pub const FAMILY: Family = Family {
    name: "mobilenet_v3",
    title: "MobileNetV3",
    paper: Paper {
        authors: "Howard et al.",
        year: 2019,
        title: "Searching for MobileNetV3",
        url: "https://arxiv.org/abs/1905.02244",
    },
};

const LARGE: MobileNetV3Config = MobileNetV3Config {
    size: Size::Large,
    width_mult: 1.0,
    source: Source::Torchvision,
    dropout: 0.2,
    in_channels: 3,
    num_classes: 1000,
};
const SMALL: MobileNetV3Config = MobileNetV3Config { size: Size::Small, ..LARGE };
const LARGE_TIMM: MobileNetV3Config = MobileNetV3Config { source: Source::Timm, ..LARGE };
const SMALL_TIMM: MobileNetV3Config = MobileNetV3Config { source: Source::Timm, ..SMALL };
const LARGE_TF: MobileNetV3Config = MobileNetV3Config { source: Source::TensorFlow, ..LARGE };
const SMALL_TF: MobileNetV3Config = MobileNetV3Config { source: Source::TensorFlow, ..SMALL };

const LARGE_LAYOUTS: &[KeyLayout] = &[TORCHVISION_LARGE, OPENMMLAB_LARGE];
const SMALL_LAYOUTS: &[KeyLayout] = &[TORCHVISION_SMALL, OPENMMLAB_SMALL];

/// torchvision numbers a block's layers, so that the projection's number tells whether the block
/// expands and squeezes. The first block does neither; of the others, those named here don't
/// squeeze.
#[rustfmt::skip]
const TORCHVISION_LARGE: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem.conv", "features.0.0"),
        ("stem.norm", "features.0.1"),
        ("blocks.0.depthwise.conv", "features.1.block.0.0"),
        ("blocks.0.depthwise.norm", "features.1.block.0.1"),
        ("blocks.0.project.conv", "features.1.block.1.0"),
        ("blocks.0.project.norm", "features.1.block.1.1"),
        ("blocks.1.project.conv", "features.2.block.2.0"),
        ("blocks.1.project.norm", "features.2.block.2.1"),
        ("blocks.2.project.conv", "features.3.block.2.0"),
        ("blocks.2.project.norm", "features.3.block.2.1"),
        ("blocks.6.project.conv", "features.7.block.2.0"),
        ("blocks.6.project.norm", "features.7.block.2.1"),
        ("blocks.7.project.conv", "features.8.block.2.0"),
        ("blocks.7.project.norm", "features.8.block.2.1"),
        ("blocks.8.project.conv", "features.9.block.2.0"),
        ("blocks.8.project.norm", "features.9.block.2.1"),
        ("blocks.9.project.conv", "features.10.block.2.0"),
        ("blocks.9.project.norm", "features.10.block.2.1"),
        ("blocks.{b}.expand.conv", "features.{b+1}.block.0.0"),
        ("blocks.{b}.expand.norm", "features.{b+1}.block.0.1"),
        ("blocks.{b}.depthwise.conv", "features.{b+1}.block.1.0"),
        ("blocks.{b}.depthwise.norm", "features.{b+1}.block.1.1"),
        ("blocks.{b}.squeeze_excite.reduce", "features.{b+1}.block.2.fc1"),
        ("blocks.{b}.squeeze_excite.expand", "features.{b+1}.block.2.fc2"),
        ("blocks.{b}.project.conv", "features.{b+1}.block.3.0"),
        ("blocks.{b}.project.norm", "features.{b+1}.block.3.1"),
        ("head_conv.conv", "features.16.0"),
        ("head_conv.norm", "features.16.1"),
        ("hidden", "classifier.0"),
        ("classifier", "classifier.3"),
    ],
    ..KeyLayout::EMPTY
};

/// Here the first block squeezes without expanding, the next two expand without squeezing.
#[rustfmt::skip]
const TORCHVISION_SMALL: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem.conv", "features.0.0"),
        ("stem.norm", "features.0.1"),
        ("blocks.0.depthwise.conv", "features.1.block.0.0"),
        ("blocks.0.depthwise.norm", "features.1.block.0.1"),
        ("blocks.0.squeeze_excite.reduce", "features.1.block.1.fc1"),
        ("blocks.0.squeeze_excite.expand", "features.1.block.1.fc2"),
        ("blocks.0.project.conv", "features.1.block.2.0"),
        ("blocks.0.project.norm", "features.1.block.2.1"),
        ("blocks.1.project.conv", "features.2.block.2.0"),
        ("blocks.1.project.norm", "features.2.block.2.1"),
        ("blocks.2.project.conv", "features.3.block.2.0"),
        ("blocks.2.project.norm", "features.3.block.2.1"),
        ("blocks.{b}.expand.conv", "features.{b+1}.block.0.0"),
        ("blocks.{b}.expand.norm", "features.{b+1}.block.0.1"),
        ("blocks.{b}.depthwise.conv", "features.{b+1}.block.1.0"),
        ("blocks.{b}.depthwise.norm", "features.{b+1}.block.1.1"),
        ("blocks.{b}.squeeze_excite.reduce", "features.{b+1}.block.2.fc1"),
        ("blocks.{b}.squeeze_excite.expand", "features.{b+1}.block.2.fc2"),
        ("blocks.{b}.project.conv", "features.{b+1}.block.3.0"),
        ("blocks.{b}.project.norm", "features.{b+1}.block.3.1"),
        ("head_conv.conv", "features.12.0"),
        ("head_conv.norm", "features.12.1"),
        ("hidden", "classifier.0"),
        ("classifier", "classifier.3"),
    ],
    ..KeyLayout::EMPTY
};

/// OpenMMLab's networks are a backbone, whose last layer is the head's convolution, and a head.
const OPENMMLAB_LARGE: KeyLayout = KeyLayout {
    name: "OpenMMLab",
    rules: &openmmlab(["backbone.layer16.conv", "backbone.layer16.bn"]),
    ..KeyLayout::EMPTY
};
const OPENMMLAB_SMALL: KeyLayout = KeyLayout {
    rules: &openmmlab(["backbone.layer12.conv", "backbone.layer12.bn"]),
    ..OPENMMLAB_LARGE
};

#[rustfmt::skip]
const fn openmmlab([head_conv, head_norm]: [&'static str; 2]) -> [(&'static str, &'static str); 14] {
    [
        ("stem.conv", "backbone.layer0.conv"),
        ("stem.norm", "backbone.layer0.bn"),
        ("blocks.{b}.expand.conv", "backbone.layer{b+1}.expand_conv.conv"),
        ("blocks.{b}.expand.norm", "backbone.layer{b+1}.expand_conv.bn"),
        ("blocks.{b}.depthwise.conv", "backbone.layer{b+1}.depthwise_conv.conv"),
        ("blocks.{b}.depthwise.norm", "backbone.layer{b+1}.depthwise_conv.bn"),
        ("blocks.{b}.squeeze_excite.reduce", "backbone.layer{b+1}.se.conv1.conv"),
        ("blocks.{b}.squeeze_excite.expand", "backbone.layer{b+1}.se.conv2.conv"),
        ("blocks.{b}.project.conv", "backbone.layer{b+1}.linear_conv.conv"),
        ("blocks.{b}.project.norm", "backbone.layer{b+1}.linear_conv.bn"),
        ("head_conv.conv", head_conv),
        ("head_conv.norm", head_norm),
        ("hidden", "head.layers.0.fc"),
        ("classifier", "head.layers.1.fc"),
    ]
}

/// timm counts the blocks of a stage, and the last stage is the head's convolution: that stage's number,
/// and for each block but the first its place.
macro_rules! timm {
    ($last:literal; $($block:literal: $place:literal),* $(,)?) => {
        KeyLayout {
            name: "timm",
            rules: &[
                ("stem.conv", "conv_stem"),
                ("stem.norm", "bn1"),
                ("blocks.0.depthwise.conv", "blocks.0.0.conv_dw"),
                ("blocks.0.depthwise.norm", "blocks.0.0.bn1"),
                ("blocks.0.squeeze_excite.reduce", "blocks.0.0.se.conv_reduce"),
                ("blocks.0.squeeze_excite.expand", "blocks.0.0.se.conv_expand"),
                ("blocks.0.project.conv", "blocks.0.0.conv_pw"),
                ("blocks.0.project.norm", "blocks.0.0.bn2"),
                $(
                    (concat!("blocks.", $block, ".expand.conv"), concat!("blocks.", $place, ".conv_pw")),
                    (concat!("blocks.", $block, ".expand.norm"), concat!("blocks.", $place, ".bn1")),
                    (concat!("blocks.", $block, ".depthwise.conv"), concat!("blocks.", $place, ".conv_dw")),
                    (concat!("blocks.", $block, ".depthwise.norm"), concat!("blocks.", $place, ".bn2")),
                    (concat!("blocks.", $block, ".squeeze_excite.reduce"), concat!("blocks.", $place, ".se.conv_reduce")),
                    (concat!("blocks.", $block, ".squeeze_excite.expand"), concat!("blocks.", $place, ".se.conv_expand")),
                    (concat!("blocks.", $block, ".project.conv"), concat!("blocks.", $place, ".conv_pwl")),
                    (concat!("blocks.", $block, ".project.norm"), concat!("blocks.", $place, ".bn3")),
                )*
                ("head_conv.conv", concat!("blocks.", $last, ".0.conv")),
                ("head_conv.norm", concat!("blocks.", $last, ".0.bn1")),
                ("hidden", "conv_head"),
                ("classifier", "classifier"),
            ],
            preprocess: Some(Preprocess::IMAGENET.bicubic()),
            ..KeyLayout::EMPTY
        }
    };
}

#[rustfmt::skip]
const TIMM_LARGE: KeyLayout = timm![
    6;
    1: "1.0", 2: "1.1",
    3: "2.0", 4: "2.1", 5: "2.2",
    6: "3.0", 7: "3.1", 8: "3.2", 9: "3.3",
    10: "4.0", 11: "4.1",
    12: "5.0", 13: "5.1", 14: "5.2",
];
#[rustfmt::skip]
const TIMM_SMALL: KeyLayout = timm![
    5;
    1: "1.0", 2: "1.1",
    3: "2.0", 4: "2.1", 5: "2.2",
    6: "3.0", 7: "3.1",
    8: "4.0", 9: "4.1", 10: "4.2",
];
const TIMM_LARGE_LAYOUTS: &[KeyLayout] = &[TIMM_LARGE];
const TIMM_SMALL_LAYOUTS: &[KeyLayout] = &[TIMM_SMALL];

/// What timm took over from TensorFlow, `tf_mobilenetv3_large_100` and so on, has the keys of timm's own
/// networks.
const TF_LARGE_LAYOUTS: &[KeyLayout] = &[tensorflow(TIMM_LARGE)];
const TF_SMALL_LAYOUTS: &[KeyLayout] = &[tensorflow(TIMM_SMALL)];

const fn tensorflow(layout: KeyLayout) -> KeyLayout {
    KeyLayout {
        name: "timm, tf_",
        file_prefix: "tf_",
        preprocess: Some(Preprocess::TENSORFLOW),
        ..layout
    }
}

/// The variants' names, sizes and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>), and those of timm.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<MobileNetV3Config>] = &[
    Variant {
        name: "mobilenet_v3_large",
        config: LARGE,
        size: 224, params: Some(5_483_032), gmacs: Some(0.217), layouts: LARGE_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth", "8738ca79", 256, [74.042, 91.340]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/mobilenet_v3_large-5c1a4163.pth", "5c1a4163", 232, [75.274, 92.566]),
        ],
    },
    Variant {
        name: "mobilenet_v3_small",
        config: SMALL,
        size: 224, params: Some(2_542_856), gmacs: Some(0.057), layouts: SMALL_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth", "047dcff4", 256, [67.668, 87.402]),
        ],
    },
    Variant {
        name: "mobilenet_v3_large_timm",
        config: LARGE_TIMM,
        size: 224, params: Some(5_483_032), gmacs: Some(0.217), layouts: TIMM_LARGE_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v3_small_timm",
        config: SMALL_TIMM,
        size: 224, params: Some(2_542_856), gmacs: Some(0.057), layouts: TIMM_SMALL_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v3_large_tf",
        config: LARGE_TF,
        size: 224, params: Some(5_483_032), gmacs: Some(0.217), layouts: TF_LARGE_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "mobilenet_v3_small_tf",
        config: SMALL_TF,
        size: 224, params: Some(2_542_856), gmacs: Some(0.057), layouts: TF_SMALL_LAYOUTS,
        weights: &[],
    },
];

/// The variant with a name: a row of [`VARIANTS`], or one with `_w<width>` behind the network's size
/// and an underscore for the decimal point, such as `mobilenet_v3_large_w0_75` or
/// `mobilenet_v3_small_w0_5_timm`.
pub fn variant(name: &str) -> Option<Variant<MobileNetV3Config>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    VARIANTS.iter().find_map(|row| {
        let (size, source) = ["_timm", "_tf"]
            .into_iter()
            .find_map(|source| Some((row.name.strip_suffix(source)?, source)))
            .unwrap_or((row.name, ""));
        let width = name.strip_prefix(size)?.strip_prefix("_w")?.strip_suffix(source)?;
        let width_mult = zoo_core::parse_width(width)?;
        // In narrower ones more blocks have nothing to expand, and other keys.
        if width_mult < 0.15 {
            return None;
        }
        let config = MobileNetV3Config { width_mult, ..row.config.clone() };
        Some(Variant::unlisted(name, config, row.size, row.layouts))
    })
}
