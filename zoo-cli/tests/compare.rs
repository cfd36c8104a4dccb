//! `zoo compare` as its users meet it, bad input included.

mod program;

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use program::{complaint, in_a_browser, ok, sample, zoo};

/// A list of labeled images: two photographs that the embedded network knows, one of them also with a wrong label.
fn labeled(folder: &Path) {
    for name in ["chelsea.png", "coffee.png"] {
        fs::copy(sample(name), folder.join(name)).unwrap();
    }
    let wrong = image::open(sample("coffee.png")).unwrap().thumbnail(300, 300);
    wrong.save(folder.join("wrong.png")).unwrap();
    let list = "path,label\nchelsea.png,tiger cat\ncoffee.png,espresso\nwrong.png,tench\n";
    fs::write(folder.join("list.csv"), list).unwrap();
}

fn comparison(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const QUICK: [&str; 2] = ["--time", "100ms"];

#[test]
fn the_same_network_at_two_sizes() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    labeled(root);
    let arguments =
        ["compare", "efficientnet_lite0", "efficientnet_lite0@32", "--data", "list.csv"];
    let output = ["--report", "page.html", "--format", "json"];
    let text = ok(root, &[&arguments[..], &output, &QUICK].concat());
    let comparison = comparison(&text);
    let models = comparison["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    assert_eq!(models[0]["name"], "efficientnet_lite0");
    assert_eq!(models[1]["size"], 32);
    let number = |model: usize, key: &str| models[model][key].as_f64().unwrap();
    // Two of three labels are right.
    assert!((number(0, "top1") - 2.0 / 3.0).abs() < 1e-9, "{text}");
    assert!(number(0, "top1_low") < 0.3 && number(0, "top1_high") > 0.9, "{text}");
    assert!(number(1, "macs") < number(0, "macs") / 30.0);
    assert!(number(0, "latency_ms") > 0.0 && number(0, "memory_bytes") > 1e7);
    assert_eq!(comparison["pairs"].as_array().unwrap().len(), 1);
    let page = fs::read_to_string(root.join("page.html")).unwrap();
    assert!(page.contains("Accuracy and latency") && page.contains("heat map of"), "no pictures");
    if let Some(dom) = in_a_browser(&root.join("page.html"), "compare") {
        // Two scatter plots and two reliability diagrams.
        assert_eq!(dom.matches("<svg").count(), 4);
    }
}

#[test]
fn names_without_images_need_no_weights() {
    let folder = TempDir::new().unwrap();
    let names = ["compare", "squeezenet1_1@64", "resnet8_cifar", "--precision", "single,half"];
    let text = ok(folder.path(), &[&names[..], &QUICK, &["--format", "csv"]].concat());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("name,variant,weights,size,"), "{text}");
    assert!(
        lines[1].starts_with("squeezenet1_1@64,") && lines[4].starts_with("resnet8_cifar (half),")
    );
    let column = lines[0].split(',').position(|name| name == "file_bytes").unwrap();
    // The preprocessing is quoted, since it has commas; no column after it is.
    let size = |line: &str| {
        let columns_after = lines[0].split(',').count() - column;
        line.rsplit(',').nth(columns_after - 1).unwrap().parse::<f64>().unwrap()
    };
    assert!(size(lines[4]) < 0.6 * size(lines[3]), "{text}");
    let text = ok(folder.path(), &[&names[..2], &QUICK].concat());
    assert!(text.contains("squeezenet1_1@64 is the fastest"), "{text}");
}

#[test]
fn limits_that_no_model_meets_are_said() {
    let folder = TempDir::new().unwrap();
    let arguments = ["compare", "resnet8_cifar", "--max-size", "1kB", "--max-latency", "1h"];
    let output = zoo(folder.path(), &[&arguments[..], &QUICK].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("No model meets the limits"), "{text}");
    assert!(text.contains("resnet8_cifar is beyond a limit: 0.3 MB of weights"), "{text}");
}

#[test]
fn what_can_not_be_compared_is_refused() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    labeled(root);
    fs::create_dir(root.join("own")).unwrap();
    for class in ["a", "b"] {
        fs::create_dir(root.join("own").join(class)).unwrap();
        let image = RgbImage::from_pixel(40, 40, Rgb([9, 9, 9]));
        image.save(root.join("own").join(class).join("1.png")).unwrap();
    }
    for (arguments, expected) in [
        (vec!["resnet51"], "no model is called `resnet51`"),
        (vec!["missing.bpk"], "there is no file missing.bpk"),
        (vec!["resnet18@x"], "`resnet18@x` has no size in pixels after the @"),
        (vec!["efficientnet_lite0", "--data", "own"], "the network knows no class `a`"),
        (vec!["efficientnet_lite0", "--data", "nowhere"], "nowhere"),
        (vec!["resnet8_cifar", "--data", "list.csv"], "resnet8_cifar"),
        (vec!["inception_v3@8"], "75"),
        (vec!["resnet18", "--report", "no/such/folder.html"], "cannot write no/such/folder.html"),
    ] {
        let text = complaint(root, &[&["compare"], &arguments[..]].concat());
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    assert!(!root.join("page.html").exists());
}
