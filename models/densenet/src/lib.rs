//! # DenseNet
//!
//! Huang et al., 2016: [Densely Connected Convolutional Networks](https://arxiv.org/abs/1608.06993).
//!
//! Each layer takes the outputs of all earlier layers of its block and adds `growth_rate` channels.
//! Features are reused, so a layer needs few filters.
//!
//! | part         | DenseNet-121, `[N, 3, 224, 224]` | paper, table 1                                        |
//! |--------------|----------------------------------|-------------------------------------------------------|
//! | `stem`       | `[N, 64, 112, 112]`              | convolution 7×7/2                                     |
//! | `blocks.0`   | `[N, 128, 28, 28]`               | max pool 3×3/2, dense block (1), transition layer (1) |
//! | `blocks.1`   | `[N, 256, 14, 14]`               | dense block (2), transition layer (2)                 |
//! | `blocks.2`   | `[N, 512, 7, 7]`                 | dense block (3), transition layer (3)                 |
//! | `blocks.3`   | `[N, 1024, 7, 7]`                | dense block (4)                                       |
//! | `classifier` | `[N, num_classes]`               | average pool 7×7, fully connected                     |
//!
//! All variants are the paper's type BC: with bottlenecks, and with half the channels after a block.
//! The variants for CIFAR (§3) have a plain 3×3 convolution as the stem and three blocks of the same
//! depth. The features are those before the last ReLU; the head applies it.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, Padding, batch_norm, cat, fork,
    torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};
pub use zoo_core::{ImageClassifier, Implementation, StemKind};

mod pretrained;
use pretrained::GROWTH_32 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`DenseNet`].
#[derive(Config, Debug)]
pub struct DenseNetConfig {
    /// Number of channels that a layer adds: `k` in the paper.
    pub growth_rate: usize,
    /// Number of layers in each block; the network ends before the first block with 0 layers.
    pub depths: [usize; 4],
    /// The kind of the stem, for images of ImageNet's or CIFAR's size.
    #[config(default = "DEFAULT.stem")]
    pub stem: StemKind,
    /// Probability of dropping an added feature while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// The implementation to follow. Keras's BatchNorm has another epsilon and another momentum.
    #[config(default = "DEFAULT.implementation")]
    pub implementation: Implementation,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// DenseNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct DenseNet {
    stem: Conv2d,
    stem_norm: Option<BatchNorm>,
    pool: Option<MaxPool2d>,
    blocks: Vec<DenseBlock>,
    norm: BatchNorm,
    classifier: ClassifierHead,
    min_size: usize,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// Dense layers at one resolution, then a transition to half of it.
#[derive(Module, Debug)]
struct DenseBlock {
    layers: Vec<DenseLayer>,
    transition: Option<Transition>,
}

/// A layer that adds `k` channels, with a bottleneck of `4k` channels.
#[derive(Module, Debug)]
struct DenseLayer {
    bottleneck: NormActConv,
    grow: NormActConv,
    dropout: Dropout,
}

/// A transition: halves the channels, the height and the width.
#[derive(Module, Debug)]
struct Transition {
    compress: NormActConv,
    pool: AvgPool2d,
}

/// BatchNorm → ReLU → convolution (§3, "composite function").
#[derive(Module, Debug)]
struct NormActConv {
    norm: BatchNorm,
    conv: Conv2d,
}

/// Channels of a bottleneck per channel that its layer adds.
const EXPANSION: usize = 4;

impl DenseNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> DenseNet {
        let depths: Vec<usize> = self.depths.into_iter().take_while(|depth| *depth > 0).collect();
        // Each transition halves the map, and the last block needs at least one pixel.
        let smallest_stem = 1 << depths.len().saturating_sub(1);

        let mut channels = 2 * self.growth_rate;
        let stem_channels = [self.in_channels, channels];
        let (stem, stem_norm, pool, min_size) = match self.stem {
            StemKind::ImageNet => {
                let pool = MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
                let norm = self.norm(channels).init(device);
                let stem = conv(stem_channels, 7).with_stride([2, 2]);
                (stem, Some(norm), Some(pool.init()), 4 * smallest_stem - 3)
            }
            StemKind::Cifar => (conv(stem_channels, 3), None, None, smallest_stem),
        };

        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = 1;
        if pool.is_some() {
            pyramid.push("stem_norm", channels, 2);
            map_stride = 4;
        }
        let mut blocks = Vec::with_capacity(depths.len());
        for (index, depth) in depths.iter().enumerate() {
            let mut layers = Vec::with_capacity(*depth);
            for _ in 0..*depth {
                layers.push(self.layer(channels, device));
                channels += self.growth_rate;
            }
            pyramid.push(format!("blocks.{index}.layers"), channels, map_stride);
            let mut transition = None;
            if index + 1 < depths.len() {
                transition = Some(self.transition(channels, device));
                channels /= 2;
                map_stride *= 2;
            }
            blocks.push(DenseBlock { layers, transition });
        }
        pyramid.push("norm", channels, map_stride);
        DenseNet {
            stem: stem.init(device),
            stem_norm,
            pool,
            blocks,
            norm: self.norm(channels).init(device),
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_activation(Activation::Relu)
                .with_initializer(Some(torch_default_uniform()))
                .init(device),
            min_size,
            pyramid,
        }
    }

    fn layer(&self, channels: usize, device: &Device) -> DenseLayer {
        let hidden = EXPANSION * self.growth_rate;
        DenseLayer {
            bottleneck: self.norm_act_conv([channels, hidden], 1, device),
            grow: self.norm_act_conv([hidden, self.growth_rate], 3, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }

    fn transition(&self, channels: usize, device: &Device) -> Transition {
        Transition {
            compress: self.norm_act_conv([channels, channels / 2], 1, device),
            pool: AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }

    fn norm_act_conv(
        &self,
        channels: [usize; 2],
        kernel_size: usize,
        device: &Device,
    ) -> NormActConv {
        NormActConv {
            norm: self.norm(channels[0]).init(device),
            conv: conv(channels, kernel_size).init(device),
        }
    }

    fn norm(&self, channels: usize) -> BatchNormConfig {
        let norm = BatchNormConfig::new(channels);
        match self.implementation {
            Implementation::PyTorch => norm,
            Implementation::Keras => norm.with_epsilon(1.001e-5).with_momentum(0.01),
        }
    }
}

/// Returns a convolution without bias, with Kaiming normal initialization
/// ([He et al., 2015](https://arxiv.org/abs/1502.01852), §2.2, forward case).
fn conv(channels: [usize; 2], kernel_size: usize) -> Conv2dConfig {
    let gain = std::f64::consts::SQRT_2;
    Conv2dConfig::new(channels, [kernel_size; 2])
        .with_padding(Padding::Symmetric.of([kernel_size; 2]))
        .with_bias(false)
        .with_initializer(Initializer::KaimingNormal { gain, fan_out_only: false })
}

impl ImageClassifier for DenseNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = self.stem.apply(images);
        if let Some(norm) = &self.stem_norm {
            x = maps.keep("stem_norm", batch_norm(norm, Activation::Relu, x))?;
        }
        if let Some(pool) = &self.pool {
            x = pool.apply(x);
        }
        for (index, block) in self.blocks.iter().enumerate() {
            x = maps.keep(format_args!("blocks.{index}.layers"), block.grow(x))?;
            if let Some(transition) = &block.transition {
                x = transition.forward(x);
            }
        }
        maps.keep_activated("norm", self.norm.apply(x))
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

impl DenseBlock {
    /// Computes the block's input and the outputs of all its layers, concatenated.
    fn grow(&self, x: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(x, |x, layer| {
            let [seen, x] = fork(x);
            cat(vec![seen, layer.forward(x)])
        })
    }
}

impl DenseLayer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.dropout.forward(self.grow.forward(self.bottleneck.forward(x)))
    }
}

impl Transition {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.pool.apply(self.compress.forward(x))
    }
}

impl NormActConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.apply(batch_norm(&self.norm, Activation::Relu, x))
    }
}
