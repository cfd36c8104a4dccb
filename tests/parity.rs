//! Variants of each architecture compute the same as their reference implementations.
//!
//! The fixtures contain no weights, only the formula's inputs; see `fixtures/parity/README.md`.
//! `ZOO_PARITY_FIXTURES=FOLDER` adds fixtures, `ZOO_PARITY_ONLY=resnet` leaves out those without
//! this text in their names.

use burn_zoo::Backend;
use zoo_models::{FAMILIES, variant};
use zoo_tests::fixture::{Fixture, Pyramid, Runtime};

/// Checks fixtures and prints a line for each.
fn check(runtime: Runtime, slack: f32, wanted: impl Fn(&str) -> bool) {
    let backend = match runtime {
        Runtime::Burn => "burn",
        Runtime::Session(backend) => backend.name(),
    };
    let only = std::env::var("ZOO_PARITY_ONLY").unwrap_or_default();
    let mut failures = Vec::new();
    let mut checked = 0;
    for path in Fixture::paths() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !wanted(&name) || !name.contains(&only) {
            continue;
        }
        checked += 1;
        let fixture = Fixture::read(&path);
        let tolerance = slack * fixture.tolerance();
        match fixture.check(runtime, slack) {
            Ok(error) => {
                println!("{name:<32} {backend:<9} error {error:.2e}  tolerance {tolerance:.2e}")
            }
            Err(reason) => {
                println!("{name:<32} {backend:<9} FAILED  {reason}");
                failures.push(name);
            }
        }
    }
    assert!(checked > 0, "no fixture was checked");
    assert!(failures.is_empty(), "{} of {checked} fixtures differ: {failures:?}", failures.len());
}

/// A small variant of each architecture, for slow backends.
const SMALL: [&str; 28] = [
    "lenet5@32",
    "alexnet@64",
    "vgg11@64",
    "googlenet@64",
    "inception_v2@64",
    "se_inception_v2@64",
    "inception_v3@75",
    "inception_v4@75",
    "inception_resnet_v2@98",
    "resnet18@64",
    "resnet20_cifar@32",
    "wrn_40_2_b31@32",
    "squeezenet1_1@64",
    "densenet_bc_100_k12@32",
    "xception@96",
    "mobilenet_v1_0_25@64",
    "mobilenet_v2_w0_5@64",
    "mobilenet_v3_small@64",
    "shufflenet_v1_g3@64",
    "shufflenet_v2_x0_5@64",
    "nasnet_a_mobile@96",
    "se_resnet18@64",
    "mnasnet0_5@64",
    "ae_cnn_r64x3_m_d12x4_m_r128x3@32",
    "efficientnet_b0@64",
    "efficientnet_lite0_timm@64",
    "ghostnet_050@64",
    "unet@32",
];

#[cfg(any(feature = "ndarray", feature = "wgpu", feature = "libtorch"))]
fn is_small(name: &str) -> bool {
    SMALL.contains(&name)
}

#[test]
fn every_architecture_has_a_small_variant() {
    let stems: Vec<_> =
        Fixture::paths().iter().filter_map(|path| Some(path.file_stem()?.to_owned())).collect();
    let families: Vec<_> = SMALL
        .iter()
        .map(|name| {
            assert!(stems.iter().any(|stem| stem == name), "{name} has no fixture");
            let (name, _) = name.split_once('@').unwrap();
            variant(name).unwrap().config.family().name
        })
        .collect();
    for family in FAMILIES {
        assert!(families.contains(&family.name), "{} is on the cpu only", family.name);
    }
}

#[test]
fn cpu_agrees_with_the_references() {
    check(Runtime::Burn, 1.0, |_| true);
}

#[test]
fn engine_agrees_with_the_references() {
    check(Runtime::Session(Backend::Cpu), 1.0, |_| true);
}

/// The families of the zoo that timm also has.
const IN_TIMM: [&str; 15] = [
    "vgg",
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
    "resnet",
    "densenet",
    "xception",
    "mobilenet_v1",
    "nasnet",
    "senet",
    "mobilenet_v2",
    "mnasnet",
    "mobilenet_v3",
    "efficientnet",
    "ghostnet",
];

#[test]
fn pyramids_are_those_of_timm() {
    let only = std::env::var("ZOO_PARITY_ONLY").unwrap_or_default();
    let pyramids: Vec<Pyramid> = Pyramid::all().collect();
    for family in IN_TIMM {
        let is_of = |pyramid: &Pyramid| {
            variant(&pyramid.fixture().variant).unwrap().config.family().name == family
        };
        assert!(pyramids.iter().any(is_of), "{family} has no fixture");
    }
    let mut failures = Vec::new();
    for pyramid in pyramids.into_iter().filter(|pyramid| pyramid.parity.contains(&only)) {
        match pyramid.check() {
            Ok(()) => println!("{:<32} {} maps", pyramid.parity, pyramid.levels.len()),
            Err(reason) => {
                println!("{:<32} FAILED  {reason}", pyramid.parity);
                failures.push(pyramid.parity);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarray_agrees_with_the_references() {
    check(Runtime::Session(Backend::Ndarray), 10.0, is_small);
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_agrees_with_the_references() {
    check(Runtime::Session(Backend::Wgpu), 10.0, is_small);
}

#[cfg(feature = "libtorch")]
#[test]
fn libtorch_agrees_with_the_references() {
    check(Runtime::Session(Backend::Libtorch), 10.0, is_small);
}
