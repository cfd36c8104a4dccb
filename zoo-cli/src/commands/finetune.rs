//! `zoo finetune`: trains a model on your own images.

use std::io::{Write, stdout};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, ensure};
use burn::tensor::Device;
use burn_zoo::train::config::ModelConfig;
use burn_zoo::train::{Config, Fitted, Lock, Run, TaskKind, duration};
use burn_zoo::{
    EMBEDDED_MODEL, Error, Finetuned, Model, RUN_CONFIG, Validation, counted, ensure_no_run,
    set_threads,
};

use crate::Outcome;
use crate::flags::SettingFlags;
use crate::options::{DeviceName, RunOptions, keep_memory, load};
use crate::progress::Bars;

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

    /// DATA as an option
    #[arg(long, hide = true, conflicts_with = "path")]
    pub(crate) data: Option<String>,

    /// The folder to write [default: named after the data and the model]
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,

    /// Continue an interrupted run; with a higher --epochs, also a finished one
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["path", "data", "output", "config", "set"])]
    pub(crate) resume: Option<PathBuf>,

    /// Start from the settings in a TOML or JSON file, such as another run's config.toml
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Options that choose the backend.
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
    finetune(args).map_err(|error| match error.downcast_ref() {
        Some(Error::RunExists(folder)) => anyhow!(
            "{0} already has a training run\nhint: --resume {0} continues it, --output FOLDER chooses \
             another folder",
            folder.display()
        ),
        Some(Error::EpochsDone { folder, done }) => anyhow!(
            "the run in {} has already trained {done} epochs\nhint: --epochs {} continues it",
            folder.display(),
            2 * done
        ),
        Some(Error::NotASegmenter(_)) => anyhow!("{error}\nhint: --model unet"),
        _ => args.settings.in_options(error),
    })
}

fn finetune(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(threads) = args.run.threads {
        set_threads(threads.into());
    }
    keep_memory();
    let devices: Vec<Device> =
        device_names(args).iter().map(DeviceName::device).collect::<anyhow::Result<_>>()?;
    let mut config = settings(args)?;
    if args.resume.is_none() {
        config.recipe.accumulate = config.recipe.accumulate.max(devices.len());
    }
    let folder = folder(args, &config)?;
    let model = model(&config, &devices[0])?;
    let stop = stop_on_interrupt()?;
    let mut run = Run {
        folder: &folder,
        device: &devices[0],
        others: &devices[1..],
        resume: args.resume.is_some(),
        stop: &stop,
        observer: &mut Bars::default(),
    };
    report(&config, &folder, &model.finetune(&config, &mut run)?)
}

/// The devices to train on.
fn device_names(args: &Args) -> Vec<DeviceName> {
    match &args.devices[..] {
        [] => vec![DeviceName::Local(args.run.backend)],
        names => names.to_vec(),
    }
}

/// Reports the result of the run.
fn report(config: &Config, folder: &Path, done: &Finetuned) -> anyhow::Result<Outcome> {
    let Finetuned { fitted, model, validation, unreadable } = done;
    if fitted.was_interrupted {
        eprintln!("zoo: interrupted; `zoo finetune --resume {}` continues", folder.display());
        return Ok(Outcome::Interrupted);
    }
    if fitted.was_finished {
        eprintln!(
            "zoo: the run in {0} is finished: it has {1} epochs\nhint: `zoo finetune --resume {0} \
             --epochs {2}` continues it",
            folder.display(),
            fitted.history.len(),
            2 * config.recipe.epochs
        );
    }
    let epoch = fitted.best_epoch.map(|epoch| match epoch {
        0 => "only the classifier".to_owned(),
        epoch => format!("epoch {epoch}"),
    });
    let validation = validation.as_ref().map(|Validation { images, metrics }| {
        let metrics = metrics.iter().map(|(value, name)| format!("{name} {value}"));
        format!("{} on {}", metrics.collect::<Vec<_>>().join(", "), counted(*images, "image"))
    });
    let parts = [epoch, validation, Some(seconds(fitted))];
    let text: Vec<_> = parts.into_iter().flatten().collect();
    writeln!(stdout(), "{}: {}", model.display(), text.join(", "))?;
    Ok(if *unreadable > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}

/// The times that the run took.
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
        let path = folder.join(RUN_CONFIG);
        ensure!(
            path.exists(),
            "{} is not the folder of a run\nhint: there is no {RUN_CONFIG} in it",
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
    let path = config.data.path.as_deref();
    let path = path.context("there is no DATA\nhint: zoo finetune FOLDER")?;
    config.data.path = Some(absolute(path)?);
    config.model.weights = config.model.weights.as_deref().map(absolute).transpose()?;
    if config.model.name.is_none() && config.model.weights.is_none() {
        let name = match config.data.task {
            TaskKind::Classify => EMBEDDED_MODEL,
            TaskKind::Segment => "unet",
        };
        config.model.name = Some(name.to_owned());
    }
    Ok(config)
}

/// An absolute path. A scheme such as `fashion-mnist:` stays in front.
pub(crate) fn absolute(path: &str) -> anyhow::Result<String> {
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
    if folder.join(RUN_CONFIG).exists() {
        // If the run is still going on, the error says so, instead of suggesting --resume.
        Lock::of(&folder)?;
    }
    ensure_no_run(&folder)?;
    Ok(folder)
}

/// The model to start from.
fn model(config: &Config, device: &Device) -> anyhow::Result<Model> {
    let settings = &config.model;
    let name = settings.name.as_deref();
    if settings.pretrained {
        return load(name, settings.weights.as_deref().map(Path::new), device);
    }
    ensure!(
        settings.weights.is_none(),
        "--weights is given, but the settings ask for random weights\nhint: leave \
         --weights out, or use --preset fine"
    );
    // `Model::init` draws the weights; the run seeds the device only later.
    device.seed(config.seed);
    Ok(Model::init(name.unwrap_or_default(), None, device)?)
}

/// A flag that the first Ctrl-C sets; the second ends the program.
pub(crate) fn stop_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
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
