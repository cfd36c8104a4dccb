//! The variants and the checkpoints that they can load.

use zoo_core::{Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::{BlockKind, SENetConfig};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "senet",
    title: "SENet",
    paper: Paper {
        authors: "Hu et al.",
        year: 2017,
        title: "Squeeze-and-Excitation Networks",
        url: "https://arxiv.org/abs/1709.01507",
    },
};

pub(crate) const BASIC: SENetConfig = SENetConfig {
    block: BlockKind::Basic,
    depths: [0; 4],
    reduction: 16,
    dropout: 0.0,
    in_channels: 3,
    num_classes: 1000,
};
const BOTTLENECK: SENetConfig = SENetConfig { block: BlockKind::Bottleneck, ..BASIC };
const AGGREGATED: SENetConfig = SENetConfig { block: BlockKind::Aggregated, ..BASIC };
const WIDE: SENetConfig = SENetConfig { block: BlockKind::Wide, dropout: 0.2, ..BASIC };

/// The keys of Cadene's `pretrained-models.pytorch`, which timm keeps.
#[rustfmt::skip]
const CADENE: &[KeyLayout] = &[KeyLayout {
    name: "Cadene",
    rules: &[
        ("stem.{c}", "layer0.[conv|bn]{c+1}"),
        ("stages.{s}.{b}.convs.{c}", "layer{s+1}.{b}.[conv|bn]{c+1}"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "layer{s+1}.{b}.se_module.fc1"),
        ("stages.{s}.{b}.squeeze_excite.expand", "layer{s+1}.{b}.se_module.fc2"),
        ("stages.{s}.{b}.shortcut", "layer{s+1}.{b}.downsample.[0|1]"),
        ("classifier.linear", "last_linear"),
    ],
    ..KeyLayout::EMPTY
}];

/// The variants' names, sizes and weights.
///
/// Files, preprocessing and license are timm's; multiply-accumulates are counted as for the other
/// networks.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<SENetConfig>] = &[
    Variant {
        name: "se_resnet18",
        config: SENetConfig { depths: [2, 2, 2, 2], ..BASIC },
        size: 224, params: Some(11_778_592), gmacs: Some(1.814), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/seresnet18-4bb0ce65.pth", "4bb0ce65", Preprocess::IMAGENET.bicubic(), None),
        ],
    },
    Variant {
        name: "se_resnet34",
        config: SENetConfig { depths: [3, 4, 6, 3], ..BASIC },
        size: 224, params: Some(21_958_868), gmacs: Some(3.664), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/seresnet34-a4004e63.pth", "a4004e63", Preprocess::IMAGENET, None),
        ],
    },
    Variant {
        name: "se_resnet50",
        config: SENetConfig { depths: [3, 4, 6, 3], ..BOTTLENECK },
        size: 224, params: Some(28_088_024), gmacs: Some(3.860), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/se_resnet50-ce0d4300.pth", "ce0d4300", Preprocess::IMAGENET, Some([77.65, 93.73])),
        ],
    },
    Variant {
        name: "se_resnet101",
        config: SENetConfig { depths: [3, 4, 23, 3], ..BOTTLENECK },
        size: 224, params: Some(49_326_872), gmacs: Some(7.575), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/se_resnet101-7e38fcc6.pth", "7e38fcc6", Preprocess::IMAGENET, None),
        ],
    },
    Variant {
        name: "se_resnet152",
        config: SENetConfig { depths: [3, 8, 36, 3], ..BOTTLENECK },
        size: 224, params: Some(66_821_848), gmacs: Some(11.289), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/se_resnet152-d17c99b7.pth", "d17c99b7", Preprocess::IMAGENET, None),
        ],
    },
    Variant {
        name: "se_resnext26_32x4d",
        config: SENetConfig { depths: [2, 2, 2, 2], ..AGGREGATED },
        size: 224, params: Some(16_790_280), gmacs: Some(2.472), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/seresnext26_32x4d-65ebdb501.pth", "65ebdb501", Preprocess::IMAGENET.bicubic(), None),
        ],
    },
    Variant {
        name: "se_resnext50_32x4d",
        config: SENetConfig { depths: [3, 4, 6, 3], ..AGGREGATED },
        size: 224, params: Some(27_559_896), gmacs: Some(4.233), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth", "f3651bad", Preprocess::IMAGENET, None),
        ],
    },
    Variant {
        name: "se_resnext101_32x4d",
        config: SENetConfig { depths: [3, 4, 23, 3], ..AGGREGATED },
        size: 224, params: Some(48_955_416), gmacs: Some(7.975), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/legacy_se_resnext101_32x4d-37725eac.pth", "37725eac", Preprocess::IMAGENET, None),
        ],
    },
    Variant {
        name: "senet154",
        config: SENetConfig { depths: [3, 8, 36, 3], ..WIDE },
        size: 224, params: Some(115_088_984), gmacs: Some(20.688), layouts: CADENE,
        weights: &[
            imagenet("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/legacy_senet154-e9eb9fe6.pth", "e9eb9fe6", Preprocess::IMAGENET, Some([81.32, 95.50])),
        ],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<SENetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}

const fn imagenet(
    url: &'static str,
    sha256: &'static str,
    preprocess: Preprocess,
    accuracy: Option<[f64; 2]>,
) -> Weights {
    Weights {
        tag: "imagenet1k",
        url,
        sha256,
        labels: Labels::ImageNet1k,
        preprocess,
        accuracy,
        license: "Apache-2.0",
    }
}
