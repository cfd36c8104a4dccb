use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use image::{Rgb, RgbImage};
use zoo_core::{Color, LayerKind, parameters};

use super::grid::{grid, scaled};
use super::methods;
use crate::{Error, Model};

/// The filters of a network's first convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    /// The shape `[filters, channels, height, width]`.
    pub shape: [usize; 4],
    /// The weights, row-major. The channels are in the order of the network's input.
    pub values: Vec<f32>,
    /// The color channels of the network's input.
    color: Color,
}

impl Model {
    /// The filters of the first convolution. It needs no image and no trained classifier.
    ///
    /// # Errors
    ///
    /// When the network has no convolution.
    pub fn filters(&self) -> Result<Filters, Error> {
        let is_filter = |parameter: &zoo_core::Parameter| {
            parameter.layer == LayerKind::Conv2d && parameter.shape.len() == 4
        };
        let first = parameters(self.network()).into_iter().find(is_filter);
        let first = first.ok_or_else(|| Error::NoFilters(self.card().variant.clone()))?;
        let mut wanted = Wanted { id: first.id, found: None };
        self.network().visit(&mut wanted);
        let weights = wanted.found.expect("the parameter is in the network");
        Ok(Filters {
            shape: methods::shape(&weights),
            values: weights.iter().collect(),
            color: self.preprocess().color,
        })
    }
}

/// Reads the values of a parameter.
struct Wanted {
    id: ParamId,
    found: Option<TensorData>,
}

impl ModuleVisitor for Wanted {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.id == self.id {
            self.found = Some(param.val().into_data());
        }
    }
}

impl Filters {
    /// Draws the filters as a grid, row by row: in colors if they have three channels, otherwise the mean of their channels in gray.
    /// Each filter is scaled by its own range.
    pub fn grid(&self) -> RgbImage {
        let [_, channels, height, width] = self.shape;
        let tiles: Vec<_> = self
            .values
            .chunks_exact(channels * height * width)
            .map(|filter| self.tile(filter, height * width))
            .collect();
        grid(&tiles)
    }

    fn tile(&self, filter: &[f32], area: usize) -> RgbImage {
        let [_, channels, _, width] = self.shape;
        let is_colored = channels == 3;
        let values: Vec<f32> = match is_colored {
            true => scaled(filter).collect(),
            false => {
                let sum = |index: usize| filter[index..].iter().step_by(area).sum::<f32>();
                scaled(&(0..area).map(sum).collect::<Vec<_>>()).collect()
            }
        };
        let planes = match (is_colored, self.color) {
            (false, _) => [0, 0, 0],
            (true, Color::Bgr) => [2, 1, 0],
            (true, _) => [0, 1, 2],
        };
        RgbImage::from_fn(width as u32, (area / width) as u32, |x, y| {
            let index = y as usize * width + x as usize;
            Rgb(planes.map(|plane| (255.0 * values[plane * area + index]).round() as u8))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_the_colors_of_their_channels() {
        // One filter of two pixels: red, then blue.
        let values = vec![2.0, 0.0, 0.0, 0.0, 0.0, 2.0];
        let filters = Filters { shape: [1, 3, 1, 2], values, color: Color::Rgb };
        let picture = filters.grid();
        assert_eq!(picture.dimensions(), (50, 26));
        let pixels = |picture: &RgbImage| [1, 25].map(|x| picture.get_pixel(x, 1).0);
        assert_eq!(pixels(&picture), [[255, 0, 0], [0, 0, 255]]);
        let swapped = Filters { color: Color::Bgr, ..filters };
        assert_eq!(pixels(&swapped.grid()), [[0, 0, 255], [255, 0, 0]]);
        // Of two channels the mean is drawn.
        let values = vec![1.0, 0.0, -1.0, 2.0];
        let gray = Filters { shape: [1, 2, 1, 2], values, color: Color::Rgb };
        assert_eq!(pixels(&gray.grid()), [[0; 3], [255; 3]]);
    }
}
