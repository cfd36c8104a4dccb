use std::slice::ChunksExact;

use image::{Rgb, RgbImage};

use super::grid::{grid, scaled};
use super::{Layer, methods};
use crate::{Error, Model};

/// The largest number of channels in a picture.
const SHOWN: usize = 256;

/// The channels of a layer for an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Channels {
    /// Height and width of each channel.
    pub size: [usize; 2],
    /// The values, `[channels, h, w]`, row-major.
    pub values: Vec<f32>,
}

impl Model {
    /// Computes the channels of a layer for an image, with the activation that follows the layer. It needs no trained classifier.
    ///
    /// # Errors
    ///
    /// When there is no such layer, or the network can't take the image.
    pub fn channels(&mut self, image: &RgbImage, layer: Layer) -> Result<Channels, Error> {
        self.ensure_layer(layer)?;
        let pixels = self.preprocess_images(std::slice::from_ref(image));
        let maps = self.layer_maps(pixels, self.input_shape(1), layer)?;
        let [_, _, height, width] = methods::shape(&maps);
        Ok(Channels { size: [height, width], values: maps.iter().collect() })
    }
}

impl Channels {
    /// Each channel's values, row-major.
    pub fn iter(&self) -> ChunksExact<'_, f32> {
        self.values.chunks_exact(self.size[0] * self.size[1])
    }

    /// The mean of a channel over all positions.
    pub(super) fn mean(channel: &[f32]) -> f32 {
        channel.iter().sum::<f32>() / channel.len() as f32
    }

    /// The channels that [`grid`](Self::grid) draws, in ascending order: all of them, or the 256 with the largest mean.
    pub fn shown(&self) -> Vec<usize> {
        let means: Vec<f32> = self.iter().map(Self::mean).collect();
        let mut channels: Vec<usize> = (0..means.len()).collect();
        channels.sort_by(|a, b| means[*b].total_cmp(&means[*a]));
        channels.truncate(SHOWN);
        channels.sort_unstable();
        channels
    }

    /// Draws the [`shown`](Self::shown) channels as a grid in the colors of Inferno, row by row. Each channel is scaled by its own
    /// range, so the brightness of two channels can't be compared. A constant channel is dark.
    pub fn grid(&self) -> RgbImage {
        let channels: Vec<_> = self.iter().collect();
        let tiles: Vec<_> =
            self.shown().into_iter().map(|index| self.tile(channels[index])).collect();
        grid(&tiles)
    }

    fn tile(&self, channel: &[f32]) -> RgbImage {
        let [height, width] = self.size.map(|length| length as u32);
        let color = |value: f32| colorous::INFERNO.eval_continuous(f64::from(value)).into_array();
        let mut colors = scaled(channel).map(color);
        RgbImage::from_fn(width, height, |_, _| Rgb(colors.next().expect("a value a pixel")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_a_tile_for_each_channel() {
        // Five channels of 2x3: three columns and two rows; each pixel becomes a square of 16.
        let mut values: Vec<f32> = (0..30).map(|value| value as f32).collect();
        values[24..].fill(7.0);
        let channels = Channels { size: [2, 3], values };
        let picture = channels.grid();
        assert_eq!(picture.dimensions(), (1 + 3 * 49, 1 + 2 * 33));
        let color = |value: f64| Rgb(colorous::INFERNO.eval_continuous(value).into_array());
        for (column, row) in [(0, 0), (1, 0), (2, 0), (0, 1)] {
            let (left, top) = (1 + 49 * column, 1 + 33 * row);
            assert_eq!(*picture.get_pixel(left, top), color(0.0));
            assert_eq!(*picture.get_pixel(left + 47, top + 31), color(1.0));
            assert_eq!(*picture.get_pixel(left + 16, top), color(0.2));
        }
        assert_eq!(*picture.get_pixel(1 + 49 + 47, 33 + 32), color(0.0), "it is constant");
        assert_eq!(*picture.get_pixel(1 + 2 * 49, 34), Rgb([128; 3]), "there is no channel");
    }

    #[test]
    fn the_channels_with_the_largest_mean_are_shown() {
        let values = (0..300).map(|channel| (channel * 7 % 300) as f32).collect();
        let shown = Channels { size: [1, 1], values }.shown();
        assert_eq!(shown.len(), 256);
        assert!(shown.is_sorted() && shown.iter().all(|channel| channel * 7 % 300 >= 44));
    }
}
