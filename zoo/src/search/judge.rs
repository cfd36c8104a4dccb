use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use zoo_core::{Preprocess, catch_panic};
use zoo_models::{Classifier, Network, published};
use zoo_record::ModelCard;
use zoo_train::{Budget, Classification, Dataset, Evaluation, Images, Run, Silent, train};

use super::inherit::inherit;
use super::journal::{Journal, Row, Status};
use super::limits::Cost;
use super::measure::Stopwatch;
use super::proxies::{Proxy, nwot, synflow};
use super::{Candidate, Event, SearchConfig, Shard, make_folder};
use crate::model::sized;
use crate::{Backend, Error, Model, summary};

/// Images that a proxy is computed on.
const PROXY_IMAGES: usize = 32;

/// Copies of a layer's output that a training step holds: before and after BatchNorm, and the gradient.
const KEPT: u64 = 3;

/// The name of the folder with the weights that candidates inherit.
pub(super) const HERITAGE: &str = "heritage";

/// Time between two looks at the rows of other shards.
const POLL: Duration = Duration::from_millis(500);

/// The reason why a search ends before its last candidate.
#[derive(Debug)]
pub(super) enum Stop {
    /// The time of the budget is used.
    Budget,
    /// The user stopped it.
    Interrupted,
    /// No network of the space meets the limits.
    NothingFits,
    /// The search can't go on.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A candidate with the part of the search that asks for it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) generation: usize,
    pub(super) parents: Vec<String>,
    pub(super) candidate: Candidate,
}

impl Request {
    pub(super) fn new(method: &'static str, candidate: Candidate) -> Self {
        Self { method, generation: 0, parents: Vec::new(), candidate }
    }

    /// The row of a candidate whose measurement begins.
    fn row(&self) -> Row {
        let Candidate { network, image_size } = self.candidate.clone();
        Row {
            method: self.method.to_owned(),
            generation: self.generation,
            parents: self.parents.join(" "),
            network,
            image_size,
            epochs: 0,
            params: 0,
            macs: 0,
            size: 0,
            memory: 0,
            latency_ms: None,
            synflow: None,
            nwot: None,
            status: Status::Failed,
            accuracy: None,
            seconds: 0.0,
            reason: String::new(),
        }
    }

    /// The row of a measured candidate whose training begins.
    fn training_row(&self, measured: &Row, epochs: usize) -> Row {
        let Row { method, generation, parents, .. } = self.row();
        Row { method, generation, parents, epochs, status: Status::Failed, ..measured.clone() }
    }
}

/// Trains candidates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trainer<'a> {
    pub(super) folder: &'a Path,
    /// The images that candidates are trained and validated on.
    pub(super) dataset: &'a Dataset,
    pub(super) config: &'a SearchConfig,
    pub(super) stop: &'a AtomicBool,
}

/// Measures and trains candidates. Each is measured once, and trained once for a number of epochs; a repeated request gets the first
/// result.
pub(super) struct Judge<'a> {
    pub(super) trainer: Trainer<'a>,
    /// The devices that train; each trains one candidate at a time.
    pub(super) devices: &'a [Device],
    pub(super) shard: Shard,
    pub(super) stopwatch: Stopwatch,
    pub(super) journal: Journal,
    /// The end of the budget.
    pub(super) deadline: Instant,
    pub(super) observer: &'a mut dyn FnMut(Event<'_>),
}

impl Judge<'_> {
    /// Measures candidates, and trains those that meet the limits. Returns their accuracies on the validation images: `None` for a
    /// candidate that exceeds a limit or fails.
    pub(super) fn assess(
        &mut self,
        requests: &[Request],
        epochs: usize,
    ) -> Result<Vec<Option<f64>>, Stop> {
        self.measure(requests)?;
        self.train(requests, epochs)?;
        let accuracy = |request: &Request| self.accuracy(&request.candidate, epochs);
        Ok(requests.iter().map(accuracy).collect())
    }

    /// Measures candidates. Returns the requests of those that meet the limits; with [`SearchConfig::screen`] only the best `keep` of
    /// them by this proxy.
    pub(super) fn screen(
        &mut self,
        mut requests: Vec<Request>,
        keep: usize,
    ) -> Result<Vec<Request>, Stop> {
        self.measure(&requests)?;
        requests.retain(|request| self.meets_limits(&request.candidate));
        if let Some(proxy) = self.trainer.config.screen {
            let score = |request: &Request| {
                let row = self.journal.find(&request.candidate, 0);
                row.and_then(|row| proxy.of(row)).unwrap_or(f64::NEG_INFINITY)
            };
            requests.sort_by(|a, b| score(b).total_cmp(&score(a)));
        }
        requests.truncate(keep);
        Ok(requests)
    }

    pub(super) fn meets_limits(&self, candidate: &Candidate) -> bool {
        self.journal.find(candidate, 0).is_some_and(|row| row.status == Status::Measured)
    }

    /// The accuracy of a candidate that was trained for a number of epochs.
    pub(super) fn accuracy(&self, candidate: &Candidate, epochs: usize) -> Option<f64> {
        self.journal.find(candidate, epochs)?.accuracy
    }

    /// The measured latency of a candidate, in milliseconds.
    pub(super) fn latency(&self, candidate: &Candidate) -> Option<f64> {
        self.journal.find(candidate, 0)?.latency_ms
    }

    /// Measures the candidates that are not measured yet. Returns when all are measured, here or by the other shards.
    pub(super) fn measure(&mut self, requests: &[Request]) -> Result<(), Stop> {
        for request in requests {
            let is_known = self.journal.find(&request.candidate, 0).is_some();
            if !is_known && self.shard.has(&request.candidate) {
                self.ensure_time()?;
                let start = Instant::now();
                let mut row = request.row();
                let measured = self.measure_one(&request.candidate, &mut row);
                self.finish(row, start, measured)?;
            }
        }
        self.wait_for(requests, 0)
    }

    /// Fills the cost and the scores of a candidate's row.
    fn measure_one(&mut self, candidate: &Candidate, row: &mut Row) -> Result<(), Error> {
        let config = self.trainer.config;
        let cost =
            self.stopwatch.cost(candidate, self.trainer.dataset.classes.len(), &config.limits)?;
        let Cost { params, macs, size, memory, latency_ms } = cost;
        (row.params, row.macs, row.size, row.memory) = (params, macs, size, memory);
        row.latency_ms = latency_ms;
        if let Some(reason) = config.limits.exceeded(&cost) {
            (row.status, row.reason) = (Status::Rejected, reason);
            return Ok(());
        }
        if config.proxies.iter().any(|proxy| *proxy != Proxy::Params) {
            catch_panic(|| self.trainer.score(candidate, row))??;
        }
        row.status = Status::Measured;
        Ok(())
    }

    /// Trains the candidates that meet the limits and are not trained yet. Returns when all are trained, here or by the other shards.
    fn train(&mut self, requests: &[Request], epochs: usize) -> Result<(), Stop> {
        let mut queue = VecDeque::new();
        for request in requests {
            let candidate = &request.candidate;
            if let Some(row) = self.journal.find(candidate, epochs) {
                (self.observer)(Event::Known(row));
            } else if self.meets_limits(candidate)
                && self.shard.has(candidate)
                && !queue.iter().any(|queued: &&Request| queued.candidate == *candidate)
            {
                queue.push_back(request);
            }
        }
        let trainer = self.trainer;
        let mut idle: Vec<&Device> = self.devices.iter().collect();
        let mut stop = None;
        std::thread::scope(|scope| {
            let (sender, results) = mpsc::channel();
            loop {
                while stop.is_none()
                    && let Some(request) = queue.front()
                    && let Some(device) = idle.pop()
                {
                    let measured = self.journal.find(&request.candidate, 0);
                    let measured = measured.expect("it meets the limits");
                    if let Err(reason) = self.ensure_time_for(measured, epochs) {
                        stop = Some(reason);
                        idle.push(device);
                        break;
                    }
                    let mut row = request.training_row(measured, epochs);
                    queue.pop_front();
                    let (sender, start) = (sender.clone(), Instant::now());
                    scope.spawn(move || {
                        let trained = catch_panic(|| trainer.train(&mut row, device));
                        let trained = trained.map_err(Error::from).and_then(|trained| trained);
                        let _ = sender.send((row, start, trained, device));
                    });
                }
                if idle.len() == self.devices.len() {
                    break;
                }
                let (row, start, trained, device) = results.recv().expect("a device trains");
                idle.push(device);
                let finished = match trained {
                    Ok(true) => self.finish(row, start, Ok(())),
                    Ok(false) => Err(Stop::Interrupted),
                    Err(error) => self.finish(row, start, Err(error)),
                };
                if let Err(reason) = finished {
                    stop.get_or_insert(reason);
                }
            }
        });
        match stop {
            Some(reason) => Err(reason),
            None => self.wait_for(requests, epochs),
        }
    }

    /// Writes the row of a candidate that was measured or trained, also of one that failed.
    fn finish(&mut self, mut row: Row, start: Instant, end: Result<(), Error>) -> Result<(), Stop> {
        match end {
            Ok(()) => {}
            Err(error) if is_of_the_candidate(&error) => {
                row.status = Status::Failed;
                row.reason = error.to_string().lines().next().unwrap_or_default().to_owned();
            }
            Err(error) => return Err(error.into()),
        }
        row.seconds = start.elapsed().as_secs_f64();
        (self.observer)(Event::Assessed(&row));
        Ok(self.journal.add(row)?)
    }

    fn ensure_time(&self) -> Result<(), Stop> {
        if self.trainer.stop.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::Budget);
        }
        Ok(())
    }

    /// Checks that the rest of the budget is enough to train a candidate, judging by the candidates so far.
    fn ensure_time_for(&self, measured: &Row, epochs: usize) -> Result<(), Stop> {
        self.ensure_time()?;
        let trained = self.journal.rows().iter().filter(|row| row.status == Status::Trained);
        let work = |row: &Row, epochs: usize| row.macs.max(1) as f64 * epochs as f64;
        let rates = trained.map(|row| row.seconds / work(row, row.epochs));
        let expected = rates.fold(f64::NAN, f64::min) * work(measured, epochs);
        let expected = Duration::try_from_secs_f64(expected).unwrap_or_default();
        if Instant::now() + expected >= self.deadline {
            return Err(Stop::Budget);
        }
        Ok(())
    }

    /// Waits until the other shards have measured or trained their candidates.
    fn wait_for(&mut self, requests: &[Request], epochs: usize) -> Result<(), Stop> {
        let is_missing = |judge: &Self, candidate: &Candidate| {
            judge.journal.find(candidate, epochs).is_none()
                && (epochs == 0 || judge.meets_limits(candidate))
        };
        while self.shard.count > 1 {
            self.journal.refresh()?;
            if !requests.iter().any(|request| is_missing(self, &request.candidate)) {
                break;
            }
            self.ensure_time()?;
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Trainer<'_> {
    /// Fills the scores of a candidate that need its network.
    fn score(&self, candidate: &Candidate, row: &mut Row) -> Result<(), Error> {
        let device = Backend::Cpu.device()?;
        let (network, card) = self.start(candidate, self.train_size(candidate), &device)?;
        let side = card.preprocess.crop as usize;
        let shape = |count| [count, card.in_channels, side, side];
        if self.config.proxies.contains(&Proxy::Nwot) {
            let images = self.proxy_images(card.preprocess);
            row.nwot = nwot(&network, &images.concat(), shape(images.len()), &device);
        }
        if self.config.proxies.contains(&Proxy::Synflow) {
            row.synflow = Some(synflow(&network, shape(1), &device));
        }
        Ok(())
    }

    /// The network's inputs for some of the training images.
    fn proxy_images(&self, preprocess: Preprocess) -> Vec<Vec<f32>> {
        let step = self.dataset.train.len().div_ceil(PROXY_IMAGES);
        let samples = self.dataset.train.iter().step_by(step.max(1)).cloned().collect();
        let images = Images::new(samples, preprocess, &Budget::mib(0));
        let indices = 0..images.samples().len();
        indices.filter_map(|index| Some(images.values(&*images.plain(index)?))).collect()
    }

    /// Why the training of a candidate does not fit into memory: the system would end the whole process.
    fn lacks_memory(&self, candidate: &Candidate, epochs: usize) -> Result<Option<String>, Error> {
        let config = published(&candidate.network)?.0.config;
        let activations = summary(&config, self.train_size(candidate))?.activation_bytes;
        let images = self.dataset.train.len();
        let training = self.config.training(&candidate.network, epochs, images);
        let kept = if training.recipe.do_fine_tuning { KEPT } else { 1 };
        let needed = kept * activations * training.recipe.batch_size as u64;
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        Ok(available_memory().filter(|available| needed > *available).map(|available| {
            let [needed, available] = [needed, available].map(gigabytes);
            format!("its training needs about {needed:.1} GB of memory, and {available:.1} GB are available")
        }))
    }

    /// Trains a candidate, and fills its row. `false` if it was interrupted.
    fn train(&self, row: &mut Row, device: &Device) -> Result<bool, Error> {
        let candidate = row.candidate();
        if *device == Backend::Cpu.device()?
            && let Some(reason) = self.lacks_memory(&candidate, row.epochs)?
        {
            row.reason = reason;
            return Ok(true);
        }
        let folder = self.run_folder(&candidate, row.epochs);
        make_folder(&folder)?;
        let mut run = Run {
            folder: &folder,
            device,
            others: &[],
            resume: true,
            stop: self.stop,
            observer: &mut Silent,
        };
        let size = self.train_size(&candidate);
        let (mut network, mut card) = self.start(&candidate, size, device)?;
        if self.config.inherit {
            (card.has_classifier, card.labels) = (true, self.dataset.classes.clone());
            network = self.with_weights_of_parents(network, row, device)?;
        }
        let images = self.dataset.train.len();
        let training = self.config.training(&candidate.network, row.epochs, images);
        let trained =
            train::<Classification<_>>(network, &card, self.dataset, &training, &mut run)?;
        if trained.fitted.was_interrupted {
            return Ok(false);
        }
        let evaluation = trained.evaluation.as_ref().map(Evaluation::score);
        if self.config.inherit {
            let heritage = self.heritage(&candidate, row.epochs);
            make_folder(&self.folder.join(HERITAGE))?;
            std::fs::rename(&trained.model, &heritage).map_err(|error| {
                zoo_record::Error::Write { path: heritage, reason: error.to_string() }
            })?;
        }
        // What a candidate leaves is not needed any more; a search may have thousands.
        let _ = std::fs::remove_dir_all(&folder);
        row.status = Status::Trained;
        row.accuracy = Some(evaluation.map_or(0.0, |score| score.accuracy));
        Ok(true)
    }

    /// The folder of a candidate's training.
    fn run_folder(&self, candidate: &Candidate, epochs: usize) -> PathBuf {
        let Candidate { network, image_size } = candidate;
        self.folder.join("candidates").join(format!("{network}-{image_size}-{epochs}"))
    }

    /// The record of a trained candidate, for its children.
    fn heritage(&self, candidate: &Candidate, epochs: usize) -> PathBuf {
        let Candidate { network, image_size } = candidate;
        self.folder.join(HERITAGE).join(format!("{network}-{image_size}-{epochs}.bpk"))
    }

    fn with_weights_of_parents(
        &self,
        mut network: Classifier,
        row: &Row,
        device: &Device,
    ) -> Result<Classifier, Error> {
        let Some(space) = self.config.space.genomes() else { return Ok(network) };
        // The weights of the first parent are preferred.
        for parent in row.parents.split(' ').rev().filter(|name| !name.is_empty()) {
            let candidate = Candidate { network: parent.to_owned(), ..row.candidate() };
            let path = self.heritage(&candidate, row.epochs);
            if path.exists() {
                let (Network::Classifier(weights), _) = Model::open(&path, device)?.into_parts()?
                else {
                    continue;
                };
                network = inherit(network, &weights, &space.inheritance(&row.network, parent));
            }
        }
        Ok(network)
    }

    /// Height and width of the images that a candidate is trained on.
    fn train_size(&self, candidate: &Candidate) -> usize {
        self.config.train_size.unwrap_or(candidate.image_size)
    }

    /// The network that a candidate's training starts from: with published weights if they are on this machine, otherwise
    /// randomly initialized.
    pub(super) fn start(
        &self,
        candidate: &Candidate,
        image_size: usize,
        device: &Device,
    ) -> Result<(Classifier, ModelCard), Error> {
        device.seed(self.config.seed);
        let model = match weights_here(&candidate.network) {
            Some(name) => Model::load(&name, device)?,
            None => Model::init(&candidate.network, Some(self.dataset.classes.len()), device)?,
        };
        let (network, mut card) = model.into_parts()?;
        card.preprocess = sized(card.preprocess, image_size);
        let network = network.into_classifier();
        Ok((network.map_err(|_| Error::NotAClassifier(card.variant.clone()))?, card))
    }
}

/// The memory that this machine has for new data, in bytes. `None` if the system does not say.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
}

/// Whether a network has published weights on this machine.
pub(super) fn has_weights(network: &str) -> bool {
    weights_here(network).is_some()
}

/// The name of the latest published weights of a network that are on this machine. A search downloads nothing.
fn weights_here(network: &str) -> Option<String> {
    #[cfg(feature = "embedded")]
    if network == crate::EMBEDDED_MODEL {
        return Some(network.to_owned());
    }
    #[cfg(feature = "download")]
    if let Ok(hub) = crate::Hub::from_env()
        && let Ok(variant) = zoo_models::variant(network)
    {
        let names = variant.weights.iter().map(|weights| format!("{network}.{}", weights.tag));
        let is_here = |name: &String| {
            let entry = hub.entry(name);
            entry.is_ok_and(|entry| matches!(entry.state(), crate::hub::CacheState::Cached(_)))
        };
        return names.rev().find(is_here);
    }
    None
}

/// Whether an error concerns only this candidate: it can't take images of this size, it diverged, or there was not enough memory.
fn is_of_the_candidate(error: &Error) -> bool {
    matches!(
        error,
        Error::CaughtPanic(_)
            | Error::NotCaptured(_)
            | Error::TooSmall { .. }
            | Error::Shape { .. }
            | Error::Train(zoo_train::Error::Diverged { .. })
    )
}
