//! # LeNet-5
//!
//! LeCun et al., 1998: [Gradient-Based Learning Applied to Document Recognition](http://vision.stanford.edu/cs598_spring07/papers/Lecun98.pdf).
//!
//! The network that read the digits on checks: two convolutions, each followed by average pooling,
//! and three fully connected layers.
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
//! The digits of MNIST, 28×28 pixels, leave 4×4 positions instead of 5×5. As in most current
//! implementations, C3 takes all channels of S2, average pooling has no weights, tanh is not scaled,
//! and the output is linear instead of the paper's distances. Many implementations also use ReLU and
//! max pooling instead of tanh and average pooling; a checkpoint does not show this.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{Activation, Apply};
use zoo_core::{FeatureMaps, Head, PyramidLevel};

mod pretrained;
use pretrained::PAPER as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`LeNet`].
#[derive(Config, Debug)]
pub struct LeNetConfig {
    /// Activation after each layer except the last.
    #[config(default = "DEFAULT.activation")]
    pub activation: Activation,
    /// The pooling of S2 and S4.
    #[config(default = "DEFAULT.pool")]
    pub pool: PoolKind,
    /// Height and width of the last feature map for images of the network's size: 5 for 32×32, 4 for
    /// 28×28. For other images it is average-pooled to this size.
    #[config(default = "DEFAULT.map_size")]
    pub map_size: usize,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The kind of pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolKind {
    /// Average pooling.
    Average,
    /// Max pooling.
    Max,
}

/// LeNet-5 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct LeNet {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: Pool,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
    map_size: usize,
    #[module(skip)]
    activation: Activation,
}

/// The pooling layers S2 and S4.
#[derive(Module, Debug)]
enum Pool {
    /// 2×2 average pooling.
    Average(AvgPool2d),
    /// 2×2 max pooling.
    Max(MaxPool2d),
}

/// The last feature map of each size.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 3] = [
    PyramidLevel::new("conv1",  6, 1),
    PyramidLevel::new("conv2", 16, 2),
    PyramidLevel::new("pool",  16, 4),
];

/// After two 5×5 convolutions and two 2×2 poolings, one pixel is left.
const MIN_SIZE: usize = 16;

impl LeNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> LeNet {
        let pool = match self.pool {
            PoolKind::Average => {
                Pool::Average(AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init())
            }
            PoolKind::Max => Pool::Max(MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init()),
        };
        LeNet {
            conv1: Conv2dConfig::new([self.in_channels, 6], [5, 5]).init(device),
            conv2: Conv2dConfig::new([6, 16], [5, 5]).init(device),
            pool,
            fc1: LinearConfig::new(16 * self.map_size * self.map_size, 120).init(device),
            fc2: LinearConfig::new(120, 84).init(device),
            fc3: LinearConfig::new(84, self.num_classes).init(device),
            map_size: self.map_size,
            activation: self.activation,
        }
    }
}

impl ImageClassifier for LeNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let x = self.activation.forward(self.conv1.apply(images));
        let x = self.pool.forward(maps.keep("conv1", x)?);
        let x = self.activation.forward(self.conv2.apply(x));
        let x = self.pool.forward(maps.keep("conv2", x)?);
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

    fn classifier_paths(&self) -> Vec<&'static str> {
        vec!["fc3"]
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }
}

impl Head for LeNet {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let x = adaptive_avg_pool2d(features, [self.map_size; 2]).flatten(1, 3);
        let x = self.activation.forward(self.fc1.forward(x));
        let x = self.activation.forward(self.fc2.forward(x));
        self.fc3.forward(x)
    }

    fn accepts_pooled_features(&self) -> bool {
        false
    }

    fn num_features(&self) -> usize {
        16
    }

    fn num_classes(&self) -> usize {
        let [_, num_classes] = self.fc3.weight.lazy_shape().dims();
        num_classes
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        self.fc3 = LinearConfig::new(84, num_classes).init(device);
    }
}

impl Pool {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Average(pool) => pool.apply(x),
            Self::Max(pool) => pool.apply(x),
        }
    }
}
