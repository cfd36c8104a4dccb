//! # ResNet, Wide ResNet-50/101, ResNeXt
//!
//! He et al., 2015: [Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385);
//! Zagoruyko & Komodakis, 2016: [Wide Residual Networks](https://arxiv.org/abs/1605.07146);
//! Xie et al., 2016: [Aggregated Residual Transformations](https://arxiv.org/abs/1611.05431).
//!
//! A block computes what to *add* to its input, so that a deep network can't do worse than a
//! shallow one by forgetting what it already had.
//!
//! | part         | ResNet-50, `[N, 3, 224, 224]` | paper, table 1               |
//! |--------------|-------------------------------|------------------------------|
//! | `stem`       | `[N, 64, 112, 112]`           | conv1, 7×7/2                 |
//! | `stages.0`   | `[N, 256, 56, 56]`            | conv2_x, max pool, 3 blocks  |
//! | `stages.1`   | `[N, 512, 28, 28]`            | conv3_x, 4 blocks            |
//! | `stages.2`   | `[N, 1024, 14, 14]`           | conv4_x, 6 blocks            |
//! | `stages.3`   | `[N, 2048, 7, 7]`             | conv5_x, 3 blocks            |
//! | `classifier` | `[N, num_classes]`            | average pool, fc             |
//!
//! The networks for CIFAR (§4.2) have a 3×3 stem without pooling, three stages of 16, 32 and 64
//! channels, and shortcuts without parameters.
//!
//! A block's stride sits on its 3×3 convolution, as in torchvision; in the paper and in Keras, on
//! the first 1×1. Keras's convolutions also keep a bias that BatchNorm makes superfluous.

use burn::config::Config;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig,
    HeadKind, add, cat, fork,
};
pub use zoo_core::{ImageClassifier, Port};

mod pretrained;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// How to build a [`ResNet`].
#[derive(Config, Debug)]
pub struct ResNetConfig {
    /// What every stage is made of.
    pub block: BlockKind,
    /// Blocks in each stage; the network ends before the first stage of 0 blocks.
    pub depths: [usize; 4],
    /// The images the network was designed for.
    #[config(default = "Stem::ImageNet")]
    pub stem: Stem,
    /// Groups of the 3×3 convolution of a bottleneck: ResNeXt's cardinality.
    #[config(default = "1")]
    pub groups: usize,
    /// Channels of one of these groups in the first stage; Wide ResNet doubles it.
    #[config(default = "64")]
    pub width_per_group: usize,
    /// Whose implementation to follow.
    #[config(default = "Port::PyTorch")]
    pub port: Port,
    /// What the classifier does first, averaging or classifying.
    #[config(default = "HeadKind::FullyConnected")]
    pub head: HeadKind,
    /// Channels of the images.
    #[config(default = "3")]
    pub in_channels: usize,
    /// Number of classes to tell apart.
    #[config(default = "1000")]
    pub num_classes: usize,
}

/// What a stage is made of (figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// The basic block: two 3×3 convolutions.
    Basic,
    /// The bottleneck: 1×1 to make it narrow, 3×3, 1×1 to make it four times as wide.
    Bottleneck,
}

/// The images that a network was designed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stem {
    /// 224×224: 7×7 stem with pooling, 64 channels, shortcuts by projection (option B).
    ImageNet,
    /// 32×32: 3×3 stem, 16 channels, shortcuts padded with zeros (option A).
    Cifar,
}

/// Residual network for classification; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNormAct,
    pool: Option<MaxPool2d>,
    stages: Vec<Vec<Block>>,
    classifier: ClassifierHead,
}

/// A few convolutions and a shortcut around them; the activation comes after their sum.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<ConvNormAct>,
    shortcut: Option<Shortcut>,
}

/// What makes a block's input fit to its output where their shapes differ (§3.3, equation 2).
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has a handful of them")]
enum Shortcut {
    /// Option B: a strided 1×1 convolution.
    Projection(ConvNormAct),
    /// Option A: every `stride`-th pixel, with channels of zeros before and after.
    Padded(Padded),
}

#[derive(Module, Debug)]
struct Padded {
    stride: usize,
    out_channels: usize,
}

/// Channels of a bottleneck's output per channel of its stage.
const EXPANSION: usize = 4;

impl ResNetConfig {
    /// Builds the network with fresh weights.
    pub fn init(&self, device: &Device) -> ResNet {
        let (width, stem, pool) = match self.stem {
            Stem::ImageNet => {
                let pool = MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
                let stem = self.conv([self.in_channels, 64], 7).with_stride(2);
                (64, stem, Some(pool.init()))
            }
            Stem::Cifar => (16, self.conv([self.in_channels, 16], 3), None),
        };
        let mut channels = width;
        let mut stages = Vec::new();
        let depths = self.depths.into_iter().take_while(|depth| *depth > 0);
        for (stage, depth) in depths.enumerate() {
            let mut blocks = Vec::with_capacity(depth);
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(self.block(channels, width << stage, stride, device));
                channels = self.out_channels(width << stage);
            }
            stages.push(blocks);
        }
        ResNet {
            stem: stem.init(device),
            pool,
            stages,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_kind(self.head)
                .init(device),
        }
    }

    fn out_channels(&self, width: usize) -> usize {
        match self.block {
            BlockKind::Basic => width,
            BlockKind::Bottleneck => width * EXPANSION,
        }
    }

    fn block(&self, channels: usize, width: usize, stride: usize, device: &Device) -> Block {
        let out_channels = self.out_channels(width);
        let convs = match self.block {
            BlockKind::Basic => {
                vec![
                    self.conv([channels, width], 3).with_stride(stride),
                    self.linear_conv([width, width], 3),
                ]
            }
            BlockKind::Bottleneck => {
                let inner = width * self.width_per_group / 64 * self.groups;
                let [first, second] = match self.port {
                    Port::PyTorch => [1, stride],
                    Port::Keras => [stride, 1],
                };
                let spatial = self.conv([inner, inner], 3).with_stride(second);
                vec![
                    self.conv([channels, inner], 1).with_stride(first),
                    spatial.with_groups(self.groups),
                    self.linear_conv([inner, out_channels], 1),
                ]
            }
        };
        let shortcut = match self.stem {
            _ if stride == 1 && channels == out_channels => None,
            Stem::ImageNet => {
                let projection = self.linear_conv([channels, out_channels], 1).with_stride(stride);
                Some(Shortcut::Projection(projection.init(device)))
            }
            Stem::Cifar => Some(Shortcut::Padded(Padded { stride, out_channels })),
        };
        Block { convs: convs.into_iter().map(|conv| conv.init(device)).collect(), shortcut }
    }

    fn conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        let conv = ConvNormActConfig::new(channels, [kernel_size; 2]);
        match self.port {
            Port::PyTorch => conv,
            Port::Keras => conv.with_bias(true).with_epsilon(1.001e-5).with_momentum(0.01),
        }
    }

    fn linear_conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        self.conv(channels, kernel_size).with_activation(Activation::Identity)
    }
}

impl ImageClassifier for ResNet {
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        let mut x = self.stem.forward(images);
        if let Some(pool) = &self.pool {
            x = pool.apply(x);
        }
        self.stages.iter().flatten().fold(x, |x, block| block.forward(x))
    }

    fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        self.classifier.forward(features)
    }

    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        Some(self.classifier.class_maps(features))
    }

    fn num_features(&self) -> usize {
        self.classifier.num_features()
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.classifier.reset(num_classes, device);
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, shortcut] = fork(x);
        let branch = self.convs.iter().fold(branch, |x, conv| conv.forward(x));
        let shortcut = match &self.shortcut {
            None => shortcut,
            Some(Shortcut::Projection(projection)) => projection.forward(shortcut),
            Some(Shortcut::Padded(padded)) => padded.forward(shortcut),
        };
        add(Activation::Relu, branch, shortcut)
    }
}

impl Padded {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // Every `stride`th place.
        let x = AvgPool2dConfig::new([1, 1]).with_strides([self.stride; 2]).init().apply(x);
        let [batch, channels, height, width] = x.dims();
        let missing = self.out_channels - channels;
        let zeros = |channels| Tensor::zeros([batch, channels, height, width], &x.device());
        let (before, after) = (zeros(missing / 2), zeros(missing - missing / 2));
        cat(vec![before, x, after])
    }
}
