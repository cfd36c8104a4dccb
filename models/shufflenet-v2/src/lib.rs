//! # ShuffleNet V2
//!
//! Ma et al., 2018: [Practical Guidelines for Efficient CNN Architecture Design](https://arxiv.org/abs/1807.11164).
//!
//! The measured time of a network also depends on memory access, not only on multiplications (§2). A
//! unit therefore works on half of the channels, keeps the other half, and shuffles the two halves
//! for the next unit.
//!
//! | part         | 1.0×, `[N, 3, 224, 224]` | paper, table 5           |
//! |--------------|--------------------------|--------------------------|
//! | `stem`       | `[N, 24, 112, 112]`      | Conv1                    |
//! | `stages.0`   | `[N, 116, 28, 28]`       | MaxPool, Stage2, 4 units |
//! | `stages.1`   | `[N, 232, 14, 14]`       | Stage3, 8 units          |
//! | `stages.2`   | `[N, 464, 7, 7]`         | Stage4, 4 units          |
//! | `head_conv`  | `[N, 1024, 7, 7]`        | Conv5                    |
//! | `classifier` | `[N, num_classes]`       | GlobalPool, FC           |
//!
//! The channels of the table's networks are not exact multiples of each other, so each network states
//! them.

use burn::config::Config;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig, cat,
    channel_shuffle, fork, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};
pub use zoo_core::{ImageClassifier, StemKind};

mod pretrained;
use pretrained::WIDTH_1 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`ShuffleNetV2`].
#[derive(Config, Debug)]
pub struct ShuffleNetV2Config {
    /// Channels of the stages 2, 3 and 4; even numbers.
    pub channels: [usize; 3],
    /// Channels of the features.
    #[config(default = "DEFAULT.head_channels")]
    pub head_channels: usize,
    /// The image size that it is designed for. For CIFAR, the stem has stride 1, and no pooling follows
    /// it.
    #[config(default = "DEFAULT.stem")]
    pub stem: StemKind,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// ShuffleNet V2 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct ShuffleNetV2 {
    stem: ConvNormAct,
    pool: Option<MaxPool2d>,
    stages: Vec<Vec<ShuffleUnit>>,
    head_conv: ConvNormAct,
    classifier: ClassifierHead,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A unit (figure 3). Its branch has three convolutions of the same width.
#[derive(Module, Debug)]
struct ShuffleUnit {
    first: ConvNormAct,
    depthwise: ConvNormAct,
    last: ConvNormAct,
    shortcut: Option<Shortcut>,
}

/// The shortcut of a unit with stride 2 (figure 3d). Both halves then come from all channels.
#[derive(Module, Debug)]
struct Shortcut {
    depthwise: ConvNormAct,
    project: ConvNormAct,
}

const STEM_CHANNELS: usize = 24;

/// Number of units in each stage.
const DEPTHS: [usize; 3] = [4, 8, 4];

impl ShuffleNetV2Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> ShuffleNetV2 {
        let pool = MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));

        let (stem_stride, pool) = match self.stem {
            StemKind::ImageNet => (2, Some(pool.init())),
            StemKind::Cifar => (1, None),
        };
        let stem = conv([self.in_channels, STEM_CHANNELS], 3).with_stride(stem_stride);

        let mut channels = STEM_CHANNELS;
        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = stem_stride;
        pyramid.push("stem", channels, map_stride);
        if pool.is_some() {
            map_stride *= 2;
            pyramid.push("pool", channels, map_stride);
        }
        let mut stages = Vec::with_capacity(DEPTHS.len());
        for (stage, (depth, out_channels)) in DEPTHS.into_iter().zip(self.channels).enumerate() {
            let mut units = vec![ShuffleUnit::halving([channels, out_channels], device)];
            units.extend((1..depth).map(|_| ShuffleUnit::keeping(out_channels, device)));
            stages.push(units);
            channels = out_channels;
            map_stride *= 2;
            pyramid.push(format!("stages.{stage}"), channels, map_stride);
        }
        pyramid.push("head_conv", self.head_channels, map_stride);
        ShuffleNetV2 {
            stem: stem.init(device),
            pool,
            stages,
            head_conv: conv([channels, self.head_channels], 1).init(device),
            classifier: ClassifierHeadConfig::new(self.head_channels, self.num_classes)
                .init(device),
            pyramid,
        }
    }
}

impl ImageClassifier for ShuffleNetV2 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = maps.keep("stem", self.stem.forward(images))?;
        if let Some(pool) = &self.pool {
            x = maps.keep("pool", pool.apply(x))?;
        }
        for (index, units) in self.stages.iter().enumerate() {
            x = units.iter().fold(x, |x, unit| unit.forward(x));
            x = maps.keep(format_args!("stages.{index}"), x)?;
        }
        maps.keep("head_conv", self.head_conv.forward(x))
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

impl ShuffleUnit {
    /// Builds a unit that keeps the shape: `[N, channels, H, W]` → the same.
    fn keeping(channels: usize, device: &Device) -> Self {
        let half = channels / 2;
        Self {
            first: conv([half, half], 1).init(device),
            depthwise: depthwise(half, 1).init(device),
            last: conv([half, half], 1).init(device),
            shortcut: None,
        }
    }

    /// Builds a unit with stride 2: `[N, channels, H, W]` → `[N, out_channels, H / 2, W / 2]`.
    fn halving([channels, out_channels]: [usize; 2], device: &Device) -> Self {
        let half = out_channels / 2;
        Self {
            first: conv([channels, half], 1).init(device),
            depthwise: depthwise(half, 2).init(device),
            last: conv([half, half], 1).init(device),
            shortcut: Some(Shortcut {
                depthwise: depthwise(channels, 2).init(device),
                project: conv([channels, half], 1).init(device),
            }),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (passed, x) = match &self.shortcut {
            Some(shortcut) => {
                let [passed, x] = fork(x);
                (shortcut.forward(passed), x)
            }
            None => {
                let [_, channels, _, _] = x.dims();
                let half = channels / 2;
                (x.clone().narrow(1, 0, half), x.narrow(1, half, half))
            }
        };
        let worked = self.last.forward(self.depthwise.forward(self.first.forward(x)));
        channel_shuffle(cat(vec![passed, worked]), 2)
    }
}

impl Shortcut {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.project.forward(self.depthwise.forward(x))
    }
}

fn depthwise(channels: usize, stride: usize) -> ConvNormActConfig {
    conv([channels, channels], 3)
        .with_stride(stride)
        .with_groups(channels)
        .with_activation(Activation::Identity)
}

fn conv(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    // torchvision uses PyTorch's default initialization.
    ConvNormActConfig::new(channels, [kernel_size; 2])
        .with_initializer(Some(torch_default_uniform()))
}
