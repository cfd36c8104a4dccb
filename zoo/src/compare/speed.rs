use std::time::Instant;

use zoo_train::{Event, Observer};

use super::Subject;
use crate::Error;
use crate::bench::{Timing, milliseconds_since, time_logits};

/// Fewest and most rounds of a measurement. In each, every model has a turn.
const ROUNDS: [usize; 2] = [5, 30];

/// Measured runs of a model in a round, after one that fills the caches again.
const RUNS: usize = 2;

/// The speed of a model.
pub(super) struct Speed {
    pub(super) batch1: Timing,
    pub(super) batch8: Timing,
    /// Milliseconds of the compilation and the first image.
    pub(super) first_ms: f64,
    pub(super) memory_bytes: Option<u64>,
    pub(super) computed_by: &'static str,
}

/// Measures all models in turn, so that a busy minute of the machine concerns all of them.
pub(super) fn measure(
    subjects: &mut [Subject],
    seconds: f64,
    observer: &mut dyn Observer,
) -> Result<Vec<Speed>, Error> {
    let mut firsts = Vec::with_capacity(subjects.len());
    for subject in &mut *subjects {
        let (start, model) = (Instant::now(), &mut subject.model);
        let shape = model.input_shape(1);
        let plan = model.plan(shape)?;
        let memory = plan.map(|plan| (plan.weight_bytes() + plan.activation_bytes()) as u64);
        time_logits(model, &pixels(shape), shape)?;
        firsts.push((milliseconds_since(start), memory));
    }
    let single = rounds(subjects, 1, seconds / 2.0, observer)?;
    let eight = rounds(subjects, 8, seconds / 2.0, observer)?;
    let timings = single.into_iter().zip(eight);
    let results = subjects.iter().zip(firsts).zip(timings);
    let speed =
        |((subject, (first_ms, memory_bytes)), (batch1, batch8)): ((&Subject, _), _)| Speed {
            batch1: Timing::new(batch1),
            batch8: Timing::new(batch8),
            first_ms,
            memory_bytes,
            computed_by: if subject.model.session().has_engine() { "engine" } else { "burn" },
        };
    Ok(results.map(speed).collect())
}

/// The times of each model, in milliseconds.
fn rounds(
    subjects: &mut [Subject],
    batch: usize,
    seconds: f64,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f64>>, Error> {
    let start = Instant::now();
    let mut times = vec![Vec::new(); subjects.len()];
    let [fewest, most] = ROUNDS;
    let name = if batch == 1 { "measuring single images" } else { "measuring batches of 8" };
    observer.on(&Event::Pass { name, images: most * subjects.len() });
    for round in 0..most {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            let shape = subject.model.input_shape(batch);
            let pixels = pixels(shape);
            time_logits(&mut subject.model, &pixels, shape)?;
            for _ in 0..RUNS {
                times.push(time_logits(&mut subject.model, &pixels, shape)?);
            }
            observer.on(&Event::Progress(1));
        }
        if round + 1 >= fewest && start.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    observer.on(&Event::PassDone);
    Ok(times)
}

/// Values as those of a preprocessed image.
fn pixels(shape: [usize; 4]) -> Vec<f32> {
    (0..shape.iter().product()).map(|index: usize| (index % 255) as f32 / 128.0 - 1.0).collect()
}
