//! # Inception-ResNet-v2
//!
//! Szegedy et al., 2016: [Inception-v4, Inception-ResNet](https://arxiv.org/abs/1602.07261).
//!
//! A residual block whose branch is an Inception module. A 1×1 convolution gives the branch the width
//! of the input, and a factor scales it down. The shortcut makes training faster.
//!
//! | part         | output for `[N, 3, 299, 299]` | paper, figure 15                      |
//! |--------------|-------------------------------|---------------------------------------|
//! | `stem`       | `[N, 192, 35, 35]`            | stem                                  |
//! | `stages.0`   | `[N, 320, 35, 35]`            | 10 × Inception-ResNet-A               |
//! | `stages.1`   | `[N, 1088, 17, 17]`           | Reduction-A, 20 × Inception-ResNet-B  |
//! | `stages.2`   | `[N, 2080, 8, 8]`             | Reduction-B, 10 × Inception-ResNet-C  |
//! | `head_conv`  | `[N, 1536, 8, 8]`             |                                       |
//! | `classifier` | `[N, num_classes]`            | average pooling, dropout, softmax     |
//!
//! The published weights belong to TensorFlow's version of the network, which timm follows: the stem is
//! Inception v3's with one more module, stages are twice as deep as in the paper and slightly
//! narrower, the last block has neither scale nor activation, and a 1×1 convolution comes before
//! the classifier.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::BranchLayer::{self, AvgPool, Conv, MaxPool, StridedConv, ValidConv};
use zoo_core::layers::{
    Activation, Apply, Branches, BranchesConfig, ClassifierHead, ClassifierHeadConfig, ConvNormAct,
    ConvNormActConfig, add, fork, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidLevel};

mod pretrained;
use pretrained::DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`InceptionResNetV2`].
#[derive(Config, Debug)]
pub struct InceptionResNetV2Config {
    /// Probability of dropping a feature before the classifier while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// Inception-ResNet-v2 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct InceptionResNetV2 {
    stem: Branches,
    stages: Vec<Stage>,
    head_conv: ConvNormAct,
    classifier: ClassifierHead,
}

/// A module that changes the shape, then residual blocks that keep it.
#[derive(Module, Debug)]
struct Stage {
    entry: Branches,
    blocks: Vec<ResidualBlock>,
}

/// A residual block: an Inception module, a 1×1 convolution to the width of the input, and a scaled
/// sum for stability (§3.3).
#[derive(Module, Debug)]
struct ResidualBlock {
    inception: Branches,
    expand: Conv2d,
    scale: f64,
    #[module(skip)]
    activation: Activation,
}

/// The settings of a [`Stage`].
struct StageRow {
    entry: Vec<Vec<BranchLayer>>,
    block: Vec<Vec<BranchLayer>>,
    repeats: usize,
    scale: f64,
}

/// The stem, a single branch.
const STEM: [BranchLayer; 7] = [
    StridedConv(32),
    ValidConv([3, 3], 32),
    Conv([3, 3], 64),
    MaxPool,
    Conv([1, 1], 80),
    ValidConv([3, 3], 192),
    MaxPool,
];

/// Returns the stages: the blocks of figures 16, 17 and 19, each after the module that makes its grid:
/// the last module of the stem, figure 7 with table 1's numbers, and figure 18.
#[rustfmt::skip]
fn stages() -> [StageRow; 3] {
    [
        StageRow {
            entry: vec![
                vec![Conv([1, 1], 96)],
                vec![Conv([1, 1], 48), Conv([5, 5], 64)],
                vec![Conv([1, 1], 64), Conv([3, 3], 96), Conv([3, 3], 96)],
                vec![AvgPool, Conv([1, 1], 64)],
            ],
            block: vec![
                vec![Conv([1, 1], 32)],
                vec![Conv([1, 1], 32), Conv([3, 3], 32)],
                vec![Conv([1, 1], 32), Conv([3, 3], 48), Conv([3, 3], 64)],
            ],
            repeats: 10,
            scale: 0.17,
        },
        StageRow {
            entry: vec![
                vec![StridedConv(384)],
                vec![Conv([1, 1], 256), Conv([3, 3], 256), StridedConv(384)],
                vec![MaxPool],
            ],
            block: vec![
                vec![Conv([1, 1], 192)],
                vec![Conv([1, 1], 128), Conv([1, 7], 160), Conv([7, 1], 192)],
            ],
            repeats: 20,
            scale: 0.10,
        },
        StageRow {
            entry: vec![
                vec![Conv([1, 1], 256), StridedConv(384)],
                vec![Conv([1, 1], 256), StridedConv(288)],
                vec![Conv([1, 1], 256), Conv([3, 3], 288), StridedConv(320)],
                vec![MaxPool],
            ],
            block: vec![
                vec![Conv([1, 1], 192)],
                vec![Conv([1, 1], 192), Conv([1, 3], 224), Conv([3, 1], 256)],
            ],
            repeats: 10,
            scale: 0.20,
        },
    ]
}

/// The last feature map of each size.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 5] = [
    PyramidLevel::new("stem.branches.0.2",   64,  2),
    PyramidLevel::new("stem.branches.0.5",  192,  4),
    PyramidLevel::new("stages.0",           320,  8),
    PyramidLevel::new("stages.1",          1088, 16),
    PyramidLevel::new("head_conv",         1536, 32),
];

/// Channels of the convolution before the classifier.
const HEAD_CHANNELS: usize = 1536;
/// The layers without padding need images of this size.
const MIN_SIZE: usize = 75;
/// TensorFlow's setting of BatchNorm.
const EPSILON: f64 = 1e-3;

impl InceptionResNetV2Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> InceptionResNetV2 {
        let stem = inception(self.in_channels, vec![STEM.to_vec()]);
        let mut channels = stem.out_channels();
        let mut stages = Vec::new();
        for row in self::stages() {
            let entry = inception(channels, row.entry);
            channels = entry.out_channels();
            let block = inception(channels, row.block);
            let blocks = (0..row.repeats).map(|_| ResidualBlock::new(&block, row.scale, device));
            stages.push(Stage { entry: entry.init(device), blocks: blocks.collect() });
        }
        if let Some(last) = stages.last_mut().and_then(|stage| stage.blocks.last_mut()) {
            last.scale = 1.0;
            last.activation = Activation::Identity;
        }
        InceptionResNetV2 {
            stem: stem.init(device),
            stages,
            head_conv: ConvNormActConfig::new([channels, HEAD_CHANNELS], [1, 1])
                .with_initializer(Some(torch_default_uniform()))
                .with_epsilon(EPSILON)
                .init(device),
            classifier: ClassifierHeadConfig::new(HEAD_CHANNELS, self.num_classes)
                .with_dropout(self.dropout)
                .init(device),
        }
    }
}

fn inception(channels: usize, branches: Vec<Vec<BranchLayer>>) -> BranchesConfig {
    BranchesConfig::new(channels, branches)
        .with_initializer(Some(torch_default_uniform()))
        .with_epsilon(EPSILON)
}

impl ImageClassifier for InceptionResNetV2 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = self.stem.forward_steps(images, |step, x| {
            maps.keep(format_args!("stem.branches.0.{step}"), x)
        })?;
        for (index, stage) in self.stages.iter().enumerate() {
            x = maps.keep(format_args!("stages.{index}"), stage.forward(x))?;
        }
        maps.keep("head_conv", self.head_conv.forward(x))
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        PYRAMID.into()
    }

    fn head(&self) -> &dyn Head {
        &self.classifier
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        &mut self.classifier
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }
}

impl Stage {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.iter().fold(self.entry.forward(x), |x, block| block.forward(x))
    }
}

impl ResidualBlock {
    fn new(inception: &BranchesConfig, scale: f64, device: &Device) -> Self {
        let channels = [inception.out_channels(), inception.channels];
        Self {
            inception: inception.init(device),
            expand: Conv2dConfig::new(channels, [1, 1]).init(device),
            scale,
            activation: Activation::Relu,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, shortcut] = fork(x);
        let residual = self.expand.apply(self.inception.forward(branch));
        add(self.activation, residual * self.scale, shortcut)
    }
}
