//! `zoo finetune`: from photographs of one's own to a record that knows them.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use burn::tensor::Device;
use toml::{Table, Value};
use zoo_core::{Background, Preprocess, parameters};
use zoo_import::{Checkpoint, Choice, ModelCard, Origin, is_record_file, write_atomically};
use zoo_models::Network;
use zoo_train::{
    CHECKPOINT, Config, Dataset, Fitted, LINEAR, Lock, MODEL, Masks, Source, TaskKind, duration,
    epochs_done, train, train_segmenter,
};

use crate::args::{self, Finetune};
use crate::bars::Bars;
use crate::device::Place;
use crate::runner::ensure_held;
use crate::{Outcome, device, eval, model};

/// The name of the settings in a run's folder.
const CONFIG: &str = "config.toml";

/// The name of the list of images and their parts in a run's folder.
const IMAGES: &str = "images.csv";

/// Runs the command.
pub fn run(args: &Finetune) -> anyhow::Result<Outcome> {
    if let Some(threads) = args.run.threads {
        device::set_threads(threads.into());
    }
    device::keep_memory();
    let devices: Vec<Device> =
        places(args).iter().map(Place::device).collect::<anyhow::Result<_>>()?;
    let mut config = settings(args)?;
    if args.resume.is_none() {
        config.recipe.accumulate = config.recipe.accumulate.max(devices.len());
    }
    let folder = folder(args, &config)?;
    match config.data.task {
        TaskKind::Classify => classify(args, &config, &folder, &devices),
        TaskKind::Segment => segment(args, &config, &folder, &devices),
    }
}

/// Where to train: on one device or several.
fn places(args: &Finetune) -> Vec<Place> {
    match &args.devices[..] {
        [] => vec![Place::Here(args.run.backend)],
        places => places.to_vec(),
    }
}

/// Trains a network to name what is in images.
fn classify(
    args: &Finetune,
    config: &Config,
    folder: &Path,
    devices: &[Device],
) -> anyhow::Result<Outcome> {
    let mut dataset = Dataset::open(&config.data.path, config.data.val_fraction, config.seed)?;
    let (network, card) = network(args, config, dataset.classes.len(), &devices[0])?;
    let network = network.into_classifier()?;
    let mut bars = Bars::default();
    let weights = Path::new(&config.model.weights);
    let has_weights = config.model.pretrained && weights.is_file();
    let before = eval::seen(Some(weights).filter(|_| has_weights))?;
    dataset.compare(&before, card.preprocess.background, config.workers(), &mut bars);
    let layers = if config.recipe.do_fine_tuning { "all layers" } else { "the classifier only" };
    let what = format!("{}, {layers}", card.variant);
    announce(&dataset.warnings, &dataset.classes, [dataset.train.len(), dataset.val.len()], &what);
    let _lock = prepare(args, config, folder)?;
    let has_files = matches!(dataset.train[0].source, Source::File(_));
    if args.resume.is_none() && has_files {
        dataset.write_list(&folder.join(IMAGES))?;
    }
    let stop = stop_on_interrupt()?;
    let mut run = in_folder(folder, args, devices, &stop, &mut bars);
    let trained = train(network, &card, &dataset, config, &mut run)?;
    let result = trained.evaluation.map(|evaluation| {
        let percent = 100.0 * evaluation.top1;
        format!("{percent:.1} % of {} validation images are right", evaluation.images)
    });
    conclude(config, folder, &trained.fitted, result, trained.unreadable)
}

/// A run in a folder.
fn in_folder<'r>(
    folder: &'r Path,
    args: &Finetune,
    devices: &'r [Device],
    stop: &'r AtomicBool,
    observer: &'r mut Bars,
) -> zoo_train::Run<'r> {
    let resume = args.resume.is_some();
    let engine_threads = places(args)[0].engine_threads();
    let (device, others) = (&devices[0], &devices[1..]);
    zoo_train::Run { folder, device, others, engine_threads, resume, stop, observer }
}

/// Trains a network to tell pixels apart.
fn segment(
    args: &Finetune,
    config: &Config,
    folder: &Path,
    devices: &[Device],
) -> anyhow::Result<Outcome> {
    let path = Path::new(&config.data.path);
    let masks = Masks::open(path, config.data.val_fraction, config.seed)?;
    let classes = masks.classes();
    let (network, card) = network(args, config, classes.len(), &devices[0])?;
    let Network::Segmenter(network) = network else {
        bail!("{} names images, not pixels\nhint: --model unet", card.variant);
    };
    announce(&masks.warnings, &classes, [masks.train.len(), masks.val.len()], &card.variant);
    let _lock = prepare(args, config, folder)?;
    let stop = stop_on_interrupt()?;
    let mut bars = Bars::of_segments();
    let mut run = in_folder(folder, args, devices, &stop, &mut bars);
    let trained = train_segmenter(network, &card, &masks, config, &mut run)?;
    let result = trained.evaluation.map(|evaluation| {
        let iou: Vec<_> = evaluation.iou.iter().map(|iou| format!("{iou:.3}")).collect();
        let (mean, pixels) = (evaluation.mean_iou, 100.0 * evaluation.pixels);
        format!("mean IoU {mean:.3} ({}), {pixels:.1} % of pixels are right", iou.join(" "))
    });
    conclude(config, folder, &trained.fitted, result, trained.unreadable)
}

/// Says what is about to be done.
fn announce(warnings: &[String], classes: &[String], [train, val]: [usize; 2], what: &str) {
    for warning in warnings {
        eprintln!("zoo: {warning}");
    }
    let classes = classes.len();
    eprintln!("{classes} classes, {train} images to train on, {val} to validate with; {what}");
}

/// Makes the run's folder, keeps others from writing there, and writes the run's settings.
fn prepare(args: &Finetune, config: &Config, folder: &Path) -> anyhow::Result<Lock> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let lock = Lock::of(folder)?;
    if args.resume.is_none() {
        // Another process may have begun and ended in the meantime.
        ensure_free(folder)?;
    } else if let Some(epochs) = args.epochs
        && let Some(done) = epochs_done(folder)?
    {
        ensure!(
            epochs >= done,
            "the run in {} has {done} epochs already\nhint: --epochs {} goes on with it",
            folder.display(),
            2 * done
        );
    }
    if args.resume.is_none() || args.epochs.is_some() {
        let text = config.to_toml();
        write_atomically(&folder.join(CONFIG), |file| file.write_all(text.as_bytes()))?;
    }
    Ok(lock)
}

/// Refuses a folder with another run in it.
fn ensure_free(folder: &Path) -> anyhow::Result<()> {
    let has_run = |folder: &Path| folder.join(CHECKPOINT).exists() || folder.join(MODEL).exists();
    ensure!(
        !has_run(folder) && !has_run(&folder.join(LINEAR)),
        "there is a run in {0} already\nhint: --resume {0} goes on with it, --output FOLDER names \
         another folder",
        folder.display()
    );
    Ok(())
}

/// Says what came of it.
fn conclude(
    config: &Config,
    folder: &Path,
    fitted: &Fitted,
    result: Option<String>,
    unreadable: usize,
) -> anyhow::Result<Outcome> {
    if fitted.was_interrupted {
        eprintln!("zoo: interrupted; `zoo finetune --resume {}` goes on", folder.display());
        return Ok(Outcome::Interrupted);
    }
    if fitted.was_finished {
        eprintln!(
            "zoo: the run in {0} is finished: it has {1} epochs\nhint: `zoo finetune --resume {0} \
             --epochs {2}` goes on with it",
            folder.display(),
            fitted.history.len(),
            2 * config.recipe.epochs
        );
    }
    let epoch = fitted.best_epoch.map(|epoch| match epoch {
        0 => "the classifier alone".to_owned(),
        epoch => format!("epoch {epoch}"),
    });
    let parts = [epoch, result, Some(duration(fitted.seconds))];
    let text: Vec<_> = parts.into_iter().flatten().collect();
    writeln!(stdout(), "{}: {}", folder.join(MODEL).display(), text.join(", "))?;
    Ok(if unreadable > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}

/// The settings of a preset, a file and the command line, the later ones over the earlier.
fn settings(args: &Finetune) -> anyhow::Result<Config> {
    if let Some(folder) = &args.resume {
        let path = folder.join(CONFIG);
        ensure!(
            path.exists(),
            "{} is not the folder of a run\nhint: there is no {CONFIG} in it",
            folder.display()
        );
        let mut config = Config::from_layers(&[Config::read_layer(&path)?])?;
        config.recipe.epochs = args.epochs.unwrap_or(config.recipe.epochs);
        return Ok(config);
    }
    let mut layers = Vec::new();
    if let Some(path) = &args.config {
        layers.push(Config::read_layer(path)?);
    }
    layers.push(flags(args)?);
    for setting in &args.set {
        layers.push(Config::setting(setting)?);
    }
    let mut config = Config::from_layers(&layers)?;
    ensure!(!config.data.path.is_empty(), "no images are named\nhint: zoo finetune FOLDER");
    config.data.path = absolute(&config.data.path)?;
    if !config.model.weights.is_empty() {
        config.model.weights = absolute(&config.model.weights)?;
    }
    if config.model.name.is_empty() && config.model.weights.is_empty() {
        let name = match config.data.task {
            TaskKind::Classify => model::EMBEDDED,
            TaskKind::Segment => "unet",
        };
        name.clone_into(&mut config.model.name);
    }
    Ok(config)
}

/// What the command line sets, as a layer of settings.
fn flags(args: &Finetune) -> anyhow::Result<Table> {
    let mut root = Table::new();
    let mut set = |section: &str, key: &str, value: Option<Value>| {
        if let Some(value) = value {
            let inner = root.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                inner.insert(key.to_owned(), value);
            }
        }
    };
    let text = |text: &Option<String>| text.clone().map(Value::String);
    let number = |number: Option<usize>| number.map(|number| Value::Integer(number as i64));
    let path = args.path.as_ref().or(args.data.as_ref());
    set("data", "path", path.cloned().map(Value::String));
    let task = args.task.map(|task| match task {
        args::Task::Classify => "classify",
        args::Task::Segment => "segment",
    });
    set("data", "task", task.map(|task| Value::String(task.to_owned())));
    set("data", "val_fraction", args.val_fraction.map(Value::Float));
    set("data", "balance", text(&args.balance));
    set("data", "background", args.background.map(|background| Value::String(background.into())));
    set("model", "name", text(&args.model.model));
    let weights = args.model.weights.as_ref().map(|path| path.to_string_lossy().into_owned());
    set("model", "weights", weights.map(Value::String));
    set("model", "image_size", number(args.size));
    set("recipe", "do_fine_tuning", args.do_fine_tuning.map(Value::Boolean));
    set("recipe", "epochs", number(args.epochs));
    set("recipe", "batch_size", number(args.batch_size));
    set("recipe", "lr", args.lr.map(Value::Float));
    set("recipe", "backbone_lr_scale", args.backbone_lr_scale.map(Value::Float));
    set("recipe", "freeze_until", text(&args.freeze_until));
    set("recipe", "optimizer", text(&args.optimizer));
    if let Some(preset) = args.preset {
        let name = match preset {
            args::Preset::Linear => "linear",
            args::Preset::Fine => "fine",
            args::Preset::Scratch => "scratch",
        };
        root.insert("preset".to_owned(), Value::String(name.to_owned()));
    }
    if let Some(seed) = args.seed {
        let seed = i64::try_from(seed).context("--seed is too large")?;
        root.insert("seed".to_owned(), Value::Integer(seed));
    }
    Ok(root)
}

/// A path that still leads there from elsewhere; `fashion-mnist:` in front of it stays.
fn absolute(path: &str) -> anyhow::Result<String> {
    let (scheme, path) = match path.split_once(':') {
        Some((scheme, rest)) if scheme.ends_with("mnist") => (format!("{scheme}:"), rest),
        _ => (String::new(), path),
    };
    let path = std::path::absolute(path).with_context(|| format!("cannot find {path}"))?;
    Ok(format!("{scheme}{}", path.to_string_lossy()))
}

/// The folder of the run.
fn folder(args: &Finetune, config: &Config) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &args.resume {
        return Ok(folder.clone());
    }
    let folder = args.output.clone().unwrap_or_else(|| {
        let data = Path::new(&config.data.path).file_stem().unwrap_or_default().to_string_lossy();
        let model = match Path::new(&config.model.weights).file_stem() {
            Some(stem) if config.model.name.is_empty() => stem.to_string_lossy().into_owned(),
            _ => config.model.name.clone(),
        };
        PathBuf::from(format!("{data}-{model}"))
    });
    if folder.join(CONFIG).exists() {
        // A run that is going on is not to be resumed either.
        Lock::of(&folder)?;
    }
    ensure_free(&folder)?;
    Ok(folder)
}

/// The network to start from, and its card.
fn network(
    args: &Finetune,
    config: &Config,
    num_classes: usize,
    device: &Device,
) -> anyhow::Result<(Network, ModelCard)> {
    let settings = &config.model;
    let (network, mut card) = if settings.pretrained {
        let name = Some(settings.name.as_str()).filter(|name| !name.is_empty());
        let weights =
            Some(PathBuf::from(&settings.weights)).filter(|_| !settings.weights.is_empty());
        let model = match weights {
            // A checkpoint without a classifier is as good as one with.
            Some(path) if !is_record_file(&path)? => {
                let checkpoint = Checkpoint::open(&path)?;
                model::from_checkpoint(&checkpoint, name, None, &Choice::default(), device)?.0
            }
            weights => {
                let model = name.map(str::to_owned);
                model::load(&args::Model { model, weights }, device)?
            }
        };
        (model.network, model.card)
    } else {
        ensure!(
            settings.weights.is_empty(),
            "--weights is given, but the settings say to start from fresh weights\nhint: leave \
             --weights out, or use --preset fine"
        );
        let (variant, _) = model::published(&settings.name)?;
        let in_channels = variant.config.in_channels();
        let mut network = variant.config.clone().with_num_classes(num_classes).init(device);
        let without = parameters(&network).len();
        network.attach_auxiliary(device);
        let card = ModelCard {
            hidden: Vec::new(),
            variant: variant.name.to_owned(),
            tag: None,
            num_classes,
            in_channels,
            has_auxiliary: parameters(&network).len() > without,
            has_classifier: false,
            labels: Vec::new(),
            preprocess: model::usual_preprocess(&variant, in_channels),
            origin: Origin::default(),
        };
        (network, card)
    };
    for place in places(args) {
        if let Place::Here(backend) = place {
            ensure_held(&network, backend)?;
        }
    }
    if config.data.background != Background::None {
        card.preprocess.background = config.data.background;
    }
    if settings.image_size > 0 {
        card.preprocess = sized(card.preprocess, u32::try_from(settings.image_size)?);
    }
    Ok((network, card))
}

/// The same margin around images of another size.
fn sized(preprocess: Preprocess, crop: u32) -> Preprocess {
    let resize = f64::from(preprocess.resize) / f64::from(preprocess.crop) * f64::from(crop);
    preprocess.sized(resize.round() as u32, crop)
}

/// A flag that the first Ctrl-C sets; the second ends the program.
fn stop_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nzoo: finishing the step; Ctrl-C again ends at once");
    })
    .context("cannot listen to Ctrl-C")?;
    Ok(stop)
}
