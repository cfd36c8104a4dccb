//! Random augmentation of training images.

use image::{Rgb, RgbImage, imageops};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use zoo_core::Preprocess;
use zoo_core::decode::resize;

use crate::Augment;

mod mix;
mod ops;

pub(crate) use mix::mix;

impl Augment {
    /// No augmentation.
    pub fn none() -> Self {
        Self {
            crop_scale: 1.0,
            crop_padding: 0.0,
            flip: 0.0,
            color: 0.0,
            rotation: 0.0,
            rand_augment: 0,
            rand_magnitude: 9.0,
            erase: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
        }
    }

    /// Good values for most images.
    pub fn light() -> Self {
        Self::default()
    }

    /// Good values for images of a few dozen pixels: 4 pixels of padding around 32, and mirror
    /// images, as [He et al., 2015](https://arxiv.org/abs/1512.03385), §4.2, train on CIFAR-10.
    pub fn small_images() -> Self {
        Self { crop_padding: 0.125, flip: 0.5, ..Self::none() }
    }

    /// Returns one random view of an image, as the square that the network sees.
    pub(crate) fn apply(
        &self,
        image: &RgbImage,
        preprocess: &Preprocess,
        rng: &mut StdRng,
    ) -> RgbImage {
        let side = preprocess.crop;
        let mut view = if self.crop_scale < 1.0 {
            random_resized_crop(image, self.crop_scale, side, preprocess, rng)
        } else {
            preprocess.crop(image)
        };
        let border = (self.crop_padding * f64::from(side)).round() as i64;
        if self.crop_scale == 1.0 && border > 0 {
            let [x, y] = std::array::from_fn(|_| rng.random_range(-border..=border));
            let centered = std::mem::replace(&mut view, RgbImage::new(side, side));
            imageops::replace(&mut view, &centered, x, y);
        }
        if rng.random_bool(self.flip) {
            imageops::flip_horizontal_in_place(&mut view);
        }
        let mean = preprocess.mean.map(|mean| (mean * 255.0) as u8);
        if self.rotation > 0.0 {
            let angle = rng.random_range(-self.rotation..=self.rotation);
            view = ops::rotate(&view, angle, Rgb(mean));
        }
        for _ in 0..self.rand_augment {
            view = ops::random(&view, self.rand_magnitude / 30.0, Rgb(mean), rng);
        }
        if self.color > 0.0 {
            for op in [ops::brightness, ops::contrast, ops::saturation] {
                op(&mut view, 1.0 + rng.random_range(-self.color..=self.color) as f32);
            }
        }
        if rng.random_bool(self.erase) {
            erase(&mut view, Rgb(mean), rng);
        }
        view
    }
}

/// Returns a crop of random size, shape and position, as [Szegedy et al.,
/// 2014](https://arxiv.org/abs/1409.4842), §6, sample it.
fn random_resized_crop(
    image: &RgbImage,
    smallest: f64,
    side: u32,
    preprocess: &Preprocess,
    rng: &mut StdRng,
) -> RgbImage {
    let (width, height) = image.dimensions();
    let area = f64::from(width) * f64::from(height);
    for _ in 0..10 {
        let share = rng.random_range(smallest..=1.0);
        let ratio = log_uniform(3.0 / 4.0, 4.0 / 3.0, rng);
        let w = (area * share * ratio).sqrt().round() as u32;
        let h = (area * share / ratio).sqrt().round() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let left = rng.random_range(0..=width - w);
            let top = rng.random_range(0..=height - h);
            let part = imageops::crop_imm(image, left, top, w, h).to_image();
            return resize(&part, side, side, preprocess.interpolation);
        }
    }
    preprocess.crop(image)
}

/// Fills a rectangle of 2 to 33 percent of the image:
/// [Zhong et al., 2017](https://arxiv.org/abs/1708.04896).
fn erase(image: &mut RgbImage, fill: Rgb<u8>, rng: &mut StdRng) {
    let (width, height) = image.dimensions();
    let area = f64::from(width) * f64::from(height) * rng.random_range(0.02..0.33);
    let ratio = log_uniform(0.3, 3.3, rng);
    let w = ((area * ratio).sqrt().round() as u32).clamp(1, width);
    let h = ((area / ratio).sqrt().round() as u32).clamp(1, height);
    let left = rng.random_range(0..=width - w);
    let top = rng.random_range(0..=height - h);
    for y in top..top + h {
        for x in left..left + w {
            image.put_pixel(x, y, fill);
        }
    }
}

fn log_uniform(low: f64, high: f64, rng: &mut impl Rng) -> f64 {
    rng.random_range(low.ln()..=high.ln()).exp()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use zoo_core::Preprocess;

    use super::*;

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]))
    }

    #[test]
    fn without_augmentation_the_view_is_the_plain_one() {
        let preprocess = Preprocess::IMAGENET.sized(36, 32);
        let image = picture(70, 50);
        let view = Augment::none().apply(&image, &preprocess, &mut StdRng::seed_from_u64(1));
        assert_eq!(view, preprocess.crop(&image));
    }

    #[test]
    fn views_have_the_networks_size_and_are_drawn_from_the_seed() {
        let preprocess = Preprocess::IMAGENET.sized(36, 32);
        let strong = Augment {
            crop_scale: 0.1,
            rotation: 20.0,
            rand_augment: 3,
            erase: 0.5,
            color: 0.4,
            ..Augment::light()
        };
        for (width, height) in [(70, 50), (1, 1), (3, 400), (32, 32)] {
            let image = picture(width, height);
            let view = |seed| strong.apply(&image, &preprocess, &mut StdRng::seed_from_u64(seed));
            for seed in 0..20 {
                assert_eq!(view(seed).dimensions(), (32, 32));
            }
            assert_eq!(view(7), view(7));
            assert!(width == 1 || (0..5).any(|seed| view(seed) != view(seed + 1)));
        }
    }

    #[test]
    fn a_padded_view_is_the_plain_one_moved_by_the_border_at_most() {
        let preprocess = Preprocess::IMAGENET.sized(32, 32);
        let image = RgbImage::from_pixel(32, 32, Rgb([255; 3]));
        let padded = Augment { crop_padding: 0.125, ..Augment::none() };
        let mut blacks = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let view = padded.apply(&image, &preprocess, &mut StdRng::seed_from_u64(seed));
            let white = |x, y| view.get_pixel(x, y).0 == [255; 3];
            assert!((4..28).all(|position| white(position, 16) && white(16, position)));
            blacks.insert((0..32).map(|x| !white(x, 16)).collect::<Vec<_>>());
        }
        assert_eq!(blacks.len(), 9, "-4 to 4 pixels");
    }

    #[test]
    fn erasing_leaves_most_of_the_image() {
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..50 {
            let mut image = RgbImage::from_pixel(64, 64, Rgb([255; 3]));
            erase(&mut image, Rgb([1; 3]), &mut rng);
            let erased = image.pixels().filter(|pixel| pixel[0] == 1).count() as f64 / 4096.0;
            assert!((0.01..0.36).contains(&erased), "{erased}");
        }
    }
}
