//! # LeNet-5
//!
//! LeCun et al., 1998: [Gradient-Based Learning Applied to Document Recognition](http://vision.stanford.edu/cs598_spring07/papers/Lecun98.pdf).
//!
//! The network that read cheques: two convolutions, each followed by averaging, and three
//! fully connected layers.
//!
//! | part    | output for `[N, 1, 32, 32]` | paper, §II.B |
//! |---------|-----------------------------|--------------|
//! | `conv1` | `[N, 6, 28, 28]`            | C1           |
//! | pool    | `[N, 6, 14, 14]`            | S2           |
//! | `conv2` | `[N, 16, 10, 10]`           | C3           |
//! | pool    | `[N, 16, 5, 5]`             | S4           |
//! | `fc1`   | `[N, 120]`                  | C5           |
//! | `fc2`   | `[N, 84]`                   | F6           |
//! | `fc3`   | `[N, num_classes]`          | output       |
//!
//! As everywhere today, C3 sees all channels of S2, the averages have no weights of their own,
//! tanh is not scaled, and the output is linear where the paper measures distances.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{Apply, tanh};

mod pretrained;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// How to build a [`LeNet`].
#[derive(Config, Debug)]
pub struct LeNetConfig {
    /// Channels of the images.
    #[config(default = "1")]
    pub in_channels: usize,
    /// Number of classes to tell apart.
    #[config(default = "10")]
    pub num_classes: usize,
}

/// LeNet-5 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct LeNet {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: AvgPool2d,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

/// Two convolutions of 5×5 and two poolings of 2×2 leave one pixel.
const MIN_SIZE: usize = 16;

/// Side of the last feature map for 32×32 images; other sizes are averaged to it.
const MAP_SIZE: usize = 5;

impl LeNetConfig {
    /// Builds the network with fresh weights.
    pub fn init(&self, device: &Device) -> LeNet {
        LeNet {
            conv1: Conv2dConfig::new([self.in_channels, 6], [5, 5]).init(device),
            conv2: Conv2dConfig::new([6, 16], [5, 5]).init(device),
            pool: AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            fc1: LinearConfig::new(16 * MAP_SIZE * MAP_SIZE, 120).init(device),
            fc2: LinearConfig::new(120, 84).init(device),
            fc3: LinearConfig::new(84, self.num_classes).init(device),
        }
    }
}

impl ImageClassifier for LeNet {
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        let x = self.pool.apply(tanh(self.conv1.apply(images)));
        self.pool.apply(tanh(self.conv2.apply(x)))
    }

    fn forward_head(&self, features: Tensor<4>) -> Tensor<2> {
        let x = adaptive_avg_pool2d(features, [MAP_SIZE; 2]).flatten(1, 3);
        let x = tanh(self.fc1.forward(x));
        let x = tanh(self.fc2.forward(x));
        self.fc3.forward(x)
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }

    fn num_features(&self) -> usize {
        16
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.fc3 = LinearConfig::new(84, num_classes).init(device);
    }
}
