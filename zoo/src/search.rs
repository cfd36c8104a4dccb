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
mod inherit;
mod journal;
mod judge;
mod limits;
mod measure;
mod proxies;
mod report;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use zoo_core::SearchSpace;
use zoo_models::Network;
use zoo_record::write_atomically;
use zoo_train::{
    Batching, Budget, Classification, ClassificationEvaluation, Config, Dataset, Images, Lock,
    MODEL, Observer, REPORT, Run, Task, train,
};

use crate::{Error, Model, counted, default_threads};
use evolution::{Evolution, reward};
use genetic::Genetic;
use journal::Journal;
pub use journal::{CANDIDATES, Row, Status};
use judge::{Judge, Request, Stop, Trainer, has_weights};
pub use limits::{Cost, Limits};
use measure::Stopwatch;
pub use proxies::Proxy;

/// Number of networks of the registry that are trained for comparison.
const REGISTRY: usize = 3;

/// Seconds of a part without a limit.
const NO_LIMIT: f64 = 1e9;

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
    /// Largest number of images that a candidate is trained on. It is validated on at most half as many. All images if `None`.
    pub images: Option<usize>,
    /// Height and width of the images that a candidate is trained on; its own image size if `None`. Its latency is that of its own
    /// size.
    pub train_size: Option<usize>,
    /// The scores that are computed for each candidate that meets the limits.
    pub proxies: Vec<Proxy>,
    /// The score that decides which candidates are trained, in [`Space::Blocks`] and [`Space::Mobile`]: one of
    /// [`draws`](Self::draws) networks. If `None`, all candidates that meet the limits are trained.
    pub screen: Option<Proxy>,
    /// Networks that are drawn and measured for each one that is trained, with [`screen`](Self::screen).
    pub draws: usize,
    /// Whether a candidate starts from the trained weights of its parents where their units correspond, in [`Space::Blocks`] and
    /// [`Space::Mobile`].
    pub inherit: bool,
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
            images: None,
            train_size: None,
            proxies: vec![Proxy::Params],
            screen: None,
            draws: 4,
            inherit: false,
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
        Genetic { population, generations, crossover, mutation, draws: self.drawn() }
    }

    fn evolution(&self, children: usize) -> Evolution {
        let Self { population, generations, target_ms: target, .. } = *self;
        let cycles = population * generations;
        // The sample is a quarter of the population, as in the paper: 25 of 100.
        let sample = population.div_ceil(4);
        Evolution { population, sample, cycles, children, draws: self.drawn(), target }
    }

    fn drawn(&self) -> usize {
        if self.screen.is_some() { self.draws.max(1) } else { 1 }
    }

    /// The images of a candidate's training: as many of each class.
    fn part_of(&self, dataset: &Dataset) -> Dataset {
        let mut part = dataset.clone();
        let Some(images) = self.images else { return part };
        for (samples, count) in [(&mut part.train, images), (&mut part.val, images.div_ceil(2))] {
            let of_class = count.div_ceil(dataset.classes.len().max(1));
            let mut left = vec![of_class; dataset.classes.len()];
            samples.shuffle(&mut StdRng::seed_from_u64(self.seed));
            samples.retain(|sample| {
                let left = &mut left[sample.label];
                let is_kept = *left > 0;
                *left -= usize::from(is_kept);
                is_kept
            });
        }
        part
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
    /// A candidate was measured or trained.
    Assessed(&'a Row),
    /// A candidate was requested that is already trained.
    Known(&'a Row),
    /// A part of the search begins: `search`, `random`, `registry` or `final`.
    Stage(&'static str),
    /// A warning.
    Warning(&'a str),
}

/// A part of a search that several processes share, on one machine or several. All have the same settings and the same folder; each
/// measures and trains its candidates, and waits for those of the others. The first one trains the found network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The index of this process, from 0.
    pub index: usize,
    /// Number of processes.
    pub count: usize,
}

impl Space {
    /// The networks with their genetic operators. `None` for those of the registry.
    fn genomes(self) -> Option<&'static dyn SearchSpace> {
        match self {
            Self::Zoo => None,
            Self::Blocks => Some(zoo_models::BLOCKS),
            Self::Mobile => Some(zoo_models::MOBILE),
        }
    }
}

impl Shard {
    /// A search by one process.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether this process measures and trains a candidate.
    fn has(self, candidate: &Candidate) -> bool {
        let Candidate { network, image_size } = candidate;
        // 64-bit FNV-1a spreads similar names.
        let hash = network.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash ^ *image_size as u64) % self.count as u64 == self.index as u64
    }
}

/// Where a search runs.
pub struct SearchRun<'a> {
    /// The folder of the search.
    pub folder: &'a Path,
    /// The devices that train. Each trains one candidate at a time; the first one trains the found network.
    pub devices: &'a [Device],
    /// The part of this process.
    pub shard: Shard,
    /// Whether to continue the search in the folder. A shard always does.
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

/// Searches a network. `None` if the search was interrupted, or if another shard trains the found network.
///
/// # Errors
///
/// When the images can't be used, no network meets the limits, the folder has another search, or a file can't be written.
///
/// # Panics
///
/// When there is no device.
pub fn search(config: &SearchConfig, run: SearchRun<'_>) -> Result<Option<Found>, Error> {
    let SearchRun { folder, devices, shard, stop, observer, training, .. } = run;
    let lock = folder.join(match shard.count {
        1 => String::new(),
        _ => format!("shard-{}", shard.index + 1),
    });
    make_folder(&lock)?;
    let _lock = Lock::of(&lock)?;
    write_settings(config, folder, run.resume || shard.count > 1)?;
    let (dataset, test) = Dataset::open_with_test(&config.data, config.seed)?;
    dataset.warnings.iter().for_each(|warning| observer(Event::Warning(warning)));
    observer(Event::Splits([dataset.train.len(), dataset.val.len(), test.len()]));

    if config.space == Space::Zoo {
        let mut names: Vec<_> = halving::candidates().into_iter().map(|it| it.network).collect();
        names.retain(|name| has_weights(name));
        names.sort();
        names.dedup();
        let found = match names.len() {
            0 => "no network has published weights on this machine".to_owned(),
            count => {
                let networks = counted(count, "network");
                format!("published weights of {networks} are on this machine: {}", names.join(", "))
            }
        };
        observer(Event::Warning(&format!("{found}; the others start from random weights")));
    }

    let part = config.part_of(&dataset);
    let trainer = Trainer { folder, dataset: &part, config, stop };
    let mut judge = Judge {
        trainer,
        devices,
        shard,
        stopwatch: Stopwatch::new()?,
        journal: Journal::open(folder, shard)?,
        deadline: Instant::now(),
        observer,
    };
    judge.begin("search");
    let SearchConfig { image_size, epochs, seed, .. } = *config;
    // Candidates that are trained at the same time. Shards get several each, since they are dealt unevenly.
    let children = devices.len() * if shard.count > 1 { 4 * shard.count } else { 1 };
    let ended = match config.space {
        Space::Zoo => halving::run(epochs, &mut judge),
        Space::Blocks => {
            config.genetic().run(zoo_models::BLOCKS, image_size, epochs, seed, &mut judge)
        }
        Space::Mobile => {
            let evolution = config.evolution(children);
            evolution.run(zoo_models::MOBILE, image_size, epochs, seed, &mut judge)
        }
    };
    let rows = judge.journal.rows();
    if ended_early(ended, rows)? {
        return Ok(None);
    }
    let best = best(trained(rows, "search"), config.target_ms);
    let best = best.expect("a candidate was trained").clone();
    let count = trained(rows, "search").count();
    judge.begin("random");
    let ended = match config.space.genomes() {
        None => halving::random(epochs, seed, &mut judge),
        Some(space) => random_search(space, config, count, &mut judge),
    };
    if ended_early(ended, judge.journal.rows())? || shard.index > 0 {
        return Ok(None);
    }
    if config.space != Space::Zoo {
        judge.begin("registry");
        // The other processes are done.
        judge.shard = Shard::WHOLE;
        if ended_early(other_baselines(config, &best, &mut judge), judge.journal.rows())? {
            return Ok(None);
        }
    }
    let rows = judge.journal.rows().to_vec();
    (judge.observer)(Event::Stage("final"));
    let run = Run {
        folder: &folder.join("final"),
        device: &devices[0],
        others: &devices[1..],
        resume: true,
        stop,
        observer: training,
    };
    let Some((model, test)) = train_best(&trainer, &best, &dataset, test, run)? else {
        return Ok(None);
    };
    let path = folder.join(MODEL);
    let bytes = std::fs::read(&model).map_err(|source| Error::Read { path: model, source })?;
    write_atomically(&path, |file| file.write_all(&bytes))?;
    let found = Found { trained: trained(&rows, "search").count(), best, model: path, test };
    // No candidate needs it any more.
    let _ = std::fs::remove_dir_all(folder.join(judge::HERITAGE));
    let html = report::html(config, &rows, &found);
    write_atomically(&folder.join(REPORT), |file| file.write_all(html.as_bytes()))?;
    Ok(Some(found))
}

impl Judge<'_> {
    /// Begins a part of the search. Half of the budget is for each of `search` and `random`, less the time of earlier processes. The
    /// other parts have no limit: they train few candidates.
    fn begin(&mut self, method: &'static str) {
        (self.observer)(Event::Stage(method));
        let own = self
            .journal
            .rows()
            .iter()
            .filter(|row| row.method == method && self.shard.has(&row.candidate()));
        let spent: f64 = own.map(|row| row.seconds).sum::<f64>() / self.devices.len() as f64;
        let left = match method {
            "search" | "random" => (self.trainer.config.budget / 2.0 - spent).max(0.0),
            _ => NO_LIMIT,
        };
        self.deadline = Instant::now() + Duration::from_secs_f64(left);
    }
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

/// Whether the search ends here because it was interrupted.
fn ended_early(ended: Result<(), Stop>, rows: &[Row]) -> Result<bool, Error> {
    match ended {
        Err(Stop::Interrupted) => return Ok(true),
        Err(Stop::Failed(error)) => return Err(error),
        Ok(()) | Err(Stop::Budget | Stop::NothingFits) => {}
    }
    if trained(rows, "search").next().is_some() {
        return Ok(false);
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
    let mut trained = 0;
    while trained < count {
        let requests = (0..config.population).map(|_| {
            let network = space.random(&mut rng);
            Request::new("random", Candidate { network, image_size: config.image_size })
        });
        let accuracies = judge.assess(&requests.collect::<Vec<_>>(), config.epochs)?;
        trained += accuracies.iter().flatten().count();
    }
    Ok(())
}

/// Trains the measured candidate with the most parameters, and the networks of the registry with the most operations that are as fast as
/// the found one or meet the limit.
fn other_baselines(config: &SearchConfig, best: &Row, judge: &mut Judge<'_>) -> Result<(), Stop> {
    let measured = judge.journal.rows().iter().filter(|row| row.status == Status::Measured);
    let largest = measured.max_by_key(|row| row.params).map(Row::candidate);
    let largest = largest.map(|candidate| Request::new("params", candidate));
    judge.assess(&largest.into_iter().collect::<Vec<_>>(), config.epochs)?;

    let limit = config.limits.latency_ms.or(best.latency_ms).unwrap_or(f64::INFINITY);
    let mut rivals: Vec<_> = halving::candidates()
        .into_iter()
        .map(|candidate| Candidate { image_size: config.image_size, ..candidate })
        .filter(|candidate| zoo_models::VARIANTS.iter().any(|it| it.name == candidate.network))
        .collect();
    let mut seen = BTreeSet::new();
    rivals.retain(|candidate| seen.insert(candidate.clone()));
    let macs = |candidate: &Candidate| {
        let config = zoo_models::published(&candidate.network).ok()?.0.config;
        Some(crate::summary(&config, candidate.image_size).ok()?.macs)
    };
    let mut rivals: Vec<_> =
        rivals.into_iter().filter_map(|candidate| Some((macs(&candidate)?, candidate))).collect();
    // A network with twice the operations is hardly faster.
    rivals.retain(|(macs, _)| *macs <= 2 * best.macs);
    rivals.sort();
    let mut trained = 0;
    for (_, candidate) in rivals.into_iter().rev() {
        let request = [Request::new("registry", candidate)];
        judge.measure(&request)?;
        let latency = judge.latency(&request[0].candidate);
        if !judge.meets_limits(&request[0].candidate) || latency.is_none_or(|ms| ms > limit) {
            continue;
        }
        let accuracy = judge.assess(&request, config.epochs)?[0];
        trained += usize::from(accuracy.is_some());
        if trained == REGISTRY {
            break;
        }
    }
    Ok(())
}

/// Trains the best candidate longer, and evaluates it on the test images. `None` if it was interrupted.
fn train_best(
    trainer: &Trainer<'_>,
    best: &Row,
    dataset: &Dataset,
    test: Vec<zoo_train::Sample>,
    mut run: Run<'_>,
) -> Result<Option<(PathBuf, ClassificationEvaluation)>, Error> {
    make_folder(run.folder)?;
    let (network, card) = trainer.start(&best.candidate(), best.image_size, run.device)?;
    let training = trainer.config.final_training(&best.network, dataset.train.len());
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

fn make_folder(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|error| {
        zoo_record::Error::Write { path: folder.to_owned(), reason: error.to_string() }.into()
    })
}
