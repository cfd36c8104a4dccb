use std::path::PathBuf;

use rand::RngExt;
use zoo_core::{ImageClassifier, ImageSegmenter, draw_parameters};
use zoo_record::{ModelCard, Origin, Precision, Record};

use crate::classify::{Classification, batching};
use crate::fit::{Fitted, Run, fit};
use crate::images::Budget;
use crate::random::{Purpose, stream};
use crate::segment::{Masks, Pairs, SegmentEvaluation, Segmentation};
use crate::{
    Config, Dataset, Error, Evaluation, Event, Images, REPORT, Report, Score, evaluate, parts,
    segment,
};

/// The name of the best network's record in a run's folder.
pub const MODEL: &str = "model.bpk";

/// The name of the folder, in a run's folder, of the run before it: of the classifier alone.
pub const LINEAR: &str = "linear";

/// What came of a run.
#[derive(Debug)]
pub struct Trained {
    /// How the run went.
    pub fitted: Fitted,
    /// The record with the best weights.
    pub model: PathBuf,
    /// What these are worth on the validation images; none where there are none, or where the
    /// run was interrupted.
    pub evaluation: Option<Evaluation>,
    /// The validation images.
    pub val: Images,
    /// Number of images that were left out since they could not be read.
    pub unreadable: usize,
}

/// Trains a network to tell the classes of a data set apart, and keeps the best weights in
/// [`MODEL`] in the run's folder.
///
/// The network is on the run's device, without autodiff; its card says how images are prepared.
/// It gets a fresh classifier, unless it knows the same classes already. Where the recipe wants that
/// trained alone first, this is a run in the folder `linear` in the run's folder.
///
/// # Errors
///
/// See [`Error`].
pub fn train<M: ImageClassifier>(
    mut model: M,
    card: &ModelCard,
    dataset: &Dataset,
    config: &Config,
    run: &mut Run<'_>,
) -> Result<Trained, Error> {
    let names = &dataset.classes;
    let smallest = match config.recipe.do_fine_tuning {
        true => model.min_training_size(),
        false => model.min_size(),
    };
    check_size(card, smallest)?;
    run.device.seed(stream(config.seed, Purpose::Init, 0, 0).random());
    let is_fresh = is_fresh(card, names);
    if is_fresh {
        model.reset_classifier(names.len(), run.device);
        if config.model.pretrained {
            model = parts::draw_small(model);
        }
    }
    draw_parameters(&model);
    if !config.recipe.do_fine_tuning {
        // A part that the network does not have is an error even where it would change nothing.
        parts::freeze_some(model.clone(), &config.recipe)?;
    }
    warn(config, run);
    let card = trained(card, names);
    let budget = Budget::mib(config.data.cache_mib);
    let images = [&dataset.train, &dataset.val]
        .map(|samples| Images::new(samples.clone(), card.preprocess, &budget));
    let path = run.folder.join(MODEL);
    let mut start = None;
    if let Some(linear) = config.linear_stage()
        && is_fresh
        && !run.has_checkpoint()
    {
        // What is wrong with the settings for all layers is to be heard now.
        parts::freeze_some(model.clone(), &config.recipe)?;
        run.observer.on(&Event::Stage("the classifier first"));
        let folder = make_folder(run.folder.join(LINEAR))?;
        let mut run = Run { folder: &folder, observer: run.observer, ..*run };
        let (fitted, evaluation) =
            stage(model.clone(), &card, dataset, &images, &linear, None, &mut run)?;
        start = evaluation.as_ref().map(Evaluation::score);
        if fitted.was_interrupted {
            return Ok(trained_on(images, fitted, path, evaluation));
        }
        model = Record::open(&folder.join(MODEL))?.load_into(model)?;
        let seen = &dataset.seen;
        Record::save_trained(model.clone(), &card, seen, Precision::Single, &path)?;
        run.observer.on(&Event::Stage("all layers"));
    }
    let (fitted, evaluation) = stage(model, &card, dataset, &images, config, start, run)?;
    Ok(trained_on(images, fitted, path, evaluation))
}

fn trained_on(
    images: [Images; 2],
    fitted: Fitted,
    model: PathBuf,
    evaluation: Option<Evaluation>,
) -> Trained {
    let unreadable = images.iter().map(Images::unreadable).sum();
    let [_, val] = images;
    Trained { fitted, model, evaluation, val, unreadable }
}

/// Trains the classifier or all layers, and keeps what is better than `start`.
fn stage<M: ImageClassifier>(
    model: M,
    card: &ModelCard,
    dataset: &Dataset,
    [train, val]: &[Images; 2],
    config: &Config,
    start: Option<Score>,
    run: &mut Run<'_>,
) -> Result<(Fitted, Option<Evaluation>), Error> {
    let names = &dataset.classes;
    let template = model.valid();
    let batching = batching(config, run.engine_threads);
    let task = Classification::new(config, names, train, val, batching);
    let task = if config.recipe.do_fine_tuning {
        task
    } else {
        task.freeze(&template, run.device, run.observer)?
    };
    let path = run.folder.join(MODEL);
    let keep =
        |model| Ok(Record::save_trained(model, card, &dataset.seen, Precision::Single, &path)?);
    let samples = train.samples().iter().chain(val.samples());
    let samples = samples.map(|sample| (sample.source.name(), sample.class));
    let run_id = identity(config, card, samples);
    let fitted = fit(&task, model, config, &run_id, start, run, keep)?;
    if fitted.was_interrupted {
        return Ok((fitted, None));
    }
    let mut evaluation = None;
    if !val.samples().is_empty() {
        // What counts is what the record says, not what was computed on the way.
        let best = Record::open(&path)?.load_into(template)?;
        evaluation = Some(evaluate(&best, val, names, batching, run.device, run.observer)?);
    }
    let evaluated = evaluation.as_ref().map(|evaluation| (evaluation, val));
    let report = Report { card, config, fitted: &fitted, evaluation: evaluated };
    report.write(&run.folder.join(REPORT))?;
    Ok((fitted, evaluation))
}

/// What came of training a segmenter.
#[derive(Debug)]
pub struct Segmented {
    /// How the run went.
    pub fitted: Fitted,
    /// The record with the best weights.
    pub model: PathBuf,
    /// What these are worth on the validation images.
    pub evaluation: Option<SegmentEvaluation>,
    /// Number of images that were left out since they or their masks could not be read.
    pub unreadable: usize,
}

/// The same as [`train()`] for a network that tells pixels apart, with images and masks. All
/// layers are trained.
///
/// # Errors
///
/// See [`Error`].
pub fn train_segmenter<M: ImageSegmenter>(
    mut model: M,
    card: &ModelCard,
    masks: &Masks,
    config: &Config,
    run: &mut Run<'_>,
) -> Result<Segmented, Error> {
    let names = masks.classes();
    check_size(card, model.min_size())?;
    run.device.seed(stream(config.seed, Purpose::Init, 0, 0).random());
    if !card.has_classifier || card.num_classes != names.len() || card.labels != names {
        model.reset_classifier(names.len(), run.device);
    }
    draw_parameters(&model);
    warn(config, run);
    let template = model.valid();
    let card = trained(card, &names);
    let budget = Budget::mib(config.data.cache_mib);
    let [train, val] = [&masks.train, &masks.val]
        .map(|pairs| Pairs::new(pairs, &masks.values, card.preprocess, &budget));
    let path = run.folder.join(MODEL);
    let task = Segmentation::new(config, &train, &val);
    let keep = |model| Ok(Record::save(model, &card, Precision::Single, &path)?);
    let files = masks.train.iter().chain(&masks.val);
    let files = files.map(|pair| (pair.image.to_string_lossy().into_owned(), 0));
    let run_id = identity(config, &card, files);
    let fitted = fit(&task, model, config, &run_id, None, run, keep)?;
    let mut evaluation = None;
    if !fitted.was_interrupted && !masks.val.is_empty() {
        let best = Record::open(&path)?.load_into(template)?;
        evaluation = Some(segment::evaluate(&best, &val, config, run.device, run.observer)?);
    }
    let unreadable = train.unreadable() + val.unreadable();
    Ok(Segmented { fitted, model: path, evaluation, unreadable })
}

/// Tells of settings that nobody can have meant.
fn warn(config: &Config, run: &mut Run<'_>) {
    for warning in config.warnings() {
        run.observer.on(&Event::Warning(&warning));
    }
}

fn make_folder(path: PathBuf) -> Result<PathBuf, Error> {
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(zoo_record::Error::Write { path, reason: error.to_string() }.into()),
    }
}

fn check_size(card: &ModelCard, smallest: usize) -> Result<(), Error> {
    let side = card.preprocess.crop as usize;
    if side >= smallest {
        return Ok(());
    }
    Err(Error::Config(format!(
        "images of {side}x{side} pixels are too small for {}\nhint: it takes {smallest}x{smallest} \
         and larger, --size says which",
        card.variant
    )))
}

/// Whether a network needs a new classifier for these classes.
fn is_fresh(card: &ModelCard, names: &[String]) -> bool {
    !card.has_classifier || card.num_classes != names.len() || card.labels != names
}

/// The card of what a network becomes.
fn trained(card: &ModelCard, names: &[String]) -> ModelCard {
    ModelCard {
        tag: None,
        num_classes: names.len(),
        has_classifier: true,
        hidden: if is_fresh(card, names) { Vec::new() } else { card.hidden.clone() },
        labels: names.to_vec(),
        origin: Origin {
            file: format!("trained with zoo {}", env!("CARGO_PKG_VERSION")),
            ..card.origin.clone()
        },
        ..card.clone()
    }
}

/// Tells runs apart that can't go on from each other's checkpoints. A run may go on for more epochs
/// than it was to have.
fn identity(
    config: &Config,
    card: &ModelCard,
    images: impl Iterator<Item = (String, usize)>,
) -> String {
    let mut config = config.clone();
    (config.data.workers, config.data.cache_mib) = (0, 0);
    (config.recipe.checkpoint_steps, config.recipe.epochs) = (0, 0);
    let mut text = format!("{}\n{card:?}\n", config.to_toml());
    for (name, class) in images {
        text += &format!("{name} {class}\n");
    }
    format!("{:08x}-{}", crc32c::crc32c(text.as_bytes()), text.len())
}
