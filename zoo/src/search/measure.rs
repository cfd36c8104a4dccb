use std::time::Instant;

use zoo_models::published;

use super::Candidate;
use super::limits::{Cost, Limits};
use crate::bench::Timing;
use crate::{Backend, Error, Model, summary};

/// Rounds of a measurement.
const ROUNDS: usize = 5;

/// Runs of a network in a round.
const RUNS: usize = 4;

/// A measurement is repeated if the reference differs by more than this factor from its usual time.
const NOISE: f64 = 1.25;

/// A measurement is repeated at most this often.
const REPEATS: usize = 3;

/// Measures latencies. Runs of the candidate and of a reference network alternate, so that a busy machine is noticed.
#[derive(Debug)]
pub(super) struct Stopwatch {
    reference: Timed,
    /// The reference's shortest median so far, in milliseconds.
    usual: f64,
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
        let pixels = self.pixels.clone();
        let start = Instant::now();
        self.model.logits(pixels, self.shape)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

impl Stopwatch {
    /// Prepares the reference network.
    pub(super) fn new() -> Result<Self, Error> {
        let reference = Candidate { network: "squeezenet1_1".to_owned(), image_size: 64 };
        let mut reference = Timed::new(&reference)?;
        let times = (0..ROUNDS * RUNS).map(|_| reference.run()).collect::<Result<_, Error>>()?;
        Ok(Self { usual: Timing::new(times).median(), reference })
    }

    /// The median time of one image, in milliseconds.
    fn latency(&mut self, timed: &mut Timed) -> Result<f64, Error> {
        let mut best = f64::INFINITY;
        for _ in 0..REPEATS {
            let (mut times, mut references) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                for _ in 0..RUNS {
                    times.push(timed.run()?);
                }
                references.push(self.reference.run()?);
            }
            let reference = Timing::new(references).median();
            best = best.min(Timing::new(times).median());
            self.usual = self.usual.min(reference);
            if reference <= NOISE * self.usual {
                break;
            }
        }
        Ok(best)
    }

    /// Measures the cost of a network. The latency is measured last, and only if all other limits are met.
    ///
    /// # Errors
    ///
    /// When there is no such network, or it can't take images of this size.
    pub(super) fn cost(&mut self, candidate: &Candidate, limits: &Limits) -> Result<Cost, Error> {
        let config = published(&candidate.network)?.0.config;
        let summary = summary(&config, candidate.image_size)?;
        let (params, macs, size) = (summary.params, summary.macs, summary.bytes);
        let mut cost = Cost { params, macs, size, memory: 0, latency_ms: None };
        if limits.exceeded(&cost).is_some() {
            return Ok(cost);
        }
        let mut timed = Timed::new(candidate)?;
        if let Some(plan) = timed.model.plan(timed.shape)? {
            cost.memory = (plan.weight_bytes() + plan.activation_bytes()) as u64;
        }
        if limits.exceeded(&cost).is_none() {
            cost.latency_ms = Some(self.latency(&mut timed)?);
        }
        Ok(cost)
    }
}
