//! Random augmentation of images together with their masks.

use image::imageops;
use rand::RngExt;
use rand::rngs::StdRng;
use zoo_core::Interpolation;
use zoo_core::decode::resize;

use crate::{Augment, Masked};

/// Returns a random square of an image with its classes, randomly mirrored.
pub(super) fn augment(masked: &Masked, augment: &Augment, rng: &mut StdRng) -> Masked {
    let (side, _) = masked.image.dimensions();
    let smallest = augment.crop_scale.sqrt() * f64::from(side);
    let part = rng.random_range(smallest..=f64::from(side)).round().max(1.0) as u32;
    let [left, top] = [(); 2].map(|()| rng.random_range(0..=side - part));
    let image = imageops::crop_imm(&masked.image, left, top, part, part).to_image();
    let classes = imageops::crop_imm(&masked.classes, left, top, part, part).to_image();
    let nearest = imageops::FilterType::Nearest;
    let mut view = Masked {
        image: resize(&image, side, side, Interpolation::Bilinear),
        classes: imageops::resize(&classes, side, side, nearest),
    };
    if rng.random_bool(augment.flip) {
        imageops::flip_horizontal_in_place(&mut view.image);
        imageops::flip_horizontal_in_place(&mut view.classes);
    }
    view
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn an_image_and_its_mask_stay_together() {
        let is_inside = |x: u32, y: u32| x > 12 && y < 20;
        let masked = Masked {
            image: RgbImage::from_fn(32, 32, |x, y| {
                Rgb(if is_inside(x, y) { [255; 3] } else { [0; 3] })
            }),
            classes: GrayImage::from_fn(32, 32, |x, y| Luma([u8::from(is_inside(x, y))])),
        };
        let changes = Augment { crop_scale: 0.3, ..Augment::default() };
        let mut views = Vec::new();
        for seed in 0..20 {
            let view = augment(&masked, &changes, &mut StdRng::seed_from_u64(seed));
            let pixels = view.image.pixels().zip(view.classes.pixels());
            // At an edge, the values of the image are between both.
            let differ = pixels.filter(|(pixel, class)| (pixel[0] > 127) != (class[0] == 1));
            assert!(differ.count() < 80, "{seed}");
            views.push(view);
        }
        assert!(views.iter().any(|view| *view != views[0]));
    }
}
