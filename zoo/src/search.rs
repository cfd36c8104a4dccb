//! Architecture search under a budget: the best network for your images that meets limits of latency, size and memory.
//!
//! [`search`] draws candidates from a [`Space`], measures each on this machine, and trains those that meet the [`Limits`] for a few
//! epochs. The limits are hard: a network that exceeds one is never trained. The best candidate is trained longer at the
//! end and evaluated on test images, which the search has not seen.
//!
//! The folder of a search holds `search.toml` with its settings, `search.csv` with all candidates, `report.html`, and `model.bpk`
//! with the found network.

mod evolution;
mod genetic;
mod halving;
mod journal;
mod judge;
mod limits;
mod measure;
mod report;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use zoo_core::SearchSpace;
use zoo_models::Network;
use zoo_record::write_atomically;
use zoo_train::{
    Batching, Budget, Classification, ClassificationEvaluation, Config, Dataset, Images, Lock,
    MODEL, Observer, REPORT, Run, Task, train,
};

use crate::{Error, Model, default_threads};
use evolution::{Evolution, reward};
use genetic::Genetic;
use journal::Journal;
pub use journal::{CANDIDATES, Row, Status};
use judge::{Judge, Request, Stop, has_weights, start};
pub use limits::{Cost, Limits};
use measure::Stopwatch;

/// The name of the file with a search's settings in its folder.
pub const SETTINGS: &str = "search.toml";

/// A network and the size of its images.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// The name of the network, which the registry builds.
    pub network: String,
    /// Height and width of the images in pixels.
    pub image_size: usize,
}

/// A space of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// The networks of the registry at several image sizes, by successive halving. Networks with published weights on this
    /// machine get a new classifier; the others are trained from scratch.
    Zoo,
    /// AE-CNN: units of residual blocks, dense layers and poolings, by a genetic algorithm.
    Blocks,
    /// MnasNet's factorized hierarchical space, by regularized evolution.
    Mobile,
}

/// The settings of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchConfig {
    /// The images: a folder or a list, as [`Dataset::open`] takes them.
    pub data: String,
    /// The space of networks.
    pub space: Space,
    /// The hard limits.
    pub limits: Limits,
    /// Latency that [`Space::Mobile`] aims at, in milliseconds: a slower network needs more accuracy for the same reward.
    pub target_ms: Option<f64>,
    /// Time for the search in seconds, without the final training. Half of it is for a random search, as the baseline.
    pub budget: f64,
    /// Height and width of the images in pixels, in [`Space::Blocks`] and [`Space::Mobile`].
    pub image_size: usize,
    /// Epochs of the training of a candidate; in [`Space::Zoo`], those of the first round of halving.
    pub epochs: usize,
    /// Epochs of the final training of a network that starts from random weights. Published weights are fine-tuned with the preset
    /// `fine`.
    pub final_epochs: usize,
    /// Networks in a generation.
    pub population: usize,
    /// Generations after the first one.
    pub generations: usize,
    /// Probability that two parents exchange their parts.
    pub crossover: f64,
    /// Probability that a child is mutated.
    pub mutation: f64,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl SearchConfig {
    /// A search of half an hour on these images, with the rates of AE-CNN.
    pub fn new(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            space: Space::Zoo,
            limits: Limits::default(),
            target_ms: None,
            budget: 1800.0,
            image_size: 32,
            epochs: 3,
            final_epochs: 40,
            population: 20,
            generations: 20,
            crossover: 0.9,
            mutation: 0.2,
            seed: 0,
        }
    }

    fn genetic(&self) -> Genetic {
        let Self { population, generations, crossover, mutation, .. } = *self;
        Genetic { population, generations, crossover, mutation }
    }

    fn evolution(&self) -> Evolution {
        let Self { population, generations, target_ms: target, .. } = *self;
        let cycles = population * generations;
        // The sample is a quarter of the population, as in the paper: 25 of 100.
        Evolution { population, sample: population.div_ceil(4), cycles, target }
    }

    /// The settings of a training on a number of images: an epoch has at least 16 updates, unless its batches would be tiny.
    ///
    /// A classifier on cached features takes ten times as many epochs, since each is short.
    fn training(&self, network: &str, epochs: usize, images: usize) -> Config {
        let mut config = if has_weights(network) { Config::linear() } else { Config::scratch() };
        config.recipe.epochs = if has_weights(network) { 10 * epochs } else { epochs };
        config.recipe.batch_size = (images / 16).clamp(8, config.recipe.batch_size);
        // Without clipping, one learning rate would not suit all networks of a space.
        config.recipe.clip = Some(1.0);
        config.seed = self.seed;
        config.data.path = Some(self.data.clone());
        config
    }

    /// The settings of the final training: all layers, from published weights if there are some.
    fn final_training(&self, network: &str, images: usize) -> Config {
        let mut config = self.training(network, self.final_epochs, images);
        if has_weights(network) {
            let fine = Config::fine();
            config.recipe = fine.recipe;
            config.preset = fine.preset;
        }
        config
    }
}

/// The progress of a search.
#[derive(Debug)]
pub enum Event<'a> {
    /// The sizes of the splits: training, validation, test.
    Splits([usize; 3]),
    /// A candidate was assessed.
    Assessed(&'a Row),
    /// A candidate was requested that the folder already has a row for.
    Known(&'a Row),
    /// A part of the search begins: `search`, `random` or `final`.
    Stage(&'static str),
    /// A warning.
    Warning(&'a str),
}

/// Where a search runs.
pub struct SearchRun<'a> {
    /// The folder of the search.
    pub folder: &'a Path,
    /// The device that trains.
    pub device: &'a Device,
    /// Whether to continue the search in the folder.
    pub resume: bool,
    /// Set by another thread to stop the search.
    pub stop: &'a AtomicBool,
    /// Receives the events.
    pub observer: &'a mut dyn FnMut(Event<'_>),
    /// Receives the events of the final training.
    pub training: &'a mut dyn Observer,
}

impl std::fmt::Debug for SearchRun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SearchRun").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The result of a search.
#[derive(Debug)]
pub struct Found {
    /// The row of the best candidate.
    pub best: Row,
    /// The record of the network after the final training.
    pub model: PathBuf,
    /// The evaluation on the test images.
    pub test: ClassificationEvaluation,
    /// Number of candidates that were trained.
    pub trained: usize,
}

/// Searches a network. `None` if the search was interrupted.
///
/// # Errors
///
/// When the images can't be used, no network meets the limits, the folder has another search, or a file can't be written.
pub fn search(config: &SearchConfig, run: SearchRun<'_>) -> Result<Option<Found>, Error> {
    let SearchRun { folder, device, stop, observer, training, .. } = run;
    std::fs::create_dir_all(folder).map_err(|error| zoo_record::Error::Write {
        path: folder.to_owned(),
        reason: error.to_string(),
    })?;
    let _lock = Lock::of(folder)?;
    write_settings(config, folder, run.resume)?;
    let (dataset, test) = Dataset::open_with_test(&config.data, config.seed)?;
    dataset.warnings.iter().for_each(|warning| observer(Event::Warning(warning)));
    observer(Event::Splits([dataset.train.len(), dataset.val.len(), test.len()]));

    let journal = Journal::open(folder)?;
    // Half of the budget is for each method, less the time of earlier processes.
    let rest = |rows: &[Row], method: &str| {
        let spent: f64 =
            rows.iter().filter(|row| row.method == method).map(|row| row.seconds).sum();
        Duration::from_secs_f64((config.budget / 2.0 - spent).max(0.0))
    };
    let deadline = Instant::now() + rest(journal.rows(), "search");
    let mut judge = Judge {
        folder,
        dataset: &dataset,
        device,
        config,
        stopwatch: Stopwatch::new()?,
        journal,
        deadline,
        stop,
        observer,
    };
    (judge.observer)(Event::Stage("search"));
    let SearchConfig { image_size, epochs, seed, .. } = *config;
    let ended = match config.space {
        Space::Zoo => halving::run(epochs, &mut judge),
        Space::Blocks => {
            config.genetic().run(zoo_models::BLOCKS, image_size, epochs, seed, &mut judge)
        }
        Space::Mobile => {
            config.evolution().run(zoo_models::MOBILE, image_size, epochs, seed, &mut judge)
        }
    };
    if let Some(none) = ended_early(ended, judge.journal.rows())? {
        return Ok(none);
    }
    (judge.observer)(Event::Stage("random"));
    judge.deadline = Instant::now() + rest(judge.journal.rows(), "random");
    let count = trained(judge.journal.rows(), "search").count();
    let ended = match config.space {
        Space::Zoo => halving::random(epochs, seed, &mut judge),
        Space::Blocks => random_search(zoo_models::BLOCKS, config, count, &mut judge),
        Space::Mobile => random_search(zoo_models::MOBILE, config, count, &mut judge),
    };
    if let Some(none) = ended_early(ended, judge.journal.rows())? {
        return Ok(none);
    }
    let rows = judge.journal.rows().to_vec();
    let best = best(trained(&rows, "search"), config.target_ms);
    let best = best.expect("a candidate was trained").clone();
    observer(Event::Stage("final"));
    let final_run = Run {
        folder: &folder.join("final"),
        device,
        others: &[],
        resume: true,
        stop,
        observer: training,
    };
    let Some((model, test)) = train_best(config, &best, &dataset, test, final_run)? else {
        return Ok(None);
    };
    let path = folder.join(MODEL);
    let bytes = std::fs::read(&model).map_err(|source| Error::Read { path: model, source })?;
    write_atomically(&path, |file| file.write_all(&bytes))?;
    let found = Found { trained: trained(&rows, "search").count(), best, model: path, test };
    let html = report::html(config, &rows, &found);
    write_atomically(&folder.join(REPORT), |file| file.write_all(html.as_bytes()))?;
    Ok(Some(found))
}

/// Writes the settings, or checks that a resumed search has the same.
fn write_settings(config: &SearchConfig, folder: &Path, resume: bool) -> Result<(), Error> {
    let path = folder.join(SETTINGS);
    let text = toml::to_string(config).expect("the settings are numbers and texts");
    match std::fs::read_to_string(&path) {
        Ok(_) if !resume => Err(Error::SearchExists(folder.to_owned())),
        Ok(earlier) if comparable(&earlier) != comparable(&text) => Err(Error::Search(format!(
            "{} has a search with other settings\nhint: resume it with the settings of {SETTINGS}, or choose another folder",
            folder.display()
        ))),
        _ => Ok(write_atomically(&path, |file| file.write_all(text.as_bytes()))?),
    }
}

/// The settings that must not change in a resumed search: all but the time and the final training.
fn comparable(text: &str) -> Option<SearchConfig> {
    let config: SearchConfig = toml::from_str(text).ok()?;
    Some(SearchConfig { budget: 0.0, final_epochs: 0, ..config })
}

/// The rows of trained candidates of a method.
fn trained<'a>(rows: &'a [Row], method: &str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |row| row.method == method && row.accuracy.is_some())
}

/// The row with the most epochs and the highest accuracy, or reward if there is a target latency; of equal ones the one with the
/// fewest operations.
fn best<'a>(rows: impl Iterator<Item = &'a Row>, target_ms: Option<f64>) -> Option<&'a Row> {
    let reward = |row: &Row| reward(row.accuracy.unwrap_or_default(), row.latency_ms, target_ms);
    rows.max_by(|a, b| {
        let by_epochs = a.epochs.cmp(&b.epochs);
        by_epochs.then(reward(a).total_cmp(&reward(b))).then(b.macs.cmp(&a.macs))
    })
}

/// Whether the search must end now: with an error, or with `Some` if it was interrupted.
fn ended_early(ended: Result<(), Stop>, rows: &[Row]) -> Result<Option<Option<Found>>, Error> {
    match ended {
        Err(Stop::Interrupted) => return Ok(Some(None)),
        Err(Stop::Failed(error)) => return Err(error),
        Ok(()) | Err(Stop::Budget | Stop::NothingFits) => {}
    }
    if trained(rows, "search").next().is_some() {
        return Ok(None);
    }
    let mut rejected = rows.iter().filter(|row| row.status == Status::Rejected);
    Err(match rejected.next() {
        Some(row) => Error::NothingFits { candidates: rows.len(), example: row.reason.clone() },
        None => Error::Search(
            "no candidate was trained in the given time\nhint: raise the budget".to_owned(),
        ),
    })
}

/// Trains random networks of the space, as many as the search has trained.
fn random_search(
    space: &dyn SearchSpace,
    config: &SearchConfig,
    count: usize,
    judge: &mut Judge<'_>,
) -> Result<(), Stop> {
    let mut rng = StdRng::seed_from_u64(config.seed ^ 0x5eed);
    let mut left = count;
    while left > 0 {
        let network = space.random(&mut rng);
        let candidate = Candidate { network, image_size: config.image_size };
        let request =
            Request { method: "random", generation: 0, parents: &[], candidate: &candidate };
        left -= usize::from(judge.assess(&request, config.epochs)?.is_some());
    }
    Ok(())
}

/// Trains the best candidate longer, and evaluates it on the test images. `None` if it was interrupted.
fn train_best(
    config: &SearchConfig,
    best: &Row,
    dataset: &Dataset,
    test: Vec<zoo_train::Sample>,
    mut run: Run<'_>,
) -> Result<Option<(PathBuf, ClassificationEvaluation)>, Error> {
    std::fs::create_dir_all(run.folder).map_err(|error| zoo_record::Error::Write {
        path: run.folder.to_owned(),
        reason: error.to_string(),
    })?;
    let candidate = Candidate { network: best.network.clone(), image_size: best.image_size };
    let (network, card) = start(&candidate, config.seed, dataset, run.device)?;
    let training = config.final_training(&best.network, dataset.train.len());
    let trained = train::<Classification<_>>(network, &card, dataset, &training, &mut run)?;
    if trained.fitted.was_interrupted {
        return Ok(None);
    }
    let (network, card) = Model::open(&trained.model, run.device)?.into_parts()?;
    let Network::Classifier(network) = network else {
        return Err(Error::NotAClassifier(card.variant));
    };
    let images = Images::new(test, card.preprocess, &Budget::mib(0));
    let batching = Batching { batch_size: 32, workers: default_threads(), engine: true };
    let names = &dataset.classes;
    let evaluation =
        Classification::evaluate(&network, &images, names, batching, run.device, run.observer)?;
    Ok(Some((trained.model, evaluation)))
}
