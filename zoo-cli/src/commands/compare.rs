//! `zoo compare`: compares models in accuracy, speed and size, with [`burn_zoo::compare`].

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use burn::tensor::Device;
use burn_zoo::compare::{CompareOptions, Compared, Comparison, Subject, compare};
use burn_zoo::record::{Precision, Record, write_atomically};
use burn_zoo::search::Limits;
use burn_zoo::{Model, models};
use clap::ValueEnum;

use crate::Outcome;
use crate::options::{Format, RunOptions, bytes, load, positive, time};
use crate::output::{csv_table, json_lines};
use crate::progress::Bars;

/// `zoo compare`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A MODEL is a name, a record or a checkpoint: mobilenet_v2, model.bpk, resnet50.pth. MODEL@SIZE gives it images of another size:
mobilenet_v2@160. Without --data, names get random weights, which are as fast as trained ones.

The models run in turn, so that a busy minute of the machine concerns all of them. Images that one of them was trained on are left out.

Exit codes: 0 done, 1 some input was unusable or no model meets the limits, 2 failure.")]
pub(crate) struct Args {
    /// The models
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<String>,

    /// Labeled images, as for `zoo eval`
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,

    /// Sizes of the images in pixels; each model is compared at each of them
    #[arg(long, value_name = "PIXELS", value_delimiter = ',', value_parser = positive())]
    pub(crate) size: Vec<usize>,

    /// Precisions of the weights; each model is compared in each of them
    #[arg(long, value_enum, value_name = "PRECISIONS", value_delimiter = ',')]
    pub(crate) precision: Vec<Stored>,

    /// Longest time for one image on this machine: 5ms
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) max_latency: Option<Duration>,

    /// Largest size of the weights: 4MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,

    /// Largest memory for one image, weights and activations: 20MB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max_memory: Option<u64>,

    /// Write the comparison as an HTML page
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Longest time in which the speed is measured
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) time: Duration,

    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// The format of the output
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// The precision in which weights are stored. The arithmetic has 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stored {
    /// 32 bits
    Single,
    /// 16 bits
    Half,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(report) = &args.report {
        // A comparison takes minutes, so a wrong path is found now.
        let folder = report.parent().filter(|folder| !folder.as_os_str().is_empty());
        ensure!(
            folder.is_none_or(Path::is_dir) && !report.is_dir(),
            "cannot write {}\nhint: --report takes a file in a folder that exists",
            report.display()
        );
    }
    let subjects = subjects(args)?;
    let options = CompareOptions {
        data: args.data.clone(),
        limits: Limits {
            latency_ms: args.max_latency.map(|time| time.as_secs_f64() * 1e3),
            size: args.max_size,
            memory: args.max_memory,
        },
        seconds: args.time.as_secs_f64(),
        disagreements: if args.report.is_some() { 24 } else { 0 },
    };
    let comparison = compare(subjects, &options, &mut Bars::default())?;
    if let Some(report) = &args.report {
        let page = comparison.page();
        write_atomically(report, |file| file.write_all(page.as_bytes()))?;
        eprintln!("report: {}", report.display());
    }
    let mut out = stdout().lock();
    match args.format {
        Format::Json => json_lines(&mut out, &[&comparison])?,
        Format::Csv => csv_table(&mut out, &[], &comparison.models)?,
        Format::Text => write(&mut out, &comparison)?,
    }
    let is_met = comparison.recommendation.model.is_some();
    Ok(if is_met { Outcome::Done } else { Outcome::SomeInputWasBad })
}

/// Loads each model in each size and precision.
fn subjects(args: &Args) -> anyhow::Result<Vec<Subject>> {
    let device = args.run.device()?;
    let sizes = match args.size[..] {
        [] => vec![None],
        ref sizes => sizes.iter().copied().map(Some).collect(),
    };
    let precisions = match args.precision[..] {
        [] => vec![None],
        ref precisions => precisions.iter().copied().map(Some).collect(),
    };
    let mut subjects = Vec::new();
    for text in &args.models {
        let (source, own_size) = split(text)?;
        let sizes = if own_size.is_some() { vec![own_size] } else { sizes.clone() };
        for size in &sizes {
            for precision in &precisions {
                let start = Instant::now();
                let (mut model, mut file_bytes) = open(source, args.data.is_some(), &device)?;
                let load_ms = start.elapsed().as_secs_f64() * 1e3;
                let mut name = shown(source, &args.models);
                if let Some(precision) = precision {
                    (model, file_bytes) = stored(&model, *precision, &device)?;
                }
                if let Some(size) = size {
                    model = model.with_image_size(*size);
                    name += &format!("@{size}");
                }
                if *precision == Some(Stored::Half) {
                    name += " (half)";
                }
                subjects.push(Subject { name, model, load_ms, file_bytes });
            }
        }
    }
    Ok(subjects)
}

/// The model and the image size of `MODEL@SIZE`.
fn split(text: &str) -> anyhow::Result<(&str, Option<usize>)> {
    let Some((model, size)) = text.rsplit_once('@').filter(|_| !Path::new(text).exists()) else {
        return Ok((text, None));
    };
    let size = size.parse().ok().filter(|size| (1..=4096).contains(size));
    let size = size.with_context(|| {
        format!("`{text}` has no size in pixels after the @\nhint: such as {model}@160")
    })?;
    Ok((model, Some(size)))
}

/// The name of a model in the comparison: of a file the one without its folders, if no other file has the same.
fn shown(source: &str, all: &[String]) -> String {
    let short = |text: &str| {
        let name = Path::new(text).file_name().map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| text.to_owned())
    };
    let same = |text: &&String| {
        split(text).is_ok_and(|(other, _)| other != source && short(other) == short(source))
    };
    match Path::new(source).exists() && !all.iter().any(|text| same(&text)) {
        true => short(source),
        false => source.to_owned(),
    }
}

/// Opens a file or a name, and returns the size of the file. A name gets random weights if there are no images to classify.
fn open(source: &str, has_data: bool, device: &Device) -> anyhow::Result<(Model, Option<u64>)> {
    let path = Path::new(source);
    if path.exists() {
        let bytes = path.metadata().ok().filter(|it| it.is_file()).map(|it| it.len());
        return Ok((load(None, Some(path), device)?, bytes));
    }
    let is_path = source.contains(['/', '\\']) || path.extension().is_some_and(|it| it == "bpk");
    ensure!(!is_path, "there is no file {source}");
    if has_data {
        return Ok((load(Some(source), None, device)?, None));
    }
    let name = models::published(source)?.0.name;
    Ok((Model::for_benchmark(name, device)?, None))
}

/// The model with weights as a record of this precision has them, and the size of that record.
fn stored(
    model: &Model,
    precision: Stored,
    device: &Device,
) -> anyhow::Result<(Model, Option<u64>)> {
    let precision = match precision {
        Stored::Single => Precision::Single,
        Stored::Half => Precision::Half,
    };
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let path = folder.path().join("model.bpk");
    let (network, images) = (model.network().clone(), model.training_images());
    Record::save_trained(network, model.card(), images, precision, &path)?;
    // Weights are read when they are needed, and the folder is gone then.
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let size = bytes.len() as u64;
    Ok((Model::from_bytes(bytes, device)?, Some(size)))
}

/// Writes the table for people.
fn write(out: &mut impl Write, comparison: &Comparison) -> anyhow::Result<()> {
    let models = &comparison.models;
    let has_accuracy = comparison.data.is_some();
    let accuracy: &[&str] = if has_accuracy { &["top-1", "95 % interval", "top-5"] } else { &[] };
    let speed =
        ["ms", "p90", "ms for 8", "images/s", "memory MB", "weights MB", "params M", "GMACs"];
    let head = ["model"].iter().chain(accuracy).chain(&speed).map(|name| (*name).to_owned());
    let mut rows = vec![head.collect()];
    rows.extend(models.iter().map(row));
    write_columns(out, &rows)?;
    if !comparison.pairs.is_empty() {
        writeln!(
            out,
            "\nimages that only one of two models classifies correctly (McNemar's test)"
        )?;
    }
    for pair in &comparison.pairs {
        let [first, second] = pair.models.map(|index| &models[index].name);
        let (only_first, only_second, p) = (pair.only_first, pair.only_second, pair.p);
        writeln!(out, "  only {first}: {only_first}, only {second}: {only_second}, p = {p:.3}")?;
    }
    for model in models {
        if let Some(exceeds) = &model.exceeds {
            writeln!(out, "{} is beyond a limit: {exceeds}", model.name)?;
        }
    }
    let first = &models[0].preprocess;
    if models.iter().any(|model| model.preprocess != *first) {
        writeln!(out, "\nthe models prepare images differently")?;
        for model in models {
            writeln!(out, "  {}: {}", model.name, model.preprocess)?;
        }
    }
    if comparison.left_out > 0 {
        writeln!(
            out,
            "\n{} images are left out, because a model was trained on them",
            comparison.left_out
        )?;
    }
    writeln!(out, "\n{}", comparison.recommendation.sentence)?;
    Ok(())
}

fn row(model: &Compared) -> Vec<String> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let mut cells = vec![model.name.clone()];
    if let (Some(top1), Some(low), Some(high), Some(top5)) =
        (model.top1, model.top1_low, model.top1_high, model.top5)
    {
        let interval = format!("{:.1} to {}", 100.0 * low, percent(high));
        cells.extend([percent(top1), interval, percent(top5)]);
    }
    cells.extend([
        format!("{:.2}", model.latency_ms),
        format!("{:.2}", model.latency_p90_ms),
        format!("{:.2}", model.batch8_ms),
        format!("{:.0}", model.images_per_s),
        model.memory_bytes.map_or_else(|| "-".to_owned(), megabytes),
        megabytes(model.file_bytes),
        format!("{:.2}", model.params as f64 / 1e6),
        format!("{:.3}", model.macs as f64 / 1e9),
    ]);
    cells
}

/// Writes rows in columns as wide as their widest cell. All but the first one are aligned at the right.
fn write_columns(out: &mut impl Write, rows: &[Vec<String>]) -> anyhow::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        write!(out, "{:<1$}", row[0], widths[0])?;
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
