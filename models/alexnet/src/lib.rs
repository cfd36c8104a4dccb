//! # AlexNet
//!
//! Krizhevsky et al., 2012: [ImageNet Classification with Deep Convolutional Neural Networks](https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html);
//! Krizhevsky, 2014: [One weird trick for parallelizing convolutional neural networks](https://arxiv.org/abs/1404.5997).
//!
//! A larger LeNet for images of ImageNet. ReLU, dropout and training on GPUs made this size
//! possible.
//!
//! | part         | output for `[N, 3, 224, 224]` | paper, §3.5                |
//! |--------------|-------------------------------|----------------------------|
//! | `stages.0`   | `[N, 64, 55, 55]`             | layer 1                    |
//! | `stages.1`   | `[N, 192, 27, 27]`            | max pool 3×3/2, layer 2    |
//! | `stages.2`   | `[N, 256, 13, 13]`            | max pool 3×3/2, layers 3–5 |
//! | pool         | `[N, 256, 6, 6]`              | max pool 3×3/2             |
//! | `hidden.0`   | `[N, 4096]`                   | layer 6                    |
//! | `hidden.1`   | `[N, 4096]`                   | layer 7                    |
//! | `classifier` | `[N, num_classes]`            | layer 8                    |
//!
//! As in torchvision and similar to the later report, the paper's two halves (one per GPU) are one
//! network with fewer filters, and there is no response normalization. Feature maps of images of other
//! sizes are average-pooled to 6×6 positions.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{Apply, relu};
use zoo_core::{FeatureMaps, Head, PyramidLevel};

mod pretrained;
use pretrained::DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`AlexNet`].
#[derive(Config, Debug)]
pub struct AlexNetConfig {
    /// Probability of dropping a feature before each hidden layer while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// AlexNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct AlexNet {
    stages: Vec<Vec<Conv2d>>,
    pool: MaxPool2d,
    dropout: Dropout,
    hidden: [Linear; 2],
    classifier: Linear,
}

/// A convolution with ReLU after it.
struct Conv {
    channels: usize,
    kernel_size: usize,
    stride: usize,
    padding: usize,
}

/// The convolutions of each stage. A pooling follows each stage.
#[rustfmt::skip]
const STAGES: [&[Conv]; 3] = [
    &[
        Conv { channels:  64, kernel_size: 11, stride: 4, padding: 2 },
    ],
    &[
        Conv { channels: 192, kernel_size:  5, stride: 1, padding: 2 },
    ],
    &[
        Conv { channels: 384, kernel_size:  3, stride: 1, padding: 1 },
        Conv { channels: 256, kernel_size:  3, stride: 1, padding: 1 },
        Conv { channels: 256, kernel_size:  3, stride: 1, padding: 1 },
    ],
];

/// Channels of the last convolution.
const NUM_FEATURES: usize = 256;

/// Height and width of the last feature map for 224×224 images. For other images it is average-pooled
/// to this size.
const MAP_SIZE: usize = 6;

/// Outputs of a hidden layer.
const HIDDEN: usize = 4096;

/// The last feature map of each size.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 4] = [
    PyramidLevel::new("stages.0",  64,  4),
    PyramidLevel::new("stages.1", 192,  8),
    PyramidLevel::new("stages.2", 256, 16),
    PyramidLevel::new("pool",     256, 32),
];

/// After the first convolution and three poolings, one pixel is left.
const MIN_SIZE: usize = 63;

impl AlexNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> AlexNet {
        let mut channels = self.in_channels;
        let mut stages = Vec::with_capacity(STAGES.len());
        for stage in STAGES {
            let mut convs = Vec::with_capacity(stage.len());
            for conv in stage {
                convs.push(conv.init(channels, device));
                channels = conv.channels;
            }
            stages.push(convs);
        }
        AlexNet {
            stages,
            pool: MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).init(),
            dropout: DropoutConfig::new(self.dropout).init(),
            hidden: [
                LinearConfig::new(NUM_FEATURES * MAP_SIZE * MAP_SIZE, HIDDEN).init(device),
                LinearConfig::new(HIDDEN, HIDDEN).init(device),
            ],
            classifier: LinearConfig::new(HIDDEN, self.num_classes).init(device),
        }
    }
}

impl Conv {
    fn init(&self, in_channels: usize, device: &Device) -> Conv2d {
        let padding = self.padding;
        Conv2dConfig::new([in_channels, self.channels], [self.kernel_size; 2])
            .with_stride([self.stride; 2])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .init(device)
    }
}

impl ImageClassifier for AlexNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = images;
        for (index, convs) in self.stages.iter().enumerate() {
            x = convs.iter().fold(x, |x, conv| relu(conv.apply(x)));
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

impl Head for AlexNet {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let mut x = adaptive_avg_pool2d(features, [MAP_SIZE; 2]).flatten(1, 3);
        for hidden in &self.hidden {
            x = relu(hidden.forward(self.dropout.forward(x)));
        }
        self.classifier.forward(x)
    }

    fn accepts_pooled_features(&self) -> bool {
        false
    }

    fn num_features(&self) -> usize {
        NUM_FEATURES
    }

    fn num_classes(&self) -> usize {
        let [_, num_classes] = self.classifier.weight.lazy_shape().dims();
        num_classes
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        self.classifier = LinearConfig::new(HIDDEN, num_classes).init(device);
    }
}
