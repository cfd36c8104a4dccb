//! Each variant computes what its reference implementation computes.
//!
//! The fixtures hold no weights, only the formula's inputs; see `fixtures/parity/README.md`.
//! `ZOO_PARITY_FIXTURES=FOLDER` adds more of them, `ZOO_PARITY_ONLY=resnet` leaves out those
//! without these letters in their names.

use zoo_cli::device::Backend;
use zoo_tests::fixture::Fixture;

/// Runs fixtures on a backend and prints a line for each.
fn check(backend: Backend, slack: f32, wanted: impl Fn(&str) -> bool) {
    let device = backend.device().expect("the backend is usable");
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
        match fixture.check(&device, slack) {
            Ok(error) => println!(
                "{name:<32} {:<9} error {error:.2e}  tolerance {tolerance:.2e}",
                backend.name()
            ),
            Err(reason) => {
                println!("{name:<32} {:<9} FAILED  {reason}", backend.name());
                failures.push(name);
            }
        }
    }
    assert!(checked > 0, "no fixture was checked");
    assert!(failures.is_empty(), "{} of {checked} fixtures differ: {failures:?}", failures.len());
}

/// A few small variants, for the backends that take their time.
#[cfg(any(feature = "ndarray", feature = "wgpu", feature = "libtorch"))]
fn is_small(name: &str) -> bool {
    [
        "lenet5@32",
        "resnet20_cifar@32",
        "resnet18@64",
        "squeezenet1_1@64",
        "mobilenet_v2_w0_5@64",
        "efficientnet_b0@64",
        "efficientnet_lite0_timm@64",
    ]
    .contains(&name)
}

#[test]
fn cpu_agrees_with_the_references() {
    check(Backend::Cpu, 1.0, |_| true);
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarray_agrees_with_the_references() {
    check(Backend::Ndarray, 10.0, is_small);
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_agrees_with_the_references() {
    check(Backend::Wgpu, 10.0, is_small);
}

#[cfg(feature = "libtorch")]
#[test]
fn libtorch_agrees_with_the_references() {
    check(Backend::Libtorch, 10.0, is_small);
}
