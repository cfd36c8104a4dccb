//! `zoo devices`: what can compute here.

use std::io::{self, Write};

use burn::tensor::Tensor;
use serde::Serialize;

use crate::args::{Devices, Format};
use crate::device::Backend;
use crate::output::{csv_records, json_lines};

#[derive(Serialize)]
struct Row {
    backend: &'static str,
    built_in: bool,
    usable: bool,
    reason: String,
}

/// Runs the command.
pub fn run(args: &Devices) -> anyhow::Result<()> {
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
        Format::Csv => csv_records(&mut out, &rows)?,
    }
    Ok(())
}

/// Computes something small on a backend to see whether it works.
fn probe(backend: Backend) -> Row {
    let attempt = if backend.is_built_in() {
        crate::catch(|| {
            let device = backend.device()?;
            let sum = Tensor::<1>::ones([8], &device).sum().into_data();
            anyhow::ensure!(sum.convert::<f32>().iter::<f32>().eq([8.0]), "it computes wrongly");
            Ok(())
        })
        .and_then(|attempt| attempt)
        .map_err(|error| format!("{error:#}").replace('\n', "; "))
    } else {
        Err(backend.build_command())
    };
    Row {
        backend: backend.name(),
        built_in: backend.is_built_in(),
        usable: attempt.is_ok(),
        reason: attempt.err().unwrap_or_default(),
    }
}
