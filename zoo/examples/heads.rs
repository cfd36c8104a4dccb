//! Two heads on the same frozen backbone: a pointwise convolution with an average behind it (Lin et al., 2014: [Network in
//! Network](https://arxiv.org/abs/1312.4400)), and a fully connected layer on all positions, as in AlexNet and VGG.
//!
//! Prints the parameters and the accuracies in a cross-validation with five folds, also on mirrored and on shifted images.
//!
//! ```console
//! $ cargo run --release -p burn-zoo --features train --example heads -- FOLDER
//! ```
//!
//! FOLDER has a folder of images for each class.

use std::path::PathBuf;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_zoo::train::{Config, optimizer};
use burn_zoo::{Backend, Model};
use image::{RgbImage, imageops};

const FOLDS: usize = 5;
const EPOCHS: usize = 100;

/// How test images are changed.
const CHANGES: [&str; 3] = ["as they are", "mirrored", "shifted by a quarter"];

/// The features of an image, `[channels, positions]`, and its class.
struct Sample {
    features: [Vec<f32>; CHANGES.len()],
    class: i32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give a folder of images")?);
    let device = Backend::Cpu.device()?;
    let mut model = Model::embedded(&device)?;
    let mut samples = Vec::new();
    let mut folders: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.is_dir()))
        .collect();
    folders.sort();
    for (class, folder) in folders.iter().enumerate() {
        let mut files: Vec<_> =
            std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        for file in files {
            let image = model.open_image(&file)?;
            let versions = [image.clone(), imageops::flip_horizontal(&image), shifted(&image)];
            let mut features = Vec::new();
            for version in versions {
                let pixels = model.preprocess_images(&[version]);
                features.push(model.forward(pixels, model.input_shape(1))?.0.iter().collect());
            }
            let features = features.try_into().expect("there is one for each change");
            samples.push(Sample { features, class: class as i32 });
        }
    }
    let channels = model.embed(&[RgbImage::new(8, 8)])?[0].len();
    println!("{} images of {} classes", samples.len(), folders.len());
    for is_pointwise in [true, false] {
        let input = |features: &[f32]| -> Vec<f32> {
            let positions = features.len() / channels;
            match is_pointwise {
                // The average and the pointwise convolution may change places.
                true => features
                    .chunks_exact(positions)
                    .map(|map| map.iter().sum::<f32>() / positions as f32)
                    .collect(),
                false => features.to_vec(),
            }
        };
        let mut right = [0; CHANGES.len()];
        let mut parameters = 0;
        for fold in 0..FOLDS {
            let is_test = |index: &usize| index % FOLDS == fold;
            let (test, training): (Vec<_>, Vec<_>) = (0..samples.len()).partition(is_test);
            let batch = |indices: &[usize], change: usize, device: &Device| {
                let rows: Vec<_> =
                    indices.iter().map(|&index| input(&samples[index].features[change])).collect();
                let shape = [rows.len(), rows[0].len()];
                Tensor::<2>::from_data(TensorData::new(rows.concat(), shape), device)
            };
            let classes = |indices: &[usize], device: &Device| {
                let classes: Vec<_> = indices.iter().map(|&index| samples[index].class).collect();
                Tensor::<2, Int>::from_data(TensorData::new(classes, [indices.len(), 1]), device)
            };
            let inputs = batch(&training, 0, &device);
            device.seed(fold as u64);
            let head = LinearConfig::new(inputs.dims()[1], folders.len()).init(&device);
            parameters = head.num_params();
            let head = trained(head, inputs, classes(&training, &device));
            for (change, right) in right.iter_mut().enumerate() {
                let logits = head.forward(batch(&test, change, &device));
                let is_right = logits.argmax(1).equal(classes(&test, &device));
                *right += is_right.int().sum().into_scalar::<i32>();
            }
        }
        let name = if is_pointwise { "pointwise" } else { "fully connected" };
        println!("{name}: {parameters} parameters");
        for (change, right) in CHANGES.iter().zip(right) {
            println!("  {:5.1} %  {change}", 100.0 * f64::from(right) / samples.len() as f64);
        }
    }
    Ok(())
}

/// The image moved to the right by a quarter of its width; what leaves it comes back at the left.
fn shifted(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width, height, |x, y| *image.get_pixel((x + width - width / 4) % width, y))
}

/// Trains a head on all inputs at once.
fn trained(head: Linear, inputs: Tensor<2>, classes: Tensor<2, Int>) -> Linear {
    let mut head = head.train();
    let recipe = Config::linear().recipe;
    let mut optimizer = optimizer(&recipe, &head);
    let (inputs, classes) = (Tensor::from_inner(inputs), Tensor::from_inner(classes));
    for _ in 0..EPOCHS {
        let scores = log_softmax(head.forward(inputs.clone()), 1);
        let loss = -scores.gather(1, classes.clone()).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &head);
        head = optimizer.step(recipe.lr, head, gradients);
    }
    head.valid()
}
