//! # AE-CNN
//!
//! Sun et al., 2018: [Automatically Evolving CNN Architectures Based on
//! Blocks](https://arxiv.org/abs/1810.11875), in IEEE TNNLS 31(4) as "Completely Automated CNN
//! Architecture Design Based on Blocks".
//!
//! A genetic algorithm puts a network together from units of three kinds: residual blocks, densely
//! connected layers, and poolings. The list of units is the genome, and the name of a network is its
//! genome.
//!
//! | part         | `ae_cnn_r64x3_m_d12x4_m_r128x3`, `[N, 3, 32, 32]` | unit                                 |
//! |--------------|---------------------------------------------------|--------------------------------------|
//! | `units.0`    | `[N, 64, 32, 32]`                                 | ResNet unit, 64 channels, 3 blocks   |
//! | `units.1`    | `[N, 64, 16, 16]`                                 | pooling unit, max                    |
//! | `units.2`    | `[N, 112, 16, 16]`                                | DenseNet unit, `k` = 12, 4 layers    |
//! | `units.3`    | `[N, 112, 8, 8]`                                  | pooling unit, max                    |
//! | `units.4`    | `[N, 128, 8, 8]`                                  | ResNet unit, 128 channels, 3 blocks  |
//! | `classifier` | `[N, num_classes]`                                | average pool 8×8, fully connected    |
//!
//! There is no stem: the first unit takes the image. Blocks and layers have stride 1; only poolings
//! halve the map.
//!
//! The authors flatten the features for the classifier. Ours takes their mean over all positions, so
//! that images of any size fit. In a DenseNet unit, a 1×1 convolution first reduces an input with many
//! channels, as in the authors' code. The limit is ours: 64 channels for a growth rate up to 12, 128 up
//! to 20, 256 above.
//!
//! The paper's search draws from [`RESNET_CHANNELS`], [`BLOCKS`], [`GROWTH_RATES`] and [`LAYERS`].
//! [`variant`] also builds smaller networks, and [`Blocks`] searches among them.

use std::borrow::Cow;

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig,
    Padding, add, batch_norm, cat, fork, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod pretrained;
mod space;
mod unit;
use pretrained::CIFAR as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, name, variant};
pub use space::Blocks;
use unit::max_dense_input;
pub use unit::{BLOCKS, GROWTH_RATES, LAYERS, MAX_UNITS, RESNET_CHANNELS, Unit, UnknownUnit};

/// Configuration of an [`AeCnn`].
#[derive(Config, Debug)]
pub struct AeCnnConfig {
    /// The genome: the units from the image to the features.
    pub units: Cow<'static, [Unit]>,
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

/// AE-CNN image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct AeCnn {
    units: Vec<UnitLayers>,
    classifier: ClassifierHead,
    min_size: usize,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// The layers of a [`Unit`].
#[expect(clippy::large_enum_variant, reason = "there are few units in a network")]
#[derive(Module, Debug)]
enum UnitLayers {
    ResNet(Vec<Bottleneck>),
    DenseNet(DenseBlock),
    MaxPool(MaxPool2d),
    AvgPool(AvgPool2d),
}

/// A residual block: 1×1, 3×3 and 1×1 convolutions of the same width, and a shortcut.
#[derive(Module, Debug)]
struct Bottleneck {
    convs: [ConvNormAct; 3],
    shortcut: Option<ConvNormAct>,
}

/// Dense layers. A 1×1 convolution before them reduces an input with too many channels.
#[derive(Module, Debug)]
struct DenseBlock {
    reduce: Option<ConvNormAct>,
    layers: Vec<DenseLayer>,
}

/// A layer that adds `k` channels, with a bottleneck of `4k` channels.
#[derive(Module, Debug)]
struct DenseLayer {
    bottleneck: NormActConv,
    grow: NormActConv,
}

/// BatchNorm → ReLU → convolution.
#[derive(Module, Debug)]
struct NormActConv {
    norm: BatchNorm,
    conv: Conv2d,
}

/// Channels of a dense layer's bottleneck per channel that the layer adds.
const EXPANSION: usize = 4;

impl AeCnnConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> AeCnn {
        let mut channels = self.in_channels;
        let mut map_stride = 1;
        let mut pyramid = PyramidBuilder::default();
        let mut units = Vec::with_capacity(self.units.len());
        for (index, unit) in self.units.iter().enumerate() {
            units.push(UnitLayers::new(*unit, channels, device));
            channels = unit.out_channels(channels);
            if unit.is_pooling() {
                map_stride *= 2;
            }
            pyramid.push(format!("units.{index}"), channels, map_stride);
        }
        AeCnn {
            units,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_dropout(self.dropout)
                .init(device),
            // Each pooling needs two pixels for one.
            min_size: map_stride,
            pyramid,
        }
    }
}

impl ImageClassifier for AeCnn {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = images;
        for (index, unit) in self.units.iter().enumerate() {
            x = maps.keep(format_args!("units.{index}"), unit.forward(x))?;
        }
        Some(x)
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        self.pyramid.levels()
    }

    fn head(&self) -> &dyn Head {
        &self.classifier
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        &mut self.classifier
    }

    fn min_size(&self) -> usize {
        self.min_size
    }
}

impl UnitLayers {
    fn new(unit: Unit, channels: usize, device: &Device) -> Self {
        match unit {
            Unit::ResNet { channels: out_channels, blocks } => {
                let inputs = std::iter::once(channels).chain(std::iter::repeat(out_channels));
                let block = |input| Bottleneck::new([input, out_channels], device);
                Self::ResNet(inputs.take(blocks).map(block).collect())
            }
            Unit::DenseNet { growth_rate, layers } => {
                Self::DenseNet(DenseBlock::new(channels, growth_rate, layers, device))
            }
            Unit::MaxPool => {
                Self::MaxPool(MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init())
            }
            Unit::AvgPool => {
                Self::AvgPool(AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init())
            }
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::ResNet(blocks) => blocks.iter().fold(x, |x, block| block.forward(x)),
            Self::DenseNet(block) => block.forward(x),
            Self::MaxPool(pool) => pool.apply(x),
            Self::AvgPool(pool) => pool.apply(x),
        }
    }
}

impl Bottleneck {
    fn new([channels, out_channels]: [usize; 2], device: &Device) -> Self {
        let linear = |config: ConvNormActConfig| config.with_activation(Activation::Identity);
        let projection = linear(conv_norm_act([channels, out_channels], 1));
        Self {
            convs: [
                conv_norm_act([channels, out_channels], 1).init(device),
                conv_norm_act([out_channels, out_channels], 3).init(device),
                linear(conv_norm_act([out_channels, out_channels], 1)).init(device),
            ],
            shortcut: (channels != out_channels).then(|| projection.init(device)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, mut shortcut] = fork(x);
        let branch = self.convs.iter().fold(branch, |x, conv| conv.forward(x));
        if let Some(projection) = &self.shortcut {
            shortcut = projection.forward(shortcut);
        }
        add(Activation::Relu, branch, shortcut)
    }
}

impl DenseBlock {
    fn new(channels: usize, growth_rate: usize, layers: usize, device: &Device) -> Self {
        let input = channels.min(max_dense_input(growth_rate));
        let layer = |index| DenseLayer::new(input + index * growth_rate, growth_rate, device);
        Self {
            reduce: (input < channels).then(|| conv_norm_act([channels, input], 1).init(device)),
            layers: (0..layers).map(layer).collect(),
        }
    }

    /// Computes the reduced input and the outputs of all layers, concatenated.
    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        if let Some(reduce) = &self.reduce {
            x = reduce.forward(x);
        }
        self.layers.iter().fold(x, |x, layer| {
            let [seen, x] = fork(x);
            cat(vec![seen, layer.forward(x)])
        })
    }
}

impl DenseLayer {
    fn new(channels: usize, growth_rate: usize, device: &Device) -> Self {
        let hidden = EXPANSION * growth_rate;
        Self {
            bottleneck: NormActConv::new([channels, hidden], 1, device),
            grow: NormActConv::new([hidden, growth_rate], 3, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.grow.forward(self.bottleneck.forward(x))
    }
}

impl NormActConv {
    fn new(channels: [usize; 2], kernel_size: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new(channels, [kernel_size; 2])
            .with_padding(Padding::Symmetric.of([kernel_size; 2]))
            .with_bias(false)
            .with_initializer(torch_default_uniform());
        Self { norm: BatchNormConfig::new(channels[0]).init(device), conv: conv.init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.apply(batch_norm(&self.norm, Activation::Relu, x))
    }
}

fn conv_norm_act(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    // The authors use PyTorch's default initialization.
    ConvNormActConfig::new(channels, [kernel_size; 2])
        .with_initializer(Some(torch_default_uniform()))
}
