//! The command line as its users meet it, bad input included.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use insta::assert_snapshot;
use tempfile::TempDir;

fn zoo(arguments: &[&str]) -> Run {
    zoo_in(&workspace(), arguments)
}

fn zoo_in(folder: &Path, arguments: &[&str]) -> Run {
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

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// What was printed by a command that had to work.
    fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }

    /// The complaint of a command that had to fail by its input.
    fn complaint(self) -> String {
        assert_eq!(self.code, 1, "{}\n{}", self.stdout, self.stderr);
        self.stderr
    }

    /// The same, without the name of a folder that is another one each time.
    fn complaint_in(self, folder: &Path) -> String {
        self.complaint().replace(&*folder.to_string_lossy(), "FOLDER")
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn chelsea() -> PathBuf {
    workspace().join("assets/images/chelsea.png")
}

/// A folder with a file in it.
fn file(name: &str, content: &[u8]) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let path = path.to_string_lossy().into_owned();
    (folder, path)
}

#[test]
fn a_photograph_is_named() {
    assert_snapshot!(zoo(&["classify", "assets/images/chelsea.png", "-k", "3"]).ok());
}

#[test]
fn results_are_data() {
    let paths = ["assets/images/coffee.png", "assets/images/chelsea.png"];
    let json = zoo(&["classify", paths[0], paths[1], "-k", "1", "--format", "json"]).ok();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, (path, class)) in lines.iter().zip(paths.iter().zip([967, 282])) {
        assert_eq!(line["path"], *path);
        assert_eq!(line["predictions"][0]["class"], class);
    }
    let csv = zoo(&["classify", paths[0], "-k", "1", "--format", "csv"]).ok();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("path,rank,class,label,probability"));
    assert!(lines.next().unwrap().starts_with("assets/images/coffee.png,1,967,espresso,0.9"));
}

#[test]
fn a_bad_image_does_not_stop_the_others() {
    let (folder, bad) = file("letter.jpg", b"Dear Sir or Madam, this is not a photograph.");
    let run = zoo(&["classify", &bad, "assets/images/coffee.png", "nothing.png", "-k", "1"]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("espresso"));
    assert_snapshot!(run.stderr.replace(&*folder.path().to_string_lossy(), "FOLDER"));
}

#[test]
fn broken_images_say_what_is_wrong() {
    let png = fs::read(chelsea()).unwrap();
    let jpeg = fs::read(workspace().join("assets/images/rocket.jpg")).unwrap();
    let mut complaints = String::new();
    for (name, content) in [
        ("empty.png", &[][..]),
        ("cut.png", &png[..png.len() / 2]),
        ("cut.jpg", &jpeg[..600]),
        ("half.jpg", &jpeg[..jpeg.len() / 2]),
        ("almost.jpg", &jpeg[..jpeg.len() - 2]),
        ("header.png", &png[..20]),
    ] {
        let (folder, path) = file(name, content);
        complaints += &zoo(&["classify", &path]).complaint_in(folder.path());
    }
    assert_snapshot!(complaints);
}

#[test]
fn an_image_comes_through_standard_input() {
    let output = Command::new(env!("CARGO_BIN_EXE_zoo"))
        .args(["classify", "-", "-k", "1", "--format", "csv"])
        .write_stdin(fs::read(chelsea()).unwrap())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("-,1,282,tiger cat,0.3"), "{stdout}");
}

#[test]
fn folders_and_lists_are_gone_through() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    for path in [folder.path().join("b.png"), folder.path().join("a.PNG"), inner.join("c.png")] {
        fs::copy(chelsea(), path).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "not an image").unwrap();
    let paths = |arguments: &[&str]| {
        let csv =
            zoo_in(folder.path(), &[arguments, &["-k", "1", "--format", "csv"]].concat()).ok();
        let paths = csv.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned());
        paths.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(paths(&["classify", "."]), "./a.PNG ./b.png");
    assert_eq!(paths(&["classify", ".", "--recursive"]), "./a.PNG ./b.png ./inner/c.png");
    fs::write(folder.path().join("list.txt"), "\u{feff}inner/c.png\n\nb.png\n\n").unwrap();
    assert_eq!(paths(&["classify", "--from-file", "list.txt"]), "inner/c.png b.png");
}

#[test]
fn a_folder_without_images_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    assert_snapshot!(zoo(&["classify", &path]).complaint_in(folder.path()));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let args = ["classify", "assets/images/coffee.png", "--format", "json", "--threads"];
    let one = zoo(&[&args[..], &["1"]].concat()).ok();
    assert!(one.contains("espresso"));
    assert_eq!(one, zoo(&[&args[..], &["2"]].concat()).ok());
}

#[test]
fn unknown_names_get_a_suggestion() {
    let image = "assets/images/chelsea.png";
    let complaints = [
        zoo(&["classify", image, "--model", "resnet55"]).complaint(),
        zoo(&["classify", image, "--model", "resnet50.imagenet21k"]).complaint(),
        zoo(&["classify", image, "--model", "resnet50"]).complaint(),
        zoo(&["classify", image, "--model", "lenet5"]).complaint(),
        zoo(&["info", "alexandria"]).complaint(),
        zoo(&["list", "--family", "renset"]).complaint(),
        zoo(&["list", "--search", "xyz"]).complaint(),
    ];
    assert_snapshot!(complaints.join("\n"));
}

#[test]
fn wrong_arguments_are_the_users_mistake() {
    assert_eq!(zoo(&["classify"]).code, 1);
    assert_eq!(zoo(&["classify", "x.png", "--top-k", "0"]).code, 1);
    assert_eq!(zoo(&["classify", "x.png", "--backend", "abacus"]).code, 1);
    assert_eq!(zoo(&["classify", "x.png", "--threads", "513"]).code, 1);
    assert_eq!(zoo(&["bench", "lenet5", "--training", "--profile"]).code, 1);
    assert_eq!(zoo(&["--help"]).code, 0);
}

#[cfg(not(feature = "libtorch"))]
#[test]
fn a_backend_that_is_not_there_says_how_to_get_it() {
    let run = zoo(&["classify", "assets/images/chelsea.png", "--backend", "tch"]);
    assert_snapshot!(run.complaint());
}

#[test]
fn weights_that_are_none_are_refused() {
    let image = "assets/images/chelsea.png";
    let checkpoint = workspace().join("tests/fixtures/checkpoints/lenet5.zip.pth");
    let checkpoint = checkpoint.to_string_lossy();
    let whole = fs::read(&*checkpoint).unwrap();
    let mut complaints = String::new();
    for (name, content) in [
        ("empty.bpk", &b""[..]),
        ("cut.bpk", b"NRUB\x01\x00"),
        ("text.pth", b"conv1.weight = 0.1"),
        ("page.pth", b"<!DOCTYPE html><html>"),
        ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00"),
        ("cut.pth", &whole[..whole.len() / 2]),
    ] {
        let (folder, path) = file(name, content);
        complaints += &zoo(&["classify", image, "--model", "lenet5", "--weights", &path])
            .complaint_in(folder.path());
    }
    let folder = checkpoint.trim_end_matches("/lenet5.zip.pth");
    complaints += &zoo(&["classify", image, "--model", "resnet18", "--weights", &checkpoint])
        .complaint_in(Path::new(folder));
    complaints += &zoo(&["classify", image, "--weights", "nowhere.bpk"]).complaint();
    assert_snapshot!(complaints);
}

#[test]
fn a_checkpoint_says_which_model_it_is_of() {
    let folder = TempDir::new().unwrap();
    let checkpoint = workspace().join("tests/fixtures/checkpoints/lenet5.zip.pth");
    let checkpoint = checkpoint.to_string_lossy();
    assert_snapshot!(zoo(&["inspect", &checkpoint]).ok());
    let import = zoo_in(folder.path(), &["import", &checkpoint, "-o", "digits.bpk"]);
    assert_eq!(import.code, 0);
    assert!(import.stderr.contains("as lenet5"), "{}", import.stderr);
    let record = zoo_in(folder.path(), &["inspect", "digits.bpk"]).ok();
    assert!(record.contains("10 tensors: a record of lenet5, 10 classes, 1 channel"), "{record}");
    assert!(record.contains("resize 32 (Bilinear), crop 32"), "{record}");
    let json = zoo(&["inspect", &checkpoint, "--format", "json"]).ok();
    let whole: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(whole["model"], "lenet5");
    assert_eq!(whole["tensors"], 10);
    let image = chelsea();
    let classified = zoo(&["classify", &image.to_string_lossy(), "--weights", &checkpoint]);
    assert_eq!(classified.code, 0, "{}", classified.stderr);
    // What comes between its layers, no checkpoint tells.
    assert!(classified.stderr.contains("also those of lenet5_relu"), "{}", classified.stderr);
}

#[test]
fn an_imported_checkpoint_needs_nothing_else() {
    let folder = TempDir::new().unwrap();
    let checkpoint = workspace().join("tests/fixtures/checkpoints/lenet5.zip.pth");
    let labels = folder.path().join("labels.txt");
    fs::write(&labels, "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n").unwrap();
    let (checkpoint, labels) = (checkpoint.to_string_lossy(), labels.to_string_lossy());
    let import = |output: &str| {
        let arguments = ["import", &*checkpoint, "--model", "lenet5", "--labels", &*labels];
        zoo_in(folder.path(), &[&arguments[..], &["-o", output, "--half"]].concat())
    };
    assert_eq!(import("digits.bpk").code, 0);
    assert!(import(&labels).complaint().contains("is both the input and the output"));
    let image = chelsea();
    let image = image.to_string_lossy();
    let arguments =
        ["classify", &*image, "--weights", "digits.bpk", "-k", "10", "--format", "json"];
    // `--variant` is an earlier name of `--model`.
    let arguments = [&arguments[..], &["--variant", "lenet5"]].concat();
    let line = zoo_in(folder.path(), &arguments).ok();
    for digit in ["zero", "five", "nine"] {
        assert!(line.contains(digit), "{line}");
    }

    let run = import("no/such/folder/digits.bpk");
    assert_eq!(run.code, 2, "{}", run.stderr);
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "only the labels and the record: {names:?}");
}

#[test]
fn a_record_goes_back_to_where_it_came_from() {
    use zoo_import::Checkpoint;

    let folder = TempDir::new().unwrap();
    let origin = workspace().join("tests/fixtures/checkpoints/lenet5.zip.pth");
    let run = |arguments: &[&str]| zoo_in(folder.path(), arguments);
    let origin_name = origin.to_string_lossy();
    assert_eq!(run(&["import", &origin_name, "-o", "digits.bpk"]).code, 0);
    let values = |path: &Path| {
        let tensors = Checkpoint::open(path).unwrap().tensors.into_iter();
        let values = |tensor: zoo_import::Tensor| tensor.to_bytes().unwrap().to_vec();
        tensors.map(|(key, tensor)| (key, values(tensor))).collect::<Vec<_>>()
    };
    for (target, name) in [("safetensors", "digits.safetensors"), ("pth", "digits.pth")] {
        let done = run(&["export", "digits.bpk", "--to", target, "-o", name]);
        assert_eq!((done.code, &*done.stdout), (0, ""), "{}", done.stderr);
        assert_eq!(values(&folder.path().join(name)), values(&origin), "{target}");
    }
    let export = ["export", "digits.bpk", "--to", "onnx", "-o", "digits.onnx"];
    let size = |more: &[&str]| {
        assert_eq!(run(&[&export[..], more].concat()).code, 0);
        fs::metadata(folder.path().join("digits.onnx")).unwrap().len() as f64
    };
    let ratio = size(&["--half"]) / size(&["--opset", "13"]);
    assert!((0.5..0.6).contains(&ratio), "{ratio}");

    let export = ["export", "digits.bpk", "-o", "digits.out"];
    let complaints = [
        run(&["export", "digits.pth", "--to", "onnx", "-o", "digits.out"]).complaint(),
        run(&[&export[..], &["--to", "safetensors", "--layout", "timm"]].concat()).complaint(),
        run(&[&export[..], &["--to", "safetensors", "--opset", "18"]].concat()).complaint(),
        run(&[&export[..], &["--to", "onnx", "--opset", "7"]].concat()).complaint(),
        run(&[&export[..], &["--to", "onnx", "--size", "3"]].concat()).complaint(),
    ];
    assert_snapshot!(complaints.join("\n"));
    let run = run(&["export", "digits.bpk", "--to", "onnx", "-o", "no/such/folder/x.onnx"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(!folder.path().join("digits.out").exists());
}

#[test]
fn a_backbone_is_exported_without_a_classifier() {
    use zoo_import::Checkpoint;

    let folder = TempDir::new().unwrap();
    let origin = workspace().join("tests/fixtures/checkpoints/lenet5.zip.pth");
    let mut tensors = Checkpoint::open(&origin).unwrap().tensors;
    tensors.retain(|key, _| !key.starts_with("fc3."));
    let values: Vec<_> = tensors
        .iter()
        .map(|(key, tensor)| (key, tensor.shape.to_vec(), tensor.to_bytes().unwrap()))
        .collect();
    let views = values.iter().map(|(key, shape, bytes)| {
        let dtype = safetensors::Dtype::F32;
        (*key, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(folder.path().join("trunk.safetensors"), file).unwrap();

    let run = |arguments: &[&str]| zoo_in(folder.path(), arguments);
    assert_eq!(run(&["import", "trunk.safetensors", "-o", "trunk.bpk"]).code, 0);
    let export = ["export", "trunk.bpk", "-o", "out", "--to"];
    // What `pth` was called before.
    assert_eq!(run(&[&export[..], &["pth-keys"]].concat()).code, 0);
    let exported = Checkpoint::open(&folder.path().join("out")).unwrap().tensors;
    assert!(exported.keys().eq(tensors.keys()));
    assert_snapshot!(run(&[&export[..], &["onnx"]].concat()).complaint());
    let image = chelsea();
    let image = image.to_string_lossy();
    let complaint = run(&["classify", &image, "--weights", "trunk.bpk"]).complaint();
    assert!(complaint.contains("the record of lenet5 has no classifier"), "{complaint}");
}

#[test]
fn forward_takes_and_gives_raw_tensors() {
    let folder = TempDir::new().unwrap();
    let checkpoint = workspace().join("tests/fixtures/checkpoints/lenet5.zip.pth");
    let checkpoint = checkpoint.to_string_lossy();
    let write = |name: &str, shape: Vec<usize>| {
        let bytes = vec![0; 4 * shape.iter().product::<usize>()];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &bytes);
        let file = safetensors::serialize([("input", view.unwrap())], None).unwrap();
        fs::write(folder.path().join(name), file).unwrap();
    };
    write("in.safetensors", vec![2, 1, 32, 32]);
    write("color.safetensors", vec![2, 3, 32, 32]);
    write("tiny.safetensors", vec![2, 1, 3, 3]);
    let forward = |input: &str| {
        let arguments = ["forward", "lenet5", "--weights", &*checkpoint, "--input", input];
        zoo_in(folder.path(), &[&arguments[..], &["--output", "out.safetensors"]].concat())
    };
    forward("in.safetensors").ok();
    let bytes = fs::read(folder.path().join("out.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("logits").unwrap().shape(), [2, 10]);
    assert_eq!(file.tensor("features").unwrap().shape(), [2, 16, 5, 5]);
    write("no_images.safetensors", vec![0, 1, 32, 32]);
    let bad =
        ["color.safetensors", "tiny.safetensors", "no_images.safetensors", "none.safetensors"];
    for bad in bad {
        assert_eq!(forward(bad).code, 1, "{bad}");
    }
}

#[test]
fn weights_that_are_no_numbers_answer_nothing() {
    use safetensors::{Dtype, tensor::TensorView};

    let folder = TempDir::new().unwrap();
    let origin = workspace().join("tests/fixtures/checkpoints/lenet5.zip.pth");
    let tensors = zoo_import::Checkpoint::open(&origin).unwrap().tensors;
    let mut values: Vec<_> = tensors
        .iter()
        .map(|(key, tensor)| (key, tensor.shape.to_vec(), tensor.to_bytes().unwrap().to_vec()))
        .collect();
    // What comes behind it must not make a number of it.
    let (.., kernel) = values.iter_mut().find(|(key, ..)| *key == "conv1.weight").unwrap();
    kernel[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let views = values.iter().map(|(key, shape, bytes)| {
        (*key, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(folder.path().join("nan.safetensors"), file).unwrap();
    let image = chelsea();
    let image = image.to_string_lossy();
    let run = zoo_in(folder.path(), &["classify", &image, "--weights", "nan.safetensors"]);
    assert_eq!((run.code, &*run.stdout), (1, ""));
    assert!(run.stderr.contains("not finite in conv1.weight"), "{}", run.stderr);
    assert!(run.stderr.contains("an output of the network is NaN or infinite"), "{}", run.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_the_machines_fault() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in [&["list"][..], &["list", "--format", "csv"], &["list", "--format", "json"]] {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_zoo"))
            .args(arguments)
            .stdout(full())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn bench_prints_one_object() {
    let line = zoo(&["bench", "lenet5", "--runs", "2", "--threads", "1", "--format", "json"]).ok();
    let result: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(result["median_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(result["params"], 61_706);
    assert_eq!(result["computed_by"], "engine");
}

#[test]
fn each_step_of_a_plan_is_a_line() {
    let info = zoo(&["info", "lenet5", "--plan", "--format", "json"]).ok();
    let bench = ["bench", "lenet5", "--profile", "--runs", "2", "--threads", "1", "-f", "json"];
    for lines in [info, zoo(&bench).ok()] {
        assert!(lines.lines().count() > 1, "{lines}");
        for line in lines.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(row["step"].is_string() && row["output"].is_string(), "{line}");
        }
    }
}

#[test]
fn models_are_described() {
    assert_snapshot!(zoo(&["info", "squeezenet1_1"]).ok());
    assert_snapshot!(zoo(&["list", "--family", "mobilenet_v2"]).ok());
    let json = zoo(&["info", "squeezenet1_1", "--format", "json"]).ok();
    assert_eq!(json.matches("\"params\":1235496").count(), 1, "{json}");
    let info: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(info["weights"], serde_json::json!(["imagenet1k_v1"]));
    let csv = zoo(&["list", "--family", "mobilenet_v2", "--format", "csv"]).ok();
    assert!(csv.lines().nth(1).unwrap().ends_with(",imagenet1k_v1 imagenet1k_v2"), "{csv}");
}

#[test]
fn completions_are_for_zoo() {
    assert!(zoo(&["completions", "bash"]).ok().contains("zoo"));
}
