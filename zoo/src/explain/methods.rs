//! The definitions of the methods, each as in its paper.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use zoo_core::layers::Activation;
use zoo_core::{ImageClassifier, catch_panic};
use zoo_models::{Classifier, Network};

use super::grid::range;
use super::heat_map::interpolated;
use super::{ExplainOptions, HeatMap, Layer, Method};
use crate::{Error, Model, probabilities};

/// Steps of the integral over the images between the mean image and the image.
const STEPS: usize = 32;

/// The gray square of occlusion has this share of the image's side, and moves by half of it.
const SQUARE: f64 = 1.0 / 8.0;

/// What is explained.
pub(super) struct Target {
    /// The preprocessed image, `[1, C, H, W]`.
    pub(super) pixels: Vec<f32>,
    pub(super) shape: [usize; 4],
    /// The network's features, `[1, F, h, w]`.
    pub(super) features: TensorData,
    pub(super) class: usize,
    pub(super) probability: f32,
}

impl Target {
    /// The features with the activation that the head starts with. ReLU may be applied twice.
    fn activated(&self, network: &Classifier, device: &Device) -> Tensor<4> {
        activated(network, Tensor::from_data(self.features.clone(), device))
    }
}

/// The maps of a layer and the gradients of the class's logit by them, `[F, h, w]` each.
pub(super) struct Gradients {
    maps: Tensor<3>,
    gradients: Tensor<3>,
}

impl Gradients {
    /// The gradients of `y` by the maps `[1, F, h, w]`.
    pub(super) fn new(maps: Tensor<4>, y: Tensor<1>) -> Self {
        let gradient = maps.grad(&y.backward()).expect("the logits depend on the maps");
        Self { maps: maps.inner().squeeze_dim(0), gradients: gradient.squeeze_dim(0) }
    }
}

impl Model {
    pub(super) fn heat_map(
        &mut self,
        target: &Target,
        options: &ExplainOptions,
    ) -> Result<HeatMap, Error> {
        match options.method {
            Method::Occlusion => return self.occlusion(target, options.batch_size),
            Method::IntegratedGradients => {
                return self.integrated_gradients(target, options.batch_size);
            }
            _ => {}
        }
        let layers = self.chosen_layers(options)?;
        let mut maps = Vec::with_capacity(layers.len());
        for layer in layers {
            maps.push(match options.method {
                Method::ScoreCam => self.score_cam(target, layer, options.batch_size)?,
                method => self.weighted_maps(target, layer, method)?,
            });
        }
        Ok(merged(maps))
    }

    /// The layers of the options, or the default one.
    pub(super) fn chosen_layers(&self, options: &ExplainOptions) -> Result<Vec<Layer>, Error> {
        if options.layers.is_empty() {
            let levels = self.network().pyramid().len();
            return Ok(match self.network() {
                Network::Segmenter(_) if levels > 0 => vec![Layer::Level(levels - 1)],
                _ => vec![Layer::Features],
            });
        }
        options.layers.iter().try_for_each(|layer| self.ensure_layer(*layer))?;
        Ok(options.layers.clone())
    }

    /// The methods that weigh the maps of a layer by their gradients.
    fn weighted_maps(
        &self,
        target: &Target,
        layer: Layer,
        method: Method,
    ) -> Result<HeatMap, Error> {
        let network = self.classifier()?;
        if method == Method::Cam {
            let device = self.session().device();
            let maps = || network.class_maps(target.activated(network, device));
            let maps = catch_panic(maps)?.filter(|_| layer == Layer::Features);
            let maps = maps.ok_or_else(|| Error::NoClassMaps(self.card().variant.clone()))?;
            let [_, _, height, width] = maps.dims();
            let map = logit(maps.swap_dims(0, 1).flatten::<2>(1, 3).transpose(), target.class);
            return Ok(heat_map(map.reshape([height, width])));
        }
        Ok(weighed(method, catch_panic(|| self.gradients(network, target, layer))?))
    }

    /// Runs the network from a layer on, and returns the gradients of the class's logit.
    fn gradients(&self, network: &Classifier, target: &Target, layer: Layer) -> Gradients {
        let device = self.session().device();
        if layer == Layer::Features
            && let Some(weights) = class_weights(network, target.class)
        {
            // The mean of the features times the weights: the gradient is the same at each position.
            let maps = target.activated(network, device).squeeze_dim::<3>(0);
            let [channels, height, width] = maps.dims();
            let gradient = weights.reshape([channels, 1, 1]) / (height * width) as f64;
            return Gradients { gradients: gradient.expand(maps.dims()), maps };
        }
        let device = device.clone().autodiff();
        let network = frozen(network);
        let (leaf, logits) = match layer {
            Layer::Features => {
                let features = target.activated(&network, &device).detach().require_grad();
                let logits = network.forward_head(features.clone());
                (features, logits)
            }
            Layer::Level(level) => {
                let images = TensorData::new(target.pixels.clone(), target.shape);
                network.forward_from_map(Tensor::from_data(images, &device), level)
            }
        };
        Gradients::new(leaf, logit(logits, target.class).sum())
    }

    fn score_cam(
        &mut self,
        target: &Target,
        layer: Layer,
        batch_size: usize,
    ) -> Result<HeatMap, Error> {
        let maps = self.maps(target, layer)?;
        let [_, channels, height, width] = shape(&maps);
        let maps: Vec<f32> = maps.iter().collect();
        let maps: Vec<&[f32]> = maps.chunks_exact(height * width).collect();
        let [_, planes, rows, columns] = target.shape;
        let masked = |map: &[f32]| {
            let [low, high] = range(map);
            // A constant map masks nothing; as in the authors' code, it has no score.
            let scale = if high > low { 1.0 / (high - low) } else { 0.0 };
            let mask: Vec<f32> = (0..rows * columns)
                .map(|index| {
                    let at = [index / columns, index % columns];
                    let at = [share(at[0], rows), share(at[1], columns)];
                    (interpolated(map, [height, width], at) - low) * scale
                })
                .collect();
            let mask = mask.iter().cycle().take(planes * rows * columns);
            target.pixels.iter().zip(mask).map(|(pixel, mask)| pixel * mask).collect::<Vec<_>>()
        };
        let mut scores = Vec::with_capacity(channels);
        for batch in maps.chunks(batch_size.max(1)) {
            let images: Vec<f32> = batch.par_iter().flat_map_iter(|map| masked(map)).collect();
            let logits = self.logits(images, [batch.len(), planes, rows, columns])?;
            let logits: Vec<f32> = logits.iter().collect();
            let rows = logits.chunks_exact(self.card().num_classes);
            scores.extend(rows.map(|row| row_logit(row, target.class)));
        }
        for (score, map) in scores.iter_mut().zip(&maps) {
            let [low, high] = range(map);
            if low == high {
                *score = f32::NEG_INFINITY;
            }
        }
        // Subtracting the logit of an empty image, as the paper does, does not change the softmax.
        let weights = probabilities(&scores)?;
        let mut values = vec![0.0; height * width];
        for (map, weight) in maps.iter().zip(weights) {
            values.iter_mut().zip(*map).for_each(|(value, x)| *value += weight * x);
        }
        Ok(HeatMap::new([height, width], values))
    }

    /// The maps of a layer, `[1, F, h, w]`.
    fn maps(&mut self, target: &Target, layer: Layer) -> Result<TensorData, Error> {
        match layer {
            Layer::Features => {
                let network = self.classifier()?;
                Ok(target.activated(network, self.session().device()).into_data())
            }
            Layer::Level(level) => self.level(target.pixels.clone(), target.shape, level),
        }
    }

    /// The maps of a layer for preprocessed pixels, `[1, F, h, w]`.
    pub(super) fn layer_maps(
        &mut self,
        pixels: Vec<f32>,
        shape: [usize; 4],
        layer: Layer,
    ) -> Result<TensorData, Error> {
        let Layer::Level(level) = layer else {
            let features = self.forward(pixels, shape)?.0;
            let Network::Classifier(network) = self.network() else { return Ok(features) };
            let features = Tensor::from_data(features, self.session().device());
            return Ok(activated(network, features).into_data());
        };
        self.level(pixels, shape, level)
    }

    fn occlusion(&mut self, target: &Target, batch_size: usize) -> Result<HeatMap, Error> {
        let [_, planes, rows, columns] = target.shape;
        let side = |length: usize| ((length as f64 * SQUARE).round() as usize).max(1);
        let starts = |length: usize| {
            let square = side(length);
            (0..=length - square).step_by((square / 2).max(1)).collect::<Vec<_>>()
        };
        let (tops, lefts) = (starts(rows), starts(columns));
        let squares: Vec<_> =
            tops.iter().flat_map(|top| lefts.iter().map(move |left| (*top, *left))).collect();
        let mut values = Vec::with_capacity(squares.len());
        for batch in squares.chunks(batch_size.max(1)) {
            let mut images = Vec::with_capacity(batch.len() * target.pixels.len());
            for &(top, left) in batch {
                let mut image = target.pixels.clone();
                for plane in image.chunks_exact_mut(rows * columns) {
                    for row in plane.chunks_exact_mut(columns).skip(top).take(side(rows)) {
                        // The mean of the preprocessing is 0.
                        row[left..left + side(columns)].fill(0.0);
                    }
                }
                images.extend(image);
            }
            let logits = self.logits(images, [batch.len(), planes, rows, columns])?;
            let logits: Vec<f32> = logits.iter().collect();
            for row in logits.chunks_exact(self.card().num_classes) {
                values.push(target.probability - probabilities(row)?[target.class]);
            }
        }
        Ok(HeatMap::new([tops.len(), lefts.len()], values))
    }

    fn integrated_gradients(
        &mut self,
        target: &Target,
        batch_size: usize,
    ) -> Result<HeatMap, Error> {
        let device = self.session().device().clone().autodiff();
        let network = frozen(self.classifier()?);
        let shape = target.shape;
        let image = Tensor::<4>::from_data(TensorData::new(target.pixels.clone(), shape), &device);
        let mut sum = image.clone().inner().zeros_like();
        let shares: Vec<f64> = (0..STEPS).map(|step| (step as f64 + 0.5) / STEPS as f64).collect();
        for batch in shares.chunks(batch_size.max(1)) {
            let images = batch.iter().map(|share| image.clone() * *share).collect();
            let images = Tensor::cat(images, 0).detach().require_grad();
            let gradient = catch_panic(|| {
                let logits = network.forward(images.clone());
                let gradients = logit(logits, target.class).sum().backward();
                images.grad(&gradients).expect("the logits depend on the image")
            })?;
            sum = sum + gradient.sum_dim(0);
        }
        let attribution = sum * image.inner() / STEPS as f64;
        let [_, _, height, width] = shape;
        Ok(heat_map(attribution.sum_dim(1).reshape([height, width])))
    }

    fn classifier(&self) -> Result<&Classifier, Error> {
        match self.network() {
            Network::Classifier(network) => Ok(network),
            Network::Segmenter(_) => Err(Error::NotAClassifier(self.card().variant.clone())),
        }
    }
}

/// The heat map of a method that needs only the maps of a layer and their gradients.
pub(super) fn weighed(method: Method, Gradients { maps, gradients }: Gradients) -> HeatMap {
    let mean = |x: Tensor<3>| x.mean_dims(&[1, 2]);
    let map = match method {
        Method::GradCam => mean(gradients) * maps,
        Method::HiResCam => gradients * maps,
        Method::LayerCam => relu(gradients) * maps,
        _ => {
            // Equation 19 of the paper, for y = exp(logit), divided by the square of the gradient. Negative gradients have no
            // weight.
            let gradients = relu(gradients);
            let sum = maps.clone().sum_dims(&[1, 2]);
            let weights = gradients.clone() / (sum * gradients + 2.0);
            weights.sum_dims(&[1, 2]) * maps
        }
    };
    heat_map(map.sum_dim(0).squeeze_dim(0))
}

/// Features with the activation that the head starts with. ReLU may be applied twice.
pub(super) fn activated(network: &Classifier, features: Tensor<4>) -> Tensor<4> {
    match network.head().activation() {
        Activation::Relu => relu(features),
        _ => features,
    }
}

/// The network on a device with gradients, none of whose weights gets one.
pub(super) fn frozen<M: Module>(network: &M) -> M {
    network.clone().train().freeze()
}

/// The logit of a class, with one channel. With one logit `x` in all, those of the two classes are `-x` and `x`.
pub(super) fn logit<const D: usize>(logits: Tensor<D>, class: usize) -> Tensor<D> {
    match logits.dims()[1] {
        1 if class == 0 => -logits,
        1 => logits,
        _ => logits.narrow(1, class, 1),
    }
}

pub(super) fn row_logit(logits: &[f32], class: usize) -> f32 {
    match logits {
        [logit] if class == 0 => -logit,
        [logit] => *logit,
        _ => logits[class],
    }
}

/// The weights of the class's logit, `[F]`, if the head is an average and one fully connected layer.
fn class_weights(network: &Classifier, class: usize) -> Option<Tensor<1>> {
    let head = network.head();
    match head.num_classes() {
        1 if class == 0 => head.class_weights(0).map(|weights| -weights),
        1 => head.class_weights(0),
        _ => head.class_weights(class),
    }
}

fn heat_map(map: Tensor<2>) -> HeatMap {
    let size = map.dims();
    HeatMap::new(size, map.into_data().iter().collect())
}

/// The mean of several maps, each scaled to a largest value of 1, in the size of the finest.
pub(super) fn merged(mut maps: Vec<HeatMap>) -> HeatMap {
    if maps.len() == 1 {
        return maps.remove(0);
    }
    let size = maps.iter().map(|map| map.size).max_by_key(|size| size[0]).unwrap_or([1, 1]);
    let mut values = vec![0.0; size[0] * size[1]];
    for map in &maps {
        let positive = map.positive();
        for (index, value) in values.iter_mut().enumerate() {
            let at = [share(index / size[1], size[0]), share(index % size[1], size[1])];
            *value += interpolated(&positive, map.size, at) / maps.len() as f32;
        }
    }
    HeatMap::new(size, values)
}

/// The center of a pixel as a share of the length.
fn share(index: usize, length: usize) -> f64 {
    (index as f64 + 0.5) / length as f64
}

pub(super) fn shape(data: &TensorData) -> [usize; 4] {
    data.shape().dims()
}
