//! The variants and the checkpoints that they can load.

use zoo_core::{Family, KeyLayout, Paper, Variant};

use crate::{UNetConfig, Upsampling};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "unet",
    title: "U-Net",
    paper: Paper {
        authors: "Ronneberger et al.",
        year: 2015,
        title: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        url: "https://arxiv.org/abs/1505.04597",
    },
};

pub(crate) const TRANSPOSED: UNetConfig =
    UNetConfig { upsampling: Upsampling::Transposed, in_channels: 3, num_classes: 1 };
const BILINEAR: UNetConfig = UNetConfig { upsampling: Upsampling::Bilinear, ..TRANSPOSED };

/// The keys of `milesial/Pytorch-UNet`.
#[rustfmt::skip]
const MILESIAL: &[KeyLayout] = &[KeyLayout {
    name: "milesial",
    rules: &[
        ("stem.first", "inc.double_conv.[0|1]"),
        ("stem.second", "inc.double_conv.[3|4]"),
        ("down.{d}.first", "down{d+1}.maxpool_conv.1.double_conv.[0|1]"),
        ("down.{d}.second", "down{d+1}.maxpool_conv.1.double_conv.[3|4]"),
        ("up.{u}.transposed", "up{u+1}.up"),
        ("up.{u}.convs.first", "up{u+1}.conv.double_conv.[0|1]"),
        ("up.{u}.convs.second", "up{u+1}.conv.double_conv.[3|4]"),
        ("classifier", "outc.conv"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variants' names and sizes; 572 pixels are the paper's.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<UNetConfig>] = &[
    Variant {
        name: "unet",
        config: TRANSPOSED,
        size: 572, params: Some(31_037_633), gmacs: None, layouts: MILESIAL, weights: &[],
    },
    Variant {
        name: "unet_bilinear",
        config: BILINEAR,
        size: 572, params: Some(17_262_977), gmacs: None, layouts: MILESIAL, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<UNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}
