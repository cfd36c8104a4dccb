//! # NASNet
//!
//! Zoph et al., 2017: [Learning Transferable Architectures for Scalable Image Recognition](https://arxiv.org/abs/1707.07012).
//!
//! An architecture search on CIFAR-10 found two cells: one keeps a map's size, the other halves it. A
//! network for large images is a stack of these cells, of any depth and width.
//!
//! | part                | 4 @ 1056, `[N, 3, 224, 224]` | 6 @ 4032, `[N, 3, 331, 331]` | paper, figure 2                |
//! |---------------------|------------------------------|------------------------------|--------------------------------|
//! | `stem`              | `[N, 32, 111, 111]`          | `[N, 96, 165, 165]`          | conv 3×3/2                     |
//! | `stem_cells`        | `[N, 88, 28, 28]`            | `[N, 336, 42, 42]`           | 2 reduction cells              |
//! | `stages.0`          | `[N, 264, 28, 28]`           | `[N, 1008, 42, 42]`          | `depth` normal cells           |
//! | `reduction_cells.0` | `[N, 352, 14, 14]`           | `[N, 1344, 21, 21]`          | reduction cell                 |
//! | `stages.1`          | `[N, 528, 14, 14]`           | `[N, 2016, 21, 21]`          | `depth` normal cells           |
//! | `reduction_cells.1` | `[N, 704, 7, 7]`             | `[N, 2688, 11, 11]`          | reduction cell                 |
//! | `stages.2`          | `[N, 1056, 7, 7]`            | `[N, 4032, 11, 11]`          | `depth` normal cells           |
//! | `classifier`        | `[N, num_classes]`           | `[N, num_classes]`           | global average pool, softmax   |
//!
//! A cell's output consists of the hidden states that no block uses (§3). As in the authors' code, it
//! also contains the reduction cell's second block, although the fourth uses it. The auxiliary
//! classifier and ScheduledDropPath, which only training uses, are omitted.
//!
//! The small network has weights in Cadene's port to PyTorch, the large one in timm's;
//! [`Implementation`] lists the differences. Cadene's takes only images whose maps can be halved
//! without a remainder; here other sizes are padded as in TensorFlow.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageClassifier;
use zoo_core::layers::{
    Activation, ClassifierHead, ClassifierHeadConfig, ConvNormAct, Padding, relu,
};
use zoo_core::{FeatureMaps, Head, PyramidBuilder, PyramidLevel};

mod cell;
mod pretrained;
use cell::{Cell, CellConfig, CellPlan, Inputs, NORMAL_CELL, REDUCTION_CELL};
use pretrained::MOBILE as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`NASNet`].
#[derive(Config, Debug)]
pub struct NASNetConfig {
    /// Number of normal cells in each of three stages (`N` in figure 2).
    pub depth: usize,
    /// Channels of the features, a multiple of 96: the paper's number of penultimate filters.
    pub num_features: usize,
    /// Channels of the stem.
    pub stem_channels: usize,
    /// The earlier input of a cell after a reduction cell.
    #[config(default = "DEFAULT.earlier_input")]
    pub earlier_input: EarlierInput,
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

/// The earlier of the two inputs of a cell after a reduction cell.
///
/// After the reduction cells of the stem it is always the nearest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EarlierInput {
    /// The output of the cell before the last, as for other cells.
    Nearest,
    /// The earlier input of the reduction cell.
    Shared,
}

/// The implementation that a network follows, of the authors' TensorFlow code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Implementation {
    /// Cadene's: the first cell pads maps equally on all sides, average pooling does not count
    /// padding, and the features are those before the last activation.
    Cadene,
    /// timm's: all cells pad maps as TensorFlow does, average pooling with a stride counts padding,
    /// and the features are those after the last activation.
    Timm,
    /// Keras's: as timm's, but max pooling with a stride also takes the zeros of the padding.
    Keras,
}

/// NASNet-A image classifier; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct NASNet {
    stem: ConvNormAct,
    stem_cells: Vec<Cell>,
    stages: Vec<Vec<Cell>>,
    reduction_cells: Vec<Cell>,
    classifier: ClassifierHead,
    #[module(skip)]
    earlier_input: EarlierInput,
    #[module(skip)]
    implementation: Implementation,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// Channels of the features per channel of a hidden state in the first stage: the features hold six
/// hidden states of the last stage, which is four times as wide.
const EXPANSION: usize = 24;

/// The stem is a 3×3 convolution without padding.
const MIN_SIZE: usize = 3;

impl NASNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> NASNet {
        let width = self.num_features / EXPANSION;
        let mut inputs = Inputs { earlier: self.stem_channels, later: self.stem_channels };
        let mut before = None;
        let mut stack = |plan: &'static CellPlan, width, earlier_input| {
            let cell =
                CellConfig { plan, inputs, before, width, implementation: self.implementation };
            inputs.advance(cell.out_channels(), earlier_input);
            before = Some(plan);
            cell.init(device)
        };
        let stem_cells = [width / 4, width / 2]
            .map(|width| stack(&REDUCTION_CELL, width, EarlierInput::Nearest));
        let mut pyramid = PyramidBuilder::default();
        pyramid.push("stem", self.stem_channels, 2);
        let reduced = REDUCTION_CELL.out_channels(width / 4);
        pyramid.push("stem_cells.0", reduced, 4);
        let mut reduction_cells = Vec::new();
        let mut stages = Vec::new();
        for (stage, width) in [width, 2 * width, 4 * width].into_iter().enumerate() {
            if !stages.is_empty() {
                reduction_cells.push(stack(&REDUCTION_CELL, width, self.earlier_input));
            }
            let mut normal_cell = || stack(&NORMAL_CELL, width, EarlierInput::Nearest);
            stages.push((0..self.depth).map(|_| normal_cell()).collect());
            let channels = NORMAL_CELL.out_channels(width);
            pyramid.push(format!("stages.{stage}"), channels, 8 << stage);
        }
        NASNet {
            stem: self
                .implementation
                .linear_conv([self.in_channels, self.stem_channels], 3)
                .with_stride(2)
                .with_padding(Padding::Valid)
                .init(device),
            stem_cells: stem_cells.into(),
            stages,
            reduction_cells,
            classifier: ClassifierHeadConfig::new(inputs.later, self.num_classes)
                // It changes nothing if the features already have the activation.
                .with_activation(Activation::Relu)
                .with_dropout(self.dropout)
                .init(device),
            earlier_input: self.earlier_input,
            implementation: self.implementation,
            pyramid,
        }
    }
}

impl ImageClassifier for NASNet {
    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let x = maps.keep("stem", self.stem.forward(images))?;
        let mut inputs = Inputs { earlier: x.clone(), later: x };
        for (index, cell) in self.stem_cells.iter().enumerate() {
            let output = cell.forward(&inputs);
            let output = maps.keep_activated(format_args!("stem_cells.{index}"), output)?;
            inputs.advance(output, EarlierInput::Nearest);
        }
        for (stage, cells) in self.stages.iter().enumerate() {
            if stage > 0 {
                let output = self.reduction_cells[stage - 1].forward(&inputs);
                inputs.advance(output, self.earlier_input);
            }
            for cell in cells {
                inputs.advance(cell.forward(&inputs), EarlierInput::Nearest);
            }
            inputs.later = maps.keep_activated(format_args!("stages.{stage}"), inputs.later)?;
        }
        Some(match self.implementation {
            Implementation::Cadene => inputs.later,
            Implementation::Timm | Implementation::Keras => relu(inputs.later),
        })
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
        MIN_SIZE
    }
}
