//! From a graph to steps that only compute.

pub(crate) mod buffers;
pub(crate) mod conv;
mod lower;
mod make;
mod steps;
#[cfg(test)]
mod tests;
mod winograd;

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::kernels::{Isa, dispatch};
use crate::memory::{Aligned, Arena};
use crate::threads::{Member, Threads};
use crate::{Error, passes};
use lower::lower;

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
    /// So many of the first steps are done for one item after the other.
    in_turn: usize,
    input: Place,
    outputs: Vec<Place>,
}

/// Where the row-major numbers of each item lie.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Of an item.
    shape: Vec<usize>,
    offset: usize,
    /// From an item to the next; 0 where one after the other lies in the same place.
    to_item: usize,
}

impl Place {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn at(&self, item: usize) -> usize {
        self.offset + item * self.to_item
    }

    /// From an image to the next, where these images are what it holds.
    fn to_image(&self, images: buffers::Images) -> usize {
        if images.shape[0] == 1 { self.to_item } else { images.shape[1..].iter().product() }
    }
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
            (0..self.in_turn).for_each(|step| run(step, item..item + 1));
        }
        (self.in_turn..self.steps.len()).for_each(|step| run(step, 0..items.len()));
        if member.index == 0 {
            let mut outputs = batch.outputs.lock().expect("nobody panics here");
            for (place, output) in self.outputs.iter().zip(outputs.iter_mut()) {
                let parts = output.chunks_exact_mut(place.len().max(1)).skip(items.start);
                for (item, part) in parts.take(items.len()).enumerate() {
                    // SAFETY: the output is as long as this, and nobody writes it now.
                    unsafe {
                        part.as_mut_ptr()
                            .copy_from_nonoverlapping(arena.at(place.at(item)), part.len())
                    }
                }
            }
        }
        // The next items are written where these were read.
        member.barrier();
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
    Import(Place, buffers::Images),
    Export(buffers::Images, Place),
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
        let outputs = program.outputs.iter().map(|place| vec![0.0; place.len() * items]);
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
        let length = |step: &Step| match &step.kind {
            Kind::Conv(conv) => conv.weights_len(),
            Kind::Winograd(conv) => conv.weights_len(),
            Kind::Depthwise(depthwise) => depthwise.weights_len(),
            _ => 0,
        };
        self.program.steps.iter().map(length).sum::<usize>() * size_of::<f32>()
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
        self.program.outputs.iter().map(|place| {
            let mut shape = place.shape.clone();
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
}

impl Step {
    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        match &self.kind {
            Kind::Conv(conv) => {
                steps::clear_margins(conv.cleared(), arena, items, member);
                conv.run(arena, items, member);
            }
            Kind::Winograd(conv) => {
                steps::clear_margins(conv.output, arena, items, member);
                conv.run(arena, items, member);
            }
            Kind::Depthwise(step) => {
                steps::clear_margins(step.output, arena, items, member);
                step.run(arena, items, member);
            }
            Kind::Pool(step) => {
                steps::clear_margins(step.output, arena, items, member);
                step.run(arena, items, member);
            }
            Kind::Elementwise(step) => {
                steps::clear_margins(step.output, arena, items, member);
                step.run(arena, items, member);
            }
            Kind::Gather(step) => {
                steps::clear_margins(step.output, arena, items, member);
                step.run(arena, items, member);
            }
            Kind::Shift(step) => {
                steps::clear_margins(step.output, arena, items, member);
                step.run(arena, items, member);
            }
            Kind::Resize(step) => {
                steps::clear_margins(step.output, arena, items, member);
                step.run(arena, items, member);
            }
            Kind::Import(from, to) => {
                steps::clear_margins(*to, arena, items, member);
                steps::import(from, *to, arena, items, member);
            }
            Kind::Export(from, to) => steps::export(*from, to, arena, items, member),
            Kind::Plain(step) => step.run(arena, items, member),
        }
    }
}

impl fmt::Display for StepInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{} → {}", self.label, shape.join(" x "))
    }
}
