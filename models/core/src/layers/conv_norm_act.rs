use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Activation;

/// How a convolution extends its input at the borders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Padding {
    /// `kernel / 2` on every side, as PyTorch models do.
    Symmetric,
    /// TensorFlow's "SAME": as little as gives `ceil(size / stride)` outputs, an odd one at the
    /// bottom and right.
    Same,
}

impl Padding {
    /// The padding of a square kernel.
    pub fn of(self, kernel_size: usize) -> PaddingConfig2d {
        let side = kernel_size / 2;
        match self {
            Self::Symmetric => PaddingConfig2d::Explicit(side, side, side, side),
            Self::Same => PaddingConfig2d::Same,
        }
    }
}

/// How to build a [`ConvNormAct`].
#[derive(Config, Debug)]
pub struct ConvNormActConfig {
    /// Channels in and out.
    pub channels: [usize; 2],
    /// Side of the kernel.
    pub kernel_size: usize,
    /// Step of the kernel in both directions.
    #[config(default = "1")]
    pub stride: usize,
    /// Number of groups of channels that are convolved apart.
    #[config(default = "1")]
    pub groups: usize,
    /// What lies beyond the border.
    #[config(default = "Padding::Symmetric")]
    pub padding: Padding,
    /// Added to the variance by BatchNorm.
    #[config(default = "1e-5")]
    pub epsilon: f64,
    /// Share of a batch's statistics in the running ones.
    #[config(default = "0.1")]
    pub momentum: f64,
    /// Applied last.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
}

/// Convolution without bias → BatchNorm → activation.
#[derive(Module, Debug)]
pub struct ConvNormAct {
    conv: Conv2d,
    norm: BatchNorm,
    #[module(skip)]
    activation: Activation,
}

impl ConvNormActConfig {
    /// Builds the layer, its convolution drawn as in [He et al., 2015](https://arxiv.org/abs/1502.01852).
    pub fn init(&self, device: &Device) -> ConvNormAct {
        ConvNormAct {
            conv: Conv2dConfig::new(self.channels, [self.kernel_size; 2])
                .with_stride([self.stride; 2])
                .with_groups(self.groups)
                .with_padding(self.padding.of(self.kernel_size))
                .with_bias(false)
                .with_initializer(Initializer::KaimingNormal {
                    gain: std::f64::consts::SQRT_2,
                    fan_out_only: true,
                })
                .init(device),
            norm: BatchNormConfig::new(self.channels[1])
                .with_epsilon(self.epsilon)
                .with_momentum(self.momentum)
                .init(device),
            activation: self.activation,
        }
    }
}

impl ConvNormAct {
    /// # Shapes
    ///
    /// `[N, channels[0], H, W]` → `[N, channels[1], H', W']`, where `H' = ceil(H / stride)` for
    /// odd kernels
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.activation.forward(self.norm.forward(self.conv.forward(x)))
    }
}
