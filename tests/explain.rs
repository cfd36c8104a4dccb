//! The heat maps agree with the definitions of their methods, computed in PyTorch.
//!
//! See `fixtures/explain/README.md`.

use burn_zoo::explain::{ExplainOptions, Layer, Method};
use burn_zoo::{Backend, Model, Network};
use serde::Deserialize;
use zoo_core::ImageClassifier;
use zoo_models::variant;
use zoo_tests::fixture::{Fixture, decode_floats};
use zoo_tests::local;

#[derive(Deserialize)]
struct Reference {
    /// The parity fixture with the weights and images.
    parity: String,
    /// Stride of the explained maps; of the features if there is none.
    stride: Option<usize>,
    class: usize,
    maps: Vec<Map>,
}

#[derive(Deserialize)]
struct Map {
    method: String,
    shape: [usize; 2],
    values: String,
}

/// Means over 8×8 parts of a map.
fn pooled(values: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let (rows, columns) = (height / 8, width / 8);
    let mean = |part: usize| {
        let (top, left) = (part / 8 * rows, part % 8 * columns);
        let sum: f32 = (0..rows * columns)
            .map(|index| values[(top + index / columns) * width + left + index % columns])
            .sum();
        sum / (rows * columns) as f32
    };
    (0..64).map(mean).collect()
}

#[test]
fn heat_maps_agree_with_their_definitions() {
    let device = Backend::Cpu.device().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(local("fixtures/explain"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 7);
    for file in files {
        let reference: Reference =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let path = local("fixtures/parity").join(format!("{}.json", reference.parity));
        let fixture = Fixture::read(&path);
        let variant = variant(&fixture.variant).unwrap();
        let config = variant.config.clone().with_num_classes(fixture.num_classes);
        let network = fixture.load(config.init(&device), variant.layouts, &device).unwrap();
        let Network::Classifier(classifier) = &network else { panic!("it classifies") };
        let layer = match reference.stride {
            None => Layer::Features,
            Some(stride) => {
                let mut levels = classifier.pyramid().into_iter();
                Layer::Level(levels.position(|level| level.stride == stride).unwrap())
            }
        };
        let mut card = Model::for_benchmark(&fixture.variant, &device).unwrap().card().clone();
        (card.num_classes, card.has_classifier) = (fixture.num_classes, true);
        let mut model = Model::new(network, card, &device);
        let images = fixture.images(&device);
        let [_, channels, height, width] = images.dims();
        let pixels: Vec<f32> = images.narrow(0, 0, 1).into_data().iter().collect();
        for map in &reference.maps {
            let method: Method = map.method.parse().unwrap();
            let options = ExplainOptions { method, layers: vec![layer], ..Default::default() };
            let explanation =
                model.explain_pixels(pixels.clone(), [1, channels, height, width], &options);
            let explanation = explanation.unwrap();
            assert_eq!(explanation.class, reference.class, "{}", file.display());
            let expected = decode_floats(&map.values).unwrap();
            let heat = explanation.map;
            let values = match method {
                Method::IntegratedGradients => pooled(&heat.values, heat.size),
                _ => {
                    assert_eq!(heat.size, map.shape, "{method}");
                    heat.values
                }
            };
            let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let error = values.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let error = error.fold(0.0, f32::max) / largest;
            println!("{}: {method}: {error:.1e}", file.file_stem().unwrap().display());
            // Some units of the many images are on the other side of ReLU in single precision.
            let allowed = if method == Method::IntegratedGradients { 1e-2 } else { 1e-3 };
            assert!(error < allowed, "{}: {method} differs by {error}", file.display());
        }
    }
}
