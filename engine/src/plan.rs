//! From a graph to steps that only compute.

pub(crate) mod buffers;
pub(crate) mod conv;
mod lower;
mod steps;
#[cfg(test)]
mod tests;
mod winograd;

use std::fmt;
use std::time::{Duration, Instant};

use crate::kernels::{Isa, dispatch};
use crate::memory::{Aligned, Arena};
use crate::threads::{Member, Threads};
use crate::{Error, passes};
use lower::{Lowered, lower};

/// A model's forward pass for images of one shape, ready to run.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    memory: Aligned,
    input: Place,
    outputs: Vec<Place>,
    threads: Threads,
    isa: Isa,
}

/// Where row-major numbers lie.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    shape: Vec<usize>,
    offset: usize,
}

impl Place {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What a plan does at once.
#[derive(Debug)]
pub(crate) struct Step {
    kind: Kind,
    /// What it is, for people.
    label: String,
    shape: Vec<usize>,
    /// Multiplications and additions.
    operations: u64,
    /// Bytes that are read and written at least.
    bytes: u64,
}

#[derive(Debug)]
enum Kind {
    Conv(Box<conv::Conv>),
    Winograd(Box<winograd::Winograd>),
    Depthwise(steps::Depthwise),
    Pool(steps::Pool),
    Elementwise(steps::Elementwise),
    Gather(steps::Gather),
    Shift(steps::Shift),
    Resize(steps::Resize),
    Import(usize, buffers::Images),
    Export(buffers::Images, usize),
    Plain(steps::Plain),
}

/// What a step of a plan is and costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// The operation with what was fused into it.
    pub label: String,
    /// Shape of what it makes.
    pub shape: Vec<usize>,
    /// Multiplications and additions, those of Winograd's algorithm counted as the direct ones.
    pub operations: u64,
    /// Bytes that it reads and writes at least, weights included.
    pub bytes: u64,
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepProfile {
    /// The step.
    pub step: StepInfo,
    /// The shortest time of all runs.
    pub time: Duration,
}

impl Plan {
    /// Compiles a graph.
    pub(crate) fn of_graph(
        mut graph: crate::graph::Graph,
        isa: Isa,
        threads: usize,
    ) -> Result<Self, Error> {
        passes::run(&mut graph);
        let Lowered { steps, memory, input, outputs } = lower(graph, isa, threads);
        Ok(Self { steps, memory, input, outputs, threads: Threads::new(threads), isa })
    }

    /// Runs the model on images, row-major, and returns its outputs, row-major too.
    ///
    /// # Errors
    ///
    /// When the number of values isn't that of the shape that the plan is for.
    pub fn run(&mut self, images: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        self.read(images)?;
        let arena = Arena::of(&mut self.memory);
        let steps = &self.steps;
        self.threads.run(|member| {
            for step in steps {
                step.run(arena, member);
                member.barrier();
            }
        });
        Ok(self.outputs.iter().map(|place| self.values(place).to_vec()).collect())
    }

    /// Runs the model some times and measures its steps.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn profile(&mut self, images: &[f32], runs: usize) -> Result<Vec<StepProfile>, Error> {
        let mut times = vec![Duration::MAX; self.steps.len()];
        for _ in 0..runs {
            self.read(images)?;
            let arena = Arena::of(&mut self.memory);
            let steps = &self.steps;
            let taken = std::sync::Mutex::new(Vec::new());
            self.threads.run(|member| {
                let mut times = Vec::with_capacity(steps.len());
                let mut start = Instant::now();
                for step in steps {
                    step.run(arena, member);
                    member.barrier();
                    let end = Instant::now();
                    times.push(end - start);
                    start = end;
                }
                if member.index == 0 {
                    *taken.lock().expect("nobody panics here") = times;
                }
            });
            let taken = taken.into_inner().expect("nobody panics here");
            for (time, taken) in times.iter_mut().zip(taken) {
                *time = taken.min(*time);
            }
        }
        Ok(self
            .steps()
            .into_iter()
            .zip(times)
            .map(|(step, time)| StepProfile { step, time })
            .collect())
    }

    /// What the plan does, step by step.
    pub fn steps(&self) -> Vec<StepInfo> {
        self.steps
            .iter()
            .map(|step| StepInfo {
                label: step.label.clone(),
                shape: step.shape.clone(),
                operations: step.operations,
                bytes: step.bytes,
            })
            .collect()
    }

    /// Bytes of packed weights.
    pub fn weight_bytes(&self) -> usize {
        let length = |step: &Step| match &step.kind {
            Kind::Conv(conv) => conv.weights_len(),
            Kind::Winograd(conv) => conv.weights_len(),
            Kind::Depthwise(depthwise) => depthwise.weights_len(),
            _ => 0,
        };
        self.steps.iter().map(length).sum::<usize>() * size_of::<f32>()
    }

    /// Bytes of everything else that the plan works in.
    pub fn activation_bytes(&self) -> usize {
        self.memory.len() * size_of::<f32>()
    }

    /// The instructions that it uses.
    pub fn instructions(&self) -> &'static str {
        self.isa.name()
    }

    /// The number of threads that it runs on.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// The shapes of the outputs.
    pub fn output_shapes(&self) -> impl Iterator<Item = &[usize]> {
        self.outputs.iter().map(|place| place.shape.as_slice())
    }

    /// Floating-point operations a second that the threads reach when nothing holds them up,
    /// measured now.
    pub fn peak(&mut self) -> f64 {
        const ROUNDS: usize = 20_000;
        let isa = self.isa;
        let best = std::sync::Mutex::new(Duration::MAX);
        for _ in 0..20 {
            self.threads.run(|member| {
                member.barrier();
                let start = Instant::now();
                // SAFETY: the machine has the instructions.
                std::hint::black_box(unsafe { dispatch!(isa, peak(ROUNDS)) });
                member.barrier();
                let mut best = best.lock().expect("nobody panics here");
                *best = start.elapsed().min(*best);
            });
        }
        let best = best.into_inner().expect("nobody panics here");
        let operations = ROUNDS * crate::kernels::lanes::PEAK_SUMS * crate::kernels::LANES * 2;
        (operations * self.threads.count()) as f64 / best.as_secs_f64()
    }

    fn read(&mut self, images: &[f32]) -> Result<(), Error> {
        let expected = self.input.len();
        if images.len() != expected {
            return Err(Error::Input { got: images.len(), expected });
        }
        self.memory.as_mut_slice()[self.input.offset..][..expected].copy_from_slice(images);
        Ok(())
    }

    fn values(&self, place: &Place) -> &[f32] {
        &self.memory.as_slice()[place.offset..][..place.len()]
    }
}

impl Step {
    fn run(&self, arena: Arena, member: &Member<'_>) {
        match &self.kind {
            Kind::Conv(conv) => {
                steps::clear_margins(conv.cleared(), arena, member);
                conv.run(arena, member);
            }
            Kind::Winograd(conv) => {
                steps::clear_margins(conv.output, arena, member);
                conv.run(arena, member);
            }
            Kind::Depthwise(step) => {
                steps::clear_margins(step.output, arena, member);
                step.run(arena, member);
            }
            Kind::Pool(step) => {
                steps::clear_margins(step.output, arena, member);
                step.run(arena, member);
            }
            Kind::Elementwise(step) => {
                steps::clear_margins(step.output, arena, member);
                step.run(arena, member);
            }
            Kind::Gather(step) => {
                steps::clear_margins(step.output, arena, member);
                step.run(arena, member);
            }
            Kind::Shift(step) => {
                steps::clear_margins(step.output, arena, member);
                step.run(arena, member);
            }
            Kind::Resize(step) => {
                steps::clear_margins(step.output, arena, member);
                step.run(arena, member);
            }
            Kind::Import(from, to) => {
                steps::clear_margins(*to, arena, member);
                steps::import(*from, *to, arena, member);
            }
            Kind::Export(from, to) => steps::export(*from, *to, arena, member),
            Kind::Plain(step) => step.run(arena, member),
        }
    }
}

impl fmt::Display for StepInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{} → {}", self.label, shape.join(" x "))
    }
}
