//! `zoo search`: finds a network for your images that meets limits of latency, size and memory.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use burn_zoo::search::{
    Event, Found, Limits, Proxy, Row, SearchConfig, SearchRun, Shard, Space, Status, search,
};
use burn_zoo::train::duration;
use burn_zoo::{Backend, counted, set_threads};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Outcome;
use crate::commands::finetune::{absolute, stop_on_interrupt};
use crate::options::{DeviceName, bytes, device, keep_memory, positive, probability, time};
use crate::progress::Bars;

/// `zoo search`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The images are split into three parts: training, validation for the search, and test for the final number. A folder or list with \
the split `test` keeps it.

--space zoo prefers networks with published weights on this machine; `zoo weights pull NAME` adds one.

Half of the budget is for the search, half for a random search of the same cost, which the report compares. The best network is \
trained longer after the budget. FOLDER gets model.bpk, report.html and search.csv with all candidates.

Exit codes: 0 done, 1 some input was unusable, 2 failure, 130 interrupted.")]
pub(crate) struct Args {
    /// Images with their classes, as for `zoo finetune`
    pub(crate) data: String,

    /// The folder to write
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: PathBuf,

    /// Continue the search in the folder
    #[arg(long)]
    pub(crate) resume: bool,

    /// The space of networks
    #[arg(long, value_enum, default_value_t = SpaceName::Zoo)]
    pub(crate) space: SpaceName,

    /// Longest time for one image on this machine: 5ms
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) max_latency: Option<Duration>,

    /// Latency that --space mobile aims at: a slower network needs more accuracy
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) target_latency: Option<Duration>,

    /// Largest size of the weights: 4MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,

    /// Largest memory for one image, weights and activations: 20MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_memory: Option<u64>,

    /// Time for the search, without the final training: 30m
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30m")]
    pub(crate) budget: Duration,

    /// Height and width of the images in pixels, for --space blocks and mobile
    #[arg(long, value_name = "PIXELS", value_parser = positive(), default_value_t = 32)]
    pub(crate) size: usize,

    /// Epochs of the training of a candidate; for --space zoo, of the first rung
    #[arg(long, value_name = "N", value_parser = positive(), default_value_t = 3)]
    pub(crate) epochs: usize,

    /// Most images that a candidate is trained on; it is validated on at most half as many [default: all]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub(crate) images: Option<usize>,

    /// Height and width of the images that a candidate is trained on [default: its own]
    #[arg(long, value_name = "PIXELS", value_parser = positive())]
    pub(crate) train_size: Option<usize>,

    /// Scores without training that are computed for each candidate: params, synflow, nwot
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "params")]
    pub(crate) proxies: Vec<Proxy>,

    /// The score that decides which candidates of --space blocks and mobile are trained: params, synflow or nwot
    #[arg(long, value_name = "NAME")]
    pub(crate) screen: Option<Proxy>,

    /// Networks that are measured for each one that is trained, with --screen
    #[arg(long, value_name = "N", value_parser = positive(), default_value_t = 4)]
    pub(crate) draws: usize,

    /// Start each candidate from the weights of its parents, where their units correspond
    #[arg(long)]
    pub(crate) inherit: bool,

    /// Epochs of the final training of a network that starts from random weights
    #[arg(long, value_name = "N", value_parser = positive(), default_value_t = 40)]
    pub(crate) final_epochs: usize,

    /// Networks in a generation
    #[arg(long, value_name = "N", value_parser = positive(), default_value_t = 20)]
    pub(crate) population: usize,

    /// Generations after the first one
    #[arg(long, value_name = "N", value_parser = positive(), default_value_t = 20)]
    pub(crate) generations: usize,

    /// Probability that two parents exchange their units
    #[arg(long, value_name = "P", value_parser = probability::<f64>, default_value_t = 0.9)]
    pub(crate) crossover: f64,

    /// Probability that a child is mutated
    #[arg(long, value_name = "P", value_parser = probability::<f64>, default_value_t = 0.2)]
    pub(crate) mutation: f64,

    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Devices that train one candidate each at the same time: ws://gpu1:3000,ws://gpu2:3000 [default: this CPU]
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    pub(crate) workers: Vec<DeviceName>,

    /// The part I of N processes that share the search, all with the same command and FOLDER
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(crate) shard: Option<Shard>,

    /// Number of threads, at most 512 [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
}

/// The name of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpaceName {
    /// The networks of the registry at several image sizes, by successive halving
    Zoo,
    /// AE-CNN: units of residual blocks, dense layers and poolings, by a genetic algorithm
    Blocks,
    /// MnasNet's space of inverted residuals and convolutions, by regularized evolution
    Mobile,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(threads) = args.threads {
        set_threads(threads.into());
    }
    keep_memory();
    let devices = match args.workers.is_empty() {
        true => vec![device(Backend::Cpu)?],
        false => args.workers.iter().map(DeviceName::device).collect::<anyhow::Result<_>>()?,
    };
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let mut proxies = args.proxies.clone();
    proxies.extend(args.screen.filter(|proxy| !args.proxies.contains(proxy)));
    let config = SearchConfig {
        space: match args.space {
            SpaceName::Zoo => Space::Zoo,
            SpaceName::Blocks => Space::Blocks,
            SpaceName::Mobile => Space::Mobile,
        },
        limits: Limits {
            latency_ms: args.max_latency.map(|latency| latency.as_secs_f64() * 1e3),
            size: args.max_size,
            memory: args.max_memory,
        },
        target_ms: args.target_latency.map(|latency| latency.as_secs_f64() * 1e3),
        budget: args.budget.as_secs_f64(),
        image_size: args.size,
        epochs: args.epochs,
        images: args.images,
        train_size: args.train_size,
        proxies,
        screen: args.screen,
        draws: args.draws,
        inherit: args.inherit,
        final_epochs: args.final_epochs,
        population: args.population,
        generations: args.generations,
        crossover: args.crossover,
        mutation: args.mutation,
        seed: args.seed,
        ..SearchConfig::new(absolute(&args.data)?)
    };
    let stop = stop_on_interrupt()?;
    let mut table = Table::new(args.budget);
    let run = SearchRun {
        folder: &args.output,
        devices: &devices,
        shard,
        resume: args.resume,
        stop: &stop,
        observer: &mut |event| table.on(event),
        training: &mut Bars::default(),
    };
    match search(&config, run)? {
        Some(found) => report(&args.output, &found),
        None if !stop.load(Ordering::Relaxed) => {
            eprintln!("this part is done; part 1 trains the found network");
            Ok(Outcome::Done)
        }
        None => {
            eprintln!("zoo: interrupted; the same command with --resume continues");
            Ok(Outcome::Interrupted)
        }
    }
}

fn report(folder: &Path, found: &Found) -> anyhow::Result<Outcome> {
    let Found { best, model, test, .. } = found;
    writeln!(
        stdout(),
        "{}: {}, test accuracy {:.1} % on {}, {:.2} ms, {:.2} MB",
        model.display(),
        best.network,
        100.0 * test.top1,
        counted(test.images, "image"),
        best.latency_ms.unwrap_or_default(),
        best.size as f64 / 1e6,
    )?;
    eprintln!("report: {}", folder.join("report.html").display());
    Ok(if test.unreadable > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}

/// Parses `I/N`.
fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(index, count)| {
        Some((index.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    });
    match parts {
        Some((index, count)) if (1..=count).contains(&index) => {
            Ok(Shard { index: index - 1, count })
        }
        _ => Err("not a part such as 1/4, the first of four".to_owned()),
    }
}

/// Prints a line for each candidate that is trained, and below it the state of the search.
struct Table {
    start: Instant,
    budget: Duration,
    status: ProgressBar,
    stage: &'static str,
    generation: usize,
    trained: usize,
    rejected: usize,
    failed: usize,
    known: usize,
    best: Option<f64>,
}

impl Table {
    fn new(budget: Duration) -> Self {
        let status = ProgressBar::new_spinner()
            .with_style(ProgressStyle::with_template("{msg}").expect("the template has one field"));
        Self {
            start: Instant::now(),
            budget,
            status,
            stage: "",
            generation: 0,
            trained: 0,
            rejected: 0,
            failed: 0,
            known: 0,
            best: None,
        }
    }

    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Splits([train, val, test]) => self.line(&format!(
                "{} to train on, {val} to validate with, {test} to test with",
                counted(train, "image")
            )),
            Event::Warning(text) => self.line(&format!("zoo: {text}")),
            Event::Stage(name) => {
                self.stage = name;
                let title = match name {
                    "search" => "search: accuracy, latency, size of the weights, network, pixels",
                    "random" => "random search of the same cost",
                    "registry" => "networks of the registry",
                    _ => "final training",
                };
                self.line(title);
                if name == "final" {
                    self.status.finish_and_clear();
                }
            }
            Event::Known(row) => {
                self.known += 1;
                self.keep_best(row);
            }
            Event::Assessed(row) => {
                match row.status {
                    Status::Trained => self.trained += 1,
                    Status::Rejected => self.rejected += 1,
                    Status::Failed => self.failed += 1,
                    Status::Measured => {}
                }
                self.keep_best(row);
                self.print(row);
            }
        }
    }

    fn keep_best(&mut self, row: &Row) {
        if row.method == "search" {
            self.best = [self.best, row.accuracy].into_iter().flatten().reduce(f64::max);
        }
    }

    fn print(&mut self, row: &Row) {
        let Row { latency_ms, size, network, image_size, .. } = row;
        let latency = latency_ms.unwrap_or_default();
        let size = *size as f64 / 1e6;
        match row.accuracy {
            Some(accuracy) => self.line(&format!(
                "{:>6.1} %  {latency:>7.2} ms  {size:>6.2} MB  {network}  {image_size}",
                100.0 * accuracy
            )),
            None if row.status == Status::Failed => {
                self.line(&format!("  failed  {network}: {}", row.reason));
            }
            None => {}
        }
        let left = self.budget.saturating_sub(self.start.elapsed()).as_secs_f64();
        let best = self.best.map_or("none".to_owned(), |best| format!("{:.1} %", 100.0 * best));
        let state = format!(
            "{}, generation {}: best {best}, {} trained, {} failed, {} beyond a limit, {} known, {} left",
            self.stage,
            row.generation,
            self.trained,
            self.failed,
            self.rejected,
            self.known,
            duration(left)
        );
        // A log gets the state once for each generation.
        if row.generation != self.generation && !stderr().is_terminal() {
            eprintln!("{state}");
        }
        self.generation = row.generation;
        self.status.set_message(state);
    }

    fn line(&self, text: &str) {
        match stderr().is_terminal() {
            true => self.status.println(text),
            false => eprintln!("{text}"),
        }
    }
}
