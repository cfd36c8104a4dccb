//! # GhostNet
//!
//! Han et al., 2019: [More Features from Cheap Operations](https://arxiv.org/abs/1911.11907).
//!
//! Many feature maps of a trained network are similar. A ghost module computes only half of its maps
//! by a convolution. It derives the others, the ghosts, from these by a cheap depthwise filter.
//!
//! | part         | output for `[N, 3, 224, 224]`, width 1.0 | paper, table 1        |
//! |--------------|------------------------------------------|-----------------------|
//! | `stem`       | `[N, 16, 112, 112]`                      | conv2d 3×3, stride 2  |
//! | `stages`     | `[N, 160, 7, 7]`                         | 16 G-bnecks           |
//! | `head_conv`  | `[N, 960, 7, 7]`                         | conv2d 1×1            |
//! | `hidden`     | `[N, 1280, 1, 1]`                        | avgpool, conv2d 1×1   |
//! | `classifier` | `[N, num_classes]`                       | fc                    |
//!
//! Two implementations of the paper have published weights; [`Implementation`] lists the differences.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, Dropout, DropoutConfig, Linear};
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, Apply, ConvNormAct, SqueezeExcite, add, cat, fork, global_avg_pool2d,
    make_divisible, relu,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod implementation;
mod pretrained;
pub use implementation::Implementation;
use pretrained::WIDTH_1 as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`GhostNet`].
#[derive(Config, Debug)]
pub struct GhostNetConfig {
    /// The implementation to follow.
    #[config(default = "DEFAULT.implementation")]
    pub implementation: Implementation,
    /// Factor of the channels of all layers except `hidden`.
    #[config(default = "DEFAULT.width_mult")]
    pub width_mult: f64,
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

/// GhostNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct GhostNet {
    stem: ConvNormAct,
    stages: Vec<Vec<GhostBottleneck>>,
    head_conv: ConvNormAct,
    hidden: Conv2d,
    hidden_norm: Option<BatchNorm>,
    dropout: Dropout,
    classifier: Classifier,
    #[module(skip)]
    implementation: Implementation,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// A block of two ghost modules: the first expands the channels, the second projects them (figure 3).
#[derive(Module, Debug)]
struct GhostBottleneck {
    expand: GhostModule,
    depthwise: Option<ConvNormAct>,
    squeeze_excite: Option<SqueezeExcite>,
    project: GhostModule,
    /// A depthwise and a 1×1 convolution, if the input and the output have different shapes.
    shortcut: Option<[ConvNormAct; 2]>,
}

/// A ghost module: feature maps and their ghosts (figure 2b).
#[derive(Module, Debug)]
struct GhostModule {
    primary: ConvNormAct,
    cheap: ConvNormAct,
}

/// The last layer: a fully connected layer or a 1×1 convolution, as in the checkpoint.
#[derive(Module, Debug)]
enum Classifier {
    FullyConnected(Linear),
    Pointwise(Conv2d),
}

/// One row of table 1, whose columns are: kernel, `#exp`, `#out`, `SE`, stride.
struct Block {
    kernel_size: usize,
    expanded: usize,
    channels: usize,
    squeeze_excite: bool,
    stride: usize,
}

#[rustfmt::skip]
const BLOCKS: [Block; 16] = [
    Block { kernel_size: 3, expanded:  16, channels:  16, squeeze_excite: false, stride: 1 },
    Block { kernel_size: 3, expanded:  48, channels:  24, squeeze_excite: false, stride: 2 },
    Block { kernel_size: 3, expanded:  72, channels:  24, squeeze_excite: false, stride: 1 },
    Block { kernel_size: 5, expanded:  72, channels:  40, squeeze_excite: true,  stride: 2 },
    Block { kernel_size: 5, expanded: 120, channels:  40, squeeze_excite: true,  stride: 1 },
    Block { kernel_size: 3, expanded: 240, channels:  80, squeeze_excite: false, stride: 2 },
    Block { kernel_size: 3, expanded: 200, channels:  80, squeeze_excite: false, stride: 1 },
    Block { kernel_size: 3, expanded: 184, channels:  80, squeeze_excite: false, stride: 1 },
    Block { kernel_size: 3, expanded: 184, channels:  80, squeeze_excite: false, stride: 1 },
    Block { kernel_size: 3, expanded: 480, channels: 112, squeeze_excite: true,  stride: 1 },
    Block { kernel_size: 3, expanded: 672, channels: 112, squeeze_excite: true,  stride: 1 },
    Block { kernel_size: 5, expanded: 672, channels: 160, squeeze_excite: true,  stride: 2 },
    Block { kernel_size: 5, expanded: 960, channels: 160, squeeze_excite: false, stride: 1 },
    Block { kernel_size: 5, expanded: 960, channels: 160, squeeze_excite: true,  stride: 1 },
    Block { kernel_size: 5, expanded: 960, channels: 160, squeeze_excite: false, stride: 1 },
    Block { kernel_size: 5, expanded: 960, channels: 160, squeeze_excite: true,  stride: 1 },
];

const STEM_CHANNELS: usize = 16;
const HEAD_CHANNELS: usize = 960;
const HIDDEN_CHANNELS: usize = 1280;

impl GhostNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> GhostNet {
        let implementation = self.implementation;
        let stem_channels = self.wide(STEM_CHANNELS);
        let num_features = self.wide(HEAD_CHANNELS);
        let (hidden, hidden_norm) = implementation.hidden(num_features, device);
        let mut channels = stem_channels;
        let mut pyramid = PyramidBuilder::default();
        let mut map_stride = 2;
        pyramid.push("stem", channels, map_stride);
        let mut table = BLOCKS.iter();
        let mut stages = Vec::new();
        for (stage, &depth) in implementation.depths().iter().enumerate() {
            let mut blocks = Vec::with_capacity(depth);
            for (index, block) in table.by_ref().take(depth).enumerate() {
                blocks.push(self.block(block, channels, device));
                channels = self.wide(block.channels);
                // As in timm, the first map of each size, not the last one.
                if block.stride > 1 {
                    map_stride *= block.stride;
                    pyramid.push(format!("stages.{stage}.{index}"), channels, map_stride);
                }
            }
            stages.push(blocks);
        }
        GhostNet {
            stem: implementation
                .conv([self.in_channels, stem_channels], 3)
                .with_stride(2)
                .init(device),
            stages,
            head_conv: implementation.conv([channels, num_features], 1).init(device),
            hidden,
            hidden_norm,
            dropout: DropoutConfig::new(self.dropout).init(),
            classifier: implementation.classifier(self.num_classes, device),
            implementation,
            pyramid,
        }
    }

    /// Scales a number of channels to a multiple of four, so that half of it is a whole number.
    fn wide(&self, channels: usize) -> usize {
        make_divisible(channels as f64 * self.width_mult, 4)
    }

    fn block(&self, block: &Block, channels: usize, device: &Device) -> GhostBottleneck {
        let implementation = self.implementation;
        let [expanded, out_channels] =
            [block.expanded, block.channels].map(|width| self.wide(width));
        let depthwise = implementation
            .depthwise(expanded, block.kernel_size)
            .with_stride(block.stride)
            .with_activation(Activation::Identity);
        let keeps_shape = block.stride == 1 && channels == out_channels;
        GhostBottleneck {
            expand: implementation.ghost_module([channels, expanded], Activation::Relu, device),
            depthwise: (block.stride > 1).then(|| depthwise.init(device)),
            squeeze_excite: block
                .squeeze_excite
                .then(|| implementation.squeeze_excite(expanded).init(device)),
            project: implementation.ghost_module(
                [expanded, out_channels],
                Activation::Identity,
                device,
            ),
            shortcut: (!keeps_shape)
                .then(|| implementation.shortcut([channels, out_channels], block, device)),
        }
    }
}

impl ImageClassifier for GhostNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = maps.keep("stem", self.stem.forward(images))?;
        for (stage, blocks) in self.stages.iter().enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                x = maps.keep(format_args!("stages.{stage}.{index}"), block.forward(x))?;
            }
        }
        Some(self.head_conv.forward(x))
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

impl Head for GhostNet {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let mut hidden = self.hidden.apply(global_avg_pool2d(features));
        if let Some(norm) = &self.hidden_norm {
            hidden = norm.apply(hidden);
        }
        self.classifier.forward(self.dropout.forward(relu(hidden)))
    }

    fn accepts_pooled_features(&self) -> bool {
        true
    }

    fn num_features(&self) -> usize {
        let [_, num_features, _, _] = self.hidden.weight.lazy_shape().dims();
        num_features
    }

    fn num_classes(&self) -> usize {
        self.classifier.num_classes()
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        self.classifier = self.implementation.classifier(num_classes, device);
    }
}

impl GhostBottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [branch, shortcut] = fork(x);
        let mut branch = self.expand.forward(branch);
        if let Some(depthwise) = &self.depthwise {
            branch = depthwise.forward(branch);
        }
        if let Some(squeeze_excite) = &self.squeeze_excite {
            branch = squeeze_excite.forward(branch);
        }
        branch = self.project.forward(branch);
        let shortcut = match &self.shortcut {
            Some([depthwise, pointwise]) => pointwise.forward(depthwise.forward(shortcut)),
            None => shortcut,
        };
        add(Activation::Identity, branch, shortcut)
    }
}

impl GhostModule {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [maps, seen] = fork(self.primary.forward(x));
        cat(vec![maps, self.cheap.forward(seen)])
    }
}

impl Classifier {
    fn num_classes(&self) -> usize {
        match self {
            Self::FullyConnected(linear) => linear.weight.lazy_shape()[1],
            Self::Pointwise(conv) => conv.weight.lazy_shape()[0],
        }
    }

    fn forward(&self, hidden: Tensor<4>) -> Tensor<2> {
        match self {
            Self::FullyConnected(linear) => linear.forward(hidden.flatten(1, 3)),
            Self::Pointwise(conv) => conv.apply(hidden).flatten(1, 3),
        }
    }
}
