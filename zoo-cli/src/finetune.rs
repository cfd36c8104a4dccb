//! `zoo finetune`: from your own photographs to a record that knows them.

use std::io::{Write, stdout};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use burn::tensor::Device;
use zoo_core::{Background, Preprocess, parameters};
use zoo_import::{Checkpoint, Choice, ModelCard, Origin, is_record_file, write_atomically};
use zoo_models::Network;
use zoo_train::config::ModelConfig;
use zoo_train::{
    CHECKPOINT, Classification, Config, Dataset, Evaluation, Fitted, IMAGES, LINEAR, Lock, MODEL,
    Segmentation, Source, Task, TaskKind, Trained, duration, epochs_done, train,
};

use crate::args::{self, Finetune};
use crate::bars::Bars;
use crate::device::Place;
use crate::flags::in_flags;
use crate::output::{classes, images};
use crate::runner::ensure_held;
use crate::{Outcome, device, eval, model};

/// The name of the settings in a run's folder.
const CONFIG: &str = "config.toml";

/// Runs the command.
pub fn run(args: &Finetune) -> anyhow::Result<Outcome> {
    finetune(args).map_err(|error| args.settings.explain(error))
}

fn finetune(args: &Finetune) -> anyhow::Result<Outcome> {
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
    let run = Learning { args, config: &config, folder: &folder, devices: &devices };
    let (path, val_fraction) = (data_path(&config)?, config.data.val_fraction);
    match config.data.task {
        TaskKind::Classify => {
            let dataset = Dataset::open(path, val_fraction, config.seed)?;
            let (network, card) = network(args, &config, dataset.classes.len(), &devices[0])?;
            let network = network.into_classifier()?;
            run.learn::<Classification<_>>(network, &card, dataset, |dataset| {
                // A source of many images in a file has no files to list.
                if matches!(dataset.train[0].source, Source::File(_)) {
                    dataset.write_list(&folder.join(IMAGES))?;
                }
                Ok(())
            })
        }
        TaskKind::Segment => {
            let dataset = Dataset::open_masks(path, val_fraction, config.seed)?;
            let (network, card) = network(args, &config, dataset.classes.len(), &devices[0])?;
            let Network::Segmenter(network) = network else {
                bail!("{} names images, not pixels\nhint: --model unet", card.variant);
            };
            run.learn::<Segmentation<_>>(network, &card, dataset, |_| Ok(()))
        }
    }
}

/// Where the images are.
fn data_path(config: &Config) -> anyhow::Result<&str> {
    config.data.path.as_deref().context("no images are named\nhint: zoo finetune FOLDER")
}

/// Where to train: on one device or several.
fn places(args: &Finetune) -> Vec<Place> {
    match &args.devices[..] {
        [] => vec![Place::Here(args.run.backend)],
        places => places.to_vec(),
    }
}

/// What a run is told, whatever is learned.
struct Learning<'a> {
    args: &'a Finetune,
    config: &'a Config,
    folder: &'a Path,
    devices: &'a [Device],
}

impl Learning<'_> {
    /// Trains a network; `write_list` is called where the run is a new one.
    fn learn<T: Task>(
        &self,
        network: T::Model,
        card: &ModelCard,
        mut dataset: Dataset<T::Label>,
        write_list: impl FnOnce(&Dataset<T::Label>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        let Self { args, config, folder, devices } = *self;
        let mut bars = Bars::default();
        let weights = config.model.weights.as_deref().map(Path::new);
        let weights = weights.filter(|path| config.model.pretrained && path.is_file());
        let before = eval::seen(weights)?;
        dataset.compare(&before, card.preprocess.background, config.workers(), &mut bars);
        for warning in &dataset.warnings {
            eprintln!("zoo: {}", in_flags(warning));
        }
        let layers = match (config.data.task, config.recipe.do_fine_tuning) {
            (TaskKind::Segment, _) => "",
            (TaskKind::Classify, true) => ", all layers",
            (TaskKind::Classify, false) => ", the classifier only",
        };
        eprintln!(
            "{}, {} to train on, {} to validate with; {}{layers}",
            classes(dataset.classes.len()),
            images(dataset.train.len()),
            dataset.val.len(),
            card.variant
        );
        let _lock = prepare(args, config, folder)?;
        if args.resume.is_none() {
            write_list(&dataset)?;
        }
        let stop = stop_on_interrupt()?;
        let mut run = zoo_train::Run {
            folder,
            device: &devices[0],
            others: &devices[1..],
            engine_threads: places(args)[0].engine_threads(),
            resume: args.resume.is_some(),
            stop: &stop,
            observer: &mut bars,
        };
        let trained = train::<T>(network, card, &dataset, config, &mut run)?;
        conclude(config, folder, &trained)
    }
}

/// Makes the run's folder, keeps others from writing there, and writes the run's settings.
fn prepare(args: &Finetune, config: &Config, folder: &Path) -> anyhow::Result<Lock> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let lock = Lock::of(folder)?;
    if args.resume.is_none() {
        // Another process may have begun and ended in the meantime.
        ensure_free(folder)?;
    } else if args.settings.has("recipe.epochs")
        && let Some(done) = epochs_done(folder)?
    {
        let epochs = config.recipe.epochs;
        ensure!(
            epochs >= done,
            "the run in {} has {done} epochs already\nhint: --epochs {} goes on with it",
            folder.display(),
            2 * done
        );
    }
    if args.resume.is_none() || args.settings.has("recipe.epochs") {
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
fn conclude<T: Task>(
    config: &Config,
    folder: &Path,
    Trained { fitted, evaluation, unreadable, .. }: &Trained<T>,
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
    let result = evaluation.as_ref().map(|evaluation| {
        let facts = evaluation.facts().into_iter().map(|(number, what)| format!("{what} {number}"));
        format!("{} on {}", facts.collect::<Vec<_>>().join(", "), images(evaluation.images()))
    });
    let parts = [epoch, result, Some(seconds(fitted))];
    let text: Vec<_> = parts.into_iter().flatten().collect();
    writeln!(stdout(), "{}: {}", folder.join(MODEL).display(), text.join(", "))?;
    Ok(if *unreadable > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}

/// What took how long.
fn seconds(fitted: &Fitted) -> String {
    let steps = duration(fitted.seconds);
    match fitted.precompute_seconds {
        features if features >= 0.1 => {
            format!("{} computing features, {steps} in training steps", duration(features))
        }
        _ => format!("{steps} in training steps"),
    }
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
        let layers: Vec<_> =
            std::iter::once(Config::read_layer(&path)?).chain(args.settings.layers()).collect();
        return Ok(Config::from_layers(&layers)?);
    }
    let mut layers = Vec::new();
    if let Some(path) = &args.config {
        layers.push(Config::read_layer(path)?);
    }
    layers.extend(args.settings.layers());
    for setting in &args.set {
        layers.push(Config::setting(setting)?);
    }
    let mut config = Config::from_layers(&layers)?;
    if let Some(path) = args.path.as_ref().or(args.data.as_ref()) {
        config.data.path = Some(path.clone());
    }
    config.data.path = Some(absolute(data_path(&config)?)?);
    config.model.weights = config.model.weights.as_deref().map(absolute).transpose()?;
    if config.model.name.is_none() && config.model.weights.is_none() {
        let name = match config.data.task {
            TaskKind::Classify => model::EMBEDDED,
            TaskKind::Segment => "unet",
        };
        config.model.name = Some(name.to_owned());
    }
    Ok(config)
}

/// A path that still leads there from elsewhere; `fashion-mnist:` in front of it stays.
fn absolute(path: &str) -> anyhow::Result<String> {
    let (scheme, path) = match path.split_once(':') {
        Some((scheme, rest)) if scheme.ends_with("mnist") => (format!("{scheme}:"), rest),
        _ => (String::new(), path),
    };
    let is_above = Path::new(path).components().any(|part| part == Component::ParentDir);
    let path = match Path::new(path).canonicalize() {
        Ok(path) if is_above => path,
        _ => std::path::absolute(path).with_context(|| format!("cannot find {path}"))?,
    };
    Ok(format!("{scheme}{}", path.to_string_lossy()))
}

/// The folder of the run.
fn folder(args: &Finetune, config: &Config) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &args.resume {
        return Ok(folder.clone());
    }
    let folder = args.output.clone().unwrap_or_else(|| {
        let stem = |path: &Option<String>| {
            let stem = path.as_deref().and_then(|path| Path::new(path).file_stem());
            stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let ModelConfig { name, weights, .. } = &config.model;
        let model = name.clone().unwrap_or_else(|| stem(weights));
        PathBuf::from(format!("{}-{model}", stem(&config.data.path)))
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
        let name = settings.name.as_deref();
        let weights = settings.weights.as_ref().map(PathBuf::from);
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
            settings.weights.is_none(),
            "--weights is given, but the settings say to start from fresh weights\nhint: leave \
             --weights out, or use --preset fine"
        );
        let (variant, _) = model::published(settings.name.as_deref().unwrap_or_default())?;
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
    if let Some(side) = settings.image_size {
        card.preprocess = sized(card.preprocess, u32::try_from(side)?);
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
