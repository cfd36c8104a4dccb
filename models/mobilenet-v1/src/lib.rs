//! # MobileNet
//!
//! Howard et al., 2017: [Efficient Convolutional Neural Networks for Mobile Vision Applications](https://arxiv.org/abs/1704.04861).
//!
//! A depthwise separable convolution has two steps: a 3×3 filter for each channel, then a 1×1
//! convolution that mixes the channels. It needs an eighth to a ninth of the computation of a 3×3
//! convolution (§3.1).
//!
//! | part         | output for `[N, 3, 224, 224]`, width 1.0 | paper, table 1               |
//! |--------------|------------------------------------------|------------------------------|
//! | `stem`       | `[N, 32, 112, 112]`                      | conv 3×3, stride 2           |
//! | `stages.0`   | `[N, 64, 112, 112]`                      | 1 depthwise separable block  |
//! | `stages.1`   | `[N, 128, 56, 56]`                       | 2 blocks                     |
//! | `stages.2`   | `[N, 256, 28, 28]`                       | 2 blocks                     |
//! | `stages.3`   | `[N, 512, 14, 14]`                       | 6 blocks                     |
//! | `stages.4`   | `[N, 1024, 7, 7]`                        | 2 blocks                     |
//! | `classifier` | `[N, num_classes]`                       | avgpool 7×7, fully connected |
//!
//! In the paper's table the last block has a stride of 2, but an output of the size of its input; the
//! stride is 1. The authors' code uses ReLU6 instead of the paper's ReLU, and timm follows the code.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use zoo_core::layers::{
    Activation, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig, Padding,
    kaiming_normal_by_group,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};
pub use zoo_core::{ImageClassifier, Implementation, StemKind};

mod pretrained;
use pretrained::WIDTH_1 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`MobileNetV1`].
#[derive(Config, Debug)]
pub struct MobileNetV1Config {
    /// Factor of the channels of all layers: `α` in §3.3.
    #[config(default = "DEFAULT.width_mult")]
    pub width_mult: f64,
    /// Probability of dropping a feature before the classifier while training; 0.001 in Keras.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Activation after each BatchNorm.
    #[config(default = "DEFAULT.activation")]
    pub activation: Activation,
    /// The implementation to follow. Keras's pads at the bottom and right before a stride of 2, and its
    /// BatchNorm adds 1e-3 to the variance.
    #[config(default = "DEFAULT.implementation")]
    pub implementation: Implementation,
    /// The image size that it is designed for. For CIFAR, the stem has stride 1.
    #[config(default = "DEFAULT.stem")]
    pub stem: StemKind,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// MobileNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct MobileNetV1 {
    stem: ConvNormAct,
    stages: Vec<Vec<DepthwiseSeparable>>,
    classifier: ClassifierHead,
    min_size: usize,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A depthwise separable convolution (figure 3).
#[derive(Module, Debug)]
struct DepthwiseSeparable {
    depthwise: ConvNormAct,
    pointwise: ConvNormAct,
}

/// Rows of table 1 with the same number of channels.
struct Stage {
    channels: usize,
    repeats: usize,
    stride: usize,
}

#[rustfmt::skip]
const STAGES: [Stage; 5] = [
    Stage { channels:   64, repeats: 1, stride: 1 },
    Stage { channels:  128, repeats: 2, stride: 2 },
    Stage { channels:  256, repeats: 2, stride: 2 },
    Stage { channels:  512, repeats: 6, stride: 2 },
    Stage { channels: 1024, repeats: 2, stride: 2 },
];

impl MobileNetV1Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> MobileNetV1 {
        let stem_channels = self.wide(32);
        let stem_stride = match self.stem {
            StemKind::ImageNet => 2,
            StemKind::Cifar => 1,
        };
        let mut channels = stem_channels;
        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = stem_stride;
        let mut stages = Vec::with_capacity(STAGES.len());
        for (index, stage) in STAGES.iter().enumerate() {
            let mut blocks = Vec::with_capacity(stage.repeats);
            for repeat in 0..stage.repeats {
                let stride = if repeat == 0 { stage.stride } else { 1 };
                blocks.push(self.block([channels, self.wide(stage.channels)], stride, device));
                channels = self.wide(stage.channels);
            }
            map_stride *= stage.stride;
            pyramid.push(format!("stages.{index}"), channels, map_stride);
            stages.push(blocks);
        }
        MobileNetV1 {
            stem: self
                .conv([self.in_channels, stem_channels], 3)
                .with_stride(stem_stride)
                .with_padding(match self.implementation {
                    Implementation::PyTorch => Padding::Symmetric,
                    Implementation::Keras => Padding::Same,
                })
                .init(device),
            stages,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_dropout(self.dropout)
                .with_initializer(Some(kaiming_normal_by_group()))
                .init(device),
            min_size: match self.implementation {
                Implementation::PyTorch => 1,
                // After the stem, each of four layers with stride 2 needs two pixels.
                Implementation::Keras => 31,
            },
            pyramid,
        }
    }

    /// Scales a number of channels and rounds down; later MobileNets round to multiples of eight.
    fn wide(&self, channels: usize) -> usize {
        ((channels as f64 * self.width_mult) as usize).max(1)
    }

    fn block(
        &self,
        [channels, out_channels]: [usize; 2],
        stride: usize,
        device: &Device,
    ) -> DepthwiseSeparable {
        DepthwiseSeparable {
            depthwise: self
                .conv([channels, channels], 3)
                .with_stride(stride)
                .with_padding(match self.implementation {
                    Implementation::Keras if stride > 1 => Padding::Trailing,
                    _ => Padding::Symmetric,
                })
                .with_groups(channels)
                .init(device),
            pointwise: self.conv([channels, out_channels], 1).init(device),
        }
    }

    fn conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        ConvNormActConfig::new(channels, [kernel_size; 2])
            .with_initializer(Some(kaiming_normal_by_group()))
            .with_activation(self.activation)
            .with_epsilon(match self.implementation {
                Implementation::PyTorch => 1e-5,
                Implementation::Keras => 1e-3,
            })
            .with_momentum(match self.implementation {
                Implementation::PyTorch => 0.1,
                Implementation::Keras => 0.01,
            })
    }
}

impl ImageClassifier for MobileNetV1 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = self.stem.forward(images);
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

impl DepthwiseSeparable {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.pointwise.forward(self.depthwise.forward(x))
    }
}
