//! # MobileNetV3
//!
//! Howard et al., 2019: [Searching for MobileNetV3](https://arxiv.org/abs/1905.02244).
//!
//! MobileNetV2's blocks, arranged by an architecture search, with squeeze-and-excitation and
//! hard-swish. The last layers work on pooled features, which makes them cheap (§5.1).
//!
//! | part         | Large, `[N, 3, 224, 224]` | Small               | paper, tables 1 and 2       |
//! |--------------|---------------------------|---------------------|-----------------------------|
//! | `stem`       | `[N, 16, 112, 112]`       | `[N, 16, 112, 112]` | conv2d 3×3, stride 2        |
//! | `blocks`     | `[N, 160, 7, 7]`          | `[N, 96, 7, 7]`     | 15 or 11 bnecks             |
//! | `head_conv`  | `[N, 960, 7, 7]`          | `[N, 576, 7, 7]`    | conv2d 1×1                  |
//! | `hidden`     | `[N, 1280]`               | `[N, 1024]`         | pool 7×7, conv2d 1×1, NBN   |
//! | `classifier` | `[N, num_classes]`        | `[N, num_classes]`  | conv2d 1×1, NBN             |
//!
//! The table of the small network has squeeze-and-excitation after `head_conv`, too; torchvision
//! omits it. The squeezed channels are a quarter of the expanded ones (§5.3), rounded to a
//! multiple of eight.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::Activation::{self, HardSwish, Relu};
use zoo_core::layers::{
    ConvNormAct, ConvNormActConfig, InvertedResidual, InvertedResidualConfig, Padding,
    SqueezeExciteConfig, global_avg_pool2d, kaiming_normal_by_group, linear_with_bias,
    make_divisible,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod pretrained;
use pretrained::LARGE as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`MobileNetV3`].
#[derive(Config, Debug)]
pub struct MobileNetV3Config {
    /// The size of the network.
    pub size: Size,
    /// Factor of the channels of all layers.
    #[config(default = "DEFAULT.width_mult")]
    pub width_mult: f64,
    /// The implementation to follow.
    #[config(default = "DEFAULT.implementation")]
    pub implementation: Implementation,
    /// Probability of dropping a feature before the classifier while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The size of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// MobileNetV3-Large (table 1).
    Large,
    /// MobileNetV3-Small (table 2).
    Small,
}

/// The implementation that a network follows.
///
/// At width 1.0 all have the layers of the tables. At other widths timm keeps the table's expansion
/// ratio, torchvision scales the table's expanded channels. timm never scales the layer before the
/// classifier, and keeps at least 16 channels in the stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Implementation {
    /// torchvision, with TensorFlow's BatchNorm.
    Torchvision,
    /// timm, with PyTorch's BatchNorm.
    Timm,
    /// timm's port of TensorFlow's weights (`tf_`), with SAME padding and TensorFlow's BatchNorm.
    TensorFlow,
}

/// MobileNetV3 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct MobileNetV3 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    head_conv: ConvNormAct,
    hidden: Linear,
    dropout: Dropout,
    classifier: Linear,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// One row of table 1 or 2, whose columns are: kernel, `exp size`, `#out`, `SE`, `NL`, `s`.
struct Block {
    kernel_size: usize,
    expanded: usize,
    channels: usize,
    squeeze_excite: bool,
    activation: Activation,
    stride: usize,
}

const STEM_CHANNELS: usize = 16;

#[rustfmt::skip]
const LARGE: [Block; 15] = [
    Block { kernel_size: 3, expanded:  16, channels:  16, squeeze_excite: false, activation: Relu,      stride: 1 },
    Block { kernel_size: 3, expanded:  64, channels:  24, squeeze_excite: false, activation: Relu,      stride: 2 },
    Block { kernel_size: 3, expanded:  72, channels:  24, squeeze_excite: false, activation: Relu,      stride: 1 },
    Block { kernel_size: 5, expanded:  72, channels:  40, squeeze_excite: true,  activation: Relu,      stride: 2 },
    Block { kernel_size: 5, expanded: 120, channels:  40, squeeze_excite: true,  activation: Relu,      stride: 1 },
    Block { kernel_size: 5, expanded: 120, channels:  40, squeeze_excite: true,  activation: Relu,      stride: 1 },
    Block { kernel_size: 3, expanded: 240, channels:  80, squeeze_excite: false, activation: HardSwish, stride: 2 },
    Block { kernel_size: 3, expanded: 200, channels:  80, squeeze_excite: false, activation: HardSwish, stride: 1 },
    Block { kernel_size: 3, expanded: 184, channels:  80, squeeze_excite: false, activation: HardSwish, stride: 1 },
    Block { kernel_size: 3, expanded: 184, channels:  80, squeeze_excite: false, activation: HardSwish, stride: 1 },
    Block { kernel_size: 3, expanded: 480, channels: 112, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 3, expanded: 672, channels: 112, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 5, expanded: 672, channels: 160, squeeze_excite: true,  activation: HardSwish, stride: 2 },
    Block { kernel_size: 5, expanded: 960, channels: 160, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 5, expanded: 960, channels: 160, squeeze_excite: true,  activation: HardSwish, stride: 1 },
];

#[rustfmt::skip]
const SMALL: [Block; 11] = [
    Block { kernel_size: 3, expanded:  16, channels:  16, squeeze_excite: true,  activation: Relu,      stride: 2 },
    Block { kernel_size: 3, expanded:  72, channels:  24, squeeze_excite: false, activation: Relu,      stride: 2 },
    Block { kernel_size: 3, expanded:  88, channels:  24, squeeze_excite: false, activation: Relu,      stride: 1 },
    Block { kernel_size: 5, expanded:  96, channels:  40, squeeze_excite: true,  activation: HardSwish, stride: 2 },
    Block { kernel_size: 5, expanded: 240, channels:  40, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 5, expanded: 240, channels:  40, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 5, expanded: 120, channels:  48, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 5, expanded: 144, channels:  48, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 5, expanded: 288, channels:  96, squeeze_excite: true,  activation: HardSwish, stride: 2 },
    Block { kernel_size: 5, expanded: 576, channels:  96, squeeze_excite: true,  activation: HardSwish, stride: 1 },
    Block { kernel_size: 5, expanded: 576, channels:  96, squeeze_excite: true,  activation: HardSwish, stride: 1 },
];

impl Size {
    /// Returns the blocks, and the channels of the layer before the classifier.
    fn table(self) -> (&'static [Block], usize) {
        match self {
            Self::Large => (&LARGE, 1280),
            Self::Small => (&SMALL, 1024),
        }
    }
}

impl MobileNetV3Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> MobileNetV3 {
        let (table, hidden) = self.size.table();
        let (stem_channels, hidden) = match self.implementation {
            Implementation::Torchvision => (self.wide(STEM_CHANNELS), self.wide(hidden)),
            Implementation::Timm | Implementation::TensorFlow => {
                (self.wide(STEM_CHANNELS).max(STEM_CHANNELS), hidden)
            }
        };
        let mut channels = stem_channels;
        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = 2;
        pyramid.push("stem", channels, map_stride);
        let mut unscaled = STEM_CHANNELS;
        let mut blocks = Vec::with_capacity(table.len());
        for (index, block) in table.iter().enumerate() {
            let expanded = match self.implementation {
                Implementation::Torchvision => self.wide(block.expanded),
                Implementation::Timm | Implementation::TensorFlow => {
                    make_divisible((channels * block.expanded) as f64 / unscaled as f64, 8)
                }
            };
            blocks.push(self.block(block, [channels, expanded], device));
            channels = self.wide(block.channels);
            unscaled = block.channels;
            map_stride *= block.stride;
            pyramid.push(format!("blocks.{index}"), channels, map_stride);
        }
        let features = 6 * channels;
        pyramid.push("head_conv", features, map_stride);
        let stem = self.conv([self.in_channels, stem_channels], 3, HardSwish);
        MobileNetV3 {
            stem: stem.with_stride(2).init(device),
            blocks,
            head_conv: self.conv([channels, features], 1, HardSwish).init(device),
            hidden: linear([features, hidden], device),
            dropout: DropoutConfig::new(self.dropout).init(),
            classifier: linear([hidden, self.num_classes], device),
            pyramid,
        }
    }

    fn wide(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width_mult, 8)
    }

    /// Builds MobileNetV2's block, with squeeze-and-excitation on the expanded channels (figure 4).
    fn block(
        &self,
        block: &Block,
        [channels, expanded]: [usize; 2],
        device: &Device,
    ) -> InvertedResidual {
        let &Block { kernel_size, activation, stride, .. } = block;
        let out_channels = self.wide(block.channels);
        let squeeze_excite =
            SqueezeExciteConfig::new(expanded, make_divisible((expanded / 4) as f64, 8))
                .with_gate(Activation::HardSigmoid)
                .with_initializer(Some(kaiming_normal_by_group()));
        let block = InvertedResidualConfig::new([channels, expanded, out_channels])
            .with_kernel_size(kernel_size)
            .with_stride(stride)
            .with_squeeze_excite(block.squeeze_excite.then_some(squeeze_excite));
        block.init(|channels, kernel_size| self.conv(channels, kernel_size, activation), device)
    }

    fn conv(
        &self,
        channels: [usize; 2],
        kernel_size: usize,
        activation: Activation,
    ) -> ConvNormActConfig {
        let conv = ConvNormActConfig::new(channels, [kernel_size; 2]).with_activation(activation);
        let tensorflow_norm = conv.clone().with_epsilon(1e-3).with_momentum(0.01);
        match self.implementation {
            Implementation::Torchvision => tensorflow_norm,
            Implementation::Timm => conv,
            Implementation::TensorFlow => tensorflow_norm.with_padding(Padding::Same),
        }
    }
}

impl ImageClassifier for MobileNetV3 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = maps.keep("stem", self.stem.forward(images))?;
        for (index, block) in self.blocks.iter().enumerate() {
            x = maps.keep(format_args!("blocks.{index}"), block.forward(x))?;
        }
        maps.keep("head_conv", self.head_conv.forward(x))
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        self.pyramid.levels()
    }

    fn head(&self) -> &dyn Head {
        self
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        self
    }
}

impl Head for MobileNetV3 {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let pooled = global_avg_pool2d(features).flatten(1, 3);
        let hidden = HardSwish.forward(self.hidden.forward(pooled));
        self.classifier.forward(self.dropout.forward(hidden))
    }

    fn accepts_pooled_features(&self) -> bool {
        true
    }

    fn num_features(&self) -> usize {
        let [num_features, _] = self.hidden.weight.lazy_shape().dims();
        num_features
    }

    fn num_classes(&self) -> usize {
        let [_, num_classes] = self.classifier.weight.lazy_shape().dims();
        num_classes
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        let [hidden, _] = self.classifier.weight.lazy_shape().dims();
        self.classifier = linear([hidden, num_classes], device);
    }
}

fn linear([channels, out_channels]: [usize; 2], device: &Device) -> Linear {
    let linear = LinearConfig::new(channels, out_channels)
        .with_initializer(Initializer::Normal { mean: 0.0, std: 0.01 });
    linear_with_bias(linear, &Initializer::Zeros, device)
}
