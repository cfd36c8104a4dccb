//! `zoo weights`: published weights and their records on this machine.

use std::io::{self, Write};

use anyhow::ensure;
use burn_zoo::hub::{Entry, State};
use burn_zoo::{EMBEDDED_MODEL, Hub, models};
use clap::Subcommand;
use serde::Serialize;

use crate::Outcome;
use crate::options::Format;
use crate::output::{csv_records, json_lines};
use crate::progress::Download;

/// `zoo weights`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`--model NAME` pulls weights by itself when they are not on this machine.

Environment:
  ZOO_CACHE=FOLDER        where they are kept [default: zoo in the system's folder for caches]
  ZOO_OFFLINE=1           nothing is downloaded
  ZOO_WEIGHTS_MIRROR=URL  files are downloaded from below this URL, by the names they were published under")]
pub(crate) struct Args {
    /// What to do with them.
    #[command(subcommand)]
    command: WeightsCommand,
}

/// What `zoo weights` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// List the published weights and which of them are on this machine
    List {
        /// Only those on this machine
        #[arg(long)]
        kept: bool,

        /// How to print the list
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Download weights that are not on this machine, or are damaged, and print their records' paths
    Pull {
        /// Which weights: resnet50.imagenet1k_v2
        #[arg(value_name = "VARIANT[.TAG]", required = true)]
        names: Vec<String>,
    },
    /// Print the path of a record, or of the folder of all
    Path {
        /// Which weights
        #[arg(value_name = "VARIANT[.TAG]")]
        name: Option<String>,
    },
    /// Compare the records on this machine with what was written
    Verify {
        /// Which weights [default: all on this machine]
        #[arg(value_name = "VARIANT[.TAG]")]
        names: Vec<String>,

        /// How to print the results
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Delete records and what there is of downloads
    Remove {
        /// Which weights
        #[arg(value_name = "VARIANT[.TAG]", required_unless_present = "all")]
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
        WeightsCommand::List { kept, format } => list(&hub, *kept, *format)?,
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
            ensure_kept(&entry, name)?;
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

fn ensure_kept(entry: &Entry<'_>, name: &str) -> anyhow::Result<()> {
    ensure!(
        matches!(entry.state(), State::Kept(_)),
        "{name} is not on this machine\nhint: `zoo weights pull {name}` downloads it"
    );
    Ok(())
}

/// The entries with certain names, or all of which anything is here.
fn chosen<'s>(hub: &'s Hub, names: &[String]) -> anyhow::Result<Vec<(String, Entry<'s>)>> {
    if names.is_empty() {
        let here = hub.entries().filter(|entry| entry.state() != State::Absent);
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

fn list(hub: &Hub, kept: bool, format: Format) -> anyhow::Result<()> {
    let rows = hub.entries().map(|entry| {
        let (state, bytes) = match entry.state() {
            State::Absent => ("absent", None),
            State::Begun(bytes) => ("begun", Some(bytes)),
            State::Kept(bytes) => ("kept", Some(bytes)),
        };
        Row { weights: entry.name().to_owned(), state, bytes, url: entry.url() }
    });
    let rows: Vec<Row> = rows.filter(|row| !kept || row.state == "kept").collect();
    let mut out = io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, &rows)?,
        Format::Csv => csv_records(&mut out, &rows)?,
        Format::Text => {
            for Row { weights, state, bytes, url } in &rows {
                let size = bytes.map_or_else(String::new, megabytes);
                let state = if *state == "absent" { "" } else { state };
                writeln!(out, "{weights:<36} {state:<5} {size:>9}  {url}")?;
            }
        }
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// One line of what was verified.
#[derive(Serialize)]
struct Verdict {
    weights: String,
    sound: bool,
    path: String,
}

fn verify(hub: &Hub, names: &[String], format: Format) -> anyhow::Result<Outcome> {
    let mut verdicts = Vec::new();
    for (weights, entry) in chosen(hub, names)? {
        if names.is_empty() && !matches!(entry.state(), State::Kept(_)) {
            continue;
        }
        ensure_kept(&entry, &weights)?;
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
        Format::Csv => csv_records(&mut out, &verdicts)?,
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
