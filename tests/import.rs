//! Checkpoints in all formats and with all wrappers, and the errors of those that don't fit.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{DType, Device};
use burn_zoo::Backend;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use zoo_core::{ImageClassifier, KeyLayout, LayerKind, Variant};
use zoo_import::{
    Candidate, Checkpoint, Choice, Error, Report, Tensor, Unrecognized, candidate, fit, recognize,
};
use zoo_models::{Config, Network, VARIANTS, variant};
use zoo_record::{Precision, Record};
use zoo_tests::fixture::Fixture;
use zoo_tests::local;

fn device() -> Device {
    Backend::Cpu.device().unwrap()
}

fn lenet5() -> Fixture {
    Fixture::read(&local("fixtures/parity/lenet5@32.json"))
}

fn load(checkpoint: &Checkpoint, name: &str) -> Result<(Network, Report), Error> {
    let variant = variant(name).unwrap();
    zoo_import::load(variant.config.init(&device()), name, checkpoint, variant.layouts)
}

/// Returns the largest difference of the logits from the reference's.
fn error(model: &Network, fixture: &Fixture) -> f32 {
    let logits: Vec<f32> = model.forward(fixture.images(&device())).into_data().iter().collect();
    let differences = logits.iter().zip(&fixture.logits).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

#[test]
fn pytorch_files_of_all_versions_are_read() {
    let fixture = lenet5();
    for (file, digits) in [
        ("lenet5.zip.pth", 24),
        ("lenet5.tar.pth", 24),
        ("lenet5.nested_float16.pth", 11),
        ("lenet5.legacy_bf16.pth", 8),
    ] {
        let path = local("fixtures/checkpoints").join(file);
        let checkpoint = Checkpoint::open(&path).unwrap();
        let (model, report) = load(&checkpoint, "lenet5").unwrap();
        assert!(report.is_clean() && report.loaded == 10, "{file}: {report}");
        // Rounding each weight to this number of binary digits changes a logit by a few times as
        // much.
        let rounding = 10.0 * fixture.output_std * 0.5_f32.powi(digits);
        let tolerance = fixture.tolerance().max(rounding);
        assert!(error(&model, &fixture) <= tolerance, "{file}: {}", error(&model, &fixture));
    }
}

/// Writes tensors as safetensors.
fn write(path: &Path, tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>) {
    let views = tensors.iter().map(|(key, (shape, bytes))| {
        (key, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn tensors() -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let tensors = lenet5().checkpoint().tensors;
    let entry = |(key, tensor): (String, burn::store::burn_pack::Tensor)| {
        (key, (tensor.shape.to_vec(), tensor.to_bytes().unwrap().to_vec()))
    };
    tensors.into_iter().map(entry).collect()
}

#[test]
fn wrappers_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.name");
    for prefix in ["", "module.", "model.", "state_dict.module.", "net.", "model_state_dict."] {
        let wrapped = tensors().into_iter().map(|(key, tensor)| (format!("{prefix}{key}"), tensor));
        write(&path, &wrapped.collect());
        let checkpoint = Checkpoint::open(&path).unwrap();
        let (model, _) = load(&checkpoint, "lenet5").unwrap();
        assert!(error(&model, &lenet5()) <= lenet5().tolerance(), "{prefix}");
    }
}

#[test]
fn training_state_beside_a_model_is_left_out_and_layers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.name");
    let open = |other: &str| {
        let wrapped = tensors().into_iter().map(|(key, tensor)| (format!("model.{key}"), tensor));
        let mut wrapped: BTreeMap<_, _> = wrapped.collect();
        wrapped.insert(other.to_owned(), (vec![1], vec![0; 4]));
        write(&path, &wrapped);
        load(&Checkpoint::open(&path).unwrap(), "lenet5")
    };
    assert!(open("optimizer.state.0.exp_avg").is_ok() && open("model_ema.weight").is_ok());
    assert!(open("model.head.weight").is_err() && open("model.upsample.weight").is_err());
}

#[test]
fn numbers_that_are_not_finite_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("diverged.safetensors");
    let mut tensors = tensors();
    for (key, number) in [("conv2.bias", f32::NAN), ("fc1.weight", f32::NEG_INFINITY)] {
        tensors.get_mut(key).unwrap().1[8..12].copy_from_slice(&number.to_le_bytes());
    }
    write(&path, &tensors);
    let (_, report) = load(&Checkpoint::open(&path).unwrap(), "lenet5").unwrap();
    assert!(report.is_clean());
    assert_eq!(report.not_finite, ["conv2.bias", "fc1.weight"]);
    let text = report.to_string();
    assert!(text.contains("not finite in conv2.bias and 1 more"), "{text}");
}

/// Returns the report on a checkpoint that does not fit.
fn complaint(tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    write(&path, tensors);
    match load(&Checkpoint::open(&path).unwrap(), "lenet5") {
        Err(Error::Mismatch { report, .. }) => *report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_differences_are_listed() {
    let mut tensors = tensors();
    let renamed = tensors.remove("fc2.weight").unwrap();
    tensors.insert("fc_2.weight".to_owned(), renamed);
    tensors.remove("conv1.bias");
    tensors.insert("extra".to_owned(), (vec![1], vec![0; 4]));
    tensors.get_mut("fc1.bias").unwrap().0 = vec![60, 2];
    let report = complaint(&tensors);
    let missing: Vec<_> = report
        .missing
        .iter()
        .map(|missing| (missing.key.as_str(), missing.nearest.as_deref()))
        .collect();
    assert_eq!(missing, [("conv1.bias", None), ("fc2.weight", Some("fc_2.weight"))]);
    assert_eq!(report.unused, ["extra", "fc_2.weight"]);
    assert_eq!(report.misshapen.len(), 1);
    assert_eq!(report.misshapen[0].expected, [120]);
    assert_eq!(report.misshapen[0].found, [60, 2]);
    let text = report.to_string();
    for part in ["fc2.weight", "nearest: fc_2.weight", "extra", "[60, 2]", "hint:"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn classes_and_channels_are_read_from_the_shapes() {
    for (name, classes, channels) in [
        ("lenet5", 3, 2),
        ("resnet18", 5, 1),
        ("squeezenet1_1", 7, 4),
        ("efficientnet_lite0", 2, 3),
    ] {
        let variant = variant(name).unwrap();
        let build = |classes, channels| {
            let config = variant.config.clone();
            let config = config.with_num_classes(classes).with_in_channels(channels);
            zoo_core::parameters(&config.init(&device()))
        };
        let trained = build(classes, channels);
        let keys = variant.layouts[0].keys(&trained);
        let tensors = trained.into_iter().zip(keys).map(|(slot, key)| {
            let (key, mut shape) = (key.unwrap(), slot.shape.clone());
            if slot.layer == LayerKind::Linear {
                shape.reverse();
            }
            let bytes = vec![0; 4 * shape.iter().product::<usize>()];
            (key, (shape, bytes))
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trained.safetensors");
        write(&path, &tensors.collect());
        let checkpoint = Checkpoint::open(&path).unwrap();
        let usual = (variant.config.num_classes(), variant.config.in_channels());
        assert_eq!(fit(build, usual, &checkpoint, variant.layouts), (classes, channels), "{name}");
    }
}

/// Returns a checkpoint with the keys and shapes of a network, without values.
fn hollow(variant: &Variant<Config>, layout: &KeyLayout, classes: usize) -> Checkpoint {
    let config = variant.config.clone().with_num_classes(classes);
    let parameters = zoo_core::parameters(&config.init(&device()));
    let keys = layout.keys(&parameters);
    let tensors = parameters.into_iter().zip(keys).map(|(slot, key)| {
        let (key, mut shape) = (key.unwrap(), slot.shape);
        if slot.layer == LayerKind::Linear {
            shape.reverse();
        }
        let length = 4 * shape.iter().product::<usize>();
        let values = || unreachable!("recognition asks for no values");
        (key.clone(), Tensor::deferred(key, DType::F32, shape, None, length, values))
    });
    Checkpoint {
        path: format!("{}{}", layout.file_prefix, variant.name).into(),
        tensors: tensors.collect(),
        ..Checkpoint::default()
    }
}

#[test]
fn every_variant_is_recognized_in_every_layout() {
    // Each network is built once for each number of classes, not for each checkpoint.
    let built = RefCell::new(HashMap::new());
    let candidates: Vec<Candidate<'_>> = VARIANTS
        .iter()
        .map(|variant| Candidate {
            name: variant.name,
            family: variant.config.family().name,
            layouts: variant.layouts,
            usual: (variant.config.num_classes(), variant.config.in_channels()),
            build: Box::new(|classes, channels| {
                let mut built = built.borrow_mut();
                let key = (variant.name, classes, channels);
                let parameters = built.entry(key).or_insert_with(|| {
                    let config = variant.config.clone().with_num_classes(classes);
                    zoo_core::parameters(&config.with_in_channels(channels).init(&device()))
                });
                parameters.clone()
            }),
            classifier: Box::new(|| (candidate(variant).classifier)()),
            capture: Box::new(|_, _| None),
        })
        .collect();
    let recognize = |checkpoint: &Checkpoint| {
        recognize(checkpoint, &candidates, &Choice::default()).map(|found| found.recognition)
    };
    for (variant, candidate) in VARIANTS.iter().zip(&candidates) {
        for layout in variant.layouts {
            let mut checkpoint = hollow(variant, layout, 7);
            let found = recognize(&checkpoint).unwrap_or_else(|error| {
                panic!("{} as {} has it: {error}", variant.name, layout.name)
            });
            assert_eq!((found.name.as_str(), found.num_classes), (variant.name, 7));
            assert!(!found.is_headless, "{}", variant.name);

            if !layout.file_prefix.is_empty() {
                let nameless =
                    Checkpoint { path: "checkpoint".into(), ..hollow(variant, layout, 7) };
                match recognize(&nameless) {
                    Ok(found) => assert_ne!(found.name, variant.name),
                    Err(error) => assert!(matches!(error, Unrecognized::Ambiguous(_)), "{error}"),
                }
            }

            let slots = (candidate.build)(7, candidate.usual.1);
            let classifier = (candidate.classifier)();
            for (slot, key) in slots.iter().zip(layout.keys(&slots)) {
                if classifier.contains(&slot.path) {
                    checkpoint.tensors.remove(&key.unwrap());
                }
            }
            let found = recognize(&checkpoint).unwrap_or_else(|error| {
                panic!("{} as {} has it, without a classifier: {error}", variant.name, layout.name)
            });
            assert_eq!((found.name.as_str(), found.is_headless), (variant.name, true));
        }
    }
}

/// The keys come from the authors' checkpoints; the fixtures do not have the code of these authors.
#[test]
fn keys_are_those_of_the_authors() {
    for (name, layout, keys) in [
        ("lenet5_28", "features", &["features.3.bias", "classifier.4.weight"][..]),
        ("lenet5_28", "sequential", &["0.weight", "7.weight", "11.bias"]),
        ("resnet18", "OpenMMLab", &["backbone.layer2.0.downsample.0.weight", "head.fc.bias"]),
        ("resnet50d", "OpenMMLab", &["backbone.stem.6.weight", "backbone.stem.7.running_var"]),
        ("resnet50d", "OpenMMLab", &["backbone.layer1.0.downsample.1.weight"]),
        ("resnet50d", "OpenMMLab", &["backbone.layer2.0.downsample.2.weight"]),
        ("resnet18_cifar_stem", "kuangliu", &["layer2.0.shortcut.1.running_mean", "linear.bias"]),
        ("resnet50_cifar_stem", "weiaicunzai", &["conv2_x.0.residual_function.7.weight"]),
        ("resnet50_cifar_stem", "weiaicunzai", &["conv1.0.weight", "conv3_x.0.shortcut.0.weight"]),
        ("resnet20_cifar_b", "pytorchcv", &["features.stage2.unit1.identity_conv.bn.weight"]),
        ("vgg13_bn", "OpenMMLab", &["features.4.bn.running_mean", "features.13.conv.weight"]),
        ("vgg16", "OpenMMLab", &["features.8.conv.bias", "features.16.conv.weight"]),
        ("vgg11_bn_cifar", "chengyangfu", &["classifier.1.weight", "classifier.6.bias"]),
        ("vgg11_bn_cifar_linear", "kuangliu", &["features.26.running_var", "classifier.weight"]),
        ("mobilenet_v2", "tonylins", &["features.1.conv.3.weight", "features.17.conv.7.bias"]),
        ("mobilenet_v2", "d-li14", &["features.2.conv.6.weight", "conv.1.weight"]),
        ("mobilenet_v2", "OpenMMLab", &["backbone.layer1.0.conv.1.bn.weight"]),
        ("mobilenet_v2", "OpenMMLab", &["backbone.layer7.0.conv.2.conv.weight"]),
        ("mobilenet_v3_large", "OpenMMLab", &["backbone.layer16.bn.bias", "head.layers.1.fc.bias"]),
        ("mobilenet_v3_small", "OpenMMLab", &["backbone.layer1.se.conv2.conv.bias"]),
        ("shufflenet_v2_x1_0", "OpenMMLab", &["backbone.layers.0.0.branch1.1.conv.weight"]),
        ("shufflenet_v2_x1_0", "OpenMMLab", &["backbone.layers.3.bn.weight"]),
        ("densenet121", "OpenMMLab", &["backbone.stages.0.block.5.norm2.weight"]),
        ("densenet121", "OpenMMLab", &["backbone.transitions.3.0.running_mean"]),
        ("mobilenet_v1_cifar", "kuangliu", &["layers.0.conv1.weight", "layers.12.bn2.bias"]),
    ] {
        let variant = variant(name).unwrap();
        let parameters = zoo_core::parameters(&variant.config.init(&device()));
        let spelled: Vec<String> = variant
            .layouts
            .iter()
            .filter(|found| found.name == layout)
            .flat_map(|layout| layout.keys(&parameters).into_iter().flatten())
            .collect();
        for key in keys {
            assert!(spelled.iter().any(|spelled| spelled == key), "{name}, {layout}: {key}");
        }
    }
}

#[test]
fn a_record_in_half_precision_is_half_as_large() {
    let variant = variant("squeezenet1_1").unwrap();
    let model = variant.config.init(&device());
    let record = Record::from_bytes("embedded", zoo_assets::EFFICIENTNET_LITE0).unwrap();
    let card = record.card;
    let folder = tempfile::tempdir().unwrap();
    let size = |precision| {
        let path = folder.path().join("record.bpk");
        Record::save(model.clone(), &card, precision, &path).unwrap();
        std::fs::metadata(path).unwrap().len() as f64
    };
    let ratio = size(Precision::Half) / size(Precision::Single);
    assert!((0.5..0.52).contains(&ratio), "{ratio}");
}

#[test]
fn burn_loads_a_record() {
    use burn::module::Module;
    use burn::store::ModuleRecord;
    use burn::tensor::Bytes;

    // Burn loads the record with only one architecture's crate.
    let bytes = Bytes::from_bytes_vec(zoo_assets::EFFICIENTNET_LITE0.to_vec());
    let record = ModuleRecord::from_bytes(bytes).unwrap().cast_to_module_dtype();
    let Some(zoo_models::Config::EfficientNet(config)) =
        variant("efficientnet_lite0").ok().map(|variant| variant.config)
    else {
        panic!("efficientnet_lite0 is an EfficientNet");
    };
    let model = config.init(&device()).load_record(record);
    let logits = model.forward(burn::tensor::Tensor::zeros([1, 3, 224, 224], &device()));
    assert_eq!(logits.dims(), [1, 1000]);
}

#[test]
fn damaged_records_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.bpk");
    let whole = zoo_assets::EFFICIENTNET_LITE0;
    // The file is truncated, or the card is invalid.
    for length in [1, 9, 200, 5000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Record::open(&path).unwrap_err();
        assert!(matches!(error, zoo_record::Error::Damaged { .. }), "{length}: {error}");
    }
    let spoiled = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        let mut bytes = whole.to_vec();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        Record::open(&path).unwrap_err().to_string()
    };
    assert!(
        spoiled("\"num_classes\":1000", "\"num_classes\":1001").contains("name for each class")
    );
    assert!(spoiled("\"crop\":224", "\"crop\":000").contains("can't be read"));
    assert!(spoiled("\"variant\"", "\"varient\"").contains("can't be read"));
}
