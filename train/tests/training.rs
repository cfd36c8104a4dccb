//! Whole runs on small images: frozen parameters do not change, interrupted runs can be resumed,
//! and errors leave the last good state.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use image::{Rgb, RgbImage};
use tempfile::TempDir;
use zoo_core::{ImageClassifier, Preprocess, parameters};
use zoo_lenet::{LeNet, LeNetConfig};
use zoo_mobilenet_v2::{MobileNetV2, MobileNetV2Config};
use zoo_record::{ModelCard, Origin, Record};
use zoo_resnet::ResNet;
use zoo_train::{
    CHECKPOINT, Classification, Config, Dataset, Error, Event, Fitted, MODEL, Observer, Run,
    Silent, Trained, epochs_done, train,
};

const CLASSES: [&str; 3] = ["blau", "grün und rot", "赤"];

/// Locks the backend's random numbers, which belong to the process. Runs that must be reproducible
/// hold this lock.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws images whose class is their color, with noise.
fn images(folder: &Path, per_class: u32) {
    for (class, name) in CLASSES.iter().enumerate() {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..per_class {
            let image = RgbImage::from_fn(24 + number % 5, 24, |x, y| {
                let noise = (x * 31 + y * 17 + number * 7) % 64;
                let mut pixel = [noise as u8; 3];
                pixel[class] += 150;
                Rgb(pixel)
            });
            image.save(folder.join(format!("{number}.png"))).unwrap();
        }
    }
}

fn card(variant: &str, side: u32) -> ModelCard {
    ModelCard {
        variant: variant.to_owned(),
        tag: None,
        num_classes: 1000,
        in_channels: 3,
        has_auxiliary: false,
        has_classifier: true,
        hidden: Vec::new(),
        labels: Vec::new(),
        preprocess: Preprocess::IMAGENET.sized(side, side),
        origin: Origin::default(),
    }
}

/// Builds a narrow MobileNetV2 with BatchNorm, dropout and residuals, with the same weights each
/// time.
fn mobilenet(device: &Device) -> MobileNetV2 {
    device.seed(7);
    let model = MobileNetV2Config::new().with_width_mult(0.1).init(device);
    values(&model);
    model
}

/// Returns the values of all parameters by path.
fn values<M: Module>(model: &M) -> BTreeMap<String, Vec<f32>> {
    struct Values(Vec<Vec<f32>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().iter::<f32>().collect());
        }
    }
    let mut values = Values(Vec::new());
    model.visit(&mut values);
    parameters(model).into_iter().map(|parameter| parameter.path).zip(values.0).collect()
}

fn saved(path: &Path, device: &Device) -> BTreeMap<String, Vec<f32>> {
    let model = MobileNetV2Config::new().with_width_mult(0.1).with_num_classes(3).init(device);
    values(&Record::open(path).unwrap().load_into(model).unwrap())
}

/// Asserts that weights are the same to the bit, and names those that differ.
fn assert_same(got: &BTreeMap<String, Vec<f32>>, expected: &BTreeMap<String, Vec<f32>>) {
    let differ: Vec<_> = expected
        .iter()
        .filter(|(path, values)| got[*path] != **values)
        .map(|(path, _)| path)
        .collect();
    assert!(differ.is_empty() && got.len() == expected.len(), "{differ:?}");
}

fn config(data: &Path, settings: &[&str]) -> Config {
    let mut layers = vec![Config::setting(&format!("data.path={}", data.display())).unwrap()];
    layers.extend(settings.iter().map(|setting| Config::setting(setting).unwrap()));
    Config::from_layers(&layers).unwrap()
}

/// Settings that use everything with a state.
const FULL: [&str; 14] = [
    "preset=\"fine\"",
    "recipe.batch_norm=train",
    "recipe.linear_epochs=2",
    "recipe.epochs=3",
    "recipe.batch_size=5",
    "recipe.accumulate=2",
    "recipe.ema=0.9",
    "recipe.lr=0.01",
    "augment.mixup=0.2",
    "augment.cutmix=1.0",
    "augment.erase=0.3",
    "augment.rand_augment=1",
    "recipe.dropout=0.2",
    "data.val_fraction=0.25",
];

/// Opens the images of a run.
fn open(config: &Config) -> Result<Dataset, Error> {
    let path = config.data.path.as_deref().expect("the tests name their data");
    Dataset::open(path, config.data.val_fraction, config.seed)
}

/// Trains a MobileNetV2 in a folder.
fn run_in(
    folder: &Path,
    config: &Config,
    resume: bool,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Trained<Classification<MobileNetV2>>, Error> {
    train_in(folder, mobilenet(&Device::flex()), config, resume, stop, observer)
}

fn train_in<M: ImageClassifier>(
    folder: &Path,
    model: M,
    config: &Config,
    resume: bool,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Trained<Classification<M>>, Error> {
    let device = Device::flex();
    let dataset = open(config)?;
    let card = card("mobilenet_v2_w0_1", 32);
    let mut run = Run { folder, device: &device, others: &[], resume, stop, observer };
    train::<Classification<_>>(model, &card, &dataset, config, &mut run)
}

fn run(folder: &Path, config: &Config) -> Trained<Classification<MobileNetV2>> {
    run_in(folder, config, false, &AtomicBool::new(false), &mut Silent).unwrap()
}

#[test]
fn a_frozen_backbone_does_not_change() {
    let _alone = alone();
    let device = Device::flex();
    let data = TempDir::new().unwrap();
    images(data.path(), 8);
    let before = values(&mobilenet(&device));
    let settings = ["recipe.epochs=5", "recipe.batch_size=8", "data.val_fraction=0.25"];
    let out = TempDir::new().unwrap();
    let trained = run(out.path(), &config(data.path(), &settings));
    let after = saved(&trained.model, &device);
    let mut kept = 0;
    for (path, values) in &after {
        if !path.starts_with("classifier") {
            assert!(before[path] == *values, "{path}");
            kept += 1;
        }
    }
    assert!(kept > 100 && after.keys().any(|path| path.ends_with("running_mean")));
    let [first, .., last] = &trained.fitted.history[..] else { panic!("five epochs") };
    assert!(last.train_loss < first.train_loss);
    let evaluation = trained.evaluation.unwrap();
    assert_eq!(evaluation.images, 6);
    let best = trained.fitted.history[trained.fitted.best_epoch.unwrap() - 1].val_accuracy;
    assert_eq!(Some(evaluation.top1), best);
}

#[test]
fn all_layers_but_the_frozen_ones_are_trained() {
    let _alone = alone();
    let device = Device::flex();
    let data = TempDir::new().unwrap();
    images(data.path(), 4);
    let before = values(&mobilenet(&device));
    for (setting, stays) in [
        ("recipe.freeze_until=blocks.3", "blocks.2.project.norm.running_mean"),
        ("recipe.freeze_until=blocks.3", "stem.conv.weight"),
        // BatchNorm is frozen by the preset as well as by the setting.
        ("recipe.epochs=1", "blocks.9.expand.norm.running_mean"),
        ("recipe.batch_norm=frozen", "blocks.9.expand.norm.running_var"),
        ("recipe.batch_norm=frozen", "blocks.9.expand.norm.gamma"),
    ] {
        let settings = ["preset=fine", "recipe.linear_epochs=0", "recipe.epochs=1", setting];
        let out = TempDir::new().unwrap();
        let after = saved(&run(out.path(), &config(data.path(), &settings)).model, &device);
        assert!(before[stays] == after[stays], "{setting}");
        let moves = "blocks.9.expand.conv.weight";
        assert!(before[moves] != after[moves], "{setting}");
    }
    let settings =
        ["preset=fine", "recipe.linear_epochs=0", "recipe.epochs=1", "recipe.batch_norm=train"];
    let out = TempDir::new().unwrap();
    let after = saved(&run(out.path(), &config(data.path(), &settings)).model, &device);
    for (path, values) in after.iter().filter(|(path, _)| !path.starts_with("classifier")) {
        assert!(before[path] != *values, "{path}");
    }

    for (setting, expected) in [
        ("recipe.freeze_until=block", ["no part `block`", "blocks.0"]),
        (
            "recipe.freeze_until=classifier",
            ["nothing is left to train", "hint: recipe.freeze_until"],
        ),
    ] {
        let config = config(data.path(), &["recipe.do_fine_tuning=true", setting]);
        let stop = AtomicBool::new(false);
        let error = run_in(out.path(), &config, false, &stop, &mut Silent).unwrap_err();
        let text = error.to_string();
        assert!(expected.iter().all(|expected| text.contains(expected)), "{text}");
    }
}

/// Stops a run after this number of batches.
struct StopAfter<'a> {
    batches: usize,
    stop: &'a AtomicBool,
}

impl Observer for StopAfter<'_> {
    fn on(&mut self, event: &Event<'_>) {
        if let Event::Batch { .. } = event {
            if self.batches == 0 {
                self.stop.store(true, Ordering::Relaxed);
            }
            self.batches = self.batches.saturating_sub(1);
        }
    }
}

#[test]
fn an_interrupted_run_gives_the_same_weights() {
    let _alone = alone();
    let device = Device::flex();
    let data = TempDir::new().unwrap();
    images(data.path(), 8);
    for (optimizer, frozen) in
        [("sgd", false), ("adamw", false), ("rmsprop", false), ("adam", true)]
    {
        let mut settings = FULL.to_vec();
        let optimizer = format!("recipe.optimizer={optimizer}");
        settings.push(&optimizer);
        if frozen {
            settings.push("recipe.do_fine_tuning=false");
        }
        let config = config(data.path(), &settings);
        let whole = TempDir::new().unwrap();
        let expected = run(whole.path(), &config);
        let again = TempDir::new().unwrap();
        let expected_weights = saved(&expected.model, &device);
        assert_same(&saved(&run(again.path(), &config).model, &device), &expected_weights);

        let out = TempDir::new().unwrap();
        let mut sessions = 0;
        let resumed = loop {
            let stop = AtomicBool::new(false);
            let mut observer = StopAfter { batches: 2, stop: &stop };
            let trained = run_in(out.path(), &config, sessions > 0, &stop, &mut observer).unwrap();
            sessions += 1;
            if !trained.fitted.was_interrupted {
                break trained;
            }
            assert!(sessions < 20);
        };
        assert!(sessions > 2, "{sessions}");
        assert_same(&saved(&resumed.model, &device), &expected_weights);
        let losses = |trained: &Trained<_>| {
            let history = trained.fitted.history.iter();
            history.map(|row| (row.step, row.train_loss, row.val_loss)).collect::<Vec<_>>()
        };
        assert_eq!(losses(&resumed), losses(&expected));
        let bytes = |folder: &TempDir| fs::read(folder.path().join(MODEL)).unwrap();
        assert!(bytes(&out) == bytes(&whole), "the records differ");
    }
}

/// The result of a run: its record, and updates and losses of its epochs.
#[derive(PartialEq)]
struct Outcome {
    record: Vec<u8>,
    epochs: Vec<(usize, f64, Option<f64>)>,
}

/// Trains in sessions of this number of batches, each with the next number of threads.
fn in_sessions<M: ImageClassifier>(
    network: fn(&Device) -> M,
    config: &Config,
    batches: usize,
    threads: &[usize],
) -> Outcome {
    let out = TempDir::new().unwrap();
    for (session, &threads) in threads.iter().cycle().take(20).enumerate() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let fitted = pool.install(|| {
            let stop = AtomicBool::new(false);
            let mut observer = StopAfter { batches, stop: &stop };
            let model = network(&Device::flex());
            let resumes = session > 0;
            train_in(out.path(), model, config, resumes, &stop, &mut observer).unwrap().fitted
        });
        if !fitted.was_interrupted {
            let epochs = fitted.history.iter();
            return Outcome {
                record: fs::read(out.path().join(MODEL)).unwrap(),
                epochs: epochs.map(|row| (row.step, row.train_loss, row.val_loss)).collect(),
            };
        }
    }
    panic!("the run does not end");
}

fn neither_threads_nor_sessions_matter<M: ImageClassifier>(
    network: fn(&Device) -> M,
    config: &Config,
) {
    let whole = in_sessions(network, config, usize::MAX, &[1]);
    assert_eq!(whole.epochs.len(), config.recipe.epochs);
    // An epoch has two updates, of two batches and one: the second session ends with the epoch.
    for (batches, threads) in [(usize::MAX, &[2][..]), (0, &[2, 1, 3]), (2, &[1])] {
        let got = in_sessions(network, config, batches, threads);
        let what = format!("{:?}, {batches} batches, {threads:?} threads", config.preset);
        assert_eq!(got.epochs, whole.epochs, "{what}");
        assert!(got == whole, "the records differ: {what}");
    }
}

#[test]
fn neither_threads_nor_interruptions_change_a_result() {
    let _alone = alone();
    /// A network with BatchNorm and strided convolutions.
    fn resnet(device: &Device) -> ResNet {
        device.seed(7);
        let model = zoo_resnet::variant("resnet8_cifar").unwrap().config.init(device);
        values(&model);
        model
    }
    /// A network without BatchNorm.
    fn lenet(device: &Device) -> LeNet {
        device.seed(7);
        let model = LeNetConfig::new().with_in_channels(3).init(device);
        values(&model);
        model
    }
    let data = TempDir::new().unwrap();
    images(data.path(), 6);
    for preset in ["preset=linear", "preset=fine", "preset=scratch"] {
        let settings = [
            preset,
            "recipe.linear_epochs=1",
            "recipe.epochs=2",
            "recipe.batch_size=5",
            "recipe.accumulate=2",
            "recipe.ema=0.9",
            "data.val_fraction=0.25",
        ];
        let config = config(data.path(), &settings);
        neither_threads_nor_sessions_matter(resnet, &config);
        neither_threads_nor_sessions_matter(lenet, &config);
        // A network with depthwise convolutions and dropout.
        neither_threads_nor_sessions_matter(mobilenet, &config);
    }
}

#[test]
fn a_run_continues_for_more_epochs() {
    let _alone = alone();
    let data = TempDir::new().unwrap();
    images(data.path(), 6);
    let go_on = |folder: &Path, config: &Config| {
        let stop = AtomicBool::new(false);
        run_in(folder, config, true, &stop, &mut Silent).unwrap()
    };
    for (preset, schedule) in [("linear", "cosine"), ("fine", "constant"), ("fine", "step")] {
        let of_epochs = |epochs: usize| {
            let settings = [
                format!("preset={preset}"),
                format!("recipe.schedule={schedule}"),
                format!("recipe.epochs={epochs}"),
                "recipe.linear_epochs=1".to_owned(),
                "recipe.step_epochs=1".to_owned(),
                "recipe.batch_size=5".to_owned(),
            ];
            config(data.path(), &settings.each_ref().map(String::as_str))
        };
        let whole = TempDir::new().unwrap();
        let expected = run(whole.path(), &of_epochs(4)).fitted;
        let out = TempDir::new().unwrap();
        assert_eq!(run(out.path(), &of_epochs(2)).fitted.history.len(), 2);
        assert_eq!(epochs_done(out.path()).unwrap(), Some(2));
        assert!(go_on(out.path(), &of_epochs(2)).fitted.was_finished);

        // From there on, the rates are those of a run with this number of epochs from the start.
        let got = go_on(out.path(), &of_epochs(4)).fitted;
        assert!(!got.was_finished && got.history.len() == 4, "{got:?}");
        let rates =
            |fitted: &Fitted| fitted.history[2..].iter().map(|row| row.lr).collect::<Vec<_>>();
        assert_eq!(rates(&got), rates(&expected), "{schedule}");
        let bytes = |folder: &TempDir| fs::read(folder.path().join(MODEL)).unwrap();
        if schedule != "cosine" {
            assert!(bytes(&out) == bytes(&whole), "{schedule}");
        }
    }
}

#[test]
fn the_classifier_is_trained_before_all_layers_are() {
    let _alone = alone();
    let device = Device::flex();
    let data = TempDir::new().unwrap();
    images(data.path(), 8);
    let of_linear = config(data.path(), &["recipe.epochs=5", "recipe.label_smoothing=0"]);
    // At this rate nothing changes, not even BatchNorm's statistics.
    let settings = [
        "preset=fine",
        "recipe.linear_epochs=5",
        "recipe.label_smoothing=0",
        "recipe.epochs=1",
        "recipe.lr=1e-30",
        "recipe.batch_norm=frozen",
    ];
    let of_both = config(data.path(), &settings);
    let [linear, both] = [of_linear, of_both].map(|config| {
        let out = TempDir::new().unwrap();
        let trained = run(out.path(), &config);
        assert_eq!(trained.fitted.history.len(), config.recipe.epochs);
        saved(&trained.model, &device)
    });
    assert_same(&both, &linear);
}

#[test]
fn another_runs_checkpoint_is_refused() {
    let _alone = alone();
    let data = TempDir::new().unwrap();
    images(data.path(), 4);
    let out = TempDir::new().unwrap();
    run(out.path(), &config(data.path(), &["recipe.epochs=1"]));
    let other = config(data.path(), &["recipe.epochs=1", "recipe.lr=0.1"]);
    let stop = AtomicBool::new(false);
    let error = run_in(out.path(), &other, true, &stop, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Resume { .. }), "{error}");
    fs::write(out.path().join(CHECKPOINT), "nonsense").unwrap();
    let error = run_in(out.path(), &other, true, &stop, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Resume { .. }), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let _alone = alone();
    let data = TempDir::new().unwrap();
    images(data.path(), 4);
    let out = TempDir::new().unwrap();
    let config = config(data.path(), &["recipe.epochs=1", "recipe.optimizer=adamw"]);
    run(out.path(), &config);
    let path = out.path().join(CHECKPOINT);
    let whole = fs::read(&path).unwrap();
    let moment = whole.windows(7).position(|bytes| bytes == b"moment2").unwrap();
    // A name that Burn does not recognize, numbers, and the end of the file.
    for at in [moment, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        let stop = AtomicBool::new(false);
        let error = run_in(out.path(), &config, true, &stop, &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Resume { .. }), "{at}: {error}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_best_weights() {
    let _alone = alone();
    let data = TempDir::new().unwrap();
    images(data.path(), 8);
    let out = TempDir::new().unwrap();
    // The warmup epoch is normal, then the updates are far too large.
    let settings = [
        "preset=scratch",
        "recipe.epochs=40",
        "recipe.warmup_epochs=20",
        "recipe.lr=1.0",
        "recipe.batch_size=4",
        "recipe.weight_decay=300",
    ];
    let stop = AtomicBool::new(false);
    let config = config(data.path(), &settings);
    let error = run_in(out.path(), &config, false, &stop, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    let kept = saved(&out.path().join(MODEL), &Device::flex());
    assert!(kept.values().flatten().all(|value| value.is_finite()));
    let error = run_in(out.path(), &config, true, &stop, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
}

#[test]
fn a_checkpoint_that_can_not_be_written_leaves_the_old_one() {
    let _alone = alone();
    struct Block<'a>(&'a Path);
    impl Observer for Block<'_> {
        fn on(&mut self, event: &Event<'_>) {
            if let Event::EpochDone(row) = event
                && row.epoch == 2
            {
                // No file can be created any more, as on a full disk.
                let folder = self.0.parent().unwrap().join("away");
                fs::rename(self.0, folder).unwrap();
            }
        }
    }
    let data = TempDir::new().unwrap();
    images(data.path(), 4);
    let root = TempDir::new().unwrap();
    let out = root.path().join("run");
    fs::create_dir(&out).unwrap();
    let config = config(data.path(), &["recipe.epochs=4"]);
    let stop = AtomicBool::new(false);
    let error = run_in(&out, &config, false, &stop, &mut Block(&out)).unwrap_err();
    assert!(matches!(error, Error::Record(zoo_record::Error::Write { .. })), "{error}");
    let out = root.path().join("away");
    let trained = run_in(&out, &config, true, &stop, &mut Silent).unwrap();
    assert_eq!(trained.fitted.history.len(), 4);
}

/// Collects the warnings.
#[derive(Default)]
struct Warnings(Vec<String>);

impl Observer for Warnings {
    fn on(&mut self, event: &Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.push((*text).to_owned());
        }
    }
}

#[test]
fn broken_images_are_left_out_and_named() {
    let _alone = alone();
    let data = TempDir::new().unwrap();
    images(data.path(), 8);
    let broken = data.path().join(CLASSES[1]).join("3.png");
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(data.path().join(CLASSES[2]).join("9.jpg"), "no image").unwrap();
    RgbImage::new(1, 1).save(data.path().join(CLASSES[0]).join("tiny.png")).unwrap();
    for setting in ["recipe.do_fine_tuning=true", "recipe.do_fine_tuning=false"] {
        let out = TempDir::new().unwrap();
        let mut warnings = Warnings::default();
        let stop = AtomicBool::new(false);
        let config = config(data.path(), &[setting, "recipe.epochs=2"]);
        run_in(out.path(), &config, false, &stop, &mut warnings).unwrap();
        let named: Vec<_> = warnings.0.iter().filter(|text| text.contains("left out")).collect();
        assert_eq!(named.len(), 2, "{:?}", warnings.0);
        assert!(named.iter().any(|text| text.contains("3.png")));
        assert!(named.iter().any(|text| text.contains("9.jpg")));
    }
}

#[test]
fn a_network_with_the_same_classes_keeps_its_classifier() {
    let _alone = alone();
    let device = Device::flex();
    let data = TempDir::new().unwrap();
    images(data.path(), 8);
    let config =
        config(data.path(), &["recipe.epochs=20", "preset=scratch", "recipe.batch_size=8"]);
    let path = config.data.path.as_deref().unwrap();
    let dataset = Dataset::open(path, 0.25, 0).unwrap();
    let stop = AtomicBool::new(false);
    let out = TempDir::new().unwrap();
    let first = {
        let model = LeNetConfig::new().with_in_channels(3).init(&device);
        let mut run = Run {
            folder: out.path(),
            device: &device,
            others: &[],
            resume: false,
            stop: &stop,
            observer: &mut Silent,
        };
        let card = card("lenet5", 32);
        train::<Classification<_>>(model, &card, &dataset, &config, &mut run).unwrap()
    };
    assert_eq!(first.evaluation.unwrap().top1, 1.0);
    let record = Record::open(&first.model).unwrap();
    assert_eq!(record.card.labels, CLASSES);
    let card = record.card.clone();
    let empty = LeNetConfig::new().with_in_channels(3).with_num_classes(3).init(&device);
    let model = record.load_into(empty).unwrap();
    assert_eq!(model.forward(Tensor::zeros([1, 3, 32, 32], &device)).dims(), [1, 3]);
    let again = TempDir::new().unwrap();
    let mut run = Run {
        folder: again.path(),
        device: &device,
        others: &[],
        resume: false,
        stop: &stop,
        observer: &mut Silent,
    };
    let second = train::<Classification<_>>(model, &card, &dataset, &config, &mut run).unwrap();
    assert!(second.fitted.history[0].train_accuracy > 0.9);
}

#[test]
fn several_devices_share_the_batches_of_a_step() {
    let _alone = alone();
    let device = Device::flex();
    let data = TempDir::new().unwrap();
    images(data.path(), 8);
    // BatchNorm is frozen, because each device has its own statistics; nothing in an update is
    // random.
    let settings = [
        "preset=\"fine\"",
        "recipe.epochs=2",
        "recipe.batch_size=4",
        "recipe.accumulate=2",
        "recipe.batch_norm=\"frozen\"",
        "recipe.dropout=0",
        "data.val_fraction=0.25",
    ];
    let train_on = |config: &Config, others: &[Device]| {
        let dataset = open(config).unwrap();
        let folder = TempDir::new().unwrap();
        let mut run = Run {
            folder: folder.path(),
            device: &device,
            others,
            resume: false,
            stop: &AtomicBool::new(false),
            observer: &mut Silent,
        };
        let (model, card) = (mobilenet(&device), card("mobilenet_v2_w0_1", 32));
        let trained = train::<Classification<_>>(model, &card, &dataset, config, &mut run).unwrap();
        saved(&trained.model, &device)
    };
    let frozen = config(data.path(), &settings);
    let others = [Device::flex()];
    assert!(train_on(&frozen, &[]) == train_on(&frozen, &others));
    // If BatchNorm is trained, its statistics are those of the first device, whichever is faster.
    let settings = settings.map(|setting| setting.replace("frozen", "train"));
    let learning = config(data.path(), &settings.each_ref().map(String::as_str));
    assert_same(&train_on(&learning, &others), &train_on(&learning, &others));
}

#[test]
fn a_run_that_gets_no_better_stops() {
    let _alone = alone();
    let data = TempDir::new().unwrap();
    images(data.path(), 4);
    let out = TempDir::new().unwrap();
    // Nothing is learned at this rate.
    let settings = ["recipe.epochs=30", "recipe.early_stopping=3", "recipe.lr=1e-30"];
    let mut config = config(data.path(), &settings);
    let trained = run(out.path(), &config);
    let epochs = trained.fitted.history.len();
    assert_eq!((epochs, trained.fitted.best_epoch), (4, Some(1)));
    let stop = AtomicBool::new(false);
    let again = run_in(out.path(), &config, true, &stop, &mut Silent).unwrap();
    assert!(again.fitted.was_finished && again.fitted.history.len() == epochs);
    assert_eq!(again.evaluation, trained.evaluation);

    // A new number of epochs starts the count again.
    config.recipe.epochs = 40;
    let mut warnings = Warnings::default();
    let again = run_in(out.path(), &config, true, &stop, &mut warnings).unwrap();
    assert!(!again.fitted.was_finished && again.fitted.history.len() == epochs + 3);
    let [warning] = &warnings.0[..] else { panic!("{:?}", warnings.0) };
    assert!(warning.contains("ends after epoch 7 of 40") && warning.contains("early_stopping"));
}

#[test]
fn a_loss_that_is_too_large_is_reported() {
    let _alone = alone();
    let data = TempDir::new().unwrap();
    images(data.path(), 4);
    let out = TempDir::new().unwrap();
    let settings = [
        "preset=scratch",
        "recipe.epochs=2",
        "recipe.warmup_epochs=0",
        "recipe.lr=1.0",
        "recipe.momentum=0.99",
        "recipe.batch_size=1",
    ];
    let config = config(data.path(), &settings);
    let stop = AtomicBool::new(false);
    let mut warnings = Warnings::default();
    let model = LeNetConfig::new().with_in_channels(3).init(&Device::flex());
    let _ = train_in(out.path(), model, &config, false, &stop, &mut warnings);
    let of_loss = warnings.0.iter().filter(|text| text.contains("the loss is"));
    assert!(of_loss.clone().count() > 0, "{:?}", warnings.0);
    assert!(of_loss.clone().all(|text| text.contains("hint: a lower learning rate (recipe.lr)")));
}
