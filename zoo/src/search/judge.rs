use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use zoo_core::catch_panic;
use zoo_models::Classifier;
use zoo_record::ModelCard;
use zoo_train::{Classification, Dataset, Evaluation, Run, Silent, train};

use super::journal::{Journal, Row, Status};
use super::limits::Cost;
use super::measure::Stopwatch;
use super::{Candidate, Event, SearchConfig};
use crate::finetune::sized;
use crate::{Error, Model};

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
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) generation: usize,
    pub(super) parents: &'a [&'a str],
    pub(super) candidate: &'a Candidate,
}

/// Measures and trains candidates. Each is assessed once; a repeated request gets the first result.
pub(super) struct Judge<'a> {
    pub(super) folder: &'a Path,
    pub(super) dataset: &'a Dataset,
    pub(super) device: &'a Device,
    pub(super) config: &'a SearchConfig,
    pub(super) stopwatch: Stopwatch,
    pub(super) journal: Journal,
    /// The end of the budget.
    pub(super) deadline: Instant,
    pub(super) stop: &'a AtomicBool,
    pub(super) observer: &'a mut dyn FnMut(Event<'_>),
}

impl Judge<'_> {
    /// Returns the accuracy of a candidate on the validation images after a short training. `None` if it exceeds a limit or its
    /// training fails.
    pub(super) fn assess(
        &mut self,
        request: &Request<'_>,
        epochs: usize,
    ) -> Result<Option<f64>, Stop> {
        if let Some(row) = self.journal.find(request.candidate, epochs) {
            let accuracy = row.accuracy;
            (self.observer)(Event::Known(row));
            return Ok(accuracy);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::Budget);
        }
        let start = Instant::now();
        let mut row = row(request, self.journal.rows().len(), epochs);
        match self.measure_and_train(request.candidate, &mut row) {
            Ok(()) => {}
            Err(Stop::Failed(error)) if is_of_the_candidate(&error) => {
                row.reason = error.to_string().lines().next().unwrap_or_default().to_owned();
            }
            Err(stop) => return Err(stop),
        }
        row.seconds = start.elapsed().as_secs_f64();
        let accuracy = row.accuracy;
        (self.observer)(Event::Assessed(&row));
        self.journal.add(row)?;
        Ok(accuracy)
    }

    /// Fills the cost, the status and the accuracy of a candidate's row.
    fn measure_and_train(&mut self, candidate: &Candidate, row: &mut Row) -> Result<(), Stop> {
        let cost = self.stopwatch.cost(candidate, &self.config.limits)?;
        row.set_cost(&cost);
        if let Some(reason) = self.config.limits.exceeded(&cost) {
            (row.status, row.reason) = (Status::Rejected, reason);
            return Ok(());
        }
        if !self.has_time_for(&cost, row.epochs) {
            return Err(Stop::Budget);
        }
        let accuracy = self.train(candidate, row.epochs, row.id)?;
        (row.status, row.accuracy) = (Status::Trained, Some(accuracy));
        Ok(())
    }

    /// The measured latency of an assessed candidate, in milliseconds.
    pub(super) fn latency(&self, candidate: &Candidate, epochs: usize) -> Option<f64> {
        self.journal.find(candidate, epochs)?.latency_ms
    }

    /// Whether the rest of the budget is enough for a candidate, judging by the candidates so far.
    fn has_time_for(&self, cost: &Cost, epochs: usize) -> bool {
        let trained = self.journal.rows().iter().filter(|row| row.status == Status::Trained);
        let work = |macs: u64, epochs: usize| macs.max(1) as f64 * epochs as f64;
        let rates = trained.map(|row| row.seconds / work(row.macs, row.epochs));
        let expected = rates.fold(f64::NAN, f64::min) * work(cost.macs, epochs);
        let expected = Duration::try_from_secs_f64(expected).unwrap_or_default();
        Instant::now() + expected < self.deadline
    }

    /// The folder of a candidate's training, which is deleted when the candidate is assessed.
    fn run_folder(&self, id: usize) -> PathBuf {
        self.folder.join("candidates").join(format!("{id:05}"))
    }

    fn train(&mut self, candidate: &Candidate, epochs: usize, id: usize) -> Result<f64, Stop> {
        let folder = self.run_folder(id);
        std::fs::create_dir_all(&folder).map_err(|error| zoo_record::Error::Write {
            path: folder.clone(),
            reason: error.to_string(),
        })?;
        let mut run = Run {
            folder: &folder,
            device: self.device,
            others: &[],
            resume: true,
            stop: self.stop,
            observer: &mut Silent,
        };
        let trained = catch_panic(|| -> Result<_, Error> {
            let (network, card) = start(candidate, self.config.seed, self.dataset, self.device)?;
            let images = self.dataset.train.len();
            let training = self.config.training(&candidate.network, epochs, images);
            Ok(train::<Classification<_>>(network, &card, self.dataset, &training, &mut run)?)
        })
        .map_err(Error::from)??;
        if trained.fitted.was_interrupted {
            return Err(Stop::Interrupted);
        }
        let evaluation = trained.evaluation.as_ref().map(Evaluation::score);
        // What a candidate leaves is not needed any more; a search may have thousands.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(evaluation.map_or(0.0, |score| score.accuracy))
    }
}

/// The network that a candidate's training starts from: with published weights if they are on this machine, otherwise randomly
/// initialized.
pub(super) fn start(
    candidate: &Candidate,
    seed: u64,
    dataset: &Dataset,
    device: &Device,
) -> Result<(Classifier, ModelCard), Error> {
    device.seed(seed);
    let model = match has_weights(&candidate.network) {
        true => Model::load(&candidate.network, device)?,
        false => Model::init(&candidate.network, Some(dataset.classes.len()), device)?,
    };
    let (network, mut card) = model.into_parts()?;
    card.preprocess = sized(card.preprocess, candidate.image_size);
    let network = network.into_classifier();
    Ok((network.map_err(|_| Error::NotAClassifier(card.variant.clone()))?, card))
}

/// Whether a network has published weights on this machine. A search downloads nothing.
pub(super) fn has_weights(network: &str) -> bool {
    #[cfg(feature = "embedded")]
    if network == crate::EMBEDDED_MODEL {
        return true;
    }
    #[cfg(feature = "download")]
    if let Ok(hub) = crate::Hub::from_env()
        && let Ok(entry) = hub.entry(network)
    {
        return matches!(entry.state(), crate::hub::CacheState::Cached(_));
    }
    let _ = network;
    false
}

/// The row of a candidate that is not measured yet.
fn row(request: &Request<'_>, id: usize, epochs: usize) -> Row {
    let Candidate { network, image_size } = request.candidate.clone();
    Row {
        id,
        method: request.method.to_owned(),
        generation: request.generation,
        parents: request.parents.join(" "),
        network,
        image_size,
        epochs,
        params: 0,
        macs: 0,
        size: 0,
        memory: 0,
        latency_ms: None,
        status: Status::Failed,
        accuracy: None,
        seconds: 0.0,
        reason: String::new(),
    }
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
