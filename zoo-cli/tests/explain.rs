//! `zoo explain` as its users meet it, bad input included.

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use burn_zoo::{Backend, Model, Precision};
use serde_json::Value;
use tempfile::TempDir;
use zoo_core::parameters;

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
fn a_check_compares_the_map_with_those_of_random_weights() {
    let folder = TempDir::new().unwrap();
    let arguments = ["@coffee.png", "@chelsea.png", "--check"];
    let found = rows(folder.path(), &arguments);
    for row in &found {
        for weights in ["classifier", "all"] {
            let correlation = row["randomized"][weights].as_f64().unwrap();
            assert!(correlation.abs() < 0.95, "{row}");
        }
    }
    assert_eq!(rows(folder.path(), &arguments), found, "the random weights are always the same");
    let output = zoo(folder.path(), &arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("rank correlation with the map of a random classifier"), "{text}");
    assert!(text.contains("grad-cam, mean of 2:\n  area under deletion"), "{text}");
}

#[test]
fn channels_and_filters_are_drawn() {
    let folder = TempDir::new().unwrap();
    let size = |row: &Value| {
        let path = folder.path().join(row["picture"].as_str().unwrap());
        image::image_dimensions(path).unwrap()
    };
    let found = rows(folder.path(), &["@coffee.png", "--maps", "stages.1,features"]);
    assert_eq!(found.len(), 2, "no heat map was requested");
    assert_eq!(found[0]["picture"], "out/coffee-maps-stages.1.png");
    assert_eq!((found[0]["channels"].as_u64(), size(&found[0])), (Some(24), (286, 286)));
    let shown = found[1]["shown"].as_array().unwrap();
    assert_eq!((found[1]["channels"].as_u64(), shown.len()), (Some(1280), 256));
    assert_eq!(size(&found[1]), (16 * 43 + 1, 16 * 43 + 1));

    let found = rows(folder.path(), &["--filters"]);
    assert_eq!(found[0]["picture"], "out/filters.png");
    assert_eq!((found[0]["filters"].as_u64(), size(&found[0])), (Some(32), (295, 295)));
}

#[test]
fn a_dream_needs_no_image() {
    let folder = TempDir::new().unwrap();
    let arguments = ["--dream", "espresso", "--dream", "stages.4:17", "--steps", "6"];
    let found = rows(folder.path(), &arguments);
    let pictures: Vec<_> = found.iter().map(|row| row["picture"].as_str().unwrap()).collect();
    assert_eq!(pictures, ["out/dream-espresso.png", "out/dream-stages.4-17.png"]);
    for row in &found {
        let [start, reached] = ["start", "reached"].map(|key| row[key]["value"].as_f64().unwrap());
        assert!(reached > start, "{row}");
    }
    assert!(found[0]["reached"]["probability"].as_f64().is_some());
    assert!(found[1]["reached"]["probability"].is_null());
    let first = fs::read(folder.path().join(pictures[0])).unwrap();
    assert_eq!(rows(folder.path(), &arguments), found);
    assert_eq!(fs::read(folder.path().join(pictures[0])).unwrap(), first);
}

/// Writes a U-Net with random weights that predicts the class `disc` everywhere.
fn segmenter(path: &Path) {
    struct Bias(ParamId);
    impl ModuleMapper for Bias {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if param.id != self.0 {
                return param;
            }
            let values = Tensor::<1>::from_floats([0.0, 1e3], &param.lazy_device());
            Param::initialized(param.id, values.reshape(param.lazy_shape()))
        }
    }
    let device = Backend::Cpu.device().unwrap();
    let (network, mut card) = Model::init("unet", Some(2), &device).unwrap().into_parts().unwrap();
    let bias = parameters(&network).into_iter().find(|it| it.path == "classifier.bias").unwrap();
    let network = network.map(&mut Bias(bias.id));
    card.has_classifier = true;
    card.labels = vec!["nothing".to_owned(), "disc".to_owned()];
    card.preprocess = card.preprocess.sized(48, 48);
    Model::new(network, card, &device).save(path, Precision::Half).unwrap();
}

#[test]
fn a_segmenter_is_explained() {
    let folder = TempDir::new().unwrap();
    segmenter(&folder.path().join("unet.bpk"));
    let unet = ["@coffee.png", "--weights", "unet.bpk"];
    let found = rows(folder.path(), &[&unet[..], &["--method", "grad-cam,layer-cam"]].concat());
    assert_eq!(found.len(), 2);
    for row in &found {
        assert_eq!((&row["label"], &row["share"]), (&"disc".into(), &1.0.into()), "{row}");
        assert!(folder.path().join(row["picture"].as_str().unwrap()).exists());
    }
    let found = rows(folder.path(), &[&unet[..], &["--class", "1", "--check"]].concat());
    assert!(found[0]["randomized"]["all"].is_number() && found[0]["areas"].is_null(), "{found:?}");
    let found = rows(folder.path(), &[&unet[..], &["--maps", "down.3"]].concat());
    assert_eq!((&found[0]["channels"], &found[0]["height"]), (&1024.into(), &3.into()));

    let text = complaint(folder.path(), &[&unet[..], &["--class", "nothing"]].concat());
    assert!(text.contains("no pixel is predicted as `nothing`\nhint: "), "{text}");
    let text = complaint(folder.path(), &[&unet[..], &["--method", "score-cam"]].concat());
    assert!(text.contains("score-cam explains only image classifiers\nhint: grad-cam"), "{text}");
    let text = complaint(folder.path(), &["--weights", "unet.bpk", "--dream", "disc"]);
    assert!(text.contains("unet is a segmenter"), "{text}");
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
    let text = complaint(folder.path(), &["@coffee.png", "--maps", "layer4"]);
    assert!(text.contains("has no layer layer4\nhint: it has stages.0, "), "{text}");
    let text = complaint(folder.path(), &["--dream", "expresso"]);
    assert!(text.contains("no class has the name `expresso`\nhint: ") && text.contains("espresso"));
    let text = complaint(folder.path(), &["--dream", "layer4:1"]);
    assert!(text.contains("has no layer layer4\nhint: it has stages.0, "), "{text}");
    let text = complaint(folder.path(), &["--dream", "features:1280"]);
    assert!(text.contains("features has no channel 1280; it has 1280, from 0"), "{text}");
    let text = complaint(folder.path(), &["--filters", "--format", "csv"]);
    assert!(text.contains("--format csv has only rows for heat maps\nhint: "), "{text}");
    let text = complaint(folder.path(), &["--maps", "features"]);
    assert!(text.contains("required arguments were not provided") && text.contains("PATH"));
    assert!(!folder.path().join("out").exists(), "nothing is written");
    fs::write(folder.path().join("broken.png"), b"no image").unwrap();
    let text = complaint(folder.path(), &["broken.png", "@coffee.png"]);
    assert!(text.contains("broken.png"), "{text}");
    assert!(folder.path().join("out/coffee-grad-cam.png").exists());
    assert!(!folder.path().join("out/broken-grad-cam.png").exists());
}

#[test]
fn images_of_the_same_name_keep_their_own_pictures() {
    let folder = TempDir::new().unwrap();
    for name in ["a", "b"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/images/coffee.png");
        fs::copy(image, folder.path().join(name).join("1.png")).unwrap();
    }
    let rows = rows(folder.path(), &["a", "b", "--report", "page.html"]);
    let pictures: Vec<_> = rows.iter().map(|row| row["picture"].as_str().unwrap()).collect();
    assert_eq!(pictures, ["out/a-1.png-grad-cam.png", "out/b-1.png-grad-cam.png"]);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert_eq!(page.matches("<img").count(), 4);
    program::in_a_browser(&folder.path().join("page.html"), "explain");
}
