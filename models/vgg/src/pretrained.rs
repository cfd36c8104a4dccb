//! The variants and the checkpoints that they can load.

use zoo_core::{Family, KeyLayout, Paper, Preprocess, Variant, Weights};

use crate::{Normalization, VggConfig};

/// The name, the title and the paper of the architecture.
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

pub(crate) const PLAIN: VggConfig = VggConfig {
    depths: [0; 5],
    normalization: Normalization::None,
    map_size: 7,
    hidden: 4096,
    dropout: 0.5,
    in_channels: 3,
    num_classes: 1000,
};
const NORMALIZED: VggConfig = VggConfig { normalization: Normalization::Batch, ..PLAIN };

/// Networks for CIFAR-10, whose last map has one position: with two narrow hidden layers as
/// in `chenyaofo/pytorch-cifar-models`, and without hidden layers as in `kuangliu/pytorch-cifar`.
const CIFAR: VggConfig = VggConfig { map_size: 1, hidden: 512, num_classes: 10, ..NORMALIZED };
const CIFAR_LINEAR: VggConfig = VggConfig { hidden: 0, ..CIFAR };

/// torchvision's keys also count activations and poolings. The index of a convolution is therefore
/// twice the number of convolutions before it, three times with BatchNorm, plus the number of poolings.
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stages.{s}.{l}.conv", "features.{2#+s}"),
        ("hidden.{h}", "classifier.{3h}"),
        ("classifier", "classifier.6"),
    ],
    ..KeyLayout::EMPTY
};
const TORCHVISION_BN: KeyLayout = KeyLayout {
    rules: &[
        ("stages.{s}.{l}", "features.[{3#+s}|{3#+s+1}]"),
        ("hidden.{h}", "classifier.{3h}"),
        ("classifier", "classifier.6"),
    ],
    ..TORCHVISION
};

const PLAIN_LAYOUTS: &[KeyLayout] = &layouts(TORCHVISION);
const NORMALIZED_LAYOUTS: &[KeyLayout] = &layouts(TORCHVISION_BN);
/// `keras.applications` has the networks of 16 and 19 layers.
const PLAIN_AND_KERAS: &[KeyLayout] = &{
    let [torchvision, timm, cadene, chengyangfu, kuangliu, pytorchcv, openmmlab] =
        layouts(TORCHVISION);
    [torchvision, timm, cadene, chengyangfu, kuangliu, pytorchcv, openmmlab, KERAS]
};

const fn layouts(torchvision: KeyLayout) -> [KeyLayout; 7] {
    [
        torchvision,
        // The same backbone, with the fully connected layers stored as convolutions.
        torchvision.renamed("timm", TIMM),
        torchvision.renamed("Cadene", CADENE),
        // Dropout comes before the first hidden layer.
        torchvision.renamed("chengyangfu", CHENGYANGFU),
        // A classifier without hidden layers.
        torchvision.renamed("kuangliu", KUANGLIU),
        PYTORCHCV,
        OPENMMLAB,
    ]
}

const TIMM: &[(&str, &str)] = &[
    ("classifier.0", "pre_logits.fc1"),
    ("classifier.3", "pre_logits.fc2"),
    ("classifier.6", "head.fc"),
];
const CHENGYANGFU: &[(&str, &str)] =
    &[("classifier.0", "classifier.1"), ("classifier.3", "classifier.4")];
const KUANGLIU: &[(&str, &str)] = &[("classifier.6", "classifier")];

/// torchvision's keys as `pretrained-models.pytorch` renames them.
const CADENE: &[(&str, &str)] = &[
    ("features", "_features"),
    ("classifier.0", "linear0"),
    ("classifier.3", "linear1"),
    ("classifier.6", "last_linear"),
];

const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stages.{s}.{l}", "features.stage{s+1}.unit{l+1}.[conv|bn]"),
        ("hidden.{h}", "output.fc{h+1}.fc"),
        ("classifier", "output.fc3"),
    ],
    ..KeyLayout::EMPTY
};

/// OpenMMLab's keys count convolutions and poolings.
const OPENMMLAB: KeyLayout = KeyLayout {
    name: "OpenMMLab",
    rules: &[
        ("stages.{s}.{l}", "features.{#+s}.[conv|bn]"),
        ("hidden.{h}", "classifier.{3h}"),
        ("classifier", "classifier.6"),
    ],
    ..KeyLayout::EMPTY
};

/// The names of the layers in `keras.applications`.
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
/// torchvision's `vgg16` weights `IMAGENET1K_FEATURES` are not included: the fully connected layers in
/// that file contain no numbers, so it can't classify.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<VggConfig>] = &[
    Variant {
        name: "vgg11",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..PLAIN },
        size: 224, params: Some(132_863_336), gmacs: Some(7.609), layouts: PLAIN_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg11-8a719046.pth", "8a719046", 256, [69.020, 88.628]),
        ],
    },
    Variant {
        name: "vgg11_bn",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..NORMALIZED },
        size: 224, params: Some(132_868_840), gmacs: Some(7.609), layouts: NORMALIZED_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg11_bn-6002323d.pth", "6002323d", 256, [70.370, 89.810]),
        ],
    },
    Variant {
        name: "vgg13",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..PLAIN },
        size: 224, params: Some(133_047_848), gmacs: Some(11.308), layouts: PLAIN_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg13-19584684.pth", "19584684", 256, [69.928, 89.246]),
        ],
    },
    Variant {
        name: "vgg13_bn",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..NORMALIZED },
        size: 224, params: Some(133_053_736), gmacs: Some(11.308), layouts: NORMALIZED_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg13_bn-abd245e5.pth", "abd245e5", 256, [71.586, 90.374]),
        ],
    },
    Variant {
        name: "vgg16",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..PLAIN },
        size: 224, params: Some(138_357_544), gmacs: Some(15.470), layouts: PLAIN_AND_KERAS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", 256, [71.592, 90.382]),
        ],
    },
    Variant {
        name: "vgg16_bn",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..NORMALIZED },
        size: 224, params: Some(138_365_992), gmacs: Some(15.470), layouts: NORMALIZED_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth", "6c64b313", 256, [73.360, 91.516]),
        ],
    },
    Variant {
        name: "vgg19",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..PLAIN },
        size: 224, params: Some(143_667_240), gmacs: Some(19.632), layouts: PLAIN_AND_KERAS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d", 256, [72.376, 90.876]),
        ],
    },
    Variant {
        name: "vgg19_bn",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..NORMALIZED },
        size: 224, params: Some(143_678_248), gmacs: Some(19.632), layouts: NORMALIZED_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/vgg19_bn-c79401a0.pth", "c79401a0", 256, [74.218, 91.842]),
        ],
    },
    Variant {
        name: "vgg11_bn_cifar",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..CIFAR },
        size: 32, params: Some(9_756_426), gmacs: Some(0.153), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "vgg13_bn_cifar",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..CIFAR },
        size: 32, params: Some(9_941_322), gmacs: Some(0.229), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "vgg16_bn_cifar",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..CIFAR },
        size: 32, params: Some(15_253_578), gmacs: Some(0.314), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "vgg19_bn_cifar",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..CIFAR },
        size: 32, params: Some(20_565_834), gmacs: Some(0.399), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "vgg11_bn_cifar_linear",
        config: VggConfig { depths: [1, 1, 2, 2, 2], ..CIFAR_LINEAR },
        size: 32, params: Some(9_231_114), gmacs: Some(0.153), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "vgg13_bn_cifar_linear",
        config: VggConfig { depths: [2, 2, 2, 2, 2], ..CIFAR_LINEAR },
        size: 32, params: Some(9_416_010), gmacs: Some(0.228), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "vgg16_bn_cifar_linear",
        config: VggConfig { depths: [2, 2, 3, 3, 3], ..CIFAR_LINEAR },
        size: 32, params: Some(14_728_266), gmacs: Some(0.313), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "vgg19_bn_cifar_linear",
        config: VggConfig { depths: [2, 2, 4, 4, 4], ..CIFAR_LINEAR },
        size: 32, params: Some(20_040_522), gmacs: Some(0.398), layouts: NORMALIZED_LAYOUTS, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`], or one of the first eight with a suffix
/// for CIFAR: `_cifar` has two hidden layers of 512 outputs, `_cifar_4096` of 4,096, `_cifar_linear`
/// none.
pub fn variant(name: &str) -> Option<Variant<VggConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let (base, hidden) = name.split_once("_cifar")?;
    let hidden = match hidden {
        "" => 512,
        "_4096" => 4096,
        "_linear" => 0,
        _ => return None,
    };
    let row = VARIANTS.iter().find(|variant| variant.name == base)?;
    let config = VggConfig { hidden, map_size: 1, num_classes: 10, ..row.config.clone() };
    Some(Variant::unlisted(name, config, 32, row.layouts))
}
