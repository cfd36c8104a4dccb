//! The variants and the checkpoints that they can load.

use zoo_core::{Family, Interpolation, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::{EarlierInput, Implementation, NASNetConfig};

/// The name, the title and the paper of the architecture.
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

pub(crate) const MOBILE: NASNetConfig = NASNetConfig {
    depth: 4,
    num_features: 1056,
    stem_channels: 32,
    earlier_input: EarlierInput::Nearest,
    implementation: Implementation::Cadene,
    dropout: 0.5,
    in_channels: 3,
    num_classes: 1000,
};
const LARGE: NASNetConfig = NASNetConfig {
    depth: 6,
    num_features: 4032,
    stem_channels: 96,
    earlier_input: EarlierInput::Shared,
    implementation: Implementation::Timm,
    ..MOBILE
};

/// The keys of Cadene's `pretrained-models.pytorch`, which timm keeps. The cells are numbered as in
/// the large network, so a stage starts at the same number in both.
#[rustfmt::skip]
const CADENE: &[KeyLayout] = &[KeyLayout {
    name: "Cadene",
    modules: &[
        ("stem_cells.{c}", &[("cell", "cell_stem_{c}")]),
        ("reduction_cells.{c}", &[("cell", "reduction_cell_{c}")]),
        ("stages.{s}.{c}", &[("cell", "cell_{6s+c}")]),
    ],
    rules: &[
        ("stem", "conv0.[conv|bn]"),
        ("@.earlier.Projection", "<cell>.conv_prev_1x1.[conv|bn]"),
        ("@.earlier.Halving.even", "<cell>.path_1.conv"),
        ("@.earlier.Halving.odd", "<cell>.path_2.conv"),
        ("@.earlier.Halving.norm", "<cell>.final_path_bn"),
        ("@.later", "<cell>.conv_1x1.[conv|bn]"),
        ("@.blocks.{b}.{side}.Separable.{n}.norm", "<cell>.comb_iter_{b}_{side}.bn_sep_{n+1}"),
        ("@.blocks.{b}.{side}.Separable.{n}.{part}", "<cell>.comb_iter_{b}_{side}.separable_{n+1}.{part}_conv2d"),
        ("classifier.linear", "last_linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// The names of the layers in `keras.applications`, by the kind of the cell, the name of the last
/// block (a reduction cell calls it the fourth), and the suffix of all names of the cell.
#[rustfmt::skip]
const KERAS: KeyLayout = KeyLayout {
    name: "Keras",
    rules: &[
        ("stem", "stem_[conv|bn]1"),
        ("@.earlier.Projection", "adjust_[conv_projection|bn]_<id>"),
        ("@.earlier.Halving.even", "adjust_conv_1_<id>"),
        ("@.earlier.Halving.odd", "adjust_conv_2_<id>"),
        ("@.earlier.Halving.norm", "adjust_bn_<id>"),
        ("@.later", "<kind>_[conv|bn]_1_<id>"),
        ("@.blocks.4.left.Separable.{n}.norm", "separable_conv_{n+1}_bn_<kind>_<last>_<id>"),
        ("@.blocks.4.left.Separable.{n}", "separable_conv_{n+1}_<kind>_<last>_<id>"),
        ("@.blocks.{b}.{side}.Separable.{n}.norm", "separable_conv_{n+1}_bn_<kind>_{side}{b+1}_<id>"),
        ("@.blocks.{b}.{side}.Separable.{n}", "separable_conv_{n+1}_<kind>_{side}{b+1}_<id>"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::TENSORFLOW),
    ..KeyLayout::EMPTY
};

#[rustfmt::skip]
const KERAS_MOBILE: &[KeyLayout] = &[KeyLayout {
    modules: &[
        ("stem_cells.{c}", &[("kind", "reduction"), ("last", "left4"), ("id", "stem_{c+1}")]),
        ("reduction_cells.{c}", &[("kind", "reduction"), ("last", "left4"), ("id", "reduce_{4c+4}")]),
        ("stages.0.{c}", &[("kind", "normal"), ("last", "left5"), ("id", "{c}")]),
        ("stages.1.{c}", &[("kind", "normal"), ("last", "left5"), ("id", "{c+5}")]),
        ("stages.2.{c}", &[("kind", "normal"), ("last", "left5"), ("id", "{c+9}")]),
    ],
    ..KERAS
}];
#[rustfmt::skip]
const KERAS_LARGE: &[KeyLayout] = &[KeyLayout {
    modules: &[
        ("stem_cells.{c}", &[("kind", "reduction"), ("last", "left4"), ("id", "stem_{c+1}")]),
        ("reduction_cells.{c}", &[("kind", "reduction"), ("last", "left4"), ("id", "reduce_{6c+6}")]),
        ("stages.0.{c}", &[("kind", "normal"), ("last", "left5"), ("id", "{c}")]),
        ("stages.1.{c}", &[("kind", "normal"), ("last", "left5"), ("id", "{c+7}")]),
        ("stages.2.{c}", &[("kind", "normal"), ("last", "left5"), ("id", "{c+13}")]),
    ],
    ..KERAS
}];

/// The variants' names, sizes and weights.
///
/// Files and preprocessing of the small network are Cadene's, of the large one timm's; the weights
/// are from TensorFlow.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<NASNetConfig>] = &[
    Variant {
        name: "nasnet_a_mobile",
        config: MOBILE,
        size: 224, params: Some(5_289_978), gmacs: Some(0.564), layouts: CADENE,
        weights: &[
            imagenet("http://data.lip6.fr/cadene/pretrainedmodels/nasnetamobile-7e03cead.pth", "7e03cead", 256, 224, Interpolation::Bilinear, [74.08, 91.74], "NOASSERTION"),
        ],
    },
    Variant {
        name: "nasnet_a_large",
        config: LARGE,
        size: 331, params: Some(88_753_150), gmacs: Some(23.783), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/nasnetalarge-dc4a7b8b.pth", "dc4a7b8b", 363, 331, Interpolation::Bicubic, [82.64, 96.07], "Apache-2.0"),
        ],
    },
    Variant {
        name: "nasnet_a_mobile_keras",
        config: NASNetConfig { implementation: Implementation::Keras, dropout: 0.0, ..MOBILE },
        size: 224, params: Some(5_289_978), gmacs: Some(0.564), layouts: KERAS_MOBILE,
        weights: &[],
    },
    Variant {
        name: "nasnet_a_large_keras",
        config: NASNetConfig { implementation: Implementation::Keras, dropout: 0.0, ..LARGE },
        size: 331, params: Some(88_753_150), gmacs: Some(23.783), layouts: KERAS_LARGE,
        weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<NASNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}

const fn imagenet(
    url: &'static str,
    sha256: &'static str,
    resize: u32,
    crop: u32,
    interpolation: Interpolation,
    accuracy: [f64; 2],
    license: &'static str,
) -> Weights {
    Weights {
        tag: "imagenet1k",
        url,
        sha256,
        labels: Labels::ImageNet1k,
        preprocess: Preprocess {
            interpolation,
            mean: [0.5; 3],
            std: [0.5; 3],
            ..Preprocess::IMAGENET.sized(resize, crop)
        },
        accuracy: Some(accuracy),
        license,
    }
}
