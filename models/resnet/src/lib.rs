//! # ResNet, Wide ResNet-50/101, ResNeXt
//!
//! He et al., 2015: [Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385);
//! Zagoruyko & Komodakis, 2016: [Wide Residual Networks](https://arxiv.org/abs/1605.07146);
//! Xie et al., 2016: [Aggregated Residual Transformations](https://arxiv.org/abs/1611.05431).
//!
//! A block adds its output to its input, so it only has to learn the residual. This makes very deep
//! networks trainable (§3.1).
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
//! channels, and shortcuts without parameters. Some other variants also have such a stem, for small
//! images.
//!
//! The 3×3 convolution of a bottleneck has the stride, as in torchvision. In the paper, in Caffe and in
//! Keras the first 1×1 convolution has it. Keras's convolutions also keep a bias, which BatchNorm makes
//! superfluous.
//!
//! timm's variants combine later changes: a deep stem and average pooling in shortcuts (He et al., 2018:
//! [Bag of Tricks](https://arxiv.org/abs/1812.01187), §4.2), average pooling or blur pooling instead of
//! strides (Zhang, 2019: [Making Convolutional Networks Shift-Invariant
//! Again](https://arxiv.org/abs/1904.11486)), squeeze-and-excitation (`zoo-senet` has the original SENets).

use burn::config::Config;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig,
    SqueezeExcite, SqueezeExciteConfig, add, cat, fork,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};
pub use zoo_core::{ImageClassifier, Implementation};

mod anti_alias;
mod pretrained;
use anti_alias::{AntiAlias, BlurPool2d, avg_pool_2x2_ceil};
use pretrained::BASIC as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`ResNet`].
#[derive(Config, Debug)]
pub struct ResNetConfig {
    /// The kind of the blocks.
    pub block: BlockKind,
    /// Number of blocks in each stage; the network ends before the first stage with 0 blocks.
    pub depths: [usize; 4],
    /// The layers before the first stage.
    #[config(default = "DEFAULT.stem")]
    pub stem: Stem,
    /// Channels of the first stage's 3×3 convolutions, before `groups` and `width_per_group` change
    /// them; each stage has twice as many as the one before.
    #[config(default = "DEFAULT.width")]
    pub width: usize,
    /// The kind of the shortcuts that change the shape.
    #[config(default = "DEFAULT.shortcut")]
    pub shortcut: ShortcutKind,
    /// The convolution of a bottleneck that has the stride.
    #[config(default = "DEFAULT.stride_on")]
    pub stride_on: StrideOn,
    /// The downsampling of a block with stride 2 (timm: `aa_layer`).
    #[config(default = "DEFAULT.downsampling")]
    pub downsampling: Downsampling,
    /// Whether a branch ends in squeeze-and-excitation, with a reduction of 16.
    #[config(default = "DEFAULT.squeeze_excite")]
    pub squeeze_excite: bool,
    /// Groups of the 3×3 convolution of a bottleneck: ResNeXt's cardinality.
    #[config(default = "DEFAULT.groups")]
    pub groups: usize,
    /// Channels of one of these groups in the first stage; Wide ResNet doubles them.
    #[config(default = "DEFAULT.width_per_group")]
    pub width_per_group: usize,
    /// The implementation to follow.
    #[config(default = "DEFAULT.implementation")]
    pub implementation: Implementation,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The kind of a block (figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// The basic block: two 3×3 convolutions.
    Basic,
    /// The bottleneck: a 1×1 reduction, a 3×3 convolution, a 1×1 expansion by four.
    Bottleneck,
}

/// The layers before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stem {
    /// A 7×7 convolution to 64 channels, then max pooling, each with stride 2.
    ImageNet,
    /// The ImageNet stem with Caffe's pooling: no padding, `ceil_mode`.
    Caffe,
    /// Three 3×3 convolutions with these output channels, the first with stride 2, then max pooling.
    Deep([usize; 3]),
    /// A 3×3 convolution to the first stage's channels, for images of 32×32 pixels.
    Cifar,
}

/// The kind of a shortcut that matches the shape of the block's output (§3.3, equation 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShortcutKind {
    /// Option A: every `stride`-th pixel, with zero channels padded on both sides.
    Padded,
    /// Option B: a strided 1×1 convolution.
    Projection,
    /// ResNet-D: 2×2 average pooling, then a 1×1 convolution.
    AvgPool,
}

/// The convolution of a bottleneck that has the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StrideOn {
    /// The first 1×1 convolution.
    Reduction,
    /// The 3×3 convolution.
    Spatial,
}

/// The downsampling of a block with stride 2 (timm: `aa_layer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Downsampling {
    /// By the stride of the convolution and of the stem's pooling.
    Strided,
    /// By 2×2 average pooling after the convolution; it replaces the stem's pooling.
    AvgPool,
    /// By a 3×3 binomial filter after the convolution and after the stem's pooling.
    BlurPool,
}

/// Residual network for classification; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct ResNet {
    /// The convolutions of a deep stem except the last.
    deep_stem: Vec<ConvNormAct>,
    stem: ConvNormAct,
    pool: Option<MaxPool2d>,
    anti_alias: Option<AntiAlias>,
    stages: Vec<Vec<Block>>,
    classifier: ClassifierHead,
    min_size: usize,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A residual block: convolutions and a shortcut. The activation comes after the sum.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<ConvNormAct>,
    /// The layer that downsamples before the last convolution; `None` if a stride does it.
    anti_alias: Option<AntiAlias>,
    squeeze_excite: Option<SqueezeExcite>,
    shortcut: Option<Shortcut>,
}

/// A shortcut that matches the shape of the block's output (§3.3, equation 2).
#[derive(Module, Debug)]
enum Shortcut {
    /// Option B: a strided 1×1 convolution.
    Projection(ConvNormAct),
    /// ResNet-D: 2×2 average pooling if the block has stride 2, then a 1×1 convolution.
    Averaged(Averaged),
    /// Option A: every `stride`-th pixel, with zero channels padded on both sides.
    Padded(Padded),
}

#[derive(Module, Debug)]
struct Averaged {
    pool: Option<AvgPool2d>,
    projection: ConvNormAct,
}

#[derive(Module, Debug)]
struct Padded {
    /// A 1×1 pooling that takes every `stride`-th position.
    pool: AvgPool2d,
    out_channels: usize,
}

/// Channels of a bottleneck's output per channel of its stage.
const EXPANSION: usize = 4;

impl ResNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> ResNet {
        let (mut deep_stem, pool) = self.stem();
        let stem = deep_stem.pop().expect("a stem has a convolution");
        let has_pool = pool.is_some();
        // A stem without pooling has no stride, either.
        let [stem_stride, first_stride] = if has_pool { [2, 4] } else { [1, 1] };
        let mut channels = stem.channels[1];
        let mut pyramid = PyramidBuilder::default();
        pyramid.push("stem", channels, stem_stride);
        let mut stages = Vec::new();
        let depths = self.depths.into_iter().take_while(|depth| *depth > 0);
        for (stage, depth) in depths.enumerate() {
            let width = self.width << stage;
            let mut blocks = Vec::with_capacity(depth);
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(self.block(channels, width, stride, device));
                channels = self.out_channels(width);
            }
            pyramid.push(format!("stages.{stage}"), channels, first_stride << stage);
            stages.push(blocks);
        }
        ResNet {
            deep_stem: deep_stem.into_iter().map(|conv| conv.init(device)).collect(),
            stem: stem.init(device),
            pool: pool
                .filter(|_| self.downsampling != Downsampling::AvgPool)
                .map(|pool| pool.init()),
            anti_alias: self.anti_alias(has_pool),
            stages,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes).init(device),
            min_size: match (self.downsampling, self.shortcut, self.stem) {
                // After the stem, each of four poolings with stride 2 needs two pixels.
                (Downsampling::AvgPool | Downsampling::BlurPool, ..)
                | (_, ShortcutKind::AvgPool, _) => 17,
                // The convolution turns three pixels into two, the fewest that this pooling can take.
                (_, _, Stem::Caffe) => 3,
                _ => 1,
            },
            pyramid,
        }
    }

    /// Returns the stem's convolutions and its pooling.
    fn stem(&self) -> (Vec<ConvNormActConfig>, Option<MaxPool2dConfig>) {
        let stride = if self.downsampling == Downsampling::BlurPool { 1 } else { 2 };
        let pool = MaxPool2dConfig::new([3, 3]).with_strides([stride; 2]);
        let padded = pool.clone().with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let conv = self.conv([self.in_channels, 64], 7).with_stride(2);
        match self.stem {
            Stem::ImageNet => (vec![conv], Some(padded)),
            Stem::Caffe => (vec![conv], Some(pool.with_ceil_mode(true))),
            Stem::Deep([first, second, third]) => {
                let convs = vec![
                    self.conv([self.in_channels, first], 3).with_stride(2),
                    self.conv([first, second], 3),
                    self.conv([second, third], 3),
                ];
                (convs, Some(padded))
            }
            Stem::Cifar => (vec![self.conv([self.in_channels, self.width], 3)], None),
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
        let strides = match self.downsampling {
            Downsampling::Strided => stride,
            Downsampling::AvgPool | Downsampling::BlurPool => 1,
        };
        let convs = match self.block {
            BlockKind::Basic => {
                vec![
                    self.conv([channels, width], 3).with_stride(strides),
                    self.linear_conv([width, width], 3),
                ]
            }
            BlockKind::Bottleneck => {
                let inner = width * self.width_per_group / 64 * self.groups;
                let [first, second] = match self.stride_on {
                    StrideOn::Reduction => [strides, 1],
                    StrideOn::Spatial => [1, strides],
                };
                let spatial = self.conv([inner, inner], 3).with_stride(second);
                vec![
                    self.conv([channels, inner], 1).with_stride(first),
                    spatial.with_groups(self.groups),
                    self.linear_conv([inner, out_channels], 1),
                ]
            }
        };
        let squeeze_excite = SqueezeExciteConfig::new(out_channels, (out_channels / 16).max(8));
        Block {
            convs: convs.into_iter().map(|conv| conv.init(device)).collect(),
            anti_alias: self.anti_alias(stride > 1),
            squeeze_excite: self.squeeze_excite.then(|| squeeze_excite.init(device)),
            shortcut: (stride > 1 || channels != out_channels)
                .then(|| self.shortcut([channels, out_channels], stride, device)),
        }
    }

    fn shortcut(&self, channels: [usize; 2], stride: usize, device: &Device) -> Shortcut {
        let projection = self.linear_conv(channels, 1);
        match self.shortcut {
            ShortcutKind::Padded => Shortcut::Padded(Padded {
                pool: AvgPool2dConfig::new([1, 1]).with_strides([stride; 2]).init(),
                out_channels: channels[1],
            }),
            ShortcutKind::Projection => {
                Shortcut::Projection(projection.with_stride(stride).init(device))
            }
            ShortcutKind::AvgPool => Shortcut::Averaged(Averaged {
                pool: (stride > 1).then(avg_pool_2x2_ceil),
                projection: projection.init(device),
            }),
        }
    }

    /// Builds the downsampling layer, if there is one and `halves` is true.
    fn anti_alias(&self, halves: bool) -> Option<AntiAlias> {
        match self.downsampling {
            Downsampling::AvgPool if halves => Some(AntiAlias::Average(avg_pool_2x2_ceil())),
            Downsampling::BlurPool if halves => Some(AntiAlias::BlurPool2d(BlurPool2d::new())),
            _ => None,
        }
    }

    fn conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        let conv = ConvNormActConfig::new(channels, [kernel_size; 2]);
        match self.implementation {
            Implementation::PyTorch => conv,
            Implementation::Keras => {
                conv.with_bias(true).with_epsilon(1.001e-5).with_momentum(0.01)
            }
        }
    }

    fn linear_conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        self.conv(channels, kernel_size).with_activation(Activation::Identity)
    }
}

impl ImageClassifier for ResNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let x = self.deep_stem.iter().fold(images, |x, conv| conv.forward(x));
        let mut x = maps.keep("stem", self.stem.forward(x))?;
        if let Some(pool) = &self.pool {
            x = pool.apply(x);
        }
        if let Some(anti_alias) = &self.anti_alias {
            x = anti_alias.forward(x);
        }
        for (index, blocks) in self.stages.iter().enumerate() {
            x = blocks.iter().fold(x, |x, block| block.forward(x));
            x = maps.keep(format_args!("stages.{index}"), x)?;
        }
        Some(x)
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        self.pyramid.levels()
    }

    fn head(&self) -> &dyn Head {
        &self.classifier
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        &mut self.classifier
    }

    fn min_size(&self) -> usize {
        self.min_size
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, shortcut] = fork(x);
        let (last, before) = self.convs.split_last().expect("a block has convolutions");
        let mut branch = before.iter().fold(branch, |x, conv| conv.forward(x));
        if let Some(anti_alias) = &self.anti_alias {
            branch = anti_alias.forward(branch);
        }
        branch = last.forward(branch);
        if let Some(squeeze_excite) = &self.squeeze_excite {
            branch = squeeze_excite.forward(branch);
        }
        let shortcut = match &self.shortcut {
            None => shortcut,
            Some(Shortcut::Projection(projection)) => projection.forward(shortcut),
            Some(Shortcut::Averaged(averaged)) => averaged.forward(shortcut),
            Some(Shortcut::Padded(padded)) => padded.forward(shortcut),
        };
        add(Activation::Relu, branch, shortcut)
    }
}

impl Averaged {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = match &self.pool {
            Some(pool) => pool.apply(x),
            None => x,
        };
        self.projection.forward(x)
    }
}

impl Padded {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.pool.apply(x);
        let [batch, channels, height, width] = x.dims();
        let missing = self.out_channels - channels;
        let options = (&x.device(), x.dtype());
        let zeros = |channels| Tensor::zeros([batch, channels, height, width], options);
        let (before, after) = (zeros(missing / 2), zeros(missing - missing / 2));
        cat(vec![before, x, after])
    }
}
