//! Fine-tuning: from your own images to a record with their classes.

use std::io::Write;
use std::path::{Path, PathBuf};

use zoo_core::Background;
use zoo_models::Network;
use zoo_record::{ModelCard, TrainingImages, write_atomically};
use zoo_train::{
    CHECKPOINT, Classification, Config, Dataset, Evaluation, Event, Fitted, IMAGES, LINEAR, Lock,
    MODEL, Run, Segmentation, Source, Task, TaskKind, Trained, epochs_done, train,
};

use crate::model::sized;
use crate::{Error, Model, ensure_fits};

/// The name of the file with the settings in a run's folder.
pub const RUN_CONFIG: &str = "config.toml";

/// The result of a fine-tuning run.
#[derive(Debug)]
pub struct Finetuned {
    /// The epochs of the run.
    pub fitted: Fitted,
    /// The record with the best weights; [`Model::open`] takes it.
    pub model: PathBuf,
    /// The metrics of these weights. `None` if there are no validation images or the run was interrupted.
    pub validation: Option<Validation>,
    /// Number of images that could not be read.
    pub unreadable: usize,
}

/// The metrics of a model on validation images.
#[derive(Debug)]
pub struct Validation {
    /// Number of images.
    pub images: usize,
    /// The metrics: value and name, such as `95.4 %` and `validation accuracy`.
    pub metrics: Vec<(String, &'static str)>,
}

impl Model {
    /// Trains the model on your own images. The run's folder gets the record with the best weights, a report, the
    /// settings, and the training state from which a run with `resume` continues.
    ///
    /// The model gets a new classifier, unless its labels are the classes of the data. The model must be on `run.device`.
    ///
    /// # Errors
    ///
    /// When the images or the settings can't be used, the folder already has a run, or the loss diverges.
    pub fn finetune(self, config: &Config, run: &mut Run<'_>) -> Result<Finetuned, Error> {
        let training_images = self.training_images.clone();
        let (network, mut card) = self.into_parts()?;
        run.others.iter().try_for_each(|device| ensure_fits(&network, device))?;
        if config.data.background != Background::None {
            card.preprocess.background = config.data.background;
        }
        if let Some(side) = config.model.image_size {
            card.preprocess = sized(card.preprocess, side);
        }
        let path = config.data.path.as_deref().ok_or(Error::NoImages)?;
        let (fraction, seed) = (config.data.val_fraction, config.seed);
        match config.data.task {
            TaskKind::Classify => {
                let Network::Classifier(network) = network else {
                    return Err(Error::NotAClassifier(card.variant));
                };
                let dataset = Dataset::open(path, fraction, seed)?;
                learn::<Classification<_>>(
                    network,
                    &card,
                    &training_images,
                    dataset,
                    config,
                    run,
                    |dataset, list| {
                        // Images that are packed in one file have no paths to list.
                        match dataset.train[0].source {
                            Source::File(_) => dataset.write_list(list),
                            _ => Ok(()),
                        }
                    },
                )
            }
            TaskKind::Segment => {
                let Network::Segmenter(network) = network else {
                    return Err(Error::NotASegmenter(card.variant));
                };
                let dataset = Dataset::open_masks(path, fraction, seed)?;
                learn::<Segmentation<_>>(
                    network,
                    &card,
                    &training_images,
                    dataset,
                    config,
                    run,
                    |_, _| Ok(()),
                )
            }
        }
    }
}

/// Trains a network. In a new run, `write_list` writes the list of images with their splits.
fn learn<T: Task>(
    network: T::Model,
    card: &ModelCard,
    training_images: &TrainingImages,
    mut dataset: Dataset<T::Label>,
    config: &Config,
    run: &mut Run<'_>,
    write_list: impl FnOnce(&Dataset<T::Label>, &Path) -> Result<(), zoo_train::Error>,
) -> Result<Finetuned, Error> {
    dataset.compare(training_images, card.preprocess.background, config.workers(), run.observer);
    for warning in &dataset.warnings {
        run.observer.on(&Event::Warning(warning));
    }
    let layers = match (config.data.task, config.recipe.do_fine_tuning) {
        (TaskKind::Segment, _) => "",
        (TaskKind::Classify, true) => ", all layers",
        (TaskKind::Classify, false) => ", the classifier only",
    };
    run.observer.on(&Event::Start {
        classes: dataset.classes.len(),
        train: dataset.train.len(),
        val: dataset.val.len(),
        what: &format!("{}{layers}", card.variant),
    });
    let _lock = prepare(config, run)?;
    if !run.resume {
        write_list(&dataset, &run.folder.join(IMAGES))?;
    }
    let Trained { fitted, model, evaluation, unreadable, .. } =
        train::<T>(network, card, &dataset, config, run)?;
    let validation = evaluation
        .map(|evaluation| Validation { images: evaluation.images(), metrics: evaluation.facts() });
    Ok(Finetuned { fitted, model, validation, unreadable })
}

/// Creates and locks the run's folder, and writes the settings into it.
fn prepare(config: &Config, run: &Run<'_>) -> Result<Lock, Error> {
    let folder = run.folder;
    std::fs::create_dir_all(folder).map_err(|error| zoo_record::Error::Write {
        path: folder.to_owned(),
        reason: error.to_string(),
    })?;
    let lock = Lock::of(folder)?;
    if !run.resume {
        // Another process may have written a run before this one got the lock.
        ensure_no_run(folder)?;
    } else if let Some(done) = epochs_done(folder)?
        && config.recipe.epochs < done
    {
        return Err(Error::EpochsDone { folder: folder.to_owned(), done });
    }
    let (path, text) = (folder.join(RUN_CONFIG), config.to_toml());
    if !std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
    }
    Ok(lock)
}

/// Checks that a folder has no run.
///
/// # Errors
///
/// [`Error::RunExists`] if it has one.
pub fn ensure_no_run(folder: &Path) -> Result<(), Error> {
    let has_run = |folder: &Path| folder.join(CHECKPOINT).exists() || folder.join(MODEL).exists();
    match has_run(folder) || has_run(&folder.join(LINEAR)) {
        true => Err(Error::RunExists(folder.to_owned())),
        false => Ok(()),
    }
}
