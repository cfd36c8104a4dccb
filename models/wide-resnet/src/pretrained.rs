//! The variants and the key layouts of their checkpoints.

use zoo_core::{Family, KeyLayout, Paper, Variant};

use crate::{BlockKind, Features, WideResNetConfig};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "wide_resnet",
    title: "Wide ResNet",
    paper: Paper {
        authors: "Zagoruyko & Komodakis",
        year: 2016,
        title: "Wide Residual Networks",
        url: "https://arxiv.org/abs/1605.07146",
    },
};

pub(crate) const BASIC: WideResNetConfig = WideResNetConfig {
    depth: 2,
    width: 1,
    block: BlockKind::B33,
    dropout: 0.0,
    features: Features::Normalized,
    in_channels: 3,
    num_classes: 10,
};

/// The keys of `xternalz/WideResNet-pytorch`.
const XTERNALZ: KeyLayout = KeyLayout {
    name: "xternalz",
    rules: &[
        ("stem", "conv1"),
        ("stages.{s}.{b}.convs.{c}", "block{s+1}.layer.{b}.[conv|bn]{c+1}"),
        ("stages.{s}.{b}.shortcut", "block{s+1}.layer.{b}.convShortcut"),
        ("norm", "bn1"),
        ("classifier.linear", "fc"),
    ],
    ..KeyLayout::EMPTY
};

/// pytorchcv's keys. It counts from 1 and calls blocks units.
const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem", "features.init_block"),
        ("stages.{s}.{b}.convs.{c}", "features.stage{s+1}.unit{b+1}.body.conv{c+1}.[conv|bn]"),
        ("stages.{s}.{b}.shortcut", "features.stage{s+1}.unit{b+1}.identity_conv"),
        ("norm", "features.post_activ.bn"),
        ("classifier.linear", "output"),
    ],
    ..KeyLayout::EMPTY
};

const LAYOUTS: &[KeyLayout] = &[XTERNALZ, PYTORCHCV];

/// The variants' names and sizes: some of the paper's, those of its table 2 (the block types at `k` =
/// 2), and pytorchcv's network, whose features are after ReLU. No source states their
/// multiply-accumulates; these are counted.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<WideResNetConfig>] = &[
    Variant {
        name: "wrn_16_4",
        config: WideResNetConfig { depth: 2, width: 4, ..BASIC },
        size: 32, params: Some(2_748_890), gmacs: Some(0.393), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_16_8",
        config: WideResNetConfig { depth: 2, width: 8, ..BASIC },
        size: 32, params: Some(10_961_370), gmacs: Some(1.548), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_22_8",
        config: WideResNetConfig { depth: 3, width: 8, ..BASIC },
        size: 32, params: Some(17_158_106), gmacs: Some(2.454), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_28_10",
        config: WideResNetConfig { depth: 4, width: 10, ..BASIC },
        size: 32, params: Some(36_479_194), gmacs: Some(5.243), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_40_2",
        config: WideResNetConfig { depth: 6, width: 2, ..BASIC },
        size: 32, params: Some(2_243_546), gmacs: Some(0.328), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_40_2_b131",
        config: WideResNetConfig { depth: 6, width: 2, block: BlockKind::B131, ..BASIC },
        size: 32, params: Some(1_429_082), gmacs: Some(0.208), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_40_2_b31",
        config: WideResNetConfig { depth: 6, width: 2, block: BlockKind::B31, ..BASIC },
        size: 32, params: Some(1_211_354), gmacs: Some(0.177), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_40_2_b13",
        config: WideResNetConfig { depth: 6, width: 2, block: BlockKind::B13, ..BASIC },
        size: 32, params: Some(1_297_370), gmacs: Some(0.189), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_40_2_b311",
        config: WideResNetConfig { depth: 6, width: 2, block: BlockKind::B311, ..BASIC },
        size: 32, params: Some(1_343_066), gmacs: Some(0.195), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_28_2_b33",
        config: WideResNetConfig { depth: 4, width: 2, block: BlockKind::B33, ..BASIC },
        size: 32, params: Some(1_467_610), gmacs: Some(0.214), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_22_2_b313",
        config: WideResNetConfig { depth: 3, width: 2, block: BlockKind::B313, ..BASIC },
        size: 32, params: Some(1_145_498), gmacs: Some(0.167), layouts: LAYOUTS, weights: &[],
    },
    Variant {
        name: "wrn_16_10_pytorchcv",
        config: WideResNetConfig { depth: 2, width: 10, features: Features::Activated, ..BASIC },
        size: 32, params: Some(17_116_634), gmacs: Some(2.412), layouts: LAYOUTS, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`], or `wrn_<6N+4>_<k>` for any `N` and `k`,
/// with the block type after it if it is not B(3,3): `wrn_52_1`, `wrn_40_4_b131`.
pub fn variant(name: &str) -> Option<Variant<WideResNetConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let mut parts = name.strip_prefix("wrn_")?.splitn(3, '_');
    let layers = zoo_core::parse_number(parts.next()?)?;
    let width = zoo_core::parse_number(parts.next()?)?;
    let block = match parts.next() {
        None | Some("b33") => BlockKind::B33,
        Some("b313") => BlockKind::B313,
        Some("b131") => BlockKind::B131,
        Some("b13") => BlockKind::B13,
        Some("b31") => BlockKind::B31,
        Some("b311") => BlockKind::B311,
        Some(_) => return None,
    };
    if !(10..=1000).contains(&layers) || layers % 6 != 4 || !(1..=1000).contains(&width) {
        return None;
    }
    let config = WideResNetConfig { depth: layers / 6, width, block, ..BASIC };
    Some(Variant::unlisted(name, config, 32, LAYOUTS))
}
