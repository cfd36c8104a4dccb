//! The loop: batch → loss → gradients → step, and what makes it safe to be stopped anywhere.

use std::collections::BTreeSet;
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
use crate::{Config, EpochRow, Error, Event, Observer, Score, Task, optim};

/// Where a run is kept and who hears of it.
pub struct Run<'a> {
    /// The folder that all files of the run are in.
    pub folder: &'a Path,
    /// The device, without autodiff.
    pub device: &'a Device,
    /// Whether to go on from the folder's checkpoint.
    pub resume: bool,
    /// Set by others to stop the run after the step that is under way.
    pub stop: &'a AtomicBool,
    /// Hears how the run goes.
    pub observer: &'a mut dyn Observer,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What is known about each epoch.
    pub history: Vec<EpochRow>,
    /// The epoch whose weights are kept, from 1.
    pub best_epoch: Option<usize>,
    /// Seconds that were spent.
    pub seconds: f64,
    /// Whether there are epochs left.
    pub was_interrupted: bool,
}

/// The name of a run's checkpoint in its folder.
pub const CHECKPOINT: &str = "checkpoint.bpk";

/// Trains a network. Each time it is better than ever before, `keep` is called with it.
///
/// `run_id` tells whether a checkpoint belongs to this run.
///
/// # Errors
///
/// When images can't be read, the loss diverges, or a file can't be written; see [`Error`].
pub fn fit<T: Task>(
    task: &T,
    model: T::Model,
    config: &Config,
    run_id: &str,
    run: &mut Run<'_>,
    mut keep: impl FnMut(&T::Model) -> Result<(), Error>,
) -> Result<Fitted, Error> {
    let recipe = &config.recipe;
    let checkpoint = run.folder.join(CHECKPOINT);
    let batches = task.plan(0).len();
    let steps_per_epoch = batches.div_ceil(recipe.accumulate);
    let build = |model: &T::Model| {
        let schedule = optim::schedule(recipe, steps_per_epoch, &task.fresh(model))?;
        Ok((optim::optimizer(recipe, model), schedule))
    };
    let model = task.prepare(model.train())?;
    let (optimizer, schedule) = build(&model)?;
    let ema = (recipe.ema > 0.0).then(|| model.valid());
    let progress = Progress { run: run_id.to_owned(), ..Progress::default() };
    let mut state = State { model, ema, optimizer, schedule, progress };
    if run.resume {
        state = state.load(&checkpoint, build)?;
    }

    let mut journal = Journal::new(run.folder)?;
    let mut complaints = Complaints::default();
    while state.progress.epoch < recipe.epochs {
        let is_complete = epoch(task, &mut state, config, run, &mut journal)?;
        complaints.report(task, run.observer);
        if !is_complete {
            state.save(&checkpoint)?;
            return Ok(fitted(state.progress, true));
        }
        let valid = state.ema.clone().unwrap_or_else(|| state.model.valid());
        let score = task.validate(&valid, run.device, run.observer)?;
        complaints.report(task, run.observer);
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
        let is_best = match (score, progress.best) {
            (Some(score), Some((_, loss, accuracy))) => {
                score.is_better_than(&Score { loss, accuracy })
            }
            _ => true,
        };
        if is_best {
            let score = score.unwrap_or(Score { loss: f64::NAN, accuracy: f64::NAN });
            keep(&valid)?;
            progress.best =
                score.loss.is_finite().then_some((progress.epoch, score.loss, score.accuracy));
        }
        state.save(&checkpoint)?;
        journal.epoch(&state.progress.history)?;
        let progress = &state.progress;
        run.observer.on(&Event::EpochDone(&progress.history[progress.history.len() - 1]));
        let since_best = progress.best.map_or(0, |(epoch, ..)| progress.epoch - epoch);
        if recipe.early_stopping > 0 && since_best >= recipe.early_stopping {
            let text = format!("stopped early: nothing better for {since_best} epochs");
            run.observer.on(&Event::Warning(&text));
            break;
        }
        if run.stop.load(Ordering::Relaxed) && state.progress.epoch < recipe.epochs {
            return Ok(fitted(state.progress, true));
        }
    }
    Ok(fitted(state.progress, false))
}

/// Trains until the epoch's end, or until somebody wants to stop; tells which.
fn epoch<T: Task>(
    task: &T,
    state: &mut State<T::Model>,
    config: &Config,
    run: &mut Run<'_>,
    journal: &mut Journal,
) -> Result<bool, Error> {
    let recipe = &config.recipe;
    let checkpoint = run.folder.join(CHECKPOINT);
    let device = run.device.clone().autodiff();
    let number = state.progress.epoch;
    let plan = task.plan(number);
    let done = state.progress.batch;
    run.observer.on(&Event::Epoch {
        epoch: number + 1,
        epochs: recipe.epochs,
        batches: plan.len(),
        done,
    });
    let load = |batch: usize| task.load(number, &plan[batch]);
    let is_complete = prefetch(done..plan.len(), config.workers(), load, |loaded| {
        let mut clock = Instant::now();
        let mut accumulator = GradientsAccumulator::new();
        let mut last_loss = 0.0;
        for (batch, data) in (done..plan.len()).zip(loaded) {
            let mut images = 0;
            if let Some(data) = data {
                // What is dropped depends on the batch alone, not on what was drawn before.
                device.seed(stream(config.seed, Purpose::Step, number, batch).random());
                let loss = task.loss(&state.model, data, &device);
                let value = loss.loss.clone().into_scalar::<f32>();
                if !value.is_finite() {
                    return Err(diverged(value, &state.progress, run.folder));
                }
                images = loss.images;
                last_loss = f64::from(value);
                state.progress.images += images;
                state.progress.loss += f64::from(value) * images as f64;
                state.progress.correct += loss.correct;
                // The last group of an epoch may be smaller.
                let first = batch - batch % recipe.accumulate;
                let group = recipe.accumulate.min(plan.len() - first);
                let loss = loss.loss / group as f64;
                let grads = GradientsParams::from_grads(loss.backward(), &state.model);
                accumulator.accumulate(&state.model, grads);
            }
            let is_step = (batch + 1) % recipe.accumulate == 0 || batch + 1 == plan.len();
            if is_step {
                step(state, config, accumulator.grads());
                journal.step(state.progress.step, last_loss, state.progress.lr)?;
            }
            state.progress.batch = batch + 1;
            state.progress.seconds += clock.elapsed().as_secs_f64();
            clock = Instant::now();
            let seen = state.progress.images.max(1) as f64;
            run.observer.on(&Event::Batch {
                step: state.progress.step,
                images,
                loss: state.progress.loss / seen,
                accuracy: state.progress.correct / seen,
                lr: state.progress.lr,
            });
            let is_last = batch + 1 == plan.len();
            if is_step && !is_last {
                if run.stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                let every = recipe.checkpoint_steps;
                if every > 0 && state.progress.step % every == 0 {
                    if !sum_of(&state.model).is_finite() {
                        return Err(diverged(f32::NAN, &state.progress, run.folder));
                    }
                    state.save(&checkpoint)?;
                }
            }
        }
        Ok(true)
    })?;
    if is_complete && state.progress.images == 0 {
        return Err(Error::Data("none of the images to train on can be read".to_owned()));
    }
    Ok(is_complete)
}

/// Moves the weights.
fn step<M: Module>(state: &mut State<M>, config: &Config, mut grads: GradientsParams) {
    let recipe = &config.recipe;
    if recipe.clip > 0.0 {
        optim::clip(&state.model, &mut grads, recipe.clip);
    }
    let rates = state.schedule.step();
    state.progress.lr = rates.base() / recipe.backbone_lr_scale;
    state.model = state.optimizer.step(rates, state.model.clone(), grads);
    state.progress.step += 1;
    if let Some(ema) = state.ema.take() {
        state.ema = Some(optim::average(ema, &state.model, recipe.ema, state.progress.step));
    }
}

fn finish_epoch(progress: &mut Progress, score: Option<Score>) {
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
        lr: progress.lr,
        seconds: progress.seconds,
        images_per_second: images / (progress.seconds - before).max(1e-9),
    });
    (progress.batch, progress.images) = (0, 0);
    (progress.loss, progress.correct) = (0.0, 0.0);
}

fn fitted(progress: Progress, was_interrupted: bool) -> Fitted {
    Fitted {
        best_epoch: progress.best.map(|(epoch, ..)| epoch),
        history: progress.history,
        seconds: progress.seconds,
        was_interrupted,
    }
}

fn diverged(loss: f32, progress: &Progress, folder: &Path) -> Error {
    let folder = PathBuf::from(folder);
    Error::Diverged { loss, epoch: progress.epoch + 1, step: progress.step + 1, folder }
}

/// The sum of all weights, which is a number as long as each of them is.
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

/// Tells of each image that can't be read once.
#[derive(Default)]
struct Complaints(BTreeSet<String>);

impl Complaints {
    fn report<T: Task>(&mut self, task: &T, observer: &mut dyn Observer) {
        for text in task.complaints() {
            if self.0.insert(text.clone()) {
                observer.on(&Event::Warning(&text));
            }
        }
    }
}
