use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Apply, ConvNormAct, ConvNormActConfig, Padding, cat, fork};

/// One layer of a branch of an Inception module.
///
/// The last field of a convolution is its number of output channels; poolings keep their input's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BranchLayer {
    /// A convolution with this height and width of the kernel; it keeps the size.
    Conv([usize; 2], usize),
    /// A convolution with this height and width of the kernel, without padding.
    ValidConv([usize; 2], usize),
    /// A 3×3 convolution with stride 2, without padding.
    StridedConv(usize),
    /// A 1×3 and a 3×1 convolution of the same input, each with this number of output channels.
    SplitConv(usize),
    /// 3×3 average pooling with stride 1; it keeps the size. Padding is not counted.
    AvgPool,
    /// 3×3 average pooling with stride 1; it keeps the size. Padding is counted as zeros.
    PaddedAvgPool,
    /// 3×3 max pooling with stride 2, without padding.
    MaxPool,
}

/// Configuration of [`Branches`].
#[derive(Config, Debug)]
pub struct BranchesConfig {
    /// Channels of the input.
    pub channels: usize,
    /// The layers of each branch.
    pub branches: Vec<Vec<BranchLayer>>,
    /// Initializer of the kernels; see [`ConvNormActConfig`].
    pub initializer: Option<Initializer>,
    /// Number that BatchNorm adds to the variance.
    #[config(default = "1e-5")]
    pub epsilon: f64,
    /// Weight of a batch's statistics in BatchNorm's running averages.
    #[config(default = "0.1")]
    pub momentum: f64,
}

/// An Inception module: parallel sequences of layers on the same input. Their outputs are
/// concatenated.
///
/// Szegedy et al., 2014: [Going Deeper with Convolutions](https://arxiv.org/abs/1409.4842), §4.
#[derive(Module, Debug)]
pub struct Branches {
    branches: Vec<Vec<Layer>>,
}

/// A [`BranchLayer`] with its weights.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are convolutions")]
enum Layer {
    Conv(ConvNormAct),
    Fork(Fork),
    AvgPool(AvgPool2d),
    MaxPool(MaxPool2d),
}

#[derive(Module, Debug)]
struct Fork {
    wide: ConvNormAct,
    tall: ConvNormAct,
}

impl BranchLayer {
    fn out_channels(self, channels: usize) -> usize {
        match self {
            Self::Conv(_, channels)
            | Self::ValidConv(_, channels)
            | Self::StridedConv(channels) => channels,
            Self::SplitConv(each) => 2 * each,
            Self::AvgPool | Self::PaddedAvgPool | Self::MaxPool => channels,
        }
    }
}

impl BranchesConfig {
    /// Number of output channels, the sum over all branches.
    pub fn out_channels(&self) -> usize {
        let end = |layers: &Vec<BranchLayer>| {
            layers.iter().fold(self.channels, |channels, layer| layer.out_channels(channels))
        };
        self.branches.iter().map(end).sum()
    }

    /// Builds the layers.
    pub fn init(&self, device: &Device) -> Branches {
        let mut branches = Vec::with_capacity(self.branches.len());
        for branch in &self.branches {
            let mut channels = self.channels;
            let mut layers = Vec::with_capacity(branch.len());
            for layer in branch {
                layers.push(self.layer(*layer, channels, device));
                channels = layer.out_channels(channels);
            }
            branches.push(layers);
        }
        Branches { branches }
    }

    fn layer(&self, layer: BranchLayer, channels: usize, device: &Device) -> Layer {
        let conv = |kernel_size, out_channels| {
            ConvNormActConfig::new([channels, out_channels], kernel_size)
                .with_initializer(self.initializer.clone())
                .with_epsilon(self.epsilon)
                .with_momentum(self.momentum)
        };
        let average = AvgPool2dConfig::new([3, 3])
            .with_strides([1, 1])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        match layer {
            BranchLayer::Conv(kernel_size, out_channels) => {
                Layer::Conv(conv(kernel_size, out_channels).init(device))
            }
            BranchLayer::ValidConv(kernel_size, out_channels) => {
                let conv = conv(kernel_size, out_channels).with_padding(Padding::Valid);
                Layer::Conv(conv.init(device))
            }
            BranchLayer::StridedConv(out_channels) => {
                let conv = conv([3, 3], out_channels).with_padding(Padding::Valid);
                Layer::Conv(conv.with_stride(2).init(device))
            }
            BranchLayer::SplitConv(each) => Layer::Fork(Fork {
                wide: conv([1, 3], each).init(device),
                tall: conv([3, 1], each).init(device),
            }),
            BranchLayer::AvgPool => Layer::AvgPool(average.with_count_include_pad(false).init()),
            BranchLayer::PaddedAvgPool => Layer::AvgPool(average.init()),
            BranchLayer::MaxPool => {
                Layer::MaxPool(MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).init())
            }
        }
    }
}

impl Branches {
    /// Computes the first branch layer by layer. `after_layer` receives the index and the output of each
    /// layer. It returns the input of the next layer, or `None` to stop.
    ///
    /// # Shapes
    ///
    /// `[N, channels, H, W]` → `[N, out_channels, H', W']`
    pub fn forward_steps(
        &self,
        x: Tensor<4>,
        mut after_layer: impl FnMut(usize, Tensor<4>) -> Option<Tensor<4>>,
    ) -> Option<Tensor<4>> {
        let mut layers = self.branches.iter().take(1).flatten().enumerate();
        layers.try_fold(x, |x, (index, layer)| after_layer(index, layer.forward(x)))
    }

    /// Computes all branches and concatenates their outputs.
    ///
    /// # Shapes
    ///
    /// `[N, channels, H, W]` → `[N, out_channels, H', W']`; all branches must have the same output
    /// height and width
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let run = |layers: &Vec<Layer>, x| layers.iter().fold(x, |x, layer| layer.forward(x));
        let Some((last, others)) = self.branches.split_last() else { return x };
        let mut rest = x;
        let mut outputs = Vec::new();
        for layers in others {
            let [x, more] = fork(rest);
            outputs.push(run(layers, x));
            rest = more;
        }
        outputs.push(run(last, rest));
        cat(outputs)
    }
}

impl Layer {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Fork(Fork { wide, tall }) => {
                let [a, b] = fork(x);
                cat(vec![wide.forward(a), tall.forward(b)])
            }
            Self::AvgPool(pool) => pool.apply(x),
            Self::MaxPool(pool) => pool.apply(x),
        }
    }
}
