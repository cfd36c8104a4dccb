//! A plan: a graph compiled to steps.

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

/// The maximum number of items of a batch that a thread computes at once.
const MOST_AT_ONCE: usize = 4;

/// A model's forward pass for images of one shape, ready to run.
#[derive(Debug)]
pub struct Plan {
    program: Program,
    /// One for each thread that computes items on its own. All threads together use the first.
    arenas: Vec<Aligned>,
    /// The number of items in a batch: that of its images, or 1 if the images depend on one
    /// another.
    batch: usize,
    at_once: usize,
    threads: Threads,
    isa: Isa,
}

/// The steps for an item.
#[derive(Debug)]
struct Program {
    steps: Vec<Step>,
    /// The number of first steps that run for one item after another. The other steps run for all
    /// items that are computed at once.
    per_item_prefix: usize,
    input: Location,
    outputs: Vec<Location>,
}

/// The images and the outputs of a run.
struct Batch<'a> {
    images: &'a [f32],
    outputs: Mutex<Vec<Vec<f32>>>,
}

impl Program {
    /// Computes some items in an arena and calls `after` with the index of each step after it.
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
            // SAFETY: the input buffer has `length` numbers for each item, and only this thread
            // writes its share.
            unsafe { input.copy_from_nonoverlapping(images.as_ptr(), images.len()) }
            member.barrier();
            (0..self.per_item_prefix).for_each(|step| run(step, item..item + 1));
        }
        (self.per_item_prefix..self.steps.len()).for_each(|step| run(step, 0..items.len()));
        if member.index == 0 {
            let mut outputs =
                batch.outputs.lock().expect("no thread panics while it holds the lock");
            for (location, output) in self.outputs.iter().zip(outputs.iter_mut()) {
                let parts = output.chunks_exact_mut(location.len().max(1)).skip(items.start);
                for (item, part) in parts.take(items.len()).enumerate() {
                    // SAFETY: the output buffer has as many numbers as `part`, and no thread writes
                    // it before the next barrier.
                    unsafe {
                        part.as_mut_ptr()
                            .copy_from_nonoverlapping(arena.at(location.at(item)), part.len())
                    }
                }
            }
        }
        // The next items overwrite the outputs in the arena.
        member.barrier();
    }
}

/// A description of a step of a plan, and its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// The name of the operation and of those that were fused into it.
    pub label: String,
    /// Shape of the output.
    pub shape: Vec<usize>,
    /// Number of multiplications and additions. Winograd's algorithm counts as direct convolution.
    pub operations: u64,
    /// Minimum number of bytes that it reads and writes, weights included.
    pub bytes: u64,
}

/// The time of a step.
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
        // Each thread computes `each` items on its own; all threads compute the rest together.
        let each = batch / threads;
        let at_once = match each {
            0 => batch.min(MOST_AT_ONCE),
            _ => each.div_ceil(each.div_ceil(MOST_AT_ONCE)),
        };
        let (program, memory) = lower(&graph, isa, threads, [batch, at_once]);
        let arenas = vec![memory; if each > 0 { threads } else { 1 }];
        Ok(Self { program, arenas, batch, at_once, threads: Threads::new(threads), isa })
    }

    /// Runs the model on images, row-major `[N, C, H, W]`. Returns the outputs, row-major in the
    /// shapes of [`output_shapes`](Self::output_shapes).
    ///
    /// # Errors
    ///
    /// When the number of values is not that of the plan's shape.
    pub fn run(&mut self, images: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        self.compute(images, || |_| ())
    }

    /// Runs the model `runs` times and measures its steps.
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
                    times.lock().expect("no thread panics while it holds the lock")[step] +=
                        end - start;
                    start = end;
                }
            })?;
            let times = times.into_inner().expect("no thread panicked while it held the lock");
            for (best, time) in best.iter_mut().zip(times) {
                // `time` is the sum over all threads.
                *best = (time / self.threads() as u32).min(*best);
            }
        }
        let profile = steps.into_iter().zip(best);
        Ok(profile.map(|(step, time)| StepProfile { step, time }).collect())
    }

    /// Runs the model. Each thread creates a closure with `after` and calls it after each step.
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
        let on_own = items - items % threads.count();
        // A free thread takes the next part, so a delayed thread does not hold up the others.
        let parts = (on_own / threads.count()).div_ceil(at_once) * threads.count();
        let next = AtomicUsize::new(0);
        threads.run(|member| {
            let mut after = after();
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    break;
                }
                let some = part * on_own / parts..(part + 1) * on_own / parts;
                let arena = arenas[member.index];
                program.run(&batch, some, arena, &member.on_its_own(), &mut after);
            }
            member.barrier();
            for first in (on_own..items).step_by(at_once) {
                let some = first..(first + at_once).min(items);
                program.run(&batch, some, arenas[0], member, &mut after);
            }
        });
        Ok(batch.outputs.into_inner().expect("no thread panicked while it held the lock"))
    }

    /// Returns the steps, in order.
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

    /// Returns the size of the packed weights in bytes.
    pub fn weight_bytes(&self) -> usize {
        let lengths = self.program.steps.iter().map(|step| step.work.weights_len());
        lengths.sum::<usize>() * size_of::<f32>()
    }

    /// Returns the size of all other memory of the plan in bytes.
    pub fn activation_bytes(&self) -> usize {
        self.arenas.iter().map(Aligned::len).sum::<usize>() * size_of::<f32>()
    }

    /// Returns the name of the instruction set that it uses.
    pub fn instructions(&self) -> &'static str {
        self.isa.name()
    }

    /// Returns the number of threads that it runs on.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// Returns the shapes of the outputs.
    pub fn output_shapes(&self) -> impl Iterator<Item = Vec<usize>> {
        self.program.outputs.iter().map(|location| {
            let mut shape = location.shape.clone();
            shape[0] *= self.batch;
            shape
        })
    }

    /// Measures the peak speed of the threads, in floating-point operations per second.
    pub fn peak(&mut self) -> f64 {
        const ROUNDS: usize = 20_000;
        let isa = self.isa;
        let best = Mutex::new(Duration::MAX);
        for _ in 0..20 {
            self.threads.run(|member| {
                member.barrier();
                let start = Instant::now();
                // SAFETY: the CPU supports `isa`.
                std::hint::black_box(unsafe { isa.run(&Peak { rounds: ROUNDS }) });
                member.barrier();
                let mut best = best.lock().expect("no thread panics while it holds the lock");
                *best = start.elapsed().min(*best);
            });
        }
        let best = best.into_inner().expect("no thread panicked while it held the lock");
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
