//! The variants and the keys of their checkpoints.

use std::borrow::Cow;

use zoo_core::{Family, KeyLayout, Paper, Variant};

use crate::{AeCnnConfig, MAX_UNITS, Unit};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "ae_cnn",
    title: "AE-CNN",
    paper: Paper {
        authors: "Sun et al.",
        year: 2018,
        title: "Automatically Evolving CNN Architectures Based on Blocks",
        url: "https://arxiv.org/abs/1810.11875",
    },
};

pub(crate) const CIFAR: AeCnnConfig = network(&[]);

const fn network(units: &'static [Unit]) -> AeCnnConfig {
    AeCnnConfig { units: Cow::Borrowed(units), dropout: 0.0, in_channels: 3, num_classes: 10 }
}

/// The keys of a plain network in PyTorch: a list of units, with ResNet's and DenseNet's usual names in
/// them. No checkpoints are published.
#[rustfmt::skip]
const LAYOUTS: &[KeyLayout] = &[KeyLayout {
    name: "pytorch",
    rules: &[
        ("units.{u}.ResNet.{b}.convs.{c}", "units.{u}.blocks.{b}.[conv|bn]{c+1}"),
        ("units.{u}.ResNet.{b}.shortcut", "units.{u}.blocks.{b}.shortcut.[0|1]"),
        ("units.{u}.DenseNet.reduce", "units.{u}.reduce.[0|1]"),
        ("units.{u}.DenseNet.layers.{l}.bottleneck", "units.{u}.layers.{l}.[conv|bn]1"),
        ("units.{u}.DenseNet.layers.{l}.grow", "units.{u}.layers.{l}.[conv|bn]2"),
        ("classifier.linear", "linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// A small network as an example; a search finds another one for each dataset. No source states its
/// parameters and multiply-accumulates: they are counted by hand, layer by layer.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<AeCnnConfig>] = &[
    Variant {
        name: "ae_cnn_r64x3_m_d12x4_m_r128x3",
        config: network(&[
            Unit::ResNet { channels: 64, blocks: 3 },
            Unit::MaxPool,
            Unit::DenseNet { growth_rate: 12, layers: 4 },
            Unit::MaxPool,
            Unit::ResNet { channels: 128, blocks: 3 },
        ]),
        size: 32, params: Some(727_066), gmacs: Some(0.179), layouts: LAYOUTS, weights: &[],
    },
];

/// Returns the name of the network with these units.
///
/// ```
/// # use zoo_ae_cnn::{name, variant};
/// let network = variant("ae_cnn_r64x3_m_d20x6").unwrap();
/// assert_eq!(name(&network.config.units), "ae_cnn_r64x3_m_d20x6");
/// ```
pub fn name(units: &[Unit]) -> String {
    let codes = units.iter().map(|unit| format!("_{unit}"));
    std::iter::once(FAMILY.name.to_owned()).chain(codes).collect()
}

/// Returns the variant with this name: a row of [`VARIANTS`], or `ae_cnn_` and the codes of at most
/// [`MAX_UNITS`] units, such as `ae_cnn_r64x3_m_d20x6_a_r128x4`. The first unit is not a pooling.
///
/// The numbers may go beyond the paper's: 8 to 512 channels in steps of 8, growth rates from 4 to 40,
/// and 1 to 10 blocks or layers.
pub fn variant(name: &str) -> Option<Variant<AeCnnConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let codes = name.strip_prefix("ae_cnn_")?.split('_');
    let units = codes.map(|code| code.parse().ok()).collect::<Option<Vec<Unit>>>()?;
    if units.len() > MAX_UNITS || units.first()?.is_pooling() {
        return None;
    }
    let poolings = units.iter().filter(|unit| unit.is_pooling()).count();
    let config = AeCnnConfig { units: Cow::Owned(units), ..CIFAR };
    // 32 pixels, unless the poolings need more.
    Some(Variant::unlisted(name, config, 32.max(1 << poolings), LAYOUTS))
}
