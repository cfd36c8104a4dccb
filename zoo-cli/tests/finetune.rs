//! `zoo finetune` and `zoo eval` as their users meet them: what goes wrong included.

mod program;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use program::{command, complaint, in_a_browser, ok, zoo};

const CLASSES: [&str; 3] = ["Blaumeise", "grüner Frosch", "赤い花"];

/// Images whose class is their color, with noise.
fn images(folder: &Path, per_class: u32) {
    for (class, name) in CLASSES.iter().enumerate() {
        fs::create_dir_all(folder.join(name)).unwrap();
        for number in 0..per_class {
            let image = RgbImage::from_fn(24, 24 + number % 3, |x, y| {
                let mut pixel = [((x * 31 + y * 17 + number * 7) % 64) as u8; 3];
                pixel[class] += 150;
                Rgb(pixel)
            });
            image.save(folder.join(name).join(format!("{number}.png"))).unwrap();
        }
    }
}

/// A run that learns something in a moment.
const QUICK: [&str; 8] =
    ["--preset", "scratch", "-m", "resnet8_cifar", "--epochs", "6", "--batch-size", "8"];

fn quick<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["finetune"], &QUICK[..], arguments].concat()
}

#[test]
fn from_a_folder_to_a_record_that_knows_its_classes() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 10);
    fs::create_dir(root.join("data/empty")).unwrap();
    let output = zoo(root, &quick(&["data", "-o", "out"]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("ignored: no images in") && stderr.contains("data/empty"), "{stderr}");
    assert!(stderr.contains("3 classes, 24 images to train on, 6 to validate with"), "{stderr}");
    for name in ["model.bpk", "config.toml", "metrics.csv", "report.html", "images.csv"] {
        assert!(root.join("out").join(name).exists(), "{name}");
    }

    // It names its own classes, without being told anything else.
    let image = format!("data/{}/0.png", CLASSES[1]);
    let text = ok(root, &["classify", &image, "--weights", "out/model.bpk", "-k", "1"]);
    assert!(text.contains(CLASSES[1]), "{text}");

    // Its accuracy is what the run said, and what it says about each class adds up.
    let list = ["eval", "out/images.csv", "--weights", "out/model.bpk", "-f", "json"];
    let evaluation: Value = serde_json::from_str(&ok(root, &list)).unwrap();
    let mut table = csv::Reader::from_path(root.join("out/metrics.csv")).unwrap();
    let column = table.headers().unwrap().iter().position(|name| name == "val_accuracy").unwrap();
    let best =
        table.records().map(|row| row.unwrap()[column].parse::<f64>().unwrap()).fold(0.0, f64::max);
    assert_eq!(evaluation["top1"].as_f64(), Some(best));
    assert_eq!(evaluation["images"], 6);
    let text = ok(root, &["eval", "data", "--weights", "out/model.bpk", "--confusion", "c.png"]);
    assert!(text.contains("6 images: top-1"), "{text}");
    assert!(image::open(root.join("c.png")).unwrap().width() > 60);

    // The report needs nothing but itself, and a browser makes of it what was meant.
    let report = fs::read_to_string(root.join("out/report.html")).unwrap();
    assert!(!report.contains("src=\"http") && !report.contains("href=") && !report.contains("{{"));
    if let Some(page) = in_a_browser(&root.join("out/report.html"), "finetune") {
        let count = |text: &str| page.matches(text).count();
        assert_eq!((count("<svg"), count("<polyline")), (2, 4), "{page}");
        // Behind each chart is a table, too.
        assert_eq!(count("<table"), 5);
        for name in CLASSES {
            // A row of results, a row and a column of the confusion matrix.
            assert!(count(&format!("<th>{name}</th>")) == 3, "{name}");
        }
    }

    // The run can be had again from what it wrote.
    ok(root, &["finetune", "--config", "out/config.toml", "-o", "again"]);
    let bytes = |name: &str| fs::read(root.join(name)).unwrap();
    assert!(bytes("out/model.bpk") == bytes("again/model.bpk"));
    let text = complaint(root, &quick(&["data", "-o", "out"]));
    assert!(text.contains("out already has a training run"), "{text}");
}

#[test]
fn what_can_not_be_learned_from_is_refused() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 3);
    fs::create_dir_all(root.join("one/only")).unwrap();
    fs::create_dir_all(root.join("nothing")).unwrap();
    fs::copy(root.join("data").join(CLASSES[0]).join("0.png"), root.join("one/only/a.png"))
        .unwrap();
    fs::write(root.join("list.csv"), "file,kind\na.png,x\n").unwrap();
    fs::write(root.join("typo.toml"), "[recipe]\nepoch = 3\n").unwrap();
    for (arguments, expected) in [
        (vec!["one"], "all images in"),
        (vec!["nothing"], "there are no folders with images"),
        (vec!["missing"], "there is no such file or folder"),
        (vec!["list.csv"], "the columns path and label are needed"),
        (vec!["data", "--config", "typo.toml"], "did you mean `recipe.epochs`?"),
        (vec!["data", "--set", "augment.mixpu=1"], "did you mean `augment.mixup`?"),
        (vec!["data", "--freeze-until", "stages.9"], "no part `stages.9`"),
        (vec!["data", "-m", "lenet5", "--size", "2"], "too small"),
        (
            vec!["data", "--optimizer", "sdg"],
            "no optimizer is called sdg; there are sgd, adam, adamw, rmsprop",
        ),
        (vec!["fashion-mnist:data"], "train-images-idx3-ubyte"),
        (vec!["data", "--lr", "-1"], "zoo: --lr must be above 0 and at most 1, not -1"),
        (vec!["data", "--lr", "1000"], "zoo: --lr must be above 0 and at most 1, not 1000"),
        (vec!["data", "--lr", "fast"], "zoo: --lr must be a number, not fast"),
        (vec!["data", "--epochs", "0"], "zoo: --epochs must be at least 1, not 0"),
        (vec!["data", "--size", "5000"], "zoo: --size must be from 1 to 4096, not 5000"),
        (
            vec!["data", "--set", "recipe.lr=-1"],
            "zoo: recipe.lr must be above 0 and at most 1, not",
        ),
        (vec!["data", "--preset", "tiny"], "no preset is called tiny; there are linear, fine"),
        (vec!["data", "--task", "detect"], "no task is called detect; there are classify, segment"),
    ] {
        let text = complaint(root, &quick(&arguments));
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    let text = complaint(root, &["finetune", "--resume", "data"]);
    assert!(text.contains("data is not the folder of a run"), "{text}");
    let text = complaint(root, &["finetune", "--resume", "data", "--lr", "0.1"]);
    assert!(text.contains("cannot be used with"), "{text}");
    // A run that was killed before it came to all layers.
    fs::create_dir_all(root.join("out/linear")).unwrap();
    fs::write(root.join("out/linear/checkpoint.bpk"), "").unwrap();
    let text = complaint(root, &quick(&["data", "-o", "out"]));
    assert!(text.contains("out already has a training run"), "{text}");
}

#[test]
fn lists_name_paths_labels_and_parts() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 4);
    let mut csv = "path,label,split\n".to_owned();
    let mut json = String::new();
    for name in CLASSES {
        for number in 0..4 {
            let split = if number == 3 { "val" } else { "train" };
            csv += &format!("data/{name}/{number}.png,{name},{split}\n");
            let path = format!("data/{name}/{number}.png");
            json += &format!("{}\n", serde_json::json!({ "path": path, "label": name }));
        }
    }
    // The first line once more.
    csv += &format!("data/{0}/0.png,{0},train\n", CLASSES[0]);
    fs::write(root.join("list.csv"), csv).unwrap();
    fs::write(root.join("list.jsonl"), json).unwrap();
    for (list, out, expected) in
        [("list.csv", "a", "9 images to train on, 3 to"), ("list.jsonl", "b", "9 images to train")]
    {
        let output = zoo(root, &quick(&[list, "-o", out, "--epochs", "1"]));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.contains(expected), "{stderr}");
        assert_eq!(list == "list.csv", stderr.contains("listed more than once"), "{stderr}");
    }
}

/// Waits until a run has written a checkpoint.
#[cfg(unix)]
fn wait_for(path: &Path) {
    for _ in 0..12_000 {
        if path.exists() {
            return;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("{} never came", path.display());
}

#[cfg(unix)]
#[test]
fn stopped_or_killed_a_run_goes_on_to_the_same_result() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 10);
    let arguments = |out| quick(&["data", "-o", out, "--epochs", "20", "-t", "1"]);
    ok(root, &arguments("whole"));
    let whole = fs::read(root.join("whole/model.bpk")).unwrap();
    for signal in ["INT", "KILL"] {
        let run = command(root, &arguments(signal)).spawn().unwrap();
        wait_for(&root.join(signal).join("checkpoint.bpk"));
        let pid = run.id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success()
        );
        let output = run.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        if signal == "INT" {
            assert_eq!(output.status.code(), Some(130), "{stderr}");
            assert!(stderr.contains("`zoo finetune --resume INT` continues"), "{stderr}");
        }
        let table = fs::read_to_string(root.join(signal).join("metrics.csv")).unwrap();
        let done = table.lines().count() - 1;
        assert!(done < 20, "no epochs were left: {table}");
        let output = zoo(root, &["finetune", "--resume", signal, "-t", "2"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("resuming at epoch"), "{stderr}");
        assert!(fs::read(root.join(signal).join("model.bpk")).unwrap() == whole, "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_runs_folder_is_its_own_while_it_goes_on() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 10);
    let endless = quick(&["data", "-o", "out", "--epochs", "100000"]);
    let mut run = command(root, &endless).spawn().unwrap();
    // The first of these moments is before the first checkpoint, as a rule.
    for moment in ["config.toml", "checkpoint.bpk"] {
        wait_for(&root.join("out").join(moment));
        let settings = fs::read(root.join("out/config.toml")).unwrap();
        for arguments in [
            vec!["finetune", "--resume", "out"],
            vec!["finetune", "--resume", "out", "--epochs", "3"],
            quick(&["data", "-o", "out"]),
        ] {
            let text = complaint(root, &arguments);
            assert!(text.contains("another process is training in out"), "{text}");
            assert!(text.contains("hint: ") && text.contains("--output"), "{text}");
        }
        assert!(fs::read(root.join("out/config.toml")).unwrap() == settings);
    }
    assert!(run.try_wait().unwrap().is_none(), "it ended by itself");
    run.kill().unwrap();
    run.wait().unwrap();
    // What was killed holds nothing.
    let text = complaint(root, &quick(&["data", "-o", "out"]));
    assert!(text.contains("out already has a training run"), "{text}");
    let mut run = command(root, &["finetune", "--resume", "out"]).spawn().unwrap();
    sleep(Duration::from_millis(300));
    assert!(run.try_wait().unwrap().is_none(), "it does not go on");
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn a_finished_run_goes_on_for_more_epochs() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 5);
    ok(root, &quick(&["data", "-o", "out", "--epochs", "2"]));
    let model = fs::read(root.join("out/model.bpk")).unwrap();
    let resume = |arguments: &[&str]| {
        let output = zoo(root, &[&["finetune", "--resume", "out"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let text = resume(&[]);
    assert!(text.contains("the run in out is finished: it has 2 epochs"), "{text}");
    assert!(text.contains("hint: `zoo finetune --resume out --epochs 4`"), "{text}");
    assert!(fs::read(root.join("out/model.bpk")).unwrap() == model);

    let text = resume(&["--epochs", "4"]);
    assert!(text.contains("resuming at epoch 3/4") && text.contains("epoch 4/4"), "{text}");
    assert!(!text.contains("finished"), "{text}");
    let config = fs::read_to_string(root.join("out/config.toml")).unwrap();
    assert!(config.contains("epochs = 4"), "{config}");
    // The learning rate is that of a run that was to have four from its start.
    ok(root, &quick(&["data", "-o", "whole", "--epochs", "4"]));
    let rates = |folder: &str| {
        let mut table = csv::Reader::from_path(root.join(folder).join("metrics.csv")).unwrap();
        let column = table.headers().unwrap().iter().position(|name| name == "lr").unwrap();
        table.records().map(|row| row.unwrap()[column].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rates("out")[2..], rates("whole")[2..]);

    // Each setting is explained where it is written.
    assert!(config.contains("# Passes over the training images."), "{config}");

    // Fewer than there are can't be.
    let text = complaint(root, &["finetune", "--resume", "out", "--epochs", "3"]);
    assert!(text.contains("the run in out has already trained 4 epochs"), "{text}");
    assert!(text.contains("hint: --epochs 8"), "{text}");
    let config = fs::read_to_string(root.join("out/config.toml")).unwrap();
    assert!(config.contains("epochs = 4"), "{config}");
}

#[test]
fn settings_that_nobody_can_have_meant_are_named() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 3);
    for (number, (arguments, named)) in [
        (["--set", "augment.mixup=0.5"], Some("augment.mixup")),
        (["--set", "augment.cutmix=1"], Some("augment.cutmix")),
        (["--freeze-until", "stem"], Some("recipe.freeze_until")),
        (["--backbone-lr-scale", "0.1"], Some("recipe.backbone_lr_scale")),
        (["--set", "recipe.batch_norm=train"], None),
        (["--set", "augment.erase=1"], None),
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("out{number}");
        let rest = ["finetune", "data", "--size", "32", "--epochs", "1", "-o", &out];
        let output = zoo(root, &[&rest[..], &arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        match named {
            Some(named) => {
                let text = format!("zoo: {named} has no effect: only the classifier is trained");
                assert!(stderr.contains(&text), "{stderr}");
                assert!(stderr.contains("hint: --do-fine-tuning true"), "{stderr}");
            }
            None => assert!(!stderr.contains("no effect"), "{stderr}"),
        }
    }
    let text = complaint(root, &quick(&["data", "--do-fine-tuning", "false"]));
    assert!(text.contains("there are no features to train a classifier on"), "{text}");
    assert!(text.contains("hint: --preset linear"), "{text}");
}

#[test]
fn the_embedded_model_learns_new_classes() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 3);
    let text = ok(root, &["finetune", "data", "--do_fine_tuning=false", "--size", "64"]);
    assert!(text.contains("data-efficientnet_lite0/model.bpk"), "{text}");
    let config = fs::read_to_string(root.join("data-efficientnet_lite0/config.toml")).unwrap();
    assert!(config.contains("preset = \"linear\"") && config.contains("do_fine_tuning = false"));
}

/// Bright discs on dark ground, and masks of them.
fn discs(folder: &Path, count: u32) {
    for name in ["images", "masks"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for number in 0..count {
        let is_inside = |x: u32, y: u32| {
            (x as i32 - 12 - number as i32 % 5).pow(2) + (y as i32 - 14).pow(2) < 50
        };
        let image = RgbImage::from_fn(32, 32, |x, y| {
            let noise = ((x * 13 + y * 7 + number) % 40) as u8;
            Rgb(if is_inside(x, y) { [200, noise, 30] } else { [20, noise, 90] })
        });
        let mask = GrayImage::from_fn(32, 32, |x, y| Luma([if is_inside(x, y) { 255 } else { 0 }]));
        image.save(folder.join(format!("images/{number}.png"))).unwrap();
        mask.save(folder.join(format!("masks/{number}.png"))).unwrap();
    }
}

#[test]
fn pixels_are_told_apart_and_evaluated() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    discs(&root.join("data"), 6);
    let settings = ["--size", "32", "--epochs", "1", "--batch-size", "2", "--val-fraction", "0.5"];
    let arguments = [&["finetune", "data", "--task", "segment", "-o", "out"], &settings[..]];
    let text = ok(root, &arguments.concat());
    assert!(text.contains("validation mean IoU ") && text.contains(" on 3 images"), "{text}");
    let report = fs::read_to_string(root.join("out/report.html")).unwrap();
    assert_eq!(report.matches("alt=\"predicted mask\"").count(), 3);
    let table = fs::read_to_string(root.join("out/metrics.csv")).unwrap();
    assert!(table.lines().next().unwrap().contains("val_accuracy,val_mean_iou"), "{table}");

    // What was trained on is left out, and the result is the run's.
    let eval = ["eval", "data", "--weights", "out/model.bpk"];
    let output = zoo(root, &[&eval[..], &["-f", "json", "--predictions", "p.csv"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("3 of 6 images are left out"), "{stderr}");
    let evaluation: Value = serde_json::from_slice(&output.stdout).unwrap();
    let iou = evaluation["mean_iou"].as_f64().unwrap();
    assert!(text.contains(&format!("{iou:.3}")), "{text} {iou}");
    assert_eq!(evaluation["classes"][1]["name"], "255");
    assert_eq!(fs::read_to_string(root.join("p.csv")).unwrap().lines().count(), 4);
    let text = ok(root, &[&eval[..], &["--confusion", "c.png"]].concat());
    assert!(text.starts_with("3 images: mean IoU ") && text.contains("pixel accuracy"), "{text}");
    assert!(image::open(root.join("c.png")).unwrap().width() > 120);
    let csv = ok(root, &[&eval[..], &["-f", "csv"]].concat());
    assert!(csv.starts_with("name,pixels,iou\n0,"), "{csv}");

    // Masks of other classes are refused.
    fs::write(root.join("data/masks/0.png"), fs::read(root.join("data/images/0.png")).unwrap())
        .unwrap();
    let text = complaint(root, &eval);
    assert!(text.contains("the network knows the classes 0, 255"), "{text}");
}

#[test]
fn a_run_of_an_earlier_program_goes_on() {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if path.is_dir() {
                copy(&path, &to)
            } else {
                fs::write(to, fs::read(path).unwrap()).unwrap()
            }
        }
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/earlier");
    copy(&fixtures.join("run"), &root.join("run"));
    copy(&fixtures.join("photographs"), &root.join("photographs"));
    let path = root.join("run/config.toml");
    let data = format!("{:?}", root.join("photographs").display().to_string());
    let config = fs::read_to_string(&path).unwrap().replace("\"/photographs\"", &data);
    fs::write(&path, config).unwrap();
    let output = zoo(root, &["finetune", "--resume", "run", "--epochs", "3"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("resuming at epoch 3/3"), "{stderr}");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains("color = 0.1") && config.contains("dropout = \"none\""), "{config}");
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_program_that_knows_no_other_machines_says_how_to_build_one_that_does() {
    let folder = TempDir::new().unwrap();
    images(&folder.path().join("data"), 3);
    let arguments = quick(&["data", "--devices", "cpu,ws://127.0.0.1:1"]);
    for arguments in [&arguments[..], &["serve"]] {
        let text = complaint(folder.path(), arguments);
        assert!(text.contains("hint: cargo install") && text.contains("remote"), "{text}");
    }
}

#[cfg(feature = "remote")]
#[test]
fn another_machine_shares_the_work() {
    use std::io::{BufRead, BufReader};

    let folder = TempDir::new().unwrap();
    let root = folder.path();
    images(&root.join("data"), 10);
    let serve = |token| {
        let mut server = command(root, &["serve", "--listen", "127.0.0.1:0"]);
        let mut server = server.env("ZOO_TOKEN", token).spawn().unwrap();
        let lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.into_iter().find(|line| line.contains("ws://")).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("ws://")).unwrap();
        (server, url.trim_end_matches(';').to_owned())
    };
    let (mut server, url) = serve("a secret");
    let train = |token, out| {
        let devices = format!("cpu,{url}");
        let arguments = quick(&["data", "--devices", &devices, "-o", out]);
        command(root, &arguments).env("ZOO_TOKEN", token).output().unwrap()
    };
    let shared = train("a secret", "shared");
    let refused = train("a guess", "refused");
    server.kill().unwrap();
    server.wait().unwrap();
    let text = String::from_utf8_lossy(&shared.stderr);
    assert!(shared.status.success(), "{text}");
    assert!(String::from_utf8_lossy(&shared.stdout).contains("100.0 %"), "{text}");
    for (output, reason) in [(refused, "credential"), (train("a secret", "nobody"), "serve")] {
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains(&url) && text.contains(reason) && !text.contains("panicked"),
            "{text}"
        );
    }
}
