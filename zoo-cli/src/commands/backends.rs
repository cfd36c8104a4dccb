//! `zoo backends`: the backends that work on this machine.

use std::io::{self, Write};

use burn::tensor::Tensor;
use burn_zoo::{Backend, catch_panic};
use serde::Serialize;

use crate::options::{Format, build_command, device};
use crate::output::{csv_table, json_lines};

/// `zoo backends`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to print the list
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Serialize)]
struct Row {
    backend: &'static str,
    built_in: bool,
    usable: bool,
    reason: String,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let rows = Backend::ALL.map(probe);
    match args.format {
        Format::Text => {
            writeln!(out, "{:<10} {:<10} {:<8} note", "backend", "built in", "usable")?;
            for row in rows {
                let yes = |yes: bool| if yes { "yes" } else { "no" };
                writeln!(
                    out,
                    "{:<10} {:<10} {:<8} {}",
                    row.backend,
                    yes(row.built_in),
                    yes(row.usable),
                    row.reason
                )?;
            }
        }
        Format::Json => json_lines(&mut out, &rows)?,
        Format::Csv => csv_table(&mut out, &[], &rows)?,
    }
    Ok(())
}

/// Tries a small computation on a backend.
fn probe(backend: Backend) -> Row {
    let attempt = if backend.is_built_in() {
        catch_panic(|| {
            let device = device(backend)?;
            let sum = Tensor::<1>::ones([8], &device).sum().into_data();
            anyhow::ensure!(sum.convert::<f32>().iter::<f32>().eq([8.0]), "it computes wrongly");
            Ok(())
        })
        .map_err(anyhow::Error::from)
        .and_then(|attempt| attempt)
        .map_err(|error| format!("{error:#}").replace('\n', "; "))
    } else {
        Err(build_command(backend))
    };
    Row {
        backend: backend.name(),
        built_in: backend.is_built_in(),
        usable: attempt.is_ok(),
        reason: attempt.err().unwrap_or_default(),
    }
}
