use image::imageops::{FilterType, replace, resize};
use image::{Rgb, RgbImage};

/// Small tiles are enlarged by a whole factor, up to this side in pixels.
const SIDE: u32 = 48;

/// The color of the lines between the tiles, which are one pixel wide.
const LINE: Rgb<u8> = Rgb([128; 3]);

/// Draws pictures of one size as a grid that is about square, row by row.
pub(super) fn grid(tiles: &[RgbImage]) -> RgbImage {
    let (width, height) = tiles.first().map_or((0, 0), RgbImage::dimensions);
    let factor = (SIDE / width.max(height).max(1)).max(1);
    let (width, height) = (width * factor, height * factor);
    let count = tiles.len() as u32;
    let columns = (f64::from(count).sqrt().ceil() as u32).max(1);
    let rows = count.div_ceil(columns);
    let size = |tiles: u32, side: u32| 1 + tiles * (side + 1);
    let mut picture = RgbImage::from_pixel(size(columns, width), size(rows, height), LINE);
    for (index, tile) in (0..).zip(tiles) {
        let tile = resize(tile, width, height, FilterType::Nearest);
        let start = |tiles: u32, side: u32| i64::from(size(tiles, side));
        replace(&mut picture, &tile, start(index % columns, width), start(index / columns, height));
    }
    picture
}

/// Values scaled by their own range to `[0, 1]`; all are 0 if they are equal.
pub(super) fn scaled(values: &[f32]) -> impl Iterator<Item = f32> + '_ {
    let [low, high] = range(values);
    let scale = if high > low { 1.0 / (high - low) } else { 0.0 };
    values.iter().map(move |value| (value - low) * scale)
}

/// The smallest and the largest value.
pub(super) fn range(values: &[f32]) -> [f32; 2] {
    values.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], &value| {
        [low.min(value), high.max(value)]
    })
}
