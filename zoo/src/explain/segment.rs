//! Explanations of a segmentation.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use zoo_core::{ImageSegmenter, catch_panic};
use zoo_models::{Network, Segmenter};

use super::methods::{self, Gradients, frozen, logit};
use super::{ExplainOptions, Explanation, Layer, Method, most_probable};
use crate::{Error, Model, probabilities};

/// The methods that need only the maps of a layer and their gradients.
const METHODS: [Method; 3] = [Method::GradCam, Method::HiResCam, Method::LayerCam];

/// The probabilities of the classes at each pixel, from logits `[K, H, W]`, row-major.
fn at_pixels(logits: &[f32], outputs: usize) -> Result<Vec<Vec<f32>>, Error> {
    let area = logits.len() / outputs;
    let at = |pixel: usize| {
        let logits: Vec<f32> = logits[pixel..].iter().step_by(area).copied().collect();
        probabilities(&logits)
    };
    (0..area).map(at).collect()
}

/// The classes, the most frequent first.
fn by_frequency(predicted: &[usize]) -> Vec<usize> {
    let mut counts = BTreeMap::<usize, usize>::new();
    predicted.iter().for_each(|class| *counts.entry(*class).or_default() += 1);
    let mut classes: Vec<usize> = counts.keys().copied().collect();
    classes.sort_by_key(|class| Reverse(counts[class]));
    classes
}

impl Model {
    /// Seg-Grad-CAM: `y` is the sum of the class's logits over the pixels that are predicted as it.
    pub(super) fn explain_segments(
        &mut self,
        pixels: Vec<f32>,
        shape: [usize; 4],
        options: &ExplainOptions,
    ) -> Result<Explanation, Error> {
        let name = self.card().variant.clone();
        if !self.card().has_classifier {
            return Err(Error::NoClassifier(name));
        }
        if !METHODS.contains(&options.method) {
            return Err(Error::NotForSegmenters { network: name, method: options.method.name() });
        }
        let layers = self.chosen_layers(options)?;
        let logits: Vec<f32> = self.logits(pixels.clone(), shape)?.iter().collect();
        let probabilities = at_pixels(&logits, self.card().num_classes)?;
        let predicted: Vec<usize> = probabilities.iter().map(|of| most_probable(of)).collect();
        let found = by_frequency(&predicted);
        let class = options.class.or_else(|| found.iter().copied().find(|class| *class != 0));
        let classes = self.card().num_answers();
        if let Some(class) = class.filter(|class| *class >= classes) {
            return Err(Error::NoSuchClass { class, classes });
        }
        let as_predicted = || predicted.iter().map(|it| Some(*it) == class).collect();
        let explained: Vec<bool> = options.pixels.clone().unwrap_or_else(as_predicted);
        assert_eq!(explained.len(), predicted.len(), "each pixel has a value");
        let count = explained.iter().filter(|is_explained| **is_explained).count();
        let (Some(class), true) = (class, count > 0) else {
            let label = |class: usize| format!("`{}`", self.label(class));
            let class = class.map_or_else(|| format!("a class other than {}", label(0)), label);
            let found: Vec<_> = found.into_iter().take(5).map(label).collect();
            return Err(Error::NoPixels { class, predicted: found.join(", ") });
        };
        let rows = probabilities.iter().zip(&explained).filter(|(_, is_explained)| **is_explained);
        let probability = rows.map(|(row, _)| row[class]).sum::<f32>() / count as f32;
        let mut maps = Vec::with_capacity(layers.len());
        for layer in layers {
            let gradients = self.segment_gradients(&pixels, shape, layer, class, &explained)?;
            maps.push(methods::weighed(options.method, gradients));
        }
        Ok(Explanation {
            class,
            label: self.label(class),
            probability,
            pixels: Some(explained),
            map: methods::merged(maps),
        })
    }

    /// The maps of a layer, and the gradients of the sum of the class's logits over some pixels.
    fn segment_gradients(
        &self,
        pixels: &[f32],
        shape: [usize; 4],
        layer: Layer,
        class: usize,
        explained: &[bool],
    ) -> Result<Gradients, Error> {
        let device = self.session().device().clone().autodiff();
        let Network::Segmenter(network) = self.network() else {
            return Err(Error::NotASegmenter(self.card().variant.clone()));
        };
        let network: Segmenter = frozen(network);
        let [_, _, height, width] = shape;
        let mask: Vec<f32> = explained.iter().map(|it| f32::from(u8::from(*it))).collect();
        let mask = Tensor::<4>::from_data(TensorData::new(mask, [1, 1, height, width]), &device);
        let images = Tensor::from_data(TensorData::new(pixels.to_vec(), shape), &device);
        Ok(catch_panic(|| {
            let (leaf, logits) = match layer {
                Layer::Features => {
                    let features = network.forward_features(images).detach().require_grad();
                    (features.clone(), network.forward_head(features))
                }
                Layer::Level(level) => network.forward_from_map(images, level),
            };
            let sum = (logit(logits, class) * mask).sum();
            Gradients::new(leaf, sum)
        })?)
    }
}
