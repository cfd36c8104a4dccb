//! The results of a reference implementation, and a checkpoint with its weights.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use burn::store::bridge;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Deserializer};
use zoo_core::{KeyLayout, count_trainable};
use zoo_engine::Plan;
use zoo_import::{Checkpoint, has_auxiliary};
use zoo_models::Network;

use burn_zoo::Backend;
use burn_zoo::Model;

use crate::{formula, local};

/// One run of a reference implementation.
#[derive(Debug, Deserialize)]
pub struct Fixture {
    /// Name of the variant.
    pub variant: String,
    /// The implementation and its version.
    pub oracle: String,
    /// The shape of the images, `[N, C, H, W]`.
    pub input_shape: [usize; 4],
    /// Number of classes.
    pub num_classes: usize,
    /// The factor of the weights' variance.
    pub gain: f64,
    /// Number of trainable parameters.
    pub num_params: usize,
    /// The logits, row-major.
    #[serde(deserialize_with = "floats")]
    pub logits: Vec<f32>,
    /// Their standard deviation.
    pub output_std: f32,
    /// The error of the logits in single precision, compared with double precision.
    pub f32_error: f32,
    /// The last feature map, if there is one.
    pub features: Option<Features>,
    bn: HashMap<String, [f32; 2]>,
    tensors: Vec<(String, Vec<usize>)>,
}

/// A summary of a feature map.
#[derive(Debug, Deserialize)]
pub struct Features {
    /// The shape `[N, C, h, w]`.
    pub shape: Vec<usize>,
    /// The first values, row-major.
    #[serde(deserialize_with = "floats")]
    pub first: Vec<f32>,
    /// The mean of all values.
    pub mean: f32,
    /// The standard deviation of all values.
    pub std: f32,
}

/// The maps that timm's `features_only` returns, with the weights of another fixture.
#[derive(Debug, Deserialize)]
pub struct Pyramid {
    /// The other fixture: its file name without the extension.
    pub parity: String,
    /// The levels, the finest first.
    pub levels: Vec<Level>,
}

/// One of timm's maps.
#[derive(Debug, Deserialize)]
pub struct Level {
    /// The module that timm takes it from.
    pub module: String,
    /// Number of channels.
    pub channels: usize,
    /// Stride: pixels of the image per position of the map.
    pub stride: usize,
    /// The feature map.
    pub map: Features,
}

impl Pyramid {
    /// Returns the fixtures of this package.
    pub fn all() -> impl Iterator<Item = Self> {
        json_files(&local("fixtures/pyramids")).into_iter().map(|path| {
            let text = std::fs::read_to_string(&path).expect("the fixture can be read");
            serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
    }

    /// Reads the other fixture.
    pub fn fixture(&self) -> Fixture {
        Fixture::read(&local("fixtures/parity").join(format!("{}.json", self.parity)))
    }

    /// Compares the levels of the registry's variant with timm's, as computed by Burn and by the
    /// engine.
    ///
    /// # Errors
    ///
    /// When a level differs; the error describes the difference.
    pub fn check(&self) -> Result<(), String> {
        let fixture = self.fixture();
        let device = &Backend::Cpu.device().map_err(|error| error.to_string())?;
        let network = fixture.network(device)?;
        let stated: Vec<_> =
            network.pyramid().iter().map(|level| (level.channels, level.stride)).collect();
        let expected: Vec<_> =
            self.levels.iter().map(|level| (level.channels, level.stride)).collect();
        if stated != expected {
            return Err(format!("channels and strides {stated:?} instead of {expected:?}"));
        }
        let all: Vec<usize> = (0..stated.len()).collect();
        let images = fixture.images(device);
        let maps = network.forward_pyramid(images.clone(), &all);
        let maps = maps.into_iter().map(Tensor::into_data).collect();
        self.compare("Burn", maps)?;
        let plan = Plan::compile(&network, fixture.input_shape, 2, |network, images| {
            network.forward_pyramid(images, &all)
        });
        let maps = plan.and_then(|mut plan| plan.run_tensor(images));
        self.compare("the engine", maps.map_err(|error| error.to_string())?)
    }

    fn compare(&self, who: &str, maps: Vec<TensorData>) -> Result<(), String> {
        if maps.len() != self.levels.len() {
            return Err(format!("{who} gives {} maps", maps.len()));
        }
        for (level, map) in self.levels.iter().zip(maps) {
            let check = level.map.check(map, 1.0);
            check.map_err(|error| format!("by {who}, {}: {error}", level.module))?;
        }
        Ok(())
    }
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let files =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = files
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
}

impl Fixture {
    /// Reads a fixture's file.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the fixture can be read");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Returns the fixtures of this package, and those in the folder `ZOO_PARITY_FIXTURES`.
    pub fn paths() -> Vec<PathBuf> {
        let mut folders = vec![local("fixtures/parity")];
        folders.extend(std::env::var_os("ZOO_PARITY_FIXTURES").map(PathBuf::from));
        let mut paths: Vec<PathBuf> =
            folders.iter().flat_map(|folder| json_files(folder)).collect();
        paths.sort();
        paths
    }

    /// Returns the checkpoint of the reference run.
    pub fn checkpoint(&self) -> Checkpoint {
        let tensors: BTreeMap<_, _> = self
            .tensors
            .iter()
            .filter(|(key, _)| !key.ends_with(".num_batches_tracked"))
            .map(|(key, shape)| {
                let data = TensorData::new(self.values(key, shape), shape.clone());
                (key.clone(), bridge::from_data(data, key.clone(), None))
            })
            .collect();
        Checkpoint { path: self.variant.clone().into(), tensors, ..Checkpoint::default() }
    }

    fn values(&self, key: &str, shape: &[usize]) -> Vec<f32> {
        let n = shape.iter().product();
        let (prefix, leaf) = key.rsplit_once('.').unwrap_or(("", key));
        let statistics = self.bn.get(prefix).map(|pair| pair.map(f64::from));
        match (leaf, statistics) {
            _ if shape.len() >= 2 => formula::weight(key, shape, self.gain),
            ("weight", Some(_)) => formula::around(key, n, 1.0, 0.25),
            ("running_mean", Some([m, v])) => formula::around(key, n, m, 0.1 * v.sqrt()),
            ("running_var", Some([_, v])) => formula::running_var(key, n, v),
            _ => formula::around(key, n, 0.0, 0.1),
        }
    }

    /// Returns the images of the reference run.
    pub fn images(&self, device: &Device) -> Tensor<4> {
        let values = formula::input(self.input_shape.iter().product());
        Tensor::from_data(TensorData::new(values, self.input_shape), device)
    }

    /// Returns the largest allowed error of a logit: more than rounding, and far less than any
    /// mistake causes.
    pub fn tolerance(&self) -> f32 {
        (2e-4 * self.output_std).max(8.0 * self.f32_error)
    }

    /// Loads the checkpoint into a network, with its auxiliary heads if it has them.
    ///
    /// # Errors
    ///
    /// When keys differ; the error lists them.
    pub fn load(
        &self,
        mut network: Network,
        layouts: &[KeyLayout],
        device: &Device,
    ) -> Result<Network, String> {
        let checkpoint = self.checkpoint();
        if has_auxiliary(&checkpoint, layouts) {
            network.attach_auxiliary(device);
        }
        let loaded = zoo_import::load(network, &self.variant, &checkpoint, layouts);
        loaded.map(|(network, _)| network).map_err(|error| error.to_string())
    }

    /// Returns the registry's variant with the checkpoint's weights.
    ///
    /// # Errors
    ///
    /// When keys differ; the error lists them.
    pub fn network(&self, device: &Device) -> Result<Network, String> {
        let variant = zoo_models::variant(&self.variant).map_err(|error| error.to_string())?;
        let [_, channels, ..] = self.input_shape;
        let config = variant.config.with_num_classes(self.num_classes).with_in_channels(channels);
        self.load(config.init(device), variant.layouts, device)
    }

    /// Loads the checkpoint into the registry's variant and compares the results.
    ///
    /// Returns the largest error of a logit.
    ///
    /// # Errors
    ///
    /// When there is a difference: in the number of parameters, the keys, the features or, by more
    /// than `slack` times the tolerance, the logits.
    pub fn check(&self, runtime: Runtime, slack: f32) -> Result<f32, String> {
        let device = &Backend::Cpu.device().map_err(|error| error.to_string())?;
        let model = self.network(device)?;
        let params = count_trainable(&model);
        if params != self.num_params {
            return Err(format!("{params} parameters, the reference has {}", self.num_params));
        }

        let images = self.images(device);
        let outputs = match runtime {
            Runtime::Burn => {
                let features = model.forward_features(images);
                let logits = model.forward_head(features.clone());
                (features.into_data(), logits.into_data())
            }
            Runtime::Session(backend) => {
                let device = backend.device().map_err(|error| error.to_string())?;
                let template = Model::init(&self.variant, Some(self.num_classes), &device)
                    .map_err(|error| error.to_string())?;
                let mut model = Model::new(model, template.card().clone(), &device);
                let outputs = model.forward(values(images.into_data()), self.input_shape);
                if let Some(reason) = model.session().lacking() {
                    return Err(format!("the engine does not run it: {reason}"));
                }
                outputs.map_err(|error| format!("{error:#}"))?
            }
        };
        self.compare(outputs, slack)
    }

    /// Compares features and logits with the reference's.
    fn compare(
        &self,
        (features, logits): (TensorData, TensorData),
        slack: f32,
    ) -> Result<f32, String> {
        let logits = values(logits);
        if let Some(expected) = &self.features {
            expected.check(features, slack)?;
        }
        if logits.len() != self.logits.len() {
            return Err(format!("{} logits instead of {}", logits.len(), self.logits.len()));
        }
        let error = max_difference(&logits, &self.logits);
        // A NaN compares false with any number.
        if error <= slack * self.tolerance() {
            Ok(error)
        } else {
            Err(format!(
                "a logit is off by {error:.3e}, allowed are {:.3e}",
                slack * self.tolerance()
            ))
        }
    }
}

/// The implementation that runs a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Burn's own kernels, on the CPU.
    Burn,
    /// A session on a backend, as in the program.
    Session(Backend),
}

impl Features {
    fn check(&self, features: TensorData, slack: f32) -> Result<(), String> {
        let shape = features.shape().to_vec();
        if shape != self.shape {
            return Err(format!("features {shape:?} instead of {:?}", self.shape));
        }
        let values = values(features);
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        let tolerance = 1e-3 * slack * self.std;
        for (what, got, expected) in [
            ("mean", mean as f32, self.mean),
            ("standard deviation", variance.sqrt() as f32, self.std),
        ] {
            if (got - expected).abs() > tolerance || got.is_nan() {
                return Err(format!("the features' {what} is {got} instead of {expected}"));
            }
        }
        let error = max_difference(&values, &self.first);
        if error <= tolerance {
            Ok(())
        } else {
            Err(format!("a feature is off by {error:.3e}, allowed are {tolerance:.3e}"))
        }
    }
}

fn values(data: TensorData) -> Vec<f32> {
    data.convert::<f32>().iter().collect()
}

/// Returns the largest difference of the common values, or NaN if one is NaN.
fn max_difference(got: &[f32], expected: &[f32]) -> f32 {
    got.iter().zip(expected).map(|(got, expected)| (got - expected).abs()).fold(
        0.0,
        |largest, difference| {
            if difference > largest || f32::is_nan(difference) { difference } else { largest }
        },
    )
}

fn floats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    decode_floats(&text).map_err(serde::de::Error::custom)
}

/// Decodes little-endian f32 values in base64.
pub fn decode_floats(text: &str) -> Result<Vec<f32>, base64::DecodeError> {
    let bytes = BASE64_STANDARD.decode(text)?;
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
    Ok(bytes.chunks_exact(4).map(value).collect())
}
