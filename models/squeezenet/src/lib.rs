//! # SqueezeNet
//!
//! Iandola et al., 2016: [AlexNet-level accuracy with 50x fewer parameters](https://arxiv.org/abs/1602.07360).
//!
//! A fire module reduces its input with a few 1×1 filters, so that the 3×3 filters after them have
//! few input channels.
//!
//! | part         | 1.0, `[N, 3, 224, 224]` | 1.1                | paper, table 1        |
//! |--------------|-------------------------|--------------------|-----------------------|
//! | `stem`       | `[N, 96, 109, 109]`     | `[N, 64, 111, 111]`| conv1                 |
//! | `fires`      | `[N, 512, 13, 13]`      | `[N, 512, 13, 13]` | maxpool, fire2 … fire9|
//! | `classifier` | `[N, num_classes]`      | `[N, num_classes]` | conv10, avgpool       |
//!
//! Version 1.1 is also by the authors. It has a smaller stem and earlier pooling: the same accuracy
//! with 2.4 times less computation. Pooling rounds up (`ceil_mode`), as in Caffe.

use std::f64::consts::SQRT_2;

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{Apply, cat, conv_with_bias, fork, global_avg_pool2d, relu};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod pretrained;
use pretrained::V1_0 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`SqueezeNet`].
#[derive(Config, Debug)]
pub struct SqueezeNetConfig {
    /// The version of the network.
    pub version: Version,
    /// Probability of dropping a feature before the classifier while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// A version of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// The paper's version: a stem of 96 7×7 filters.
    V1_0,
    /// The later version: a stem of 64 3×3 filters, pooling before fire 2, 4 and 6.
    V1_1,
}

/// SqueezeNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct SqueezeNet {
    stem: Conv2d,
    pool: MaxPool2d,
    fires: Vec<Fire>,
    dropout: Dropout,
    classifier: Conv2d,
    min_size: usize,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A fire module: a 1×1 squeeze, then a 1×1 and a 3×3 expansion in parallel (figure 1).
#[derive(Module, Debug)]
struct Fire {
    squeeze: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
    is_pooled: bool,
}

/// Squeezed channels of fire 2 to 9 (`s1x1` in table 1); each half of the output has four times
/// this number.
const SQUEEZED: [usize; 8] = [16, 16, 32, 32, 48, 48, 64, 64];

impl Version {
    /// Returns the channels and the size of the stem's filters, and the indices of the fires whose input
    /// is pooled.
    fn stem(self) -> (usize, usize, [usize; 3]) {
        match self {
            Self::V1_0 => (96, 7, [0, 3, 7]),
            Self::V1_1 => (64, 3, [0, 2, 4]),
        }
    }

    /// Returns the smallest size that the stem and three poolings without padding can take.
    fn min_size(self) -> usize {
        match self {
            Self::V1_0 => 21,
            Self::V1_1 => 17,
        }
    }
}

impl SqueezeNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> SqueezeNet {
        let (mut channels, kernel_size, pooled) = self.version.stem();
        let stem = conv([self.in_channels, channels], kernel_size).with_stride([2, 2]);
        let mut pyramid = PyramidBuilder::default();
        let mut stride = 2;
        pyramid.push("stem", channels, stride);
        let mut fires = Vec::with_capacity(SQUEEZED.len());
        for (index, squeezed) in SQUEEZED.into_iter().enumerate() {
            let half = 4 * squeezed;
            fires.push(Fire {
                squeeze: init(conv([channels, squeezed], 1), device),
                expand1x1: init(conv([squeezed, half], 1), device),
                expand3x3: init(
                    conv([squeezed, half], 3).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)),
                    device,
                ),
                is_pooled: pooled.contains(&index),
            });
            channels = 2 * half;
            stride *= if pooled.contains(&index) { 2 } else { 1 };
            pyramid.push(format!("fires.{index}"), channels, stride);
        }
        SqueezeNet {
            stem: init(stem, device),
            pool: MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_ceil_mode(true).init(),
            fires,
            dropout: DropoutConfig::new(self.dropout).init(),
            classifier: classifier(channels, self.num_classes, device),
            min_size: self.version.min_size(),
            pyramid,
        }
    }
}

impl ImageClassifier for SqueezeNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = maps.keep("stem", relu(self.stem.apply(images)))?;
        for (index, fire) in self.fires.iter().enumerate() {
            if fire.is_pooled {
                x = self.pool.apply(x);
            }
            x = maps.keep(format_args!("fires.{index}"), fire.forward(x))?;
        }
        Some(x)
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        self.pyramid.levels()
    }

    fn head(&self) -> &dyn Head {
        self
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        self
    }

    fn min_size(&self) -> usize {
        self.min_size
    }
}

impl Head for SqueezeNet {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let maps = relu(self.classifier.apply(self.dropout.forward(features)));
        global_avg_pool2d(maps).flatten(1, 3)
    }

    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        Some(relu(self.classifier.apply(features)))
    }

    /// False: the head applies an activation at each position before the average.
    fn accepts_pooled_features(&self) -> bool {
        false
    }

    fn num_features(&self) -> usize {
        let [_, num_features, _, _] = self.classifier.weight.lazy_shape().dims();
        num_features
    }

    fn num_classes(&self) -> usize {
        let [num_classes, _, _, _] = self.classifier.weight.lazy_shape().dims();
        num_classes
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        self.classifier = classifier(Head::num_features(self), num_classes, device);
    }
}

impl Fire {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [a, b] = fork(relu(self.squeeze.apply(x)));
        cat(vec![relu(self.expand1x1.apply(a)), relu(self.expand3x3.apply(b))])
    }
}

/// Returns a convolution with Kaiming uniform initialization
/// ([He et al., 2015](https://arxiv.org/abs/1502.01852), forward case).
fn conv(channels: [usize; 2], kernel_size: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [kernel_size; 2])
        .with_initializer(Initializer::KaimingUniform { gain: SQRT_2, fan_out_only: false })
}

/// Builds the convolution with one map for each class (§3.1, as in NiN), with a narrow distribution as
/// the authors use.
fn classifier(channels: usize, num_classes: usize, device: &Device) -> Conv2d {
    let narrow = Initializer::Normal { mean: 0.0, std: 0.01 };
    init(conv([channels, num_classes], 1).with_initializer(narrow), device)
}

/// Builds a convolution with a bias of zeros.
fn init(conv: Conv2dConfig, device: &Device) -> Conv2d {
    conv_with_bias(conv, &Initializer::Zeros, device)
}
