//! `zoo explain` as its users meet it, bad input included.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn zoo(folder: &Path, arguments: &[&str]) -> Output {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/images");
    let resolved = arguments.iter().map(|argument| match argument.strip_prefix('@') {
        Some(image) => images.join(image).into_os_string(),
        None => argument.into(),
    });
    Command::new(env!("CARGO_BIN_EXE_zoo"))
        .current_dir(folder)
        .envs([("ZOO_OFFLINE", "1"), ("ZOO_CACHE", "no/such/folder")])
        .arg("explain")
        .args(resolved)
        .args(["-o", "out"])
        .output()
        .expect("zoo runs")
}

/// The rows that a command prints as JSON.
fn rows(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = zoo(folder, &[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn complaint(folder: &Path, arguments: &[&str]) -> String {
    let output = zoo(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn the_evidence_lies_on_the_object() {
    let folder = TempDir::new().unwrap();
    let methods = "cam,grad-cam,grad-cam++,hires-cam,layer-cam";
    for (image, left, top, right, bottom) in
        [("@coffee.png", 170.0, 20.0, 410.0, 215.0), ("@chelsea.png", 95.0, 20.0, 360.0, 280.0)]
    {
        let rows = rows(folder.path(), &[image, "--method", methods]);
        assert_eq!(rows.len(), 5);
        let names: Vec<_> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
        assert_eq!(names.join(","), methods);
        for row in rows {
            let [x, y] = ["peak_x", "peak_y"].map(|key| row[key].as_f64().unwrap());
            assert!((left..right).contains(&x) && (top..bottom).contains(&y), "{row}");
            let picture =
                image::open(folder.path().join(row["picture"].as_str().unwrap())).unwrap();
            assert!(picture.width() > 400, "the picture has the photograph's size");
        }
    }
}

#[test]
fn methods_without_gradients_and_early_layers_work() {
    let folder = TempDir::new().unwrap();
    let found =
        rows(folder.path(), &["@coffee.png", "--method", "occlusion", "--raw", "npy", "--check"]);
    assert!(found[0]["areas"]["insertion"].as_f64().unwrap() > 0.3, "{found:?}");
    let npy = fs::read(folder.path().join("out/coffee-occlusion.npy")).unwrap();
    assert_eq!(&npy[..8], b"\x93NUMPY\x01\x00");
    let header = String::from_utf8_lossy(&npy[10..128]);
    assert!(header.contains("'shape': (15, 15)") && header.ends_with('\n'), "{header}");
    assert_eq!(npy.len(), 128 + 15 * 15 * 4);

    let found = rows(
        folder.path(),
        &["@coffee.png", "--method", "layer-cam", "--layer", "stages.2,features"],
    );
    assert!(found[0]["largest"].as_f64().unwrap() > 0.0, "{found:?}");
    let found = rows(folder.path(), &["@coffee.png", "--class", "wine bottle"]);
    assert!(found[0]["label"].as_str().unwrap().contains("wine bottle"), "{found:?}");
}

#[test]
fn bad_input_is_a_sentence_and_a_hint() {
    let folder = TempDir::new().unwrap();
    let text = complaint(folder.path(), &["@coffee.png", "--class", "expresso"]);
    assert!(
        text.contains("no class has the name `expresso`") && text.contains("espresso"),
        "{text}"
    );
    let text = complaint(folder.path(), &["@coffee.png", "--class", "terrier"]);
    assert!(text.contains("several classes contain `terrier`"), "{text}");
    let text = complaint(folder.path(), &["@coffee.png", "--class", "1000"]);
    assert!(text.contains("there is no class 1000; the model has 1000"), "{text}");
    let text = complaint(folder.path(), &["@coffee.png", "--layer", "layer4"]);
    assert!(text.contains("has no layer layer4") && text.contains("features"), "{text}");
    fs::write(folder.path().join("broken.png"), b"no image").unwrap();
    let text = complaint(folder.path(), &["broken.png", "@coffee.png"]);
    assert!(text.contains("broken.png"), "{text}");
    assert!(folder.path().join("out/coffee-grad-cam.png").exists());
    assert!(!folder.path().join("out/broken-grad-cam.png").exists());
}
