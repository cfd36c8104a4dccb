use std::path::PathBuf;

use rand::RngExt;
use zoo_core::{ImageClassifier, ImageSegmenter, draw_parameters};
use zoo_import::{ModelCard, Origin, Precision, Record};

use crate::classify::{Classification, batching};
use crate::fit::{Fitted, Run, fit};
use crate::images::Budget;
use crate::random::{Purpose, stream};
use crate::segment::{Masks, Pairs, SegmentEvaluation, Segmentation};
use crate::{Config, Dataset, Error, Evaluation, Images, REPORT, Report, evaluate, parts, segment};

/// The name of the best network's record in a run's folder.
pub const MODEL: &str = "model.bpk";

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
}

/// Trains a network to tell the classes of a data set apart, and keeps the best weights in
/// [`MODEL`] in the run's folder.
///
/// The network is on the run's device, without autodiff; its card says how images are prepared.
/// It gets a fresh classifier, unless it knows the same classes already.
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
    check_size(card, model.min_size())?;
    run.device.seed(stream(config.seed, Purpose::Init, 0, 0).random());
    if !card.has_classifier || card.labels != *names {
        model.reset_classifier(names.len(), run.device);
        if config.model.pretrained {
            model = parts::draw_small(model);
        }
    }
    draw_parameters(&model);
    let template = model.valid();
    let card = trained(card, names);

    let budget = Budget::mib(config.data.cache_mib);
    let [train, val] = [&dataset.train, &dataset.val]
        .map(|samples| Images::new(samples.clone(), card.preprocess, &budget));
    let path = run.folder.join(MODEL);
    let batching = batching(config, run.engine);
    let task = Classification::new(config, names, &train, &val, batching);
    let task = if config.recipe.do_fine_tuning {
        task
    } else {
        task.freeze(&template, run.device, run.observer)?
    };
    let keep = |model: &M| Ok(Record::save(model, &card, Precision::Single, &path)?);
    let samples = dataset.train.iter().chain(&dataset.val);
    let samples = samples.map(|sample| (sample.source.name(), sample.class));
    let run_id = identity(config, &card, samples);
    let fitted = fit(&task, model, config, &run_id, run, keep)?;

    let mut evaluation = None;
    if !fitted.was_interrupted && !val.samples().is_empty() {
        // What counts is what the record says, not what was computed on the way.
        let best = Record::open(&path)?.load_into(template)?;
        evaluation = Some(evaluate(&best, &val, names, batching, run.device, run.observer)?);
    }
    if !fitted.was_interrupted {
        let evaluation = evaluation.as_ref().map(|evaluation| (evaluation, &val));
        let report = Report { card: &card, config, fitted: &fitted, evaluation };
        report.write(&run.folder.join(REPORT))?;
    }
    Ok(Trained { fitted, model: path, evaluation, val })
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
    if !card.has_classifier || card.labels != names {
        model.reset_classifier(names.len(), run.device);
    }
    draw_parameters(&model);
    let template = model.valid();
    let card = trained(card, &names);
    let budget = Budget::mib(config.data.cache_mib);
    let [train, val] = [&masks.train, &masks.val]
        .map(|pairs| Pairs::new(pairs, &masks.values, card.preprocess, &budget));
    let path = run.folder.join(MODEL);
    let task = Segmentation::new(config, &train, &val);
    let keep = |model: &M| Ok(Record::save(model, &card, Precision::Single, &path)?);
    let files = masks.train.iter().chain(&masks.val);
    let files = files.map(|pair| (pair.image.to_string_lossy().into_owned(), 0));
    let run_id = identity(config, &card, files);
    let fitted = fit(&task, model, config, &run_id, run, keep)?;
    let mut evaluation = None;
    if !fitted.was_interrupted && !masks.val.is_empty() {
        let best = Record::open(&path)?.load_into(template)?;
        evaluation = Some(segment::evaluate(&best, &val, config, run.device, run.observer)?);
    }
    Ok(Segmented { fitted, model: path, evaluation })
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

/// The card of what a network becomes.
fn trained(card: &ModelCard, names: &[String]) -> ModelCard {
    ModelCard {
        tag: None,
        num_classes: names.len(),
        has_classifier: true,
        labels: names.to_vec(),
        origin: Origin {
            file: format!("trained with zoo {}", env!("CARGO_PKG_VERSION")),
            ..card.origin.clone()
        },
        ..card.clone()
    }
}

/// Tells runs apart that can't go on from each other's checkpoints.
fn identity(
    config: &Config,
    card: &ModelCard,
    images: impl Iterator<Item = (String, usize)>,
) -> String {
    let mut config = config.clone();
    (config.data.workers, config.data.cache_mib, config.recipe.checkpoint_steps) = (0, 0, 0);
    let mut text = format!("{}\n{card:?}\n", config.to_toml());
    for (name, class) in images {
        text += &format!("{name} {class}\n");
    }
    format!("{:08x}-{}", crc32c::crc32c(text.as_bytes()), text.len())
}
