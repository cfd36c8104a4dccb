//! What `zoo classify` and `zoo eval` answer: one output, what is not sure, what was trained on.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use burn::tensor::{Device, Tensor, TensorData};
use image::{Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::Value;
use tempfile::TempDir;
use zoo_core::decode::decode;
use zoo_core::{Background, Preprocess};
use zoo_record::{ModelCard, Origin, Precision, Record};

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn zoo(folder: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_zoo"))
        .current_dir(folder)
        .envs([("ZOO_OFFLINE", "1"), ("ZOO_CACHE", "no/such/folder")])
        .args(arguments)
        .output()
        .expect("zoo runs");
    Run {
        code: output.status.code().expect("zoo exits"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

fn ok(folder: &Path, arguments: &[&str]) -> String {
    let run = zoo(folder, arguments);
    assert_eq!(run.code, 0, "{arguments:?}\n{}", run.stderr);
    run.stdout
}

/// A line of JSON.
fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&ok(folder, &[arguments, &["--format", "json"]].concat())).unwrap()
}

/// An image of noise.
fn noise(path: &Path, seed: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(40, 40, |x, y| {
        let value = (x * 31 + y * 17 + seed * 101) * (seed + 7) % 251;
        Rgb([value as u8, (value / 2) as u8, (255 - value) as u8])
    });
    image.save(path).unwrap();
}

const PREPROCESS: Preprocess = Preprocess::IMAGENET.sized(32, 32);

/// Writes a record of a network with one output and these names, and returns what it makes of an
/// image.
fn one_output(folder: &Path, name: &str, labels: &[&str]) -> impl Fn(&Path) -> f32 {
    let device = Device::flex();
    device.seed(3);
    let variant = zoo_models::variant("resnet8_cifar").unwrap();
    let config = variant.config.with_num_classes(1);
    let network = config.init(&device);
    zoo_core::initialize_parameters(&network);
    let card = ModelCard {
        hidden: Vec::new(),
        variant: variant.name.to_owned(),
        tag: None,
        num_classes: 1,
        in_channels: 3,
        has_auxiliary: false,
        has_classifier: true,
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        preprocess: PREPROCESS,
        origin: Origin {
            file: "one.pth".to_owned(),
            sha256: String::new(),
            layout: "torchvision".to_owned(),
            url: None,
            license: None,
        },
    };
    Record::save(network.clone(), &card, Precision::Single, &folder.join(name)).unwrap();
    move |path| {
        let pixels = PREPROCESS.pixels(&decode(&fs::read(path).unwrap()).unwrap());
        let images = Tensor::from_data(TensorData::new(pixels, [1, 3, 32, 32]), &device);
        network.forward(images).into_data().iter::<f32>().next().unwrap()
    }
}

#[test]
fn one_output_is_the_probability_of_one_of_two_classes() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    noise(&root.join("a.png"), 1);
    for (labels, names) in [
        (&[][..], ["class 0", "class 1"]),
        (&["cat"], ["not cat", "cat"]),
        (&["dog", "cat"], ["dog", "cat"]),
    ] {
        let logit = one_output(root, "one.bpk", labels)(&root.join("a.png"));
        let positive = 1.0 / (1.0 + (-logit).exp());
        let arguments = ["classify", "a.png", "--weights", "one.bpk"];
        let line = json(root, &arguments);
        let predictions = line["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), 2);
        for prediction in predictions {
            let class = prediction["class"].as_u64().unwrap() as usize;
            assert_eq!(prediction["label"], names[class]);
            let expected = if class == 1 { positive } else { 1.0 - positive };
            let got = prediction["probability"].as_f64().unwrap();
            assert!((got - f64::from(expected)).abs() < 1e-4, "{got} {expected}");
            assert!(got > 1e-6 && got < 1.0 - 1e-6, "{got}");
        }
        let first = predictions[0]["label"].as_str().unwrap();
        let text = ok(root, &arguments);
        assert!(text.lines().nth(1).unwrap().ends_with(first), "{text}");
        let csv = ok(root, &[&arguments[..], &["-f", "csv"]].concat());
        assert_eq!(csv.lines().count(), 3, "{csv}");
    }
}

#[test]
fn one_output_is_evaluated_on_two_classes() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for number in 0..6 {
        noise(
            &root.join(format!("data/{}/{number}.png", ["cat", "dog"][number as usize % 2])),
            number,
        );
    }
    let logit = one_output(root, "one.bpk", &["dog", "cat"]);
    let files = |class: &str| fs::read_dir(root.join("data").join(class)).unwrap();
    let is_cat =
        |class: &str| files(class).filter(|file| logit(&file.as_ref().unwrap().path()) > 0.0);
    let right = is_cat("cat").count() + 3 - is_cat("dog").count();
    let evaluation = json(root, &["eval", "data", "--weights", "one.bpk"]);
    assert_eq!(evaluation["images"], 6);
    assert_eq!(evaluation["top1"].as_f64().unwrap(), right as f64 / 6.0);
    let names: Vec<_> = [0, 1].map(|class| evaluation["classes"][class]["name"].clone()).into();
    assert_eq!(names, ["dog", "cat"]);

    // One name is the positive class's; without any, labels are numbers.
    let _ = one_output(root, "positive.bpk", &["cat"]);
    let _ = one_output(root, "nameless.bpk", &[]);
    fs::rename(root.join("data"), root.join("named")).unwrap();
    for (record, negative, positive) in
        [("positive.bpk", "not cat", "cat"), ("nameless.bpk", "0", "1")]
    {
        let run = zoo(root, &["eval", "named", "--weights", record]);
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("the network knows no class"), "{}", run.stderr);
        let data = root.join(record.replace(".bpk", ""));
        fs::create_dir(&data).unwrap();
        for (from, to) in [("dog", negative), ("cat", positive)] {
            fs::create_dir(data.join(to)).unwrap();
            for file in fs::read_dir(root.join("named").join(from)).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), data.join(to).join(file.file_name())).unwrap();
            }
        }
        let same = json(root, &["eval", &data.to_string_lossy(), "--weights", record]);
        assert_eq!(same["top1"], evaluation["top1"]);
    }

    // A checkpoint gets its names from a file, of one class or of both.
    ok(root, &["export", "nameless.bpk", "--to", "safetensors", "-o", "one.safetensors"]);
    for (labels, names) in [("dog\ncat\n", &["dog", "cat"][..]), ("cat\n", &["cat"])] {
        fs::write(root.join("labels.txt"), labels).unwrap();
        let import = ["import", "one.safetensors", "--model", "resnet8_cifar", "-o", "again.bpk"];
        ok(root, &[&import[..], &["--labels", "labels.txt"]].concat());
        assert_eq!(Record::open(&root.join("again.bpk")).unwrap().card.labels, names);
    }

    // A classifier of two classes is trained in its place.
    let arguments = ["finetune", "named", "--weights", "one.bpk", "--epochs", "1", "-o", "out"];
    let run = zoo(root, &arguments);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let line = json(root, &["classify", "named/cat/0.png", "--weights", "out/model.bpk"]);
    assert_eq!(line["predictions"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_not_sure_is_unknown() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    noise(&root.join("a.png"), 1);
    let classify = |least: &str, format: &str| {
        ok(root, &["classify", "a.png", "-k", "3", "--min-probability", least, "-f", format])
    };
    let line: Value = serde_json::from_str(&classify("0.0", "json")).unwrap();
    let best = line["predictions"][0]["probability"].as_f64().unwrap();
    assert_eq!(line["predictions"].as_array().unwrap().len(), 3);
    let (below, above) = ((best - 1e-3).to_string(), (best + 1e-3).to_string());
    assert_eq!(classify(&below, "csv").lines().count(), 4);
    let line: Value = serde_json::from_str(&classify(&above, "json")).unwrap();
    let [unknown] = &line["predictions"].as_array().unwrap()[..] else { panic!("{line}") };
    assert_eq!((&unknown["class"], &unknown["label"]), (&Value::Null, &Value::from("unknown")));
    assert_eq!(unknown["probability"].as_f64(), Some(best));
    let csv = classify(&above, "csv");
    assert!(csv.lines().nth(1).unwrap().starts_with("a.png,1,,unknown,0."), "{csv}");
    assert!(classify(&above, "text").trim_end().ends_with(" %  unknown"));
    for wrong in ["1.5", "-0.1", "nan", "half"] {
        let run = zoo(root, &["classify", "a.png", &format!("--min-probability={wrong}")]);
        assert_eq!(run.code, 1, "{wrong}");
        assert!(run.stderr.contains("a probability is a number from 0 to 1"), "{}", run.stderr);
    }
}

#[test]
fn answers_are_written_and_training_images_are_left_out() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for number in 0..20 {
        noise(&root.join(format!("data/{}/{number}.png", ["a", "b"][number as usize % 2])), number);
    }
    let model = ["--preset", "scratch", "-m", "resnet8_cifar", "--epochs", "2", "-o", "run"];
    ok(root, &[&["finetune", "data"], &model[..]].concat());

    // What was held out is what the run has validated with.
    let eval = |data: &str, more: &[&str]| {
        zoo(root, &[&["eval", data, "--weights", "run/model.bpk"], more].concat())
    };
    let run = eval("data", &["--predictions", "p.csv", "-f", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("16 of 20 images are left out"), "{}", run.stderr);
    let evaluation: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(evaluation["images"], 4);
    let listed = eval("run/images.csv", &["-f", "json", "--predictions", "p.jsonl"]);
    assert_eq!((listed.code, &listed.stderr), (0, &String::new()));
    assert_eq!(serde_json::from_str::<Value>(&listed.stdout).unwrap(), evaluation);

    let mut table = csv::Reader::from_path(root.join("p.csv")).unwrap();
    assert_eq!(
        table.headers().unwrap(),
        vec!["path", "label", "predicted", "probability", "correct"]
    );
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    let right = rows.iter().filter(|row| &row[4] == "true").count();
    assert_eq!(evaluation["top1"].as_f64().unwrap(), right as f64 / 4.0);
    for row in &rows {
        assert_eq!(row[1] == row[2], &row[4] == "true");
        assert!(row[0].contains(&format!("data/{}/", &row[1])), "{row:?}");
        assert!((0.5..=1.0).contains(&row[3].parse::<f64>().unwrap()), "{row:?}");
    }
    let lines = fs::read_to_string(root.join("p.jsonl")).unwrap();
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(lines.lines().count(), 4);
    assert!(line["correct"].is_boolean() && line["path"].as_str().unwrap().ends_with(".png"));

    // What is read is not written over, and nothing else is where it can't be written.
    assert_eq!(eval("run/images.csv", &["--predictions", "run/images.csv"]).code, 1);
    assert_eq!(eval("data", &["--predictions", "no/such/folder/p.csv"]).code, 2);

    // Other images count as before, those that were trained on with a word.
    noise(&root.join("new/a/1.png"), 77);
    noise(&root.join("new/b/1.png"), 78);
    let run = eval("new", &[]);
    assert_eq!((run.code, &*run.stderr), (0, ""));
    assert!(run.stdout.starts_with("2 images: top-1"), "{}", run.stdout);
}

#[test]
fn copies_are_told_of_before_anything_is_trained() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for number in 0..6 {
        let class = ["a", "b"][number as usize % 2];
        noise(&root.join(format!("data/train/{class}/{number}.png")), number);
        noise(&root.join(format!("data/val/{class}/copy{number}.png")), number);
    }
    let model = ["--preset", "scratch", "-m", "resnet8_cifar", "--epochs", "1", "-o", "run"];
    let run = zoo(root, &[&["finetune", "data"], &model[..]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let first = run.stderr.lines().next().unwrap();
    assert!(first.contains("6 of the 6 images to validate with are to train on, too"), "{first}");
}

#[test]
fn drawings_in_transparency_are_seen_on_a_background() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    // Black on transparent black: squares of two sizes.
    for number in 0..20 {
        let class = number % 2;
        let side = [8, 24][class as usize] + number / 4;
        let image = RgbaImage::from_fn(32, 32, |x, y| {
            Rgba([0, 0, 0, if x < side && y < side { 255 } else { 0 }])
        });
        let path = root.join(format!("data/{}/{number}.png", ["small", "large"][class as usize]));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.save(path).unwrap();
    }
    let finetune = |more: &[&str]| {
        let model = ["--preset", "scratch", "-m", "resnet8_cifar", "--epochs", "8"];
        zoo(root, &[&["finetune", "data", "--batch-size", "8"], &model[..], more].concat())
    };
    let run = finetune(&["-o", "dropped"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told = run.stderr.lines().filter(|line| line.contains("transparency")).count();
    assert_eq!(told, 1, "{}", run.stderr);
    assert!(run.stderr.contains("20 of 20 images are drawn in transparency"), "{}", run.stderr);
    assert!(run.stderr.contains("--background white"), "{}", run.stderr);

    let run = finetune(&["-o", "white", "--background", "white"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stderr.contains("transparency"), "{}", run.stderr);
    assert!(run.stdout.contains("validation accuracy 100.0 % on 4 images"), "{}", run.stdout);
    let config = fs::read_to_string(root.join("white/config.toml")).unwrap();
    assert!(config.contains("background = \"white\""), "{config}");
    // The record does the same without being told, also where it is trained further.
    let card = Record::open(&root.join("white/model.bpk")).unwrap().card;
    assert_eq!(card.preprocess.background, Background::WHITE);
    for (file, class) in [("data/small/0.png", "small"), ("data/large/1.png", "large")] {
        let line = json(root, &["classify", file, "--weights", "white/model.bpk"]);
        assert_eq!(line["predictions"][0]["label"], class);
    }
    let evaluation = json(root, &["eval", "data", "--weights", "white/model.bpk"]);
    assert_eq!(evaluation["top1"], 1.0);
    let further =
        ["finetune", "data", "--weights", "white/model.bpk", "--epochs", "1", "--seed", "1"];
    let run = zoo(root, &[&further[..], &["-o", "further"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stderr.contains("transparency"), "{}", run.stderr);
    assert!(run.stderr.contains("trained on by the weights to start from"), "{}", run.stderr);
    let card = Record::open(&root.join("further/model.bpk")).unwrap().card;
    assert_eq!(card.preprocess.background, Background::WHITE);

    let run = zoo(root, &["finetune", "data", "--background", "mauve"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("mauve") && run.stderr.contains("#f0f0ff"), "{}", run.stderr);
    assert_eq!(
        finetune(&["-o", "gray", "--set", "data.background=#808080", "--epochs", "1"]).code,
        0
    );
    let card = Record::open(&root.join("gray/model.bpk")).unwrap().card;
    assert_eq!(card.preprocess.background, Background::GRAY);
}
