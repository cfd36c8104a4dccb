//! Networks that were exported to ONNX compute the same as their references.
//!
//! `ZOO_ONNX_MODELS=FOLDER` adds exported files whose names begin with that of a parity fixture,
//! such as `resnet50@64.folded.onnx`; `fixtures/onnx/make.py` writes them.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_zoo::{Backend, Model};
use zoo_tests::fixture::Fixture;
use zoo_tests::local;

/// Loads a file without a model name. Returns the largest difference from the fixture's logits, and
/// the allowed difference.
fn difference(path: &Path, fixture: &Fixture, device: &Device) -> anyhow::Result<(f32, f32)> {
    let model = Model::open(path, device)?;
    let logits = model.network().forward(fixture.images(device)).into_data().convert::<f32>();
    let differences = logits.iter::<f32>().zip(&fixture.logits).map(|(a, b)| (a - b).abs());
    // A file in half precision has 11 binary digits of each weight.
    let is_half = path.to_string_lossy().contains("half");
    let rounding = if is_half { 10.0 * fixture.output_std * 0.5_f32.powi(11) } else { 0.0 };
    Ok((differences.fold(0.0, f32::max), fixture.tolerance().max(rounding)))
}

/// Returns exported files and their fixtures.
fn files(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((fixture, form)) = name.split_once('.') else { continue };
        if form.ends_with("onnx") {
            let fixture = if fixture == "lenet5" { "lenet5@32" } else { fixture };
            let json = local("fixtures/parity").join(format!("{fixture}.json"));
            files.push((path, json));
        }
    }
    files.sort();
    files
}

#[test]
fn exported_networks_compute_what_the_references_do() {
    let device = Backend::Cpu.device().unwrap();
    let mut files: Vec<_> = ["unfolded", "tensorflow", "half", "dynamo_external"]
        .map(|form| local("fixtures/onnx").join(format!("lenet5.{form}.onnx")))
        .into_iter()
        .map(|path| (path, local("fixtures/parity/lenet5@32.json")))
        .collect();
    match std::env::var_os("ZOO_ONNX_MODELS") {
        Some(folder) => files.extend(self::files(Path::new(&folder))),
        None => println!("skipped: larger networks, since ZOO_ONNX_MODELS names no folder of them"),
    }
    let mut failures = Vec::new();
    for (path, json) in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fixture = Fixture::read(&json);
        match difference(&path, &fixture, &device) {
            Ok((error, allowed)) => {
                println!("{name:<45} error {error:.2e}  tolerance {allowed:.2e}");
                if error.is_nan() || error > allowed {
                    failures.push(name);
                }
            }
            Err(reason) => {
                println!("{name:<45} FAILED  {reason:#}");
                failures.push(name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
