//! `zoo`: runs, trains and converts the classic convolutional networks.
//!
//! Each command is a file in `commands` with its arguments and its code. Read [`commands::classify`] first. The commands call
//! burn-zoo; this program parses arguments, shows progress and prints.

mod commands;
mod flags;
mod images;
mod lines;
mod options;
mod output;
mod progress;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use burn_zoo::{hub, import, record, train};
use clap::{Parser, Subcommand};
use clap_complete::Shell;

use commands::{
    backends, bench, classify, compare, embed, eval, explain, export, finetune, forward, info,
    inspect, list, search, serve, weights,
};

/// Run, train and convert the classic convolutional networks.
#[derive(Debug, Parser)]
#[command(name = "zoo", version, arg_required_else_help = true)]
struct Zoo {
    /// The command.
    #[command(subcommand)]
    command: Command,
}

/// The commands of `zoo`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Classify images
    Classify(classify::Args),
    /// Show which parts of images speak for a class, and what a network responds to
    Explain(explain::Args),
    /// Compare models in accuracy, speed and size
    Compare(compare::Args),
    /// Compute embeddings of images, and find similar ones
    Embed(embed::Args),
    /// Train a model on your own images
    Finetune(Box<finetune::Args>),
    /// Find a network for your images that meets limits of latency and size
    Search(search::Args),
    /// Evaluate a model on labeled images
    Eval(eval::Args),
    /// List the models
    List(list::Args),
    /// Describe a model: its size, its layers, its weights and where they come from
    Info(info::Args),
    /// List the backends, and say which of them work on this machine
    #[command(alias = "devices")]
    Backends(backends::Args),
    /// Let `finetune --devices` on other machines compute on this machine
    Serve(serve::Args),
    /// Turn a PyTorch, safetensors, ONNX or Keras file into a record
    Import(commands::import::Args),
    /// Turn a record into a file for other programs
    Export(export::Args),
    /// Show the tensors of a record or a checkpoint, and recognize its model
    Inspect(inspect::Args),
    /// Download published weights, and manage those on this machine
    Weights(weights::Args),
    /// Run a model on a raw tensor, to compare it with other implementations
    Forward(forward::Args),
    /// Measure how fast a model runs
    Bench(bench::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The end of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything was done.
    Done,
    /// Some of the input was unusable; the rest was done.
    SomeInputWasBad,
    /// The user stopped it; its results so far are kept.
    Interrupted,
}

fn main() -> ExitCode {
    // SAFETY: this is the program's first statement.
    unsafe { burn_zoo::default_to_cpu() };
    let zoo = match Zoo::try_parse() {
        Ok(zoo) => zoo,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let print_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !burn_zoo::is_catching_panic() {
            print_panic(info);
        }
    }));
    match run(&zoo.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeInputWasBad) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // The reader of the output closed the pipe, as `head` does.
        Err(error) if io_error_kinds(&error).any(|kind| kind == ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut text = output::in_options(&format!("{error:#}"));
            // The system's numbers for a full disk.
            if ["(os error 28)", "(os error 112)"].iter().any(|full| text.contains(full)) {
                text += "\nhint: free some space, then run the command again";
            }
            let _ = writeln!(std::io::stderr(), "zoo: {text}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(command: &Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Classify(args) => return classify::run(args),
        Command::Explain(args) => return explain::run(args),
        Command::Compare(args) => return compare::run(args),
        Command::Embed(args) => return embed::run(args),
        Command::Finetune(args) => return finetune::run(args),
        Command::Search(args) => return search::run(args),
        Command::Eval(args) => return eval::run(args),
        Command::List(args) => list::run(args)?,
        Command::Info(args) => info::run(args)?,
        Command::Backends(args) => backends::run(args)?,
        Command::Serve(args) => serve::run(args)?,
        Command::Import(args) => commands::import::run(args)?,
        Command::Export(args) => export::run(args)?,
        Command::Inspect(args) => inspect::run(args)?,
        Command::Weights(args) => return weights::run(args),
        Command::Forward(args) => forward::run(args)?,
        Command::Bench(args) => bench::run(args)?,
        Command::Completions { shell } => {
            let mut command = <Zoo as clap::CommandFactory>::command();
            // `generate` panics if standard output is closed, so it writes into memory.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "zoo", &mut script);
            let mut out = std::io::stdout();
            out.write_all(&script)?;
            out.flush()?;
        }
    }
    Ok(Outcome::Done)
}

/// 2 if the machine failed, 1 if the input was unusable.
fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(explained) = error.downcast_ref::<flags::Explained>() {
        return explained.exit_code;
    }
    let is_full = io_error_kinds(error)
        .any(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
    if is_full || error.chain().any(is_failure) { 2 } else { 1 }
}

/// Whether an error of a library means that the machine or the connection failed.
fn is_failure(error: &(dyn std::error::Error + 'static)) -> bool {
    let record = |error: &record::Error| matches!(error, record::Error::Write { .. });
    let import =
        |error: &import::Error| matches!(error, import::Error::Record(error) if record(error));
    let hub = |error: &hub::Error| match error {
        hub::Error::Download { .. } | hub::Error::Altered { .. } => true,
        hub::Error::Record(error) => record(error),
        hub::Error::Import(error) => import(error),
        _ => false,
    };
    let train = |error: &train::Error| match error {
        train::Error::Diverged { .. } => true,
        train::Error::Record(error) => record(error),
        _ => false,
    };
    if let Some(error) = error.downcast_ref::<burn_zoo::Error>() {
        return match error {
            burn_zoo::Error::Record(error) => record(error),
            burn_zoo::Error::Import(error) => import(error),
            burn_zoo::Error::Hub(error) => hub(error),
            burn_zoo::Error::Train(error) => train(error),
            _ => false,
        };
    }
    error.downcast_ref().is_some_and(record)
        || error.downcast_ref().is_some_and(import)
        || error.downcast_ref().is_some_and(hub)
        || error.downcast_ref().is_some_and(train)
}

/// The kinds of the I/O errors in an error's chain.
fn io_error_kinds(error: &anyhow::Error) -> impl Iterator<Item = ErrorKind> {
    error.chain().filter_map(|cause| {
        let error = match cause.downcast_ref::<csv::Error>().map(csv::Error::kind) {
            Some(csv::ErrorKind::Io(error)) => Some(error),
            _ => cause.downcast_ref::<std::io::Error>(),
        };
        error.map(std::io::Error::kind)
    })
}
