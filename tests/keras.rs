//! Keras files of all versions: their tensors, their networks, and the errors of damaged and
//! foreign files.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use burn_zoo::Backend;
use insta::assert_snapshot;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};
use zoo_core::{Color, Preprocess};
use zoo_import::agreement;
use zoo_import::identify;
use zoo_import::{Checkpoint, Choice, Error};
use zoo_import::{ImportOptions, import};
use zoo_tests::local;

fn device() -> Device {
    Backend::Cpu.device().unwrap()
}

fn file(name: &str) -> PathBuf {
    local("fixtures/keras").join(name)
}

/// One network in all formats of Keras.
const LAYERS: [&str; 6] = [
    "layers.keras",
    "layers.weights.h5",
    "layers.h5",
    "published.h5",
    // The newest version of HDF5, with compression.
    "latest.h5",
    "gzip.h5",
];

/// Returns a tensor's shape and values.
fn values(checkpoint: &Checkpoint, key: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = &checkpoint.tensors[key];
    let bytes = tensor.to_bytes().unwrap();
    let floats = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    (tensor.shape.to_vec(), floats.collect())
}

/// Returns row-major values of a shape by their index.
fn tabulate<const D: usize>(shape: [usize; D], value: impl Fn([usize; D]) -> usize) -> Vec<f32> {
    (0..shape.iter().product())
        .map(|flat: usize| {
            let mut rest = flat;
            let mut index = [0; D];
            for axis in (0..D).rev() {
                index[axis] = rest % shape[axis];
                rest /= shape[axis];
            }
            value(index) as f32
        })
        .collect()
}

#[test]
fn files_of_all_versions_are_read() {
    for name in LAYERS {
        let checkpoint = Checkpoint::open(&file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let keys: Vec<&str> = checkpoint.tensors.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "batch_normalization_0.bias",
                "batch_normalization_0.running_mean",
                "batch_normalization_0.running_var",
                "batch_normalization_0.weight",
                "both.depthwise.weight",
                "both.pointwise.bias",
                "both.pointwise.weight",
                "depthwise_conv2d_0.bias",
                "depthwise_conv2d_0.weight",
                "first.bias",
                "first.weight",
                "norm.bias",
                "norm.running_mean",
                "norm.running_var",
                "norm.weight",
                "predictions.bias",
                "predictions.weight",
            ],
            "{name}"
        );
        // In Keras, each weight's values count from 0, with the outputs as the fastest dimension.
        let conv = tabulate([4, 3, 3, 3], |[o, i, h, w]| ((h * 3 + w) * 3 + i) * 4 + o);
        assert_eq!(values(&checkpoint, "first.weight"), (vec![4, 3, 3, 3], conv), "{name}");
        let depthwise = tabulate([4, 1, 3, 3], |[c, _, h, w]| (h * 3 + w) * 4 + c);
        let key = "depthwise_conv2d_0.weight";
        assert_eq!(values(&checkpoint, key), (vec![4, 1, 3, 3], depthwise), "{name}");
        let pointwise = tabulate([5, 4, 1, 1], |[o, i, _, _]| i * 5 + o);
        let key = "both.pointwise.weight";
        assert_eq!(values(&checkpoint, key), (vec![5, 4, 1, 1], pointwise), "{name}");
        let dense = tabulate([2, 20], |[o, i]| i * 2 + o);
        assert_eq!(values(&checkpoint, "predictions.weight"), (vec![2, 20], dense), "{name}");
        let vector = vec![0.0, 1.0, 2.0, 3.0];
        for key in ["first.bias", "norm.weight", "norm.running_var"] {
            assert_eq!(values(&checkpoint, key), (vec![4], vector.clone()), "{name}: {key}");
        }
        // A BatchNorm without a scale gets a scale of one.
        let key = "batch_normalization_0.weight";
        assert_eq!(values(&checkpoint, key), (vec![5], vec![1.0; 5]), "{name}");
    }
}

#[test]
fn networks_are_recognized() {
    for (name, expected) in [
        ("MobileNetV2", "mobilenet_v2_keras"),
        ("Xception", "xception_keras"),
        ("InceptionV3", "inception_v3_keras"),
        ("InceptionResNetV2", "inception_resnet_v2"),
        ("ResNet50", "resnet50_keras"),
        ("DenseNet121", "densenet121_keras"),
        ("EfficientNetB0", "efficientnet_b0_keras"),
        ("NASNetMobile", "nasnet_a_mobile_keras"),
    ] {
        let path = file("networks").join(name).with_extension("keras");
        let mut checkpoint = Checkpoint::open(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = identify(&checkpoint, &Choice::default())
            .unwrap_or_else(|e| panic!("{name}: {e:#}"))
            .recognition;
        assert_eq!((found.name.as_str(), found.layout), (expected, "Keras"));
        assert_eq!((found.num_classes, found.in_channels), (1000, 3), "{name}");

        checkpoint.tensors.retain(|key, _| !key.starts_with("predictions."));
        let found = identify(&checkpoint, &Choice::default())
            .unwrap_or_else(|e| panic!("{name}: {e:#}"))
            .recognition;
        assert_eq!((found.name.as_str(), found.is_headless), (expected, true));
    }
}

/// The largest maps have odd sides, for which TensorFlow's padding differs from PyTorch's.
#[test]
fn a_network_computes_what_it_does_in_keras() {
    let path = file("mobilenet.keras");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let model = import(&checkpoint, &ImportOptions::default(), &device()).unwrap();
    assert_eq!(model.card.variant, "mobilenet_v1_0_1_keras");
    assert_eq!((model.card.num_classes, model.report.layout), (5, "Keras"));
    let preprocess = model.card.preprocess;
    assert_eq!(
        (preprocess.mean, preprocess.std, preprocess.color),
        ([0.5; 3], [0.5; 3], Color::Rgb)
    );

    let pixels = tabulated_image(51);
    let images = TensorData::new(pixels, [1, 3, 51, 51]);
    let images = Tensor::from_data(images, &device());
    let logits: Vec<f32> = model.network.forward(images).into_data().iter().collect();
    let text = std::fs::read_to_string(file("mobilenet.json")).unwrap();
    let expected: Vec<f32> = serde_json::from_str(&text).unwrap();
    let largest = expected.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
    for (logit, expected) in logits.iter().zip(&expected) {
        assert!((logit - expected).abs() <= 3e-4 * largest, "{logits:?}, not {expected:?}");
    }
    assert_eq!(logits.len(), expected.len());
}

/// Returns the image of the fixture.
fn tabulated_image(size: usize) -> Vec<f32> {
    let index = tabulate([3, size, size], |[c, y, x]| (c * size + y) * size + x);
    let value = |index: f32| {
        let index = index as usize;
        let (c, y, x) = (index / size / size, index / size % size, index % size);
        (0.1 * y as f64 + 0.2 * x as f64 + c as f64).sin() as f32
    };
    index.into_iter().map(value).collect()
}

#[test]
fn images_are_prepared_as_in_keras() {
    for (name, color, mean, std) in [
        (
            "ResNet50",
            Color::Bgr,
            [103.939 / 255.0, 116.779 / 255.0, 123.68 / 255.0],
            [1.0 / 255.0; 3],
        ),
        ("Xception", Color::Rgb, [0.5; 3], [0.5; 3]),
        ("DenseNet121", Color::Rgb, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        // The file itself states it.
        ("EfficientNetB0", Color::Rgb, [0.0; 3], [1.0; 3]),
    ] {
        let path = file("networks").join(name).with_extension("keras");
        let checkpoint = Checkpoint::open(&path).unwrap();
        let model = import(&checkpoint, &ImportOptions::default(), &device()).unwrap();
        let found = model.card.preprocess;
        assert_eq!((found.color, found.mean, found.std), (color, mean, std), "{name}");
        assert_eq!(model.card.labels.len(), 1000, "{name}");
    }
}

/// Opens a file and reads all of it.
fn read(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
    let read = |(key, tensor): (String, zoo_import::Tensor)| {
        let bytes = tensor.to_bytes().map_err(|error| error.to_string())?;
        Ok((key, bytes.to_vec()))
    };
    checkpoint.tensors.into_iter().map(read).collect()
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.h5");
    // Xorshift, so that a failure is reproducible.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    for name in LAYERS {
        let bytes = std::fs::read(file(name)).unwrap();
        for end in [9, 100, bytes.len() / 3, bytes.len() / 2, bytes.len() - 100] {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert!(read(&path).is_err(), "{name} cut off at {end}");
        }
        for _ in 0..60 {
            let mut bytes = bytes.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                bytes[at] = [0, 0xff, bytes[at] ^ 1 << random(8)][random(3)];
            }
            std::fs::write(&path, bytes).unwrap();
            // If only values changed, it is still a Keras file.
            let _ = read(&path);
        }
    }
}

#[test]
fn foreign_networks_are_refused_with_a_hint() {
    let error = Checkpoint::open(&file("other.h5")).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("HDF5 file without the layers of Keras") && text.contains("hint: "));

    let custom = Checkpoint::open(&file("layers.keras")).unwrap();
    let Err(error) = import(&custom, &ImportOptions::default(), &device()) else {
        panic!("a network of five layers was recognized");
    };
    assert!(format!("{error:#}").contains("hint: "), "{error:#}");
}

/// Writes the small network with a changed configuration.
fn reconfigured(change: impl Fn(&mut Vec<Value>)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.keras");
    let mut archive =
        ZipArchive::new(std::fs::File::open(file("mobilenet.keras")).unwrap()).unwrap();
    let mut read = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let (config, weights) = (read("config.json"), read("model.weights.h5"));
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    change(config["config"]["layers"].as_array_mut().unwrap());
    let mut archive = ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, bytes) in
        [("config.json", config.to_string().into_bytes()), ("model.weights.h5", weights)]
    {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap();
    (folder, path)
}

/// Returns the index of the first layer of a class.
fn first(layers: &[Value], class: &str) -> usize {
    layers.iter().position(|layer| layer["class_name"] == class).expect(class)
}

/// Inserts a layer before the first convolution.
fn prepared(layers: &mut Vec<Value>, class: &str, config: Value) {
    let conv = first(layers, "Conv2D");
    let before = layers[conv]["inbound_nodes"].clone();
    let name = format!("prepared_{}", layers.len());
    let mut config = config;
    config["name"] = name.clone().into();
    let layer = json!({
        "class_name": class, "name": name, "config": config, "inbound_nodes": before,
    });
    layers[conv]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = name.into();
    layers.insert(conv, layer);
}

fn imported(path: &Path) -> anyhow::Result<(Preprocess, f32)> {
    let checkpoint = Checkpoint::open(path)?;
    let variant = Some("mobilenet_v1_0_1_keras".to_owned());
    let options = ImportOptions { variant, ..ImportOptions::default() };
    let model = import(&checkpoint, &options, &device())?;
    let graph = checkpoint.graph.as_ref().expect("the configuration has the graph");
    let agreement = agreement(graph, &model.network, 3, 224)?;
    Ok((model.card.preprocess, agreement.difference / agreement.largest))
}

#[test]
fn a_configuration_is_computed_and_compared() {
    let (preprocess, difference) = imported(&file("mobilenet.keras")).unwrap();
    assert!(difference < 1e-4, "{difference}");
    // The size that the network was built for, without a crop.
    assert_eq!((preprocess.resize, preprocess.crop), (51, 51));

    // Changes without weights that affect the result: padding, an activation, BatchNorm's epsilon.
    let changes: [(&str, &str, Value); 4] = [
        ("Conv2D", "padding", json!("valid")),
        ("ReLU", "max_value", json!(1.0)),
        ("ZeroPadding2D", "padding", json!([[1, 0], [1, 0]])),
        ("BatchNormalization", "epsilon", json!(0.5)),
    ];
    for (class, key, value) in changes {
        let (_folder, path) = reconfigured(|layers| {
            let layer = first(layers, class);
            layers[layer]["config"][key] = value.clone();
        });
        let (_, difference) = imported(&path).unwrap();
        assert!(difference > 1e-3, "{class}: {difference}");
    }
}

#[test]
fn the_networks_own_normalization_goes_into_the_card() {
    let around =
        |numbers: [f32; 3]| json!({"class_name": "__numpy__", "config": {"value": numbers}});
    type Prepared = (&'static str, Value, [f32; 3], [f32; 3]);
    let cases: [Prepared; 5] = [
        ("Rescaling", json!({"scale": 1.0 / 255.0, "offset": 0.0}), [0.0; 3], [1.0; 3]),
        ("Rescaling", json!({"scale": 1.0 / 127.5, "offset": -1.0}), [0.5; 3], [0.5; 3]),
        (
            "Normalization",
            json!({"axis": [-1], "invert": false, "mean": [51.0, 102.0, 127.5], "variance": 2601.0}),
            [0.2, 0.4, 0.5],
            [0.2; 3],
        ),
        (
            "Normalization",
            json!({"axis": [3], "mean": around([51.0, 102.0, 127.5]), "variance": [[[[2601.0, 2601.0, 16256.25]]]]}),
            [0.2, 0.4, 0.5],
            [0.2, 0.2, 0.5],
        ),
        ("RandomFlip", json!({"mode": "horizontal"}), [0.5; 3], [0.5; 3]),
    ];
    for (class, config, mean, std) in cases {
        let (_folder, path) = reconfigured(|layers| prepared(layers, class, config.clone()));
        let (preprocess, difference) = imported(&path).unwrap();
        assert!(difference < 1e-4, "{class}: {difference}");
        let pairs = preprocess.mean.iter().zip(&mean).chain(preprocess.std.iter().zip(&std));
        for (found, expected) in pairs {
            assert!((found - expected).abs() < 1e-5, "{class}: {preprocess:?}");
        }
        assert_eq!(preprocess.color, Color::Rgb, "{class}");
    }
    // The network itself scales the images down.
    let (_folder, path) = reconfigured(|layers| {
        layers[0]["config"]["batch_shape"] = json!([null, 200, 300, 3]);
        prepared(layers, "Resizing", json!({"height": 51, "width": 51}));
    });
    let (preprocess, difference) = imported(&path).unwrap();
    assert_eq!((preprocess.crop, difference < 1e-4), (51, true));
}

#[test]
fn layers_that_no_model_has_are_named() {
    let mut complaints = String::new();
    let mut complain = |change: &dyn Fn(&mut Vec<Value>)| {
        let (_folder, path) = reconfigured(change);
        let error = imported(&path).expect_err("the zoo has no such network");
        let folder = path.parent().unwrap().display().to_string();
        complaints += &format!("{error:#}\n").replace(&folder, "FOLDER");
    };
    complain(&|layers| {
        let pool = first(layers, "GlobalAveragePooling2D");
        layers[pool]["class_name"] = "GlobalMaxPooling2D".into();
    });
    complain(&|layers| prepared(layers, "Lambda", json!({})));
    complain(&|layers| prepared(layers, "Equalization", json!({})));
    complain(&|layers| {
        let conv = first(layers, "Conv2D");
        layers[conv]["config"]["activation"] = "gelu".into();
    });
    complain(&|layers| {
        let conv = first(layers, "Conv2D");
        layers[conv]["config"]["padding"] = "causal".into();
    });
    assert_snapshot!(complaints);
}

/// Keras 2 wrote lists of connections, counted nested networks differently, and called TensorFlow's
/// functions between layers.
#[test]
fn configurations_of_keras_2_are_understood() {
    let (_folder, path) = reconfigured(|layers| {
        for layer in layers.iter_mut() {
            let inputs: Vec<Value> = layer["inbound_nodes"][0]["args"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|argument| argument["config"]["keras_history"].clone())
                .collect();
            if !inputs.is_empty() {
                layer["inbound_nodes"] = json!([inputs]);
            }
        }
        let function = |name: &str, call: Value| {
            let class = if name.contains("getitem") { "SlicingOpLambda" } else { "TFOpLambda" };
            json!({
                "class_name": class, "name": name, "config": {"name": name, "function": name},
                "inbound_nodes": [call],
            })
        };
        let inner = json!({
            "class_name": "Sequential", "name": "augmentation", "inbound_nodes": [[["input_layer", 0, 0, {}]]],
            "config": {"name": "augmentation", "layers": [
                {"class_name": "RandomFlip", "config": {"name": "flip"}},
            ]},
        });
        let turned = json!(["augmentation", 1, 0, {"slice_spec": [
            {"class_name": "__ellipsis__"}, {"start": null, "stop": null, "step": -1},
        ]}]);
        let means = json!([-103.939, -116.779, -123.68]);
        let conv = first(layers, "Conv2D");
        layers[conv]["inbound_nodes"] = json!([[["nn.bias_add", 0, 0, {}]]]);
        let bias = json!(["__operators__.getitem", 0, 0, {"bias": means, "data_format": "NHWC"}]);
        // The layers are not in the order of computation.
        layers.push(function("nn.bias_add", bias));
        layers.push(function("__operators__.getitem", turned));
        layers.push(inner);
    });
    let (preprocess, difference) = imported(&path).unwrap();
    assert!(difference < 1e-4, "{difference}");
    let Preprocess { mean, std, color, .. } = Preprocess::CAFFE;
    assert_eq!((preprocess.mean, preprocess.std, preprocess.color), (mean, std, color));
}
