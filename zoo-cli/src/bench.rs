//! `zoo bench`: how fast a model runs, or is trained.

use std::io::{self, Write};
use std::time::Instant;

use burn::module::Module;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Distribution, Tensor};
use serde::Serialize;
use zoo_core::ImageClassifier;
use zoo_models::Classifier;

use crate::anatomy::anatomy;
use crate::args::{Bench, Format};
use crate::device;
use crate::model::{self, published};

#[derive(Serialize)]
struct Result {
    variant: &'static str,
    backend: &'static str,
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
    /// Of the process, where the system tells.
    peak_memory_bytes: Option<u64>,
}

/// Runs the command.
pub fn run(args: &Bench) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.run.threads.map_or(cores, usize::from);
    device::set_threads(threads);
    let device = args.run.backend.device()?;
    let (variant, _) = published(&args.variant)?;
    let size = args.size.unwrap_or(variant.size);
    let anatomy = anatomy(&variant.config, size)?;

    let network = variant.config.init(&device);
    let shape = [args.batch, variant.config.in_channels(), size, size];
    let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let mut step = match args.training {
        true => Some(TrainingStep::new(network.clone().into_classifier()?)),
        false => None,
    };
    let mut once = || -> anyhow::Result<f64> {
        let start = Instant::now();
        // Reading the result back waits for backends that compute on their own time.
        match &mut step {
            Some(step) => step.run(images.clone()),
            None => drop(model::forward(&network, images.clone())?.1.into_data()),
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

    let result = Result {
        variant: variant.name,
        backend: args.run.backend.name(),
        batch: args.batch,
        size,
        training: args.training,
        threads,
        runs: args.runs,
        median_ms: median,
        min_ms: times[0],
        p95_ms: at(0.95),
        images_per_s: args.batch as f64 / median * 1e3,
        params: anatomy.params,
        macs: anatomy.macs,
        peak_memory_bytes: peak_memory(),
    };
    print(&result, args.format)
}

/// Forward, backward and an update by SGD with momentum, as in `tests/oracle/training_step.py`.
struct TrainingStep {
    network: Option<Classifier>,
    optimizer: ModuleOptimizer,
}

impl TrainingStep {
    fn new(network: Classifier) -> Self {
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
        let optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
        Self { network: Some(network.train()), optimizer }
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

fn print(result: &Result, format: Format) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(result)?)?,
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(out);
            writer.serialize(result)?;
            writer.flush()?;
        }
        Format::Text => {
            writeln!(
                out,
                "{}{} on {}, batch {}, {} x {} pixels, {} threads",
                if result.training { "a training step of " } else { "" },
                result.variant,
                result.backend,
                result.batch,
                result.size,
                result.size,
                result.threads
            )?;
            writeln!(
                out,
                "  median {:.2} ms   min {:.2} ms   p95 {:.2} ms   ({} runs)",
                result.median_ms, result.min_ms, result.p95_ms, result.runs
            )?;
            writeln!(
                out,
                "  {:.1} images/s   {:.1} GMAC/s   {} parameters",
                result.images_per_s,
                result.images_per_s * result.macs as f64 / 1e9,
                result.params
            )?;
            if let Some(bytes) = result.peak_memory_bytes {
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
