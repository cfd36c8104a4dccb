//! Published weights on real images, compared with PyTorch's results.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use burn_zoo::{Backend, Model};
use zoo_core::decode::{decode, resize};
use zoo_models::Logits;
use zoo_tests::workspace;

/// The length of the longer side after resizing, which is 384.85 pixels for chelsea.png.
#[derive(Clone, Copy, PartialEq)]
enum LongSide {
    /// 384, as in torchvision and in `zoo classify`.
    Truncated,
    /// 385, for results that were computed that way.
    Rounded,
}

/// Returns the probability of each class for a sample image.
fn probabilities(model: &Model, name: &str, long_side: LongSide, device: &Device) -> Vec<f32> {
    let bytes = std::fs::read(workspace("assets/images").join(name)).unwrap();
    let preprocess = *model.preprocess();
    let mut image = decode(&bytes).unwrap();
    if long_side == LongSide::Rounded {
        let (width, height) = image.dimensions();
        let width = f64::from(width * preprocess.resize) / f64::from(height);
        image = resize(&image, width.round() as u32, preprocess.resize, preprocess.interpolation);
    }
    let pixels = preprocess.pixels(&image);
    let side = preprocess.crop as usize;
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [1, 3, side, side]), device);
    let Logits::Image(logits) = model.network().forward(images) else {
        panic!("{} is not a classifier", model.card().variant);
    };
    let probabilities = softmax(logits, 1).into_data();
    probabilities.convert::<f32>().iter().collect()
}

fn backends() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_built_in()).collect()
}

fn check(
    load: impl Fn(&Device) -> Result<Model, burn_zoo::Error>,
    goldens: &[(&str, LongSide, usize, f32)],
    tolerance: f32,
) {
    for backend in backends() {
        let device = backend.device().unwrap();
        let model = load(&device).unwrap();
        for &(image, long_side, class, expected) in goldens {
            let got = probabilities(&model, image, long_side, &device)[class];
            println!("{} {image} class {class}: {got:.4}, PyTorch {expected}", backend.name());
            assert!(
                (got - expected).abs() <= tolerance,
                "{} says {got} for class {class} of {image}, PyTorch {expected}",
                backend.name()
            );
        }
    }
}

/// The embedded weights are in half precision, which changes a probability in its third digit.
#[test]
fn the_embedded_model_answers_as_pytorch() {
    let goldens = [
        ("chelsea.png", LongSide::Rounded, 282, 0.3858),
        ("chelsea.png", LongSide::Rounded, 285, 0.3559),
        ("coffee.png", LongSide::Truncated, 967, 0.9511),
    ];
    check(Model::embedded, &goldens, 0.005);
}

/// `ZOO_MOBILENET_V2` names torchvision's published file. It can't be distributed with the tests.
#[test]
fn mobilenet_v2_answers_as_pytorch() {
    let Some(path) = std::env::var_os("ZOO_MOBILENET_V2") else {
        println!("skipped: ZOO_MOBILENET_V2 names no mobilenet_v2-b0353104.pth");
        return;
    };
    let load = |device: &Device| Model::open_as(&path, Some("mobilenet_v2"), device);
    let goldens = [
        ("chelsea.png", LongSide::Rounded, 285, 0.7139),
        ("chelsea.png", LongSide::Truncated, 285, 0.7166),
        ("coffee.png", LongSide::Truncated, 967, 0.9921),
    ];
    check(load, &goldens, 0.002);
}
