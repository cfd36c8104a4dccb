//! # Inception v2 (BN-Inception), SE-Inception v2
//!
//! Ioffe & Szegedy, 2015: [Batch Normalization](https://arxiv.org/abs/1502.03167);
//! Hu et al., 2017: [Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507).
//!
//! GoogLeNet with BatchNorm after every convolution, which makes training many times faster, and with
//! two 3×3 convolutions for each 5×5 one.
//!
//! | part         | output for `[N, 3, 224, 224]` | paper, figure 5              |
//! |--------------|-------------------------------|------------------------------|
//! | `stem`       | `[N, 64, 112, 112]`           | convolution 7×7/2            |
//! | `conv2`      | `[N, 192, 56, 56]`            | max pool, convolution 3×3    |
//! | `stages.0`   | `[N, 576, 14, 14]`            | max pool, inception 3a to 3c |
//! | `stages.1`   | `[N, 1056, 7, 7]`             | inception 4a to 4e           |
//! | `stages.2`   | `[N, 1024, 7, 7]`             | inception 5a, 5b             |
//! | `classifier` | `[N, num_classes]`            | average pool, linear         |
//!
//! In SE-Inception, squeeze-and-excitation follows each of the ten modules.
//!
//! The published weights are from Caffe: the stem's convolution is plain instead of the paper's
//! separable one, convolutions keep a bias before BatchNorm, and pooling rounds up. In Caffe a module
//! with stride 2 takes only even sizes; here its pooling rounds up as its convolutions do.

use burn::config::Config;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig, SqueezeExcite,
    SqueezeExciteConfig, cat, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidLevel};

mod pretrained;
use pretrained::PLAIN as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`InceptionV2`].
#[derive(Config, Debug)]
pub struct InceptionV2Config {
    /// The reduction of the channels in squeeze-and-excitation after each module; `None` for no
    /// squeeze-and-excitation.
    pub squeeze_reduction: Option<usize>,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// Inception v2 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct InceptionV2 {
    stem: ConvNormAct,
    conv2: Vec<ConvNormAct>,
    pool: MaxPool2d,
    stages: Vec<Vec<Inception>>,
    classifier: ClassifierHead,
}

/// An inception module: parallel branches of a 1×1 convolution, a 3×3 one, two 3×3 ones and a pooling.
#[derive(Module, Debug)]
struct Inception {
    conv1x1: Option<ConvNormAct>,
    conv3x3: Vec<ConvNormAct>,
    double3x3: Vec<ConvNormAct>,
    pool: Pool,
    project: Option<ConvNormAct>,
    squeeze_excite: Option<SqueezeExcite>,
}

#[derive(Module, Debug)]
enum Pool {
    Average(AvgPool2d),
    Max(MaxPool2d),
}

/// One row of figure 5: the channels of each branch; first those of its 1×1 convolution.
struct Row {
    conv1x1: usize,
    conv3x3: [usize; 2],
    double3x3: [usize; 2],
    pool: Pooling,
}

/// A module's pooling, and the 1×1 convolution after it.
#[derive(Clone, Copy)]
enum Pooling {
    /// Average pooling, then a convolution with this number of output channels.
    Average(usize),
    /// Max pooling, then a convolution with this number of output channels.
    Max(usize),
    /// Max pooling without a convolution, in a module with stride 2.
    PassThrough,
}

use Pooling::{Average, Max, PassThrough};

#[rustfmt::skip]
const STAGES: [&[Row]; 3] = [
    &[
        Row { conv1x1:  64, conv3x3: [ 64,  64], double3x3: [ 64,  96], pool: Average(32) },
        Row { conv1x1:  64, conv3x3: [ 64,  96], double3x3: [ 64,  96], pool: Average(64) },
        Row { conv1x1:   0, conv3x3: [128, 160], double3x3: [ 64,  96], pool: PassThrough },
    ],
    &[
        Row { conv1x1: 224, conv3x3: [ 64,  96], double3x3: [ 96, 128], pool: Average(128) },
        Row { conv1x1: 192, conv3x3: [ 96, 128], double3x3: [ 96, 128], pool: Average(128) },
        Row { conv1x1: 160, conv3x3: [128, 160], double3x3: [128, 160], pool: Average(128) },
        Row { conv1x1:  96, conv3x3: [128, 192], double3x3: [160, 192], pool: Average(128) },
        Row { conv1x1:   0, conv3x3: [128, 192], double3x3: [192, 256], pool: PassThrough },
    ],
    &[
        Row { conv1x1: 352, conv3x3: [192, 320], double3x3: [160, 224], pool: Average(128) },
        Row { conv1x1: 352, conv3x3: [192, 320], double3x3: [192, 224], pool: Max(128) },
    ],
];

/// The last feature map of each size.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 5] = [
    PyramidLevel::new("stem",         64,  2),
    PyramidLevel::new("conv2",       192,  4),
    PyramidLevel::new("stages.0.1",  320,  8),
    PyramidLevel::new("stages.1.3",  608, 16),
    PyramidLevel::new("stages.2.1", 1024, 32),
];

/// The two poolings without padding after the stem need images of this size.
const MIN_SIZE: usize = 7;

impl Row {
    fn stride(&self) -> usize {
        match self.pool {
            Average(_) | Max(_) => 1,
            PassThrough => 2,
        }
    }

    /// Returns the number of output channels of a module with `channels` input channels.
    fn out_channels(&self, channels: usize) -> usize {
        let pooled = match self.pool {
            Average(pooled) | Max(pooled) => pooled,
            PassThrough => channels,
        };
        self.conv1x1 + self.conv3x3[1] + self.double3x3[1] + pooled
    }
}

impl InceptionV2Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> InceptionV2 {
        let mut channels = 192;
        let mut stages = Vec::with_capacity(STAGES.len());
        for rows in STAGES {
            let mut modules = Vec::with_capacity(rows.len());
            for row in rows {
                modules.push(self.module(row, channels, device));
                channels = row.out_channels(channels);
            }
            stages.push(modules);
        }
        InceptionV2 {
            stem: conv([self.in_channels, 64], 7).with_stride(2).init(device),
            conv2: vec![conv([64, 64], 1).init(device), conv([64, 192], 3).init(device)],
            pool: MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_ceil_mode(true).init(),
            stages,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes).init(device),
        }
    }

    fn module(&self, row: &Row, channels: usize, device: &Device) -> Inception {
        let [reduced, width] = row.conv3x3;
        let conv3x3 =
            [conv([channels, reduced], 1), conv([reduced, width], 3).with_stride(row.stride())];
        let [reduced, width] = row.double3x3;
        let double3x3 = [
            conv([channels, reduced], 1),
            conv([reduced, width], 3),
            conv([width, width], 3).with_stride(row.stride()),
        ];
        let out_channels = row.out_channels(channels);
        Inception {
            conv1x1: (row.conv1x1 > 0).then(|| conv([channels, row.conv1x1], 1).init(device)),
            conv3x3: conv3x3.into_iter().map(|conv| conv.init(device)).collect(),
            double3x3: double3x3.into_iter().map(|conv| conv.init(device)).collect(),
            pool: row.pool.init(),
            project: match row.pool {
                Average(pooled) | Max(pooled) => Some(conv([channels, pooled], 1).init(device)),
                PassThrough => None,
            },
            squeeze_excite: self.squeeze_reduction.map(|reduction| {
                SqueezeExciteConfig::new(out_channels, out_channels / reduction).init(device)
            }),
        }
    }
}

impl Pooling {
    fn init(self) -> Pool {
        let around = PaddingConfig2d::Explicit(1, 1, 1, 1);
        // Padding at the bottom and right, so that the size is that of a padded convolution.
        let after = PaddingConfig2d::Explicit(0, 0, 1, 1);
        let average = AvgPool2dConfig::new([3, 3]).with_strides([1, 1]);
        let max = MaxPool2dConfig::new([3, 3]);
        match self {
            Average(_) => Pool::Average(average.with_padding(around).init()),
            Max(_) => Pool::Max(max.with_strides([1, 1]).with_padding(around).init()),
            PassThrough => {
                let max = max.with_strides([2, 2]).with_padding(after);
                Pool::Max(max.with_ceil_mode(true).init())
            }
        }
    }
}

/// Returns a convolution with a bias, with PyTorch's default initialization.
fn conv(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    ConvNormActConfig::new(channels, [kernel_size; 2])
        .with_bias(true)
        .with_initializer(Some(torch_default_uniform()))
}

impl ImageClassifier for InceptionV2 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let x = maps.keep("stem", self.stem.forward(images))?;
        let x = maps.keep("conv2", run(&self.conv2, self.pool.apply(x)))?;
        let mut x = self.pool.apply(x);
        for (stage, modules) in self.stages.iter().enumerate() {
            for (index, module) in modules.iter().enumerate() {
                x = maps.keep(format_args!("stages.{stage}.{index}"), module.forward(x))?;
            }
        }
        Some(x)
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        PYRAMID.into()
    }

    fn head(&self) -> &dyn Head {
        &self.classifier
    }

    fn head_mut(&mut self) -> &mut dyn Head {
        &mut self.classifier
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }
}

impl Inception {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut branches = Vec::with_capacity(4);
        branches.extend(self.conv1x1.as_ref().map(|conv| conv.forward(x.clone())));
        branches.push(run(&self.conv3x3, x.clone()));
        branches.push(run(&self.double3x3, x.clone()));
        let pooled = self.pool.forward(x);
        branches.push(match &self.project {
            Some(project) => project.forward(pooled),
            None => pooled,
        });
        let joined = cat(branches);
        match &self.squeeze_excite {
            Some(squeeze_excite) => squeeze_excite.forward(joined),
            None => joined,
        }
    }
}

impl Pool {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Average(pool) => pool.apply(x),
            Self::Max(pool) => pool.apply(x),
        }
    }
}

fn run(convs: &[ConvNormAct], x: Tensor<4>) -> Tensor<4> {
    convs.iter().fold(x, |x, conv| conv.forward(x))
}
