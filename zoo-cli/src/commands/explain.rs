//! `zoo explain`: shows which parts of images speak for a class, with [`Model::explain`](burn_zoo::Model::explain), and what the parts
//! of a network respond to.

mod check;
mod pictures;

use std::collections::HashMap;
use std::io::{Write, stdout};
use std::path::{Component, PathBuf};

use anyhow::{Context, ensure};
use burn_zoo::explain::{DreamOptions, ExplainOptions, Explanation, HeatMap, Layer, Method, Page};
use burn_zoo::record::write_atomically;
use burn_zoo::{Error, Model};
use clap::ValueEnum;
use image::RgbImage;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Serialize;

use crate::Outcome;
use crate::images::{ImagePaths, read};
use crate::options::{Format, ModelOptions, RunOptions, positive};
use crate::output::{json_lines, npy};
use crate::progress::images_bar;
use check::{Check, Random};

/// `zoo explain`
#[derive(Debug, clap::Args)]
#[command(mut_arg("paths", |path| path.required_unless_present_any(["filters", "dream"])))]
#[command(after_help = "\
The heat map is drawn on the whole photograph in the colors of Inferno: dark where nothing speaks for the class, bright where most \
does. The part that the network does not see is darkened. A map without positive values stays dark.

Methods: cam, grad-cam, grad-cam++, hires-cam, layer-cam, score-cam, occlusion, integrated-gradients. Those for segmenters are grad-cam, \
hires-cam and layer-cam; they explain the pixels that are predicted as the class.

--maps writes NAME-maps-LAYER.png: the channels of a layer, each scaled by its own range, at most the 256 with the largest mean.
--filters writes filters.png: the filters of the first convolution, each scaled by its own range, in gray unless they have three channels.
--dream writes dream-NAME.png, and prints the response to it beside that to the noise it started from.

Examples:
  zoo explain cat.jpg -o explained --method grad-cam,layer-cam --check
  zoo explain cat.jpg -o explained --maps stages.1
  zoo explain -o explained --filters --dream espresso --dream stages.4:17

Exit codes: 0 all images were explained, 1 some input was unusable, 2 failure.")]
pub(crate) struct Args {
    /// The images.
    #[command(flatten)]
    pub(crate) images: ImagePaths,

    /// The folder to write the pictures to
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: PathBuf,

    /// Options that choose the model.
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// The class, by its name, a part of its name, or its index [default: the most probable one; of a segmenter the most frequent one
    /// other than 0]
    #[arg(long, value_name = "NAME|N")]
    pub(crate) class: Option<String>,

    /// Methods [default: grad-cam, or none with --maps]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) method: Vec<Method>,

    /// Layers whose maps are weighed, by name; several are merged [default: the features, before pooling; of a segmenter the
    /// bottleneck]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) layer: Vec<String>,

    /// Draw the channels of these layers for each image
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) maps: Vec<String>,

    /// Draw the filters of the first convolution
    #[arg(long)]
    pub(crate) filters: bool,

    /// Make an image that a class or a channel of a layer responds to; can be repeated
    #[arg(long, value_name = "CLASS|LAYER:CHANNEL")]
    pub(crate) dream: Vec<String>,

    /// Number of steps of --dream
    #[arg(long, value_name = "N", default_value_t = DreamOptions::default().steps, value_parser = positive())]
    pub(crate) steps: usize,

    /// Seed of the noise that --dream starts from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Also write the values of each map
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) raw: Option<Raw>,

    /// Also print the areas under the deletion and insertion curves, beside those of a random map and of the distance to the center, and
    /// the rank correlation with the maps of networks with random weights
    #[arg(long)]
    pub(crate) check: bool,

    /// Write an HTML page with all photographs and heat maps
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Number of images in a batch, for methods that run the network many times
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive())]
    pub(crate) batch_size: usize,

    /// The format of the output
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// The format of raw values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Raw {
    /// NumPy's format
    Npy,
    /// Safetensors, with the tensor `map`
    Safetensors,
}

/// An explanation, or why there is none.
#[derive(Serialize)]
struct Line {
    path: String,
    #[serde(flatten)]
    explained: Option<Explained>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Explained {
    method: Method,
    class: usize,
    label: String,
    probability: f32,
    /// The share of a segmenter's pixels that are explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f32>,
    smallest: f32,
    largest: f32,
    peak_x: f64,
    peak_y: f64,
    picture: String,
    #[serde(flatten)]
    check: Option<Check>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    ensure!(
        args.format != Format::Csv
            || (args.maps.is_empty() && !args.filters && args.dream.is_empty()),
        "--format csv has only rows for heat maps\nhint: --format json also has rows for --maps, --filters and --dream"
    );
    let paths = args.images.collect()?;
    let mut model = args.model.load(&args.run.device()?)?;
    let class = args.class.as_deref().map(|text| model.class(text)).transpose()?;
    let layers = layers(&model, &args.layer)?;
    let maps: Vec<_> = args.maps.iter().zip(self::layers(&model, &args.maps)?).collect();
    let filters = if args.filters { Some(model.filters()?) } else { None };
    let objectives: Vec<_> =
        args.dream.iter().map(|text| model.objective(text)).collect::<Result<_, _>>()?;
    let methods = match args.method.is_empty() && maps.is_empty() {
        true => vec![Method::GradCam],
        false => args.method.clone(),
    };
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
    if let Some(filters) = filters {
        pictures::filters(args, &filters)?;
    }
    for objective in objectives {
        pictures::dream(args, &mut model, objective)?;
    }
    let mut random = match args.check && !paths.is_empty() {
        true => Some(Random::of(&model)?),
        false => None,
    };
    let bar = images_bar(paths.len());
    let mut table = csv::Writer::from_writer(stdout());
    if args.format == Format::Csv {
        table.write_record([
            "path",
            "method",
            "class",
            "label",
            "probability",
            "smallest",
            "largest",
            "peak_x",
            "peak_y",
            "picture",
        ])?;
    }
    let mut outcome = Outcome::Done;
    let mut checks = vec![Vec::new(); methods.len()];
    let mut page = Page::default();
    for (path, stem) in paths.iter().zip(stems(&paths)) {
        let name = path.to_string_lossy().into_owned();
        let mut fail = |error: String| {
            outcome = Outcome::SomeInputWasBad;
            bar.suspend(|| eprintln!("zoo: {name}: {error}"));
            Line { path: name.clone(), explained: None, error: Some(error) }
        };
        let image = read(path).map_err(Error::Bytes).and_then(|bytes| model.decode(&bytes));
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                let line = fail(error.to_string());
                bar.suspend(|| print(args.format, &mut table, line))?;
                bar.inc(1);
                continue;
            }
        };
        for (layer, found) in &maps {
            match model.channels(&image, *found) {
                Ok(channels) => {
                    bar.suspend(|| pictures::maps(args, path, &stem, layer, &channels))?
                }
                Err(error) => {
                    let line = fail(error.to_string());
                    bar.suspend(|| print(args.format, &mut table, line))?;
                }
            }
        }
        for (index, &method) in methods.iter().enumerate() {
            let options = ExplainOptions {
                method,
                class,
                layers: layers.clone(),
                batch_size: args.batch_size,
                ..ExplainOptions::default()
            };
            let line = match model.explain(&image, &options) {
                Ok(explanation) => {
                    let mut explained = write(args, &stem, &image, method, &explanation)?;
                    if let Some(random) = &mut random {
                        let check = random.check(&mut model, &image, &explanation, &options)?;
                        checks[index].push(check);
                        explained.check = Some(check);
                    }
                    if args.report.is_some() {
                        let notes = explained.check.iter().flat_map(Check::lines).collect();
                        page.add(&name, &image, method, &explanation, notes);
                    }
                    Line { path: name.clone(), explained: Some(explained), error: None }
                }
                Err(error) => fail(error.to_string()),
            };
            bar.suspend(|| print(args.format, &mut table, line))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    table.flush()?;
    if let Some(report) = &args.report {
        let html = page.html(&format!("What {} looks at", model.card().variant));
        write_atomically(report, |file| file.write_all(html.as_bytes()))?;
        eprintln!("report: {}", report.display());
    }
    if args.format == Format::Text {
        for (method, checks) in methods.iter().zip(checks).filter(|(_, checks)| checks.len() > 1) {
            let mean = Check::mean(&checks);
            writeln!(stdout(), "{method}, mean of {}:\n{mean}", checks.len())?;
        }
    }
    Ok(outcome)
}

/// The layers with these names.
fn layers(model: &Model, names: &[String]) -> Result<Vec<Layer>, Error> {
    names.iter().map(|name| model.layer(name)).collect()
}

/// Writes the files of an explanation.
fn write(
    args: &Args,
    stem: &str,
    image: &RgbImage,
    method: Method,
    explanation: &Explanation,
) -> anyhow::Result<Explained> {
    let Explanation { class, label, probability, pixels, map } = explanation;
    let name = format!("{stem}-{method}");
    let picture = pictures::write_png(args, &name, &map.overlay(image))?;
    if let Some(raw) = args.raw {
        let (bytes, extension) = match raw {
            Raw::Npy => (npy(&map.values, map.size), "npy"),
            Raw::Safetensors => (safetensors(map)?, "safetensors"),
        };
        let file = args.output.join(format!("{name}.{extension}"));
        write_atomically(&file, |file| file.write_all(&bytes))?;
    }
    let share = |pixels: &Vec<bool>| {
        pixels.iter().filter(|is_explained| **is_explained).count() as f32 / pixels.len() as f32
    };
    let [smallest, largest] = map.range();
    let [peak_x, peak_y] = map.peak();
    Ok(Explained {
        method,
        class: *class,
        label: label.clone(),
        probability: *probability,
        share: pixels.as_ref().map(share),
        smallest,
        largest,
        peak_x,
        peak_y,
        picture,
        check: None,
    })
}

/// The name of each image, without extension; `image` for standard input. Its pictures' names begin with it. Images with the same name
/// get their folders in front of it.
fn stems(paths: &[PathBuf]) -> Vec<String> {
    let short = |path: &PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.filter(|stem| stem != "-").unwrap_or_else(|| "image".to_owned())
    };
    let long = |path: &PathBuf| {
        let parts = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        });
        parts.collect::<Vec<_>>().join("-")
    };
    let mut counts = HashMap::new();
    for path in paths {
        *counts.entry(short(path)).or_insert(0) += 1;
    }
    paths
        .iter()
        .map(|path| if counts[&short(path)] > 1 { long(path) } else { short(path) })
        .collect()
}

/// The values as the tensor `map` of a safetensors file.
fn safetensors(map: &HeatMap) -> anyhow::Result<Vec<u8>> {
    let bytes: Vec<u8> = map.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, map.size.to_vec(), &bytes)?;
    Ok(safetensors::serialize([("map", view)], None)?)
}

fn print(
    format: Format,
    table: &mut csv::Writer<std::io::Stdout>,
    line: Line,
) -> anyhow::Result<()> {
    match (format, &line.explained) {
        (Format::Json, _) => json_lines(&mut stdout(), &[line])?,
        (_, None) => {}
        (Format::Csv, Some(it)) => {
            table.serialize((
                &line.path,
                it.method,
                it.class,
                &it.label,
                it.probability,
                it.smallest,
                it.largest,
                it.peak_x,
                it.peak_y,
                &it.picture,
            ))?;
        }
        (Format::Text, Some(it)) => {
            let evidence = match it.largest > 0.0 {
                true => format!("most at {:.0}, {:.0}", it.peak_x, it.peak_y),
                false => "nothing speaks for this class".to_owned(),
            };
            let Explained { label, picture, method, smallest, largest, .. } = it;
            let on = it.share.map(|share| format!(" on {:.1} % of the pixels", 100.0 * share));
            writeln!(
                stdout(),
                "{}: {label}, {:.1} %{}; {method}: {evidence}, values from {smallest:.3} to {largest:.3}; {picture}",
                line.path,
                100.0 * it.probability,
                on.unwrap_or_default()
            )?;
            if let Some(check) = &it.check {
                writeln!(stdout(), "{check}")?;
            }
        }
    }
    Ok(())
}
