//! `zoo list`: the models, by architecture.

use std::io::{self, Write};

use anyhow::{bail, ensure};
use burn_zoo::models::{Config, FAMILIES, VARIANTS, Variant};
use serde::Serialize;

use crate::options::Format;
use crate::output::json_lines;

/// `zoo list`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only models with this text in their name
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) search: Option<String>,

    /// Only models of this architecture
    #[arg(long, value_name = "NAME")]
    pub(crate) family: Option<String>,

    /// How to print the list
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// One line of the list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Name of the architecture.
    pub(crate) family: &'static str,
    /// Name of the variant.
    pub(crate) variant: &'static str,
    /// Trainable parameters.
    pub(crate) params: Option<usize>,
    /// Billions of multiply-accumulates for one image.
    pub(crate) gmacs: Option<f64>,
    /// Side of that image in pixels.
    pub(crate) size: usize,
    /// Top-1 accuracy of the best published weights, in percent.
    pub(crate) top1: Option<f64>,
    /// Tags of the published weights.
    pub(crate) weights: Vec<&'static str>,
}

/// The line of a variant.
pub(crate) fn row(variant: &Variant<Config>) -> Row {
    Row {
        family: variant.config.family().name,
        variant: variant.name,
        params: variant.params,
        gmacs: variant.gmacs,
        size: variant.size,
        top1: variant.top1(),
        weights: variant.weights.iter().map(|weights| weights.tag).collect(),
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(name) = &args.family
        && !FAMILIES.iter().any(|family| family.name == *name)
    {
        let names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
        bail!("no architecture is called `{name}`\nhint: there are {}", names.join(", "));
    }
    let search = args.search.as_deref().unwrap_or_default().to_lowercase();
    let rows: Vec<Row> = VARIANTS
        .iter()
        .map(row)
        .filter(|row| args.family.as_deref().is_none_or(|name| row.family == name))
        .filter(|row| row.variant.contains(&search))
        .collect();
    ensure!(
        !rows.is_empty(),
        "no model has `{search}` in its name\nhint: `zoo list` shows all of them"
    );
    print(&rows, args.format)
}

fn print(rows: &[Row], format: Format) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, rows)?,
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(out);
            writer.write_record([
                "family", "variant", "params", "gmacs", "size", "top1", "weights",
            ])?;
            for Row { family, variant, params, gmacs, size, top1, weights } in rows {
                let weights = weights.join(" ");
                writer.serialize((family, variant, params, gmacs, size, top1, weights))?;
            }
            writer.flush()?;
        }
        Format::Text => {
            let mut family = "";
            for row in rows {
                if row.family != family {
                    family = row.family;
                    let title = FAMILIES.iter().find(|known| known.name == family);
                    let title = title.map_or(family, |family| family.title);
                    writeln!(
                        out,
                        "{title:<26} {:>12} {:>8} {:>6} {:>7}  weights",
                        "parameters", "GMACs", "pixels", "top-1"
                    )?;
                }
                writeln!(
                    out,
                    "  {:<24} {:>12} {:>8} {:>6} {:>7}  {}",
                    row.variant,
                    row.params
                        .map_or_else(String::new, |params| format!("{:.2} M", params as f64 / 1e6)),
                    row.gmacs.map_or_else(String::new, |gmacs| format!("{gmacs:.3}")),
                    row.size,
                    row.top1.map_or_else(|| "-".to_owned(), |top1| format!("{top1:.2}")),
                    row.weights.join(" ")
                )?;
            }
        }
    }
    Ok(())
}
