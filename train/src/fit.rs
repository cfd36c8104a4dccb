//! The training loop: batch → loss → gradients → update. It can be interrupted at any time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use rand::RngExt;

use crate::checkpoint::{Progress, State};
use crate::images::prefetch;
use crate::journal::Journal;
use crate::random::{Purpose, stream};
use crate::{Config, EpochRow, Error, Event, Loss, Observer, Score, Task, optim};

/// Folder, devices and observer of a run.
pub struct Run<'a> {
    /// The folder with all files of the run.
    pub folder: &'a Path,
    /// The device, without autodiff.
    pub device: &'a Device,
    /// More devices that compute gradients. Each takes one of the batches that are accumulated for
    /// an update.
    pub others: &'a [Device],
    /// Whether to continue from the folder's training state, if there is one.
    pub resume: bool,
    /// Set by another thread to stop the run after the current update.
    pub stop: &'a AtomicBool,
    /// Receives the events of the run.
    pub observer: &'a mut dyn Observer,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Run<'_> {
    /// Whether there is a training state to continue from.
    pub(crate) fn has_checkpoint(&self) -> bool {
        self.resume && self.folder.join(CHECKPOINT).exists()
    }
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The results of each epoch.
    pub history: Vec<EpochRow>,
    /// The epoch whose weights are kept, from 1. 0 if no epoch was better than the start. `None` if
    /// there are no validation images or no epoch ended.
    pub best_epoch: Option<usize>,
    /// Seconds of training, without validation.
    pub seconds: f64,
    /// Seconds of the computation that is done once: the features of a frozen backbone.
    pub precompute_seconds: f64,
    /// Whether the run was stopped before its last epoch.
    pub was_interrupted: bool,
    /// Whether the run was complete before it began. Then nothing was trained.
    pub was_finished: bool,
}

/// The identity of a run. A run continues only from a training state with the same identity.
#[derive(Debug, Clone)]
pub(crate) struct RunId {
    pub(crate) current: String,
    /// The identities that an earlier version may have written for this run.
    pub(crate) earlier: Vec<String>,
}

/// The name of the file with a run's training state in its folder.
pub const CHECKPOINT: &str = "checkpoint.bpk";

/// A loss above this means that the network does not learn: guessing among `k` classes has a loss
/// of about `ln k`.
const LARGE_LOSS: f64 = 100.0;

/// Trains a network. Calls `keep` with each network that is better than all before.
///
/// `id` decides whether a training state belongs to this run. `start` is the score of the network
/// that is already kept.
///
/// # Errors
///
/// When images can't be read, the loss diverges, or a file can't be written; see [`Error`].
pub(crate) fn fit<T: Task>(
    task: &T,
    model: T::Model,
    config: &Config,
    id: &RunId,
    start: Option<Score>,
    run: &mut Run<'_>,
    mut keep: impl FnMut(T::Model) -> Result<(), Error>,
) -> Result<Fitted, Error> {
    let recipe = &config.recipe;
    let batches = task.plan(0).len();
    let steps_per_epoch = batches.div_ceil(recipe.accumulate);
    let build = |model: &T::Model| {
        let schedule = optim::schedule(recipe, steps_per_epoch, &task.fresh(model))?;
        Ok((optim::optimizer(recipe, model), schedule))
    };
    let model = task.prepare(model.train())?;
    let (optimizer, schedule) = build(&model)?;
    let ema = recipe.ema.map(|_| model.valid());
    let progress = Progress {
        run: id.current.clone(),
        epochs: recipe.epochs,
        best: start,
        ..Progress::default()
    };
    let mut state = State { model, ema, optimizer, schedule, progress };
    if run.has_checkpoint() {
        state = state.load(&run.folder.join(CHECKPOINT), id, build)?;
        let progress = &mut state.progress;
        if progress.epochs != recipe.epochs {
            (progress.epochs, progress.since) = (recipe.epochs, progress.epoch);
        }
        if is_over(progress, config) {
            return Ok(Fitted { was_finished: true, ..fitted(state.progress, false) });
        }
        run.observer.on(&Event::Resume { epoch: progress.epoch + 1, epochs: recipe.epochs });
    }

    let mut journal = Journal::new(run.folder)?;
    while !is_over(&state.progress, config) {
        let is_complete = epoch(task, &mut state, config, run, &mut journal);
        complain(task, run.observer);
        if !is_complete? {
            save(&state, run.folder)?;
            return Ok(fitted(state.progress, true));
        }
        let valid = state.ema.clone().unwrap_or_else(|| state.model.valid());
        let score = task.validate(&valid, run.device, run.observer);
        complain(task, run.observer);
        let score = score?;
        let progress = &mut state.progress;
        let is_finite = match score {
            Some(score) => score.loss.is_finite(),
            None => sum_of(&valid).is_finite(),
        };
        if !is_finite {
            let loss = score.map_or(f32::NAN, |score| score.loss as f32);
            return Err(diverged(loss, progress, run.folder));
        }
        finish_epoch(progress, score);
        let is_best = match (&score, &progress.best) {
            (Some(score), Some(best)) => score.is_better_than(best),
            _ => true,
        };
        if is_best {
            keep(valid)?;
            (progress.best, progress.best_epoch) = (score, progress.epoch);
        }
        // Before the training state: a run that is killed between the two repeats the epoch and
        // writes it again.
        journal.epoch(&state.progress.history)?;
        save(&state, run.folder)?;
        let progress = &state.progress;
        let row = &progress.history[progress.history.len() - 1];
        run.observer.on(&Event::EpochDone(row));
        warn(row, progress, config, run.observer);
        if run.stop.load(Ordering::Relaxed) && !is_over(progress, config) {
            return Ok(fitted(state.progress, true));
        }
    }
    Ok(fitted(state.progress, false))
}

/// Trains until the end of the epoch or until the run is stopped. Returns whether the epoch is
/// complete.
fn epoch<T: Task>(
    task: &T,
    state: &mut State<T::Model>,
    config: &Config,
    run: &mut Run<'_>,
    journal: &mut Journal,
) -> Result<bool, Error> {
    let devices: Vec<Device> =
        std::iter::once(run.device).chain(run.others).map(|one| one.clone().autodiff()).collect();
    let number = state.progress.epoch;
    let plan = task.plan(number);
    let done = state.progress.batch;
    run.observer.on(&Event::Epoch {
        epoch: number + 1,
        epochs: config.recipe.epochs,
        batches: plan.len(),
        done,
    });
    // The index in the epoch of each batch's first image.
    let starts: Vec<usize> = plan
        .iter()
        .scan(0_usize, |next, batch| {
            let start = *next;
            *next += batch.len();
            Some(start)
        })
        .collect();
    let load = |batch: usize| task.load(number, starts[batch], &plan[batch]);
    let is_complete = prefetch(done..plan.len(), config.workers(), load, |loaded| {
        let batches = plan.len();
        let (clock, last_loss) = (Instant::now(), 0.0);
        let accumulator = GradientsAccumulator::new();
        Steps { task, state, config, run, journal, batches, accumulator, clock, last_loss }
            .take(&mut (done..batches).zip(loaded), &devices)
    })?;
    if is_complete && state.progress.images == 0 {
        return Err(Error::Data("none of the images to train on can be read".to_owned()));
    }
    Ok(is_complete)
}

/// The updates of an epoch.
struct Steps<'a, 'r, T: Task> {
    task: &'a T,
    state: &'a mut State<T::Model>,
    config: &'a Config,
    run: &'a mut Run<'r>,
    journal: &'a mut Journal,
    /// Number of batches of the epoch.
    batches: usize,
    /// The gradients of the current update so far.
    accumulator: GradientsAccumulator<T::Model>,
    clock: Instant,
    last_loss: f64,
}

impl<T: Task> Steps<'_, '_, T> {
    /// Computes updates from these numbered batches. Returns whether the epoch is complete.
    fn take(
        mut self,
        loaded: &mut dyn Iterator<Item = (usize, Option<T::Batch>)>,
        devices: &[Device],
    ) -> Result<bool, Error> {
        let mut loaded = loaded.peekable();
        while let Some(&(batch, _)) = loaded.peek() {
            // The last group of an epoch may be smaller.
            let accumulate = self.config.recipe.accumulate;
            let first = batch - batch % accumulate;
            let end = self.batches.min(first + accumulate);
            let at_once = devices.len().min(end - batch);
            let (seed, epoch) = (self.config.seed, self.state.progress.epoch);
            let batches = loaded.by_ref().take(at_once).map(|(batch, data)| {
                // Dropout depends only on the batch, not on earlier random numbers.
                let seed = stream(seed, Purpose::Step, epoch, batch).random();
                data.map(|data| (data, seed))
            });
            let batches = batches.collect();
            let (model, main) = (&self.state.model, self.run.device);
            let computed = compute(self.task, model, batches, end - first, devices, main);
            for (batch, computed) in (batch..).zip(computed) {
                let images = self.add(computed)?;
                if batch + 1 == end {
                    step(self.state, self.config, self.accumulator.grads());
                    let Progress { step, lr, .. } = self.state.progress;
                    self.journal.step(step, self.last_loss, lr)?;
                }
                self.report(batch, images);
            }
            if self.state.progress.batch == end && end < self.batches && !self.continues()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds up the results of a batch. Returns its number of images.
    fn add(&mut self, computed: Option<Computed>) -> Result<usize, Error> {
        let Some(Computed { loss, correct, images, grads }) = computed else { return Ok(0) };
        let progress = &mut self.state.progress;
        if !loss.is_finite() {
            return Err(diverged(loss, progress, self.run.folder));
        }
        self.last_loss = f64::from(loss);
        progress.images += images;
        progress.loss += self.last_loss * images as f64;
        progress.correct += correct;
        self.accumulator.accumulate(&self.state.model, grads);
        Ok(images)
    }

    /// Reports a batch that is done.
    fn report(&mut self, batch: usize, images: usize) {
        let progress = &mut self.state.progress;
        progress.batch = batch + 1;
        progress.seconds += self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        let seen = progress.images.max(1) as f64;
        self.run.observer.on(&Event::Batch {
            step: progress.step,
            images,
            loss: progress.loss / seen,
            accuracy: progress.correct / seen,
            lr: progress.lr,
        });
    }

    /// Whether the run continues after an update within the epoch. Writes the training state if
    /// that is due.
    fn continues(&self) -> Result<bool, Error> {
        if self.run.stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let every = self.config.recipe.checkpoint_steps;
        if every.is_some_and(|every| self.state.progress.step.is_multiple_of(every)) {
            save(self.state, self.run.folder)?;
        }
        Ok(true)
    }
}

/// The results of a batch.
struct Computed {
    /// The loss of the batch, and the gradients of its share of the update's loss.
    loss: f32,
    grads: GradientsParams,
    images: usize,
    correct: f64,
}

/// Computes the batches of an update, each on its own device, as Burn's strategy for several
/// devices does: a copy of the network on each device, and gradients moved to the first. Each batch
/// comes with the seed of its random numbers.
fn compute<T: Task>(
    task: &T,
    model: &T::Model,
    batches: Vec<Option<(T::Batch, u64)>>,
    group: usize,
    devices: &[Device],
    main: &Device,
) -> Vec<Option<Computed>> {
    let one = |model: &T::Model, (data, seed): (T::Batch, u64), device: &Device| {
        device.seed(seed);
        let Loss { loss, images, correct } = task.loss(model, data, device);
        let value = loss.clone().into_scalar::<f32>();
        let gradients = (loss / group as f64).backward();
        let grads = GradientsParams::from_grads(gradients, model);
        Computed { loss: value, grads, images, correct }
    };
    std::thread::scope(|scope| {
        let mut batches = batches.into_iter();
        let first = batches.next().flatten();
        let others: Vec<_> = batches
            .zip(&devices[1..])
            .map(|(batch, device)| {
                // A clone would share BatchNorm's statistics with the original network.
                let (model, one) = (model.valid().train(), &one);
                scope.spawn(move || {
                    let copy = model.fork(device);
                    let mut computed = one(&copy, batch?, device);
                    computed.grads = computed.grads.to_device(main, &copy);
                    Some(computed)
                })
            })
            .collect();
        let first = first.map(|batch| one(model, batch, &devices[0]));
        let others = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(first).chain(others).collect()
    })
}

/// Updates the weights.
fn step<M: Module>(state: &mut State<M>, config: &Config, mut grads: GradientsParams) {
    let recipe = &config.recipe;
    if let Some(largest) = recipe.clip {
        optim::clip(&state.model, &mut grads, largest);
    }
    let rates = state.schedule.step();
    state.progress.lr = rates.base() / recipe.backbone_lr_scale;
    state.model = state.optimizer.step(rates, state.model.clone(), grads);
    state.progress.step += 1;
    if let (Some(ema), Some(decay)) = (state.ema.take(), recipe.ema) {
        state.ema = Some(optim::average(ema, &state.model, decay, state.progress.step));
    }
}

/// Writes the training state, unless a weight is NaN or infinite.
fn save<M: Module>(state: &State<M>, folder: &Path) -> Result<(), Error> {
    if !sum_of(&state.model).is_finite() {
        return Err(diverged(f32::NAN, &state.progress, folder));
    }
    state.save(&folder.join(CHECKPOINT))
}

/// Whether there is nothing left to train.
fn is_over(progress: &Progress, config: &Config) -> bool {
    progress.epoch >= config.recipe.epochs || has_stalled(progress, config)
}

/// Whether no epoch was better for `recipe.early_stopping` epochs. A new number of epochs starts
/// the count again.
fn has_stalled(progress: &Progress, config: &Config) -> bool {
    let since = progress.best_epoch.max(progress.since);
    let patience = config.recipe.early_stopping.filter(|_| progress.best.is_some());
    patience.is_some_and(|patience| progress.epoch - since >= patience)
}

/// Warns of a loss that is too large, and of an early end.
fn warn(row: &EpochRow, progress: &Progress, config: &Config, observer: &mut dyn Observer) {
    let loss = row.val_loss.unwrap_or_default().max(row.train_loss);
    if loss > LARGE_LOSS {
        observer.on(&Event::Warning(&format!(
            "the loss is {loss:.2e} in epoch {}: the network does not learn\nhint: a lower learning \
             rate (recipe.lr) or clipped gradients (recipe.clip=1) usually help",
            row.epoch
        )));
    }
    let epochs = config.recipe.epochs;
    if let Some(patience) = config.recipe.early_stopping
        && row.epoch < epochs
        && has_stalled(progress, config)
    {
        observer.on(&Event::Warning(&format!(
            "the run ends after epoch {} of {epochs}: no epoch was better for {patience} epochs \
             (recipe.early_stopping)",
            row.epoch
        )));
    }
}

fn finish_epoch(progress: &mut Progress, score: Option<Score>) {
    if score.is_some_and(|score| score.mean_iou.is_some()) {
        // zoo 0.1.0 wrote the mean IoU as the accuracy.
        for row in progress.history.iter_mut().filter(|row| row.val_mean_iou.is_none()) {
            row.val_mean_iou = row.val_accuracy.take();
        }
    }
    let before = progress.history.last().map_or(0.0, |row| row.seconds);
    let images = progress.images as f64;
    progress.epoch += 1;
    progress.history.push(EpochRow {
        epoch: progress.epoch,
        step: progress.step,
        train_loss: progress.loss / images,
        train_accuracy: progress.correct / images,
        val_loss: score.map(|score| score.loss),
        val_accuracy: score.map(|score| score.accuracy),
        val_mean_iou: score.and_then(|score| score.mean_iou),
        lr: progress.lr,
        seconds: progress.seconds,
        images_per_second: images / (progress.seconds - before).max(1e-9),
    });
    (progress.batch, progress.images) = (0, 0);
    (progress.loss, progress.correct) = (0.0, 0.0);
}

fn fitted(progress: Progress, was_interrupted: bool) -> Fitted {
    Fitted {
        best_epoch: progress.best.map(|_| progress.best_epoch),
        history: progress.history,
        seconds: progress.seconds,
        precompute_seconds: 0.0,
        was_interrupted,
        was_finished: false,
    }
}

fn diverged(loss: f32, progress: &Progress, folder: &Path) -> Error {
    let folder = PathBuf::from(folder);
    Error::Diverged { loss, epoch: progress.epoch + 1, step: progress.step + 1, folder }
}

/// Returns the sum of all weights, which is finite if each weight is.
fn sum_of<M: Module>(model: &M) -> f32 {
    struct Sum(Option<Tensor<1>>);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let sum = param.val().inner().sum();
            self.0 = Some(match self.0.take() {
                Some(total) => total + sum,
                None => sum,
            });
        }
    }
    let mut sum = Sum(None);
    model.valid().visit(&mut sum);
    sum.0.map_or(0.0, |sum| sum.into_scalar::<f32>())
}

/// Warns of images that can't be read.
pub(crate) fn complain<T: Task>(task: &T, observer: &mut dyn Observer) {
    for text in task.data().complaints() {
        observer.on(&Event::Warning(&text));
    }
}
