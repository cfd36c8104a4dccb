//! `zoo weights`: published weights and their records on this machine.

use std::io::{self, Write};

use anyhow::ensure;
use burn_zoo::hub::{CacheState, Entry};
use burn_zoo::{EMBEDDED_MODEL, Hub, models};
use clap::Subcommand;
use serde::Serialize;

use crate::Outcome;
use crate::options::Format;
use crate::output::{csv_table, json_lines};
use crate::progress::Download;

/// `zoo weights`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`--model NAME` downloads missing weights by itself.

Environment:
  ZOO_CACHE=FOLDER        the folder for weights [default: zoo in the system's cache folder]
  ZOO_OFFLINE=1           forbids downloads
  ZOO_WEIGHTS_MIRROR=URL  downloads URL/FILE instead, with the published file names")]
pub(crate) struct Args {
    /// The subcommand.
    #[command(subcommand)]
    command: WeightsCommand,
}

/// The subcommands of `zoo weights`.
#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// List the published weights and which of them are on this machine
    List {
        /// Only those on this machine
        #[arg(long, alias = "kept")]
        cached: bool,

        /// How to print the list
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Download weights that are missing or damaged, and print the paths of their records
    Pull {
        /// Which weights: resnet50.imagenet1k_v2
        #[arg(value_name = "MODEL[.TAG]", required = true)]
        names: Vec<String>,
    },
    /// Print the path of a record, or of the folder with all of them
    Path {
        /// Which weights
        #[arg(value_name = "MODEL[.TAG]")]
        name: Option<String>,
    },
    /// Check downloaded weights for damage
    Verify {
        /// Which weights [default: all on this machine]
        #[arg(value_name = "MODEL[.TAG]")]
        names: Vec<String>,

        /// How to print the results
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Delete weights and partial downloads
    Remove {
        /// Which weights
        #[arg(value_name = "MODEL[.TAG]", required_unless_present = "all")]
        names: Vec<String>,

        /// All on this machine
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let hub = Hub::from_env()?;
    match &args.command {
        WeightsCommand::List { cached, format } => list(&hub, *cached, *format)?,
        WeightsCommand::Pull { names } => {
            for name in names {
                let entry = entry(&hub, name)?;
                let mut download = Download::new(name);
                entry.pull(|event| download.on(event))?;
                writeln!(io::stdout(), "{}", entry.path().display())?;
            }
        }
        WeightsCommand::Path { name: None } => {
            writeln!(io::stdout(), "{}", hub.folder().display())?;
        }
        WeightsCommand::Path { name: Some(name) } => {
            let entry = entry(&hub, name)?;
            ensure_cached(&entry, name)?;
            writeln!(io::stdout(), "{}", entry.path().display())?;
        }
        WeightsCommand::Verify { names, format } => return verify(&hub, names, *format),
        WeightsCommand::Remove { names, all: _ } => {
            for (name, entry) in chosen(&hub, names)? {
                if entry.remove()? {
                    eprintln!("removed {name}");
                } else {
                    eprintln!("{name} is not on this machine");
                }
            }
        }
    }
    Ok(Outcome::Done)
}

fn entry<'s>(hub: &'s Hub, name: &str) -> anyhow::Result<Entry<'s>> {
    ensure!(
        models::published(name)?.0.name != EMBEDDED_MODEL,
        "the weights of {EMBEDDED_MODEL} are compiled into zoo, they need no file\nhint: `zoo classify` uses them \
         without --model"
    );
    Ok(hub.entry(name)?)
}

fn ensure_cached(entry: &Entry<'_>, name: &str) -> anyhow::Result<()> {
    ensure!(
        matches!(entry.state(), CacheState::Cached(_)),
        "{name} is not on this machine\nhint: `zoo weights pull {name}` downloads it"
    );
    Ok(())
}

/// The named entries; without names, all that are at least partly downloaded.
fn chosen<'s>(hub: &'s Hub, names: &[String]) -> anyhow::Result<Vec<(String, Entry<'s>)>> {
    if names.is_empty() {
        let here = hub.entries().filter(|entry| entry.state() != CacheState::Missing);
        return Ok(here.map(|entry| (entry.name().to_owned(), entry)).collect());
    }
    names.iter().map(|name| Ok((name.clone(), entry(hub, name)?))).collect()
}

/// One line of the list.
#[derive(Serialize)]
struct Row {
    weights: String,
    state: &'static str,
    bytes: Option<u64>,
    url: &'static str,
}

fn list(hub: &Hub, cached: bool, format: Format) -> anyhow::Result<()> {
    let rows = hub.entries().map(|entry| {
        let (state, bytes) = match entry.state() {
            CacheState::Missing => ("missing", None),
            CacheState::Partial(bytes) => ("partial", Some(bytes)),
            CacheState::Cached(bytes) => ("cached", Some(bytes)),
        };
        Row { weights: entry.name().to_owned(), state, bytes, url: entry.url() }
    });
    let rows: Vec<Row> = rows.filter(|row| !cached || row.state == "cached").collect();
    let mut out = io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, &rows)?,
        Format::Csv => csv_table(&mut out, &[], &rows)?,
        Format::Text => {
            for Row { weights, state, bytes, url } in &rows {
                let size = bytes.map_or_else(String::new, megabytes);
                let state = if *state == "missing" { "" } else { state };
                writeln!(out, "{weights:<36} {state:<7} {size:>9}  {url}")?;
            }
        }
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The result for one record.
#[derive(Serialize)]
struct Verdict {
    weights: String,
    sound: bool,
    path: String,
}

fn verify(hub: &Hub, names: &[String], format: Format) -> anyhow::Result<Outcome> {
    let mut verdicts = Vec::new();
    for (weights, entry) in chosen(hub, names)? {
        if names.is_empty() && !matches!(entry.state(), CacheState::Cached(_)) {
            continue;
        }
        ensure_cached(&entry, &weights)?;
        let result = entry.verify();
        if let Err(error) = &result {
            eprintln!("zoo: {error}");
        }
        let path = entry.path().display().to_string();
        verdicts.push(Verdict { weights, sound: result.is_ok(), path });
    }
    if verdicts.is_empty() {
        eprintln!("no weights are on this machine");
    }
    let mut out = io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, &verdicts)?,
        Format::Csv => csv_table(&mut out, &[], &verdicts)?,
        Format::Text => {
            for Verdict { weights, sound, path } in &verdicts {
                writeln!(
                    out,
                    "{weights:<36} {:<7}  {path}",
                    if *sound { "sound" } else { "damaged" }
                )?;
            }
        }
    }
    let all = verdicts.iter().all(|verdict| verdict.sound);
    Ok(if all { Outcome::Done } else { Outcome::SomeInputWasBad })
}
