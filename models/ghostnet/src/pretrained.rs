//! The variants and the key layouts of their checkpoints.

use zoo_core::{Family, KeyLayout, Paper, Variant};

use crate::{GhostNetConfig, Implementation};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "ghostnet",
    title: "GhostNet",
    paper: Paper {
        authors: "Han et al.",
        year: 2019,
        title: "GhostNet: More Features from Cheap Operations",
        url: "https://arxiv.org/abs/1911.11907",
    },
};

pub(crate) const WIDTH_1: GhostNetConfig = GhostNetConfig {
    implementation: Implementation::Authors,
    width_mult: 1.0,
    dropout: 0.2,
    in_channels: 3,
    num_classes: 1000,
};

/// timm's keys: the authors' names and stages. Stages end before and after each block with stride 2.
#[rustfmt::skip]
const TIMM: &[KeyLayout] = &[KeyLayout {
    name: "timm",
    rules: &[
        ("stem", "[conv_stem|bn1]"),
        ("stages.{s}.{b}.expand.primary", "blocks.{s}.{b}.ghost1.primary_conv.[0|1]"),
        ("stages.{s}.{b}.expand.cheap", "blocks.{s}.{b}.ghost1.cheap_operation.[0|1]"),
        ("stages.{s}.{b}.depthwise", "blocks.{s}.{b}.[conv|bn]_dw"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "blocks.{s}.{b}.se.conv_reduce"),
        ("stages.{s}.{b}.squeeze_excite.expand", "blocks.{s}.{b}.se.conv_expand"),
        ("stages.{s}.{b}.project.primary", "blocks.{s}.{b}.ghost2.primary_conv.[0|1]"),
        ("stages.{s}.{b}.project.cheap", "blocks.{s}.{b}.ghost2.cheap_operation.[0|1]"),
        ("stages.{s}.{b}.shortcut.0", "blocks.{s}.{b}.shortcut.[0|1]"),
        ("stages.{s}.{b}.shortcut.1", "blocks.{s}.{b}.shortcut.[2|3]"),
        ("head_conv", "blocks.9.0.[conv|bn1]"),
        ("hidden", "conv_head"),
        ("classifier.FullyConnected", "classifier"),
    ],
    ..KeyLayout::EMPTY
}];

/// pytorchcv's keys. They count stages and units from 1.
#[rustfmt::skip]
const PYTORCHCV: &[KeyLayout] = &[KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem", "features.init_block.[conv|bn]"),
        ("stages.{s}.{b}.expand.primary", "features.stage{s+1}.unit{b+1}.body.exp_conv.main_conv.[conv|bn]"),
        ("stages.{s}.{b}.expand.cheap", "features.stage{s+1}.unit{b+1}.body.exp_conv.cheap_conv.[conv|bn]"),
        ("stages.{s}.{b}.depthwise", "features.stage{s+1}.unit{b+1}.body.dw_conv.[conv|bn]"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "features.stage{s+1}.unit{b+1}.body.se.conv1"),
        ("stages.{s}.{b}.squeeze_excite.expand", "features.stage{s+1}.unit{b+1}.body.se.conv2"),
        ("stages.{s}.{b}.project.primary", "features.stage{s+1}.unit{b+1}.body.pw_conv.main_conv.[conv|bn]"),
        ("stages.{s}.{b}.project.cheap", "features.stage{s+1}.unit{b+1}.body.pw_conv.cheap_conv.[conv|bn]"),
        ("stages.{s}.{b}.shortcut.0", "features.stage{s+1}.unit{b+1}.identity_conv.dw_conv.[conv|bn]"),
        ("stages.{s}.{b}.shortcut.1", "features.stage{s+1}.unit{b+1}.identity_conv.pw_conv.[conv|bn]"),
        ("head_conv", "features.final_block.[conv|bn]"),
        ("hidden", "output.conv1.conv"),
        ("hidden_norm", "output.conv1.bn"),
        ("classifier.Pointwise", "output.conv2"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variants' names and sizes, as in timm
/// (<https://github.com/huggingface/pytorch-image-models>) and pytorchcv
/// (<https://github.com/osmr/pytorchcv>).
#[rustfmt::skip]
pub const VARIANTS: &[Variant<GhostNetConfig>] = &[
    Variant {
        name: "ghostnet_050",
        config: GhostNetConfig { width_mult: 0.5, ..WIDTH_1 },
        size: 224, params: Some(2_587_292), gmacs: Some(0.042), layouts: TIMM,
        weights: &[],
    },
    Variant {
        name: "ghostnet_100",
        config: WIDTH_1,
        size: 224, params: Some(5_182_508), gmacs: Some(0.141), layouts: TIMM,
        weights: &[],
    },
    Variant {
        name: "ghostnet_130",
        config: GhostNetConfig { width_mult: 1.3, ..WIDTH_1 },
        size: 224, params: Some(7_358_820), gmacs: Some(0.227), layouts: TIMM,
        weights: &[],
    },
    Variant {
        name: "ghostnet_100_pytorchcv",
        config: GhostNetConfig { implementation: Implementation::Pytorchcv, dropout: 0.0, ..WIDTH_1 },
        size: 224, params: Some(5_180_840), gmacs: Some(0.141), layouts: PYTORCHCV,
        weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`], or `ghostnet_<width>` with three digits of
/// hundredths, such as `ghostnet_075`.
pub fn variant(name: &str) -> Option<Variant<GhostNetConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let digits = name.strip_prefix("ghostnet_")?;
    let hundredths: u16 = digits.parse().ok()?;
    if hundredths < 5 || format!("{hundredths:03}") != digits {
        return None;
    }
    let config = GhostNetConfig { width_mult: f64::from(hundredths) / 100.0, ..WIDTH_1 };
    Some(Variant::unlisted(name, config, 224, TIMM))
}
