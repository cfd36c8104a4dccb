//! From your own images to a record that knows their classes.

use std::io::Write;
use std::path::{Path, PathBuf};

use zoo_core::{Background, Preprocess};
use zoo_models::Network;
use zoo_record::{ModelCard, TrainingImages, write_atomically};
use zoo_train::{
    CHECKPOINT, Classification, Config, Dataset, Evaluation, Event, Fitted, IMAGES, LINEAR, Lock,
    MODEL, Run, Segmentation, Source, Task, TaskKind, Trained, epochs_done, train,
};

use crate::{Error, Model, ensure_fits};

/// The name of the settings in a run's folder.
pub const CONFIG: &str = "config.toml";

/// What came of fine-tuning.
#[derive(Debug)]
pub struct Finetuned {
    /// How the run went.
    pub fitted: Fitted,
    /// The record with the best weights; [`Model::open`] takes it.
    pub model: PathBuf,
    /// What these are worth on the validation images: numbers as text with what they are, and how many images there
    /// are. None where there are none, or where the run was interrupted.
    pub result: Option<(Vec<(String, &'static str)>, usize)>,
    /// Number of images that were left out since they could not be read.
    pub unreadable: usize,
}

impl Model {
    /// Trains the model on your own images, as the settings say, and keeps all of the run in its folder: the record
    /// with the best weights, a report, the settings, and a checkpoint that a run with `resume` continues from.
    ///
    /// The model gets a fresh classifier, unless it knows the same classes already. It must be on the run's device.
    ///
    /// # Errors
    ///
    /// When the images or the settings can't be used, there is another run in the folder, or the loss diverges.
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
                        // A source of many images in a file has no files to list.
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

/// Trains a network; `write_list` writes which images are in which part, where the run is a new one.
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
    let result = evaluation.map(|evaluation| (evaluation.facts(), evaluation.images()));
    Ok(Finetuned { fitted, model, result, unreadable })
}

/// Makes the run's folder, keeps others from writing there, and writes the run's settings.
fn prepare(config: &Config, run: &Run<'_>) -> Result<Lock, Error> {
    let folder = run.folder;
    std::fs::create_dir_all(folder).map_err(|error| zoo_record::Error::Write {
        path: folder.to_owned(),
        reason: error.to_string(),
    })?;
    let lock = Lock::of(folder)?;
    if !run.resume {
        // Another process may have begun and ended in the meantime.
        ensure_no_run(folder)?;
    } else if let Some(done) = epochs_done(folder)?
        && config.recipe.epochs < done
    {
        return Err(Error::EpochsDone { folder: folder.to_owned(), done });
    }
    let (path, text) = (folder.join(CONFIG), config.to_toml());
    if !std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
    }
    Ok(lock)
}

/// Refuses a folder with a run in it.
///
/// # Errors
///
/// [`Error::RunExists`] when there is one.
pub fn ensure_no_run(folder: &Path) -> Result<(), Error> {
    let has_run = |folder: &Path| folder.join(CHECKPOINT).exists() || folder.join(MODEL).exists();
    match has_run(folder) || has_run(&folder.join(LINEAR)) {
        true => Err(Error::RunExists(folder.to_owned())),
        false => Ok(()),
    }
}

/// The same margin around images of another size.
fn sized(preprocess: Preprocess, crop: usize) -> Preprocess {
    let resize = f64::from(preprocess.resize) / f64::from(preprocess.crop) * crop as f64;
    preprocess.sized(resize.round() as u32, u32::try_from(crop).unwrap_or(u32::MAX))
}
