//! The variants and the checkpoints that they can load.

use zoo_core::{Family, Implementation, KeyLayout, Paper, Preprocess, Variant, Weights};

use crate::{BlockKind, Downsampling, ResNetConfig, ShortcutKind, Stem, StrideOn};

/// The name, the title and the paper of the architecture.
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

pub(crate) const BASIC: ResNetConfig = ResNetConfig {
    block: BlockKind::Basic,
    depths: [0; 4],
    stem: Stem::ImageNet,
    width: 64,
    shortcut: ShortcutKind::Projection,
    stride_on: StrideOn::Spatial,
    downsampling: Downsampling::Strided,
    squeeze_excite: false,
    groups: 1,
    width_per_group: 64,
    implementation: Implementation::PyTorch,
    in_channels: 3,
    num_classes: 1000,
};
const BOTTLENECK: ResNetConfig = ResNetConfig { block: BlockKind::Bottleneck, ..BASIC };
const CAFFE: ResNetConfig = ResNetConfig { stride_on: StrideOn::Reduction, ..BOTTLENECK };
const KERAS_PORT: ResNetConfig = ResNetConfig { implementation: Implementation::Keras, ..CAFFE };
/// The paper's networks for CIFAR-10, with shortcuts of option A and of option B.
const CIFAR: ResNetConfig = ResNetConfig { shortcut: ShortcutKind::Padded, ..CIFAR_B };
const CIFAR_B: ResNetConfig =
    ResNetConfig { stem: Stem::Cifar, width: 16, num_classes: 10, ..BASIC };
/// timm's letters: D has a deep stem and average pooling in its shortcuts, T a narrower deep stem.
const BASIC_D: ResNetConfig = ResNetConfig { stem: DEEP, shortcut: ShortcutKind::AvgPool, ..BASIC };
const BOTTLENECK_D: ResNetConfig = ResNetConfig { block: BlockKind::Bottleneck, ..BASIC_D };
const BASIC_T: ResNetConfig = ResNetConfig { stem: TIERED, ..BASIC_D };
const BOTTLENECK_T: ResNetConfig = ResNetConfig { stem: TIERED, ..BOTTLENECK_D };
const DEEP: Stem = Stem::Deep([32, 32, 64]);
const TIERED: Stem = Stem::Deep([24, 32, 64]);

const BASIC_LAYOUTS: &[KeyLayout] = &[TORCHVISION, CADENE, PYTORCHCV, TRANSFORMERS, OPENMMLAB];
const LAYOUTS_50: &[KeyLayout] =
    &[TORCHVISION, CADENE, named("resnet50b", PYTORCHCV), TRANSFORMERS, OPENMMLAB];
const LAYOUTS_101: &[KeyLayout] =
    &[TORCHVISION, CADENE, named("resnet101b", PYTORCHCV), TRANSFORMERS, OPENMMLAB];
const LAYOUTS_152: &[KeyLayout] =
    &[TORCHVISION, CADENE, named("resnet152b", PYTORCHCV), TRANSFORMERS, OPENMMLAB];
const WIDE_LAYOUTS: &[KeyLayout] = &[TORCHVISION, OPENMMLAB];
const RESNEXT_LAYOUTS: &[KeyLayout] = &[TORCHVISION, PYTORCHCV, OPENMMLAB];
const CIFAR_STEM_LAYOUTS: &[KeyLayout] = &[TORCHVISION, KUANGLIU, WEIAICUNZAI, OPENMMLAB];
const CIFAR_B_LAYOUTS: &[KeyLayout] = &[TORCHVISION, KUANGLIU, PYTORCHCV_CIFAR];
const CAFFE_LAYOUTS_50: &[KeyLayout] = &[caffe("caffe"), named("resnet50", PYTORCHCV)];
const CAFFE_LAYOUTS_101: &[KeyLayout] = &[caffe("caffe"), named("resnet101", PYTORCHCV)];
const CAFFE_LAYOUTS_152: &[KeyLayout] = &[caffe("caffe"), named("resnet152", PYTORCHCV)];
const CAFFE_CEIL_LAYOUTS_50: &[KeyLayout] = &[caffe("caffe_ceil")];
const CAFFE_CEIL_LAYOUTS_101: &[KeyLayout] = &[caffe("caffe_ceil")];
const TIMM_LAYOUTS: &[KeyLayout] = &[TIMM];
const DEEP_LAYOUTS: &[KeyLayout] = &[TIMM_DEEP, OPENMMLAB_DEEP];
const AVERAGED_LAYOUTS: &[KeyLayout] = &[named("resnetaa", TIMM)];
const AVERAGED_DEEP_LAYOUTS: &[KeyLayout] = &[named("resnetaa", TIMM_DEEP)];
const BLURRED_LAYOUTS: &[KeyLayout] = &[named("resnetblur", TIMM)];
const BLURRED_DEEP_LAYOUTS: &[KeyLayout] = &[named("resnetblur", TIMM_DEEP)];

/// torchvision's keys, which timm extends for its own variants.
const TORCHVISION: KeyLayout =
    KeyLayout { name: "torchvision", rules: &torchvision("conv1"), ..KeyLayout::EMPTY };
const TIMM: KeyLayout = KeyLayout { name: "timm", ..TORCHVISION };
const TIMM_DEEP: KeyLayout = KeyLayout { rules: &torchvision("conv1.6"), ..TIMM };

#[rustfmt::skip]
const fn torchvision(stem: &'static str) -> [(&'static str, &'static str); 10] {
    [
        ("deep_stem.0", "conv1.[0|1]"),
        ("deep_stem.1", "conv1.[3|4]"),
        ("stem.conv", stem),
        ("stem.norm", "bn1"),
        ("stages.{s}.{b}.convs.{c}", "layer{s+1}.{b}.[conv|bn]{c+1}"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "layer{s+1}.{b}.se.fc1"),
        ("stages.{s}.{b}.squeeze_excite.expand", "layer{s+1}.{b}.se.fc2"),
        ("stages.{s}.{b}.shortcut.Projection", "layer{s+1}.{b}.downsample.[0|1]"),
        ("stages.{s}.{b}.shortcut.Averaged.projection", "layer{s+1}.{b}.downsample.[1|2]"),
        ("classifier.linear", "fc"),
    ]
}

/// Returns a layout for networks that share keys and shapes with another network. The prefix of the
/// file name decides.
const fn named(file_prefix: &'static str, layout: KeyLayout) -> KeyLayout {
    KeyLayout { file_prefix, ..layout }
}

/// Returns a layout for PyTorch ports of Caffe's networks. Their preprocessing keeps Caffe's BGR order
/// and range.
const fn caffe(file_prefix: &'static str) -> KeyLayout {
    KeyLayout { preprocess: Some(Preprocess::CAFFE), ..named(file_prefix, TORCHVISION) }
}

/// OpenMMLab's keys begin with `backbone.` or `head.`.
const OPENMMLAB: KeyLayout = TORCHVISION.renamed(
    "OpenMMLab",
    &[
        ("conv1", "backbone.conv1"),
        ("bn1", "backbone.bn1"),
        ("layer1", "backbone.layer1"),
        ("layer2", "backbone.layer2"),
        ("layer3", "backbone.layer3"),
        ("layer4", "backbone.layer4"),
        ("fc", "head.fc"),
    ],
);

/// OpenMMLab's keys with a deep stem. `downsample` of the first stage has no pooling layer, so its
/// indices start one lower.
#[rustfmt::skip]
const OPENMMLAB_DEEP: KeyLayout = KeyLayout {
    name: "OpenMMLab",
    rules: &[
        ("deep_stem.0", "backbone.stem.[0|1]"),
        ("deep_stem.1", "backbone.stem.[3|4]"),
        ("stem", "backbone.stem.[6|7]"),
        ("stages.{s}.{b}.convs.{c}", "backbone.layer{s+1}.{b}.[conv|bn]{c+1}"),
        ("stages.0.{b}.shortcut.Averaged.projection", "backbone.layer1.{b}.downsample.[0|1]"),
        ("stages.{s}.{b}.shortcut.Averaged.projection", "backbone.layer{s+1}.{b}.downsample.[1|2]"),
        ("stages.{s}.{b}.shortcut.Projection", "backbone.layer{s+1}.{b}.downsample.[0|1]"),
        ("classifier.linear", "head.fc"),
    ],
    ..KeyLayout::EMPTY
};

/// The keys of `transformers`.
#[rustfmt::skip]
const TRANSFORMERS: KeyLayout = KeyLayout {
    name: "transformers",
    rules: &[
        ("stem", "resnet.embedder.embedder.[convolution|normalization]"),
        ("stages.{s}.{b}.convs.{c}", "resnet.encoder.stages.{s}.layers.{b}.layer.{c}.[convolution|normalization]"),
        ("stages.{s}.{b}.shortcut.Projection", "resnet.encoder.stages.{s}.layers.{b}.shortcut.[convolution|normalization]"),
        ("classifier.linear", "classifier.1"),
    ],
    ..KeyLayout::EMPTY
};

/// The keys of `kuangliu/pytorch-cifar`.
#[rustfmt::skip]
const KUANGLIU: KeyLayout = KeyLayout {
    name: "kuangliu",
    rules: &[
        ("stem", "[conv|bn]1"),
        ("stages.{s}.{b}.convs.{c}", "layer{s+1}.{b}.[conv|bn]{c+1}"),
        ("stages.{s}.{b}.shortcut.Projection", "layer{s+1}.{b}.shortcut.[0|1]"),
        ("classifier.linear", "linear"),
    ],
    ..KeyLayout::EMPTY
};

/// The keys of `weiaicunzai/pytorch-cifar100`, whose indices also count activations.
#[rustfmt::skip]
const WEIAICUNZAI: KeyLayout = KeyLayout {
    name: "weiaicunzai",
    rules: &[
        ("stem", "conv1.[0|1]"),
        ("stages.{s}.{b}.convs.0", "conv{s+2}_x.{b}.residual_function.[0|1]"),
        ("stages.{s}.{b}.convs.1", "conv{s+2}_x.{b}.residual_function.[3|4]"),
        ("stages.{s}.{b}.convs.2", "conv{s+2}_x.{b}.residual_function.[6|7]"),
        ("stages.{s}.{b}.shortcut.Projection", "conv{s+2}_x.{b}.shortcut.[0|1]"),
        ("classifier.linear", "fc"),
    ],
    ..KeyLayout::EMPTY
};

/// torchvision's keys as `pretrained-models.pytorch` renames them.
const CADENE: KeyLayout = TORCHVISION.renamed("Cadene", &[("fc", "last_linear")]);

/// In pytorchcv, bottleneck ResNets have the same keys whether the stride is on the first convolution
/// (as in Caffe) or on the second. The file names of the second kind have a `b`: `resnet50b`.
const PYTORCHCV: KeyLayout = KeyLayout {
    name: "pytorchcv",
    rules: &pytorchcv("features.init_block.conv.[conv|bn]"),
    ..KeyLayout::EMPTY
};
const PYTORCHCV_CIFAR: KeyLayout =
    KeyLayout { rules: &pytorchcv("features.init_block.[conv|bn]"), ..PYTORCHCV };

#[rustfmt::skip]
const fn pytorchcv(stem: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("stem", stem),
        ("stages.{s}.{b}.convs.{c}", "features.stage{s+1}.unit{b+1}.body.conv{c+1}.[conv|bn]"),
        ("stages.{s}.{b}.shortcut.Projection", "features.stage{s+1}.unit{b+1}.identity_conv.[conv|bn]"),
        ("classifier.linear", "output"),
    ]
}

/// The names of the layers in `keras.applications`.
#[rustfmt::skip]
const KERAS: &[KeyLayout] = &[KeyLayout {
    name: "Keras",
    rules: &[
        ("stem", "conv1_[conv|bn]"),
        ("stages.{s}.{b}.convs.{c}", "conv{s+2}_block{b+1}_{c+1}_[conv|bn]"),
        ("stages.{s}.{b}.shortcut.Projection", "conv{s+2}_block{b+1}_0_[conv|bn]"),
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
        ("stem", "[conv|bn]1"),
        ("stages.{s}.{b}.convs.{c}", "layer{s+1}.{b}.[conv|bn]{c+1}"),
        ("classifier.linear", "linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variants' names, sizes and weights.
///
/// Parameters, multiply-accumulates, accuracies and files are torchvision's
/// (<https://docs.pytorch.org/vision/stable/models.html>); Keras's rows follow Keras; the CIFAR rows
/// follow §4.2 and table 6, `_b` with shortcuts of option B. `_cifar_stem` is torchvision's network
/// with a 3×3 stem without pooling, as for CIFAR in `kuangliu/pytorch-cifar` and in SimCLR;
/// `_caffe` has the stride on a block's first convolution, `_caffe_ceil` also Caffe's pooling. The
/// other rows have timm's names.
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
        name: "resnet10t",
        config: ResNetConfig { depths: [1, 1, 1, 1], ..BASIC_T },
        size: 224, params: Some(5_435_488), gmacs: Some(1.097), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet14t",
        config: ResNetConfig { depths: [1, 1, 1, 1], ..BOTTLENECK_T },
        size: 224, params: Some(10_081_632), gmacs: Some(1.677), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet18d",
        config: ResNetConfig { depths: [2, 2, 2, 2], ..BASIC_D },
        size: 224, params: Some(11_708_744), gmacs: Some(2.054), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet26",
        config: ResNetConfig { depths: [2, 2, 2, 2], ..BOTTLENECK },
        size: 224, params: Some(15_995_176), gmacs: Some(2.342), layouts: WIDE_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet26d",
        config: ResNetConfig { depths: [2, 2, 2, 2], ..BOTTLENECK_D },
        size: 224, params: Some(16_014_408), gmacs: Some(2.582), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet26t",
        config: ResNetConfig { depths: [2, 2, 2, 2], ..BOTTLENECK_T },
        size: 224, params: Some(16_011_872), gmacs: Some(2.550), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet34d",
        config: ResNetConfig { depths: [3, 4, 6, 3], ..BASIC_D },
        size: 224, params: Some(21_816_904), gmacs: Some(3.903), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet50d",
        config: ResNetConfig { depths: [3, 4, 6, 3], ..BOTTLENECK_D },
        size: 224, params: Some(25_576_264), gmacs: Some(4.329), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet101d",
        config: ResNetConfig { depths: [3, 4, 23, 3], ..BOTTLENECK_D },
        size: 224, params: Some(44_568_392), gmacs: Some(8.041), layouts: DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetblur18",
        config: ResNetConfig { depths: [2, 2, 2, 2], downsampling: Downsampling::BlurPool, ..BASIC },
        size: 224, params: Some(11_689_512), gmacs: Some(2.334), layouts: BLURRED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetblur50",
        config: ResNetConfig { depths: [3, 4, 6, 3], downsampling: Downsampling::BlurPool, ..BOTTLENECK },
        size: 224, params: Some(25_557_032), gmacs: Some(5.130), layouts: BLURRED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetblur50d",
        config: ResNetConfig { depths: [3, 4, 6, 3], downsampling: Downsampling::BlurPool, ..BOTTLENECK_D },
        size: 224, params: Some(25_576_264), gmacs: Some(5.369), layouts: BLURRED_DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetblur101d",
        config: ResNetConfig { depths: [3, 4, 23, 3], downsampling: Downsampling::BlurPool, ..BOTTLENECK_D },
        size: 224, params: Some(44_568_392), gmacs: Some(9.081), layouts: BLURRED_DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetaa34d",
        config: ResNetConfig { depths: [3, 4, 6, 3], downsampling: Downsampling::AvgPool, ..BASIC_D },
        size: 224, params: Some(21_816_904), gmacs: Some(4.424), layouts: AVERAGED_DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetaa50",
        config: ResNetConfig { depths: [3, 4, 6, 3], downsampling: Downsampling::AvgPool, ..BOTTLENECK },
        size: 224, params: Some(25_557_032), gmacs: Some(5.130), layouts: AVERAGED_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetaa50d",
        config: ResNetConfig { depths: [3, 4, 6, 3], downsampling: Downsampling::AvgPool, ..BOTTLENECK_D },
        size: 224, params: Some(25_576_264), gmacs: Some(5.369), layouts: AVERAGED_DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnetaa101d",
        config: ResNetConfig { depths: [3, 4, 23, 3], downsampling: Downsampling::AvgPool, ..BOTTLENECK_D },
        size: 224, params: Some(44_568_392), gmacs: Some(9.081), layouts: AVERAGED_DEEP_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnext101_32x4d",
        config: ResNetConfig { depths: [3, 4, 23, 3], groups: 32, width_per_group: 4, ..BOTTLENECK },
        size: 224, params: Some(44_177_704), gmacs: Some(7.970), layouts: RESNEXT_LAYOUTS, weights: &[],
    },
    Variant {
        name: "seresnet50",
        config: ResNetConfig { depths: [3, 4, 6, 3], squeeze_excite: true, ..BOTTLENECK },
        size: 224, params: Some(28_088_024), gmacs: Some(4.092), layouts: TIMM_LAYOUTS, weights: &[],
    },
    Variant {
        name: "seresnext50_32x4d",
        config: ResNetConfig { depths: [3, 4, 6, 3], squeeze_excite: true, groups: 32, width_per_group: 4, ..BOTTLENECK },
        size: 224, params: Some(27_559_896), gmacs: Some(4.233), layouts: TIMM_LAYOUTS, weights: &[],
    },
    Variant {
        name: "seresnext101_32x4d",
        config: ResNetConfig { depths: [3, 4, 23, 3], squeeze_excite: true, groups: 32, width_per_group: 4, ..BOTTLENECK },
        size: 224, params: Some(48_955_416), gmacs: Some(7.975), layouts: TIMM_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet50_caffe",
        config: ResNetConfig { depths: [3, 4, 6, 3], ..CAFFE },
        size: 224, params: Some(25_557_032), gmacs: Some(3.858), layouts: CAFFE_LAYOUTS_50, weights: &[],
    },
    Variant {
        name: "resnet101_caffe",
        config: ResNetConfig { depths: [3, 4, 23, 3], ..CAFFE },
        size: 224, params: Some(44_549_160), gmacs: Some(7.570), layouts: CAFFE_LAYOUTS_101, weights: &[],
    },
    Variant {
        name: "resnet152_caffe",
        config: ResNetConfig { depths: [3, 8, 36, 3], ..CAFFE },
        size: 224, params: Some(60_192_808), gmacs: Some(11.282), layouts: CAFFE_LAYOUTS_152, weights: &[],
    },
    Variant {
        name: "resnet50_caffe_ceil",
        config: ResNetConfig { depths: [3, 4, 6, 3], stem: Stem::Caffe, ..CAFFE },
        size: 224, params: Some(25_557_032), gmacs: Some(3.858), layouts: CAFFE_CEIL_LAYOUTS_50, weights: &[],
    },
    Variant {
        name: "resnet101_caffe_ceil",
        config: ResNetConfig { depths: [3, 4, 23, 3], stem: Stem::Caffe, ..CAFFE },
        size: 224, params: Some(44_549_160), gmacs: Some(7.570), layouts: CAFFE_CEIL_LAYOUTS_101, weights: &[],
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
    Variant {
        name: "resnet20_cifar_b",
        config: ResNetConfig { depths: [3, 3, 3, 0], ..CIFAR_B },
        size: 32, params: Some(272_474), gmacs: Some(0.041), layouts: CIFAR_B_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet32_cifar_b",
        config: ResNetConfig { depths: [5, 5, 5, 0], ..CIFAR_B },
        size: 32, params: Some(466_906), gmacs: Some(0.069), layouts: CIFAR_B_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet44_cifar_b",
        config: ResNetConfig { depths: [7, 7, 7, 0], ..CIFAR_B },
        size: 32, params: Some(661_338), gmacs: Some(0.097), layouts: CIFAR_B_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet56_cifar_b",
        config: ResNetConfig { depths: [9, 9, 9, 0], ..CIFAR_B },
        size: 32, params: Some(855_770), gmacs: Some(0.126), layouts: CIFAR_B_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet110_cifar_b",
        config: ResNetConfig { depths: [18, 18, 18, 0], ..CIFAR_B },
        size: 32, params: Some(1_730_714), gmacs: Some(0.253), layouts: CIFAR_B_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet18_cifar_stem",
        config: ResNetConfig { depths: [2, 2, 2, 2], stem: Stem::Cifar, num_classes: 10, ..BASIC },
        size: 32, params: Some(11_173_962), gmacs: Some(0.555), layouts: CIFAR_STEM_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet34_cifar_stem",
        config: ResNetConfig { depths: [3, 4, 6, 3], stem: Stem::Cifar, num_classes: 10, ..BASIC },
        size: 32, params: Some(21_282_122), gmacs: Some(1.159), layouts: CIFAR_STEM_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet50_cifar_stem",
        config: ResNetConfig { depths: [3, 4, 6, 3], stem: Stem::Cifar, num_classes: 10, ..BOTTLENECK },
        size: 32, params: Some(23_520_842), gmacs: Some(1.298), layouts: CIFAR_STEM_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet101_cifar_stem",
        config: ResNetConfig { depths: [3, 4, 23, 3], stem: Stem::Cifar, num_classes: 10, ..BOTTLENECK },
        size: 32, params: Some(42_512_970), gmacs: Some(2.510), layouts: CIFAR_STEM_LAYOUTS, weights: &[],
    },
    Variant {
        name: "resnet152_cifar_stem",
        config: ResNetConfig { depths: [3, 8, 36, 3], stem: Stem::Cifar, num_classes: 10, ..BOTTLENECK },
        size: 32, params: Some(58_156_618), gmacs: Some(3.722), layouts: CIFAR_STEM_LAYOUTS, weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`]; `resnet<6n+2>_cifar` for any n, with the
/// suffix `_b` for shortcuts of option B; or timm's name of a network, such as `seresnext26d_32x4d`.
pub fn variant(name: &str) -> Option<Variant<ResNetConfig>> {
    if let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) {
        return Some(variant.clone());
    }
    cifar(name).or_else(|| timm(name))
}

fn cifar(name: &str) -> Option<Variant<ResNetConfig>> {
    let (plain, config, layouts) = match name.strip_suffix("_b") {
        Some(plain) => (plain, CIFAR_B, CIFAR_B_LAYOUTS),
        None => (name, CIFAR, AKAMASTER),
    };
    let depth = zoo_core::parse_number(plain.strip_prefix("resnet")?.strip_suffix("_cifar")?)?;
    if !(8..=2000).contains(&depth) || depth % 6 != 2 {
        return None;
    }
    let n = depth / 6;
    let config = ResNetConfig { depths: [n, n, n, 0], ..config };
    Some(Variant::unlisted(name, config, 32, layouts))
}

/// Parses timm's names: `[se]resne[t|xt][aa|blur]<depth>[c|d|s|t][_<groups>x<width>d]`.
fn timm(name: &str) -> Option<Variant<ResNetConfig>> {
    let is_letter = |character: char| !character.is_ascii_digit();
    let (kind, rest) = name.split_at(name.find(|character| !is_letter(character))?);
    let (depth, rest) = rest.split_at(rest.find(is_letter).unwrap_or(rest.len()));
    let (letter, groups) = rest.split_once('_').map_or((rest, None), |(l, g)| (l, Some(g)));

    let (squeeze_excite, plain) =
        kind.strip_prefix("se").map_or((false, kind), |plain| (true, plain));
    let (is_aggregated, downsampling) = match plain {
        "resnet" => (false, Downsampling::Strided),
        "resnetaa" => (false, Downsampling::AvgPool),
        "resnetblur" => (false, Downsampling::BlurPool),
        "resnext" => (true, Downsampling::Strided),
        "resnextaa" => (true, Downsampling::AvgPool),
        "resnextblur" => (true, Downsampling::BlurPool),
        _ => return None,
    };
    let (block, depths) = match depth {
        "10" => (BlockKind::Basic, [1, 1, 1, 1]),
        "14" => (BlockKind::Bottleneck, [1, 1, 1, 1]),
        "18" => (BlockKind::Basic, [2, 2, 2, 2]),
        "26" => (BlockKind::Bottleneck, [2, 2, 2, 2]),
        "34" => (BlockKind::Basic, [3, 4, 6, 3]),
        "50" => (BlockKind::Bottleneck, [3, 4, 6, 3]),
        "101" => (BlockKind::Bottleneck, [3, 4, 23, 3]),
        "152" => (BlockKind::Bottleneck, [3, 8, 36, 3]),
        "200" => (BlockKind::Bottleneck, [3, 24, 36, 3]),
        "269" => (BlockKind::Bottleneck, [3, 30, 48, 8]),
        _ => return None,
    };
    let (stem, shortcut, layout) = match letter {
        "" => (Stem::ImageNet, ShortcutKind::Projection, TIMM),
        "c" => (DEEP, ShortcutKind::Projection, TIMM_DEEP),
        "d" => (DEEP, ShortcutKind::AvgPool, TIMM_DEEP),
        "s" => (Stem::Deep([64, 64, 128]), ShortcutKind::Projection, TIMM_DEEP),
        "t" => (TIERED, ShortcutKind::AvgPool, TIMM_DEEP),
        _ => return None,
    };
    let [groups, width_per_group] = match groups {
        Some(text) if is_aggregated && block == BlockKind::Bottleneck => {
            let (groups, width) = text.strip_suffix('d')?.split_once('x')?;
            [zoo_core::parse_number(groups)?, zoo_core::parse_number(width)?]
        }
        None if !is_aggregated => [1, 64],
        _ => return None,
    };
    if !(1..=64).contains(&groups) || !(1..=64).contains(&width_per_group) {
        return None;
    }
    let config = ResNetConfig {
        block,
        depths,
        stem,
        shortcut,
        downsampling,
        squeeze_excite,
        groups,
        width_per_group,
        ..BASIC
    };
    let file_prefix =
        if downsampling == Downsampling::Strided { "" } else { kind.to_owned().leak() };
    let layouts = Box::leak(Box::new([named(file_prefix, layout)]));
    Some(Variant::unlisted(name, config, 224, layouts))
}
