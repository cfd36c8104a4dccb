//! Mixup and CutMix, which combine images of a batch and their targets.

use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::{Beta, Distribution};

use super::Augment;

/// Mixes a batch's images `[N, C, S, S]` and targets `[N, K]` with their neighbors in the batch,
/// the last with the first; batches are in random order already.
///
/// [Zhang et al., 2017](https://arxiv.org/abs/1710.09412) and
/// [Yun et al., 2019](https://arxiv.org/abs/1905.04899).
pub(crate) fn mix(
    augment: &Augment,
    pixels: &mut [f32],
    targets: &mut [f32],
    [batch, channels, side]: [usize; 3],
    rng: &mut StdRng,
) {
    let draws_cutmix = match (augment.mixup > 0.0, augment.cutmix > 0.0) {
        (false, false) => return,
        (true, true) => rng.random_bool(0.5),
        (_, cutmix) => cutmix,
    };
    let alpha = if draws_cutmix { augment.cutmix } else { augment.mixup };
    let beta = Beta::new(alpha, alpha).expect("the configuration allows positive numbers only");
    let own: f64 = beta.sample(rng);
    let (image, plane) = (channels * side * side, side * side);
    let original = pixels.to_vec();
    let other = |index: usize| (index + 1) % batch;
    let own = if draws_cutmix {
        let length = (side as f64 * (1.0 - own).sqrt()) as usize;
        let [rows, columns] = [(); 2].map(|()| {
            let center = rng.random_range(0..side);
            let start = center.saturating_sub(length / 2);
            start..(start + length).min(side)
        });
        for index in 0..batch {
            for channel in 0..channels {
                for row in rows.clone() {
                    let start = channel * plane + row * side;
                    let span = start + columns.start..start + columns.end;
                    let source = other(index) * image;
                    pixels[index * image..][span.clone()]
                        .copy_from_slice(&original[source..][span]);
                }
            }
        }
        1.0 - (rows.len() * columns.len()) as f64 / plane as f64
    } else {
        blend(pixels, image, own);
        own
    };
    let classes = targets.len() / batch;
    blend(targets, classes, own);
}

/// Mixes each row with the next one.
fn blend(values: &mut [f32], row: usize, own: f64) {
    let original = values.to_vec();
    let shifted = original[row..].iter().chain(&original[..row]);
    for (value, other) in values.iter_mut().zip(shifted) {
        *value = own as f32 * *value + (1.0 - own as f32) * other;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn targets_are_the_shares_of_the_mixed_images() {
        for (mixup, cutmix) in [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)] {
            let augment = Augment { mixup, cutmix, ..Augment::none() };
            for seed in 0..20 {
                // Image i has value i and class i, so its mean shows its composition.
                let mut pixels: Vec<f32> = (0..3).flat_map(|i| vec![i as f32; 2 * 64]).collect();
                let mut targets = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
                let mut rng = StdRng::seed_from_u64(seed);
                mix(&augment, &mut pixels, &mut targets, [3, 2, 8], &mut rng);
                for (image, target) in pixels.chunks(128).zip(targets.chunks(3)) {
                    let mean = image.iter().sum::<f32>() / 128.0;
                    let expected = target[1] + 2.0 * target[2];
                    assert!((mean - expected).abs() < 1e-5, "{mean} {target:?}");
                    assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                }
            }
        }
    }
}
