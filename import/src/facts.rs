//! The information in a checkpoint, and beside it, that is not tensors.

use std::path::Path;

use serde_json::Value;
use zoo_core::{Interpolation, Preprocess};

/// Information about a checkpoint's network that is not in its tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The network's name in its author's words: `tf_efficientnet_b0`, `ResNetForImageClassification`.
    pub architecture: Option<String>,
    /// The origin of [`architecture`](Self::architecture): `config.json`, or the checkpoint itself.
    pub source: Option<&'static str>,
    /// The name of the checkpoint in its archive.
    pub entry: Option<String>,
    /// Lists that look like class names.
    pub class_names: Vec<Vec<String>>,
    /// The preprocessing.
    pub preprocess: Option<Preprocess>,
}

/// The names of weight files on model hubs. Their folder also describes the model.
const HUB: [&str; 3] = ["model", "pytorch_model", "tf_model"];

impl Facts {
    /// Keys of the list of class names in checkpoints.
    pub(crate) const NAMES: [&str; 15] = [
        "classes",
        "class_names",
        "classnames",
        "class_labels",
        "class_to_idx",
        "class_to_index",
        "class2idx",
        "idx_to_class",
        "idx2class",
        "categories",
        "labels",
        "label_names",
        "names",
        "id2label",
        "label2id",
    ];

    /// Returns the names of the classes, if there is a list of `num_classes` names.
    pub fn names(&self, num_classes: usize) -> Option<&[String]> {
        self.class_names.iter().find(|names| names.len() == num_classes).map(Vec::as_slice)
    }

    /// Whether a file has the name that model hubs give to all weights.
    pub(crate) fn is_from_hub(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split(['.', '-']).next().is_some_and(|stem| HUB.contains(&stem))
    }

    /// Reads `config.json` and `preprocessor_config.json` of timm or transformers, if the file has
    /// the name that model hubs give to all weights. Ignores files that can't be read.
    pub(crate) fn add_neighbors(&mut self, path: &Path) {
        if !Self::is_from_hub(path) {
            return;
        }
        let read = |name: &str| -> Option<Value> {
            let text = std::fs::read(path.with_file_name(name)).ok()?;
            serde_json::from_slice(&text).ok()
        };
        if let Some(config) = read("config.json") {
            self.add_config(&config);
        }
        if let Some(config) = read("preprocessor_config.json") {
            self.preprocess = self.preprocess.or(transformers_preprocess(&config));
        }
    }

    fn add_config(&mut self, config: &Value) {
        let architecture =
            config.get("architecture").or_else(|| config.pointer("/architectures/0"));
        if let Some(architecture) = architecture.and_then(Value::as_str) {
            self.architecture = Some(architecture.to_owned());
            self.source = Some("config.json");
        }
        let listed = config.get("label_names").and_then(Value::as_array).map(|names| {
            let description = |name: &str| {
                let description = config.get("label_descriptions")?.get(name)?.as_str()?;
                Some(description.to_owned())
            };
            let name = |name: &Value| {
                let name = name.as_str()?;
                Some(description(name).unwrap_or_else(|| name.to_owned()))
            };
            names.iter().map(name).collect::<Option<Vec<_>>>()
        });
        let numbered = config.get("id2label").and_then(Value::as_object).map(|names| {
            let name = |index: usize| names.get(&index.to_string())?.as_str().map(str::to_owned);
            let names: Option<Vec<_>> = (0..names.len()).map(name).collect();
            // transformers' default names.
            names.filter(|names| names.first().is_none_or(|name| name != "LABEL_0"))
        });
        self.class_names.extend([listed, numbered].into_iter().flatten().flatten());
        let timm = config.get("pretrained_cfg").unwrap_or(config);
        self.preprocess = self.preprocess.or(timm_preprocess(timm));
    }
}

fn triple(value: Option<&Value>) -> Option<[f32; 3]> {
    let values = value?.as_array()?;
    let number = |index: usize| values.get(index)?.as_f64().map(|value| value as f32);
    Some([number(0)?, number(1)?, number(2)?])
}

/// Returns the side of the image before the crop.
fn enlarged(crop: u32, share: f64) -> Option<u32> {
    (share > 0.0).then(|| (f64::from(crop) / share).floor() as u32)
}

/// Reads timm's `input_size`, `crop_pct`, `interpolation`, `mean` and `std`.
fn timm_preprocess(config: &Value) -> Option<Preprocess> {
    let crop = u32::try_from(config.get("input_size")?.as_array()?.get(1)?.as_u64()?).ok()?;
    let share = config.get("crop_pct").and_then(Value::as_f64).unwrap_or(0.875);
    let interpolation = match config.get("interpolation").and_then(Value::as_str) {
        Some("bicubic") => Interpolation::Bicubic,
        _ => Interpolation::Bilinear,
    };
    let (mean, std) = (triple(config.get("mean"))?, triple(config.get("std"))?);
    let usual = Preprocess::IMAGENET.sized(enlarged(crop, share)?, crop);
    checked(Preprocess { interpolation, mean, std, ..usual })
}

/// Reads the settings of transformers' image processors.
fn transformers_preprocess(config: &Value) -> Option<Preprocess> {
    let side = |size: &Value| {
        let side = size.get("shortest_edge").or_else(|| size.get("height")).unwrap_or(size);
        side.as_u64().and_then(|side| u32::try_from(side).ok())
    };
    let size = config.get("size").and_then(side)?;
    let (resize, crop) = match config.get("crop_size").and_then(side) {
        Some(crop) => (size, crop),
        // ConvNext's processor, which ResNet also uses, enlarges and crops small images.
        None => match config.get("crop_pct").and_then(Value::as_f64) {
            Some(share) if size < 384 => (enlarged(size, share)?, size),
            _ => (size, size),
        },
    };
    let interpolation = match config.get("resample").and_then(Value::as_u64) {
        // `PIL.Image.BICUBIC`
        Some(3) => Interpolation::Bicubic,
        _ => Interpolation::Bilinear,
    };
    let (mean, std) = (triple(config.get("image_mean"))?, triple(config.get("image_std"))?);
    checked(Preprocess { interpolation, mean, std, ..Preprocess::IMAGENET.sized(resize, crop) })
}

/// Returns the preprocessing, if its values are possible.
fn checked(preprocess: Preprocess) -> Option<Preprocess> {
    let Preprocess { resize, crop, std, .. } = preprocess;
    let is_sound = crop > 0 && crop <= resize && resize <= 4096 && std.iter().all(|std| *std > 0.0);
    is_sound.then_some(preprocess)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn timm_configurations_are_read() {
        let mut facts = Facts::default();
        facts.add_config(&json!({
            "architecture": "tf_efficientnet_b0", "num_classes": 2,
            "label_names": ["n01", "n02"], "label_descriptions": {"n01": "tench, Tinca"},
            "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bicubic",
                "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        }));
        assert_eq!(facts.architecture.as_deref(), Some("tf_efficientnet_b0"));
        assert_eq!(facts.names(2).unwrap(), ["tench, Tinca", "n02"]);
        let preprocess = facts.preprocess.unwrap();
        assert_eq!((preprocess.resize, preprocess.crop), (256, 224));
        assert_eq!((preprocess.interpolation, preprocess.mean), (Interpolation::Bicubic, [0.5; 3]));
    }

    #[test]
    fn transformers_configurations_are_read() {
        let mut facts = Facts::default();
        facts.add_config(&json!({
            "architectures": ["ResNetForImageClassification"], "id2label": {"1": "dog", "0": "cat"},
        }));
        assert_eq!(facts.names(2).unwrap(), ["cat", "dog"]);
        let preprocess = transformers_preprocess(&json!({
            "size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3,
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
        }));
        assert_eq!(preprocess, Some(Preprocess::IMAGENET.bicubic()));
    }

    #[test]
    fn invalid_settings_are_ignored() {
        for config in [
            json!({}),
            json!({"input_size": [3, 0, 0], "mean": [0, 0, 0], "std": [1, 1, 1]}),
            json!({"input_size": [3, 224, 224], "mean": [0, 0, 0], "std": [1, 0, 1]}),
            json!({"input_size": [3, 224, 224], "crop_pct": 0, "mean": [0, 0, 0], "std": [1, 1, 1]}),
            json!({"input_size": "224", "mean": 3}),
        ] {
            assert_eq!(timm_preprocess(&config), None, "{config}");
        }
    }
}
