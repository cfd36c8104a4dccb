//! Operations on 8-bit pixels, as defined in PIL and torchvision.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand::rngs::StdRng;

/// Applies a random operation of RandAugment, with a strength in `[0, 1]`: [Cubuk et al.,
/// 2019](https://arxiv.org/abs/1909.13719), with torchvision's set of operations.
pub(crate) fn random(image: &RgbImage, strength: f64, fill: Rgb<u8>, rng: &mut StdRng) -> RgbImage {
    let signed = if rng.random_bool(0.5) { strength } else { -strength };
    let factor = 1.0 + 0.9 * signed as f32;
    let side = f64::from(image.width());
    let mut copy = image.clone();
    match rng.random_range(0..14) {
        0 => {}
        1 => copy = affine(image, [1.0, 0.3 * signed, 0.0, 1.0], [0.0, 0.0], fill),
        2 => copy = affine(image, [1.0, 0.0, 0.3 * signed, 1.0], [0.0, 0.0], fill),
        3 => copy = affine(image, IDENTITY, [0.45 * signed * side, 0.0], fill),
        4 => copy = affine(image, IDENTITY, [0.0, 0.45 * signed * side], fill),
        5 => copy = rotate(image, 30.0 * signed, fill),
        6 => brightness(&mut copy, factor),
        7 => saturation(&mut copy, factor),
        8 => contrast(&mut copy, factor),
        9 => sharpness(&mut copy, factor),
        10 => {
            let mask = !0u8 << (4.0 * strength).round() as u32;
            map(&mut copy, |value| value & mask);
        }
        11 => {
            let threshold = (255.0 * (1.0 - strength)) as u8;
            map(&mut copy, |value| if value >= threshold { 255 - value } else { value });
        }
        12 => stretch(&mut copy, |histogram| {
            let low = histogram.iter().position(|&count| count > 0).unwrap_or(0);
            let high = histogram.iter().rposition(|&count| count > 0).unwrap_or(0);
            let range = (high - low).max(1) as f32;
            let value = |value: usize| {
                if high == low { value as f32 } else { (value as f32 - low as f32) * 255.0 / range }
            };
            std::array::from_fn(|index| value(index).clamp(0.0, 255.0) as u8)
        }),
        _ => stretch(&mut copy, |histogram| {
            let last = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
            let step = (histogram.iter().sum::<usize>() - last) / 255;
            let mut below = step / 2;
            std::array::from_fn(|index| {
                let value = below.checked_div(step).unwrap_or(index).min(255);
                below += histogram[index];
                value as u8
            })
        }),
    }
    copy
}

/// Scales all values.
pub(crate) fn brightness(image: &mut RgbImage, factor: f32) {
    map(image, |value| (f32::from(value) * factor) as u8);
}

/// Moves all values away from the mean brightness, or towards it.
pub(crate) fn contrast(image: &mut RgbImage, factor: f32) {
    let total: f32 = image.pixels().map(gray).sum();
    let mean = (total / (image.width() * image.height()) as f32).round();
    map(image, |value| (mean + (f32::from(value) - mean) * factor) as u8);
}

/// Moves each pixel away from its own gray, or towards it.
pub(crate) fn saturation(image: &mut RgbImage, factor: f32) {
    for pixel in image.pixels_mut() {
        let gray = gray(pixel).round();
        pixel.0 = pixel.0.map(|value| (gray + (f32::from(value) - gray) * factor) as u8);
    }
}

/// Moves each pixel away from the average of its neighbors, or towards it.
fn sharpness(image: &mut RgbImage, factor: f32) {
    let source = image.clone();
    let (width, height) = source.dimensions();
    for y in 1..height.saturating_sub(1) {
        for x in 1..width - 1 {
            for channel in 0..3 {
                let at = |x: u32, y: u32| f32::from(source.get_pixel(x, y)[channel]);
                let around: f32 =
                    (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| at(x, y))).sum();
                let smooth = (around + 4.0 * at(x, y)) / 13.0;
                image.get_pixel_mut(x, y)[channel] = (smooth + (at(x, y) - smooth) * factor) as u8;
            }
        }
    }
}

const IDENTITY: [f64; 4] = [1.0, 0.0, 0.0, 1.0];

/// Rotates an image about its center by this number of degrees.
pub(crate) fn rotate(image: &RgbImage, degrees: f64, fill: Rgb<u8>) -> RgbImage {
    let (sin, cos) = degrees.to_radians().sin_cos();
    affine(image, [cos, sin, -sin, cos], [0.0, 0.0], fill)
}

/// Takes for each pixel the source's color at `matrix · position + shift`, relative to the center.
fn affine(image: &RgbImage, matrix: [f64; 4], shift: [f64; 2], fill: Rgb<u8>) -> RgbImage {
    let (width, height) = image.dimensions();
    let center = [f64::from(width) / 2.0, f64::from(height) / 2.0];
    RgbImage::from_fn(width, height, |x, y| {
        let [dx, dy] = [f64::from(x) + 0.5 - center[0], f64::from(y) + 0.5 - center[1]];
        let sx = matrix[0] * dx + matrix[1] * dy + shift[0] + center[0] - 0.5;
        let sy = matrix[2] * dx + matrix[3] * dy + shift[1] + center[1] - 0.5;
        bilinear(image, sx, sy, fill)
    })
}

fn bilinear(image: &RgbImage, x: f64, y: f64, fill: Rgb<u8>) -> Rgb<u8> {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let at = |x: i64, y: i64| {
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        if inside { *image.get_pixel(x as u32, y as u32) } else { fill }
    };
    let (left, top) = (x.floor(), y.floor());
    let (u, v) = (x - left, y - top);
    let (left, top) = (left as i64, top as i64);
    let corners = [at(left, top), at(left + 1, top), at(left, top + 1), at(left + 1, top + 1)];
    let weights = [(1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v];
    Rgb(std::array::from_fn(|channel| {
        let sum: f64 =
            corners.iter().zip(weights).map(|(c, weight)| f64::from(c[channel]) * weight).sum();
        sum.round() as u8
    }))
}

fn gray(pixel: &Rgb<u8>) -> f32 {
    let [red, green, blue] = pixel.0.map(f32::from);
    0.299 * red + 0.587 * green + 0.114 * blue
}

fn map(image: &mut RgbImage, f: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|value| f(value as u8));
    image.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

/// Maps each channel with a table that is computed from its histogram.
fn stretch(image: &mut RgbImage, table: impl Fn(&[usize; 256]) -> [u8; 256]) {
    for channel in 0..3 {
        let mut histogram = [0; 256];
        image.pixels().for_each(|pixel| histogram[usize::from(pixel[channel])] += 1);
        let table = table(&histogram);
        for pixel in image.pixels_mut() {
            pixel[channel] = table[usize::from(pixel[channel])];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(9, 9, |x, y| Rgb([20 * x as u8, 20 * y as u8, 7]))
    }

    #[test]
    fn rotation_by_0_degrees_changes_nothing_and_by_90_degrees_moves_corners() {
        let image = picture();
        assert_eq!(rotate(&image, 0.0, Rgb([0; 3])), image);
        let turned = rotate(&image, 90.0, Rgb([0; 3]));
        assert_eq!(turned.get_pixel(0, 0), image.get_pixel(0, 8));
        assert_eq!(turned.get_pixel(4, 4), image.get_pixel(4, 4));
    }

    #[test]
    fn factors_of_one_change_nothing_and_of_zero_everything() {
        for op in [brightness, contrast, saturation] {
            let mut image = picture();
            op(&mut image, 1.0);
            assert_eq!(image, picture());
        }
        let mut image = picture();
        brightness(&mut image, 0.0);
        assert!(image.iter().all(|&value| value == 0));
        let mut image = picture();
        saturation(&mut image, 0.0);
        assert!(image.pixels().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
    }
}
