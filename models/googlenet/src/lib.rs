//! # GoogLeNet
//!
//! Szegedy et al., 2014: [Going Deeper with Convolutions](https://arxiv.org/abs/1409.4842).
//!
//! An inception module applies filters of several sizes to the same input, in parallel. A 1×1
//! convolution before each makes them cheap.
//!
//! | part         | output for `[N, 3, 224, 224]` | paper, table 1                      |
//! |--------------|-------------------------------|-------------------------------------|
//! | `stem`       | `[N, 64, 112, 112]`           | convolution 7×7/2                   |
//! | `conv2`      | `[N, 192, 56, 56]`            | max pool, convolution 3×3/1         |
//! | `stages.0`   | `[N, 480, 28, 28]`            | max pool, inception (3a), (3b)      |
//! | `stages.1`   | `[N, 832, 14, 14]`            | max pool, inception (4a) to (4e)    |
//! | `stages.2`   | `[N, 1024, 7, 7]`             | max pool, inception (5a), (5b)      |
//! | `classifier` | `[N, num_classes]`            | avg pool, dropout, linear           |
//!
//! In training, two auxiliary classifiers take the outputs of (4a) and (4d), so that gradients have a
//! shorter path.
//!
//! As in torchvision, the paper's 5×5 filters are 3×3, convolutions have BatchNorm, the last pooling
//! is 2×2, and fewer features are dropped before the classifier. Pooling rounds up (`ceil_mode`), as
//! in Caffe.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Apply, ClassifierHead, ClassifierHeadConfig, ConvNormAct, ConvNormActConfig, cat,
    linear_with_bias, relu, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidLevel, TrainingOutput, check_size};

mod pretrained;
use pretrained::DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`GoogLeNet`].
#[derive(Config, Debug)]
pub struct GoogLeNetConfig {
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

/// GoogLeNet image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct GoogLeNet {
    stem: ConvNormAct,
    /// A 1×1 reduction, then the convolution.
    conv2: [ConvNormAct; 2],
    /// The max pooling of all stages except the last.
    pool: MaxPool2d,
    last_pool: MaxPool2d,
    stages: Vec<Vec<Inception>>,
    aux: Option<[AuxiliaryHead; 2]>,
    classifier: ClassifierHead,
}

/// An inception module: four parallel branches on the same input (figure 2b).
#[derive(Module, Debug)]
struct Inception {
    conv1x1: ConvNormAct,
    reduce3x3: ConvNormAct,
    conv3x3: ConvNormAct,
    reduce5x5: ConvNormAct,
    conv5x5: ConvNormAct,
    pool: MaxPool2d,
    project: ConvNormAct,
}

/// A small classifier in the middle of the network (§5).
#[derive(Module, Debug)]
struct AuxiliaryHead {
    conv: ConvNormAct,
    hidden: Linear,
    dropout: Dropout,
    classifier: Linear,
}

/// One row of table 1: the filters of an inception module.
struct Filters {
    conv1x1: usize,
    reduce3x3: usize,
    conv3x3: usize,
    reduce5x5: usize,
    conv5x5: usize,
    project: usize,
}

#[rustfmt::skip]
const STAGES: [&[Filters]; 3] = [
    &[
        Filters { conv1x1:  64, reduce3x3:  96, conv3x3: 128, reduce5x5: 16, conv5x5:  32, project:  32 },
        Filters { conv1x1: 128, reduce3x3: 128, conv3x3: 192, reduce5x5: 32, conv5x5:  96, project:  64 },
    ],
    &[
        Filters { conv1x1: 192, reduce3x3:  96, conv3x3: 208, reduce5x5: 16, conv5x5:  48, project:  64 },
        Filters { conv1x1: 160, reduce3x3: 112, conv3x3: 224, reduce5x5: 24, conv5x5:  64, project:  64 },
        Filters { conv1x1: 128, reduce3x3: 128, conv3x3: 256, reduce5x5: 24, conv5x5:  64, project:  64 },
        Filters { conv1x1: 112, reduce3x3: 144, conv3x3: 288, reduce5x5: 32, conv5x5:  64, project:  64 },
        Filters { conv1x1: 256, reduce3x3: 160, conv3x3: 320, reduce5x5: 32, conv5x5: 128, project: 128 },
    ],
    &[
        Filters { conv1x1: 256, reduce3x3: 160, conv3x3: 320, reduce5x5: 32, conv5x5: 128, project: 128 },
        Filters { conv1x1: 384, reduce3x3: 192, conv3x3: 384, reduce5x5: 48, conv5x5: 128, project: 128 },
    ],
];

/// The stage and the module whose output each auxiliary classifier takes: 4a and 4d.
const AUXILIARY_INPUTS: [(usize, usize); 2] = [(1, 0), (1, 3)];

/// Factor of an auxiliary classifier's loss (§5).
const AUXILIARY_WEIGHT: f64 = 0.3;

/// Height and width to which an auxiliary classifier average-pools its input (§5).
const AUXILIARY_SIZE: usize = 4;

/// Outputs of an auxiliary classifier's hidden layer (§5).
const AUXILIARY_HIDDEN: usize = 1024;

/// The last feature map of each size.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 5] = [
    PyramidLevel::new("stem",       64,  2),
    PyramidLevel::new("conv2",     192,  4),
    PyramidLevel::new("stages.0",  480,  8),
    PyramidLevel::new("stages.1",  832, 16),
    PyramidLevel::new("stages.2", 1024, 32),
];

/// After the stem's stride and three 3×3 poolings, one pixel is left.
const MIN_SIZE: usize = 15;

impl GoogLeNetConfig {
    /// Builds the network with random weights, without auxiliary classifiers.
    pub fn init(&self, device: &Device) -> GoogLeNet {
        let mut channels = 192;
        let mut stages = Vec::with_capacity(STAGES.len());
        for stage in STAGES {
            let mut modules = Vec::with_capacity(stage.len());
            for filters in stage {
                modules.push(filters.init(channels, device));
                channels = filters.out_channels();
            }
            stages.push(modules);
        }
        GoogLeNet {
            stem: conv([self.in_channels, 64], 7).with_stride(2).init(device),
            conv2: [conv([64, 64], 1).init(device), conv([64, 192], 3).init(device)],
            pool: pool(3).init(),
            last_pool: pool(2).init(),
            stages,
            aux: None,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_dropout(self.dropout)
                .with_initializer(Some(NARROW))
                .with_bias_initializer(Some(torch_default_uniform()))
                .init(device),
        }
    }
}

impl Filters {
    fn init(&self, channels: usize, device: &Device) -> Inception {
        Inception {
            conv1x1: conv([channels, self.conv1x1], 1).init(device),
            reduce3x3: conv([channels, self.reduce3x3], 1).init(device),
            conv3x3: conv([self.reduce3x3, self.conv3x3], 3).init(device),
            reduce5x5: conv([channels, self.reduce5x5], 1).init(device),
            // The paper says 5×5; torchvision has 3×3 by mistake, and its weights have this shape.
            conv5x5: conv([self.reduce5x5, self.conv5x5], 3).init(device),
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([1, 1])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            project: conv([channels, self.project], 1).init(device),
        }
    }

    fn out_channels(&self) -> usize {
        self.conv1x1 + self.conv3x3 + self.conv5x5 + self.project
    }
}

fn pool(size: usize) -> MaxPool2dConfig {
    MaxPool2dConfig::new([size; 2]).with_strides([2, 2]).with_ceil_mode(true)
}

/// torchvision's initialization of all weights; the biases have PyTorch's default.
const NARROW: Initializer = Initializer::Normal { mean: 0.0, std: 0.01 };

fn conv(channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
    ConvNormActConfig::new(channels, [kernel_size; 2])
        .with_epsilon(1e-3)
        .with_initializer(Some(NARROW))
}

fn linear([inputs, outputs]: [usize; 2], device: &Device) -> Linear {
    let linear = LinearConfig::new(inputs, outputs).with_initializer(NARROW);
    linear_with_bias(linear, &torch_default_uniform(), device)
}

impl GoogLeNet {
    /// Computes [`forward_maps`](ImageClassifier::forward_maps) and collects the inputs of the auxiliary
    /// classifiers.
    fn forward_stages(
        &self,
        images: Tensor<4>,
        maps: &mut FeatureMaps,
        mut seen: impl FnMut(&Tensor<4>),
    ) -> Option<Tensor<4>> {
        let x = self.pool.apply(maps.keep("stem", self.stem.forward(images))?);
        let x = self.conv2.iter().fold(x, |x, conv| conv.forward(x));
        let mut x = maps.keep("conv2", x)?;
        for (stage, modules) in self.stages.iter().enumerate() {
            let is_last = stage + 1 == self.stages.len();
            x = if is_last { &self.last_pool } else { &self.pool }.apply(x);
            for (index, module) in modules.iter().enumerate() {
                x = module.forward(x);
                if AUXILIARY_INPUTS.contains(&(stage, index)) {
                    seen(&x);
                }
            }
            x = maps.keep(format_args!("stages.{stage}"), x)?;
        }
        Some(x)
    }
}

impl ImageClassifier for GoogLeNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        self.forward_stages(images, maps, |_| ())
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

    fn classifier_paths(&self) -> Vec<&'static str> {
        vec!["classifier", "aux.0.classifier", "aux.1.classifier"]
    }

    fn forward_training(&self, images: Tensor<4>) -> TrainingOutput {
        check_size(&images, MIN_SIZE);
        let mut heads = self.aux.iter().flatten();
        let mut auxiliary = Vec::new();
        let see = |x: &Tensor<4>| {
            let head = heads.next();
            auxiliary.extend(head.map(|head| (AUXILIARY_WEIGHT, head.forward(x.clone()))));
        };
        let features = self.forward_stages(images, &mut FeatureMaps::none(), see);
        let features = features.expect("no map was requested, so the forward does not stop early");
        TrainingOutput { logits: self.forward_head(features), auxiliary }
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.classifier.reset(num_classes, device);
        for head in self.aux.iter_mut().flatten() {
            head.classifier = linear([AUXILIARY_HIDDEN, num_classes], device);
        }
    }

    fn attach_auxiliary(&mut self, device: &Device) {
        let num_classes = self.classifier.num_classes();
        self.aux = Some(AUXILIARY_INPUTS.map(|(stage, module)| {
            let channels = STAGES[stage][module].out_channels();
            AuxiliaryHead::new([channels, num_classes], device)
        }));
    }
}

impl Inception {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let views = vec![
            self.conv1x1.forward(x.clone()),
            self.conv3x3.forward(self.reduce3x3.forward(x.clone())),
            self.conv5x5.forward(self.reduce5x5.forward(x.clone())),
            self.project.forward(self.pool.apply(x)),
        ];
        cat(views)
    }
}

impl AuxiliaryHead {
    fn new([channels, num_classes]: [usize; 2], device: &Device) -> Self {
        const REDUCED: usize = 128;
        Self {
            conv: conv([channels, REDUCED], 1).init(device),
            hidden: linear([REDUCED * AUXILIARY_SIZE * AUXILIARY_SIZE, AUXILIARY_HIDDEN], device),
            dropout: DropoutConfig::new(0.7).init(),
            classifier: linear([AUXILIARY_HIDDEN, num_classes], device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = adaptive_avg_pool2d(x, [AUXILIARY_SIZE; 2]);
        let x = self.conv.forward(x).flatten(1, 3);
        let x = self.dropout.forward(relu(self.hidden.forward(x)));
        self.classifier.forward(x)
    }
}
