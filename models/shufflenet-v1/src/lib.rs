//! # ShuffleNet
//!
//! Zhang et al., 2017: [An Extremely Efficient Convolutional Neural Network for Mobile Devices](https://arxiv.org/abs/1707.01083).
//!
//! Most computation of a small network is in its 1×1 convolutions. Grouped 1×1 convolutions reduce
//! it, and a channel shuffle after them exchanges information between the groups.
//!
//! | part         | 3 groups, `[N, 3, 224, 224]` | paper, table 1           |
//! |--------------|------------------------------|--------------------------|
//! | `stem`       | `[N, 24, 112, 112]`          | Conv1                    |
//! | `stages.0`   | `[N, 240, 28, 28]`           | MaxPool, Stage2, 4 units |
//! | `stages.1`   | `[N, 480, 14, 14]`           | Stage3, 8 units          |
//! | `stages.2`   | `[N, 960, 7, 7]`             | Stage4, 4 units          |
//! | `classifier` | `[N, num_classes]`           | GlobalPool, FC           |
//!
//! The first 1×1 convolution is not grouped (§3.2), because its input has only 24 channels.

use std::f64::consts::SQRT_2;

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig, add,
    cat, channel_shuffle, fork, relu,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod pretrained;
use pretrained::GROUPS_1 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`ShuffleNetV1`].
#[derive(Config, Debug)]
pub struct ShuffleNetV1Config {
    /// Groups of the 1×1 convolutions: 1, 2, 3, 4 or 8.
    pub groups: usize,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// ShuffleNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct ShuffleNetV1 {
    stem: ConvNormAct,
    pool: MaxPool2d,
    stages: Vec<Vec<ShuffleUnit>>,
    classifier: ClassifierHead,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A bottleneck with a depthwise convolution (figure 2). With stride 2 the shortcut is average
/// pooling, and it is concatenated with the branch instead of added.
#[derive(Module, Debug)]
struct ShuffleUnit {
    compress: ConvNormAct,
    depthwise: ConvNormAct,
    expand: ConvNormAct,
    shortcut: Option<AvgPool2d>,
    groups: usize,
}

/// One column of table 1.
struct Column {
    groups: usize,
    /// Channels of stage 2; a later stage has twice as many as the one before.
    channels: usize,
}

#[rustfmt::skip]
const COLUMNS: [Column; 5] = [
    Column { groups: 1, channels: 144 },
    Column { groups: 2, channels: 200 },
    Column { groups: 3, channels: 240 },
    Column { groups: 4, channels: 272 },
    Column { groups: 8, channels: 384 },
];

const STEM_CHANNELS: usize = 24;

/// Number of units in each stage.
const DEPTHS: [usize; 3] = [4, 8, 4];

impl ShuffleNetV1Config {
    /// Builds the network with random weights.
    ///
    /// # Panics
    ///
    /// When the paper's table has no column for the number of groups.
    pub fn init(&self, device: &Device) -> ShuffleNetV1 {
        let column = COLUMNS.iter().find(|column| column.groups == self.groups);
        let column = column.unwrap_or_else(|| {
            panic!("ShuffleNet has 1, 2, 3, 4 or 8 groups, not {}", self.groups)
        });
        let pool = MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));

        let mut channels = STEM_CHANNELS;
        let mut pyramid = PyramidBuilder::default();
        pyramid.push("stem", channels, 2);
        pyramid.push("pool", channels, 4);
        let mut stages = Vec::with_capacity(DEPTHS.len());
        for (stage, depth) in DEPTHS.into_iter().enumerate() {
            let out_channels = column.channels << stage;
            let mut units = Vec::with_capacity(depth);
            for _ in 0..depth {
                units.push(ShuffleUnit::new([channels, out_channels], self.groups, device));
                channels = out_channels;
            }
            pyramid.push(format!("stages.{stage}"), channels, 8 << stage);
            stages.push(units);
        }
        ShuffleNetV1 {
            stem: conv([self.in_channels, STEM_CHANNELS], 3).with_stride(2).init(device),
            pool: pool.init(),
            stages,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes).init(device),
            pyramid,
        }
    }
}

impl ImageClassifier for ShuffleNetV1 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let x = self.pool.apply(maps.keep("stem", self.stem.forward(images))?);
        let mut x = maps.keep("pool", x)?;
        for (index, units) in self.stages.iter().enumerate() {
            x = units.iter().fold(x, |x, unit| unit.forward(x));
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
}

impl ShuffleUnit {
    /// Builds a unit. If it keeps the number of channels, it also keeps the size; otherwise its stride
    /// is 2.
    fn new([channels, out_channels]: [usize; 2], groups: usize, device: &Device) -> Self {
        let halves = channels != out_channels;
        let hidden = out_channels / 4;
        let compress_groups = if channels == STEM_CHANNELS { 1 } else { groups };
        // The branch only computes the channels that the shortcut does not have.
        let added = if halves { out_channels - channels } else { out_channels };
        let average = AvgPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Self {
            compress: conv([channels, hidden], 1).with_groups(compress_groups).init(device),
            depthwise: linear_conv([hidden, hidden], 3)
                .with_stride(if halves { 2 } else { 1 })
                .with_groups(hidden)
                .init(device),
            expand: linear_conv([hidden, added], 1).with_groups(groups).init(device),
            shortcut: halves.then(|| average.init()),
            groups,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, shortcut] = fork(x);
        let branch = channel_shuffle(self.compress.forward(branch), self.groups);
        let branch = self.expand.forward(self.depthwise.forward(branch));
        match &self.shortcut {
            Some(average) => relu(cat(vec![branch, average.apply(shortcut)])),
            None => add(Activation::Relu, branch, shortcut),
        }
    }
}

fn conv(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    let by_inputs = Initializer::KaimingUniform { gain: SQRT_2, fan_out_only: false };
    ConvNormActConfig::new(channels, [kernel_size; 2]).with_initializer(Some(by_inputs))
}

fn linear_conv(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    conv(channels, kernel_size).with_activation(Activation::Identity)
}
