//! The network in a checkpoint is found with any prefix, beside any other tensors and with any name
//! of its classifier; other networks are not taken for one of the zoo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use burn_zoo::{Backend, Model};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;
use zoo_core::layers::Activation;
use zoo_core::{HiddenLayer, initialize_parameters};
use zoo_import::{Checkpoint, Choice, StateDict, Unrecognized};
use zoo_import::{ImportOptions, Imported, import};
use zoo_import::{candidate, identify};
use zoo_models::{Network, variant};
use zoo_record::{Precision, Record};
use zoo_tests::local;

/// Shapes and bytes of tensors in single precision.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn device() -> Device {
    Backend::Cpu.device().unwrap()
}

/// The smallest network with BatchNorm, residual connections and a classifier.
const NAME: &str = "resnet8_cifar";
const CLASSES: usize = 4;
/// Number of inputs of its classifier.
const FEATURES: usize = 64;

fn network(hidden: &[HiddenLayer], seed: u64) -> Network {
    let device = device();
    device.seed(seed);
    let config = variant(NAME).unwrap().config.with_num_classes(CLASSES);
    let network = config.init_with_hidden(hidden, &device);
    initialize_parameters(&network);
    network
}

/// Returns PyTorch's tensors for a network.
fn tensors(network: &Network, hidden: &[HiddenLayer]) -> Tensors {
    let variant = variant(NAME).unwrap();
    let state = StateDict::of(network, &variant.layouts[0], &Default::default(), Precision::Single);
    let state = state.with_hidden(hidden, &(candidate(&variant).classifier)());
    let is_float = |tensor: &&zoo_import::Tensor| !tensor.name.ends_with("num_batches_tracked");
    let tensors = state.tensors().iter().filter(is_float);
    tensors
        .map(|it| (it.name.clone(), (it.shape.to_vec(), it.to_bytes().unwrap().to_vec())))
        .collect()
}

fn zeros(shape: &[usize]) -> (Vec<usize>, Vec<u8>) {
    (shape.to_vec(), vec![0; 4 * shape.iter().product::<usize>()])
}

/// A checkpoint in a temporary folder.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn write(name: &str, tensors: &Tensors) -> File {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    write_to(&path, tensors);
    File { _folder: folder, path }
}

fn write_to(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(key, (shape, bytes))| {
        (key, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn load(path: &Path, choice: &Choice) -> anyhow::Result<Imported> {
    let options = ImportOptions { choice: choice.clone(), ..ImportOptions::default() };
    Ok(import(&Checkpoint::open(path)?, &options, &device())?)
}

fn logits(network: &Network) -> Vec<f32> {
    let device = device();
    let pixels = (0..2 * 3 * 32 * 32).map(|index| (index as f32 * 0.37).sin()).collect::<Vec<_>>();
    let images = Tensor::<1>::from_floats(&pixels[..], &device).reshape([2, 3, 32, 32]);
    network.forward(images).into_data().iter().collect()
}

/// Asserts that a model and a network compute the same.
#[track_caller]
fn assert_same(ours: &Network, network: &Network, case: &str) {
    let (ours, theirs) = (logits(ours), logits(network));
    assert_eq!(ours.len(), theirs.len(), "{case}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() <= 1e-4 * theirs.abs().max(1.0), "{case}: {ours} {theirs}");
    }
}

fn renamed(tensors: &Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    tensors.iter().map(|(key, tensor)| (rename(key), tensor.clone())).collect()
}

#[test]
fn a_network_is_found_under_any_prefix_and_beside_anything() {
    let network = network(&[], 1);
    let plain = tensors(&network, &[]);
    for prefix in ["encoder.", "cnn.", "model.resnet.", "weights.", "state_dict.model.net.", "0."] {
        let mut wrapped = renamed(&plain, |key| format!("{prefix}{key}"));
        for (key, shape) in [
            ("criterion.pos_weight", &[4][..]),
            ("n_averaged", &[1]),
            ("optimizer.state.0.exp_avg", &[16, 3, 3, 3]),
            ("decoder.blocks.0.weight", &[8, 16, 3, 3]),
            ("queue", &[128, 64]),
        ] {
            wrapped.insert(key.to_owned(), zeros(shape));
        }
        let file = write("x.safetensors", &wrapped);
        let identified = identify(&Checkpoint::open(&file.path).unwrap(), &Choice::default());
        let recognition = identified.unwrap().recognition;
        let notes = recognition.notes.join("\n");
        for module in ["criterion", "n_averaged", "decoder", "optimizer", "queue"] {
            assert!(notes.contains(module), "{prefix}: {notes}");
        }
        let model = load(&file.path, &Choice::default()).unwrap();
        assert!(model.card.has_classifier && model.card.num_classes == CLASSES);
        assert_same(&model.network, &network, prefix);
    }
}

#[test]
fn wrappers_within_a_network_are_removed() {
    let network = network(&[], 2);
    for wrap in [
        |key: &str| key.replacen('.', ".module.", 1),
        |key: &str| format!("_orig_mod.{}", key.replace("layer2.", "layer2._fsdp_wrapped_module.")),
    ] {
        let file = write("x.safetensors", &renamed(&tensors(&network, &[]), wrap));
        assert_same(&load(&file.path, &Choice::default()).unwrap().network, &network, "wrapped");
    }
}

#[test]
fn modules_that_have_numbers_are_found_by_their_order() {
    let network = network(&[], 3);
    let number = |key: &str| {
        let numbers = [
            ("conv1", "0"),
            ("bn1", "1"),
            ("layer1", "4"),
            ("layer2", "5"),
            ("layer3", "10"),
            ("linear", "12"),
        ];
        let (module, number) = numbers.iter().find(|(module, _)| key.starts_with(module)).unwrap();
        format!("{number}{}", &key[module.len()..])
    };
    let whole = renamed(&tensors(&network, &[]), number);
    for prefix in ["", "backbone.", "0."] {
        let wrapped = renamed(&whole, |key| format!("{prefix}{key}"));
        let file = write("x.safetensors", &wrapped);
        assert_same(&load(&file.path, &Choice::default()).unwrap().network, &network, prefix);
        let mut backbone = wrapped;
        backbone.retain(|key, _| !key.starts_with(&format!("{prefix}12.")));
        let file = write("x.safetensors", &backbone);
        assert!(!load(&file.path, &Choice::default()).unwrap().card.has_classifier, "{prefix}");
    }
}

#[test]
fn a_linear_classifier_is_found_under_any_name() {
    let network = network(&[], 4);
    let plain = tensors(&network, &[]);
    for name in ["linear.1", "linear.0.2", "fc", "classifier.3", "head.fc"] {
        let file = write("x.safetensors", &renamed(&plain, |key| key.replace("linear", name)));
        assert_same(&load(&file.path, &Choice::default()).unwrap().network, &network, name);
    }
    // Beside the backbone.
    let beside = renamed(&plain, |key| match key.strip_prefix("linear") {
        Some(rest) => format!("model.classifier{rest}"),
        None => format!("model.encoder.{key}"),
    });
    let file = write("x.safetensors", &beside);
    assert_same(&load(&file.path, &Choice::default()).unwrap().network, &network, "beside");
    // Two classifiers belong to two tasks.
    let mut two = renamed(&plain, |key| key.replace("linear", "color"));
    two.insert("shape.weight".to_owned(), zeros(&[2, FEATURES]));
    let model = load(&write("x.safetensors", &two).path, &Choice::default()).unwrap();
    assert!(!model.card.has_classifier);
}

const HIDDEN: [HiddenLayer; 2] = [
    HiddenLayer { width: 16, activation: Activation::Relu },
    HiddenLayer { width: 8, activation: Activation::Relu },
];

#[test]
fn a_classifier_of_several_layers_is_loaded_kept_and_exported() {
    let network = network(&HIDDEN, 5);
    let exported = tensors(&network, &HIDDEN);
    for key in ["linear.0.weight", "linear.2.weight", "linear.4.bias"] {
        assert!(exported.contains_key(key), "{:?}", exported.keys());
    }
    let file = write("x.safetensors", &exported);
    let model = load(&file.path, &Choice::default()).unwrap();
    assert_eq!((&model.card.hidden[..], model.card.num_classes), (&HIDDEN[..], CLASSES));
    assert_same(&model.network, &network, "imported");

    // Other activations can be chosen.
    let choice = Choice { activation: Some(Activation::Tanh), ..Choice::default() };
    let other = load(&file.path, &choice).unwrap();
    assert!(other.card.hidden.iter().all(|layer| layer.activation == Activation::Tanh));

    let record = file.path.with_extension("bpk");
    Record::save(model.network, &model.card, Precision::Single, &record).unwrap();
    let kept = Model::open(&record, &device()).unwrap();
    assert_same(kept.network(), &network, "kept");

    // A new classifier has one layer.
    let Network::Classifier(mut classifier) = kept.network().clone() else {
        panic!("it classifies images")
    };
    zoo_core::ImageClassifier::reset_classifier(&mut classifier, 3, &device());
    assert!(zoo_core::parameters(&classifier).iter().all(|one| !one.path.starts_with("tail")));
}

#[test]
fn layers_after_the_classifiers_own_key_are_loaded() {
    let network = network(&HIDDEN[..1], 14);
    let exported = tensors(&network, &HIDDEN[..1]);
    // The first layer has the key that a single one would have.
    for [first, second] in [
        ["linear", "fc2"],
        ["linear", "linear.2"],
        ["model.linear", "head"],
        ["model.linear", "model.z"],
    ] {
        let prefix = if first == "linear" { "" } else { "model." };
        let renamed = renamed(&exported, |key| match key.split_once('.') {
            Some(("linear", rest)) => match rest.split_once('.') {
                Some(("0", part)) => format!("{first}.{part}"),
                Some((_, part)) => format!("{second}.{part}"),
                None => unreachable!("the layers are numbered"),
            },
            _ => format!("{prefix}{key}"),
        });
        let file = write("x.safetensors", &renamed);
        let model = load(&file.path, &Choice::default()).unwrap();
        assert_eq!(model.card.num_classes, CLASSES, "{second}");
        assert_same(&model.network, &network, second);
    }
}

#[test]
fn the_backbone_can_be_loaded_without_the_classifier() {
    let network = network(&HIDDEN, 6);
    let choice = Choice { backbone: true, ..Choice::default() };
    let mut odd = tensors(&network, &HIDDEN);
    // A layer that does not belong to a multi-layer perceptron.
    odd.insert("linear.3.weight".to_owned(), zeros(&[7]));
    for tensors in [tensors(&network, &HIDDEN), odd] {
        let file = write("x.safetensors", &tensors);
        assert!(!load(&file.path, &choice).unwrap().card.has_classifier);
    }
}

#[test]
fn averaged_weights_are_loaded_on_request() {
    let (trained, averaged) = (network(&[], 7), network(&[], 8));
    let mut both = renamed(&tensors(&trained, &[]), |key| format!("state_dict.{key}"));
    both.extend(renamed(&tensors(&averaged, &[]), |key| format!("state_dict_ema.{key}")));
    let file = write("x.safetensors", &both);
    assert_same(&load(&file.path, &Choice::default()).unwrap().network, &trained, "trained");
    let found = identify(&Checkpoint::open(&file.path).unwrap(), &Choice::default()).unwrap();
    assert!(found.recognition.notes.iter().any(|note| note.contains("`averaged`")));
    let choice = Choice { averaged: true, ..Choice::default() };
    assert_same(&load(&file.path, &choice).unwrap().network, &averaged, "averaged");

    let file = write("x.safetensors", &tensors(&trained, &[]));
    let error = load(&file.path, &choice).err().unwrap();
    assert!(format!("{error:#}").contains("no averaged weights"));
}

#[test]
fn of_several_networks_one_is_chosen() {
    let (one, other) = (network(&[], 9), network(&[], 10));
    let pair = |names: [&str; 2]| {
        let mut both = renamed(&tensors(&one, &[]), |key| format!("{}.{key}", names[0]));
        both.extend(renamed(&tensors(&other, &[]), |key| format!("{}.{key}", names[1])));
        write("x.safetensors", &both)
    };
    // A copy that training needs is not offered.
    assert_same(
        &load(&pair(["encoder_q", "encoder_k"]).path, &Choice::default()).unwrap().network,
        &one,
        "q",
    );
    let file = pair(["left", "right"]);
    let error = format!("{:#}", load(&file.path, &Choice::default()).err().unwrap());
    assert!(
        error.contains("left") && error.contains("right") && error.contains("`prefix`"),
        "{error}"
    );
    let choice = |prefix: &str| Choice { prefix: Some(prefix.to_owned()), ..Choice::default() };
    assert_same(&load(&file.path, &choice("right")).unwrap().network, &other, "right");
    assert_same(&load(&file.path, &choice("left.")).unwrap().network, &one, "left");
    let error = format!("{:#}", load(&file.path, &choice("middle")).err().unwrap());
    assert!(error.contains("middle") && error.contains("left"), "{error}");
}

#[test]
fn a_network_with_more_in_it_is_another_one() {
    let plain = tensors(&network(&[], 11), &[]);
    for (key, shape) in [
        // An additional block, an additional layer of a block, a convolution that the network does
        // not have.
        ("layer3.1.conv1.weight", &[64, 64, 3, 3][..]),
        ("layer1.0.se.fc.weight", &[4, 16]),
        ("deconv.weight", &[64, 32, 4, 4]),
    ] {
        let mut more = plain.clone();
        more.insert(key.to_owned(), zeros(shape));
        let file = write("x.safetensors", &more);
        let error = load(&file.path, &Choice::default()).err().unwrap();
        let Some(zoo_import::Error::Unrecognized { reason, .. }) = error.downcast_ref() else {
            panic!("{key}: {error}");
        };
        assert!(
            matches!(**reason, zoo_import::Unidentified::Keys(Unrecognized::Unknown(_))),
            "{key}: {error}"
        );
    }
}

#[test]
fn the_configuration_beside_a_file_names_its_network() {
    let network = network(&[], 12);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    write_to(&path, &tensors(&network, &[]));
    let config = |text: &str| std::fs::write(folder.path().join("config.json"), text).unwrap();
    config(
        r#"{"architecture": "resnet8_cifar", "label_names": ["a", "b", "c", "d"], "pretrained_cfg":
            {"input_size": [3, 48, 48], "crop_pct": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}}"#,
    );
    let model = load(&path, &Choice::default()).unwrap();
    assert_eq!(model.card.labels, ["a", "b", "c", "d"]);
    assert_eq!((model.card.preprocess.crop, model.card.preprocess.mean), (48, [0.0; 3]));
    // Another network has the same keys.
    config(r#"{"architecture": "resnetblur8"}"#);
    let error = format!("{:#}", load(&path, &Choice::default()).err().unwrap());
    assert!(error.contains("resnetblur8") && error.contains("`variant`"), "{error}");
    // Other files are ignored: no JSON, or no facts.
    for text in ["{", "[]", "{\"architecture\": 3}"] {
        config(text);
        assert_same(&load(&path, &Choice::default()).unwrap().network, &network, text);
    }
}

#[test]
fn the_only_checkpoint_of_a_folder_or_an_archive_is_read() {
    let network = network(&[], 13);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("net.safetensors");
    write_to(&path, &tensors(&network, &[]));
    std::fs::write(folder.path().join("README.md"), "read me").unwrap();
    assert_same(&load(folder.path(), &Choice::default()).unwrap().network, &network, "folder");

    let outside = TempDir::new().unwrap();
    let tape = outside.path().join("net.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&tape).unwrap());
    archive.append_dir_all("run", folder.path()).unwrap();
    archive.finish().unwrap();
    assert_same(&load(&tape, &Choice::default()).unwrap().network, &network, "tape");

    let packed = outside.path().join("net.zip");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&packed).unwrap());
    archive.start_file("run/net.safetensors", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::copy(&mut std::fs::File::open(&path).unwrap(), &mut archive).unwrap();
    archive.finish().unwrap();
    let model = load(&packed, &Choice::default()).unwrap();
    assert_same(&model.network, &network, "zip");
    assert_eq!(model.card.origin.file, "net.zip");

    std::fs::copy(&path, folder.path().join("other.pth")).unwrap();
    let error = format!("{:#}", load(folder.path(), &Choice::default()).err().unwrap());
    assert!(error.contains("2 checkpoints") && error.contains("other.pth"), "{error}");
}

#[test]
fn pickles_are_read_whatever_is_beside_the_weights() {
    for file in std::fs::read_dir(local("fixtures/pickles")).unwrap() {
        let path = file.unwrap().path();
        let checkpoint = Checkpoint::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let numbers = |name: &str| {
            let key = checkpoint.tensors.keys().find(|key| key.rsplit('.').next() == Some(name));
            let key = key.unwrap_or_else(|| panic!("{name} in {}", path.display()));
            let bytes = checkpoint.tensors[key].to_bytes().unwrap();
            let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
            bytes.chunks_exact(4).map(number).collect::<Vec<_>>()
        };
        assert_eq!(numbers("w"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{}", path.display());
        assert_eq!(numbers("b"), [7.0], "{}", path.display());
    }
    let names = Checkpoint::open(&local("fixtures/pickles/names.pth")).unwrap().facts;
    assert_eq!(names.names(2).unwrap(), ["cat", "dog"]);
    assert_eq!(names.architecture.as_deref(), Some("resnet18"));
}
