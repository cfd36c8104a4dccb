//! The variants and the checkpoints that they can load.

use zoo_core::{Family, KeyLayout, Paper, Preprocess, Variant, Weights};

use crate::{Implementation, MobileNetV3Config, Size};

/// The name, the title and the paper of the architecture.
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

pub(crate) const LARGE: MobileNetV3Config = MobileNetV3Config {
    size: Size::Large,
    width_mult: 1.0,
    implementation: Implementation::Torchvision,
    dropout: 0.2,
    in_channels: 3,
    num_classes: 1000,
};
const SMALL: MobileNetV3Config = MobileNetV3Config { size: Size::Small, ..LARGE };
const LARGE_TIMM: MobileNetV3Config =
    MobileNetV3Config { implementation: Implementation::Timm, ..LARGE };
const SMALL_TIMM: MobileNetV3Config =
    MobileNetV3Config { implementation: Implementation::Timm, ..SMALL };
const LARGE_TF: MobileNetV3Config =
    MobileNetV3Config { implementation: Implementation::TensorFlow, ..LARGE };
const SMALL_TF: MobileNetV3Config =
    MobileNetV3Config { implementation: Implementation::TensorFlow, ..SMALL };

const LARGE_LAYOUTS: &[KeyLayout] = &[TORCHVISION_LARGE, OPENMMLAB_LARGE];
const SMALL_LAYOUTS: &[KeyLayout] = &[TORCHVISION_SMALL, OPENMMLAB_SMALL];

/// torchvision's keys number a block's layers, so the number of the projection depends on whether the
/// block has an expansion and squeeze-and-excitation. The first block has neither; the other blocks
/// with their own rule have no squeeze-and-excitation.
#[rustfmt::skip]
const TORCHVISION_LARGE: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "features.0.[0|1]"),
        ("blocks.0.depthwise", "features.1.block.0.[0|1]"),
        ("blocks.0.project", "features.1.block.1.[0|1]"),
        ("blocks.1.project", "features.2.block.2.[0|1]"),
        ("blocks.2.project", "features.3.block.2.[0|1]"),
        ("blocks.6.project", "features.7.block.2.[0|1]"),
        ("blocks.7.project", "features.8.block.2.[0|1]"),
        ("blocks.8.project", "features.9.block.2.[0|1]"),
        ("blocks.9.project", "features.10.block.2.[0|1]"),
        ("blocks.{b}.expand", "features.{b+1}.block.0.[0|1]"),
        ("blocks.{b}.depthwise", "features.{b+1}.block.1.[0|1]"),
        ("blocks.{b}.squeeze_excite.reduce", "features.{b+1}.block.2.fc1"),
        ("blocks.{b}.squeeze_excite.expand", "features.{b+1}.block.2.fc2"),
        ("blocks.{b}.project", "features.{b+1}.block.3.[0|1]"),
        ("head_conv", "features.16.[0|1]"),
        ("hidden", "classifier.0"),
        ("classifier", "classifier.3"),
    ],
    ..KeyLayout::EMPTY
};

/// torchvision's keys of the small network. The first block has squeeze-and-excitation but no
/// expansion; the next two have an expansion but no squeeze-and-excitation.
#[rustfmt::skip]
const TORCHVISION_SMALL: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "features.0.[0|1]"),
        ("blocks.0.depthwise", "features.1.block.0.[0|1]"),
        ("blocks.0.squeeze_excite.reduce", "features.1.block.1.fc1"),
        ("blocks.0.squeeze_excite.expand", "features.1.block.1.fc2"),
        ("blocks.0.project", "features.1.block.2.[0|1]"),
        ("blocks.1.project", "features.2.block.2.[0|1]"),
        ("blocks.2.project", "features.3.block.2.[0|1]"),
        ("blocks.{b}.expand", "features.{b+1}.block.0.[0|1]"),
        ("blocks.{b}.depthwise", "features.{b+1}.block.1.[0|1]"),
        ("blocks.{b}.squeeze_excite.reduce", "features.{b+1}.block.2.fc1"),
        ("blocks.{b}.squeeze_excite.expand", "features.{b+1}.block.2.fc2"),
        ("blocks.{b}.project", "features.{b+1}.block.3.[0|1]"),
        ("head_conv", "features.12.[0|1]"),
        ("hidden", "classifier.0"),
        ("classifier", "classifier.3"),
    ],
    ..KeyLayout::EMPTY
};

/// OpenMMLab's keys begin with `backbone.` or `head.`; the last layer of the backbone is `head_conv`.
const OPENMMLAB_LARGE: KeyLayout = KeyLayout {
    name: "OpenMMLab",
    rules: &openmmlab("backbone.layer16.[conv|bn]"),
    ..KeyLayout::EMPTY
};
const OPENMMLAB_SMALL: KeyLayout =
    KeyLayout { rules: &openmmlab("backbone.layer12.[conv|bn]"), ..OPENMMLAB_LARGE };

#[rustfmt::skip]
const fn openmmlab(head_conv: &'static str) -> [(&'static str, &'static str); 9] {
    [
        ("stem", "backbone.layer0.[conv|bn]"),
        ("blocks.{b}.expand", "backbone.layer{b+1}.expand_conv.[conv|bn]"),
        ("blocks.{b}.depthwise", "backbone.layer{b+1}.depthwise_conv.[conv|bn]"),
        ("blocks.{b}.squeeze_excite.reduce", "backbone.layer{b+1}.se.conv1.conv"),
        ("blocks.{b}.squeeze_excite.expand", "backbone.layer{b+1}.se.conv2.conv"),
        ("blocks.{b}.project", "backbone.layer{b+1}.linear_conv.[conv|bn]"),
        ("head_conv", head_conv),
        ("hidden", "head.layers.0.fc"),
        ("classifier", "head.layers.1.fc"),
    ]
}

/// timm numbers the blocks within a stage; its last stage is `head_conv`.
#[rustfmt::skip]
const TIMM_LARGE: KeyLayout = KeyLayout {
    name: "timm",
    rules: &timm("blocks.6.0.[conv|bn1]"),
    depths: &[1, 2, 3, 4, 2, 3],
    preprocess: Some(Preprocess::IMAGENET.bicubic()),
    ..KeyLayout::EMPTY
};
const TIMM_SMALL: KeyLayout =
    KeyLayout { rules: &timm("blocks.5.0.[conv|bn1]"), depths: &[1, 2, 3, 2, 3], ..TIMM_LARGE };

#[rustfmt::skip]
const fn timm(head_conv: &'static str) -> [(&'static str, &'static str); 11] {
    [
        ("stem", "[conv_stem|bn1]"),
        ("blocks.0.depthwise", "blocks.0.0.[conv_dw|bn1]"),
        ("blocks.0.project", "blocks.0.0.[conv_pw|bn2]"),
        ("blocks.{b}.expand", "blocks.{b:s}.{b:i}.[conv_pw|bn1]"),
        ("blocks.{b}.depthwise", "blocks.{b:s}.{b:i}.[conv_dw|bn2]"),
        ("blocks.{b}.squeeze_excite.reduce", "blocks.{b:s}.{b:i}.se.conv_reduce"),
        ("blocks.{b}.squeeze_excite.expand", "blocks.{b:s}.{b:i}.se.conv_expand"),
        ("blocks.{b}.project", "blocks.{b:s}.{b:i}.[conv_pwl|bn3]"),
        ("head_conv", head_conv),
        ("hidden", "conv_head"),
        ("classifier", "classifier"),
    ]
}

const TIMM_LARGE_LAYOUTS: &[KeyLayout] = &[TIMM_LARGE];
const TIMM_SMALL_LAYOUTS: &[KeyLayout] = &[TIMM_SMALL];

/// Networks that timm ported from TensorFlow, such as `tf_mobilenetv3_large_100`. They have the keys of
/// timm's own networks.
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

/// Returns the variant with this name: a row of [`VARIANTS`], or one with `_w<width>` after the
/// network's size and an underscore for the decimal point, such as `mobilenet_v3_large_w0_75` or
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
        // Below this width more blocks have no expansion, which changes the keys.
        if width_mult < 0.15 {
            return None;
        }
        let config = MobileNetV3Config { width_mult, ..row.config.clone() };
        Some(Variant::unlisted(name, config, row.size, row.layouts))
    })
}
