//! ONNX files through the command line: as exporters write them, and as nobody should.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use insta::assert_snapshot;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/onnx").join(name)
}

/// Imports a file, with more arguments; the exit code and what was said.
fn import(path: &Path, more: &[&str]) -> (i32, String) {
    let folder = TempDir::new().unwrap();
    let record = folder.path().join("out.bpk");
    let output = Command::new(env!("CARGO_BIN_EXE_zoo"))
        .arg("import")
        .arg(path)
        .arg("--output")
        .arg(&record)
        .args(more)
        .output()
        .expect("zoo runs");
    let code = output.status.code().expect("zoo exits");
    assert_eq!(record.exists(), code == 0, "a record is there if all went well");
    let said = String::from_utf8(output.stderr).expect("text");
    let said = said.replace(&*record.to_string_lossy(), "RECORD");
    let place = path.parent().expect("a file is in a folder").to_string_lossy().into_owned();
    (code, said.replace(&place, "FOLDER"))
}

/// What was said about a file that had to be refused.
fn complaint(path: &Path, more: &[&str]) -> String {
    let (code, said) = import(path, more);
    assert_eq!(code, 1, "{said}");
    said
}

/// The largest difference of a logit that was found in the check.
fn difference(said: &str) -> f32 {
    let (_, rest) = said.split_once("largest difference of a logit ").expect("it was checked");
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn every_exporters_form_is_recognized_and_agrees() {
    for form in ["unfolded", "tensorflow", "half", "dynamo_external"] {
        let (code, said) = import(&fixture(&format!("lenet5.{form}.onnx")), &[]);
        assert_eq!(code, 0, "{form}: {said}");
        assert!(said.contains("as lenet5\n"), "{form}: {said}");
        assert!(difference(&said) < 1e-5, "{form}: {said}");
    }
    for form in ["half", "paddle_half"] {
        let file = fixture(&format!("resnet8_cifar.{form}.onnx"));
        let (code, said) = import(&file, &["--model", "resnet8_cifar"]);
        assert_eq!(code, 0, "{form}: {said}");
        assert!(difference(&said) < 1e-4, "{form}: {said}");
    }
}

#[test]
fn what_is_said_of_an_import() {
    let (code, said) = import(&fixture("lenet5.unknown.onnx"), &[]);
    assert_eq!(code, 0, "{said}");
    assert_snapshot!(said);
}

#[test]
fn graphs_that_do_not_fit_are_explained() {
    let mut complaints = String::new();
    for file in ["lenet5.quantised.onnx", "lenet5.relabelled.onnx"] {
        complaints += &complaint(&fixture(file), &[]);
    }
    // A network whose stages reduce by three, as no model's do.
    let whole = fs::read(fixture("resnet8_cifar.half.onnx")).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("network.onnx");
    fs::write(&path, replaced(&whole, "strides@\u{2}@\u{2}", "strides@\u{3}@\u{3}")).unwrap();
    complaints += &complaint(&path, &[]);
    complaints += &complaint(&path, &["--model", "resnet8_cifar"]);
    complaints += &complaint(&fixture("lenet5.half.onnx"), &["--model", "resnet18"]);
    assert_snapshot!(complaints);
}

#[test]
fn damaged_graphs_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("network.onnx");
    let mut complaints = String::new();

    let whole = fs::read(fixture("lenet5.half.onnx")).unwrap();
    for length in [3, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        complaint(&path, &[]);
    }
    // A claim of 2^62 elements in place of the first weight's sizes, 6, 1, 5 and 5.
    let sizes = [0x08, 6, 0x08, 1, 0x08, 5, 0x08, 5];
    let at = whole.windows(8).position(|bytes| bytes == sizes).expect("sizes are there");
    let mut claim = whole.clone();
    claim[at..at + 8].copy_from_slice(&[0x08, 0x7f, 0x08, 0x7f, 0x08, 0x7f, 0x08, 0x7f]);
    fs::write(&path, claim).unwrap();
    complaints += &complaint(&path, &[]);

    // Values in another file: absent, elsewhere, cut off.
    let model = fs::read(fixture("lenet5.dynamo_external.onnx")).unwrap();
    let data = "lenet5.dynamo_external.onnx.data";
    fs::write(&path, &model).unwrap();
    complaints += &complaint(&path, &[]);
    let elsewhere = format!("{:/<1$}", "../", data.len());
    fs::write(&path, replaced(&model, data, &elsewhere)).unwrap();
    complaints += &complaint(&path, &[]);
    fs::write(&path, replaced(&model, data, &format!("{:a<1$}", "/", data.len()))).unwrap();
    complaints += &complaint(&path, &[]);
    fs::write(&path, &model).unwrap();
    fs::write(folder.path().join(data), [0; 1000]).unwrap();
    complaints += &complaint(&path, &[]);
    assert_snapshot!(complaints);
}

/// All occurrences of a text by another one of the same length.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for at in 0..=bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from.as_bytes() {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

#[test]
fn a_graph_is_inspected_and_used_as_it_is() {
    let file = fixture("lenet5.tensorflow.onnx");
    let output = Command::new(env!("CARGO_BIN_EXE_zoo")).arg("inspect").arg(file).output().unwrap();
    assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}
