//! # Inception v3
//!
//! Szegedy et al., 2015: [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567).
//!
//! Large filters are factorized into small ones with the same receptive field: 5×5 into two 3×3, n×n
//! into 1×n and n×1.
//!
//! | part         | output for `[N, 3, 299, 299]` | paper, table 1                  |
//! |--------------|-------------------------------|---------------------------------|
//! | `stem`       | `[N, 192, 35, 35]`            | convolutions and pooling        |
//! | `stages.0`   | `[N, 288, 35, 35]`            | 3 × Inception, figure 5         |
//! | `stages.1`   | `[N, 768, 17, 17]`            | 5 × Inception, figures 10 and 6 |
//! | `stages.2`   | `[N, 2048, 8, 8]`             | 2 × Inception, figure 7         |
//! | `classifier` | `[N, num_classes]`            | pool, linear                    |
//!
//! In training, an auxiliary classifier takes the output of `stages.1` (figure 8). Its convolutions
//! need a grid of 17×17, which images of 299 pixels and more have.
//!
//! The published weights belong to TensorFlow's version of the network, which torchvision follows. Its
//! stem ends in a 1×1 and a 3×3 convolution and a pooling, but table 1 has three 3×3 convolutions; its
//! first modules keep a 5×5 convolution. In torchvision, average pooling also counts padding; in
//! Keras it does not.

use std::ops::RangeBounds;

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::tensor::{Device, Tensor};
use zoo_core::layers::BranchLayer::{
    self, AvgPool, Conv, MaxPool, PaddedAvgPool, SplitConv, StridedConv, ValidConv,
};
use zoo_core::layers::{
    Apply, Branches, BranchesConfig, ClassifierHead, ClassifierHeadConfig, ConvNormAct,
    ConvNormActConfig, Padding, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidLevel, TrainingOutput, check_size};
pub use zoo_core::{ImageClassifier, Implementation};

mod pretrained;
use pretrained::WITH_DROPOUT as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`InceptionV3`].
#[derive(Config, Debug)]
pub struct InceptionV3Config {
    /// Probability of dropping a feature before the classifier while training.
    #[config(default = "DEFAULT.dropout")]
    pub dropout: f64,
    /// The implementation to follow.
    #[config(default = "DEFAULT.implementation")]
    pub implementation: Implementation,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// Inception v3 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct InceptionV3 {
    stem: Branches,
    stages: Vec<Vec<Branches>>,
    aux: Option<AuxiliaryHead>,
    classifier: ClassifierHead,
}

/// An auxiliary classifier on the features in the middle of the network, for training. The paper
/// calls it a regularizer (§4).
#[derive(Module, Debug)]
struct AuxiliaryHead {
    pool: AvgPool2d,
    convs: Vec<ConvNormAct>,
    classifier: ClassifierHead,
}

/// The modules, with their names in the paper of Inception-v4.
#[derive(Clone, Copy)]
enum Kind {
    /// Figure 5. `pooled` are the channels of its pooling branch.
    A { pooled: usize },
    /// Figure 10: halves the size.
    ReductionA,
    /// Figure 6 with n = 7. `inner` are the channels of the inner convolutions.
    B { inner: usize },
    /// Halves the size again; one branch is factorized as in figure 6.
    ReductionB,
    /// Figure 7: the last convolutions are parallel, for many features at few positions.
    C,
}

/// The stem, a single branch.
const STEM: [BranchLayer; 7] = [
    StridedConv(32),
    ValidConv([3, 3], 32),
    Conv([3, 3], 64),
    MaxPool,
    Conv([1, 1], 80),
    ValidConv([3, 3], 192),
    MaxPool,
];

#[rustfmt::skip]
const STAGES: [&[Kind]; 3] = [
    &[Kind::A { pooled: 32 }, Kind::A { pooled: 64 }, Kind::A { pooled: 64 }],
    &[Kind::ReductionA, Kind::B { inner: 128 }, Kind::B { inner: 160 }, Kind::B { inner: 160 }, Kind::B { inner: 192 }],
    &[Kind::ReductionB, Kind::C, Kind::C],
];

impl Kind {
    #[rustfmt::skip]
    fn branches(self, implementation: Implementation) -> Vec<Vec<BranchLayer>> {
        let average = match implementation {
            Implementation::PyTorch => PaddedAvgPool,
            Implementation::Keras => AvgPool,
        };
        match self {
            Self::A { pooled } => vec![
                vec![Conv([1, 1], 64)],
                vec![Conv([1, 1], 48), Conv([5, 5], 64)],
                vec![Conv([1, 1], 64), Conv([3, 3], 96), Conv([3, 3], 96)],
                vec![average, Conv([1, 1], pooled)],
            ],
            Self::ReductionA => vec![
                vec![StridedConv(384)],
                vec![Conv([1, 1], 64), Conv([3, 3], 96), StridedConv(96)],
                vec![MaxPool],
            ],
            Self::B { inner } => vec![
                vec![Conv([1, 1], 192)],
                vec![Conv([1, 1], inner), Conv([1, 7], inner), Conv([7, 1], 192)],
                vec![
                    Conv([1, 1], inner),
                    Conv([7, 1], inner), Conv([1, 7], inner),
                    Conv([7, 1], inner), Conv([1, 7], 192),
                ],
                vec![average, Conv([1, 1], 192)],
            ],
            Self::ReductionB => vec![
                vec![Conv([1, 1], 192), StridedConv(320)],
                vec![Conv([1, 1], 192), Conv([1, 7], 192), Conv([7, 1], 192), StridedConv(192)],
                vec![MaxPool],
            ],
            Self::C => vec![
                vec![Conv([1, 1], 320)],
                vec![Conv([1, 1], 384), SplitConv(384)],
                vec![Conv([1, 1], 448), Conv([3, 3], 384), SplitConv(384)],
                vec![average, Conv([1, 1], 192)],
            ],
        }
    }
}

/// The last feature map of each size.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 5] = [
    PyramidLevel::new("stem.branches.0.2",   64,  2),
    PyramidLevel::new("stem.branches.0.5",  192,  4),
    PyramidLevel::new("stages.0",           288,  8),
    PyramidLevel::new("stages.1",           768, 16),
    PyramidLevel::new("stages.2",          2048, 32),
];

/// The layers without padding need images of this size.
const MIN_SIZE: usize = 75;
/// The auxiliary classifier's layers without padding need images of this size.
const AUXILIARY_MIN_SIZE: usize = 299;
/// Number of stages before the auxiliary classifier, and the factor of its loss.
const AUXILIARY_STAGE: usize = 2;
const AUXILIARY_WEIGHT: f64 = 0.4;

/// TensorFlow's settings of BatchNorm and of kernels; biases have PyTorch's default in torchvision.
const EPSILON: f64 = 1e-3;
const INITIALIZER: Initializer = Initializer::Normal { mean: 0.0, std: 0.1 };

impl InceptionV3Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> InceptionV3 {
        let stem = self.inception(self.in_channels, vec![STEM.to_vec()]);
        let mut channels = stem.out_channels();
        let mut stages = Vec::with_capacity(STAGES.len());
        for kinds in STAGES {
            let mut modules = Vec::with_capacity(kinds.len());
            for kind in kinds {
                let module = self.inception(channels, kind.branches(self.implementation));
                channels = module.out_channels();
                modules.push(module.init(device));
            }
            stages.push(modules);
        }
        InceptionV3 {
            stem: stem.init(device),
            stages,
            aux: None,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_dropout(self.dropout)
                .with_initializer(Some(INITIALIZER))
                .with_bias_initializer(Some(torch_default_uniform()))
                .init(device),
        }
    }

    fn inception(&self, channels: usize, branches: Vec<Vec<BranchLayer>>) -> BranchesConfig {
        BranchesConfig::new(channels, branches)
            .with_initializer(Some(INITIALIZER))
            .with_epsilon(EPSILON)
            .with_momentum(match self.implementation {
                Implementation::PyTorch => 0.1,
                Implementation::Keras => 0.01,
            })
    }
}

impl ImageClassifier for InceptionV3 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        self.forward_stages(AUXILIARY_STAGE.., self.forward_middle(images, maps)?, maps)
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
        vec!["classifier", "aux.classifier"]
    }

    /// # Panics
    ///
    /// When there is an auxiliary classifier and an image is smaller than 299 pixels.
    fn forward_training(&self, images: Tensor<4>) -> TrainingOutput {
        let Some(aux) = &self.aux else {
            return TrainingOutput { logits: self.forward(images), auxiliary: Vec::new() };
        };
        check_size(&images, self.min_training_size());
        let maps = &mut FeatureMaps::none();
        let middle = self.forward_middle(images, maps);
        let auxiliary = middle.iter().map(|x| (AUXILIARY_WEIGHT, aux.forward(x.clone()))).collect();
        let features = middle.and_then(|x| self.forward_stages(AUXILIARY_STAGE.., x, maps));
        let features = features.expect("no map was requested, so the forward does not stop early");
        TrainingOutput { logits: self.forward_head(features), auxiliary }
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }

    fn min_training_size(&self) -> usize {
        if self.aux.is_some() { AUXILIARY_MIN_SIZE } else { MIN_SIZE }
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.classifier.reset(num_classes, device);
        if let Some(aux) = &mut self.aux {
            aux.classifier.reset(num_classes, device);
        }
    }

    fn attach_auxiliary(&mut self, device: &Device) {
        self.aux = Some(AuxiliaryHead::new(768, self.classifier.num_classes(), device));
    }
}

impl InceptionV3 {
    /// Computes the layers up to the 17×17 grid that the auxiliary classifier takes, `[N, 768, h, w]`.
    fn forward_middle(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let x = self.stem.forward_steps(images, |step, x| {
            maps.keep(format_args!("stem.branches.0.{step}"), x)
        })?;
        self.forward_stages(..AUXILIARY_STAGE, x, maps)
    }

    fn forward_stages(
        &self,
        stages: impl RangeBounds<usize>,
        mut x: Tensor<4>,
        maps: &mut FeatureMaps,
    ) -> Option<Tensor<4>> {
        for (index, modules) in self.stages.iter().enumerate() {
            if stages.contains(&index) {
                x = modules.iter().fold(x, |x, module| module.forward(x));
                x = maps.keep(format_args!("stages.{index}"), x)?;
            }
        }
        Some(x)
    }
}

impl AuxiliaryHead {
    fn new(channels: usize, num_classes: usize, device: &Device) -> Self {
        let normal = |std| Some(Initializer::Normal { mean: 0.0, std });
        let conv = |channels, kernel_size| {
            ConvNormActConfig::new(channels, kernel_size)
                .with_padding(Padding::Valid)
                .with_epsilon(EPSILON)
        };
        Self {
            pool: AvgPool2dConfig::new([5, 5]).with_strides([3, 3]).init(),
            convs: vec![
                conv([channels, 128], [1, 1]).with_initializer(normal(0.1)).init(device),
                conv([128, 768], [5, 5]).with_initializer(normal(0.01)).init(device),
            ],
            classifier: ClassifierHeadConfig::new(768, num_classes)
                .with_initializer(normal(0.001))
                .with_bias_initializer(Some(torch_default_uniform()))
                .init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let pooled = self.pool.apply(x);
        self.classifier.forward(self.convs.iter().fold(pooled, |x, conv| conv.forward(x)))
    }
}
