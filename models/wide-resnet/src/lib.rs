//! # Wide ResNet for CIFAR
//!
//! Zagoruyko & Komodakis, 2016: [Wide Residual Networks](https://arxiv.org/abs/1605.07146).
//!
//! Few wide layers are more accurate than many narrow ones, and faster, because wide convolutions use
//! the hardware better.
//!
//! | part         | WRN-28-10, `[N, 3, 32, 32]` | paper, table 1       |
//! |--------------|-----------------------------|----------------------|
//! | `stem`       | `[N, 16, 32, 32]`           | conv1                |
//! | `stages.0`   | `[N, 160, 32, 32]`          | conv2, `N` blocks    |
//! | `stages.1`   | `[N, 320, 16, 16]`          | conv3, `N` blocks    |
//! | `stages.2`   | `[N, 640, 8, 8]`            | conv4, `N` blocks    |
//! | `norm`       | `[N, 640, 8, 8]`            |                      |
//! | `classifier` | `[N, num_classes]`          | avg-pool, fc         |
//!
//! WRN-n-k has `N = (n - 4) / 6` blocks in a stage, `k` times as wide as ResNet's for CIFAR. BatchNorm
//! and ReLU come before a convolution, not after it, as in
//! [He et al., 2016](https://arxiv.org/abs/1603.05027). If a block changes the number of channels,
//! its shortcut starts after the first BatchNorm and ReLU, as in the authors' code.
//!
//! The names count each block as two convolutions, whatever its kind.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, Padding, add, batch_norm, fork,
    kaiming_normal, relu, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod pretrained;
use pretrained::BASIC as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`WideResNet`].
#[derive(Config, Debug)]
pub struct WideResNetConfig {
    /// Number of blocks in each of the three stages: `N` in the paper.
    pub depth: usize,
    /// Width of the blocks relative to ResNet's: `k` in the paper.
    pub width: usize,
    /// The kind of the blocks.
    #[config(default = "DEFAULT.block")]
    pub block: BlockKind,
    /// Probability of dropping a value between a block's convolutions while training; 0.3 in the
    /// paper's networks with dropout (§2.4).
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// The end of the features.
    #[config(default = "DEFAULT.features")]
    pub features: Features,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The kind of a block: the sizes of its kernels (§2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// B(3,3), the basic block.
    B33,
    /// B(3,1,3), with a 1×1 convolution in the middle.
    B313,
    /// B(1,3,1), a bottleneck of constant width.
    B131,
    /// B(1,3), 1×1 and 3×3 alternately.
    B13,
    /// B(3,1), 3×3 and 1×1 alternately.
    B31,
    /// B(3,1,1), as in Network in Network.
    B311,
}

/// The end of the features, where the head begins. The logits do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Features {
    /// The output of the last BatchNorm.
    Normalized,
    /// The output of the last BatchNorm, after ReLU.
    Activated,
}

/// Wide residual network for classification; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct WideResNet {
    stem: Conv2d,
    stages: Vec<Vec<Block>>,
    norm: BatchNorm,
    #[module(skip)]
    features: Features,
    classifier: ClassifierHead,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A residual block: convolutions of the same width, the first with the stride, and a shortcut.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<NormActConv>,
    dropout: Dropout,
    shortcut: Option<Conv2d>,
}

/// BatchNorm → ReLU → convolution.
#[derive(Module, Debug)]
struct NormActConv {
    norm: BatchNorm,
    conv: Conv2d,
}

/// Channels of the stem, and of the first stage for a width of 1.
const STEM_CHANNELS: usize = 16;
const CHANNELS: [usize; 3] = [16, 32, 64];

impl BlockKind {
    fn kernel_sizes(self) -> &'static [usize] {
        match self {
            Self::B33 => &[3, 3],
            Self::B313 => &[3, 1, 3],
            Self::B131 => &[1, 3, 1],
            Self::B13 => &[1, 3],
            Self::B31 => &[3, 1],
            Self::B311 => &[3, 1, 1],
        }
    }
}

impl WideResNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> WideResNet {
        let mut channels = STEM_CHANNELS;
        let mut pyramid = PyramidBuilder::default();
        let mut stages = Vec::with_capacity(CHANNELS.len());
        for (stage, narrow) in CHANNELS.into_iter().enumerate() {
            let mut blocks = Vec::with_capacity(self.depth);
            for index in 0..self.depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(self.block([channels, narrow * self.width], stride, device));
                channels = narrow * self.width;
            }
            pyramid.push(format!("stages.{stage}"), channels, 1 << stage);
            stages.push(blocks);
        }
        pyramid.push("norm", channels, 1 << (CHANNELS.len() - 1));
        WideResNet {
            stem: conv([self.in_channels, STEM_CHANNELS], 3, 1).init(device),
            stages,
            norm: BatchNormConfig::new(channels).init(device),
            features: self.features,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_activation(Activation::Relu)
                .with_initializer(Some(torch_default_uniform()))
                .init(device),
            pyramid,
        }
    }

    fn block(&self, [channels, out_channels]: [usize; 2], stride: usize, device: &Device) -> Block {
        let kernel_sizes = self.block.kernel_sizes().iter().enumerate();
        let convs = kernel_sizes.map(|(index, &kernel_size)| {
            let (channels, stride) =
                if index == 0 { (channels, stride) } else { (out_channels, 1) };
            NormActConv {
                norm: BatchNormConfig::new(channels).init(device),
                conv: conv([channels, out_channels], kernel_size, stride).init(device),
            }
        });
        let projection = conv([channels, out_channels], 1, stride);
        Block {
            convs: convs.collect(),
            dropout: DropoutConfig::new(self.dropout).init(),
            shortcut: (channels != out_channels).then(|| projection.init(device)),
        }
    }
}

fn conv(channels: [usize; 2], kernel_size: usize, stride: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [kernel_size; 2])
        .with_stride([stride; 2])
        .with_padding(Padding::Symmetric.of([kernel_size; 2]))
        .with_bias(false)
        .with_initializer(kaiming_normal(channels, [kernel_size; 2]))
}

impl ImageClassifier for WideResNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = self.stem.apply(images);
        for (index, blocks) in self.stages.iter().enumerate() {
            x = blocks.iter().fold(x, |x, block| block.forward(x));
            x = maps.keep(format_args!("stages.{index}"), x)?;
        }
        let x = maps.keep_activated("norm", self.norm.apply(x))?;
        Some(match self.features {
            Features::Normalized => x,
            Features::Activated => relu(x),
        })
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

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (first, rest) = self.convs.split_first().expect("a block has convolutions");
        let (activated, shortcut) = match &self.shortcut {
            Some(projection) => {
                let [branch, shortcut] = fork(first.activate(x));
                (branch, projection.apply(shortcut))
            }
            None => {
                let [branch, shortcut] = fork(x);
                (first.activate(branch), shortcut)
            }
        };
        let branch = rest.iter().fold(first.conv.apply(activated), |branch, layer| {
            layer.conv.apply(self.dropout.forward(layer.activate(branch)))
        });
        add(Activation::Identity, branch, shortcut)
    }
}

impl NormActConv {
    fn activate(&self, x: Tensor<4>) -> Tensor<4> {
        batch_norm(&self.norm, Activation::Relu, x)
    }
}
