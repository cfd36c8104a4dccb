//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::{Family, Filter, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::{EarlierInput, NASNetConfig, Reading};

/// What the literature calls these networks.
pub const FAMILY: Family = Family {
    name: "nasnet",
    title: "NASNet",
    paper: Paper {
        authors: "Zoph et al.",
        year: 2017,
        title: "Learning Transferable Architectures for Scalable Image Recognition",
        url: "https://arxiv.org/abs/1707.07012",
    },
};

const MOBILE: NASNetConfig = NASNetConfig {
    depth: 4,
    num_features: 1056,
    stem_channels: 32,
    earlier_input: EarlierInput::Nearest,
    reading: Reading::Cadene,
    dropout: 0.5,
    in_channels: 3,
    num_classes: 1000,
};
const LARGE: NASNetConfig = NASNetConfig {
    depth: 6,
    num_features: 4032,
    stem_channels: 96,
    earlier_input: EarlierInput::Shared,
    reading: Reading::Timm,
    ..MOBILE
};

/// A layout from the paths of the cells and what their keys begin with; inside, all cells are
/// spelled alike.
#[rustfmt::skip]
macro_rules! layout {
    ($name:literal: $($path:literal => $key:literal),*) => {
        &[KeyLayout {
            name: $name,
            rules: &[
                ("stem.conv", "conv0.conv"),
                ("stem.norm", "conv0.bn"),
                $(
                    (concat!($path, ".earlier.Projection.conv"), concat!($key, ".conv_prev_1x1.conv")),
                    (concat!($path, ".earlier.Projection.norm"), concat!($key, ".conv_prev_1x1.bn")),
                    (concat!($path, ".earlier.Halving.even"), concat!($key, ".path_1.conv")),
                    (concat!($path, ".earlier.Halving.odd"), concat!($key, ".path_2.conv")),
                    (concat!($path, ".earlier.Halving.norm"), concat!($key, ".final_path_bn")),
                    (concat!($path, ".later.conv"), concat!($key, ".conv_1x1.conv")),
                    (concat!($path, ".later.norm"), concat!($key, ".conv_1x1.bn")),
                    (concat!($path, ".blocks.{b}.{side}.Separable.{n}.depthwise"), concat!($key, ".comb_iter_{b}_{side}.separable_{n+1}.depthwise_conv2d")),
                    (concat!($path, ".blocks.{b}.{side}.Separable.{n}.pointwise"), concat!($key, ".comb_iter_{b}_{side}.separable_{n+1}.pointwise_conv2d")),
                    (concat!($path, ".blocks.{b}.{side}.Separable.{n}.norm"), concat!($key, ".comb_iter_{b}_{side}.bn_sep_{n+1}")),
                )*
                ("classifier.linear", "last_linear"),
            ],
            ..KeyLayout::EMPTY
        }]
    };
}

/// The keys of Cadene's `pretrained-models.pytorch`, which timm keeps. A stage begins at the
/// number that it has in the large network.
#[rustfmt::skip]
const CADENE: &[KeyLayout] = layout! {
    "Cadene":
    "stem_cells.{c}" => "cell_stem_{c}",
    "reduction_cells.{c}" => "reduction_cell_{c}",
    "stages.0.{c}" => "cell_{c}",
    "stages.1.{c}" => "cell_{c+6}",
    "stages.2.{c}" => "cell_{c+12}"
};

/// The names of the layers in `keras.applications`, from the paths of the cells, their kinds, the
/// last block's name, which a reduction cell counts as the fourth, and what all names end in.
#[rustfmt::skip]
macro_rules! keras {
    ($($path:literal, $kind:literal, $fifth:literal, $id:literal;)*) => {
        &[KeyLayout {
            name: "Keras",
            rules: &[
                ("stem.conv", "stem_conv1"),
                ("stem.norm", "stem_bn1"),
                $(
                    (concat!($path, ".earlier.Projection.conv"), concat!("adjust_conv_projection_", $id)),
                    (concat!($path, ".earlier.Projection.norm"), concat!("adjust_bn_", $id)),
                    (concat!($path, ".earlier.Halving.even"), concat!("adjust_conv_1_", $id)),
                    (concat!($path, ".earlier.Halving.odd"), concat!("adjust_conv_2_", $id)),
                    (concat!($path, ".earlier.Halving.norm"), concat!("adjust_bn_", $id)),
                    (concat!($path, ".later.conv"), concat!($kind, "_conv_1_", $id)),
                    (concat!($path, ".later.norm"), concat!($kind, "_bn_1_", $id)),
                    (concat!($path, ".blocks.4.left.Separable.{n}.norm"), concat!("separable_conv_{n+1}_bn_", $kind, "_", $fifth, "_", $id)),
                    (concat!($path, ".blocks.4.left.Separable.{n}"), concat!("separable_conv_{n+1}_", $kind, "_", $fifth, "_", $id)),
                    (concat!($path, ".blocks.{b}.{side}.Separable.{n}.norm"), concat!("separable_conv_{n+1}_bn_", $kind, "_{side}{b+1}_", $id)),
                    (concat!($path, ".blocks.{b}.{side}.Separable.{n}"), concat!("separable_conv_{n+1}_", $kind, "_{side}{b+1}_", $id)),
                )*
                ("classifier.linear", "predictions"),
            ],
            preprocess: Some(Preprocess::TENSORFLOW),
            ..KeyLayout::EMPTY
        }]
    };
}

const KERAS_MOBILE: &[KeyLayout] = keras! {
    "stem_cells.{c}", "reduction", "left4", "stem_{c+1}";
    "reduction_cells.0", "reduction", "left4", "reduce_4";
    "reduction_cells.1", "reduction", "left4", "reduce_8";
    "stages.0.{c}", "normal", "left5", "{c}";
    "stages.1.{c}", "normal", "left5", "{c+5}";
    "stages.2.{c}", "normal", "left5", "{c+9}";
};
const KERAS_LARGE: &[KeyLayout] = keras! {
    "stem_cells.{c}", "reduction", "left4", "stem_{c+1}";
    "reduction_cells.0", "reduction", "left4", "reduce_6";
    "reduction_cells.1", "reduction", "left4", "reduce_12";
    "stages.0.{c}", "normal", "left5", "{c}";
    "stages.1.{c}", "normal", "left5", "{c+7}";
    "stages.2.{c}", "normal", "left5", "{c+13}";
};

/// The variants' names, sizes and weights.
///
/// Files and preparation of the small network are Cadene's, of the large one timm's; the
/// weights came from TensorFlow.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<NASNetConfig>] = &[
    Variant {
        name: "nasnet_a_mobile",
        config: MOBILE,
        size: 224, params: Some(5_289_978), gmacs: Some(0.564), layouts: CADENE,
        weights: &[
            imagenet("http://data.lip6.fr/cadene/pretrainedmodels/nasnetamobile-7e03cead.pth", "7e03cead", 256, 224, Filter::Bilinear, [74.08, 91.74], "NOASSERTION"),
        ],
    },
    Variant {
        name: "nasnet_a_large",
        config: LARGE,
        size: 331, params: Some(88_753_150), gmacs: Some(23.783), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/nasnetalarge-dc4a7b8b.pth", "dc4a7b8b", 363, 331, Filter::Bicubic, [82.64, 96.07], "Apache-2.0"),
        ],
    },
    Variant {
        name: "nasnet_a_mobile_keras",
        config: NASNetConfig { reading: Reading::Keras, dropout: 0.0, ..MOBILE },
        size: 224, params: Some(5_289_978), gmacs: Some(0.564), layouts: KERAS_MOBILE,
        weights: &[],
    },
    Variant {
        name: "nasnet_a_large_keras",
        config: NASNetConfig { reading: Reading::Keras, dropout: 0.0, ..LARGE },
        size: 331, params: Some(88_753_150), gmacs: Some(23.783), layouts: KERAS_LARGE,
        weights: &[],
    },
];

/// The variant with a name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<NASNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}

const fn imagenet(
    url: &'static str,
    sha256: &'static str,
    resize: u32,
    crop: u32,
    filter: Filter,
    accuracy: [f64; 2],
    licence: &'static str,
) -> Weights {
    Weights {
        tag: "imagenet1k",
        url,
        sha256,
        labels: Labels::ImageNet1k,
        preprocess: Preprocess {
            filter,
            mean: [0.5; 3],
            std: [0.5; 3],
            ..Preprocess::IMAGENET.sized(resize, crop)
        },
        accuracy: Some(accuracy),
        licence,
    }
}
