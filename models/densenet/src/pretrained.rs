//! The variants and the checkpoints that they can load.

use zoo_core::{Family, Implementation, KeyLayout, Paper, Preprocess, StemKind, Variant, Weights};

use crate::DenseNetConfig;

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "densenet",
    title: "DenseNet",
    paper: Paper {
        authors: "Huang et al.",
        year: 2016,
        title: "Densely Connected Convolutional Networks",
        url: "https://arxiv.org/abs/1608.06993",
    },
};

pub(crate) const GROWTH_32: DenseNetConfig = DenseNetConfig {
    growth_rate: 32,
    depths: [0; 4],
    stem: StemKind::ImageNet,
    dropout: 0.0,
    implementation: Implementation::PyTorch,
    in_channels: 3,
    num_classes: 1000,
};
const KERAS_PORT: DenseNetConfig =
    DenseNetConfig { implementation: Implementation::Keras, ..GROWTH_32 };
const CIFAR: DenseNetConfig =
    DenseNetConfig { stem: StemKind::Cifar, num_classes: 10, ..GROWTH_32 };

#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "features.conv0"),
        ("stem_norm", "features.norm0"),
        ("blocks.{b}.layers.{l}.bottleneck", "features.denseblock{b+1}.denselayer{l+1}.[conv|norm]1"),
        ("blocks.{b}.layers.{l}.grow", "features.denseblock{b+1}.denselayer{l+1}.[conv|norm]2"),
        ("blocks.{b}.transition.compress", "features.transition{b+1}.[conv|norm]"),
        ("norm", "features.norm5"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
};

/// The keys in torchvision's files, which differ from those of its code.
#[rustfmt::skip]
const TORCHVISION_FILES: KeyLayout = KeyLayout {
    name: "torchvision's files",
    rules: &[
        ("stem", "features.conv0"),
        ("stem_norm", "features.norm0"),
        ("blocks.{b}.layers.{l}.bottleneck", "features.denseblock{b+1}.denselayer{l+1}.[conv|norm].1"),
        ("blocks.{b}.layers.{l}.grow", "features.denseblock{b+1}.denselayer{l+1}.[conv|norm].2"),
        ("blocks.{b}.transition.compress", "features.transition{b+1}.[conv|norm]"),
        ("norm", "features.norm5"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
};

const CADENE: KeyLayout = TORCHVISION.renamed("Cadene", &[("classifier", "last_linear")]);

/// pytorchcv's keys: of networks for ImageNet, whose stem has a norm, and of networks for CIFAR.
const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &pytorchcv("features.init_block.conv"),
    ..KeyLayout::EMPTY
};
const PYTORCHCV_CIFAR: KeyLayout =
    KeyLayout { rules: &pytorchcv("features.init_block"), ..PYTORCHCV };

/// In pytorchcv a transition belongs to the block after it, not to the block before it.
#[rustfmt::skip]
const fn pytorchcv(stem: &'static str) -> [(&'static str, &'static str); 7] {
    [
        ("stem", stem),
        ("stem_norm", "features.init_block.bn"),
        ("blocks.{b}.layers.{l}.bottleneck", "features.stage{b+1}.unit{l+1}.conv1.[conv|bn]"),
        ("blocks.{b}.layers.{l}.grow", "features.stage{b+1}.unit{l+1}.conv2.[conv|bn]"),
        ("blocks.{b}.transition.compress", "features.stage{b+2}.trans{b+2}.conv.[conv|bn]"),
        ("norm", "features.post_activ.bn"),
        ("classifier.linear", "output"),
    ]
}

/// OpenMMLab's keys begin with `backbone.` or `head.`; the last BatchNorm is the last transition.
#[rustfmt::skip]
const OPENMMLAB: KeyLayout = KeyLayout {
    name: "OpenMMLab",
    rules: &[
        ("stem", "backbone.stem.0"),
        ("stem_norm", "backbone.stem.1"),
        ("blocks.{b}.layers.{l}.bottleneck", "backbone.stages.{b}.block.{l}.[conv|norm]1"),
        ("blocks.{b}.layers.{l}.grow", "backbone.stages.{b}.block.{l}.[conv|norm]2"),
        ("blocks.{b}.transition.compress", "backbone.transitions.{b}.[conv|norm]"),
        ("norm", "backbone.transitions.3.0"),
        ("classifier.linear", "head.fc"),
    ],
    ..KeyLayout::EMPTY
};

/// The names of the layers in `keras.applications`.
#[rustfmt::skip]
const KERAS: &[KeyLayout] = &[KeyLayout {
    name: "Keras",
    rules: &[
        ("stem", "conv1_conv"),
        ("stem_norm", "conv1_bn"),
        ("blocks.{b}.layers.{l}.bottleneck", "conv{b+2}_block{l+1}_[1_conv|0_bn]"),
        ("blocks.{b}.layers.{l}.grow", "conv{b+2}_block{l+1}_[2_conv|1_bn]"),
        ("blocks.{b}.transition.compress", "pool{b+2}_[conv|bn]"),
        ("norm", "bn"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::IMAGENET),
    ..KeyLayout::EMPTY
}];

const IMAGENET_LAYOUTS: &[KeyLayout] =
    &[TORCHVISION, TORCHVISION_FILES, CADENE, PYTORCHCV, OPENMMLAB];
const CIFAR_LAYOUTS: &[KeyLayout] = &[TORCHVISION, PYTORCHCV_CIFAR];

/// The variants' names, sizes and weights.
///
/// The variants for ImageNet are as torchvision states them
/// (<https://docs.pytorch.org/vision/stable/models.html>), those for CIFAR follow table 2.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<DenseNetConfig>] = &[
    Variant {
        name: "densenet121",
        config: DenseNetConfig { depths: [6, 12, 24, 16], ..GROWTH_32 },
        size: 224, params: Some(7_978_856), gmacs: Some(2.834), layouts: IMAGENET_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/densenet121-a639ec97.pth", "a639ec97", 256, [74.434, 91.972]),
        ],
    },
    Variant {
        name: "densenet161",
        config: DenseNetConfig { growth_rate: 48, depths: [6, 12, 36, 24], ..GROWTH_32 },
        size: 224, params: Some(28_681_000), gmacs: Some(7.728), layouts: IMAGENET_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/densenet161-8d451a50.pth", "8d451a50", 256, [77.138, 93.560]),
        ],
    },
    Variant {
        name: "densenet169",
        config: DenseNetConfig { depths: [6, 12, 32, 32], ..GROWTH_32 },
        size: 224, params: Some(14_149_480), gmacs: Some(3.360), layouts: IMAGENET_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/densenet169-b2777c0a.pth", "b2777c0a", 256, [75.600, 92.806]),
        ],
    },
    Variant {
        name: "densenet201",
        config: DenseNetConfig { depths: [6, 12, 48, 32], ..GROWTH_32 },
        size: 224, params: Some(20_013_928), gmacs: Some(4.291), layouts: IMAGENET_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/densenet201-c1103571.pth", "c1103571", 256, [76.896, 93.370]),
        ],
    },
    Variant {
        name: "densenet121_keras",
        config: DenseNetConfig { depths: [6, 12, 24, 16], ..KERAS_PORT },
        size: 224, params: Some(7_978_856), gmacs: Some(2.834), layouts: KERAS, weights: &[],
    },
    Variant {
        name: "densenet169_keras",
        config: DenseNetConfig { depths: [6, 12, 32, 32], ..KERAS_PORT },
        size: 224, params: Some(14_149_480), gmacs: Some(3.360), layouts: KERAS, weights: &[],
    },
    Variant {
        name: "densenet201_keras",
        config: DenseNetConfig { depths: [6, 12, 48, 32], ..KERAS_PORT },
        size: 224, params: Some(20_013_928), gmacs: Some(4.291), layouts: KERAS, weights: &[],
    },
    Variant {
        name: "densenet_bc_100_k12",
        config: DenseNetConfig { growth_rate: 12, depths: [16, 16, 16, 0], ..CIFAR },
        size: 32, params: Some(769_162), gmacs: Some(0.288), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "densenet_bc_250_k24",
        config: DenseNetConfig { growth_rate: 24, depths: [41, 41, 41, 0], ..CIFAR },
        size: 32, params: Some(15_324_406), gmacs: Some(5.419), layouts: CIFAR_LAYOUTS, weights: &[],
    },
    Variant {
        name: "densenet_bc_190_k40",
        config: DenseNetConfig { growth_rate: 40, depths: [31, 31, 31, 0], ..CIFAR },
        size: 32, params: Some(25_624_430), gmacs: Some(9.302), layouts: CIFAR_LAYOUTS, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`], or `densenet_bc_<depth>_k<growth>` for
/// CIFAR with a depth of 6n + 4, such as `densenet_bc_40_k36`.
pub fn variant(name: &str) -> Option<Variant<DenseNetConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let (depth, growth_rate) = name.strip_prefix("densenet_bc_")?.split_once("_k")?;
    let (depth, growth_rate) =
        (zoo_core::parse_number(depth)?, zoo_core::parse_number(growth_rate)?);
    if !(10..=1000).contains(&depth) || depth % 6 != 4 || !(1..=1000).contains(&growth_rate) {
        return None;
    }
    let layers = (depth - 4) / 6;
    let config = DenseNetConfig { growth_rate, depths: [layers, layers, layers, 0], ..CIFAR };
    Some(Variant::unlisted(name, config, 32, CIFAR_LAYOUTS))
}
