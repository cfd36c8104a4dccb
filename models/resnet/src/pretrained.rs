//! The networks that have names, and the checkpoints that exist for them.

use zoo_core::layers::HeadKind;
use zoo_core::{Family, KeyLayout, Paper, Port, Preprocess, Variant, Weights};

use crate::{BlockKind, ResNetConfig, Stem};

/// What the literature calls these networks.
pub const FAMILY: Family = Family {
    name: "resnet",
    title: "ResNet",
    paper: Paper {
        authors: "He et al.",
        year: 2015,
        title: "Deep Residual Learning for Image Recognition",
        url: "https://arxiv.org/abs/1512.03385",
    },
};

const BASIC: ResNetConfig = ResNetConfig {
    block: BlockKind::Basic,
    depths: [0; 4],
    stem: Stem::ImageNet,
    groups: 1,
    width_per_group: 64,
    port: Port::PyTorch,
    head: HeadKind::FullyConnected,
    in_channels: 3,
    num_classes: 1000,
};
const BOTTLENECK: ResNetConfig = ResNetConfig { block: BlockKind::Bottleneck, ..BASIC };
const KERAS_PORT: ResNetConfig = ResNetConfig { port: Port::Keras, ..BOTTLENECK };
const CIFAR: ResNetConfig = ResNetConfig { stem: Stem::Cifar, num_classes: 10, ..BASIC };

const BASIC_LAYOUTS: &[KeyLayout] = &[TORCHVISION, CADENE, PYTORCHCV];
const LAYOUTS_50: &[KeyLayout] = &[TORCHVISION, CADENE, pytorchcv_b("resnet50b")];
const LAYOUTS_101: &[KeyLayout] = &[TORCHVISION, CADENE, pytorchcv_b("resnet101b")];
const LAYOUTS_152: &[KeyLayout] = &[TORCHVISION, CADENE, pytorchcv_b("resnet152b")];
const WIDE_LAYOUTS: &[KeyLayout] = &[TORCHVISION];
const RESNEXT_LAYOUTS: &[KeyLayout] = &[TORCHVISION, PYTORCHCV];

const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem.conv", "conv1"),
        ("stem.norm", "bn1"),
        ("stages.{s}.{b}.convs.{c}.conv", "layer{s+1}.{b}.conv{c+1}"),
        ("stages.{s}.{b}.convs.{c}.norm", "layer{s+1}.{b}.bn{c+1}"),
        ("stages.{s}.{b}.shortcut.Projection.conv", "layer{s+1}.{b}.downsample.0"),
        ("stages.{s}.{b}.shortcut.Projection.norm", "layer{s+1}.{b}.downsample.1"),
        ("classifier.linear", "fc"),
    ],
    ..KeyLayout::EMPTY
};

/// What `pretrained-models.pytorch` makes of torchvision's names.
const CADENE: KeyLayout = TORCHVISION.renamed("Cadene", &[("fc", "last_linear")]);

#[rustfmt::skip]
const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &[
        ("stem.conv", "features.init_block.conv.conv"),
        ("stem.norm", "features.init_block.conv.bn"),
        ("stages.{s}.{b}.convs.{c}.conv", "features.stage{s+1}.unit{b+1}.body.conv{c+1}.conv"),
        ("stages.{s}.{b}.convs.{c}.norm", "features.stage{s+1}.unit{b+1}.body.conv{c+1}.bn"),
        ("stages.{s}.{b}.shortcut.Projection.conv", "features.stage{s+1}.unit{b+1}.identity_conv.conv"),
        ("stages.{s}.{b}.shortcut.Projection.norm", "features.stage{s+1}.unit{b+1}.identity_conv.bn"),
        ("classifier.linear", "output"),
    ],
    ..KeyLayout::EMPTY
};

/// pytorchcv's ResNets with bottlenecks have the same keys whether the first convolution strides or
/// the second, as here: the name of those has a `b`.
const fn pytorchcv_b(file_prefix: &'static str) -> KeyLayout {
    KeyLayout { file_prefix, ..PYTORCHCV }
}

/// The names of the layers in `keras.applications`.
#[rustfmt::skip]
const KERAS: &[KeyLayout] = &[KeyLayout {
    name: "Keras",
    rules: &[
        ("stem.conv", "conv1_conv"),
        ("stem.norm", "conv1_bn"),
        ("stages.{s}.{b}.convs.{c}.conv", "conv{s+2}_block{b+1}_{c+1}_conv"),
        ("stages.{s}.{b}.convs.{c}.norm", "conv{s+2}_block{b+1}_{c+1}_bn"),
        ("stages.{s}.{b}.shortcut.Projection.conv", "conv{s+2}_block{b+1}_0_conv"),
        ("stages.{s}.{b}.shortcut.Projection.norm", "conv{s+2}_block{b+1}_0_bn"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::CAFFE),
    ..KeyLayout::EMPTY
}];

/// The keys of `akamaster/pytorch_resnet_cifar10`, whose shortcuts have no parameters.
#[rustfmt::skip]
const AKAMASTER: &[KeyLayout] = &[KeyLayout {
    name: "akamaster",
    rules: &[
        ("stem.conv", "conv1"),
        ("stem.norm", "bn1"),
        ("stages.{s}.{b}.convs.{c}.conv", "layer{s+1}.{b}.conv{c+1}"),
        ("stages.{s}.{b}.convs.{c}.norm", "layer{s+1}.{b}.bn{c+1}"),
        ("classifier.linear", "linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variants' names, sizes and weights.
///
/// Parameters, multiply-accumulates, accuracies and files are torchvision's own
/// (<https://docs.pytorch.org/vision/stable/models.html>); Keras's rows follow its own; the CIFAR rows follow §4.2 and table 6.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<ResNetConfig>] = &[
    Variant {
        name: "resnet18",
        config: ResNetConfig { depths: [2, 2, 2, 2], ..BASIC },
        size: 224, params: Some(11_689_512), gmacs: Some(1.814), layouts: BASIC_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnet18-f37072fd.pth", "f37072fd", 256, [69.758, 89.078]),
        ],
    },
    Variant {
        name: "resnet34",
        config: ResNetConfig { depths: [3, 4, 6, 3], ..BASIC },
        size: 224, params: Some(21_797_672), gmacs: Some(3.664), layouts: BASIC_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnet34-b627a593.pth", "b627a593", 256, [73.314, 91.420]),
        ],
    },
    Variant {
        name: "resnet50",
        config: ResNetConfig { depths: [3, 4, 6, 3], ..BOTTLENECK },
        size: 224, params: Some(25_557_032), gmacs: Some(4.089), layouts: LAYOUTS_50,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnet50-0676ba61.pth", "0676ba61", 256, [76.130, 92.862]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/resnet50-11ad3fa6.pth", "11ad3fa6", 232, [80.858, 95.434]),
        ],
    },
    Variant {
        name: "resnet101",
        config: ResNetConfig { depths: [3, 4, 23, 3], ..BOTTLENECK },
        size: 224, params: Some(44_549_160), gmacs: Some(7.801), layouts: LAYOUTS_101,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnet101-63fe2227.pth", "63fe2227", 256, [77.374, 93.546]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/resnet101-cd907fc2.pth", "cd907fc2", 232, [81.886, 95.780]),
        ],
    },
    Variant {
        name: "resnet152",
        config: ResNetConfig { depths: [3, 8, 36, 3], ..BOTTLENECK },
        size: 224, params: Some(60_192_808), gmacs: Some(11.514), layouts: LAYOUTS_152,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnet152-394f9c45.pth", "394f9c45", 256, [78.312, 94.046]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/resnet152-f82ba261.pth", "f82ba261", 232, [82.284, 96.002]),
        ],
    },
    Variant {
        name: "wide_resnet50_2",
        config: ResNetConfig { depths: [3, 4, 6, 3], width_per_group: 128, ..BOTTLENECK },
        size: 224, params: Some(68_883_240), gmacs: Some(11.398), layouts: WIDE_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth", "95faca4d", 256, [78.468, 94.086]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/wide_resnet50_2-9ba9bcbe.pth", "9ba9bcbe", 232, [81.602, 95.758]),
        ],
    },
    Variant {
        name: "wide_resnet101_2",
        config: ResNetConfig { depths: [3, 4, 23, 3], width_per_group: 128, ..BOTTLENECK },
        size: 224, params: Some(126_886_696), gmacs: Some(22.753), layouts: WIDE_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/wide_resnet101_2-32ee1156.pth", "32ee1156", 256, [78.848, 94.284]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/wide_resnet101_2-d733dc28.pth", "d733dc28", 232, [82.510, 96.020]),
        ],
    },
    Variant {
        name: "resnext50_32x4d",
        config: ResNetConfig { depths: [3, 4, 6, 3], groups: 32, width_per_group: 4, ..BOTTLENECK },
        size: 224, params: Some(25_028_904), gmacs: Some(4.230), layouts: RESNEXT_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnext50_32x4d-7cdf4587.pth", "7cdf4587", 256, [77.618, 93.698]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/resnext50_32x4d-1a0047aa.pth", "1a0047aa", 232, [81.198, 95.340]),
        ],
    },
    Variant {
        name: "resnext101_32x8d",
        config: ResNetConfig { depths: [3, 4, 23, 3], groups: 32, width_per_group: 8, ..BOTTLENECK },
        size: 224, params: Some(88_791_336), gmacs: Some(16.414), layouts: RESNEXT_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnext101_32x8d-8ba56ff5.pth", "8ba56ff5", 256, [79.312, 94.526]),
            Weights::torchvision("imagenet1k_v2", "https://download.pytorch.org/models/resnext101_32x8d-110c445d.pth", "110c445d", 232, [82.834, 96.228]),
        ],
    },
    Variant {
        name: "resnext101_64x4d",
        config: ResNetConfig { depths: [3, 4, 23, 3], groups: 64, width_per_group: 4, ..BOTTLENECK },
        size: 224, params: Some(83_455_272), gmacs: Some(15.460), layouts: RESNEXT_LAYOUTS,
        weights: &[
            Weights::torchvision("imagenet1k_v1", "https://download.pytorch.org/models/resnext101_64x4d-173b62eb.pth", "173b62eb", 232, [83.246, 96.454]),
        ],
    },
    Variant {
        name: "resnet50_keras",
        config: ResNetConfig { depths: [3, 4, 6, 3], ..KERAS_PORT },
        size: 224, params: Some(25_583_592), gmacs: Some(3.858), layouts: KERAS, weights: &[],
    },
    Variant {
        name: "resnet101_keras",
        config: ResNetConfig { depths: [3, 4, 23, 3], ..KERAS_PORT },
        size: 224, params: Some(44_601_832), gmacs: Some(7.570), layouts: KERAS, weights: &[],
    },
    Variant {
        name: "resnet152_keras",
        config: ResNetConfig { depths: [3, 8, 36, 3], ..KERAS_PORT },
        size: 224, params: Some(60_268_520), gmacs: Some(11.282), layouts: KERAS, weights: &[],
    },
    Variant {
        name: "resnet20_cifar",
        config: ResNetConfig { depths: [3, 3, 3, 0], ..CIFAR },
        size: 32, params: Some(269_722), gmacs: Some(0.041), layouts: AKAMASTER, weights: &[],
    },
    Variant {
        name: "resnet32_cifar",
        config: ResNetConfig { depths: [5, 5, 5, 0], ..CIFAR },
        size: 32, params: Some(464_154), gmacs: Some(0.069), layouts: AKAMASTER, weights: &[],
    },
    Variant {
        name: "resnet44_cifar",
        config: ResNetConfig { depths: [7, 7, 7, 0], ..CIFAR },
        size: 32, params: Some(658_586), gmacs: Some(0.097), layouts: AKAMASTER, weights: &[],
    },
    Variant {
        name: "resnet56_cifar",
        config: ResNetConfig { depths: [9, 9, 9, 0], ..CIFAR },
        size: 32, params: Some(853_018), gmacs: Some(0.125), layouts: AKAMASTER, weights: &[],
    },
    Variant {
        name: "resnet110_cifar",
        config: ResNetConfig { depths: [18, 18, 18, 0], ..CIFAR },
        size: 32, params: Some(1_727_962), gmacs: Some(0.253), layouts: AKAMASTER, weights: &[],
    },
];

/// The variant with a name: a row of [`VARIANTS`], or `resnet<6n+2>_cifar` for any n.
pub fn variant(name: &str) -> Option<Variant<ResNetConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    let depth = zoo_core::parse_number(name.strip_prefix("resnet")?.strip_suffix("_cifar")?)?;
    if !(8..=2000).contains(&depth) || depth % 6 != 2 {
        return None;
    }
    let n = depth / 6;
    let config = ResNetConfig { depths: [n, n, n, 0], ..CIFAR };
    Some(Variant::unlisted(name, config, 32, AKAMASTER))
}
