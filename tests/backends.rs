//! The same compiled model on every backend, also from code that is generic over Burn's trait.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
use burn::tensor::{Device, Tensor};
use burn_zoo as device;
use zoo_core::{ImageClassifier, ImageSegmenter};
use zoo_models::{Network, VARIANTS};

/// Classifies images in code that is generic over the backend.
fn classify<B: Backend, M: ImageClassifier>(model: &M, images: FloatTensor<B>) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    model.forward_on::<B>(images).expect("model and images are on the same backend")
}

fn segment<B: Backend, M: ImageSegmenter>(model: &M, images: FloatTensor<B>) -> FloatTensor<B>
where
    DispatchTensor: DispatchKindConversion<B>,
{
    model.forward_on::<B>(images).expect("model and images are on the same backend")
}

fn forward_on_is_forward<B: Backend>(device: &Device)
where
    DispatchTensor: DispatchKindConversion<B>,
{
    // A small variant of each architecture that has one, and a segmenter.
    let mut seen = Vec::new();
    for variant in VARIANTS.iter() {
        let family = variant.config.family().name;
        let is_small = variant.gmacs.map_or(variant.name == "unet", |gmacs| gmacs <= 0.11);
        if seen.contains(&family) || !is_small {
            continue;
        }
        seen.push(family);
        let network = variant.config.init(device);
        let size = network.min_size().max(32);
        let shape = [1, variant.config.in_channels(), size, size];
        let images = Tensor::<4>::ones(shape, device);
        let theirs = images.clone().try_into_primitive::<B>().unwrap();
        let difference = match network {
            Network::Classifier(model) => {
                let logits = Tensor::<2>::from_primitive::<B>(classify::<B, _>(&model, theirs));
                (logits - model.forward(images)).abs().max()
            }
            Network::Segmenter(model) => {
                let logits = Tensor::<4>::from_primitive::<B>(segment::<B, _>(&model, theirs));
                (logits - model.forward(images)).abs().max()
            }
        };
        assert!(difference.into_data().iter::<f32>().all(|x| x < 1e-5), "{}", variant.name);
    }
    assert!(seen.len() >= 5);
}

#[test]
fn forward_on_flex() {
    forward_on_is_forward::<burn::backend::Flex>(&device::Backend::Cpu.device().unwrap());
}

#[cfg(feature = "ndarray")]
#[test]
#[expect(deprecated, reason = "kept for those who embed burn-ndarray")]
fn forward_on_ndarray() {
    forward_on_is_forward::<burn::backend::NdArray>(&device::Backend::Ndarray.device().unwrap());
}

#[cfg(feature = "libtorch")]
#[test]
#[expect(deprecated, reason = "kept for those who have libtorch")]
fn forward_on_libtorch() {
    forward_on_is_forward::<burn::backend::LibTorch>(&device::Backend::Libtorch.device().unwrap());
}
