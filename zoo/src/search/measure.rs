use zoo_models::published;

use super::Candidate;
use super::limits::{Cost, Limits};
use crate::bench::{Timing, time_logits};
use crate::{Backend, Error, Model, Summary, summary};

/// Rounds of a measurement.
const ROUNDS: usize = 5;

/// Runs of a network in a round.
const RUNS: usize = 4;

/// A measurement is repeated if the reference differs by more than this factor from its usual time.
const NOISE: f64 = 1.25;

/// Largest saving of multiplications by Winograd's algorithm, of 4×4 outputs at once.
const WINOGRAD: f64 = 4.0;

/// A first run that takes this many times the limit decides.
const FAR: f64 = 3.0;

/// A measurement is repeated at most this often.
const REPEATS: usize = 3;

/// Measures latencies. Runs of the candidate and of a reference network alternate, so that a busy machine is noticed.
#[derive(Debug)]
pub(super) struct Stopwatch {
    reference: Timed,
    /// The reference's shortest time so far, in milliseconds.
    usual: f64,
    /// Floating-point operations per second that the threads can do at most.
    peak: f64,
}

/// A network that is ready to be timed.
#[derive(Debug)]
struct Timed {
    model: Model,
    shape: [usize; 4],
    pixels: Vec<f32>,
}

impl Timed {
    fn new(candidate: &Candidate) -> Result<Self, Error> {
        let model = Model::for_benchmark(&candidate.network, &Backend::Cpu.device()?)?;
        let side = candidate.image_size;
        let shape = [1, model.card().in_channels, side, side];
        let pixels = (0..shape.iter().product()).map(|i| (i % 255) as f32 / 128.0 - 1.0).collect();
        let mut timed = Self { model, shape, pixels };
        // The first runs compile the plan and fill caches.
        for _ in 0..2 {
            timed.run()?;
        }
        Ok(timed)
    }

    /// Runs once, and returns the milliseconds.
    fn run(&mut self) -> Result<f64, Error> {
        time_logits(&mut self.model, &self.pixels, self.shape)
    }
}

impl Stopwatch {
    /// Prepares the reference network.
    pub(super) fn new() -> Result<Self, Error> {
        let reference = Candidate { network: "squeezenet1_1".to_owned(), image_size: 64 };
        let mut reference = Timed::new(&reference)?;
        let times = (0..ROUNDS * RUNS).map(|_| reference.run()).collect::<Result<_, Error>>()?;
        let usual = Timing::new(times).min();
        let plan = reference.model.plan(reference.shape)?;
        let peak = plan.map_or(f64::INFINITY, |plan| plan.peak());
        Ok(Self { reference, usual, peak })
    }

    /// The time of one image, in milliseconds: the median of the quietest round. If even the first runs take several times the
    /// limit, the shortest of them is the time.
    fn latency(&mut self, timed: &mut Timed, limit: Option<f64>) -> Result<f64, Error> {
        let first = (0..3).map(|_| timed.run()).collect::<Result<_, Error>>()?;
        let first = Timing::new(first).min();
        // On a busy machine they don't decide.
        if limit.is_some_and(|limit| first > FAR * limit)
            && self.reference.run()? <= NOISE * self.usual
        {
            return Ok(first);
        }
        let mut best = f64::INFINITY;
        for _ in 0..REPEATS {
            let mut references = Vec::new();
            for _ in 0..ROUNDS {
                let times = (0..RUNS).map(|_| timed.run()).collect::<Result<_, Error>>()?;
                best = best.min(Timing::new(times).median());
                references.push(self.reference.run()?);
            }
            let reference = Timing::new(references).min();
            self.usual = self.usual.min(reference);
            if reference <= NOISE * self.usual {
                break;
            }
        }
        Ok(best)
    }

    /// Measures the cost of a network with a number of classes. The latency is measured last, and only if all other limits are met.
    ///
    /// # Errors
    ///
    /// When there is no such network, or it can't take images of this size.
    pub(super) fn cost(
        &mut self,
        candidate: &Candidate,
        num_classes: usize,
        limits: &Limits,
    ) -> Result<Cost, Error> {
        let config = published(&candidate.network)?.0.config.with_num_classes(num_classes);
        let summary = summary(&config, candidate.image_size)?;
        let Summary { params, macs, bytes: size, .. } = summary;
        let mut cost = Cost { params, macs, size, memory: 0, latency_ms: None };
        // No plan is faster than the machine. Winograd's algorithm saves at most three of four multiplications.
        let least = 2.0 * macs as f64 / (WINOGRAD * self.peak) * 1e3;
        if limits.latency_ms.is_some_and(|limit| least > limit) {
            cost.latency_ms = Some(least);
        }
        if limits.exceeded(&cost).is_some() {
            return Ok(cost);
        }
        let mut timed = Timed::new(candidate)?;
        if let Some(plan) = timed.model.plan(timed.shape)? {
            cost.memory = (plan.weight_bytes() + plan.activation_bytes()) as u64;
        }
        if limits.exceeded(&cost).is_none() {
            cost.latency_ms = Some(self.latency(&mut timed, limits.latency_ms)?);
        }
        Ok(cost)
    }
}
