//! # SENet
//!
//! Hu et al., 2017: [Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507).
//!
//! A block averages each channel of its output and computes from the averages a factor for each
//! channel (§3).
//!
//! | part         | SE-ResNet-50, `[N, 3, 224, 224]` | paper, table 1           | SENet-154                        |
//! |--------------|----------------------------------|--------------------------|----------------------------------|
//! | `stem`       | `[N, 64, 112, 112]`              | conv 7×7/2               | `[N, 128, 112, 112]`, 3 conv 3×3 |
//! | `stages.0`   | `[N, 256, 56, 56]`               | max pool 3×3/2, 3 blocks | the same                         |
//! | `stages.1`   | `[N, 512, 28, 28]`               | 4 blocks                 | 8 blocks                         |
//! | `stages.2`   | `[N, 1024, 14, 14]`              | 6 blocks                 | 36 blocks                        |
//! | `stages.3`   | `[N, 2048, 7, 7]`                | 3 blocks                 | the same                         |
//! | `classifier` | `[N, num_classes]`               | global average pool, fc  | the same                         |
//!
//! The networks are those that the authors trained in Caffe, as timm and Cadene ported them: the stride
//! of a bottleneck is on its first 1×1 convolution, in SE-ResNeXt and SENet-154 on the 3×3 one; the
//! stem's pooling has no padding and rounds up; a basic block has an activation before its
//! squeeze-and-excitation.
//!
//! # In your own network
//!
//! Squeeze-and-excitation can follow any layer. It needs a field and a call:
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::conv::{Conv2d, Conv2dConfig};
//! use burn::tensor::{Device, Tensor};
//! use zoo_senet::{SqueezeExcite, SqueezeExciteConfig};
//!
//! #[derive(Module, Debug)]
//! struct Layer {
//!     conv: Conv2d,
//!     squeeze_excite: SqueezeExcite,
//! }
//!
//! impl Layer {
//!     fn new(device: &Device) -> Self {
//!         Self {
//!             conv: Conv2dConfig::new([3, 64], [3, 3]).init(device),
//!             squeeze_excite: SqueezeExciteConfig::new(64, 64 / 16).init(device),
//!         }
//!     }
//!
//!     fn forward(&self, x: Tensor<4>) -> Tensor<4> {
//!         self.squeeze_excite.forward(self.conv.forward(x))
//!     }
//! }
//!
//! let device = Device::default();
//! let y = Layer::new(&device).forward(Tensor::ones([1, 3, 10, 10], &device));
//! assert_eq!(y.dims(), [1, 64, 8, 8]);
//! ```

use burn::config::Config;
use burn::module::Module;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig, add,
    fork, kaiming_normal_by_group, torch_default_uniform,
};
pub use zoo_core::layers::{SqueezeExcite, SqueezeExciteConfig};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod pretrained;
use pretrained::BASIC as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`SENet`].
#[derive(Config, Debug)]
pub struct SENetConfig {
    /// The kind of the blocks.
    pub block: BlockKind,
    /// Number of blocks in each stage.
    pub depths: [usize; 4],
    /// Reduction of the channels in squeeze-and-excitation (`r` in §3.2).
    #[config(default = "DEFAULT.reduction")]
    pub reduction: usize,
    /// Probability of dropping a feature before the classifier while training; 0.2 in SENet-154.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The kind of a block: a residual block with squeeze-and-excitation on its branch
/// (figure 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// ResNet's basic block: two 3×3 convolutions.
    Basic,
    /// ResNet's bottleneck: a 1×1 reduction, a 3×3 convolution, a 1×1 expansion by four.
    Bottleneck,
    /// ResNeXt's bottleneck: its 3×3 convolution has 32 groups of 4 channels.
    Aggregated,
    /// SENet-154's bottleneck: 64 groups, a first 1×1 convolution half as wide as the 3×3 one, and a
    /// 3×3 shortcut. The stem has three 3×3 convolutions (appendix).
    Wide,
}

/// Residual network with squeeze-and-excitation; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct SENet {
    stem: Vec<ConvNormAct>,
    pool: MaxPool2d,
    stages: Vec<Vec<Block>>,
    classifier: ClassifierHead,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A residual block: convolutions, squeeze-and-excitation, and a shortcut. The activation comes after
/// the sum.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<ConvNormAct>,
    squeeze_excite: SqueezeExcite,
    shortcut: Option<ConvNormAct>,
}

/// Channels of the first stage; each stage has twice as many as the one before.
const WIDTH: usize = 64;

/// Channels of a bottleneck's output per channel of its stage.
const EXPANSION: usize = 4;

/// The stem leaves two pixels; its pooling without padding can take them.
const MIN_SIZE: usize = 3;

impl BlockKind {
    fn stem(self, in_channels: usize) -> Vec<ConvNormActConfig> {
        match self {
            Self::Basic | Self::Bottleneck | Self::Aggregated => {
                vec![conv([in_channels, WIDTH], 7).with_stride(2)]
            }
            Self::Wide => vec![
                conv([in_channels, WIDTH], 3).with_stride(2),
                conv([WIDTH, WIDTH], 3),
                conv([WIDTH, 2 * WIDTH], 3),
            ],
        }
    }

    fn convs(self, channels: usize, width: usize, stride: usize) -> Vec<ConvNormActConfig> {
        let expanded = width * EXPANSION;
        match self {
            Self::Basic => {
                vec![conv([channels, width], 3).with_stride(stride), conv([width, width], 3)]
            }
            Self::Bottleneck => vec![
                conv([channels, width], 1).with_stride(stride),
                conv([width, width], 3),
                linear_conv([width, expanded], 1),
            ],
            Self::Aggregated => {
                let inner = width * 32 * 4 / WIDTH;
                vec![
                    conv([channels, inner], 1),
                    conv([inner, inner], 3).with_stride(stride).with_groups(32),
                    linear_conv([inner, expanded], 1),
                ]
            }
            Self::Wide => vec![
                conv([channels, 2 * width], 1),
                conv([2 * width, expanded], 3).with_stride(stride).with_groups(64),
                linear_conv([expanded, expanded], 1),
            ],
        }
    }

    fn shortcut(self, channels: [usize; 2], stride: usize) -> Option<ConvNormActConfig> {
        let [in_channels, out_channels] = channels;
        let kernel_size = if self == Self::Wide && stride > 1 { 3 } else { 1 };
        let is_needed = stride > 1 || in_channels != out_channels;
        is_needed.then(|| linear_conv(channels, kernel_size).with_stride(stride))
    }
}

impl SENetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> SENet {
        let stem = self.block.stem(self.in_channels);
        let mut channels = out_channels(&stem);
        let mut pyramid = PyramidBuilder::default();
        pyramid.push("stem", channels, 2);
        let mut stages = Vec::with_capacity(self.depths.len());
        for (stage, depth) in self.depths.into_iter().enumerate() {
            let mut blocks = Vec::with_capacity(depth);
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let convs = self.block.convs(channels, WIDTH << stage, stride);
                let io = [channels, out_channels(&convs)];
                let shortcut = self.block.shortcut(io, stride);
                channels = io[1];
                let squeezed = channels / self.reduction;
                blocks.push(Block {
                    convs: init_all(convs, device),
                    squeeze_excite: SqueezeExciteConfig::new(channels, squeezed)
                        .with_initializer(Some(kaiming_normal_by_group()))
                        .with_bias_initializer(Some(torch_default_uniform()))
                        .init(device),
                    shortcut: shortcut.map(|conv| conv.init(device)),
                });
            }
            pyramid.push(format!("stages.{stage}"), channels, 4 << stage);
            stages.push(blocks);
        }
        SENet {
            stem: init_all(stem, device),
            pool: MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_ceil_mode(true).init(),
            stages,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_dropout(self.dropout)
                .init(device),
            pyramid,
        }
    }
}

fn out_channels(convs: &[ConvNormActConfig]) -> usize {
    convs.last().expect("a block has convolutions").channels[1]
}

fn init_all(convs: Vec<ConvNormActConfig>, device: &Device) -> Vec<ConvNormAct> {
    convs.iter().map(|conv| conv.init(device)).collect()
}

fn conv(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    ConvNormActConfig::new(channels, [kernel_size; 2])
}

fn linear_conv(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    conv(channels, kernel_size).with_activation(Activation::Identity)
}

impl ImageClassifier for SENet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let x = self.stem.iter().fold(images, |x, conv| conv.forward(x));
        let mut x = self.pool.apply(maps.keep("stem", x)?);
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
        MIN_SIZE
    }
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, shortcut] = fork(x);
        let branch = self.convs.iter().fold(branch, |x, conv| conv.forward(x));
        let branch = self.squeeze_excite.forward(branch);
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(shortcut),
            None => shortcut,
        };
        add(Activation::Relu, branch, shortcut)
    }
}
