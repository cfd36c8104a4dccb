//! # Xception
//!
//! Chollet, 2016: [Deep Learning with Depthwise Separable Convolutions](https://arxiv.org/abs/1610.02357).
//!
//! An extreme Inception module (§1.2): a 3×3 convolution of each channel learns spatial correlations,
//! and a separate 1×1 convolution learns correlations between channels.
//!
//! | part         | output for `[N, 3, 299, 299]` | paper, figure 5                             |
//! |--------------|-------------------------------|---------------------------------------------|
//! | `stem`       | `[N, 64, 147, 147]`           | entry flow, two convolutions 3×3            |
//! | `blocks.0`   | `[N, 128, 74, 74]`            | entry flow, two separable convolutions      |
//! | `blocks.1`   | `[N, 256, 37, 37]`            | the same                                    |
//! | `blocks.2`   | `[N, 728, 19, 19]`            | the same                                    |
//! | `blocks.3`   | `[N, 728, 19, 19]`            | middle flow, `blocks.3` to `blocks.10`      |
//! | `blocks.11`  | `[N, 1024, 10, 10]`           | exit flow                                   |
//! | `head_convs` | `[N, 2048, 10, 10]`           | exit flow, two separable convolutions       |
//! | `classifier` | `[N, num_classes]`            | global average pool, logistic regression    |
//!
//! The network was published in Keras. The port to PyTorch has another BatchNorm, which adds 1e-5 to
//! the variance instead of 1e-3, and pads strided poolings on all sides.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig,
    Padding, add, fork, kaiming_normal, relu,
};
use zoo_core::{FeatureMaps, Head, PyramidLevel};
pub use zoo_core::{ImageClassifier, Implementation};

mod pretrained;
use pretrained::WITH_DROPOUT as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`Xception`].
#[derive(Config, Debug)]
pub struct XceptionConfig {
    /// Probability of dropping a feature before the classifier while training (§4.3).
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
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

/// Xception image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct Xception {
    stem: Vec<ConvNormAct>,
    blocks: Vec<Block>,
    head_convs: Vec<SeparableConv>,
    classifier: ClassifierHead,
}

/// Separable convolutions, a pooling if the block has a stride, and a shortcut.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<SeparableConv>,
    pool: Option<MaxPool2d>,
    shortcut: Option<ConvNormAct>,
}

/// A separable convolution: 3×3 depthwise, 1×1, BatchNorm.
#[derive(Module, Debug)]
struct SeparableConv {
    depthwise: Conv2d,
    pointwise: Conv2d,
    norm: BatchNorm,
}

/// A row of blocks in figure 5.
struct Flow {
    repeats: usize,
    /// Output channels of each separable convolution.
    channels: &'static [usize],
    stride: usize,
}

#[rustfmt::skip]
const FLOWS: [Flow; 5] = [
    Flow { repeats: 1, channels: &[128, 128],      stride: 2 },
    Flow { repeats: 1, channels: &[256, 256],      stride: 2 },
    Flow { repeats: 1, channels: &[728, 728],      stride: 2 },
    Flow { repeats: 8, channels: &[728, 728, 728], stride: 1 },
    Flow { repeats: 1, channels: &[728, 1024],     stride: 2 },
];

const STEM_CHANNELS: [usize; 2] = [32, 64];
const HEAD_CHANNELS: [usize; 2] = [1536, 2048];

/// The last feature map of each size. A block's map includes the activation of the next block.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 5] = [
    PyramidLevel::new("stem.1",       64,  2),
    PyramidLevel::new("blocks.0",    128,  4),
    PyramidLevel::new("blocks.1",    256,  8),
    PyramidLevel::new("blocks.10",   728, 16),
    PyramidLevel::new("head_convs", 2048, 32),
];

/// The stem's convolutions have no padding: 7 → 3 → 1.
const MIN_SIZE: usize = 7;

impl XceptionConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> Xception {
        let [narrow, mut channels] = STEM_CHANNELS;
        let stem = [
            self.conv([self.in_channels, narrow], 3).with_stride(2),
            self.conv([narrow, channels], 3),
        ];
        let mut blocks = Vec::new();
        for flow in &FLOWS {
            for _ in 0..flow.repeats {
                blocks.push(self.block(channels, flow, device));
                channels = *flow.channels.last().expect("a block has convolutions");
            }
        }
        let [.., num_features] = HEAD_CHANNELS;
        Xception {
            stem: stem.map(|conv| conv.with_padding(Padding::Valid).init(device)).into(),
            blocks,
            head_convs: self.separable_convs(channels, &HEAD_CHANNELS, device),
            classifier: ClassifierHeadConfig::new(num_features, self.num_classes)
                .with_dropout(self.dropout)
                .init(device),
        }
    }

    fn block(&self, channels: usize, flow: &Flow, device: &Device) -> Block {
        let out_channels = *flow.channels.last().expect("a block has convolutions");
        let is_strided = flow.stride > 1;
        let border = match self.implementation {
            Implementation::PyTorch => Padding::Symmetric,
            Implementation::Keras => Padding::Same,
        };
        let pool = MaxPool2dConfig::new([3, 3])
            .with_strides([flow.stride; 2])
            .with_padding(border.of([3, 3]));
        let shortcut = self
            .conv([channels, out_channels], 1)
            .with_stride(flow.stride)
            .with_activation(Activation::Identity);
        Block {
            convs: self.separable_convs(channels, flow.channels, device),
            pool: is_strided.then(|| pool.init()),
            shortcut: is_strided.then(|| shortcut.init(device)),
        }
    }

    /// Builds a chain of separable convolutions with these output channels.
    fn separable_convs(
        &self,
        channels: usize,
        outs: &[usize],
        device: &Device,
    ) -> Vec<SeparableConv> {
        let ins = std::iter::once(&channels).chain(outs);
        ins.zip(outs).map(|(&from, &to)| self.separable_conv([from, to], device)).collect()
    }

    fn separable_conv(
        &self,
        [channels, out_channels]: [usize; 2],
        device: &Device,
    ) -> SeparableConv {
        let conv = |channels, kernel_size| {
            Conv2dConfig::new(channels, kernel_size)
                .with_padding(Padding::Symmetric.of(kernel_size))
                .with_bias(false)
                .with_initializer(kaiming_normal(channels, kernel_size))
        };
        SeparableConv {
            depthwise: conv([channels, channels], [3, 3]).with_groups(channels).init(device),
            pointwise: conv([channels, out_channels], [1, 1]).init(device),
            norm: BatchNormConfig::new(out_channels)
                .with_epsilon(self.epsilon())
                .with_momentum(self.momentum())
                .init(device),
        }
    }

    fn conv(&self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        ConvNormActConfig::new(channels, [kernel_size; 2])
            .with_epsilon(self.epsilon())
            .with_momentum(self.momentum())
    }

    fn epsilon(&self) -> f64 {
        match self.implementation {
            Implementation::PyTorch => 1e-5,
            Implementation::Keras => 1e-3,
        }
    }

    fn momentum(&self) -> f64 {
        match self.implementation {
            Implementation::PyTorch => 0.1,
            Implementation::Keras => 0.01,
        }
    }
}

impl ImageClassifier for Xception {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = images;
        for (index, conv) in self.stem.iter().enumerate() {
            x = maps.keep(format_args!("stem.{index}"), conv.forward(x))?;
        }
        for (index, block) in self.blocks.iter().enumerate() {
            x = maps.keep_activated(format_args!("blocks.{index}"), block.forward(x))?;
        }
        let x = self.head_convs.iter().fold(x, |x, conv| relu(conv.forward(x)));
        maps.keep("head_convs", x)
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

impl Block {
    /// Computes the block. Activations come before the convolutions. The first block has one more than
    /// in figure 5; it changes nothing after the stem's own.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, shortcut] = fork(x);
        let mut branch = self.convs.iter().fold(branch, |x, conv| conv.forward(relu(x)));
        if let Some(pool) = &self.pool {
            branch = pool.apply(branch);
        }
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(shortcut),
            None => shortcut,
        };
        add(Activation::Identity, branch, shortcut)
    }
}

impl SeparableConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.apply(self.pointwise.apply(self.depthwise.apply(x)))
    }
}
