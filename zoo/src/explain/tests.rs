use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use zoo_core::{fill_with_noise, parameters};

use super::*;
use crate::Backend;

/// A network with pseudo-random weights for images of 32 x 32 pixels.
fn model(name: &str, classes: usize) -> Model {
    let device = Backend::Cpu.device().unwrap();
    let (network, mut card) =
        Model::init(name, Some(classes), &device).unwrap().into_parts().unwrap();
    card.has_classifier = true;
    card.preprocess = card.preprocess.sized(32, 32);
    Model::new(fill_with_noise(network, &device), card, &device)
}

fn photograph() -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| image::Rgb([8 * x as u8, 8 * y as u8, (x * y % 255) as u8]))
}

/// The network with other values in the parameters with these paths.
fn changed(model: &Model, paths: &[&str], change: impl Fn(f32) -> f32) -> Model {
    struct Change<F> {
        ids: Vec<ParamId>,
        change: F,
    }
    impl<F: Fn(f32) -> f32> ModuleMapper for Change<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !self.ids.contains(&param.id) {
                return param;
            }
            let tensor = param.val();
            let values: Vec<f32> = tensor.to_data().iter().map(&self.change).collect();
            let data = TensorData::new(values, tensor.shape());
            Param::initialized(param.id, Tensor::from_data(data, &tensor.device()))
        }
    }
    let is_meant = |path: &str| paths.contains(&path);
    let found = parameters(model.network()).into_iter().filter(|it| is_meant(&it.path));
    let ids: Vec<_> = found.map(|it| it.id).collect();
    assert_eq!(ids.len(), paths.len());
    let network = model.network().clone().map(&mut Change { ids, change });
    Model::new(network, model.card().clone(), model.session().device())
}

#[test]
fn a_method_has_one_name() {
    for method in Method::ALL {
        assert_eq!(toml::Value::try_from(method).unwrap().as_str(), Some(method.name()));
        assert_eq!(method.name().parse(), Ok(method));
    }
}

#[test]
fn a_segmenter_is_explained_by_the_sum_of_its_logits() {
    // Random weights would let little of the bottleneck through.
    let up = ["up.0", "up.1", "up.2", "up.3"].map(|up| format!("{up}.transposed.weight"));
    let up: Vec<_> = up.iter().map(String::as_str).collect();
    let mut model = changed(&model("unet", 3), &up, |value| 8.0 * value);
    let image = photograph();
    let pixels = model.preprocess_images(std::slice::from_ref(&image));
    let area = 32 * 32;
    let logits = |model: &mut Model, class: usize| -> Vec<f32> {
        let logits = model.logits(pixels.clone(), [1, 3, 32, 32]).unwrap();
        logits.iter().skip(class * area).take(area).collect()
    };
    let all = [0, 1, 2].map(|class| logits(&mut model, class));
    let predicted = |pixel: usize| most_probable(&[0, 1, 2].map(|class| all[class][pixel]));
    let counts =
        [0, 1, 2].map(|class| (0..area).filter(|pixel| predicted(*pixel) == class).count());
    let class = (0..3).max_by_key(|class| counts[*class]).unwrap();
    let mut explain = |method, layer| {
        let layers = vec![layer];
        let options = ExplainOptions { method, class: Some(class), layers, ..Default::default() };
        model.explain(&image, &options).unwrap()
    };

    // The classifier is linear in the features: the gradient at each pixel of the class is its weights.
    let features = explain(Method::GradCam, Layer::Features);
    let is_explained = features.pixels.unwrap();
    assert!((0..area).all(|pixel| is_explained[pixel] == (predicted(pixel) == class)));
    let share = counts[class] as f32 / area as f32;
    let at = explain(Method::HiResCam, Layer::Features).map.values;
    let bias =
        (0..area).find(|pixel| is_explained[*pixel]).map(|pixel| all[class][pixel] - at[pixel]);
    let allowed = 1e-4 * all[class].iter().fold(1.0_f32, |largest, logit| largest.max(logit.abs()));
    for pixel in 0..area {
        let evidence = all[class][pixel] - bias.unwrap();
        assert!((features.map.values[pixel] - share * evidence).abs() < allowed, "{pixel}");
        let evidence = if is_explained[pixel] { evidence } else { 0.0 };
        assert!((at[pixel] - evidence).abs() < allowed, "{pixel}");
    }

    // The sum of gradient times map is the change of the sum of the logits if the map grows.
    let Layer::Level(_) = model.layer("down.3").unwrap() else { panic!("it is a level") };
    let options =
        ExplainOptions { method: Method::HiResCam, class: Some(class), ..Default::default() };
    let map = model.explain(&image, &options).unwrap().map;
    assert_eq!(map.size, [2, 2], "the bottleneck is the default layer");
    let norm = ["down.3.second.norm.gamma", "down.3.second.norm.beta"];
    let sum = |factor: f32| -> f64 {
        let mut grown = changed(&model, &norm, |value| factor * value);
        let logits = logits(&mut grown, class);
        (0..area).filter(|pixel| is_explained[*pixel]).map(|pixel| f64::from(logits[pixel])).sum()
    };
    let expected = (sum(1.01) - sum(0.99)) / 0.02;
    let found = f64::from(map.values.iter().sum::<f32>());
    assert!((found - expected).abs() < 0.01 * expected.abs(), "{found} is not {expected}");
}

#[test]
fn a_segmenter_says_which_classes_it_predicts() {
    let model = model("unet", 3);
    let mut model = changed(&model, &["classifier.weight", "classifier.bias"], |_| 0.0);
    let mut error = |class, method| {
        let options = ExplainOptions { class, method, ..Default::default() };
        model.explain(&photograph(), &options).unwrap_err().to_string()
    };
    // Of equal logits the last class is taken.
    let text = error(Some(1), Method::GradCam);
    let expected = "no pixel is predicted as `class 1`\nhint: choose a class that is: `class 2`";
    assert_eq!(text, expected);
    assert!(error(Some(3), Method::GradCam).contains("there is no class 3"));
    assert!(error(None, Method::Occlusion).contains("unet is a segmenter, and occlusion"));
}

#[test]
fn a_dream_raises_the_response() {
    let mut model = model("resnet20_cifar", 10);
    for name in ["2", "stages.1:5"] {
        let objective = model.objective(name).unwrap();
        let mut dream = |steps, seed| {
            let mut done = Vec::new();
            let options = DreamOptions { steps, seed };
            let dream = model.dream(objective, &options, |step| done.push(step)).unwrap();
            assert_eq!(done, (1..=steps).collect::<Vec<_>>());
            dream
        };
        let dreamed = dream(8, 0);
        assert!(dreamed.reached.value > dreamed.start.value, "{name}: {:?}", dreamed.reached);
        assert_eq!(dreamed.image.dimensions(), (32, 32));
        assert_eq!(dreamed, dream(8, 0), "the same seed gives the same image");
        assert_ne!(dreamed.image, dream(8, 1).image);
    }
    let error = |text: &str| model.objective(text).unwrap_err().to_string();
    assert!(error("stages.9:1").contains("has no layer stages.9\nhint: it has "));
    assert!(error("features:64").contains("features has no channel 64; it has 64, from 0"));
    assert!(error("10").contains("there is no class 10"));
}

#[test]
fn filters_are_the_weights_of_the_first_convolution() {
    let model = changed(&model("resnet20_cifar", 10), &["stem.conv.weight"], |_| 0.25);
    let filters = model.filters().unwrap();
    assert_eq!(filters.shape, [16, 3, 3, 3]);
    assert_eq!(filters.values, [0.25; 16 * 27]);
    assert_eq!(filters.grid().dimensions(), (4 * 49 + 1, 4 * 49 + 1));
}

#[test]
fn channels_are_those_of_the_layer() {
    let mut model = model("resnet20_cifar", 10);
    let layer = model.layer("stages.1").unwrap();
    let channels = model.channels(&photograph(), layer).unwrap();
    assert_eq!((channels.size, channels.iter().len()), ([16, 16], 32));
    assert_eq!(channels.grid().dimensions(), (6 * 49 + 1, 6 * 49 + 1));
    let pixels = model.preprocess_images(&[photograph()]);
    let Layer::Level(level) = layer else { panic!("it is a level") };
    let expected: Vec<f32> = model.level(pixels, [1, 3, 32, 32], level).unwrap().iter().collect();
    assert_eq!(channels.values, expected);
}

#[test]
fn the_contracting_path_of_a_segmenter_is_its_pyramid() {
    for name in ["unet", "unet_bilinear"] {
        let mut model = model(name, 2);
        let pyramid = model.network().pyramid();
        assert_eq!(pyramid.len(), 5);
        for (level, stated) in pyramid.into_iter().enumerate() {
            let channels = model.channels(&photograph(), Layer::Level(level)).unwrap();
            assert_eq!(channels.size, [32 / stated.stride; 2], "{}", stated.name);
            assert_eq!(channels.iter().len(), stated.channels, "{}", stated.name);
        }
    }
}

#[test]
fn random_weights_replace_the_classifier_or_everything() {
    let mut original = model("resnet20_cifar", 10);
    let pixels = original.preprocess_images(&[photograph()]);
    let outputs = |model: &mut Model| {
        let (features, logits) = model.forward(pixels.clone(), [1, 3, 32, 32]).unwrap();
        [features, logits].map(|data| data.iter().collect::<Vec<f32>>())
    };
    let before = outputs(&mut original);
    let random = |weights, seed| outputs(&mut original.randomized(weights, seed).unwrap());
    let classifier = random(Randomized::Classifier, 0);
    assert!(classifier[0] == before[0] && classifier[1] != before[1]);
    assert_ne!(random(Randomized::Classifier, 1)[1], classifier[1]);
    let all = random(Randomized::All, 0);
    assert!(all[0] != before[0] && all[1] != before[1]);
    assert_eq!(outputs(&mut original), before);
}

#[test]
fn a_map_correlates_with_itself() {
    let map = |values: &[f32]| HeatMap::new([1, 4], values.to_vec());
    let one = map(&[0.0, 1.0, 2.0, 3.0]);
    assert!((one.rank_correlation(&map(&[0.0, -1.0, -4.0, -9.0])) - 1.0).abs() < 1e-9);
    assert!((one.rank_correlation(&map(&[3.0, -2.0, 1.0, 0.0])) + 1.0).abs() < 1e-9);
    assert_eq!(one.rank_correlation(&map(&[1.0; 4])), 0.0);
}
