use image::RgbImage;
use image::imageops::blur;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::HeatMap;
use super::heat_map::interpolated;
use crate::{Error, Model, probabilities};

/// Steps of a curve.
const STEPS: usize = 32;

/// Standard deviation of the blur as a share of the image's side.
const BLUR: f32 = 0.05;

/// The order in which the pixels of an image are deleted or inserted: indices into the network's input, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(Vec<usize>);

impl Order {
    /// The pixels with the most evidence first.
    pub fn of_map(map: &HeatMap, side: usize) -> Self {
        let share = |index: usize| (index as f64 + 0.5) / side as f64;
        Self::by(side, |row, column| {
            interpolated(&map.values, map.size, [share(row), share(column)])
        })
    }

    /// The pixels at the center first, as if a Gaussian around it were the evidence.
    pub fn from_center(side: usize) -> Self {
        let center = (side as f32 - 1.0) / 2.0;
        Self::by(side, |row, column| -(row as f32 - center).hypot(column as f32 - center))
    }

    /// The order of a map with random values at the positions of `map`. A random order of single pixels would be no comparison: it
    /// covers the whole image with noise, which misleads networks more than a gray part does.
    pub fn of_random_map(map: &HeatMap, side: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut random = map.clone();
        random.values.fill_with(|| rng.random());
        Self::of_map(&random, side)
    }

    fn by(side: usize, evidence: impl Fn(usize, usize) -> f32) -> Self {
        let values: Vec<f32> =
            (0..side * side).map(|index| evidence(index / side, index % side)).collect();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        Self(order)
    }
}

/// The probability of a class while pixels are deleted or inserted.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve(pub Vec<f32>);

impl Curve {
    /// The area under the curve, in `[0, 1]`.
    pub fn area(&self) -> f32 {
        let pairs = self.0.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
        pairs.sum::<f32>() / (self.0.len() - 1) as f32
    }
}

impl Model {
    /// Deletes the pixels of an image in an order, and computes the probability of a class after each step. If the order is
    /// right, the probability falls early and the area is small.
    ///
    /// Petsiuk et al., 2018: [RISE](https://arxiv.org/abs/1806.07421), §4.2.
    ///
    /// # Errors
    ///
    /// As for [`classify`](Self::classify).
    pub fn deletion(
        &mut self,
        image: &RgbImage,
        class: usize,
        order: &Order,
    ) -> Result<Curve, Error> {
        let pixels = self.preprocess_images(std::slice::from_ref(image));
        // The mean of the preprocessing is 0.
        let gray = vec![0.0; pixels.len()];
        self.curve(pixels, &gray, class, order)
    }

    /// Inserts the pixels of an image into its blurred copy in an order, and computes the probability of a class after each
    /// step. If the order is right, the probability rises early and the area is large.
    ///
    /// # Errors
    ///
    /// As for [`classify`](Self::classify).
    pub fn insertion(
        &mut self,
        image: &RgbImage,
        class: usize,
        order: &Order,
    ) -> Result<Curve, Error> {
        let preprocess = *self.preprocess();
        let cropped = preprocess.crop(image);
        let blurred = blur(&cropped, BLUR * preprocess.crop as f32);
        let blurred = preprocess.sized(preprocess.crop, preprocess.crop).pixels(&blurred);
        let pixels = self.preprocess_images(std::slice::from_ref(image));
        self.curve(blurred, &pixels, class, order)
    }

    /// Replaces the pixels of an image by those of another one.
    fn curve(
        &mut self,
        mut image: Vec<f32>,
        other: &[f32],
        class: usize,
        Order(order): &Order,
    ) -> Result<Curve, Error> {
        let [_, planes, rows, columns] = self.input_shape(1);
        let mut images = Vec::with_capacity((STEPS + 1) * image.len());
        images.extend_from_slice(&image);
        for step in 0..STEPS {
            let end = |step: usize| step * order.len() / STEPS;
            for pixel in &order[end(step)..end(step + 1)] {
                for index in (0..planes).map(|plane| plane * rows * columns + pixel) {
                    image[index] = other[index];
                }
            }
            images.extend_from_slice(&image);
        }
        let logits = self.logits(images, [STEPS + 1, planes, rows, columns])?;
        let logits: Vec<f32> = logits.iter().collect();
        let rows = logits.chunks_exact(self.card().num_classes);
        Ok(Curve(rows.map(|row| Ok(probabilities(row)?[class])).collect::<Result<_, Error>>()?))
    }
}
