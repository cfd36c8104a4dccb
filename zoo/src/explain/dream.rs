use burn::tensor::{Device, Tensor, TensorData};
use image::{Rgb, RgbImage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use zoo_core::{Color, ImageClassifier, Preprocess, catch_panic};
use zoo_models::{Logits, Network};

use super::methods::{activated, frozen, logit, row_logit, shape};
use super::{Channels, Layer};
use crate::{Error, Model, probabilities};

/// The range of the noise that the image starts from, of values in `[0, 1]`.
const NOISE: f32 = 0.02;

/// The side of the image that the lengths below are for, in pixels. They are smaller for smaller images.
const SIDE: usize = 224;

/// The largest shift of a step, in pixels.
const JITTER: usize = 32;

/// The root mean square of the change of a step, at the first and at the last one.
const RATE: [f32; 2] = [0.05, 0.01];

/// The standard deviations of the Gaussians that smooth the gradient, in pixels.
const SCALES: [f32; 4] = [0.0, 1.0, 2.0, 4.0];

/// The rate of the descent of the total variation.
const FLATTENING: f32 = 0.001;

/// Steps from one blur to the next.
const STEPS_PER_BLUR: usize = 4;

/// The standard deviation of the blur in pixels, at the first and at the last step.
const BLUR: [f32; 2] = [2.0, 0.4];

/// What an image is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The logit of a class.
    Class(usize),
    /// The mean of a channel over all positions.
    Channel {
        /// The layer.
        layer: Layer,
        /// The index of the channel.
        channel: usize,
    },
}

/// Options of [`Model::dream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DreamOptions {
    /// Number of steps.
    pub steps: usize,
    /// Seed of the noise that the image starts from, and of the jitter.
    pub seed: u64,
}

impl Default for DreamOptions {
    fn default() -> Self {
        Self { steps: 128, seed: 0 }
    }
}

/// An image that a class or a channel responds to.
#[derive(Debug, Clone, PartialEq)]
pub struct Dream {
    /// The name of the class, or of the channel: `stages.4:17`.
    pub name: String,
    /// The image, in the size of the network's input.
    pub image: RgbImage,
    /// The response to the noise that the image started from.
    pub start: Response,
    /// The response to the image.
    pub reached: Response,
}

/// The response of a network to an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Response {
    /// The logit of the class, or the mean of the channel.
    pub value: f32,
    /// The probability of the class, in `[0, 1]`. `None` for a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
}

impl Model {
    /// Finds what to make an image for: a class by its name or index, as [`class`](Self::class) does, or a channel of a layer,
    /// such as `stages.4:17`.
    ///
    /// # Errors
    ///
    /// When there is no such class, layer or channel, or the model can't classify.
    pub fn objective(&self, text: &str) -> Result<Objective, Error> {
        let channel =
            text.rsplit_once(':').and_then(|(layer, channel)| Some((layer, channel.parse().ok()?)));
        let objective = match channel {
            Some((layer, channel)) => Objective::Channel { layer: self.layer(layer)?, channel },
            None => {
                self.ensure_classifies()?;
                Objective::Class(self.class(text)?)
            }
        };
        self.ensure_objective(objective)?;
        Ok(objective)
    }

    /// Makes an image that a class or a channel responds to, by gradient ascent from noise. `done` receives the number of steps so
    /// far. The same seed gives the same image.
    ///
    /// Each step shifts the image by a random offset, adds the gradient, smoothed at several scales (Mordvintsev et al., 2015:
    /// [Inceptionism](https://research.google/blog/inceptionism-going-deeper-into-neural-networks/)), and reduces the total
    /// variation (Mahendran and Vedaldi, 2015:
    /// [Understanding Deep Image Representations by Inverting Them](https://arxiv.org/abs/1412.0035)). Every few steps the image is
    /// blurred, less and less (Yosinski et al., 2015:
    /// [Understanding Neural Networks Through Deep Visualization](https://arxiv.org/abs/1506.06579)).
    ///
    /// # Errors
    ///
    /// When there is no such class, layer or channel, or the model can't classify.
    pub fn dream(
        &mut self,
        objective: Objective,
        options: &DreamOptions,
        mut done: impl FnMut(usize),
    ) -> Result<Dream, Error> {
        self.ensure_objective(objective)?;
        let device = self.session().device().clone().autodiff();
        let network = frozen(self.network());
        let preprocess = *self.preprocess();
        let mut rng = StdRng::seed_from_u64(options.seed);
        let mut canvas = Canvas::noise(&preprocess, &mut rng);
        let start = self.response(&canvas.picture(), objective)?;
        for step in 0..options.steps {
            // What changes from the first step to the last.
            let between = |[first, last]: [f32; 2]| {
                first + (last - first) * step as f32 / options.steps as f32
            };
            let offset = [0; 2].map(|_| rng.random_range(0..=JITTER * canvas.side / SIDE));
            let pixels = canvas.shifted(offset);
            let gradient = catch_panic(|| {
                gradient(&network, pixels, self.input_shape(1), objective, &device)
            })?;
            canvas.climb(&gradient, offset, between(RATE));
            canvas.flatten(FLATTENING);
            if (step + 1) % STEPS_PER_BLUR == 0 {
                canvas.blur(between(BLUR));
            }
            done(step + 1);
        }
        let image = canvas.picture();
        let reached = self.response(&image, objective)?;
        Ok(Dream { name: self.objective_name(objective), image, start, reached })
    }

    /// Checks that the network has what an image is made for.
    fn ensure_objective(&self, objective: Objective) -> Result<(), Error> {
        match objective {
            Objective::Class(class) => {
                self.ensure_classifies()?;
                let classes = self.card().num_answers();
                if class < classes { Ok(()) } else { Err(Error::NoSuchClass { class, classes }) }
            }
            Objective::Channel { layer, channel } => {
                self.ensure_layer(layer)?;
                let channels = match (layer, self.network()) {
                    (Layer::Level(level), network) => network.pyramid()[level].channels,
                    (Layer::Features, Network::Classifier(network)) => network.num_features(),
                    (Layer::Features, Network::Segmenter(network)) => {
                        zoo_core::ImageSegmenter::num_features(network)
                    }
                };
                if channel < channels {
                    return Ok(());
                }
                Err(Error::NoSuchChannel { layer: self.layer_name(layer), channel, channels })
            }
        }
    }

    fn objective_name(&self, objective: Objective) -> String {
        match objective {
            Objective::Class(class) => self.label(class),
            Objective::Channel { layer, channel } => {
                format!("{}:{channel}", self.layer_name(layer))
            }
        }
    }

    /// The response to a picture of the size of the network's input.
    fn response(&mut self, picture: &RgbImage, objective: Objective) -> Result<Response, Error> {
        let preprocess = self.preprocess();
        let pixels = preprocess.sized(preprocess.crop, preprocess.crop).pixels(picture);
        let input = self.input_shape(1);
        match objective {
            Objective::Class(class) => {
                let logits: Vec<f32> = self.logits(pixels, input)?.iter().collect();
                let probability = Some(probabilities(&logits)?[class]);
                Ok(Response { value: row_logit(&logits, class), probability })
            }
            Objective::Channel { layer, channel } => {
                let maps = self.layer_maps(pixels, input, layer)?;
                let [_, _, height, width] = shape(&maps);
                let values: Vec<f32> = maps.iter().collect();
                let area = height * width;
                let value = Channels::mean(&values[channel * area..][..area]);
                Ok(Response { value, probability: None })
            }
        }
    }
}

/// The gradient of the response by the network's input.
fn gradient(
    network: &Network,
    pixels: Vec<f32>,
    shape: [usize; 4],
    objective: Objective,
    device: &Device,
) -> Vec<f32> {
    let images = Tensor::<4>::from_data(TensorData::new(pixels, shape), device).require_grad();
    let response = match objective {
        Objective::Class(class) => match network.forward(images.clone()) {
            Logits::Image(logits) => logit(logits, class).sum(),
            Logits::Pixel(logits) => logit(logits, class).sum(),
        },
        Objective::Channel { layer, channel } => {
            let maps = match (layer, network) {
                (Layer::Level(level), _) => {
                    network.forward_pyramid(images.clone(), &[level]).remove(0)
                }
                (Layer::Features, Network::Classifier(it)) => {
                    activated(it, it.forward_features(images.clone()))
                }
                (Layer::Features, _) => network.forward_features(images.clone()),
            };
            maps.narrow(1, channel, 1).mean()
        }
    };
    let gradient = images.grad(&response.backward()).expect("the response depends on the image");
    gradient.into_data().iter().collect()
}

/// The image while it is made: square planes of values in `[0, 1]`, in the order of the network's channels.
struct Canvas<'a> {
    preprocess: &'a Preprocess,
    side: usize,
    planes: Vec<Vec<f32>>,
}

impl<'a> Canvas<'a> {
    /// The mean of the preprocessing with a little noise.
    fn noise(preprocess: &'a Preprocess, rng: &mut StdRng) -> Self {
        let side = preprocess.crop as usize;
        let mut plane = |mean: &f32| {
            (0..side * side).map(|_| mean + NOISE * (rng.random::<f32>() - 0.5)).collect()
        };
        let planes = preprocess.mean[..preprocess.channels()].iter().map(&mut plane).collect();
        Self { preprocess, side, planes }
    }

    /// The index of a pixel after a shift; what leaves the image on one side enters it on the other.
    fn moved(&self, index: usize, [down, right]: [usize; 2]) -> usize {
        let (row, column) = (index / self.side, index % self.side);
        (row + down) % self.side * self.side + (column + right) % self.side
    }

    /// The network's input for the shifted image.
    fn shifted(&self, offset: [usize; 2]) -> Vec<f32> {
        let area = self.side * self.side;
        let mut pixels = vec![0.0; self.planes.len() * area];
        for (channel, plane) in self.planes.iter().enumerate() {
            let [mean, std] = [self.preprocess.mean[channel], self.preprocess.std[channel]];
            for (index, value) in plane.iter().enumerate() {
                pixels[channel * area + self.moved(index, offset)] = (value - mean) / std;
            }
        }
        pixels
    }

    /// Adds the gradient by the shifted input. Of the gradient at each scale, the root mean square is made the same, since the
    /// finest structures would win otherwise.
    fn climb(&mut self, gradient: &[f32], offset: [usize; 2], rate: f32) {
        let area = self.side * self.side;
        let mut change = vec![0.0; gradient.len()];
        for sigma in SCALES {
            let planes = gradient.chunks_exact(area);
            let smooth: Vec<f32> = planes.flat_map(|plane| self.blurred(plane, sigma)).collect();
            let squares = smooth.iter().map(|value| value * value).sum::<f32>();
            let norm = (squares / gradient.len() as f32).sqrt();
            if norm > 0.0 {
                let factor = rate / norm / SCALES.len() as f32;
                change.iter_mut().zip(smooth).for_each(|(sum, value)| *sum += factor * value);
            }
        }
        for channel in 0..self.planes.len() {
            for index in 0..area {
                let moved = self.moved(index, offset);
                let value = &mut self.planes[channel][index];
                *value = (*value + change[channel * area + moved]).clamp(0.0, 1.0);
            }
        }
    }

    /// A step against the gradient of the total variation.
    fn flatten(&mut self, rate: f32) {
        let side = self.side;
        for plane in &mut self.planes {
            let mut gradient = vec![0.0; plane.len()];
            for row in 0..side - 1 {
                for column in 0..side - 1 {
                    let at = row * side + column;
                    let [right, down] = [at + 1, at + side];
                    let [dx, dy] = [plane[right] - plane[at], plane[down] - plane[at]];
                    let norm = (dx * dx + dy * dy + 1e-4).sqrt();
                    gradient[at] -= (dx + dy) / norm;
                    gradient[right] += dx / norm;
                    gradient[down] += dy / norm;
                }
            }
            plane.iter_mut().zip(gradient).for_each(|(value, change)| *value -= rate * change);
        }
    }

    fn blur(&mut self, sigma: f32) {
        self.planes = self.planes.iter().map(|plane| self.blurred(plane, sigma)).collect();
    }

    /// A plane after a Gaussian of this standard deviation, in pixels of the usual size. The plane continues on its other side.
    fn blurred(&self, plane: &[f32], sigma: f32) -> Vec<f32> {
        let side = self.side;
        let sigma = sigma * side as f32 / SIDE as f32;
        let radius = (3.0 * sigma).ceil() as usize;
        if radius == 0 {
            return plane.to_vec();
        }
        let weight = |distance: usize| (-0.5 * (distance as f32 / sigma).powi(2)).exp();
        let weights: Vec<f32> =
            (0..=2 * radius).map(|index| weight(index.abs_diff(radius))).collect();
        let sum: f32 = weights.iter().sum();
        // Blurs each row and writes it as a column, so that the second time the columns are rows again.
        let rows = |plane: &[f32]| {
            let mut transposed = vec![0.0; plane.len()];
            for (row, values) in plane.chunks_exact(side).enumerate() {
                for column in 0..side {
                    let start = column + radius * side - radius;
                    let terms = weights.iter().enumerate();
                    let terms =
                        terms.map(|(index, weight)| weight * values[(start + index) % side]);
                    transposed[column * side + row] = terms.sum::<f32>() / sum;
                }
            }
            transposed
        };
        rows(&rows(plane))
    }

    fn picture(&self) -> RgbImage {
        let channels = match self.preprocess.color {
            Color::Rgb => [0, 1, 2],
            Color::Bgr => [2, 1, 0],
            Color::Gray => [0; 3],
        };
        let side = self.side as u32;
        RgbImage::from_fn(side, side, |x, y| {
            let index = y as usize * self.side + x as usize;
            let byte = |value: f32| (255.0 * value).round().clamp(0.0, 255.0) as u8;
            Rgb(channels.map(|channel| byte(self.planes[channel][index])))
        })
    }
}
