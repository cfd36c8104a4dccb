//! # U-Net
//!
//! Ronneberger et al., 2015: [Convolutional Networks for Biomedical Image Segmentation](https://arxiv.org/abs/1505.04597).
//!
//! The contracting path downsamples to coarse maps with context. The expanding path upsamples them and
//! concatenates the fine maps of the contracting path, which have the exact positions.
//!
//! | part         | output for `[N, 3, 64, 64]` | paper, figure 1                      |
//! |--------------|-----------------------------|--------------------------------------|
//! | `stem`       | `[N, 64, 64, 64]`           | two convolutions 3×3                 |
//! | `down.0`     | `[N, 128, 32, 32]`          | max pool 2×2, two convolutions 3×3   |
//! | `down.1`     | `[N, 256, 16, 16]`          | the same                             |
//! | `down.2`     | `[N, 512, 8, 8]`            | the same                             |
//! | `down.3`     | `[N, 1024, 4, 4]`           | the same                             |
//! | `up.0`       | `[N, 512, 8, 8]`            | up-conv 2×2, two convolutions 3×3    |
//! | `up.1`       | `[N, 256, 16, 16]`          | the same                             |
//! | `up.2`       | `[N, 128, 32, 32]`          | the same                             |
//! | `up.3`       | `[N, 64, 64, 64]`           | the same                             |
//! | `classifier` | `[N, num_classes, 64, 64]`  | convolution 1×1                      |
//!
//! As in `milesial/Pytorch-UNet`, convolutions are padded and followed by BatchNorm, so the output has
//! the size of the input, and the upsampling can be bilinear instead of learned.

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
pub use zoo_core::ImageSegmenter;
use zoo_core::layers::{Apply, ConvNormAct, ConvNormActConfig, cat, fork};
use zoo_core::{FeatureMaps, PyramidBuilder, PyramidLevel};

mod pretrained;
use pretrained::TRANSPOSED as DEFAULT;
pub use pretrained::{FAMILY, VARIANTS, variant};

/// Configuration of a [`UNet`].
#[derive(Config, Debug)]
pub struct UNetConfig {
    /// The upsampling in the expanding path.
    #[config(default = "DEFAULT.upsampling")]
    pub upsampling: Upsampling,
    /// Channels of the images.
    #[config(default = "DEFAULT.in_channels")]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = "DEFAULT.num_classes")]
    pub num_classes: usize,
}

/// The upsampling of a map by a factor of 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upsampling {
    /// By a transposed convolution, the paper's "up-conv".
    Transposed,
    /// By bilinear interpolation with aligned corners; the convolutions after it are narrower.
    Bilinear,
}

/// U-Net for segmentation; see the [crate docs](crate) for shapes.
#[derive(Module, Debug)]
pub struct UNet {
    stem: DoubleConv,
    pool: MaxPool2d,
    down: Vec<DoubleConv>,
    up: Vec<Up>,
    classifier: Conv2d,
    #[module(skip)]
    pyramid: PyramidBuilder,
}

/// 3×3 convolution → BatchNorm → ReLU, twice.
#[derive(Module, Debug)]
struct DoubleConv {
    first: ConvNormAct,
    second: ConvNormAct,
}

/// A step of the expanding path: upsamples a map, concatenates the map of the contracting path before
/// it, and convolves both.
#[derive(Module, Debug)]
struct Up {
    /// `None` for interpolation.
    transposed: Option<ConvTranspose2d>,
    convs: DoubleConv,
}

/// Channels of the maps in the contracting path.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 1024];

/// Four poolings each halve the map.
const MIN_SIZE: usize = 16;

impl UNetConfig {
    /// Builds the network with random weights.
    pub fn init(&self, device: &Device) -> UNet {
        let [top, .., bottom] = CHANNELS;
        // Interpolation keeps the number of channels, so the maps that it upsamples have half as many.
        let narrow = |channels: usize| match self.upsampling {
            Upsampling::Bilinear => channels / 2,
            Upsampling::Transposed => channels,
        };
        let mut pyramid = PyramidBuilder::default();
        pyramid.push("stem", top, 1);
        let down = CHANNELS.windows(2).enumerate().map(|(index, pair)| {
            let out_channels = if pair[1] == bottom { narrow(bottom) } else { pair[1] };
            pyramid.push(format!("down.{index}"), out_channels, 2 << index);
            DoubleConv::new([pair[0], out_channels, out_channels], device)
        });
        let up = CHANNELS.windows(2).rev().map(|pair| {
            let [skipped, below] = [pair[0], pair[1]];
            let out_channels = if skipped == top { top } else { narrow(skipped) };
            let transposed = match self.upsampling {
                Upsampling::Transposed => Some(up_conv([below, skipped]).init(device)),
                Upsampling::Bilinear => None,
            };
            Up { transposed, convs: DoubleConv::new([below, skipped, out_channels], device) }
        });
        UNet {
            stem: DoubleConv::new([self.in_channels, top, top], device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            down: down.collect(),
            up: up.collect(),
            classifier: classifier(self.num_classes, device),
            pyramid,
        }
    }
}

fn up_conv(channels: [usize; 2]) -> ConvTranspose2dConfig {
    ConvTranspose2dConfig::new(channels, [2, 2]).with_stride([2, 2])
}

fn classifier(num_classes: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([CHANNELS[0], num_classes], [1, 1]).init(device)
}

impl ImageSegmenter for UNet {
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        let features = self.forward_maps(images, &mut FeatureMaps::none());
        features.expect("no map was requested, so the forward does not stop early")
    }

    fn forward_maps(&self, images: Tensor<4>, maps: &mut FeatureMaps) -> Option<Tensor<4>> {
        let mut x = maps.keep("stem", self.stem.forward(images))?;
        let mut skipped = Vec::with_capacity(self.down.len());
        for (index, down) in self.down.iter().enumerate() {
            let [skip, more] = fork(x);
            skipped.push(skip);
            let deeper = down.forward(self.pool.apply(more));
            x = maps.keep(format_args!("down.{index}"), deeper)?;
        }
        let up = self.up.iter().zip(skipped.into_iter().rev());
        Some(up.fold(x, |x, (up, skip)| up.forward(x, skip)))
    }

    fn pyramid(&self) -> Vec<PyramidLevel> {
        self.pyramid.levels()
    }

    fn forward_head(&self, features: Tensor<4>) -> Tensor<4> {
        self.classifier.apply(features)
    }

    fn min_size(&self) -> usize {
        MIN_SIZE
    }

    fn num_features(&self) -> usize {
        CHANNELS[0]
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.classifier = classifier(num_classes, device);
    }
}

impl DoubleConv {
    fn new([channels, hidden, out_channels]: [usize; 3], device: &Device) -> Self {
        // §3: a normal distribution by the number of inputs. The layers without BatchNorm
        // keep Burn's default, which is PyTorch's.
        let by_inputs =
            Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: false };
        let conv = |channels| {
            ConvNormActConfig::new(channels, [3, 3])
                .with_initializer(Some(by_inputs.clone()))
                .init(device)
        };
        Self { first: conv([channels, hidden]), second: conv([hidden, out_channels]) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.second.forward(self.first.forward(x))
    }
}

impl Up {
    fn forward(&self, x: Tensor<4>, skip: Tensor<4>) -> Tensor<4> {
        let x = match &self.transposed {
            Some(transposed) => transposed.forward(x),
            None => {
                let bilinear = InterpolateOptions::new(InterpolateMode::Bilinear);
                interpolate(x, bilinear.with_scale_factor([2.0, 2.0]))
            }
        };
        let x = fit(x, &skip);
        self.convs.forward(cat(vec![skip, x]))
    }
}

/// Pads a map with zeros to the size of another one, whose odd sizes were rounded down when they were
/// halved.
fn fit(x: Tensor<4>, target: &Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let [_, _, target_height, target_width] = target.dims();
    let (rows, columns) = (target_height - height, target_width - width);
    if (rows, columns) == (0, 0) {
        return x;
    }
    let (top, left) = (rows / 2, columns / 2);
    x.pad((left, columns - left, top, rows - top), 0.0)
}
