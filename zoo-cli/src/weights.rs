//! `zoo weights`: published weights and their records on this machine.

use std::io::{self, Write};
use std::path::Path;

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use zoo_core::Variant;
use zoo_import::{Checkpoint, Choice, Entry, Event, Precision, Record, State, Store};
use zoo_models::{Config, VARIANTS};

use crate::Outcome;
use crate::args::{Format, Weights, WeightsCommand};
use crate::device::Backend;
use crate::model::{EMBEDDED, from_checkpoint, with_weights};
use crate::output::{csv_records, json_lines};

/// Runs the command.
pub fn run(args: &Weights) -> anyhow::Result<Outcome> {
    let store = Store::from_env()?;
    match &args.command {
        WeightsCommand::List { kept, format } => list(&store, *kept, *format)?,
        WeightsCommand::Pull { names } => {
            for name in names {
                let entry = entry(&store, name)?;
                pull(&entry, name)?;
                writeln!(io::stdout(), "{}", entry.path().display())?;
            }
        }
        WeightsCommand::Path { name: None } => {
            writeln!(io::stdout(), "{}", store.folder().display())?;
        }
        WeightsCommand::Path { name: Some(name) } => {
            let entry = entry(&store, name)?;
            ensure_kept(&entry, name)?;
            writeln!(io::stdout(), "{}", entry.path().display())?;
        }
        WeightsCommand::Verify { names, format } => return verify(&store, names, *format),
        WeightsCommand::Remove { names, all: _ } => {
            for (name, entry) in chosen(&store, names)? {
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

/// The record of published weights, which are downloaded when they are not on this machine.
pub fn record(variant: &Variant<Config>, weights: &zoo_core::Weights) -> anyhow::Result<Record> {
    let store = Store::from_env()?;
    let entry = store.entry(variant.name, weights);
    // A record that is there is not made anew without being asked for: it may be the disk.
    if !matches!(entry.state(), State::Kept(_)) {
        pull(&entry, &format!("{}.{}", variant.name, weights.tag))?;
    }
    Ok(entry.open()?)
}

fn pull(entry: &Entry<'_>, name: &str) -> anyhow::Result<()> {
    let mut bar = None;
    entry.pull(
        |event| match event {
            Event::Waiting => eprintln!("another process is pulling {name}; waiting for it"),
            Event::Downloading { url, received, total } => {
                let bar = bar.get_or_insert_with(|| {
                    eprintln!("downloading {url}");
                    progress_bar(total, received)
                });
                bar.set_position(received);
            }
            Event::Importing => {
                if let Some(bar) = &bar {
                    bar.finish_and_clear();
                }
            }
        },
        |checkpoint, record| import(name, checkpoint, record),
    )
}

/// Bytes for a terminal; nothing is drawn elsewhere.
fn progress_bar(total: Option<u64>, received: u64) -> ProgressBar {
    let style = match total {
        Some(_) => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{spinner} {bytes}, {bytes_per_sec}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
    // What was here before does not count into the speed.
    bar.set_position(received);
    bar.reset_eta();
    bar
}

fn import(name: &str, checkpoint: &Path, record: &Path) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::open(checkpoint)?;
    let device = Backend::Cpu.device()?;
    let (model, _) = from_checkpoint(&checkpoint, Some(name), None, &Choice::default(), &device)?;
    Ok(Record::save(model.network, &model.card, Precision::Single, record)?)
}

fn entry<'s>(store: &'s Store, name: &str) -> anyhow::Result<Entry<'s>> {
    let (variant, weights) = with_weights(name)?;
    ensure!(
        variant.name != EMBEDDED,
        "the weights of {EMBEDDED} are compiled into zoo, they need no file\nhint: `zoo classify` uses them \
         without --model"
    );
    Ok(store.entry(variant.name, weights))
}

fn ensure_kept(entry: &Entry<'_>, name: &str) -> anyhow::Result<()> {
    ensure!(
        matches!(entry.state(), State::Kept(_)),
        "{name} is not on this machine\nhint: `zoo weights pull {name}` downloads it"
    );
    Ok(())
}

/// The entries with certain names, or all of which anything is here.
fn chosen<'s>(store: &'s Store, names: &[String]) -> anyhow::Result<Vec<(String, Entry<'s>)>> {
    if names.is_empty() {
        let here = published(store).filter(|(_, _, entry)| entry.state() != State::Absent);
        return Ok(here.map(|(name, _, entry)| (name, entry)).collect());
    }
    names.iter().map(|name| Ok((name.clone(), entry(store, name)?))).collect()
}

/// All published weights but those that are compiled in: name, URL and place.
fn published(store: &Store) -> impl Iterator<Item = (String, &'static str, Entry<'_>)> {
    VARIANTS.iter().filter(|variant| variant.name != EMBEDDED).flat_map(|variant| {
        variant.weights.iter().map(|weights| {
            let name = format!("{}.{}", variant.name, weights.tag);
            (name, weights.url, store.entry(variant.name, weights))
        })
    })
}

/// One line of the list.
#[derive(Serialize)]
struct Row {
    weights: String,
    state: &'static str,
    bytes: Option<u64>,
    url: &'static str,
}

fn list(store: &Store, kept: bool, format: Format) -> anyhow::Result<()> {
    let rows = published(store).map(|(weights, url, entry)| {
        let (state, bytes) = match entry.state() {
            State::Absent => ("absent", None),
            State::Begun(bytes) => ("begun", Some(bytes)),
            State::Kept(bytes) => ("kept", Some(bytes)),
        };
        Row { weights, state, bytes, url }
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

fn verify(store: &Store, names: &[String], format: Format) -> anyhow::Result<Outcome> {
    let mut verdicts = Vec::new();
    for (weights, entry) in chosen(store, names)? {
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
