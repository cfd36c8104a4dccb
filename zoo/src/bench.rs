//! The speed of networks: of a forward pass, of a training step, and of each step of a plan.

use std::fmt;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Distribution, Tensor};
use serde::Serialize;
use zoo_core::ImageClassifier;
use zoo_engine::{StepProfile, default_threads};
use zoo_models::{Classifier, published};
use zoo_train::{Config, optimizer};

use crate::summary::shape_text;
use crate::{Backend, Error, Model, Summary, summary};

/// Runs before the measured ones, in which caches, thread pools and tuners settle.
const WARM_UP: usize = 3;

/// Options of a benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Number of images in a batch.
    pub batch: usize,
    /// Height and width of the images in pixels; by default those that the network was designed for.
    pub size: Option<usize>,
    /// Whether to measure training steps, which are forward, backward and update.
    pub training: bool,
    /// Number of measured runs.
    pub runs: usize,
}

/// The times of repeated runs of one computation.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// In milliseconds, ascending.
    sorted: Vec<f64>,
}

impl Timing {
    /// Sorts times in milliseconds.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn new(mut milliseconds: Vec<f64>) -> Self {
        assert!(!milliseconds.is_empty(), "a timing needs a run");
        milliseconds.sort_by(f64::total_cmp);
        Self { sorted: milliseconds }
    }

    /// The shortest time, in milliseconds.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// The median, in milliseconds.
    pub fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        (self.sorted[middle] + self.sorted[(self.sorted.len() - 1) / 2]) / 2.0
    }

    /// The time, in milliseconds, that a share of the runs in `[0, 1]` does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        self.sorted[((self.sorted.len() - 1) as f64 * share).round() as usize]
    }
}

/// A network that is ready to be measured.
#[derive(Debug)]
pub struct Bench {
    variant: &'static str,
    backend: Backend,
    options: Options,
    shape: [usize; 4],
    summary: Summary,
    work: Work,
    notes: Vec<String>,
    init_ms: f64,
    compile_ms: Option<f64>,
}

#[derive(Debug)]
enum Work {
    Forward(Box<Model>, Vec<f32>),
    Training(Box<(TrainingStep, Tensor<4>)>),
}

impl Bench {
    /// Builds the network `name` with pseudo-random weights, and compiles its plan.
    ///
    /// # Errors
    ///
    /// When there is no such network or device, or the network can't take images of this size.
    pub fn new(name: &str, backend: Backend, options: Options) -> Result<Self, Error> {
        let device = backend.device()?;
        let (variant, _) = published(name)?;
        let size = options.size.unwrap_or(variant.size);
        let summary = summary(&variant.config, size)?;
        let start = Instant::now();
        let mut model = Model::for_benchmark(variant.name, &device)?;
        let init_ms = milliseconds_since(start);
        let mut notes = model.notes().to_vec();
        let shape = [options.batch, variant.config.in_channels(), size, size];
        let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let mut compile_ms = None;
        let work = if options.training {
            let network = model.into_parts()?.0.into_classifier();
            let network = network.map_err(|_| Error::NotAClassifier(variant.name.to_owned()))?;
            Work::Training(Box::new((TrainingStep::new(network), images)))
        } else {
            let start = Instant::now();
            compile_ms = model.plan(shape)?.map(|_| milliseconds_since(start));
            if let Some(reason) = model.session().lacking() {
                notes.push(format!("Burn computes this: {reason}"));
            }
            Work::Forward(Box::new(model), images.into_data().convert::<f32>().iter().collect())
        };
        let variant = variant.name;
        Ok(Self { variant, backend, options, shape, summary, work, notes, init_ms, compile_ms })
    }

    /// Notes about the device, as sentences for the user.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Runs the network and measures it.
    ///
    /// # Errors
    ///
    /// When the network can't take the images.
    pub fn measure(&mut self) -> Result<Measurement, Error> {
        for _ in 0..WARM_UP {
            self.run()?;
        }
        let Options { batch, training, runs, .. } = self.options;
        let times = (0..runs).map(|_| self.run()).collect::<Result<_, Error>>()?;
        let timing = Timing::new(times);
        let has_engine =
            matches!(&self.work, Work::Forward(model, _) if model.session().has_engine());
        Ok(Measurement {
            variant: self.variant,
            backend: self.backend.name(),
            computed_by: if has_engine { "engine" } else { "burn" },
            batch,
            size: self.shape[2],
            training,
            threads: default_threads(),
            runs,
            median_ms: timing.median(),
            min_ms: timing.min(),
            p95_ms: timing.quantile(0.95),
            images_per_s: batch as f64 / timing.median() * 1e3,
            params: self.summary.params,
            macs: self.summary.macs,
            init_ms: self.init_ms,
            compile_ms: self.compile_ms,
            peak_memory_bytes: peak_memory(),
        })
    }

    /// Measures each step of the engine's plan. `None` if Burn runs the network.
    ///
    /// # Errors
    ///
    /// When the network can't take the images.
    pub fn profile(&mut self) -> Result<Option<Profile>, Error> {
        let Work::Forward(model, pixels) = &mut self.work else { return Ok(None) };
        let Some(plan) = model.plan(self.shape)? else { return Ok(None) };
        let profile = plan.profile(pixels, self.options.runs);
        let profile = profile.expect("the plan was compiled for this number of pixels");
        Ok(Some(Profile::new(&profile, plan.peak())))
    }

    /// Runs once, and returns the milliseconds.
    fn run(&mut self) -> Result<f64, Error> {
        // Reading the result waits for asynchronous backends.
        match &mut self.work {
            Work::Forward(model, pixels) => time_logits(model, pixels, self.shape),
            Work::Training(training) => {
                let (step, images) = &mut **training;
                let start = Instant::now();
                step.run(images.clone());
                Ok(milliseconds_since(start))
            }
        }
    }
}

/// Computes the logits of images once, and returns the milliseconds.
pub(crate) fn time_logits(
    model: &mut Model,
    pixels: &[f32],
    shape: [usize; 4],
) -> Result<f64, Error> {
    let pixels = pixels.to_vec();
    let start = Instant::now();
    model.logits(pixels, shape)?;
    Ok(milliseconds_since(start))
}

pub(crate) fn milliseconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The measured speed of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// Name of the variant.
    pub variant: &'static str,
    /// Name of the backend.
    pub backend: &'static str,
    /// `engine` or `burn`.
    pub computed_by: &'static str,
    /// Number of images in a batch.
    pub batch: usize,
    /// Height and width of the images in pixels.
    pub size: usize,
    /// Whether training steps were measured.
    pub training: bool,
    /// Number of threads.
    pub threads: usize,
    /// Number of measured runs.
    pub runs: usize,
    /// Median time of a batch, in milliseconds.
    pub median_ms: f64,
    /// Shortest time.
    pub min_ms: f64,
    /// The time that 95 % of the runs do not exceed.
    pub p95_ms: f64,
    /// Images per second, from the median.
    pub images_per_s: f64,
    /// Trainable parameters.
    pub params: usize,
    /// Multiply-accumulate operations for one image.
    pub macs: u64,
    /// Milliseconds to build the network.
    pub init_ms: f64,
    /// Milliseconds to compile the plan.
    pub compile_ms: Option<f64>,
    /// Peak memory of the process, on Linux.
    pub peak_memory_bytes: Option<u64>,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}{} on {} ({}), batch {}, {} x {} pixels, {} threads",
            if self.training { "a training step of " } else { "" },
            self.variant,
            self.backend,
            self.computed_by,
            self.batch,
            self.size,
            self.size,
            self.threads
        )?;
        writeln!(
            f,
            "  median {:.2} ms   min {:.2} ms   p95 {:.2} ms   ({} runs)",
            self.median_ms, self.min_ms, self.p95_ms, self.runs
        )?;
        writeln!(
            f,
            "  {:.1} images/s   {:.1} GMAC/s   {} parameters",
            self.images_per_s,
            self.images_per_s * self.macs as f64 / 1e9,
            self.params
        )?;
        write!(f, "  network built in {:.0} ms", self.init_ms)?;
        match self.compile_ms {
            Some(compile) => writeln!(f, "   compiled in {compile:.0} ms")?,
            None => writeln!(f)?,
        }
        match self.peak_memory_bytes {
            Some(bytes) => {
                writeln!(f, "  peak memory {:.0} MiB", bytes as f64 / f64::from(1 << 20))
            }
            None => Ok(()),
        }
    }
}

/// The measured steps of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The steps in the order of computation.
    pub steps: Vec<ProfiledStep>,
    /// Sum of the shortest times of all steps.
    total: Duration,
    /// Floating-point operations of all steps.
    operations: u64,
    /// Floating-point operations per second that the threads can do at most.
    peak: f64,
}

/// A step of a plan with its shortest time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfiledStep {
    /// Label of the step.
    pub step: String,
    /// Shape of its output.
    pub output: String,
    /// Microseconds.
    pub us: f64,
    /// Billions of floating-point operations per second.
    pub gflops: f64,
    /// Gigabytes read and written per second.
    pub gbytes_per_s: f64,
    /// Share of the floating-point operations that the threads can do at most, in `[0, 1]`.
    pub peak_share: f64,
}

impl Profile {
    fn new(profile: &[StepProfile], peak: f64) -> Self {
        let step = |StepProfile { step, time }: &StepProfile| {
            let seconds = time.as_secs_f64();
            let rate = step.operations as f64 / seconds;
            ProfiledStep {
                step: step.label.clone(),
                output: shape_text(&step.shape),
                us: seconds * 1e6,
                gflops: rate / 1e9,
                gbytes_per_s: step.bytes as f64 / seconds / 1e9,
                peak_share: rate / peak,
            }
        };
        Self {
            steps: profile.iter().map(step).collect(),
            total: profile.iter().map(|step| step.time).sum(),
            operations: profile.iter().map(|step| step.step.operations).sum(),
            peak,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<36} {:<20} {:>10} {:>9} {:>7} {:>6}",
            "step", "output", "us", "GFLOP/s", "GB/s", "peak"
        )?;
        for step in &self.steps {
            writeln!(
                f,
                "{:<36} {:<20} {:>10.1} {:>9.1} {:>7.1} {:>4.0} %",
                step.step,
                step.output,
                step.us,
                step.gflops,
                step.gbytes_per_s,
                100.0 * step.peak_share
            )?;
        }
        let seconds = self.total.as_secs_f64();
        writeln!(
            f,
            "all {:.2} ms, {:.1} GFLOP/s of {:.1}, each step's shortest time",
            seconds * 1e3,
            self.operations as f64 / seconds / 1e9,
            self.peak / 1e9
        )
    }
}

/// A training step: forward, backward and an update by SGD with Nesterov's momentum and weight decay, as in
/// `tests/oracle/training_step.py`.
struct TrainingStep {
    /// `None` only while a step runs.
    network: Option<Classifier>,
    optimizer: ModuleOptimizer,
}

impl TrainingStep {
    fn new(network: Classifier) -> Self {
        let network = network.train();
        let optimizer = optimizer(&Config::scratch().recipe, &network);
        Self { network: Some(network), optimizer }
    }

    fn run(&mut self, images: Tensor<4>) {
        let Some(network) = self.network.take() else { return };
        let logits = network.forward(Tensor::from_inner(images));
        // Each image belongs to class 0.
        let loss = -log_softmax(logits, 1).narrow(1, 0, 1).mean();
        let grads = GradientsParams::from_grads(loss.backward(), &network);
        let network = self.optimizer.step(1e-3, network, grads);
        loss.into_data();
        self.network = Some(network);
    }
}

impl fmt::Debug for TrainingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingStep").finish_non_exhaustive()
    }
}

/// The peak memory of the process in bytes, from Linux's own count.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
