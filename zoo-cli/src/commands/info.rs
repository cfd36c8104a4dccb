//! `zoo info`: the facts about a model.

use std::io::{Write, stdout};

use burn_zoo::{ModelInfo, PlanInfo};

use crate::options::Format;
use crate::output::{csv_table, json_lines, print};

/// `zoo info`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the model
    pub(crate) model: String,

    /// Print the steps of the engine's plan for one image
    #[arg(long)]
    pub(crate) plan: bool,

    /// The format of the output
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.plan {
        let plan = PlanInfo::of(&args.model)?;
        return print(args.format, &plan.steps, &plan);
    }
    let info = ModelInfo::of(&args.model)?;
    let mut out = stdout().lock();
    match args.format {
        Format::Text => write!(out, "{info}")?,
        Format::Json => json_lines(&mut out, &[info])?,
        Format::Csv => {
            let parts = info.summary.modules.iter();
            let parts = parts.map(|it| (&it.name, it.layers, it.params, it.macs, it.shape()));
            csv_table(&mut out, &["part", "layers", "params", "macs", "output"], parts)?;
        }
    }
    Ok(())
}
