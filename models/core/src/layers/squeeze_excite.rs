use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};

use super::compute::scale;
use super::conv_norm_act::weight_and_bias;
use super::{Activation, Apply, conv_with_bias, fork, global_avg_pool2d};

/// Configuration of a [`SqueezeExcite`].
#[derive(Config, Debug)]
pub struct SqueezeExciteConfig {
    /// Number of channels of input and output.
    pub channels: usize,
    /// Channels between the two layers (torchvision: `squeeze_channels`, timm: `rd_channels`).
    pub squeeze_channels: usize,
    /// Activation between the two layers.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
    /// Activation of the second layer, which gives the factor.
    #[config(default = "Activation::Sigmoid")]
    pub gate: Activation,
    /// Initializer of the weights; by default uniform in `±1/sqrt(fan_in)`, as in PyTorch.
    pub initializer: Option<Initializer>,
    /// Initializer of the biases; by default zeros if the weights have an initializer, otherwise as the
    /// weights.
    pub bias_initializer: Option<Initializer>,
}

/// Squeeze-and-excitation: scales each channel by a factor that is computed from all channels.
///
/// Hu et al., 2017: [Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507), §3.
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    reduce: Conv2d,
    expand: Conv2d,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    gate: Activation,
}

impl SqueezeExciteConfig {
    /// Builds the layer.
    pub fn init(&self, device: &Device) -> SqueezeExcite {
        SqueezeExcite {
            reduce: self.conv([self.channels, self.squeeze_channels], device),
            expand: self.conv([self.squeeze_channels, self.channels], device),
            activation: self.activation,
            gate: self.gate,
        }
    }

    fn conv(&self, channels: [usize; 2], device: &Device) -> Conv2d {
        let [weight, bias] =
            weight_and_bias(self.initializer.clone(), self.bias_initializer.clone());
        let conv = Conv2dConfig::new(channels, [1, 1]).with_initializer(weight);
        conv_with_bias(conv, &bias, device)
    }
}

impl SqueezeExcite {
    /// Scales each channel by its factor.
    ///
    /// # Shapes
    ///
    /// `[N, channels, H, W]` → the same
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [x, copy] = fork(x);
        let pooled = global_avg_pool2d(copy);
        let hidden = self.activation.forward(self.reduce.apply(pooled));
        scale(x, self.gate.forward(self.expand.apply(hidden)))
    }
}
