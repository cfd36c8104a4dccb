//! The gradients of all parameters agree with the reference implementations.
//!
//! The loss is the sum of the logits times fixed numbers. BatchNorm uses its running statistics,
//! and there is no dropout. See `fixtures/gradients/README.md`.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_zoo::Backend;
use serde::Deserialize;
use zoo_core::{LayerKind, parameters};
use zoo_import::keys;
use zoo_models::{Logits, variant};
use zoo_tests::fixture::{Fixture, decode_floats};
use zoo_tests::{formula, local};

/// The result of the reference implementation.
#[derive(Deserialize)]
struct Reference {
    /// The parity fixture with the weights and images.
    parity: String,
    loss: f32,
    gradients: Vec<Gradient>,
}

/// The gradient of a parameter, in the checkpoint's layout.
#[derive(Deserialize)]
struct Gradient {
    key: String,
    /// Its largest absolute value.
    largest: f32,
    /// The square root of the sum of its squares.
    norm: f32,
    /// Up to 16 of its values, evenly spaced.
    sampled: String,
}

impl Gradient {
    /// Returns the largest difference, relative to the reference's largest value.
    fn error(&self, got: &[f32]) -> f32 {
        let last = got.len() - 1;
        let mut positions: Vec<usize> = (0..16).map(|k| k * last / 15).collect();
        positions.dedup();
        let sampled = decode_floats(&self.sampled).expect("the fixture is whole");
        assert_eq!(sampled.len(), positions.len(), "{}", self.key);
        let differences =
            positions.iter().zip(&sampled).map(|(&at, value)| (got[at] - value).abs());
        let largest = got.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let norm = got.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt() as f32;
        let of_norm = (norm - self.norm).abs() / self.norm * self.largest;
        differences.chain([(largest - self.largest).abs(), of_norm]).fold(0.0, f32::max)
            / self.largest
    }
}

/// Enables gradients for all parameters of a module; dropout and BatchNorm stay frozen.
struct Tracked;

impl ModuleMapper for Tracked {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad(true)
    }
}

/// The gradients in module order, transposed to the checkpoint's layout; `None` for parameters
/// without a gradient.
struct Collected<'a> {
    gradients: &'a Gradients,
    containers: Vec<String>,
    values: Vec<Option<Vec<f32>>>,
}

impl ModuleVisitor for Collected<'_> {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let is_linear =
            self.containers.last().is_some_and(|it| LayerKind::of(it) == Some(LayerKind::Linear));
        self.values.push(param.val().grad(self.gradients).map(|gradient| {
            let gradient = if is_linear && D == 2 { gradient.transpose() } else { gradient };
            gradient.into_data().convert::<f32>().iter().collect()
        }));
    }
}

/// Returns the largest error of a parameter's gradient, and the parameter.
fn check(reference: &Reference, device: &Device) -> (f32, String) {
    let path = local("fixtures/parity").join(format!("{}.json", reference.parity));
    let fixture = Fixture::read(&path);
    let variant = variant(&fixture.variant).unwrap();
    let config = variant.config.with_num_classes(fixture.num_classes);
    let network = fixture.load(config.init(device), variant.layouts, device).unwrap();
    let network = network.freeze().map(&mut Tracked);

    let (logits, count) = match network.forward(fixture.images(device)) {
        Logits::Image(logits) => (logits.clone().reshape([-1]), logits.shape().num_elements()),
        Logits::Pixel(logits) => (logits.clone().reshape([-1]), logits.shape().num_elements()),
    };
    let factors: Vec<f32> = formula::uniform("loss", count).map(|s| s as f32).collect();
    let factors = Tensor::<1>::from_data(TensorData::new(factors, [count]), device);
    let loss = (logits * factors).sum();
    let gradients = loss.backward();
    let loss = loss.into_data().iter::<f32>().next().unwrap();
    let allowed = 1e-3 * reference.loss.abs().max(1.0);
    assert!((loss - reference.loss).abs() <= allowed, "loss {loss}, expected {}", reference.loss);

    let mut collected = Collected { gradients: &gradients, containers: vec![], values: vec![] };
    network.visit(&mut collected);
    let slots = parameters(&network);
    let checkpoint = fixture.checkpoint();
    let mut found: HashMap<String, Vec<f32>> = keys(&slots, &checkpoint, variant.layouts)
        .into_iter()
        .zip(collected.values)
        .filter_map(|(key, values)| Some((key, values?)))
        .collect();
    let mut worst = (0.0, String::new());
    for expected in &reference.gradients {
        let got = found.remove(&expected.key);
        let got = got.unwrap_or_else(|| panic!("no gradient for {}", expected.key));
        let error = expected.error(&got);
        if error > worst.0 || error.is_nan() {
            worst = (error, expected.key.clone());
        }
    }
    assert!(found.is_empty(), "the reference has no gradient for {:?}", found.keys());
    worst
}

/// Checks the selected fixtures on a backend; returns the names of the variants.
fn check_all(backend: Backend, tolerance: f32, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let device = backend.device().expect("the backend is usable").autodiff();
    let only = std::env::var("ZOO_PARITY_ONLY").unwrap_or_default();
    let mut names = Vec::new();
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(local("fixtures/gradients")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_none_or(|extension| extension != "json")
            || !name.contains(&only)
            || !wanted(&name)
        {
            continue;
        }
        let (error, key) = check(&read(&path), &device);
        println!("{name:<32} {:<9} error {error:.2e}  in {key}", backend.name());
        // A NaN compares false with any number.
        if error.is_nan() || error > tolerance {
            failures.push(name.clone());
        }
        names.push(name.split('@').next().unwrap_or_default().to_owned());
    }
    assert!(failures.is_empty(), "gradients differ: {failures:?}");
    names
}

fn read(path: &Path) -> Reference {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn gradients_are_the_references() {
    let names = check_all(Backend::Cpu, 1e-3, |_| true);
    if std::env::var_os("ZOO_PARITY_ONLY").is_none() {
        let checked: Vec<_> =
            names.iter().map(|name| variant(name).unwrap().config.family().name).collect();
        for family in zoo_models::FAMILIES {
            assert!(checked.contains(&family.name), "no gradients of {}", family.name);
        }
    }
}
