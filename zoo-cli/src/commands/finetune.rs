//! `zoo finetune`: from photographs of one's own to a record that knows them.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use burn::tensor::Device;
use burn_zoo::models::{Background, Preprocess};
use burn_zoo::record::{ModelCard, write_atomically};
use burn_zoo::train::{
    CHECKPOINT, Config, Dataset, Fitted, LINEAR, Lock, MODEL, Masks, Source, TaskKind, duration,
    epochs_done, train, train_segmenter,
};
use burn_zoo::{
    Backend, EMBEDDED, Model, Network, default_threads, ensure_held, set_threads, train,
};
use clap::ValueEnum;
use toml::{Table, Value};

use crate::Outcome;
use crate::commands::eval;
use crate::options::{DeviceName, ModelOptions, RunOptions, keep_memory, load, positive};
use crate::progress::Bars;

/// `zoo finetune`
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
DATA is one of
  FOLDER                a folder for each class, in it or in its folders `train` and `val`; `test` is left out
  LIST.csv, LIST.jsonl  paths and labels, with the columns path, label and, if you like, split: train, val or test;
                        between columns are commas, semicolons or tabs; file, image, class, category, set are names, too
  fashion-mnist:FOLDER  the files that Fashion-MNIST is published in; mnist: too
  FOLDER                with --task segment: folders `images` and `masks` with files of the same names, a grey value a class

The best weights become OUTPUT/model.bpk, which `zoo classify --weights` takes. Beside it are metrics.csv,
TensorBoard's events, config.toml, which --config takes, and checkpoint.bpk, which --resume goes on from. Where images are
classified, there are report.html and, for image files, images.csv, whose validation images `zoo eval` takes.

Exit codes: 0 done, 1 some input was unusable, 2 failure, 130 interrupted."
)]
pub(crate) struct Args {
    /// The images
    #[arg(required_unless_present_any = ["resume", "config", "data"])]
    pub(crate) path: Option<String>,

    /// The same, with a name
    #[arg(long, hide = true, conflicts_with = "path")]
    pub(crate) data: Option<String>,

    /// The folder to write [default: named after the data and the model]
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,

    /// Go on with an interrupted run; with --epochs, with a finished one too
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["path", "data", "output", "config", "model", "weights", "set", "task", "preset", "do_fine_tuning", "batch_size", "lr", "backbone_lr_scale", "freeze_until", "optimizer", "size", "val_fraction", "balance", "background", "seed"])]
    pub(crate) resume: Option<PathBuf>,

    /// Start from the settings in a TOML or JSON file, such as another run's config.toml
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where the model comes from.
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// Share each step among devices, such as wgpu,ws://gpu:3000: each takes one of the batches
    /// whose gradients are accumulated. On the machine gpu, `zoo serve` runs
    #[arg(long, value_name = "BACKEND|URL", value_delimiter = ',', conflicts_with = "backend")]
    pub(crate) devices: Vec<DeviceName>,

    /// What is learned: what is in an image, or what each of its pixels is
    #[arg(long, value_enum)]
    pub(crate) task: Option<Task>,

    /// What the settings start from
    #[arg(long, value_enum)]
    pub(crate) preset: Option<Preset>,

    /// Train all layers, or only a new classifier on frozen features [default: false]
    #[arg(long, alias = "do_fine_tuning", value_name = "true|false", action = clap::ArgAction::Set)]
    pub(crate) do_fine_tuning: Option<bool>,

    /// How often each image is seen; before all layers of a pretrained model are trained, a new
    /// classifier alone is, for recipe.linear_epochs. With --resume the learning rate goes on as in a
    /// run that was to have N epochs from its start
    #[arg(long, value_name = "N", value_parser = positive())]
    pub(crate) epochs: Option<usize>,

    /// Images in a step
    #[arg(long, value_name = "N", value_parser = positive())]
    pub(crate) batch_size: Option<usize>,

    /// The highest learning rate
    #[arg(long, value_name = "RATE")]
    pub(crate) lr: Option<f64>,

    /// The learning rate of pretrained layers, as a multiple
    #[arg(long, value_name = "FACTOR")]
    pub(crate) backbone_lr_scale: Option<f64>,

    /// The last part of the network that stays as it is: stem, stages.3
    #[arg(long, value_name = "PART")]
    pub(crate) freeze_until: Option<String>,

    /// What turns gradients into steps: sgd, adam, adamw, rmsprop
    #[arg(long, value_name = "NAME")]
    pub(crate) optimizer: Option<String>,

    /// Side of the images in pixels
    #[arg(long, value_name = "PIXELS", value_parser = positive())]
    pub(crate) size: Option<usize>,

    /// Share of each class that is kept for validation where the data does not say
    #[arg(long, value_name = "SHARE")]
    pub(crate) val_fraction: Option<f64>,

    /// What makes up for uneven classes: none, weights, samples
    #[arg(long, value_name = "HOW")]
    pub(crate) balance: Option<String>,

    /// What transparent images are laid over, here and by who uses the record: white, black, gray,
    /// #f0f0ff; none drops transparency
    #[arg(long, value_name = "COLOR")]
    pub(crate) background: Option<Background>,

    /// What all random numbers come from
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Any setting of config.toml: recipe.ema=0.999, augment.mixup=0.2
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What the settings of a run start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// A new classifier on frozen features
    Linear,
    /// All layers, from published weights
    Fine,
    /// All layers, from nothing
    Scratch,
}

/// What a model learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// What is in an image
    Classify,
    /// What each pixel is
    Segment,
}

/// The name of the settings in a run's folder.
const CONFIG: &str = "config.toml";

/// The name of the list of images and their parts in a run's folder.
const IMAGES: &str = "images.csv";

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
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
    match config.data.task {
        TaskKind::Classify => classify(args, &config, &folder, &devices),
        TaskKind::Segment => segment(args, &config, &folder, &devices),
    }
}

/// Where to train: on one device or several.
fn places(args: &Args) -> Vec<DeviceName> {
    match &args.devices[..] {
        [] => vec![DeviceName::Local(args.run.backend)],
        places => places.to_vec(),
    }
}

/// Trains a network to name what is in images.
fn classify(
    args: &Args,
    config: &Config,
    folder: &Path,
    devices: &[Device],
) -> anyhow::Result<Outcome> {
    let mut dataset = Dataset::open(&config.data.path, config.data.val_fraction, config.seed)?;
    let (network, card) = network(config, dataset.classes.len(), devices)?;
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
    args: &Args,
    devices: &'r [Device],
    stop: &'r AtomicBool,
    observer: &'r mut Bars,
) -> train::Run<'r> {
    let resume = args.resume.is_some();
    let is_cpu = places(args)[0] == DeviceName::Local(Backend::Cpu);
    let engine_threads = is_cpu.then(default_threads);
    let (device, others) = (&devices[0], &devices[1..]);
    train::Run { folder, device, others, engine_threads, resume, stop, observer }
}

/// Trains a network to tell pixels apart.
fn segment(
    args: &Args,
    config: &Config,
    folder: &Path,
    devices: &[Device],
) -> anyhow::Result<Outcome> {
    let path = Path::new(&config.data.path);
    let masks = Masks::open(path, config.data.val_fraction, config.seed)?;
    let classes = masks.classes();
    let (network, card) = network(config, classes.len(), devices)?;
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
fn prepare(args: &Args, config: &Config, folder: &Path) -> anyhow::Result<Lock> {
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
fn settings(args: &Args) -> anyhow::Result<Config> {
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
            TaskKind::Classify => EMBEDDED,
            TaskKind::Segment => "unet",
        };
        name.clone_into(&mut config.model.name);
    }
    Ok(config)
}

/// What the command line sets, as a layer of settings.
fn flags(args: &Args) -> anyhow::Result<Table> {
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
        Task::Classify => "classify",
        Task::Segment => "segment",
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
            Preset::Linear => "linear",
            Preset::Fine => "fine",
            Preset::Scratch => "scratch",
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
fn folder(args: &Args, config: &Config) -> anyhow::Result<PathBuf> {
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
    config: &Config,
    num_classes: usize,
    devices: &[Device],
) -> anyhow::Result<(Network, ModelCard)> {
    let settings = &config.model;
    let (network, mut card) = if settings.pretrained {
        let name = Some(settings.name.as_str()).filter(|name| !name.is_empty());
        let weights =
            Some(PathBuf::from(&settings.weights)).filter(|_| !settings.weights.is_empty());
        load(name, weights.as_deref(), &devices[0])?.into_parts()?
    } else {
        ensure!(
            settings.weights.is_empty(),
            "--weights is given, but the settings say to start from fresh weights\nhint: leave \
             --weights out, or use --preset fine"
        );
        Model::fresh(&settings.name, Some(num_classes), &devices[0])?.into_parts()?
    };
    devices.iter().try_for_each(|device| ensure_held(&network, device))?;
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
