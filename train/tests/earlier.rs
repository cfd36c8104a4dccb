//! Runs of an earlier version can be loaded and resumed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use tempfile::TempDir;
use zoo_core::{Color, Preprocess};
use zoo_models::Classifier;
use zoo_record::{ModelCard, Origin, Record};
use zoo_train::config::{Balance, OptimizerKind};
use zoo_train::{
    Classification, Config, Dataset, Error, MODEL, Preset, Run, Silent, Trained, epochs_done, train,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/earlier")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => {
                fs::write(to.join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap()
            }
        }
    }
}

/// Returns the card of the network that the run began with.
fn card() -> ModelCard {
    ModelCard {
        variant: "lenet5".to_owned(),
        tag: None,
        num_classes: 2,
        in_channels: 1,
        has_auxiliary: false,
        has_classifier: false,
        hidden: Vec::new(),
        labels: Vec::new(),
        preprocess: Preprocess {
            color: Color::Gray,
            mean: [0.5; 3],
            std: [0.5; 3],
            ..Record::open(&fixtures().join("run/model.bpk")).unwrap().card.preprocess
        },
        origin: Origin::default(),
    }
}

/// Continues the run in a folder.
fn resume(folder: &Path, config: &Config) -> Result<Trained<Classification<Classifier>>, Error> {
    let device = Device::flex();
    let path = config.data.path.as_deref().unwrap();
    let dataset = Dataset::open(path, config.data.val_fraction, config.seed)?;
    let mut run = Run {
        folder,
        device: &device,
        others: &[],
        resume: true,
        stop: &AtomicBool::new(false),
        observer: &mut Silent,
    };
    let network = zoo_models::variant("lenet5").unwrap().config.with_num_classes(2);
    let model = network.init(&device).into_classifier().unwrap();
    train(model, &card(), &dataset, config, &mut run)
}

#[test]
fn settings_mean_what_they_meant() {
    let layer = Config::read_layer(&fixtures().join("run/config.toml")).unwrap();
    let config = Config::from_layers(&[layer]).unwrap();
    let expected = Config::scratch()
        .with_path(Some("/photographs".to_owned()))
        .with_name(Some("lenet5".to_owned()))
        .with_epochs(2)
        .with_batch_size(4)
        .with_ema(Some(0.9))
        .with_color(0.1);
    assert_eq!(config, expected);
    assert_eq!((config.preset, config.recipe.optimizer), (Preset::Scratch, OptimizerKind::Sgd));
    // A value that was not set was -1, 0 or empty.
    assert_eq!((config.recipe.dropout, config.recipe.clip), (None, None));
    assert_eq!((config.recipe.early_stopping, config.recipe.checkpoint_steps), (None, None));
    assert_eq!((config.data.workers, config.model.image_size), (None, None));
    assert_eq!((config.model.weights, config.recipe.freeze_until), (None, None));
    assert_eq!(config.data.balance, Balance::None);
}

#[test]
fn a_run_continues_after_its_images_have_moved() {
    let folder = TempDir::new().unwrap();
    let (run, data) = (folder.path().join("run"), folder.path().join("moved/photographs"));
    copy(&fixtures().join("run"), &run);
    copy(&fixtures().join("photographs"), &data);
    let layer = Config::read_layer(&run.join("config.toml")).unwrap();
    let config = Config::from_layers(&[layer]).unwrap();
    let config = config.with_path(Some(data.display().to_string())).with_epochs(4);
    assert_eq!(epochs_done(&run).unwrap(), Some(2));

    // Other settings and other images are refused.
    let refused = |config: &Config| {
        let error = resume(&run, config).unwrap_err();
        assert!(matches!(error, Error::Resume { .. }), "{error}");
    };
    refused(&config.clone().with_lr(0.01));
    let moved = data.join("light/1.png");
    fs::rename(&moved, data.join("light/9.png")).unwrap();
    refused(&config);
    fs::rename(data.join("light/9.png"), &moved).unwrap();

    let before = fs::read(run.join("metrics.csv")).unwrap();
    let trained = resume(&run, &config).unwrap();
    assert_eq!(trained.fitted.history.len(), 4);
    let after = fs::read(run.join("metrics.csv")).unwrap();
    assert!(after.starts_with(&before), "the first epochs are kept");
    assert_eq!(Record::open(&run.join(MODEL)).unwrap().card.labels, ["dark", "light"]);
    // After the first resumption the identity is that of this version, in any folder.
    let again = folder.path().join("again");
    fs::rename(&data, &again).unwrap();
    let config = config.with_path(Some(again.display().to_string()));
    assert!(resume(&run, &config).unwrap().fitted.was_finished);
}
