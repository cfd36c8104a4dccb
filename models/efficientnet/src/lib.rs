//! # EfficientNet, EfficientNet-Lite
//!
//! Tan & Le, 2019: [Rethinking Model Scaling for Convolutional Neural Networks](https://arxiv.org/abs/1905.11946).
//!
//! A small network found by an architecture search (B0), and one rule that scales its depth, width
//! and resolution together.
//!
//! | part         | B0, `[N, 3, 224, 224]` | paper, table 1         |
//! |--------------|------------------------|------------------------|
//! | `stem`       | `[N, 32, 112, 112]`    | stage 1, conv 3×3      |
//! | `stages.0`   | `[N, 16, 112, 112]`    | stage 2, MBConv1, 3×3  |
//! | `stages.1`   | `[N, 24, 56, 56]`      | stage 3, MBConv6, 3×3  |
//! | `stages.2`   | `[N, 40, 28, 28]`      | stage 4, MBConv6, 5×5  |
//! | `stages.3`   | `[N, 80, 14, 14]`      | stage 5, MBConv6, 3×3  |
//! | `stages.4`   | `[N, 112, 14, 14]`     | stage 6, MBConv6, 5×5  |
//! | `stages.5`   | `[N, 192, 7, 7]`       | stage 7, MBConv6, 5×5  |
//! | `stages.6`   | `[N, 320, 7, 7]`       | stage 8, MBConv6, 3×3  |
//! | `head_conv`  | `[N, 1280, 7, 7]`      | stage 9, conv 1×1      |
//! | `classifier` | `[N, num_classes]`     | stage 9, pooling, fc   |
//!
//! The [Lite](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite)
//! networks have no squeeze-and-excitation, use ReLU6 so that they quantize well, and do not scale
//! the stem, the head and the depth of the first and last stage. One of timm's networks downsamples
//! with blur pooling (Zhang, 2019: [Making Convolutional Networks Shift-Invariant
//! Again](https://arxiv.org/abs/1904.11486)).

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig,
    InvertedResidual, InvertedResidualConfig, Padding, SqueezeExciteConfig,
    kaiming_normal_by_group, make_divisible,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod pretrained;
use pretrained::STANDARD as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`EfficientNet`].
#[derive(Config, Debug)]
pub struct EfficientNetConfig {
    /// The standard or the Lite networks.
    pub kind: Kind,
    /// Factor of the channels.
    pub width_mult: f64,
    /// Factor of the number of blocks in a stage.
    pub depth_mult: f64,
    /// Probability of dropping a feature before the classifier while training.
    pub dropout: f64,
    /// Probability of dropping the last block while training; earlier ones in proportion.
    #[config(default = "DEFAULT.stochastic_depth")]
    pub stochastic_depth: f64,
    /// The padding that the weights were trained with.
    #[config(default = "DEFAULT.padding")]
    pub padding: Padding,
    /// The downsampling of a block with stride 2.
    #[config(default = "DEFAULT.downsampling")]
    pub downsampling: Downsampling,
    /// Number that BatchNorm adds to the variance.
    #[config(default = "DEFAULT.epsilon")]
    pub epsilon: f64,
    /// Weight of a batch's statistics in BatchNorm's running averages.
    #[config(default = "DEFAULT.momentum")]
    pub momentum: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The standard networks, or the Lite networks for small devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// B0 to B7: SiLU, squeeze-and-excitation.
    Standard,
    /// Lite0 to Lite4: ReLU6, no squeeze-and-excitation.
    Lite,
}

/// The downsampling of a block with stride 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Downsampling {
    /// By the stride of its depthwise convolution.
    Strided,
    /// By a 3×3 binomial filter after the depthwise convolution.
    BlurPool,
}

/// EfficientNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct EfficientNet {
    stem: ConvNormAct,
    stages: Vec<Vec<InvertedResidual>>,
    head_conv: ConvNormAct,
    classifier: ClassifierHead,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// One row of table 1.
struct Stage {
    expansion: usize,
    kernel_size: usize,
    stride: usize,
    channels: usize,
    repeats: usize,
}

#[rustfmt::skip]
const STAGES: [Stage; 7] = [
    Stage { expansion: 1, kernel_size: 3, stride: 1, channels:  16, repeats: 1 },
    Stage { expansion: 6, kernel_size: 3, stride: 2, channels:  24, repeats: 2 },
    Stage { expansion: 6, kernel_size: 5, stride: 2, channels:  40, repeats: 2 },
    Stage { expansion: 6, kernel_size: 3, stride: 2, channels:  80, repeats: 3 },
    Stage { expansion: 6, kernel_size: 5, stride: 1, channels: 112, repeats: 3 },
    Stage { expansion: 6, kernel_size: 5, stride: 2, channels: 192, repeats: 4 },
    Stage { expansion: 6, kernel_size: 3, stride: 1, channels: 320, repeats: 1 },
];

const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 1280;

impl EfficientNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> EfficientNet {
        let depths: Vec<usize> = (0..STAGES.len()).map(|stage| self.depth(stage)).collect();
        let total: usize = depths.iter().sum();
        let [stem_channels, head_channels] = match self.kind {
            Kind::Standard => [STEM_CHANNELS, HEAD_CHANNELS].map(|channels| self.wide(channels)),
            Kind::Lite => [STEM_CHANNELS, HEAD_CHANNELS],
        };

        let mut channels = stem_channels;
        let mut built = 0;
        let mut stages = Vec::with_capacity(STAGES.len());
        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = 2;
        for (index, (stage, depth)) in STAGES.iter().zip(depths).enumerate() {
            let mut blocks = Vec::with_capacity(depth);
            for repeat in 0..depth {
                let stride = if repeat == 0 { stage.stride } else { 1 };
                let drop = self.stochastic_depth * built as f64 / total as f64;
                blocks.push(self.block(stage, channels, stride, drop, device));
                channels = self.wide(stage.channels);
                built += 1;
            }
            map_stride *= stage.stride;
            pyramid.push(format!("stages.{index}"), channels, map_stride);
            stages.push(blocks);
        }
        EfficientNet {
            stem: self.conv([self.in_channels, stem_channels], 3).with_stride(2).init(device),
            stages,
            head_conv: self.conv([channels, head_channels], 1).init(device),
            classifier: ClassifierHeadConfig::new(head_channels, self.num_classes)
                .with_dropout(self.dropout)
                .with_initializer(Some(uniform_by_outputs()))
                .init(device),
            pyramid,
        }
    }

    fn wide(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width_mult, 8)
    }

    fn depth(&self, stage: usize) -> usize {
        let repeats = STAGES[stage].repeats;
        let is_outer = stage == 0 || stage == STAGES.len() - 1;
        match self.kind {
            Kind::Lite if is_outer => repeats,
            _ => (repeats as f64 * self.depth_mult).ceil() as usize,
        }
    }

    fn block(
        &self,
        stage: &Stage,
        channels: usize,
        stride: usize,
        drop: f64,
        device: &Device,
    ) -> InvertedResidual {
        let hidden = channels * stage.expansion;
        let squeeze_excite = SqueezeExciteConfig::new(hidden, (channels / 4).max(1))
            .with_activation(Activation::Silu)
            .with_initializer(Some(kaiming_normal_by_group()));
        let block = InvertedResidualConfig::new([channels, hidden, self.wide(stage.channels)])
            .with_kernel_size(stage.kernel_size)
            .with_stride(stride)
            .with_blur_pool(self.downsampling == Downsampling::BlurPool)
            .with_squeeze_excite((self.kind == Kind::Standard).then_some(squeeze_excite))
            .with_stochastic_depth(drop);
        block.init(|channels, kernel_size| self.conv(channels, kernel_size), device)
    }

    fn conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        ConvNormActConfig::new(channels, [kernel_size; 2])
            .with_padding(self.padding)
            .with_epsilon(self.epsilon)
            .with_momentum(self.momentum)
            .with_activation(match self.kind {
                Kind::Standard => Activation::Silu,
                Kind::Lite => Activation::Relu6,
            })
            .with_initializer(match self.kind {
                Kind::Standard => None,
                Kind::Lite => Some(kaiming_normal_by_group()),
            })
    }
}

/// Returns a uniform distribution in `±1/sqrt(outputs)`.
fn uniform_by_outputs() -> Initializer {
    Initializer::KaimingUniform { gain: 1.0 / 3.0_f64.sqrt(), fan_out_only: true }
}

impl ImageClassifier for EfficientNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = self.stem.forward(images);
        for (index, blocks) in self.stages.iter().enumerate() {
            x = blocks.iter().fold(x, |x, block| block.forward(x));
            x = maps.keep(format_args!("stages.{index}"), x)?;
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
