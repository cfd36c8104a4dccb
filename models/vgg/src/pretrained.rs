//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::{Family, KeyLayout, Paper, Preprocess, Variant, Weights};

use crate::{Normalization, VggConfig};

/// What the literature calls these networks.
pub const FAMILY: Family = Family {
    name: "vgg",
    title: "VGG",
    paper: Paper {
        authors: "Simonyan & Zisserman",
        year: 2014,
        title: "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        url: "https://arxiv.org/abs/1409.1556",
    },
};

const PLAIN: VggConfig = VggConfig {
    depths: [0; 5],
    normalization: Normalization::None,
    map_size: 7,
    hidden: 4096,
    dropout: 0.5,
    in_channels: 3,
    num_classes: 1000,
};
const NORMALIZED: VggConfig = VggConfig { normalization: Normalization::Batch, ..PLAIN };

/// Networks for CIFAR-10, whose images leave one place of the last map: with two narrow hidden layers as
/// in `chenyaofo/pytorch-cifar-models`, and without hidden layers as in `kuangliu/pytorch-cifar`.
const CIFAR: VggConfig = VggConfig { map_size: 1, hidden: 512, num_classes: 10, ..NORMALIZED };
const CIFAR_LINEAR: VggConfig = VggConfig { hidden: 0, ..CIFAR };

macro_rules! layout {
    (
        $name:literal, $first:literal, $second:literal, $classifier:literal,
        $($conv:literal: $number:literal $($norm:literal)?),*
    ) => {
        KeyLayout {
            name: $name,
            rules: &[
                $(
                    (concat!("stages.", $conv, ".conv"), concat!("features.", $number)),
                    $((concat!("stages.", $conv, ".norm"), concat!("features.", $norm)),)?
                )*
                ("hidden.0", $first),
                ("hidden.1", $second),
                ("classifier", $classifier),
            ],
            ..KeyLayout::EMPTY
        }
    };
}

/// torchvision counts activations and poolings too, so each network has numbers of its own: for
/// every convolution, its stage and place, its number and that of the BatchNorm behind it.
macro_rules! torchvision {
    ($($conv:literal: $number:literal $($norm:literal)?),*; $($more:ident),*) => {
        &[
            layout!("torchvision", "classifier.0", "classifier.3", "classifier.6",
                $($conv: $number $($norm)?),*),
            // The same trunk, and fully connected layers written as convolutions.
            layout!("timm", "pre_logits.fc1", "pre_logits.fc2", "head.fc",
                $($conv: $number $($norm)?),*),
            layout!("torchvision", "classifier.0", "classifier.3", "classifier.6",
                $($conv: $number $($norm)?),*).renamed("Cadene", CADENE),
            // Dropout comes before the first hidden layer.
            layout!("chengyangfu", "classifier.1", "classifier.4", "classifier.6",
                $($conv: $number $($norm)?),*),
            // A classifier without hidden layers.
            layout!("kuangliu", "classifier.0", "classifier.3", "classifier",
                $($conv: $number $($norm)?),*),
            PYTORCHCV,
            $($more),*
        ]
    };
}

#[rustfmt::skip]
const TORCHVISION_11: &[KeyLayout] = torchvision![
    "0.0": 0,
    "1.0": 3,
    "2.0": 6, "2.1": 8,
    "3.0": 11, "3.1": 13,
    "4.0": 16, "4.1": 18;
    OPENMMLAB_11
];
#[rustfmt::skip]
const TORCHVISION_13: &[KeyLayout] = torchvision![
    "0.0": 0, "0.1": 2,
    "1.0": 5, "1.1": 7,
    "2.0": 10, "2.1": 12,
    "3.0": 15, "3.1": 17,
    "4.0": 20, "4.1": 22;
    OPENMMLAB_13
];
#[rustfmt::skip]
const TORCHVISION_16: &[KeyLayout] = torchvision![
    "0.0": 0, "0.1": 2,
    "1.0": 5, "1.1": 7,
    "2.0": 10, "2.1": 12, "2.2": 14,
    "3.0": 17, "3.1": 19, "3.2": 21,
    "4.0": 24, "4.1": 26, "4.2": 28;
    OPENMMLAB_16, KERAS
];
#[rustfmt::skip]
const TORCHVISION_19: &[KeyLayout] = torchvision![
    "0.0": 0, "0.1": 2,
    "1.0": 5, "1.1": 7,
    "2.0": 10, "2.1": 12, "2.2": 14, "2.3": 16,
    "3.0": 19, "3.1": 21, "3.2": 23, "3.3": 25,
    "4.0": 28, "4.1": 30, "4.2": 32, "4.3": 34;
    OPENMMLAB_19, KERAS
];

#[rustfmt::skip]
const TORCHVISION_11_BN: &[KeyLayout] = torchvision![
    "0.0": 0 1,
    "1.0": 4 5,
    "2.0": 8 9, "2.1": 11 12,
    "3.0": 15 16, "3.1": 18 19,
    "4.0": 22 23, "4.1": 25 26;
    OPENMMLAB_11
];
#[rustfmt::skip]
const TORCHVISION_13_BN: &[KeyLayout] = torchvision![
    "0.0": 0 1, "0.1": 3 4,
    "1.0": 7 8, "1.1": 10 11,
    "2.0": 14 15, "2.1": 17 18,
    "3.0": 21 22, "3.1": 24 25,
    "4.0": 28 29, "4.1": 31 32;
    OPENMMLAB_13
];
#[rustfmt::skip]
const TORCHVISION_16_BN: &[KeyLayout] = torchvision![
    "0.0": 0 1, "0.1": 3 4,
    "1.0": 7 8, "1.1": 10 11,
    "2.0": 14 15, "2.1": 17 18, "2.2": 20 21,
    "3.0": 24 25, "3.1": 27 28, "3.2": 30 31,
    "4.0": 34 35, "4.1": 37 38, "4.2": 40 41;
    OPENMMLAB_16
];
#[rustfmt::skip]
const TORCHVISION_19_BN: &[KeyLayout] = torchvision![
    "0.0": 0 1, "0.1": 3 4,
    "1.0": 7 8, "1.1": 10 11,
    "2.0": 14 15, "2.1": 17 18, "2.2": 20 21, "2.3": 23 24,
    "3.0": 27 28, "3.1": 30 31, "3.2": 33 34, "3.3": 36 37,
    "4.0": 40 41, "4.1": 43 44, "4.2": 46 47, "4.3": 49 50;
    OPENMMLAB_19
];

/// What `pretrained-models.pytorch` makes of torchvision's names.
const CADENE: &[(&str, &str)] = &[
    ("features", "_features"),
    ("classifier.0", "linear0"),
    ("classifier.3", "linear1"),
    ("classifier.6", "last_linear"),
];

const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stages.{s}.{l}.conv", "features.stage{s+1}.unit{l+1}.conv"),
        ("stages.{s}.{l}.norm", "features.stage{s+1}.unit{l+1}.bn"),
        ("hidden.{h}", "output.fc{h+1}.fc"),
        ("classifier", "output.fc3"),
    ],
    ..KeyLayout::EMPTY
};

/// OpenMMLab counts convolutions and poolings: for each depth, the numbers of each stage's convolutions.
macro_rules! openmmlab {
    ($first:literal, $second:literal, $third:literal, $fourth:literal, $fifth:literal) => {
        KeyLayout {
            name: "OpenMMLab",
            rules: &[
                ("stages.0.{l}.conv", concat!("features.{", $first, "}.conv")),
                ("stages.0.{l}.norm", concat!("features.{", $first, "}.bn")),
                ("stages.1.{l}.conv", concat!("features.{", $second, "}.conv")),
                ("stages.1.{l}.norm", concat!("features.{", $second, "}.bn")),
                ("stages.2.{l}.conv", concat!("features.{", $third, "}.conv")),
                ("stages.2.{l}.norm", concat!("features.{", $third, "}.bn")),
                ("stages.3.{l}.conv", concat!("features.{", $fourth, "}.conv")),
                ("stages.3.{l}.norm", concat!("features.{", $fourth, "}.bn")),
                ("stages.4.{l}.conv", concat!("features.{", $fifth, "}.conv")),
                ("stages.4.{l}.norm", concat!("features.{", $fifth, "}.bn")),
                ("hidden.0", "classifier.0"),
                ("hidden.1", "classifier.3"),
                ("classifier", "classifier.6"),
            ],
            ..KeyLayout::EMPTY
        }
    };
}

const OPENMMLAB_11: KeyLayout = openmmlab!("l", "l+2", "l+4", "l+7", "l+10");
const OPENMMLAB_13: KeyLayout = openmmlab!("l", "l+3", "l+6", "l+9", "l+12");
const OPENMMLAB_16: KeyLayout = openmmlab!("l", "l+3", "l+6", "l+10", "l+14");
const OPENMMLAB_19: KeyLayout = openmmlab!("l", "l+3", "l+6", "l+11", "l+16");

/// The names of the layers in `keras.applications`, which has the networks of 16 and 19 layers.
#[rustfmt::skip]
const KERAS: KeyLayout = KeyLayout {
    name: "Keras",
    rules: &[
        ("stages.{s}.{l}.conv", "block{s+1}_conv{l+1}"),
        ("hidden.{h}", "fc{h+1}"),
        ("classifier", "predictions"),
    ],
    preprocess: Some(Preprocess::CAFFE),
    ..KeyLayout::EMPTY
};

/// The variants' names, sizes and weights, as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>).
///
/// torchvision's `vgg16` weights `IMAGENET1K_FEATURES` are not among them: that file has no
/// numbers in its fully connected layers, so it can't classify.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<VggConfig>] = &[
    Variant {
        name: "vgg11",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..PLAIN },
        size: 224, params: Some(132_863_336), gmacs: Some(7.609), layouts: TORCHVISION_11,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg11-8a719046.pth", "8a719046", 256, [69.020, 88.628]),
        ],
    },
    Variant {
        name: "vgg11_bn",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..NORMALIZED },
        size: 224, params: Some(132_868_840), gmacs: Some(7.609), layouts: TORCHVISION_11_BN,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg11_bn-6002323d.pth", "6002323d", 256, [70.370, 89.810]),
        ],
    },
    Variant {
        name: "vgg13",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..PLAIN },
        size: 224, params: Some(133_047_848), gmacs: Some(11.308), layouts: TORCHVISION_13,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg13-19584684.pth", "19584684", 256, [69.928, 89.246]),
        ],
    },
    Variant {
        name: "vgg13_bn",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..NORMALIZED },
        size: 224, params: Some(133_053_736), gmacs: Some(11.308), layouts: TORCHVISION_13_BN,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg13_bn-abd245e5.pth", "abd245e5", 256, [71.586, 90.374]),
        ],
    },
    Variant {
        name: "vgg16",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..PLAIN },
        size: 224, params: Some(138_357_544), gmacs: Some(15.470), layouts: TORCHVISION_16,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", 256, [71.592, 90.382]),
        ],
    },
    Variant {
        name: "vgg16_bn",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..NORMALIZED },
        size: 224, params: Some(138_365_992), gmacs: Some(15.470), layouts: TORCHVISION_16_BN,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth", "6c64b313", 256, [73.360, 91.516]),
        ],
    },
    Variant {
        name: "vgg19",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..PLAIN },
        size: 224, params: Some(143_667_240), gmacs: Some(19.632), layouts: TORCHVISION_19,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d", 256, [72.376, 90.876]),
        ],
    },
    Variant {
        name: "vgg19_bn",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..NORMALIZED },
        size: 224, params: Some(143_678_248), gmacs: Some(19.632), layouts: TORCHVISION_19_BN,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg19_bn-c79401a0.pth", "c79401a0", 256, [74.218, 91.842]),
        ],
    },
    Variant {
        name: "vgg11_bn_cifar",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..CIFAR },
        size: 32, params: Some(9_756_426), gmacs: Some(0.153), layouts: TORCHVISION_11_BN, weights: &[],
    },
    Variant {
        name: "vgg13_bn_cifar",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..CIFAR },
        size: 32, params: Some(9_941_322), gmacs: Some(0.229), layouts: TORCHVISION_13_BN, weights: &[],
    },
    Variant {
        name: "vgg16_bn_cifar",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..CIFAR },
        size: 32, params: Some(15_253_578), gmacs: Some(0.314), layouts: TORCHVISION_16_BN, weights: &[],
    },
    Variant {
        name: "vgg19_bn_cifar",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..CIFAR },
        size: 32, params: Some(20_565_834), gmacs: Some(0.399), layouts: TORCHVISION_19_BN, weights: &[],
    },
    Variant {
        name: "vgg11_bn_cifar_linear",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..CIFAR_LINEAR },
        size: 32, params: Some(9_231_114), gmacs: Some(0.153), layouts: TORCHVISION_11_BN, weights: &[],
    },
    Variant {
        name: "vgg13_bn_cifar_linear",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..CIFAR_LINEAR },
        size: 32, params: Some(9_416_010), gmacs: Some(0.228), layouts: TORCHVISION_13_BN, weights: &[],
    },
    Variant {
        name: "vgg16_bn_cifar_linear",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..CIFAR_LINEAR },
        size: 32, params: Some(14_728_266), gmacs: Some(0.313), layouts: TORCHVISION_16_BN, weights: &[],
    },
    Variant {
        name: "vgg19_bn_cifar_linear",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..CIFAR_LINEAR },
        size: 32, params: Some(20_040_522), gmacs: Some(0.398), layouts: TORCHVISION_19_BN, weights: &[],
    },
];

/// The variant with a name: a row of [`VARIANTS`], or one of the first eight for CIFAR: `_cifar` behind
/// its name has two hidden layers of 512 outputs, `_cifar_4096` of 4,096, `_cifar_linear` none.
pub fn variant(name: &str) -> Option<Variant<VggConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let (trunk, hidden) = name.split_once("_cifar")?;
    let hidden = match hidden {
        "" => 512,
        "_4096" => 4096,
        "_linear" => 0,
        _ => return None,
    };
    let trunk = VARIANTS.iter().find(|variant| variant.name == trunk)?;
    let config = VggConfig { hidden, map_size: 1, num_classes: 10, ..trunk.config.clone() };
    Some(Variant::unlisted(name, config, 32, trunk.layouts))
}
