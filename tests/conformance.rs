//! Tests of every architecture in the registry.

use std::collections::BTreeSet;

use burn::backend::ir::OperationIr;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Gradients, Tensor};
use burn_zoo::Backend;
use burn_zoo::summary;
use zoo_core::layers::{Activation, ClassifierHeadConfig, HeadOrder, relu};
use zoo_core::{
    Head, HiddenLayer, ImageClassifier, ImageSegmenter, Variant, fill_with_noise, parameters,
};
use zoo_engine::Plan;
use zoo_models::{Classifier, Config, Logits, Network, VARIANTS, variant};
use zoo_record::{ModelCard, Origin, Precision, Record};
use zoo_tests::smallest;

/// The smallest variant of each architecture that classifies images, with its network.
fn classifiers(device: &Device) -> impl Iterator<Item = (&'static Variant<Config>, Classifier)> {
    smallest().filter_map(|variant| {
        let classifier = variant.config.init(device).into_classifier().ok()?;
        Some((variant, classifier))
    })
}

/// Returns a size that is quick to compute.
fn small_size(variant: &Variant<Config>, min_size: usize) -> usize {
    variant.size.min(64).max(min_size)
}

fn images(config: &Config, size: usize, device: &Device) -> Tensor<4> {
    let shape = [2, config.in_channels(), size, size];
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn sizes_are_as_stated() {
    for variant in VARIANTS.iter() {
        let summary = summary(&variant.config, variant.size).expect(variant.name);
        if let Some(params) = variant.params {
            assert_eq!(summary.params, params, "parameters of {}", variant.name);
        }
        if let Some(gmacs) = variant.gmacs {
            let computed = summary.macs as f64 / 1e9;
            assert!(
                (computed - gmacs).abs() < 6e-4,
                "{}: {computed:.4} GMACs, {gmacs} are stated",
                variant.name
            );
        }
    }
}

#[test]
fn any_classes_channels_and_sizes() {
    let device = Backend::Cpu.device().unwrap();
    for variant in VARIANTS.iter() {
        let min_size = variant.config.init(&device).min_size();
        for (classes, channels, size) in [(7, 1, 64), (2, 5, 75), (1000, 3, 96), (3, 4, min_size)] {
            let config =
                variant.config.clone().with_num_classes(classes).with_in_channels(channels);
            let size = size.max(min_size);
            let summary = summary(&config, size)
                .unwrap_or_else(|error| panic!("{} at {size}: {error}", variant.name));
            let classifier = summary.modules.last().expect("a network has parts");
            let &[1, found, ..] = classifier.output.as_slice() else {
                panic!("{}: the classifier's output is {:?}", variant.name, classifier.output);
            };
            assert_eq!(found, classes, "classes of {}", variant.name);
        }
    }
}

#[test]
fn images_that_are_too_small_are_refused_with_the_smallest_size() {
    let device = Backend::Cpu.device().unwrap();
    for variant in VARIANTS.iter() {
        let min_size = variant.config.init(&device).min_size();
        if min_size > 1 {
            let error = summary(&variant.config, min_size - 1).expect_err(variant.name);
            let expected = format!("{min_size}x{min_size} and larger");
            assert!(format!("{error:#}").contains(&expected), "{}: {error:#}", variant.name);
        }
    }
}

#[test]
fn the_smallest_size_works() {
    let device = Backend::Cpu.device().unwrap();
    for variant in smallest() {
        let model = variant.config.init(&device);
        let images = images(&variant.config, model.min_size(), &device);
        let logits = model.forward(images).into_data();
        assert!(logits.iter::<f32>().all(f32::is_finite), "{}", variant.name);
    }
}

/// The reference is `min_size` of torchvision's weights.
#[test]
fn the_smallest_sizes_are_the_references() {
    let device = Backend::Cpu.device().unwrap();
    for (name, min_size) in [
        ("alexnet", 63),
        ("vgg11", 32),
        ("googlenet", 15),
        ("squeezenet1_0", 21),
        ("squeezenet1_1", 17),
        ("inception_v3", 75),
        ("densenet121", 29),
        ("resnet50", 1),
    ] {
        let model = variant(name).unwrap().config.init(&device);
        assert_eq!(model.min_size(), min_size, "{name}");
    }
}

#[test]
fn features_then_head_is_forward() {
    let device = Backend::Cpu.device().unwrap();
    for (variant, model) in classifiers(&device) {
        let size = small_size(variant, model.min_size());
        let images = images(&variant.config, size, &device);
        let features = model.forward_features(images.clone());
        let [batch, channels, ..] = features.dims();
        assert_eq!((batch, channels), (2, model.num_features()), "{}", variant.name);
        assert_eq!(
            values(model.forward_head(features)),
            values(model.forward(images)),
            "{}",
            variant.name
        );
    }
}

/// Returns the shapes of some maps of a network's pyramid, and the number of operations that
/// compute them.
fn record_pyramid(config: &Config, size: usize, levels: &[usize]) -> (Vec<[usize; 4]>, usize) {
    let device = Device::capture();
    let mut shapes = Vec::new();
    let recorded = device.capture_scope(|scope| {
        let network = config.init(&device);
        let images = Tensor::zeros([1, config.in_channels(), size, size], &device);
        let maps = network.forward_pyramid(images, levels);
        shapes = maps.iter().map(|map| map.dims()).collect();
        scope.complete([], [])
    });
    let operations = recorded.expect("the network is recorded").graph.operations;
    let is_computed = |operation: &&OperationIr| !matches!(operation, OperationIr::Init(_));
    (shapes, operations.iter().filter(is_computed).count())
}

#[test]
fn pyramids_are_as_stated() {
    let device = Backend::Cpu.device().unwrap();
    for variant in VARIANTS.iter() {
        let Network::Classifier(network) = variant.config.init(&device) else { continue };
        let pyramid = network.pyramid();
        assert!(pyramid.is_sorted_by(|a, b| a.stride < b.stride), "{}", variant.name);
        let all: Vec<usize> = (0..pyramid.len()).collect();
        // Layers without padding crop the border, but not more of larger images.
        let size = network.min_size().next_multiple_of(32).max(64);
        let [small, large] =
            [size, size + 64].map(|size| record_pyramid(&variant.config, size, &all).0);
        assert_eq!(small.len(), pyramid.len(), "{}", variant.name);
        for ((level, small), large) in pyramid.iter().zip(small).zip(large) {
            let strides = [2, 3].map(|axis| 64 / (large[axis] - small[axis]));
            assert_eq!(strides, [level.stride; 2], "{} in {}", level.name, variant.name);
            assert_eq!(large[1], level.channels, "{} in {}", level.name, variant.name);
        }
    }
}

#[test]
fn layers_after_the_last_requested_map_are_not_computed() {
    let device = Backend::Cpu.device().unwrap();
    for (variant, network) in classifiers(&device) {
        let size = network.min_size().max(64);
        let levels = (0..network.pyramid().len()).map(|level| vec![level]);
        let counts: Vec<usize> = std::iter::once(Vec::new())
            .chain(levels)
            .map(|levels| record_pyramid(&variant.config, size, &levels).1)
            .collect();
        assert!(counts.is_sorted_by(|a, b| a < b), "{}: {counts:?}", variant.name);
    }
}

/// The architectures whose last map has an activation that their features do not have.
const WITHOUT_ACTIVATION: [&str; 3] = ["densenet", "wide_resnet", "nasnet"];
/// The architectures that have another convolution, or more blocks, after their last map.
const AFTER_THE_LAST_MAP: [&str; 4] = ["mobilenet_v2", "mnasnet", "efficientnet", "ghostnet"];

#[test]
fn the_last_map_is_the_features() {
    let device = Backend::Cpu.device().unwrap();
    for (variant, model) in classifiers(&device) {
        let family = variant.config.family().name;
        let levels = model.pyramid().len();
        let size = small_size(variant, model.min_size());
        let images = images(&variant.config, size, &device);
        let last = model.forward_pyramid(images.clone(), &[levels - 1]).remove(0);
        let features = model.forward_features(images);
        if AFTER_THE_LAST_MAP.contains(&family) {
            assert_ne!(last.dims()[1], features.dims()[1], "{family}");
            continue;
        }
        let features = match WITHOUT_ACTIVATION.contains(&family) {
            true => relu(features),
            false => features,
        };
        assert_eq!(last.into_data(), features.into_data(), "{family}");
    }
}

#[test]
fn the_engine_computes_the_same_maps() {
    let device = Backend::Cpu.device().unwrap();
    for (variant, model) in classifiers(&device) {
        let levels: Vec<usize> = (0..model.pyramid().len()).collect();
        let images = images(&variant.config, small_size(variant, model.min_size()), &device);
        let shape = images.dims();
        let plan = Plan::compile(&model, shape, 2, |model, x| model.forward_pyramid(x, &levels));
        let found = plan.unwrap().run_tensor(images.clone()).unwrap();
        for (found, expected) in found.into_iter().zip(model.forward_pyramid(images, &levels)) {
            let size = expected.clone().abs().max().into_scalar::<f32>();
            let found = Tensor::<4>::from_data(found, &device);
            let difference = (found - expected).abs().max().into_scalar::<f32>();
            assert!(difference <= 1e-4 * size, "{}: {difference} of {size}", variant.name);
        }
    }
}

#[test]
fn a_reset_classifier_leaves_the_features() {
    let device = Backend::Cpu.device().unwrap();
    for (variant, mut model) in classifiers(&device) {
        let size = small_size(variant, model.min_size());
        let images = images(&variant.config, size, &device);
        let before = model.forward_features(images.clone()).into_data();
        model.reset_classifier(13, &device);
        assert_eq!(model.forward_features(images.clone()).into_data(), before);
        assert_eq!(model.forward(images).dims(), [2, 13], "{}", variant.name);
    }
}

#[test]
fn auxiliary_classifiers_have_the_same_classes() {
    let device = Backend::Cpu.device().unwrap();
    let mut checked = 0;
    for (variant, mut model) in classifiers(&device) {
        let without = parameters(&model).len();
        model.attach_auxiliary(&device);
        if parameters(&model).len() == without {
            continue;
        }
        checked += 1;
        model.reset_classifier(7, &device);
        let images = images(&variant.config, variant.size, &device);
        let output = model.forward_training(images.clone());
        assert!(!output.auxiliary.is_empty(), "{}", variant.name);
        for (weight, logits) in output.auxiliary {
            assert!(weight > 0.0, "{}", variant.name);
            assert_eq!(logits.dims(), [2, 7], "{}", variant.name);
        }
        assert_eq!(values(output.logits), values(model.forward(images)), "{}", variant.name);
    }
    assert!(checked > 0, "no architecture has auxiliary classifiers");
}

/// The architectures whose head has more than a pooling and a linear layer.
const WITHOUT_CLASS_MAPS: [&str; 5] = ["lenet", "alexnet", "vgg", "mobilenet_v3", "ghostnet"];

#[test]
fn class_maps_average_to_the_logits() {
    let device = Backend::Cpu.device().unwrap();
    for (variant, model) in classifiers(&device) {
        // Three times the usual stride, so that there are several positions to average.
        let images = images(&variant.config, 96.max(model.min_size()), &device);
        let features = model.forward_features(images);
        let Some(maps) = model.class_maps(features.clone()) else {
            let family = variant.config.family().name;
            assert!(WITHOUT_CLASS_MAPS.contains(&family), "{family} has no class maps");
            continue;
        };
        let [_, _, height, width] = features.dims();
        assert_eq!(maps.dims()[2..], [height, width], "{}", variant.name);
        let average: Tensor<2> = maps.mean_dims(&[2, 3]).flatten(1, 3);
        let logits = model.forward_head(features);
        let difference = (average - logits.clone()).abs().max() / logits.abs().max();
        let difference = difference.into_data().iter::<f32>().next().unwrap();
        assert!(difference < 1e-4, "{}: {difference}", variant.name);
    }
}

#[test]
fn both_kinds_of_head_agree() {
    let device = Backend::Cpu.device().unwrap();
    let config = ClassifierHeadConfig::new(24, 7);
    let connected = config.init(&device);
    let pointwise = config.with_kind(HeadOrder::ClassifyFirst).init(&device);
    let mut pointwise = pointwise.load_record(connected.clone().into_record());

    let features = Tensor::random([2, 24, 5, 3], Distribution::Normal(0.0, 1.0), &device);
    let expected = values(connected.forward(features.clone()));
    let got = values(pointwise.forward(features.clone()));
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
    assert!(pointwise.set_order(HeadOrder::PoolFirst));
    assert_eq!(values(pointwise.forward(features)), expected);
}

/// Returns the paths of the parameters that a reset replaces.
fn replaced(network: &Network, num_classes: usize, device: &Device) -> BTreeSet<String> {
    let mut reset = network.clone();
    match &mut reset {
        Network::Classifier(network) => network.reset_classifier(num_classes, device),
        Network::Segmenter(network) => network.reset_classifier(num_classes, device),
    }
    let kept: Vec<_> = parameters(&reset).into_iter().map(|parameter| parameter.id).collect();
    let replaced = parameters(network).into_iter().filter(|it| !kept.contains(&it.id));
    replaced.map(|parameter| parameter.path).collect()
}

#[test]
fn a_reset_replaces_the_parameters_that_are_stated() {
    let device = Backend::Cpu.device().unwrap();
    let hidden = [HiddenLayer { width: 6, activation: Activation::Relu }];
    for variant in VARIANTS.iter() {
        let mut with_auxiliary = variant.config.init(&device);
        with_auxiliary.attach_auxiliary(&device);
        for network in [with_auxiliary, variant.config.init_with_hidden(&hidden, &device)] {
            let modules = network.classifier_paths();
            let stated = parameters(&network).into_iter().filter(|it| it.is_in(&modules));
            let stated: BTreeSet<_> = stated.map(|parameter| parameter.path).collect();
            assert!(!stated.is_empty(), "{}", variant.name);
            assert_eq!(replaced(&network, 2, &device), stated, "{}", variant.name);
        }
    }
}

#[test]
fn the_number_of_classes_changes_only_the_classifier() {
    let device = Backend::Cpu.device().unwrap();
    for variant in VARIANTS.iter() {
        let usual = variant.config.num_classes();
        let [few, many] = [usual, usual + 1]
            .map(|classes| variant.config.clone().with_num_classes(classes).init(&device));
        let modules = few.classifier_paths();
        for (few, many) in parameters(&few).iter().zip(&parameters(&many)) {
            assert_eq!(few.shape != many.shape, few.is_in(&modules), "{}", variant.name);
        }
    }
}

#[test]
fn pooled_features_are_enough_for_a_head_that_starts_with_pooling() {
    let device = Backend::Cpu.device().unwrap();
    let vgg = variant("vgg11_cifar").unwrap();
    let vgg = vgg.config.init(&device).into_classifier().unwrap();
    let networks = classifiers(&device).map(|(variant, network)| (variant.name, network));
    for (name, network) in networks.chain([("vgg11_cifar", vgg)]) {
        let head = network.head();
        let shape = [2, head.num_features(), 6, 5];
        let features = Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let average = features.clone().mean_dims(&[2, 3]);
        let [whole, averages] = [features, average].map(|features| values(head.forward(features)));
        let size = whole.iter().fold(0.0_f32, |size, value| size.max(value.abs()));
        assert!(size > 0.0, "{name}");
        let is_enough = whole.iter().zip(&averages).all(|(a, b)| (a - b).abs() <= 1e-4 * size);
        assert_eq!(is_enough, head.accepts_pooled_features(), "{name}");
    }
}

#[test]
fn a_loaded_record_gives_the_same_logits() {
    let device = Backend::Cpu.device().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for variant in smallest() {
        let model = variant.config.init(&device);
        let card = ModelCard {
            variant: variant.name.to_owned(),
            tag: None,
            num_classes: variant.config.num_classes(),
            in_channels: variant.config.in_channels(),
            has_auxiliary: false,
            has_classifier: true,
            hidden: Vec::new(),
            labels: vec![],
            preprocess: zoo_core::Preprocess::IMAGENET,
            origin: Origin {
                file: "random".to_owned(),
                sha256: String::new(),
                layout: String::new(),
                url: None,
                license: None,
            },
        };
        let path = folder.path().join(variant.name);
        Record::save(model.clone(), &card, Precision::Single, &path).unwrap();
        let record = Record::open(&path).unwrap();
        assert_eq!(record.card, card);
        let loaded = record.load_into(variant.config.init(&device)).unwrap();

        let size = small_size(variant, model.min_size());
        let images = images(&variant.config, size, &device);
        let expected = model.forward(images.clone()).into_data();
        assert_eq!(loaded.forward(images).into_data(), expected, "{}", variant.name);
    }
}

/// Collects the parameters that get no gradient.
struct WithoutGradient<'a> {
    path: Vec<String>,
    gradients: &'a Gradients,
    found: Vec<String>,
}

impl ModuleVisitor for WithoutGradient<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.path.last().is_some_and(|name| name.starts_with("running_")) {
            return;
        }
        let gradient = param.val().grad(self.gradients);
        let is_reached = gradient.is_some_and(|gradient| {
            gradient.abs().max().into_data().iter::<f32>().any(|x| x > 0.0)
        });
        if !is_reached {
            self.found.push(self.path.join("."));
        }
    }
}

/// Returns the parameters of a network that get no gradient.
fn without_gradient(
    model: &Network,
    variant: &Variant<Config>,
    device: &Device,
) -> BTreeSet<String> {
    let size = small_size(variant, model.min_size());
    let shape = [4, parameters(model)[0].shape[1], size, size];
    let images = Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
    // Squares, because a plain sum would cancel out after a BatchNorm.
    let loss = match model.forward(images) {
        Logits::Image(logits) => logits.powi_scalar(2).sum(),
        Logits::Pixel(logits) => logits.powi_scalar(2).sum(),
    };
    let gradients = loss.backward();
    let mut visitor = WithoutGradient { path: vec![], gradients: &gradients, found: vec![] };
    model.visit(&mut visitor);
    visitor.found.into_iter().collect()
}

#[test]
fn gradients_reach_every_parameter() {
    let device = Backend::Cpu.device().unwrap().autodiff();
    for variant in smallest() {
        let init = || variant.config.clone().with_num_classes(4).init(&device);
        let mut found = without_gradient(&init(), variant, &device);
        // A squeeze to four channels may be dead by chance in one network, but not in all.
        for _ in 0..4 {
            if found.is_empty() {
                break;
            }
            found = &found & &without_gradient(&init(), variant, &device);
        }
        assert!(found.is_empty(), "{}: {found:?}", variant.name);
    }
}

/// `zoo bench --training` measures a whole update.
#[test]
fn gradients_reach_every_parameter_of_a_network_for_benchmarks() {
    let device = Backend::Cpu.device().unwrap();
    let variant = variant("resnet20_cifar").unwrap();
    let model = fill_with_noise(variant.config.init(&device), &device).train();
    let found = without_gradient(&model, &variant, &device.autodiff());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn key_layouts_are_total_and_injective() {
    let device = Backend::Cpu.device().unwrap();
    for variant in VARIANTS.iter() {
        let parameters = parameters(&variant.config.init(&device));
        assert!(!variant.layouts.is_empty(), "{} has no layout", variant.name);
        for layout in variant.layouts {
            let mut seen = BTreeSet::new();
            for (key, parameter) in layout.keys(&parameters).into_iter().zip(&parameters) {
                let key = key.unwrap_or_else(|| {
                    panic!("{}: no rule of {} for {}", variant.name, layout.name, parameter.path)
                });
                assert!(seen.insert(key.clone()), "{}: {key} twice", variant.name);
            }
        }
    }
}

#[test]
fn published_weights_have_distinct_names() {
    for variant in VARIANTS.iter() {
        let tags: BTreeSet<_> = variant.weights.iter().map(|weights| weights.tag).collect();
        assert_eq!(tags.len(), variant.weights.len(), "tags of {}", variant.name);
        for weights in variant.weights {
            let name = format!("{}.{}", variant.name, weights.tag);
            assert!(weights.sha256.len() >= 8, "{name}");
            assert!(weights.sha256.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
            if weights.url.ends_with(".pth") {
                assert!(weights.url.ends_with(&format!("-{}.pth", weights.sha256)), "{name}");
            }
            assert!(weights.preprocess.crop <= weights.preprocess.resize, "{name}");
            assert_eq!(weights.preprocess.channels(), variant.config.in_channels(), "{name}");
        }
    }
}

#[test]
fn names_are_unique_and_found_again() {
    let mut names = BTreeSet::new();
    for row in VARIANTS.iter() {
        assert!(names.insert(row.name), "{} twice", row.name);
        assert_eq!(variant(row.name).unwrap().name, row.name);
    }
    for name in [
        "mobilenet_v1_0_35",
        "mobilenet_v2_w0_35",
        "mobilenet_v2_w1_4",
        "mobilenet_v3_large_w0_75",
        "mnasnet0_35",
        "ghostnet_075",
        "resnet8_cifar",
        "resnet8_cifar_b",
        "resnet152s",
        "seresnext26d_32x4d",
        "resnetblur269t",
        "vgg16_cifar_4096",
        "mobilenet_v1_1_5_timm",
        "mobilenet_v2_w0_35_cifar",
        "mobilenet_v3_small_w0_75_tf",
        "mnasnet_a1_w0_5",
        "mnasnet_ck3nf16x1_m6k5sf24x2_m3k3sf32x3_m1k5nf64x4_m6k3nf96x3_m3k5sf160x3_m6k3sf320x1",
        "wrn_52_1_b13",
        "densenet_bc_40_k36",
        "ae_cnn_r8x1",
        "ae_cnn_r64x3_m_d20x6_a_r128x4",
        "ae_cnn_d40x5_a_d4x10_r512x10",
    ] {
        assert_eq!(variant(name).unwrap().name, name);
    }
    let error = variant("resnet5").unwrap_err();
    assert!(error.near.contains(&"resnet50"), "{error}");
    for name in [
        "",
        "resnet21_cifar",
        "resnet2_cifar",
        "resnet21_cifar_b",
        "resnet51d",
        "resnet50x",
        "resnet50_32x4d",
        "resnext18_32x4d",
        "resnext50_32x4",
        "resnext50_0x4d",
        "seresnext50",
        "vgg12_cifar",
        "vgg16_cifar_cifar",
        "mobilenet_v2_w",
        "mobilenet_v2_wnan",
        "densenet_bc_41_k12",
        "ae_cnn",
        "ae_cnn_",
        "ae_cnn_m_r64x3",
        "ae_cnn_r64x3_",
        "ae_cnn_r64x3_x",
        "ae_cnn_r64",
        "ae_cnn_r60x3",
        "ae_cnn_r520x3",
        "ae_cnn_r064x3",
        "ae_cnn_r64x0",
        "ae_cnn_r64x11",
        "ae_cnn_d3x4",
        "ae_cnn_d41x4",
        "ae_cnn_d12x11",
    ] {
        assert!(variant(name).is_err(), "{name}");
    }
    // The first names are too large, the others are not in the canonical notation.
    for name in [
        "wrn_60000000000004_1",
        "resnet6000000002_cifar",
        "resnext50_32x99999d",
        "resnet020_cifar",
        "wrn_+28_10",
    ] {
        assert!(variant(name).is_err(), "{name}");
    }
    for name in ["ghostnet_+50", "mobilenet_v2_w1e0", "mobilenet_v2_w0_50", "mobilenet_v1_1.0"] {
        assert!(variant(name).is_err(), "{name}");
    }
    for name in ["wrn_40", "wrn_41_2", "wrn_4_2", "wrn_40_0", "wrn_40_2_b33_", "wrn_40_2_b3"] {
        assert!(variant(name).is_err(), "{name}");
    }
}
