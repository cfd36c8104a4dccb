//! From a graph to steps that only compute.

pub(crate) mod buffers;
pub(crate) mod draft;
mod formats;
pub(crate) mod lower;
mod peak;
mod plain;
pub(crate) mod rows;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use zoo_simd::{Isa, LANES};

use crate::memory::{Aligned, Arena};
use crate::threads::{Member, Threads};
use crate::{Error, passes};
use buffers::Location;
use draft::Step;
use lower::lower;
use peak::Peak;

/// The most items of a batch that a thread computes at once.
const MOST_AT_ONCE: usize = 4;

/// A model's forward pass for images of one shape, ready to run.
#[derive(Debug)]
pub struct Plan {
    program: Program,
    /// One for each thread that computes items by itself; the first is for all together too.
    arenas: Vec<Aligned>,
    /// The items of a batch: its images, or all of them where they depend on one another.
    batch: usize,
    at_once: usize,
    threads: Threads,
    isa: Isa,
}

/// What is done for each item.
#[derive(Debug)]
struct Program {
    steps: Vec<Step>,
    /// So many of the first steps are done for one item after the other, the others for all items
    /// that are computed at once.
    per_item_prefix: usize,
    input: Location,
    outputs: Vec<Location>,
}

/// The images and what becomes of them.
struct Batch<'a> {
    images: &'a [f32],
    outputs: Mutex<Vec<Vec<f32>>>,
}

impl Program {
    /// Computes some items in an arena; `after` is called after each step.
    fn run(
        &self,
        batch: &Batch<'_>,
        items: Range<usize>,
        arena: Arena,
        member: &Member<'_>,
        mut after: impl FnMut(usize),
    ) {
        let mut run = |index: usize, items: Range<usize>| {
            self.steps[index].run(arena, &items, member);
            member.barrier();
            after(index);
        };
        let length = self.input.len();
        for (item, global) in items.clone().enumerate() {
            let share = member.share(length);
            let images = &batch.images[global * length..][share.clone()];
            let input = arena.at(self.input.at(item) + share.start);
            // SAFETY: the input is as long as an item, and no other thread has this part of it.
            unsafe { input.copy_from_nonoverlapping(images.as_ptr(), images.len()) }
            member.barrier();
            (0..self.per_item_prefix).for_each(|step| run(step, item..item + 1));
        }
        (self.per_item_prefix..self.steps.len()).for_each(|step| run(step, 0..items.len()));
        if member.index == 0 {
            let mut outputs = batch.outputs.lock().expect("nobody panics here");
            for (location, output) in self.outputs.iter().zip(outputs.iter_mut()) {
                let parts = output.chunks_exact_mut(location.len().max(1)).skip(items.start);
                for (item, part) in parts.take(items.len()).enumerate() {
                    // SAFETY: the output is as long as this, and nobody writes it now.
                    unsafe {
                        part.as_mut_ptr()
                            .copy_from_nonoverlapping(arena.at(location.at(item)), part.len())
                    }
                }
            }
        }
        // The next items are written where these were read.
        member.barrier();
    }
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
        let batch = passes::run(&mut graph);
        // Each thread has as many items for itself; what is left is for all together.
        let each = batch / threads;
        let at_once = match each {
            0 => batch.min(MOST_AT_ONCE),
            _ => each.div_ceil(each.div_ceil(MOST_AT_ONCE)),
        };
        let (program, memory) = lower(&graph, isa, threads, [batch, at_once]);
        let arenas = vec![memory; if each > 0 { threads } else { 1 }];
        Ok(Self { program, arenas, batch, at_once, threads: Threads::new(threads), isa })
    }

    /// Runs the model on images `[N, C, H, W]`, row-major, and returns its outputs, row-major too
    /// and in the shapes that [`output_shapes`](Self::output_shapes) says.
    ///
    /// # Errors
    ///
    /// When the number of values isn't that of the shape that the plan is for.
    pub fn run(&mut self, images: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        self.compute(images, || |_| ())
    }

    /// Runs the model some times and measures its steps.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn profile(&mut self, images: &[f32], runs: usize) -> Result<Vec<StepProfile>, Error> {
        let steps = self.steps();
        let mut best = vec![Duration::MAX; steps.len()];
        for _ in 0..runs {
            let times = Mutex::new(vec![Duration::ZERO; steps.len()]);
            self.compute(images, || {
                let mut start = Instant::now();
                let times = &times;
                move |step| {
                    let end = Instant::now();
                    times.lock().expect("nobody panics here")[step] += end - start;
                    start = end;
                }
            })?;
            let times = times.into_inner().expect("nobody panics here");
            for (best, time) in best.iter_mut().zip(times) {
                // Each thread measured its own.
                *best = (time / self.threads() as u32).min(*best);
            }
        }
        let profile = steps.into_iter().zip(best);
        Ok(profile.map(|(step, time)| StepProfile { step, time }).collect())
    }

    /// Runs the model; each thread makes itself an `after`, which it calls after each step.
    fn compute<F: FnMut(usize)>(
        &mut self,
        images: &[f32],
        after: impl Fn() -> F + Sync,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let Self { program, arenas, batch: items, at_once, threads, .. } = self;
        let (items, at_once) = (*items, *at_once);
        let expected = program.input.len() * items;
        if images.len() != expected {
            return Err(Error::Input { got: images.len(), expected });
        }
        let outputs = program.outputs.iter().map(|location| vec![0.0; location.len() * items]);
        let batch = Batch { images, outputs: Mutex::new(outputs.collect()) };
        let arenas: Vec<Arena> = arenas.iter_mut().map(Arena::of).collect();
        let alone = items - items % threads.count();
        // Whoever is ready takes the next part, so that nobody waits for one that is held up.
        let parts = (alone / threads.count()).div_ceil(at_once) * threads.count();
        let next = AtomicUsize::new(0);
        threads.run(|member| {
            let mut after = after();
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    break;
                }
                let some = part * alone / parts..(part + 1) * alone / parts;
                let arena = arenas[member.index];
                program.run(&batch, some, arena, &member.alone(), &mut after);
            }
            member.barrier();
            for first in (alone..items).step_by(at_once) {
                let some = first..(first + at_once).min(items);
                program.run(&batch, some, arenas[0], member, &mut after);
            }
        });
        Ok(batch.outputs.into_inner().expect("nobody panics here"))
    }

    /// What the plan does, step by step.
    pub fn steps(&self) -> Vec<StepInfo> {
        self.program
            .steps
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
        let lengths = self.program.steps.iter().map(|step| step.work.weights_len());
        lengths.sum::<usize>() * size_of::<f32>()
    }

    /// Bytes of everything else that the plan works in.
    pub fn activation_bytes(&self) -> usize {
        self.arenas.iter().map(Aligned::len).sum::<usize>() * size_of::<f32>()
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
    pub fn output_shapes(&self) -> impl Iterator<Item = Vec<usize>> {
        self.program.outputs.iter().map(|location| {
            let mut shape = location.shape.clone();
            shape[0] *= self.batch;
            shape
        })
    }

    /// Floating-point operations a second that the threads reach when nothing holds them up,
    /// measured now.
    pub fn peak(&mut self) -> f64 {
        const ROUNDS: usize = 20_000;
        let isa = self.isa;
        let best = Mutex::new(Duration::MAX);
        for _ in 0..20 {
            self.threads.run(|member| {
                member.barrier();
                let start = Instant::now();
                // SAFETY: the machine has the instructions.
                std::hint::black_box(unsafe { isa.run(&Peak { rounds: ROUNDS }) });
                member.barrier();
                let mut best = best.lock().expect("nobody panics here");
                *best = start.elapsed().min(*best);
            });
        }
        let best = best.into_inner().expect("nobody panics here");
        let operations = ROUNDS * peak::SUMS * LANES * 2;
        (operations * self.threads.count()) as f64 / best.as_secs_f64()
    }
}

impl Step {
    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        if let Some(images) = self.work.cleared() {
            rows::clear_margins(images, arena, items, member);
        }
        self.work.run(arena, items, member);
    }
}

impl fmt::Display for StepInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{} → {}", self.label, shape.join(" x "))
    }
}
