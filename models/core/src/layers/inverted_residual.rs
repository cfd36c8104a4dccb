use burn::config::Config;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::tensor::{Device, Tensor};

use super::{
    Activation, Apply, ConvNormAct, ConvNormActConfig, SqueezeExcite, SqueezeExciteConfig,
    StochasticDepth, add, fork,
};

/// Configuration of an [`InvertedResidual`].
#[derive(Config, Debug)]
pub struct InvertedResidualConfig {
    /// Channels of the input, of the expanded middle, and of the output. If the first two are equal,
    /// the block has no expansion layer.
    pub channels: [usize; 3],
    /// Height and width of the depthwise kernel.
    #[config(default = "3")]
    pub kernel_size: usize,
    /// Stride of the depthwise kernel in both directions.
    #[config(default = "1")]
    pub stride: usize,
    /// Whether a 3×3 binomial filter after the depthwise convolution has its stride of 2 (Zhang, 2019:
    /// [Making Convolutional Networks Shift-Invariant
    /// Again](https://arxiv.org/abs/1904.11486)).
    #[config(default = "false")]
    pub blur_pool: bool,
    /// Squeeze-and-excitation on the expanded channels, if any.
    pub squeeze_excite: Option<SqueezeExciteConfig>,
    /// Whether the input is added to an output of the same shape.
    #[config(default = "true")]
    pub has_shortcut: bool,
    /// Probability that a block with a shortcut is dropped while training.
    #[config(default = "0.0")]
    pub stochastic_depth: f64,
}

/// An inverted residual block: expands the channels, applies a depthwise convolution, and projects
/// them back. The shortcut joins the narrow ends; the last layer has no activation.
///
/// Sandler et al., 2018: [Inverted Residuals and Linear
/// Bottlenecks](https://arxiv.org/abs/1801.04381), §3.3; squeeze-and-excitation in the middle as in
/// [MnasNet](https://arxiv.org/abs/1807.11626), §4.1, which calls the block MBConv.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    blur: Option<ZeroPaddedBlur>,
    squeeze_excite: Option<SqueezeExcite>,
    project: ConvNormAct,
    /// Stochastic depth of the block, if it has a shortcut.
    shortcut: Option<StochasticDepth>,
}

/// Two 2×2 average poolings, which make a binomial filter with weights 1, 2, 1 in both directions.
/// Zero padding is counted.
#[derive(Module, Debug)]
struct ZeroPaddedBlur {
    averages: [AvgPool2d; 2],
}

impl InvertedResidualConfig {
    /// Builds the block from the network's own layers: `conv` returns the configuration of a layer for
    /// its input and output channels and the size of its kernel.
    pub fn init(
        &self,
        conv: impl Fn([usize; 2], usize) -> ConvNormActConfig,
        device: &Device,
    ) -> InvertedResidual {
        let [channels, expanded, out_channels] = self.channels;
        let blur_pool = self.blur_pool && self.stride > 1;
        let depthwise = conv([expanded, expanded], self.kernel_size)
            .with_stride(if blur_pool { 1 } else { self.stride })
            .with_groups(expanded);
        let project = conv([expanded, out_channels], 1).with_activation(Activation::Identity);
        let has_shortcut = self.has_shortcut && self.stride == 1 && channels == out_channels;
        InvertedResidual {
            expand: (expanded != channels).then(|| conv([channels, expanded], 1).init(device)),
            depthwise: depthwise.init(device),
            blur: blur_pool.then(ZeroPaddedBlur::new),
            squeeze_excite: self.squeeze_excite.as_ref().map(|config| config.init(device)),
            project: project.init(device),
            shortcut: has_shortcut.then(|| StochasticDepth::new(self.stochastic_depth)),
        }
    }
}

impl InvertedResidual {
    /// Computes the block.
    ///
    /// # Shapes
    ///
    /// `[N, channels, H, W]` → `[N, out_channels, H / stride, W / stride]`, rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let Some(stochastic_depth) = &self.shortcut else {
            return self.branch(x);
        };
        let [branch, shortcut] = fork(x);
        add(Activation::Identity, stochastic_depth.forward(self.branch(branch)), shortcut)
    }

    fn branch(&self, mut x: Tensor<4>) -> Tensor<4> {
        if let Some(expand) = &self.expand {
            x = expand.forward(x);
        }
        x = self.depthwise.forward(x);
        if let Some(blur) = &self.blur {
            x = blur.forward(x);
        }
        if let Some(squeeze_excite) = &self.squeeze_excite {
            x = squeeze_excite.forward(x);
        }
        self.project.forward(x)
    }
}

impl ZeroPaddedBlur {
    fn new() -> Self {
        let average = AvgPool2dConfig::new([2, 2]);
        let bordered = average.clone().with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Self {
            averages: [bordered.with_strides([1, 1]).init(), average.with_strides([2, 2]).init()],
        }
    }

    /// Halves the map: `[N, C, H, W]` → `[N, C, H / 2, W / 2]`, rounded up.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.averages.iter().fold(x, |x, average| average.apply(x))
    }
}
