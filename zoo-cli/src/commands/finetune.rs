//! `zoo finetune`: from your own photographs to a record that knows them.

use std::io::{Write, stdout};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use burn::tensor::Device;
use burn_zoo::models::{Background, Preprocess};
use burn_zoo::record::{ModelCard, write_atomically};
use burn_zoo::train::config::ModelConfig;
use burn_zoo::train::{
    self, CHECKPOINT, Classification, Config, Dataset, Evaluation, Fitted, IMAGES, LINEAR, Lock,
    MODEL, Segmentation, Source, Task, TaskKind, Trained, duration, epochs_done,
};
use burn_zoo::{Backend, EMBEDDED, Model, Network, default_threads, ensure_held, set_threads};

use crate::Outcome;
use crate::commands::eval;
use crate::flags::{SettingFlags, in_flags};
use crate::options::{DeviceName, RunOptions, keep_memory, load};
use crate::output::{classes, images};
use crate::progress::Bars;

/// The name of the settings in a run's folder.
const CONFIG: &str = "config.toml";

/// `zoo finetune`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
DATA is one of
  FOLDER                a folder for each class, in it or in its parts `train`, `val`
  LIST.csv, LIST.jsonl  paths and labels: columns path, label and, if you like, split
  fashion-mnist:FOLDER  the files that Fashion-MNIST is published in; mnist: too
  FOLDER                with --task segment: folders `images` and `masks`

The part `test` is left out. In a list, split is train, val or test; between columns are commas, semicolons or tabs; file, \
image, class, category and set are names of columns, too. Images and masks have files of the same names, and a mask has a gray \
value for each class.

The best weights become OUTPUT/model.bpk, which `zoo classify --weights` takes. Beside it are report.html, metrics.csv, \
TensorBoard's events, config.toml, which --config takes, and checkpoint.bpk, which --resume goes on from; for image files with \
classes also images.csv, whose validation images `zoo eval` takes.

Exit codes: 0 done, 1 some input was unusable, 2 failure, 130 interrupted."
)]
pub(crate) struct Args {
    /// The images
    #[arg(value_name = "DATA", required_unless_present_any = ["resume", "config", "data"])]
    pub(crate) path: Option<String>,

    /// The same, with a name
    #[arg(long, hide = true, conflicts_with = "path")]
    pub(crate) data: Option<String>,

    /// The folder to write [default: named after the data and the model]
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,

    /// Go on with an interrupted run; with --epochs, with a finished one too
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["path", "data", "output", "config", "set"])]
    pub(crate) resume: Option<PathBuf>,

    /// Start from the settings in a TOML or JSON file, such as another run's config.toml
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// Share each step among devices, such as wgpu,ws://gpu:3000: each takes one of the batches
    /// whose gradients are accumulated. On the machine gpu, `zoo serve` runs
    #[arg(long, value_name = "BACKEND|URL", value_delimiter = ',', conflicts_with = "backend")]
    pub(crate) devices: Vec<DeviceName>,

    /// The settings that have an option of their own.
    #[command(flatten)]
    pub(crate) settings: SettingFlags,

    /// Any setting: recipe.ema=0.999, augment.mixup=0.2. A run writes all of them to config.toml;
    /// docs/settings.md explains them
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    finetune(args).map_err(|error| args.settings.explain(error))
}

fn finetune(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(threads) = args.run.threads {
        set_threads(threads.into());
    }
    keep_memory();
    let devices: Vec<Device> =
        places(args).iter().map(DeviceName::device).collect::<anyhow::Result<_>>()?;
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
            let (network, card) = network(&config, dataset.classes.len(), &devices)?;
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
            let (network, card) = network(&config, dataset.classes.len(), &devices)?;
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
fn places(args: &Args) -> Vec<DeviceName> {
    match &args.devices[..] {
        [] => vec![DeviceName::Local(args.run.backend)],
        places => places.to_vec(),
    }
}

/// What a run is told, whatever is learned.
struct Learning<'a> {
    args: &'a Args,
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
        let mut run = train::Run {
            folder,
            device: &devices[0],
            others: &devices[1..],
            engine_threads: (places(args)[0] == DeviceName::Local(Backend::Cpu))
                .then(default_threads),
            resume: args.resume.is_some(),
            stop: &stop,
            observer: &mut bars,
        };
        let trained = train::train::<T>(network, card, &dataset, config, &mut run)?;
        conclude(config, folder, &trained)
    }
}

/// Makes the run's folder, keeps others from writing there, and writes the run's settings.
fn prepare(args: &Args, config: &Config, folder: &Path) -> anyhow::Result<Lock> {
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
fn settings(args: &Args) -> anyhow::Result<Config> {
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
            TaskKind::Classify => EMBEDDED,
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
fn folder(args: &Args, config: &Config) -> anyhow::Result<PathBuf> {
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
    config: &Config,
    num_classes: usize,
    devices: &[Device],
) -> anyhow::Result<(Network, ModelCard)> {
    let settings = &config.model;
    let name = settings.name.as_deref();
    let model = if settings.pretrained {
        load(name, settings.weights.as_deref().map(Path::new), &devices[0])?
    } else {
        ensure!(
            settings.weights.is_none(),
            "--weights is given, but the settings say to start from fresh weights\nhint: leave \
             --weights out, or use --preset fine"
        );
        Model::fresh(name.unwrap_or_default(), Some(num_classes), &devices[0])?
    };
    let (network, mut card) = model.into_parts()?;
    devices.iter().try_for_each(|device| ensure_held(&network, device))?;
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
