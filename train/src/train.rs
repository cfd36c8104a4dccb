//! A whole run, from a network and images to a record and a report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use rand::RngExt;
use zoo_core::initialize_parameters;
use zoo_record::{ModelCard, Origin, Precision, Record};

use crate::config::earlier_identities;
use crate::data::Label;
use crate::fit::{Fitted, Run, RunId, complain, fit};
use crate::images::Budget;
use crate::random::{Purpose, stream};
use crate::report::write_run;
use crate::task::{Batching, Evaluation, TaskData};
use crate::{Config, Dataset, Error, Event, IMAGES, Images, REPORT, Score, Task, parts};

/// The name of the best network's record in a run's folder.
pub const MODEL: &str = "model.bpk";

/// The name of the folder, inside a run's folder, of the first stage: training only the classifier.
pub const LINEAR: &str = "linear";

/// The result of a run.
#[derive(Debug)]
pub struct Trained<T: Task> {
    /// The history of the training.
    pub fitted: Fitted,
    /// The record with the best weights.
    pub model: PathBuf,
    /// The evaluation of the best weights on the validation images. `None` if there are no such
    /// images or the run was interrupted.
    pub evaluation: Option<T::Evaluation>,
    /// The validation images.
    pub val: Arc<Images<T::Label>>,
    /// Number of images that were left out because they could not be read.
    pub unreadable: usize,
}

/// Trains a network for a task, such as [`Classification`](crate::Classification), and keeps the
/// best weights in [`MODEL`] in the run's folder.
///
/// The network must be on the run's device, without autodiff; its card holds the preprocessing. It
/// gets a randomly initialized classifier, unless its labels are the classes of the data. If the
/// recipe trains this classifier first, that is a separate run in [`LINEAR`] in the run's folder.
///
/// # Errors
///
/// See [`Error`].
pub fn train<T: Task>(
    mut model: T::Model,
    card: &ModelCard,
    dataset: &Dataset<T::Label>,
    config: &Config,
    run: &mut Run<'_>,
) -> Result<Trained<T>, Error> {
    config.check()?;
    let names = &dataset.classes;
    check_size(card, T::min_size(&model, config))?;
    run.device.seed(stream(config.seed, Purpose::Init, 0, 0).random());
    let is_fresh = is_fresh(card, names);
    if is_fresh {
        model = T::with_fresh_classifier(model, names.len(), config, run.device);
    }
    initialize_parameters(&model);
    if !config.recipe.do_fine_tuning {
        // A module that the network does not have is an error even if it would have no effect.
        parts::freeze_some(model.clone(), &config.recipe)?;
    }
    for warning in config.warnings() {
        run.observer.on(&Event::Warning(&warning));
    }
    let card = trained(card, names);
    let budget = Budget::mib(config.data.cache_mib);
    let images = [&dataset.train, &dataset.val]
        .map(|samples| Arc::new(Images::new(samples.clone(), card.preprocess, &budget)));
    let root = earlier_root(config, dataset, run.folder);
    let stages = Stages { card, dataset, images, earlier_root: root };
    let mut start = None;
    if let Some(linear) = config.linear_stage()
        && is_fresh
        && !run.has_checkpoint()
    {
        // Errors in the settings for all layers are reported now, not after the first stage.
        parts::freeze_some(model.clone(), &config.recipe)?;
        run.observer.on(&Event::Stage("the classifier first"));
        let folder = make_folder(run.folder.join(LINEAR))?;
        let mut first = Run { folder: &folder, observer: &mut *run.observer, ..*run };
        let trained = stages.train::<T>(model.clone(), &linear, None, &mut first)?;
        if trained.fitted.was_interrupted {
            return Ok(trained);
        }
        start = trained.evaluation.as_ref().map(Evaluation::score);
        model = Record::open(&trained.model)?.load_into(model)?;
        stages.save(model.clone(), run.folder)?;
        run.observer.on(&Event::Stage("all layers"));
    }
    stages.train(model, config, start, run)
}

/// The common data of the two stages: the classifier, then all layers.
struct Stages<'a, L: Label> {
    card: ModelCard,
    dataset: &'a Dataset<L>,
    images: [Arc<Images<L>>; 2],
    /// The folder of the images when the run began.
    earlier_root: Option<String>,
}

impl<L: Label> Stages<'_, L> {
    /// Trains the classifier or all layers, and keeps the best weights if they are better than
    /// `start`.
    fn train<T: Task<Label = L>>(
        &self,
        model: T::Model,
        config: &Config,
        start: Option<Score>,
        run: &mut Run<'_>,
    ) -> Result<Trained<T>, Error> {
        let [train, val] = self.images.each_ref().map(Arc::clone);
        let batching = Batching::of_run(config);
        let names = self.dataset.classes.clone();
        let config = config.clone();
        let mut task = T::new(TaskData { config, names, train, val: Arc::clone(&val), batching });
        let template = model.valid();
        let began = Instant::now();
        let precomputed = task.precompute(&template, run.device, run.observer);
        complain(&task, run.observer);
        precomputed?;
        let precompute_seconds = began.elapsed().as_secs_f64();

        let TaskData { config, names, batching, .. } = task.data();
        let samples = self.images.iter().flat_map(|images| images.samples());
        let labeled = |sample: &crate::Sample<L>| {
            (sample.source.name(), sample.label.class().unwrap_or_default())
        };
        let labeled: Vec<_> = samples.map(labeled).collect();
        let run_id = identity(config, &self.card, &labeled, self.earlier_root.as_deref());
        let folder = run.folder;
        let keep = |model| self.save(model, folder).map(drop);
        let fitted = fit(&task, model, config, &run_id, start, run, keep)?;
        let fitted = Fitted { precompute_seconds, ..fitted };
        let path = folder.join(MODEL);
        let mut evaluation = None;
        if !fitted.was_interrupted {
            if !val.samples().is_empty() {
                // The record is evaluated, not the network in memory.
                let best = Record::open(&path)?.load_into(template)?;
                let (device, observer) = (run.device, &mut *run.observer);
                evaluation = Some(T::evaluate(&best, &val, names, *batching, device, observer)?);
            }
            let evaluated = evaluation.as_ref().map(|evaluation| (evaluation, &*val));
            write_run::<T>(&folder.join(REPORT), &self.card, config, &fitted, evaluated)?;
        }
        let unreadable = task.data().unreadable();
        Ok(Trained { fitted, model: path, evaluation, val, unreadable })
    }

    /// Writes the record of a network into a folder.
    fn save<M: Module>(&self, model: M, folder: &Path) -> Result<(), Error> {
        let (images, path) = (&self.dataset.training_images, folder.join(MODEL));
        Ok(Record::save_trained(model, &self.card, images, Precision::Single, &path)?)
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
         and larger; model.image_size says which",
        card.variant
    )))
}

/// Whether a network needs a new classifier for these classes.
fn is_fresh(card: &ModelCard, names: &[String]) -> bool {
    !card.has_classifier || card.num_classes != names.len() || card.labels != names
}

/// Returns the card of the trained network.
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

/// Returns the identity of a run. It does not depend on the folder of the images or on settings
/// that may change in a resumed run, such as the number of epochs.
fn identity(
    config: &Config,
    card: &ModelCard,
    images: &[(String, usize)],
    earlier_root: Option<&str>,
) -> RunId {
    let here = config.data.path.clone().unwrap_or_default();
    let relative = |name: &str| name.strip_prefix(&here).unwrap_or(name).to_owned();
    let settings = config.clone().with_path(None).identity();
    let ModelCard { variant, num_classes, in_channels, hidden, labels, preprocess, .. } = card;
    let network = (variant, num_classes, in_channels, hidden, labels, preprocess);
    let mut text = format!("{settings}{}\n", serde_json::json!(network));
    for (name, class) in images {
        text += &format!("{} {class}\n", relative(name));
    }
    let current = format!("v2-{:08x}-{}", crc32c::crc32c(text.as_bytes()), text.len());
    RunId { current, earlier: earlier_identities(config, card, images, earlier_root) }
}

/// Returns the folder of the images when the run began, from the list of images in the run's
/// folder.
fn earlier_root<L>(config: &Config, dataset: &Dataset<L>, folder: &Path) -> Option<String> {
    let first = dataset.train.first()?.source.name();
    let below = first.strip_prefix(config.data.path.as_deref()?)?;
    let mut list = csv::Reader::from_path(folder.join(IMAGES)).ok()?;
    let row = list.records().next()?.ok()?;
    row.get(0)?.strip_suffix(below).map(str::to_owned)
}
