use std::f64::consts::SQRT_2;

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Activation;
use super::compute::conv_batch_norm;

/// The padding of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Padding {
    /// Half the kernel on every side, as in PyTorch models.
    Symmetric,
    /// No padding. "VALID" in TensorFlow.
    Valid,
    /// TensorFlow's "SAME": the least padding that gives `ceil(size / stride)` outputs. An odd pixel is
    /// at the bottom and right.
    Same,
    /// Half the kernel, only at the bottom and right, as in Keras before a stride of 2. For even sizes
    /// and 3×3 kernels it is the same as [`Same`](Self::Same).
    Trailing,
}

impl Padding {
    /// Returns Burn's configuration of this padding for a kernel of this height and width.
    pub fn of(self, kernel_size: [usize; 2]) -> PaddingConfig2d {
        let [rows, columns] = kernel_size.map(|size| size / 2);
        match self {
            Self::Symmetric => PaddingConfig2d::Explicit(rows, columns, rows, columns),
            Self::Valid => PaddingConfig2d::Valid,
            Self::Same => PaddingConfig2d::Same,
            Self::Trailing => PaddingConfig2d::Explicit(0, 0, rows, columns),
        }
    }
}

/// Configuration of a [`ConvNormAct`].
#[derive(Config, Debug)]
pub struct ConvNormActConfig {
    /// Number of channels of input and output.
    pub channels: [usize; 2],
    /// Height and width of the kernel.
    pub kernel_size: [usize; 2],
    /// Stride of the kernel in both directions.
    #[config(default = "1")]
    pub stride: usize,
    /// Number of groups of channels that are convolved separately.
    #[config(default = "1")]
    pub groups: usize,
    /// The padding.
    #[config(default = "Padding::Symmetric")]
    pub padding: Padding,
    /// Whether the convolution has a bias. BatchNorm's shift makes it superfluous.
    #[config(default = "false")]
    pub bias: bool,
    /// Initializer of the kernel; by default as in
    /// [He et al., 2015](https://arxiv.org/abs/1502.01852), §2.2, backward case.
    pub initializer: Option<Initializer>,
    /// Number that BatchNorm adds to the variance.
    #[config(default = "1e-5")]
    pub epsilon: f64,
    /// Weight of a batch's statistics in BatchNorm's running averages.
    #[config(default = "0.1")]
    pub momentum: f64,
    /// Activation after BatchNorm.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
}

/// Convolution → BatchNorm → activation.
#[derive(Module, Debug)]
pub struct ConvNormAct {
    conv: Conv2d,
    norm: BatchNorm,
    #[module(skip)]
    activation: Activation,
}

impl ConvNormActConfig {
    /// Builds the layer.
    pub fn init(&self, device: &Device) -> ConvNormAct {
        let initializer = self.initializer.clone();
        let conv = Conv2dConfig::new(self.channels, self.kernel_size)
            .with_stride([self.stride; 2])
            .with_groups(self.groups)
            .with_padding(self.padding.of(self.kernel_size))
            .with_bias(self.bias)
            .with_initializer(
                initializer.unwrap_or_else(|| kaiming_normal(self.channels, self.kernel_size)),
            );
        ConvNormAct {
            conv: conv.init(device),
            norm: BatchNormConfig::new(self.channels[1])
                .with_epsilon(self.epsilon)
                .with_momentum(self.momentum)
                .init(device),
            activation: self.activation,
        }
    }
}

/// Returns Kaiming normal initialization with `fan_out`, as torchvision computes it: without division
/// by `groups`.
pub fn kaiming_normal([_, out_channels]: [usize; 2], [height, width]: [usize; 2]) -> Initializer {
    let fan_out = (out_channels * height * width) as f64;
    Initializer::Normal { mean: 0.0, std: (2.0 / fan_out).sqrt() }
}

/// Returns Kaiming normal initialization ([He et al., 2015](https://arxiv.org/abs/1502.01852), §2.2)
/// with `fan_out` per group, 9 for a 3×3 depthwise convolution, as in TensorFlow and timm.
pub fn kaiming_normal_by_group() -> Initializer {
    Initializer::KaimingNormal { gain: SQRT_2, fan_out_only: true }
}

/// Returns [PyTorch's default](https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html)
/// for `Conv2d` and `Linear`: uniform in `±1/sqrt(fan_in)`.
pub fn torch_default_uniform() -> Initializer {
    Initializer::KaimingUniform { gain: 1.0 / 3.0_f64.sqrt(), fan_out_only: false }
}

/// Returns the initializers of a layer's weight and bias. The defaults are PyTorch's, but a bias is
/// zeros by default if the weight has an initializer.
pub(super) fn weight_and_bias(
    weight: Option<Initializer>,
    bias: Option<Initializer>,
) -> [Initializer; 2] {
    let (weight, usual_bias) = match weight {
        Some(weight) => (weight, Initializer::Zeros),
        None => (torch_default_uniform(), torch_default_uniform()),
    };
    [weight, bias.unwrap_or(usual_bias)]
}

impl ConvNormAct {
    /// Applies convolution, BatchNorm and activation.
    ///
    /// # Shapes
    ///
    /// `[N, channels[0], H, W]` → `[N, channels[1], H', W']`. `H' = ceil(H / stride)` with
    /// [`Padding::Same`], and with [`Padding::Symmetric`] and an odd kernel
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv_batch_norm(&self.conv, &self.norm, self.activation, x)
    }
}
