use image::{Rgb, RgbImage};

use super::grid::range;

/// Weight of the color beside the photograph's brightness.
const OPACITY: f32 = 0.55;

/// Brightness of the photograph's part that the network does not see.
const UNSEEN: f32 = 0.35;

/// The evidence for a class at each position of an image. Positive values speak for the class, negative ones against it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Height and width.
    pub size: [usize; 2],
    /// Row-major values, as the method defines them, before negative ones are dropped.
    pub values: Vec<f32>,
    /// The part of the photograph that the map covers: left, top, width and height in pixels.
    region: [f64; 4],
    /// Width and height of the photograph.
    dimensions: (u32, u32),
}

impl HeatMap {
    pub(super) fn new(size: [usize; 2], values: Vec<f32>) -> Self {
        Self { size, values, region: [0.0; 4], dimensions: (0, 0) }
    }

    pub(super) fn place(&mut self, region: [f64; 4], dimensions: (u32, u32)) {
        (self.region, self.dimensions) = (region, dimensions);
    }

    /// The smallest and the largest value.
    pub fn range(&self) -> [f32; 2] {
        range(&self.values)
    }

    /// Whether no position speaks for the class.
    pub fn is_without_evidence(&self) -> bool {
        self.range()[1] <= 0.0
    }

    /// The positive values, divided by the largest one. All are 0 if there is none.
    pub fn positive(&self) -> Vec<f32> {
        let largest = self.range()[1];
        let scaled = |value: &f32| if largest > 0.0 { value.max(0.0) / largest } else { 0.0 };
        self.values.iter().map(scaled).collect()
    }

    /// The position of the largest value in the photograph, in pixels: x and y.
    pub fn peak(&self) -> [f64; 2] {
        let [rows, columns] = self.size;
        let largest = (0..self.values.len())
            .max_by(|a, b| self.values[*a].total_cmp(&self.values[*b]))
            .unwrap_or_default();
        let [left, top, width, height] = self.region;
        let [x, y] = [largest % columns, largest / columns].map(|index| index as f64 + 0.5);
        [left + x / columns as f64 * width, top + y / rows as f64 * height]
    }

    /// The positive values at each pixel of the photograph, in `[0, 1]`, row-major. `None` where the network does not see it.
    pub fn on_photograph(&self) -> Vec<Option<f32>> {
        let (width, height) = self.dimensions;
        let positive = self.positive();
        let [left, top, region_width, region_height] = self.region;
        let position = |pixel: u32, start: f64, length: f64| {
            let share = (f64::from(pixel) + 0.5 - start) / length;
            (0.0..=1.0).contains(&share).then_some(share)
        };
        let mut values = Vec::with_capacity(width as usize * height as usize);
        for y in 0..height {
            for x in 0..width {
                let share = position(x, left, region_width).zip(position(y, top, region_height));
                values.push(share.map(|(x, y)| interpolated(&positive, self.size, [y, x])));
            }
        }
        values
    }

    /// Draws the map on the photograph, in the colors of Inferno: dark where there is no evidence, bright where there is most. The part
    /// that the network does not see is darkened.
    ///
    /// # Panics
    ///
    /// When the photograph has another size than the explained one.
    pub fn overlay(&self, photograph: &RgbImage) -> RgbImage {
        assert_eq!(photograph.dimensions(), self.dimensions, "the map is for another photograph");
        let mut overlay = photograph.clone();
        for (pixel, value) in overlay.pixels_mut().zip(self.on_photograph()) {
            let [red, green, blue] = pixel.0.map(f32::from);
            // The brightness of Rec. 601.
            let gray = 0.299 * red + 0.587 * green + 0.114 * blue;
            *pixel = match value {
                None => Rgb(pixel.0.map(|value| (UNSEEN * f32::from(value)) as u8)),
                Some(value) => {
                    let color = colorous::INFERNO
                        .eval_continuous(f64::from(value.clamp(0.0, 1.0)))
                        .into_array();
                    let mix = |color: u8| (1.0 - OPACITY) * gray + OPACITY * f32::from(color);
                    Rgb(color.map(|color| mix(color).round() as u8))
                }
            };
        }
        overlay
    }
}

/// Bilinear interpolation at a position, in shares of the height and the width. Pixel centers are at half pixels.
pub(super) fn interpolated(values: &[f32], size: [usize; 2], at: [f64; 2]) -> f32 {
    let neighbors = |axis: usize| {
        let position = (at[axis] * size[axis] as f64 - 0.5).clamp(0.0, (size[axis] - 1) as f64);
        let first = position.floor() as usize;
        (first, (first + 1).min(size[axis] - 1), (position - position.floor()) as f32)
    };
    let ((top, bottom, down), (left, right, across)) = (neighbors(0), neighbors(1));
    let value = |row: usize, column: usize| values[row * size[1] + column];
    let row = |row: usize| value(row, left) * (1.0 - across) + value(row, right) * across;
    row(top) * (1.0 - down) + row(bottom) * down
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[f32]) -> HeatMap {
        let mut map = HeatMap::new([2, 2], values.to_vec());
        map.place([25.0, 0.0, 50.0, 50.0], (100, 50));
        map
    }

    #[test]
    fn the_map_lies_on_the_part_that_the_network_sees() {
        let map = map(&[0.0, 0.0, 0.0, 2.0]);
        assert_eq!(map.range(), [0.0, 2.0]);
        assert_eq!(map.peak(), [62.5, 37.5]);
        let values = map.on_photograph();
        let at = |x: usize, y: usize| values[y * 100 + x];
        assert_eq!((at(24, 25), at(75, 25)), (None, None));
        assert_eq!((at(25, 0), at(74, 49)), (Some(0.0), Some(1.0)));
        assert!((at(49, 49).unwrap() - 0.49).abs() < 0.02);
    }

    #[test]
    fn a_map_without_evidence_does_not_glow() {
        let map = map(&[-1.0, -2.0, -0.5, -0.1]);
        assert!(map.is_without_evidence());
        assert_eq!(map.positive(), [0.0; 4]);
        let photograph = RgbImage::from_pixel(100, 50, Rgb([200; 3]));
        let overlay = map.overlay(&photograph);
        let darkest = colorous::INFERNO.eval_continuous(0.0).into_array();
        let expected = darkest.map(|value| (90.0 + OPACITY * f32::from(value)).round() as u8);
        assert_eq!(overlay.get_pixel(50, 25).0, expected);
    }
}
