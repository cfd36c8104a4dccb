//! # Inception-v4
//!
//! Szegedy et al., 2016: [Inception-v4, Inception-ResNet](https://arxiv.org/abs/1602.07261).
//!
//! A deeper and more regular Inception v3: one kind of module for each size of the grid, and
//! reduction modules between them that only downsample.
//!
//! | part         | output for `[N, 3, 299, 299]` | paper, figure 9                      |
//! |--------------|-------------------------------|--------------------------------------|
//! | `stem`       | `[N, 64, 147, 147]`           | stem, figure 3: up to its first fork |
//! | `stages.0`   | `[N, 384, 35, 35]`            | stem, figure 3: the rest             |
//! | `stages.1`   | `[N, 384, 35, 35]`            | 4 × Inception-A                      |
//! | `stages.2`   | `[N, 1024, 17, 17]`           | Reduction-A, 7 × Inception-B         |
//! | `stages.3`   | `[N, 1536, 8, 8]`             | Reduction-B, 3 × Inception-C         |
//! | `classifier` | `[N, num_classes]`            | average pooling, dropout, softmax    |

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::BranchLayer::{
    self, AvgPool, Conv, MaxPool, SplitConv, StridedConv, ValidConv,
};
use zoo_core::layers::{
    Branches, BranchesConfig, ClassifierHead, ClassifierHeadConfig, torch_default_uniform,
};
use zoo_core::{FeatureMaps, Head, PyramidLevel};

mod pretrained;
use pretrained::DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of an [`InceptionV4`].
#[derive(Config, Debug)]
pub struct InceptionV4Config {
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

/// Inception-v4 image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct InceptionV4 {
    stem: Branches,
    stages: Vec<Vec<Branches>>,
    classifier: ClassifierHead,
}

/// The paper's modules; the three of the stem are numbered from the input.
#[derive(Clone, Copy)]
enum Kind {
    Stem1,
    Stem2,
    Stem3,
    A,
    ReductionA,
    B,
    ReductionB,
    C,
}

/// The first part of the stem, a single branch.
const STEM: [BranchLayer; 3] = [StridedConv(32), ValidConv([3, 3], 32), Conv([3, 3], 64)];

/// The modules of each stage and their repetitions.
#[rustfmt::skip]
const STAGES: [&[(Kind, usize)]; 4] = [
    &[(Kind::Stem1, 1), (Kind::Stem2, 1), (Kind::Stem3, 1)],
    &[(Kind::A, 4)],
    &[(Kind::ReductionA, 1), (Kind::B, 7)],
    &[(Kind::ReductionB, 1), (Kind::C, 3)],
];

impl Kind {
    /// Returns the branches of figures 3 to 8, with table 1's numbers for Reduction-A.
    #[rustfmt::skip]
    fn branches(self) -> Vec<Vec<BranchLayer>> {
        match self {
            Self::Stem1 => vec![
                vec![MaxPool],
                vec![StridedConv(96)],
            ],
            Self::Stem2 => vec![
                vec![Conv([1, 1], 64), ValidConv([3, 3], 96)],
                vec![Conv([1, 1], 64), Conv([1, 7], 64), Conv([7, 1], 64), ValidConv([3, 3], 96)],
            ],
            Self::Stem3 => vec![
                vec![StridedConv(192)],
                vec![MaxPool],
            ],
            Self::A => vec![
                vec![Conv([1, 1], 96)],
                vec![Conv([1, 1], 64), Conv([3, 3], 96)],
                vec![Conv([1, 1], 64), Conv([3, 3], 96), Conv([3, 3], 96)],
                vec![AvgPool, Conv([1, 1], 96)],
            ],
            Self::ReductionA => vec![
                vec![StridedConv(384)],
                vec![Conv([1, 1], 192), Conv([3, 3], 224), StridedConv(256)],
                vec![MaxPool],
            ],
            Self::B => vec![
                vec![Conv([1, 1], 384)],
                vec![Conv([1, 1], 192), Conv([1, 7], 224), Conv([7, 1], 256)],
                vec![
                    Conv([1, 1], 192),
                    Conv([7, 1], 192), Conv([1, 7], 224),
                    Conv([7, 1], 224), Conv([1, 7], 256),
                ],
                vec![AvgPool, Conv([1, 1], 128)],
            ],
            Self::ReductionB => vec![
                vec![Conv([1, 1], 192), StridedConv(192)],
                vec![Conv([1, 1], 256), Conv([1, 7], 256), Conv([7, 1], 320), StridedConv(320)],
                vec![MaxPool],
            ],
            Self::C => vec![
                vec![Conv([1, 1], 256)],
                vec![Conv([1, 1], 384), SplitConv(256)],
                vec![Conv([1, 1], 384), Conv([3, 1], 448), Conv([1, 3], 512), SplitConv(256)],
                vec![AvgPool, Conv([1, 1], 256)],
            ],
        }
    }
}

/// As in timm, the map after the stem's first fork and not after its second one, which has no padding.
#[rustfmt::skip]
const PYRAMID: [PyramidLevel; 5] = [
    PyramidLevel::new("stem",         64,  2),
    PyramidLevel::new("stages.0.0",  160,  4),
    PyramidLevel::new("stages.1.3",  384,  8),
    PyramidLevel::new("stages.2.7", 1024, 16),
    PyramidLevel::new("stages.3.3", 1536, 32),
];

/// The layers without padding need images of this size.
const MIN_SIZE: usize = 75;

impl InceptionV4Config {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> InceptionV4 {
        let stem = inception(self.in_channels, vec![STEM.to_vec()]);
        let mut channels = stem.out_channels();
        let mut stages = Vec::with_capacity(STAGES.len());
        for kinds in STAGES {
            let mut modules = Vec::new();
            for &(kind, repeats) in kinds {
                for _ in 0..repeats {
                    let module = inception(channels, kind.branches());
                    channels = module.out_channels();
                    modules.push(module.init(device));
                }
            }
            stages.push(modules);
        }
        InceptionV4 {
            stem: stem.init(device),
            stages,
            classifier: ClassifierHeadConfig::new(channels, self.num_classes)
                .with_dropout(self.dropout)
                .init(device),
        }
    }
}

/// Returns a module with TensorFlow's BatchNorm and PyTorch's default initialization.
fn inception(channels: usize, branches: Vec<Vec<BranchLayer>>) -> BranchesConfig {
    BranchesConfig::new(channels, branches)
        .with_epsilon(1e-3)
        .with_initializer(Some(torch_default_uniform()))
}

impl ImageClassifier for InceptionV4 {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = maps.keep("stem", self.stem.forward(images))?;
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
