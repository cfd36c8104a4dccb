//! # MobileNetV2
//!
//! Sandler et al., 2018: [Inverted Residuals and Linear Bottlenecks](https://arxiv.org/abs/1801.04381).
//!
//! An inverted residual block: the shortcut joins two *narrow* tensors, a *wide* depthwise
//! convolution is between them, and the last layer has no activation.
//!
//! | part         | output for `[N, 3, 224, 224]`, width 1.0 | paper, table 2          |
//! |--------------|------------------------------------------|-------------------------|
//! | `stem`       | `[N, 32, 112, 112]`                      | conv2d 3×3, stride 2    |
//! | `blocks`     | `[N, 320, 7, 7]`                         | 17 bottlenecks          |
//! | `head_conv`  | `[N, 1280, 7, 7]`                        | conv2d 1×1              |
//! | `classifier` | `[N, num_classes]`                       | avgpool 7×7, conv2d 1×1 |

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::tensor::{Device, Tensor};
use zoo_core::layers::{
    Activation, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig,
    InvertedResidual, InvertedResidualConfig, Padding, make_divisible,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};
pub use zoo_core::{ImageClassifier, Implementation, StemKind};

mod pretrained;
use pretrained::WIDTH_1 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`MobileNetV2`].
#[derive(Config, Debug)]
pub struct MobileNetV2Config {
    /// Factor of the channels of all layers; of the head only if it is above 1 (§4).
    #[config(default = "DEFAULT.width_mult")]
    pub width_mult: f64,
    /// Probability of dropping a feature before the classifier while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// The implementation to follow. Keras's has TensorFlow's padding and BatchNorm.
    #[config(default = "DEFAULT.implementation")]
    pub implementation: Implementation,
    /// The image size that it is designed for. For CIFAR, the stem and the second stage have stride 1.
    #[config(default = "DEFAULT.stem")]
    pub stem: StemKind,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// MobileNetV2 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    head_conv: ConvNormAct,
    classifier: ClassifierHead,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// One row of table 2: `t`, `c`, `n`, `s` in the paper.
struct Stage {
    expansion: usize,
    channels: usize,
    repeats: usize,
    stride: usize,
}

#[rustfmt::skip]
const STAGES: [Stage; 7] = [
    Stage { expansion: 1, channels:  16, repeats: 1, stride: 1 },
    Stage { expansion: 6, channels:  24, repeats: 2, stride: 2 },
    Stage { expansion: 6, channels:  32, repeats: 3, stride: 2 },
    Stage { expansion: 6, channels:  64, repeats: 4, stride: 2 },
    Stage { expansion: 6, channels:  96, repeats: 3, stride: 1 },
    Stage { expansion: 6, channels: 160, repeats: 3, stride: 2 },
    Stage { expansion: 6, channels: 320, repeats: 1, stride: 1 },
];

impl MobileNetV2Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> MobileNetV2 {
        let wide = |channels: usize| make_divisible(channels as f64 * self.width_mult, 8);
        let stem_channels = wide(32);
        let head_channels = make_divisible(1280.0 * self.width_mult.max(1.0), 8);

        let [stem_stride, first_stride] = match self.stem {
            StemKind::ImageNet => [2, 2],
            StemKind::Cifar => [1, 1],
        };
        let mut channels = stem_channels;
        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = stem_stride;
        let mut blocks = Vec::new();
        for (number, stage) in STAGES.iter().enumerate() {
            for index in 0..stage.repeats {
                let stride = match (number, index) {
                    (1, 0) => first_stride,
                    (_, 0) => stage.stride,
                    _ => 1,
                };
                let io = [channels, wide(stage.channels)];
                map_stride *= stride;
                channels = wide(stage.channels);
                pyramid.push(format!("blocks.{}", blocks.len()), channels, map_stride);
                blocks.push(self.block(io, stage.expansion, stride, device));
            }
        }
        MobileNetV2 {
            stem: self
                .conv([self.in_channels, stem_channels], 3)
                .with_stride(stem_stride)
                .init(device),
            blocks,
            head_conv: self.conv([channels, head_channels], 1).init(device),
            classifier: ClassifierHeadConfig::new(head_channels, self.num_classes)
                .with_dropout(self.dropout)
                .with_initializer(Some(Initializer::Normal { mean: 0.0, std: 0.01 }))
                .init(device),
            pyramid,
        }
    }

    fn block(
        &self,
        [channels, out_channels]: [usize; 2],
        expansion: usize,
        stride: usize,
        device: &Device,
    ) -> InvertedResidual {
        let channels = [channels, channels * expansion, out_channels];
        let block = InvertedResidualConfig::new(channels).with_stride(stride);
        block.init(|channels, kernel_size| self.conv(channels, kernel_size), device)
    }

    fn conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        let conv = ConvNormActConfig::new(channels, [kernel_size; 2]);
        let conv = conv.with_activation(Activation::Relu6);
        match self.implementation {
            Implementation::PyTorch => conv,
            Implementation::Keras => {
                conv.with_padding(Padding::Same).with_epsilon(1e-3).with_momentum(0.001)
            }
        }
    }
}

impl ImageClassifier for MobileNetV2 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = self.stem.forward(images);
        for (index, block) in self.blocks.iter().enumerate() {
            x = maps.keep(format_args!("blocks.{index}"), block.forward(x))?;
        }
        Some(self.head_conv.forward(x))
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
}
