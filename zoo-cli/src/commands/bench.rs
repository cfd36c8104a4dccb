//! `zoo bench`: measures the speed of a model.

use anyhow::Context;
use burn_zoo::bench::{Bench, Options};
use burn_zoo::{default_threads, set_threads};

use crate::options::{Format, RunOptions, device, keep_memory, positive};
use crate::output::{in_options, print};

/// `zoo bench`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the model; its weights are pseudo-random
    pub(crate) model: String,

    /// Number of images in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive())]
    pub(crate) batch: usize,

    /// Height and width of the images in pixels [default: those of the model]
    #[arg(long, value_name = "PIXELS", value_parser = positive())]
    pub(crate) size: Option<usize>,

    /// Measure training steps: forward, backward and update
    #[arg(long)]
    pub(crate) training: bool,

    /// Print the time of each step of the engine's plan
    #[arg(long, conflicts_with = "training")]
    pub(crate) profile: bool,

    /// Number of measured runs, after the warm-up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = positive())]
    pub(crate) runs: usize,

    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // libtorch would choose its own number.
    set_threads(args.run.threads.map_or_else(default_threads, usize::from));
    if args.training {
        keep_memory();
    }
    // The device's errors say what to install.
    device(args.run.backend)?;
    let Args { batch, size, training, runs, .. } = *args;
    let options = Options { batch, size, training, runs };
    let mut bench = Bench::new(&args.model, args.run.backend, options)?;
    for note in bench.notes() {
        eprintln!("note: {}", in_options(note));
    }
    let measurement = bench.measure()?;
    if !args.profile {
        return print(args.format, &[&measurement], &measurement);
    }
    let profile = bench.profile()?;
    let profile =
        profile.context("only the engine's plans have a profile\nhint: use --backend cpu")?;
    print(args.format, &profile.steps, &profile)
}
