//! `zoo list`: the models, by architecture.

use std::io::{Write, stdout};

use anyhow::{Context, ensure};
use burn_zoo::VariantInfo;
use burn_zoo::models::{FAMILIES, Family, VARIANTS};

use crate::options::Format;
use crate::output::{csv_table, json_lines};

/// `zoo list`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only models with this text in their name
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) search: Option<String>,

    /// Only models of this architecture
    #[arg(long, value_name = "NAME")]
    pub(crate) family: Option<String>,

    /// The format of the output
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let family = args.family.as_deref().map(find_family).transpose()?;
    let search = args.search.as_deref().unwrap_or_default().to_lowercase();
    let rows = VARIANTS.iter().map(VariantInfo::of).filter(|row| row.variant.contains(&search));
    let is_wanted = |row: &VariantInfo| family.is_none_or(|family| row.family == family.name);
    let rows: Vec<_> = rows.filter(is_wanted).collect();
    ensure!(
        !rows.is_empty(),
        "no model has `{search}` in its name\nhint: `zoo list` shows all of them"
    );
    let mut out = stdout().lock();
    match args.format {
        Format::Json => json_lines(&mut out, &rows)?,
        Format::Csv => {
            let names = ["family", "variant", "params", "gmacs", "size", "top1", "weights"];
            let rows = rows.iter().map(|it| {
                let weights = it.weights.join(" ");
                (it.family, it.variant, it.params, it.gmacs, it.size, it.top1, weights)
            });
            csv_table(&mut out, &names, rows)?;
        }
        Format::Text => {
            for rows in rows.chunk_by(|a, b| a.family == b.family) {
                let title = find_family(rows[0].family)?.title;
                writeln!(
                    out,
                    "{title:<26} {:>12} {:>8} {:>6} {:>7}  weights",
                    "parameters", "GMACs", "pixels", "top-1"
                )?;
                rows.iter().try_for_each(|row| writeln!(out, "  {row}"))?;
            }
        }
    }
    Ok(())
}

fn find_family(name: &str) -> anyhow::Result<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name).with_context(|| {
        let names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
        format!("no architecture has the name `{name}`\nhint: choose one of {}", names.join(", "))
    })
}
