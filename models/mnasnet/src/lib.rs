//! # MnasNet
//!
//! Tan et al., 2018: [Platform-Aware Neural Architecture Search for Mobile](https://arxiv.org/abs/1807.11626).
//!
//! An architecture search over MobileNetV2's blocks found these networks; it measures latency on a phone. Each
//! stage has its own expansion, kernel size and depth, so early stages differ from late ones.
//!
//! | part         | A1, `[N, 3, 224, 224]` | B1, width 1.0        | A1 in the paper, figure 7   |
//! |--------------|------------------------|----------------------|-----------------------------|
//! | `stem`       | `[N, 32, 112, 112]`    | `[N, 32, 112, 112]`  | conv 3×3, stride 2          |
//! | `stages.0`   | `[N, 16, 112, 112]`    | `[N, 16, 112, 112]`  | SepConv, 3×3                |
//! | `stages.1`   | `[N, 24, 56, 56]`      | `[N, 24, 56, 56]`    | MBConv6, 3×3                |
//! | `stages.2`   | `[N, 40, 28, 28]`      | `[N, 40, 28, 28]`    | MBConv3, 5×5, SE            |
//! | `stages.3`   | `[N, 80, 14, 14]`      | `[N, 80, 14, 14]`    | MBConv6, 3×3                |
//! | `stages.4`   | `[N, 112, 14, 14]`     | `[N, 96, 14, 14]`    | MBConv6, 3×3, SE            |
//! | `stages.5`   | `[N, 160, 7, 7]`       | `[N, 192, 7, 7]`     | MBConv6, 5×5, SE            |
//! | `stages.6`   | `[N, 320, 7, 7]`       | `[N, 320, 7, 7]`     | MBConv6, 3×3                |
//! | `head_conv`  | `[N, 1280, 7, 7]`      | `[N, 1280, 7, 7]`    | conv 1×1                    |
//! | `classifier` | `[N, num_classes]`     | `[N, num_classes]`   | pooling, fully connected    |
//!
//! The width scales the stem and all stages, but not the head. Squeeze-and-excitation reduces to a
//! quarter of the block's input channels, not of its expanded channels.
//!
//! A network of the search space is named by its stages: `mnasnet_` and seven codes such as `m6k5sf40x3` for `MBConv6`, 5×5, SE, 40
//! filters, 3 layers, or `ck3nf16x1` for a 3×3 convolution without a shortcut. [`Mobile`] draws such names.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig,
    InvertedResidual, InvertedResidualConfig, SqueezeExciteConfig, add, fork,
    kaiming_normal_by_group, make_divisible,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod code;
mod pretrained;
mod space;
use pretrained::B1 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};
pub use space::Mobile;

/// Configuration of a [`MnasNet`].
#[derive(Config, Debug)]
pub struct MnasNetConfig {
    /// The initialization, that of A1 or B1.
    pub version: Version,
    /// The seven stages; the paper calls them blocks.
    #[config(default = "DEFAULT.stages")]
    pub stages: [Stage; 7],
    /// Factor of the channels of all layers except the head.
    #[config(default = "DEFAULT.width_mult")]
    pub width_mult: f64,
    /// Probability of dropping a feature before the classifier while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Weight of a batch's statistics in BatchNorm's running averages; the default is torchvision's.
    #[config(default = "DEFAULT.momentum")]
    pub momentum: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// A network that the paper's search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// The network of the search with squeeze-and-excitation.
    A1,
    /// The network of the search without squeeze-and-excitation.
    B1,
}

/// MnasNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct MnasNet {
    stem: ConvNormAct,
    /// The inverted residuals of each stage; empty for a stage of convolutions.
    stages: Vec<Vec<InvertedResidual>>,
    /// The convolutions of each stage; empty for a stage of inverted residuals.
    convs: Vec<Vec<Conv>>,
    head_conv: ConvNormAct,
    classifier: ClassifierHead,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A convolution, with a shortcut around it where the shapes are equal.
#[derive(Module, Debug)]
struct Conv {
    conv: ConvNormAct,
    has_shortcut: bool,
}

/// One block of the search space: `repeats` layers with the same settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The operation of each layer.
    pub op: Op,
    /// Side of its kernel.
    pub kernel_size: usize,
    /// Number of output channels, before `width_mult`.
    pub channels: usize,
    /// Number of layers.
    pub repeats: usize,
    /// Whether an [`Op::MbConv`] has squeeze-and-excitation.
    pub squeeze_excite: bool,
    /// Whether the input of a layer is added to an output of the same shape.
    pub has_shortcut: bool,
}

/// The operation of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A convolution.
    Conv,
    /// An inverted residual; the paper's SepConv is one without expansion.
    MbConv {
        /// Factor of the channels in the middle.
        expansion: usize,
    },
}

/// Stride of the first layer of each stage.
const STRIDES: [usize; 7] = [1, 2, 2, 2, 1, 2, 1];

/// The stages of the paper's A1.
#[rustfmt::skip]
pub const A1_STAGES: [Stage; 7] = [
    Stage { op: Op::MbConv { expansion: 1 }, kernel_size: 3, channels:  16, repeats: 1, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 3, channels:  24, repeats: 2, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 3 }, kernel_size: 5, channels:  40, repeats: 3, squeeze_excite: true, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 3, channels:  80, repeats: 4, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 3, channels: 112, repeats: 2, squeeze_excite: true, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 5, channels: 160, repeats: 3, squeeze_excite: true, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 3, channels: 320, repeats: 1, squeeze_excite: false, has_shortcut: true },
];

/// The stages of B1.
#[rustfmt::skip]
pub const B1_STAGES: [Stage; 7] = [
    Stage { op: Op::MbConv { expansion: 1 }, kernel_size: 3, channels:  16, repeats: 1, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 3 }, kernel_size: 3, channels:  24, repeats: 3, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 3 }, kernel_size: 5, channels:  40, repeats: 3, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 5, channels:  80, repeats: 3, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 3, channels:  96, repeats: 2, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 5, channels: 192, repeats: 4, squeeze_excite: false, has_shortcut: true },
    Stage { op: Op::MbConv { expansion: 6 }, kernel_size: 3, channels: 320, repeats: 1, squeeze_excite: false, has_shortcut: true },
];

const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 1280;

impl Version {
    /// Returns Kaiming normal with fan-out: per group as in TensorFlow and timm, or as torchvision
    /// computes it.
    fn initializer(self) -> Option<Initializer> {
        match self {
            Self::A1 => Some(kaiming_normal_by_group()),
            Self::B1 => None,
        }
    }

    /// Returns a uniform distribution, within `±sqrt(1 / num_classes)` in timm and
    /// `±sqrt(3 / num_classes)` in torchvision.
    fn classifier_initializer(self) -> Initializer {
        let gain = match self {
            Self::A1 => 3.0_f64.sqrt().recip(),
            Self::B1 => 1.0,
        };
        Initializer::KaimingUniform { gain, fan_out_only: true }
    }
}

impl MnasNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> MnasNet {
        let stem_channels = self.wide(STEM_CHANNELS);
        let mut channels = stem_channels;
        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = 2;
        let (mut stages, mut convs) = (Vec::new(), Vec::new());
        for (index, (stage, first_stride)) in self.stages.iter().zip(STRIDES).enumerate() {
            let (mut of_stage, mut convs_of_stage) = (Vec::new(), Vec::new());
            for repeat in 0..stage.repeats {
                let stride = if repeat == 0 { first_stride } else { 1 };
                match stage.op {
                    Op::Conv => {
                        convs_of_stage.push(self.conv_layer(stage, channels, stride, device));
                    }
                    Op::MbConv { expansion } => {
                        of_stage.push(self.block(stage, expansion, channels, stride, device));
                    }
                }
                channels = self.wide(stage.channels);
            }
            map_stride *= first_stride;
            pyramid.push(format!("stages.{index}"), channels, map_stride);
            stages.push(of_stage);
            convs.push(convs_of_stage);
        }
        MnasNet {
            stem: self.conv([self.in_channels, stem_channels], 3).with_stride(2).init(device),
            stages,
            convs,
            head_conv: self.conv([channels, HEAD_CHANNELS], 1).init(device),
            classifier: ClassifierHeadConfig::new(HEAD_CHANNELS, self.num_classes)
                .with_dropout(self.dropout)
                .with_initializer(Some(self.version.classifier_initializer()))
                .init(device),
            pyramid,
        }
    }

    fn wide(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width_mult, 8)
    }

    /// Returns the paper's `MBConv`; without expansion, its `SepConv`.
    fn block(
        &self,
        stage: &Stage,
        expansion: usize,
        channels: usize,
        stride: usize,
        device: &Device,
    ) -> InvertedResidual {
        let hidden = channels * expansion;
        let out_channels = self.wide(stage.channels);
        let squeeze_excite = SqueezeExciteConfig::new(hidden, channels / 4)
            .with_initializer(self.version.initializer());
        let block = InvertedResidualConfig::new([channels, hidden, out_channels])
            .with_kernel_size(stage.kernel_size)
            .with_stride(stride)
            .with_squeeze_excite(stage.squeeze_excite.then_some(squeeze_excite))
            // A SepConv has no shortcut, even if its input and output shapes are equal in a narrow network.
            .with_has_shortcut(stage.has_shortcut && expansion > 1);
        block.init(|channels, kernel_size| self.conv(channels, kernel_size), device)
    }

    fn conv_layer(&self, stage: &Stage, channels: usize, stride: usize, device: &Device) -> Conv {
        let out_channels = self.wide(stage.channels);
        let conv = self.conv([channels, out_channels], stage.kernel_size).with_stride(stride);
        let has_shortcut = stage.has_shortcut && stride == 1 && channels == out_channels;
        Conv { conv: conv.init(device), has_shortcut }
    }

    fn conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        ConvNormActConfig::new(channels, [kernel_size; 2])
            .with_momentum(self.momentum)
            .with_initializer(self.version.initializer())
    }
}

impl ImageClassifier for MnasNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = self.stem.forward(images);
        for (index, (blocks, convs)) in self.stages.iter().zip(&self.convs).enumerate() {
            x = blocks.iter().fold(x, |x, block| block.forward(x));
            x = convs.iter().fold(x, |x, conv| conv.forward(x));
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

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if !self.has_shortcut {
            return self.conv.forward(x);
        }
        let [branch, shortcut] = fork(x);
        add(Activation::Identity, self.conv.forward(branch), shortcut)
    }
}
