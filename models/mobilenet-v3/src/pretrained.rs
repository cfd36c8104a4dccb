//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::{Family, KeyLayout, Paper, Variant, Weights};

use crate::{MobileNetV3Config, Size};

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
    dropout: 0.2,
    in_channels: 3,
    num_classes: 1000,
};
const SMALL: MobileNetV3Config = MobileNetV3Config { size: Size::Small, ..LARGE };

/// torchvision numbers a block's layers, so that the projection's number tells whether the block
/// expands and squeezes. The first block does neither; of the others, those named here don't
/// squeeze.
#[rustfmt::skip]
const TORCHVISION_LARGE: &[KeyLayout] = &[KeyLayout {
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
}];

/// Here the first block squeezes without expanding, the next two expand without squeezing.
#[rustfmt::skip]
const TORCHVISION_SMALL: &[KeyLayout] = &[KeyLayout {
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
}];

/// The variants' names, sizes and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<MobileNetV3Config>] = &[
    Variant {
        name: "mobilenet_v3_large",
        config: LARGE,
        size: 224, params: Some(5_483_032), gmacs: Some(0.217), layouts: TORCHVISION_LARGE,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth", "8738ca79", 256, [74.042, 91.340]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/mobilenet_v3_large-5c1a4163.pth", "5c1a4163", 232, [75.274, 92.566]),
        ],
    },
    Variant {
        name: "mobilenet_v3_small",
        config: SMALL,
        size: 224, params: Some(2_542_856), gmacs: Some(0.057), layouts: TORCHVISION_SMALL,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth", "047dcff4", 256, [67.668, 87.402]),
        ],
    },
];

/// The variant with a name: a row of [`VARIANTS`], or one of their names with `_w<width>` behind
/// it and an underscore for the decimal point, such as `mobilenet_v3_large_w0_75`.
pub fn variant(name: &str) -> Option<Variant<MobileNetV3Config>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    VARIANTS.iter().find_map(|row| {
        let width_mult = zoo_core::parse_width(name.strip_prefix(row.name)?.strip_prefix("_w")?)?;
        // In narrower ones more blocks have nothing to expand, and other keys.
        if width_mult < 0.15 {
            return None;
        }
        let config = MobileNetV3Config { width_mult, ..row.config.clone() };
        Some(Variant::unlisted(name, config, row.size, row.layouts))
    })
}
