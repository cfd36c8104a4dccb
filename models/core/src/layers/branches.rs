use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Apply, ConvNormAct, ConvNormActConfig, Padding, cat, fork};

/// One step of a branch, as the figures of the Inception papers draw it.
///
/// The last number is the channels of a convolution's output; poolings keep those of their input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BranchLayer {
    /// A convolution by a kernel of some height and width, which keeps the size.
    Conv([usize; 2], usize),
    /// The same without padding, so that a border is lost.
    ValidConv([usize; 2], usize),
    /// A 3×3 convolution of stride 2 without padding.
    StridedConv(usize),
    /// A 1×3 and a 3×1 convolution of the same input, each with so many channels.
    SplitConv(usize),
    /// 3×3 average pooling over the pixels inside the image, which keeps the size.
    AvgPool,
    /// The same, with zeros beyond the border that count as pixels.
    PaddedAvgPool,
    /// 3×3 maximum pooling of stride 2 without padding.
    MaxPool,
}

/// How to build [`Branches`].
#[derive(Config, Debug)]
pub struct BranchesConfig {
    /// Channels of the input.
    pub channels: usize,
    /// The steps of each branch.
    pub branches: Vec<Vec<BranchLayer>>,
    /// How kernels are drawn; see [`ConvNormActConfig`].
    pub initializer: Option<Initializer>,
    /// Added to the variance by BatchNorm.
    #[config(default = "1e-5")]
    pub epsilon: f64,
    /// Share of a batch's statistics in the running ones.
    #[config(default = "0.1")]
    pub momentum: f64,
}

/// Sequences of layers side by side on the same input, whose outputs are concatenated: an
/// Inception module.
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
    /// Channels of the output, those of all branches.
    pub fn out_channels(&self) -> usize {
        let end = |steps: &Vec<BranchLayer>| {
            steps.iter().fold(self.channels, |channels, step| step.out_channels(channels))
        };
        self.branches.iter().map(end).sum()
    }

    /// Builds the layers.
    pub fn init(&self, device: &Device) -> Branches {
        let mut branches = Vec::with_capacity(self.branches.len());
        for steps in &self.branches {
            let mut channels = self.channels;
            let mut layers = Vec::with_capacity(steps.len());
            for step in steps {
                layers.push(self.layer(*step, channels, device));
                channels = step.out_channels(channels);
            }
            branches.push(layers);
        }
        Branches { branches }
    }

    fn layer(&self, step: BranchLayer, channels: usize, device: &Device) -> Layer {
        let conv = |kernel_size, out_channels| {
            ConvNormActConfig::new([channels, out_channels], kernel_size)
                .with_initializer(self.initializer.clone())
                .with_epsilon(self.epsilon)
                .with_momentum(self.momentum)
        };
        let average = AvgPool2dConfig::new([3, 3])
            .with_strides([1, 1])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        match step {
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
    /// Computes the first branch alone, step by step: `behind` is given the number of each step and
    /// what comes out of it, and hands that on to the next step or ends the pass.
    ///
    /// # Shapes
    ///
    /// `[N, channels, H, W]` → `[N, out_channels, H', W']`
    pub fn forward_steps(
        &self,
        x: Tensor<4>,
        mut behind: impl FnMut(usize, Tensor<4>) -> Option<Tensor<4>>,
    ) -> Option<Tensor<4>> {
        let mut steps = self.branches.iter().take(1).flatten().enumerate();
        steps.try_fold(x, |x, (number, layer)| behind(number, layer.forward(x)))
    }

    /// # Shapes
    ///
    /// `[N, channels, H, W]` → `[N, out_channels, H', W']`, where every branch must come to the
    /// same height and width
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
