//! Exported models are the same to the bit when they are imported again, for every architecture.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{DType, Device};
use burn_zoo::Backend;
use memchr::memmem;
use zoo_core::KeyLayout;
use zoo_import::agreement;
use zoo_import::capture;
use zoo_import::identify;
use zoo_import::{Checkpoint, Choice, OPSETS, StateDict, Tensor};
use zoo_import::{ImportOptions, import};
use zoo_models::{FAMILIES, Network};
use zoo_record::Precision;
use zoo_tests::fixture::Fixture;
use zoo_tests::smallest;

fn device() -> Device {
    Backend::Cpu.device().unwrap()
}

/// The stored values of tensors.
type Bits = BTreeMap<String, (DType, Vec<usize>, Vec<u8>)>;

fn bits<'t>(tensors: impl IntoIterator<Item = &'t Tensor>) -> Bits {
    let entry = |tensor: &Tensor| {
        let bytes = tensor.to_bytes().unwrap().to_vec();
        (tensor.name.clone(), (tensor.dtype, tensor.shape.to_vec(), bytes))
    };
    tensors.into_iter().map(entry).collect()
}

/// Returns a checkpoint's tensors, named by their keys.
fn bits_of(checkpoint: &Checkpoint) -> Bits {
    let entry = |(key, tensor): (&String, &Tensor)| {
        let (_, value) = bits([tensor]).pop_first().unwrap();
        (key.clone(), value)
    };
    checkpoint.tensors.iter().map(entry).collect()
}

/// Writes both of PyTorch's formats and reads them again.
fn written(state: &StateDict) -> [Bits; 2] {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["state.safetensors", "state.pth"].map(|name| folder.path().join(name));
    state.save_safetensors(&paths[0]).unwrap();
    state.save_pth(&paths[1]).unwrap();
    paths.map(|path| bits_of(&Checkpoint::open(&path).unwrap()))
}

fn export(network: &Network, layout: &KeyLayout, precision: Precision) -> StateDict {
    StateDict::of(network, layout, &BTreeSet::new(), precision)
}

#[test]
fn export_and_import_change_no_bit() {
    let mut seen = BTreeSet::new();
    for path in Fixture::paths() {
        let fixture = Fixture::read(&path);
        let variant = zoo_models::variant(&fixture.variant).unwrap();
        if !seen.insert(variant.config.family().name) {
            continue;
        }
        let [_, channels, ..] = fixture.input_shape;
        let config = variant.config.with_num_classes(fixture.num_classes);
        let network = config.with_in_channels(channels).init(&device());
        let network = fixture.load(network, variant.layouts, &device()).unwrap();
        let mut expected = bits_of(&fixture.checkpoint());
        let layout = variant.layouts.iter().max_by_key(|layout| {
            let keys = layout.keys(&zoo_core::parameters(&network));
            keys.iter().flatten().filter(|key| expected.contains_key(*key)).count()
        });
        let norms: Vec<String> = expected
            .keys()
            .filter_map(|key| key.strip_suffix("running_var").map(str::to_owned))
            .collect();
        for norm in norms {
            let zero = (DType::I64, vec![], vec![0; 8]);
            expected.insert(format!("{norm}num_batches_tracked"), zero);
        }
        for found in written(&export(&network, layout.unwrap(), Precision::Single)) {
            assert!(found == expected, "{}", fixture.variant);
        }
    }
    assert_eq!(seen.len(), FAMILIES.len(), "a family has no fixture: {seen:?}");
}

#[test]
fn half_precision_spares_batch_norm() {
    let variant = zoo_models::variant("resnet20_cifar").unwrap();
    let state = export(&variant.config.init(&device()), &variant.layouts[0], Precision::Half);
    for found in written(&state) {
        assert_eq!(found, bits(state.tensors()));
        assert_eq!(found["conv1.weight"].0, DType::F16);
        assert_eq!(found["linear.weight"].0, DType::F16);
        assert_eq!(found["bn1.weight"].0, DType::F32);
        assert_eq!(found["bn1.running_var"].0, DType::F32);
    }
}

#[test]
fn every_architecture_has_an_onnx_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for variant in smallest() {
        let config = &variant.config;
        let network = config.init(&device());
        let state = export(&network, &variant.layouts[0], Precision::Single);
        // For other image sizes, a matrix averages the features to the map that these two classify.
        let has_map = ["alexnet", "vgg"].contains(&config.family().name);
        let small = if has_map { 224 } else { network.min_size().max(64) };
        let size = variant.size.min(small);
        let captured =
            |images| capture(config, &[], [images, config.in_channels(), size, size]).unwrap().1;
        let (two, three) = (captured(2), captured(3));
        state
            .save_onnx([&two, &three], *OPSETS.end(), &path)
            .unwrap_or_else(|error| panic!("{}: {error}", variant.name));
        let model = std::fs::read(&path).unwrap();
        for name in ["images", "logits", "batch", &state.tensors()[0].name] {
            assert!(memmem::find(&model, name.as_bytes()).is_some(), "{}: {name}", variant.name);
        }
        // The import finds all weights.
        let checkpoint = Checkpoint::open(&path).unwrap();
        let found = identify(&checkpoint, &Choice::default());
        let found = found.unwrap_or_else(|error| panic!("{}: {error:#}", variant.name)).recognition;
        assert!(!found.is_headless, "{} came back without a classifier", variant.name);
        assert_eq!(found.name, variant.name);
        // The graph computes the same as the network, for images of the same size.
        let graph = checkpoint.graph.as_ref().unwrap();
        assert_eq!(graph.side(config.in_channels()), u32::try_from(size).ok());
        let found = agreement(graph, &network, config.in_channels(), size);
        let found = found.unwrap_or_else(|error| panic!("{}: {error:#}", variant.name));
        assert!(found.is_close(), "{}: {found:?}", variant.name);
    }
}

#[test]
fn the_size_of_a_graph_goes_to_the_card() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let variant = zoo_models::variant("squeezenet1_1").unwrap();
    let state = export(&variant.config.init(&device()), &variant.layouts[0], Precision::Single);
    // The usual margin, and none for thumbnails. The variant's own size keeps its preprocessing.
    for (size, resize) in [(96, 109), (48, 48), (224, 256)] {
        let captured = |images| capture(&variant.config, &[], [images, 3, size, size]).unwrap().1;
        state.save_onnx([&captured(2), &captured(3)], *OPSETS.end(), &path).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let model = import(&checkpoint, &ImportOptions::default(), &device()).unwrap();
        let preprocess = model.card.preprocess;
        assert_eq!((preprocess.resize, preprocess.crop as usize), (resize, size));
    }
}
