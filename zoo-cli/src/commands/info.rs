//! `zoo info`: all that is known about a model.

use std::io::{self, Write};

use anyhow::bail;
use burn_zoo::models::{Config, Preprocess, Variant, published};
use burn_zoo::{Backend, Model, Summary, summary};
use serde::Serialize;

use crate::commands::list::{Row, row};
use crate::options::Format;
use crate::output::{channels, csv_records, json_lines};

/// `zoo info`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name
    pub(crate) variant: String,

    /// Print the steps that the engine takes for an image
    #[arg(long)]
    pub(crate) plan: bool,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Serialize)]
struct Described {
    #[serde(flatten)]
    row: Row,
    num_classes: usize,
    in_channels: usize,
    paper: String,
    published: Vec<Published>,
    #[serde(flatten)]
    summary: Summary,
}

#[derive(Serialize)]
struct Published {
    tag: &'static str,
    url: &'static str,
    sha256: &'static str,
    top1: Option<f64>,
    top5: Option<f64>,
    license: &'static str,
    preprocess: Preprocess,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (variant, _) = published(&args.variant)?;
    if args.plan {
        return plan(&variant, args.format);
    }
    let paper = variant.config.family().paper;
    let summary = summary(&variant.config, variant.size)?;
    let described = Described {
        row: Row { params: Some(summary.params), ..row(&variant) },
        num_classes: variant.config.num_classes(),
        in_channels: variant.config.in_channels(),
        paper: format!("{}, {}: {}, {}", paper.authors, paper.year, paper.title, paper.url),
        published: variant
            .weights
            .iter()
            .map(|weights| Published {
                tag: weights.tag,
                url: weights.url,
                sha256: weights.sha256,
                top1: weights.accuracy.map(|[top1, _]| top1),
                top5: weights.accuracy.map(|[_, top5]| top5),
                license: weights.license,
                preprocess: weights.preprocess,
            })
            .collect(),
        summary,
    };
    match args.format {
        Format::Text => text(&described),
        Format::Json => json_lines(&mut io::stdout(), &[described]),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(io::stdout());
            writer.write_record(["part", "layers", "params", "macs", "output"])?;
            for part in &described.summary.parts {
                writer.write_record([
                    &part.name,
                    &part.layers.to_string(),
                    &part.params.to_string(),
                    &part.macs.to_string(),
                    &shape(&part.output),
                ])?;
            }
            writer.flush()?;
            Ok(())
        }
    }
}

/// A step of the engine's plan.
#[derive(Serialize)]
struct Step {
    step: String,
    output: String,
    mflops: f64,
    kbytes: f64,
}

/// Prints what the engine does with one image.
fn plan(variant: &Variant<Config>, format: Format) -> anyhow::Result<()> {
    let mut model = Model::for_benchmark(variant.name, &Backend::Cpu.device()?)?;
    let images = [1, variant.config.in_channels(), variant.size, variant.size];
    let Some(plan) = model.plan(images)? else {
        bail!("Burn computes this network, as the engine can't: {:?}", model.session().lacking());
    };
    let steps: Vec<Step> = plan
        .steps()
        .into_iter()
        .map(|step| Step {
            output: shape(&step.shape),
            mflops: step.operations as f64 / 1e6,
            kbytes: step.bytes as f64 / 1e3,
            step: step.label,
        })
        .collect();
    let mut out = io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, &steps)?,
        Format::Csv => csv_records(&mut out, &steps)?,
        Format::Text => {
            writeln!(out, "{:<36} {:<20} {:>10} {:>10}", "step", "output", "MFLOP", "kB")?;
            for Step { step, output, mflops, kbytes } in &steps {
                writeln!(out, "{step:<36} {output:<20} {mflops:>10.1} {kbytes:>10.1}")?;
            }
            writeln!(
                out,
                "{} steps, {} instructions, {:.1} MB of weights, {:.1} MB of activations",
                steps.len(),
                plan.instructions(),
                plan.weight_bytes() as f64 / 1e6,
                plan.activation_bytes() as f64 / 1e6
            )?;
        }
    }
    Ok(())
}

fn text(described: &Described) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let Summary { params, macs, parts } = &described.summary;
    writeln!(out, "{}", described.row.variant)?;
    writeln!(out, "  paper       {}", described.paper)?;
    writeln!(
        out,
        "  input       {}, {} x {} pixels",
        channels(described.in_channels),
        described.row.size,
        described.row.size
    )?;
    writeln!(out, "  classes     {}", described.num_classes)?;
    writeln!(out, "  parameters  {params}")?;
    writeln!(out, "  MACs        {:.3} G", *macs as f64 / 1e9)?;
    writeln!(out)?;
    writeln!(out, "  {:<14} {:>6} {:>12} {:>10}  output", "part", "layers", "parameters", "MMACs")?;
    for part in parts {
        writeln!(
            out,
            "  {:<14} {:>6} {:>12} {:>10.1}  {}",
            part.name,
            part.layers,
            part.params,
            part.macs as f64 / 1e6,
            shape(&part.output)
        )?;
    }
    for weights in &described.published {
        writeln!(out)?;
        writeln!(out, "  weights {}", weights.tag)?;
        if let (Some(top1), Some(top5)) = (weights.top1, weights.top5) {
            writeln!(out, "    accuracy  {top1:.2} % top-1, {top5:.2} % top-5")?;
        }
        let preprocess = &weights.preprocess;
        writeln!(
            out,
            "    input     resize {} ({:?}), crop {}, mean {:.3?}, std {:.3?}",
            preprocess.resize,
            preprocess.interpolation,
            preprocess.crop,
            preprocess.mean,
            preprocess.std
        )?;
        writeln!(out, "    from      {}", weights.url)?;
        writeln!(out, "    sha256    {}…", weights.sha256)?;
        writeln!(out, "    license   {}", weights.license)?;
    }
    if described.published.is_empty() {
        writeln!(out, "\n  no weights are published for it here")?;
    }
    Ok(())
}

fn shape(dims: &[usize]) -> String {
    let dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
    dims.join(" x ")
}
