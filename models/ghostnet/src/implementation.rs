//! Two implementations of the paper, whose weights need different networks.

use burn::module::Initializer;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, LinearConfig};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use zoo_core::layers::{
    Activation, ConvNormAct, ConvNormActConfig, SqueezeExciteConfig, conv_with_bias,
    kaiming_normal_by_group, make_divisible, torch_default_uniform,
};

use crate::{Block, Classifier, GhostModule, HIDDEN_CHANNELS};

/// The implementation of the paper that a network follows.
///
/// |                     | the authors' code, timm        | pytorchcv                       |
/// |---------------------|--------------------------------|---------------------------------|
/// | squeezed channels   | a quarter, in multiples of 4   | a quarter                       |
/// | gate                | hard sigmoid                   | the input clipped to `[0, 1]`   |
/// | shortcut's kernel   | the block's                    | 3×3                             |
/// | shortcut's ReLU     | none                           | after the depthwise convolution |
/// | `hidden`            | bias, no BatchNorm             | BatchNorm, no bias              |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Implementation {
    /// The authors' implementation, which timm follows.
    Authors,
    /// pytorchcv's implementation, with width 1.0.
    Pytorchcv,
}

impl Implementation {
    /// Returns the number of blocks in each stage, which only changes the paths of parameters.
    pub(crate) fn depths(self) -> &'static [usize] {
        match self {
            Self::Authors => &[1, 1, 1, 1, 1, 1, 5, 1, 4],
            Self::Pytorchcv => &[1, 2, 2, 6, 5],
        }
    }

    /// Returns a convolution with PyTorch's default initialization (authors) or Kaiming normal
    /// (pytorchcv).
    pub(crate) fn conv(self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        ConvNormActConfig::new(channels, [kernel_size; 2]).with_initializer(match self {
            Self::Authors => Some(torch_default_uniform()),
            Self::Pytorchcv => None,
        })
    }

    pub(crate) fn depthwise(self, channels: usize, kernel_size: usize) -> ConvNormActConfig {
        self.conv([channels; 2], kernel_size).with_groups(channels)
    }

    pub(crate) fn ghost_module(
        self,
        [channels, out_channels]: [usize; 2],
        activation: Activation,
        device: &Device,
    ) -> GhostModule {
        let half = out_channels / 2;
        GhostModule {
            primary: self.conv([channels, half], 1).with_activation(activation).init(device),
            cheap: self.depthwise(half, 3).with_activation(activation).init(device),
        }
    }

    pub(crate) fn squeeze_excite(self, channels: usize) -> SqueezeExciteConfig {
        let quarter = channels / 4;
        match self {
            Self::Authors => SqueezeExciteConfig::new(channels, make_divisible(quarter as f64, 4))
                .with_gate(Activation::HardSigmoid),
            Self::Pytorchcv => SqueezeExciteConfig::new(channels, quarter)
                .with_gate(Activation::Relu1)
                .with_initializer(Some(kaiming_normal_by_group())),
        }
    }

    pub(crate) fn shortcut(
        self,
        [channels, out_channels]: [usize; 2],
        block: &Block,
        device: &Device,
    ) -> [ConvNormAct; 2] {
        let (kernel_size, activation) = match self {
            Self::Authors => (block.kernel_size, Activation::Identity),
            Self::Pytorchcv => (3, Activation::Relu),
        };
        let depthwise = self.depthwise(channels, kernel_size).with_stride(block.stride);
        let pointwise = self.conv([channels, out_channels], 1);
        [
            depthwise.with_activation(activation).init(device),
            pointwise.with_activation(Activation::Identity).init(device),
        ]
    }

    pub(crate) fn hidden(
        self,
        num_features: usize,
        device: &Device,
    ) -> (Conv2d, Option<BatchNorm>) {
        let channels = [num_features, HIDDEN_CHANNELS];
        let conv = Conv2dConfig::new(channels, [1, 1]);
        match self {
            Self::Authors => (conv.init(device), None),
            Self::Pytorchcv => (
                conv.with_bias(false).with_initializer(kaiming_normal_by_group()).init(device),
                Some(BatchNormConfig::new(HIDDEN_CHANNELS).init(device)),
            ),
        }
    }

    pub(crate) fn classifier(self, num_classes: usize, device: &Device) -> Classifier {
        match self {
            Self::Authors => Classifier::FullyConnected(
                LinearConfig::new(HIDDEN_CHANNELS, num_classes).init(device),
            ),
            Self::Pytorchcv => {
                let conv = Conv2dConfig::new([HIDDEN_CHANNELS, num_classes], [1, 1])
                    .with_initializer(kaiming_normal_by_group());
                Classifier::Pointwise(conv_with_bias(conv, &Initializer::Zeros, device))
            }
        }
    }
}
