//! # VGG
//!
//! Simonyan & Zisserman, 2014: [Very Deep Convolutional Networks for Large-Scale Image Recognition](https://arxiv.org/abs/1409.1556).
//!
//! All convolutions are 3×3. Several of them in a row have the receptive field of a large one, with
//! fewer weights and more activations.
//!
//! | part         | output for `[N, 3, 224, 224]` | paper, table 1                |
//! |--------------|-------------------------------|-------------------------------|
//! | `stages.0`   | `[N, 64, 224, 224]`           | conv3-64                      |
//! | `stages.1`   | `[N, 128, 112, 112]`          | maxpool, conv3-128            |
//! | `stages.2`   | `[N, 256, 56, 56]`            | maxpool, conv3-256            |
//! | `stages.3`   | `[N, 512, 28, 28]`            | maxpool, conv3-512            |
//! | `stages.4`   | `[N, 512, 14, 14]`            | maxpool, conv3-512            |
//! | pool         | `[N, 512, 7, 7]`              | maxpool                       |
//! | `hidden.0`   | `[N, 4096]`                   | FC-4096                       |
//! | `hidden.1`   | `[N, 4096]`                   | FC-4096                       |
//! | `classifier` | `[N, num_classes]`            | FC-1000                       |
//!
//! As in torchvision, some variants have BatchNorm after each convolution, which keeps its bias;
//! BatchNorm is younger than the paper. Feature maps of images of other sizes are average-pooled to 7×7
//! positions. Images of CIFAR leave one position; their variants have narrower hidden layers or none.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d,
};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, Apply, batch_norm, conv_with_bias, kaiming_normal, linear_with_bias, relu,
};
use zoo_core::{FeatureMaps, Head, PyramidLevel};

mod pretrained;
use pretrained::PLAIN as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`Vgg`].
#[derive(Config, Debug)]
pub struct VggConfig {
    /// Convolutions in each stage: a column of table 1.
    pub depths: [usize; 5],
    /// The layer between a convolution and its activation.
    #[config(default = "DEFAULT.normalization")]
    pub normalization: Normalization,
    /// Height and width of the last feature map for images of the network's size. For other images it is
    /// average-pooled to this size.
    #[config(default = "DEFAULT.map_size")]
    pub map_size: usize,
    /// Outputs of each of the two hidden layers; 0 for a network without them.
    #[config(default = "DEFAULT.hidden")]
    pub hidden: usize,
    /// Probability of dropping a feature after each hidden layer while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The layer between a convolution and its activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalization {
    /// No layer, as in the paper.
    None,
    /// BatchNorm.
    Batch,
}

/// VGG image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct Vgg {
    stages: Vec<Vec<Layer>>,
    pool: MaxPool2d,
    map_size: usize,
    hidden: Vec<Linear>,
    dropout: Dropout,
    classifier: Linear,
}

/// 3×3 convolution → BatchNorm, if any → ReLU.
#[derive(Module, Debug)]
struct Layer {
    conv: Conv2d,
    norm: Option<BatchNorm>,
}

/// Channels of each stage's convolutions.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// Channels of the last convolution.
const NUM_FEATURES: usize = CHANNELS[4];

/// The last feature map of each size.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 6] = [
    PyramidLevel::new("stages.0",  64,  1),
    PyramidLevel::new("stages.1", 128,  2),
    PyramidLevel::new("stages.2", 256,  4),
    PyramidLevel::new("stages.3", 512,  8),
    PyramidLevel::new("stages.4", 512, 16),
    PyramidLevel::new("pool",     512, 32),
];

/// Five poolings each halve the map.
const MIN_SIZE: usize = 32;

impl VggConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> Vgg {
        let mut channels = self.in_channels;
        let mut stages = Vec::with_capacity(CHANNELS.len());
        for (depth, out_channels) in self.depths.into_iter().zip(CHANNELS) {
            let mut layers = Vec::with_capacity(depth);
            for _ in 0..depth {
                layers.push(self.layer([channels, out_channels], device));
                channels = out_channels;
            }
            stages.push(layers);
        }
        let mut channels = NUM_FEATURES * self.map_size * self.map_size;
        let mut hidden = Vec::new();
        if self.hidden > 0 {
            hidden.push(linear([channels, self.hidden], device));
            hidden.push(linear([self.hidden, self.hidden], device));
            channels = self.hidden;
        }
        Vgg {
            stages,
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            map_size: self.map_size,
            hidden,
            dropout: DropoutConfig::new(self.dropout).init(),
            classifier: linear([channels, self.num_classes], device),
        }
    }

    fn layer(&self, channels: [usize; 2], device: &Device) -> Layer {
        let [_, out_channels] = channels;
        let conv = Conv2dConfig::new(channels, [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_initializer(kaiming_normal(channels, [3, 3]));
        Layer {
            conv: conv_with_bias(conv, &Initializer::Zeros, device),
            norm: match self.normalization {
                Normalization::None => None,
                Normalization::Batch => Some(BatchNormConfig::new(out_channels).init(device)),
            },
        }
    }
}

/// Builds a fully connected layer with small weights and a zero bias (§3.1).
fn linear([channels, out_channels]: [usize; 2], device: &Device) -> Linear {
    let linear = LinearConfig::new(channels, out_channels)
        .with_initializer(Initializer::Normal { mean: 0.0, std: 0.01 });
    linear_with_bias(linear, &Initializer::Zeros, device)
}

impl ImageClassifier for Vgg {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = images;
        for (index, layers) in self.stages.iter().enumerate() {
            x = layers.iter().fold(x, |x, layer| layer.forward(x));
            x = self.pool.apply(maps.keep(format_args!("stages.{index}"), x)?);
        }
        maps.keep("pool", x)
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        PYRAMID.into()
    }

    fn head(&self) -> &dyn Head {
        self
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        self
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }
}

impl Head for Vgg {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let mut x = adaptive_avg_pool2d(features, [self.map_size; 2]).flatten(1, 3);
        for hidden in &self.hidden {
            x = self.dropout.forward(relu(hidden.forward(x)));
        }
        self.classifier.forward(x)
    }

    fn accepts_pooled_features(&self) -> bool {
        self.map_size == 1
    }

    fn num_features(&self) -> usize {
        NUM_FEATURES
    }

    fn num_classes(&self) -> usize {
        let [_, num_classes] = self.classifier.weight.lazy_shape().dims();
        num_classes
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        let [channels, _] = self.classifier.weight.lazy_shape().dims();
        self.classifier = linear([channels, num_classes], device);
    }
}

impl Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.apply(x);
        match &self.norm {
            Some(norm) => batch_norm(norm, Activation::Relu, x),
            None => relu(x),
        }
    }
}
