//! What the program `zoo` does, as a library for its tests.
//!
//! One file a command: [`classify`] is the one to read first.

use std::any::Any;
use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::anyhow;

pub mod agreement;
pub mod anatomy;
pub mod args;
pub mod bars;
pub mod bench;
pub mod capture;
pub mod classify;
pub mod device;
pub mod devices;
pub mod eval;
pub mod export;
pub mod finetune;
pub mod flags;
pub mod forward;
pub mod import;
pub mod info;
pub mod inspect;
pub mod lines;
pub mod list;
pub mod model;
pub mod output;
pub mod recognise;
pub mod runner;
pub mod serve;
pub mod weights;

/// How a command ended, where it did not fail as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All was done.
    Done,
    /// Some of the input was unusable; the rest was done.
    SomeInputWasBad,
    /// The user stopped it; what was done is kept.
    Interrupted,
}

/// Carries out a command.
///
/// # Errors
///
/// Each with a sentence for the user; [`exit_code`] tells whose fault it is.
pub fn run(zoo: &args::Zoo) -> anyhow::Result<Outcome> {
    use args::Command;

    match &zoo.command {
        Command::Classify(args) => return classify::run(args),
        Command::Finetune(args) => return finetune::run(args),
        Command::Eval(args) => return eval::run(args),
        Command::List(args) => list::run(args)?,
        Command::Info(args) => info::run(args)?,
        Command::Devices(args) => devices::run(args)?,
        Command::Serve(args) => serve::run(args)?,
        Command::Import(args) => import::run(args)?,
        Command::Export(args) => export::run(args)?,
        Command::Inspect(args) => inspect::run(args)?,
        Command::Weights(args) => return weights::run(args),
        Command::Forward(args) => forward::run(args)?,
        Command::Bench(args) => bench::run(args)?,
        Command::Completions { shell } => {
            let mut command = <args::Zoo as clap::CommandFactory>::command();
            // It would panic where standard output takes nothing.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "zoo", &mut script);
            let mut out = std::io::stdout();
            out.write_all(&script)?;
            out.flush()?;
        }
    }
    Ok(Outcome::Done)
}

/// 2 where the machine failed us, 1 where the input was unusable.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    use zoo_import::Error;

    if let Some(explained) = error.downcast_ref::<flags::Explained>() {
        return explained.exit_code;
    }
    let is_failure = io_kinds(error)
        .any(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
        || matches!(
            error.downcast_ref(),
            Some(Error::Write { .. } | Error::Download { .. } | Error::Altered { .. })
        )
        || matches!(
            error.downcast_ref(),
            Some(zoo_train::Error::Diverged { .. } | zoo_train::Error::Record(Error::Write { .. }))
        );
    if is_failure { 2 } else { 1 }
}

/// What the system refused, on the way to an error.
pub fn io_kinds(error: &anyhow::Error) -> impl Iterator<Item = ErrorKind> {
    error.chain().filter_map(|cause| {
        let error = match cause.downcast_ref::<csv::Error>().map(csv::Error::kind) {
            Some(csv::ErrorKind::Io(error)) => Some(error),
            _ => cause.downcast_ref::<std::io::Error>(),
        };
        error.map(std::io::Error::kind)
    })
}

/// How many calls of [`catch`] are under way.
static CATCHING: AtomicUsize = AtomicUsize::new(0);

/// Whether a panic now would be turned into an error with a sentence of its own.
pub fn is_catching() -> bool {
    CATCHING.load(Ordering::Relaxed) > 0
}

/// Runs something that may panic on unusual input, and makes an error of it.
///
/// # Errors
///
/// What the panic said.
pub fn catch<T>(run: impl FnOnce() -> T) -> anyhow::Result<T> {
    let message = |payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "it stopped without a message".to_owned())
    };
    CATCHING.fetch_add(1, Ordering::Relaxed);
    let result = catch_unwind(AssertUnwindSafe(run));
    CATCHING.fetch_sub(1, Ordering::Relaxed);
    result.map_err(|payload| anyhow!("{}", message(payload)))
}
