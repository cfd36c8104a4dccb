//! `zoo bench`: how fast a model runs, or is trained.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Distribution, Tensor};
use burn_zoo::models::{ImageClassifier, published};
use burn_zoo::train::{Config, optimizer};
use burn_zoo::{Classifier, Model, StepProfile, default_threads, set_threads, summary};
use serde::Serialize;

use crate::options::{Format, RunOptions, device, keep_memory, positive};
use crate::output::{csv_records, json_lines};

/// `zoo bench`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name; its weights are noise, the same each time
    pub(crate) variant: String,

    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive())]
    pub(crate) batch: usize,

    /// Side of the images in pixels [default: what the model was designed for]
    #[arg(long, value_name = "PIXELS", value_parser = positive())]
    pub(crate) size: Option<usize>,

    /// Time steps of training: forward, backward and update
    #[arg(long)]
    pub(crate) training: bool,

    /// Print what each step of the engine's plan takes
    #[arg(long, conflicts_with = "training")]
    pub(crate) profile: bool,

    /// Timed runs, after those that warm up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = positive())]
    pub(crate) runs: usize,

    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Serialize)]
struct Measurement {
    variant: &'static str,
    backend: &'static str,
    /// `engine` or `burn`.
    computed_by: &'static str,
    batch: usize,
    size: usize,
    training: bool,
    threads: usize,
    runs: usize,
    median_ms: f64,
    min_ms: f64,
    p95_ms: f64,
    images_per_s: f64,
    params: usize,
    macs: u64,
    /// What it took to build the network.
    init_ms: f64,
    /// What it took to compile the engine's plan.
    compile_ms: Option<f64>,
    /// Of the process, where the system tells.
    peak_memory_bytes: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Set in any case, since libtorch would choose its own number.
    set_threads(args.run.threads.map_or_else(default_threads, usize::from));
    if args.training {
        keep_memory();
    }
    let device = device(args.run.backend)?;
    let (variant, _) = published(&args.variant)?;
    let size = args.size.unwrap_or(variant.size);
    let summary = summary(&variant.config, size)?;

    let start = Instant::now();
    let mut model = Model::for_benchmark(variant.name, &device)?;
    let init_ms = start.elapsed().as_secs_f64() * 1e3;
    for note in model.notes() {
        eprintln!("note: {note}");
    }
    let shape = [args.batch, variant.config.in_channels(), size, size];
    let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let mut training = match args.training {
        true => {
            let (network, _) = Model::for_benchmark(variant.name, &device)?.into_parts()?;
            Some(TrainingStep::new(network.into_classifier()?))
        }
        false => None,
    };
    let pixels: Vec<f32> = images.clone().into_data().convert::<f32>().iter().collect();
    let start = Instant::now();
    let plan = if args.training { None } else { model.plan(shape)? };
    let compile_ms = plan.map(|_| start.elapsed().as_secs_f64() * 1e3);
    if let Some(reason) = model.session().lacking() {
        eprintln!("zoo: Burn computes this: {reason}");
    }
    let mut once = || -> anyhow::Result<f64> {
        let pixels = pixels.clone();
        let start = Instant::now();
        // Reading the result back waits for backends that compute on their own time.
        match &mut training {
            Some(step) => step.run(images.clone()),
            None => drop(model.logits(pixels, shape)?),
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    // Caches, thread pools and tuners settle first.
    for _ in 0..3 {
        once()?;
    }
    let mut times = (0..args.runs).map(|_| once()).collect::<anyhow::Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let median = (at(0.5) + times[(times.len() - 1) / 2]) / 2.0;

    let measurement = Measurement {
        variant: variant.name,
        backend: args.run.backend.name(),
        computed_by: if model.session().has_engine() && !args.training { "engine" } else { "burn" },
        batch: args.batch,
        size,
        training: args.training,
        threads: default_threads(),
        runs: args.runs,
        median_ms: median,
        min_ms: times[0],
        p95_ms: at(0.95),
        images_per_s: args.batch as f64 / median * 1e3,
        params: summary.params,
        macs: summary.macs,
        init_ms,
        compile_ms,
        peak_memory_bytes: peak_memory(),
    };
    if !args.profile {
        return print(&measurement, args.format);
    }
    let Some(plan) = model.plan(shape)? else {
        anyhow::bail!("only the engine's plans have a profile\nhint: use --backend cpu");
    };
    let profile = plan.profile(&pixels, args.runs)?;
    print_profile(&profile, plan.peak(), args.format)
}

/// A step of a plan and what it took.
#[derive(Serialize)]
struct Row<'a> {
    step: &'a str,
    output: String,
    us: f64,
    gflops: f64,
    gbytes_per_s: f64,
    /// Of the floating-point operations that the threads could do in that time.
    peak_share: f64,
}

fn print_profile(profile: &[StepProfile], peak: f64, format: Format) -> anyhow::Result<()> {
    let rows: Vec<_> = profile
        .iter()
        .map(|StepProfile { step, time }| {
            let seconds = time.as_secs_f64();
            let output: Vec<_> = step.shape.iter().map(ToString::to_string).collect();
            Row {
                step: &step.label,
                output: output.join(" x "),
                us: seconds * 1e6,
                gflops: step.operations as f64 / seconds / 1e9,
                gbytes_per_s: step.bytes as f64 / seconds / 1e9,
                peak_share: step.operations as f64 / seconds / peak,
            }
        })
        .collect();
    let mut out = io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, &rows)?,
        Format::Csv => csv_records(&mut out, &rows)?,
        Format::Text => {
            writeln!(
                out,
                "{:<36} {:<20} {:>10} {:>9} {:>7} {:>6}",
                "step", "output", "us", "GFLOP/s", "GB/s", "peak"
            )?;
            for row in &rows {
                writeln!(
                    out,
                    "{:<36} {:<20} {:>10.1} {:>9.1} {:>7.1} {:>4.0} %",
                    row.step,
                    row.output,
                    row.us,
                    row.gflops,
                    row.gbytes_per_s,
                    100.0 * row.peak_share
                )?;
            }
            let time: Duration = profile.iter().map(|step| step.time).sum();
            let operations: u64 = profile.iter().map(|step| step.step.operations).sum();
            let rate = operations as f64 / time.as_secs_f64();
            writeln!(
                out,
                "all {:.2} ms, {:.1} GFLOP/s of {:.1}, each step's shortest time",
                time.as_secs_f64() * 1e3,
                rate / 1e9,
                peak / 1e9
            )?;
        }
    }
    Ok(())
}

/// Forward, backward and an update by SGD with Nesterov's momentum and weight decay, as in `tests/oracle/training_step.py`.
struct TrainingStep {
    network: Option<Classifier>,
    optimizer: ModuleOptimizer,
}

impl TrainingStep {
    fn new(network: Classifier) -> Self {
        let recipe = Config::scratch().recipe;
        let network = network.train();
        Self { optimizer: optimizer(&recipe, &network), network: Some(network) }
    }

    fn run(&mut self, images: Tensor<4>) {
        let Some(network) = self.network.take() else { return };
        let logits = network.forward(Tensor::from_inner(images));
        // Each image is of class 0.
        let loss = -log_softmax(logits, 1).narrow(1, 0, 1).mean();
        let grads = GradientsParams::from_grads(loss.backward(), &network);
        let network = self.optimizer.step(1e-3, network, grads);
        loss.into_data();
        self.network = Some(network);
    }
}

fn print(measurement: &Measurement, format: Format) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match format {
        Format::Json => json_lines(&mut out, &[measurement])?,
        Format::Csv => csv_records(&mut out, &[measurement])?,
        Format::Text => {
            writeln!(
                out,
                "{}{} on {} ({}), batch {}, {} x {} pixels, {} threads",
                if measurement.training { "a training step of " } else { "" },
                measurement.variant,
                measurement.backend,
                measurement.computed_by,
                measurement.batch,
                measurement.size,
                measurement.size,
                measurement.threads
            )?;
            writeln!(
                out,
                "  median {:.2} ms   min {:.2} ms   p95 {:.2} ms   ({} runs)",
                measurement.median_ms, measurement.min_ms, measurement.p95_ms, measurement.runs
            )?;
            writeln!(
                out,
                "  {:.1} images/s   {:.1} GMAC/s   {} parameters",
                measurement.images_per_s,
                measurement.images_per_s * measurement.macs as f64 / 1e9,
                measurement.params
            )?;
            write!(out, "  network built in {:.0} ms", measurement.init_ms)?;
            match measurement.compile_ms {
                Some(compile) => writeln!(out, "   compiled in {compile:.0} ms")?,
                None => writeln!(out)?,
            }
            if let Some(bytes) = measurement.peak_memory_bytes {
                writeln!(out, "  peak memory {:.0} MiB", bytes as f64 / f64::from(1 << 20))?;
            }
        }
    }
    Ok(())
}

/// The most memory that the process ever held, from Linux's own count.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
