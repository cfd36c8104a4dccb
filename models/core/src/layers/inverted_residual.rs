use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{
    Activation, ConvNormAct, ConvNormActConfig, SqueezeExcite, SqueezeExciteConfig, add, fork,
};

/// How to build an [`InvertedResidual`].
#[derive(Debug)]
pub struct InvertedResidualConfig {
    /// Channels of the input.
    pub channels: usize,
    /// Channels in the middle; where they are those of the input, nothing expands it.
    pub hidden: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Side of the depthwise kernel.
    pub kernel_size: usize,
    /// Step of the depthwise kernel in both directions.
    pub stride: usize,
    /// What weighs the channels in the middle.
    pub squeeze_excite: Option<SqueezeExciteConfig>,
    /// Whether the input is added to the output.
    pub has_skip: bool,
}

/// Narrow → wide → narrow, with a skip between the narrow ends and no activation at the last of
/// them.
///
/// Sandler et al., 2018: [Inverted Residuals and Linear
/// Bottlenecks](https://arxiv.org/abs/1801.04381), §3.3; squeeze-and-excitation in the middle as in
/// [MnasNet](https://arxiv.org/abs/1807.11626), §4.1.
#[derive(Module, Debug)]
pub struct InvertedResidual {
    expand: Option<ConvNormAct>,
    depthwise: ConvNormAct,
    squeeze_excite: Option<SqueezeExcite>,
    project: ConvNormAct,
    has_skip: bool,
}

impl InvertedResidualConfig {
    /// Builds the block of a network's layers: `conv` gives one for channels in and out, and for the
    /// side of a kernel.
    pub fn init(
        &self,
        conv: impl Fn([usize; 2], usize) -> ConvNormActConfig,
        device: &Device,
    ) -> InvertedResidual {
        let &Self { channels, hidden, out_channels, kernel_size, stride, .. } = self;
        let depthwise = conv([hidden, hidden], kernel_size).with_stride(stride).with_groups(hidden);
        let project = conv([hidden, out_channels], 1).with_activation(Activation::Identity);
        InvertedResidual {
            expand: (hidden != channels).then(|| conv([channels, hidden], 1).init(device)),
            depthwise: depthwise.init(device),
            squeeze_excite: self.squeeze_excite.as_ref().map(|config| config.init(device)),
            project: project.init(device),
            has_skip: self.has_skip,
        }
    }
}

impl InvertedResidual {
    /// # Shapes
    ///
    /// `[N, channels, H, W]` → `[N, out_channels, H / stride, W / stride]`, rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if !self.has_skip {
            return self.branch(x);
        }
        let [branch, shortcut] = fork(x);
        add(Activation::Identity, self.branch(branch), shortcut)
    }

    fn branch(&self, mut x: Tensor<4>) -> Tensor<4> {
        if let Some(expand) = &self.expand {
            x = expand.forward(x);
        }
        x = self.depthwise.forward(x);
        if let Some(squeeze_excite) = &self.squeeze_excite {
            x = squeeze_excite.forward(x);
        }
        self.project.forward(x)
    }
}
