use std::f64::consts::SQRT_2;

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Activation;
use super::compute::conv_batch_norm;

/// How a convolution extends its input at the borders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Padding {
    /// Half the kernel on every side, as PyTorch models do.
    Symmetric,
    /// None: the kernel never leaves the input. "VALID" in TensorFlow.
    Valid,
    /// TensorFlow's "SAME": as little as gives `ceil(size / stride)` outputs, an odd one at the
    /// bottom and right.
    Same,
    /// Half the kernel at the bottom and right alone, as Keras extends maps before it halves
    /// them; for even sizes and 3×3 kernels the same as [`Same`](Self::Same).
    Trailing,
}

impl Padding {
    /// The padding of a kernel of a height and a width.
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

/// How to build a [`ConvNormAct`].
#[derive(Config, Debug)]
pub struct ConvNormActConfig {
    /// Channels in and out.
    pub channels: [usize; 2],
    /// Height and width of the kernel.
    pub kernel_size: [usize; 2],
    /// Step of the kernel in both directions.
    #[config(default = "1")]
    pub stride: usize,
    /// Number of groups of channels that are convolved apart.
    #[config(default = "1")]
    pub groups: usize,
    /// What lies beyond the border.
    #[config(default = "Padding::Symmetric")]
    pub padding: Padding,
    /// Whether the convolution has a bias, which BatchNorm's shift makes superfluous.
    #[config(default = "false")]
    pub bias: bool,
    /// How the kernel is drawn; by default as in
    /// [He et al., 2015](https://arxiv.org/abs/1502.01852), §2.2, backward case.
    pub initializer: Option<Initializer>,
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

/// The normal distribution of He et al. by the number of a kernel's outputs.
///
/// As in torchvision, that number is not divided by the groups of the convolution.
pub fn kaiming_normal([_, out_channels]: [usize; 2], [height, width]: [usize; 2]) -> Initializer {
    let fan_out = (out_channels * height * width) as f64;
    Initializer::Normal { mean: 0.0, std: (2.0 / fan_out).sqrt() }
}

/// The normal distribution of [He et al., 2015](https://arxiv.org/abs/1502.01852), §2.2, by a
/// kernel's outputs within its group, nine for a 3×3 depthwise one, as TensorFlow and timm count.
pub fn kaiming_normal_by_group() -> Initializer {
    Initializer::KaimingNormal { gain: SQRT_2, fan_out_only: true }
}

/// Uniform in `±1/sqrt(inputs)`, as [PyTorch](https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html)
/// draws a layer by itself.
pub fn torch_default_uniform() -> Initializer {
    Initializer::KaimingUniform { gain: 1.0 / 3.0_f64.sqrt(), fan_out_only: false }
}

/// How a layer's weight and bias are drawn where its user leaves one or both open: as PyTorch draws
/// them, but a bias as zeros where the weight has an initializer.
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
    /// # Shapes
    ///
    /// `[N, channels[0], H, W]` → `[N, channels[1], H', W']`, where `H' = ceil(H / stride)` by
    /// [`Padding::Same`], and by [`Padding::Symmetric`] with an odd kernel
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        conv_batch_norm(&self.conv, &self.norm, self.activation, x)
    }
}
