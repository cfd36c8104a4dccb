//! `zoo explain`: shows which parts of images speak for a class, with [`Model::explain`](burn_zoo::Model::explain).

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context;
use burn_zoo::explain::{ExplainOptions, Explanation, HeatMap, Layer, Method, Order};
use burn_zoo::record::write_atomically;
use burn_zoo::{Error, Model};
use clap::ValueEnum;
use image::{ImageFormat, RgbImage};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Serialize;

use crate::Outcome;
use crate::images::{ImagePaths, read};
use crate::options::{Format, ModelOptions, RunOptions, positive};
use crate::output::{json_lines, npy};
use crate::progress::images_bar;

/// `zoo explain`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The heat map is drawn on the whole photograph in the colors of Inferno: dark where nothing speaks for the class, bright where most
does. The part that the network does not see is darkened. A map without positive values stays dark.

Methods: cam, grad-cam, grad-cam++, hires-cam, layer-cam, score-cam, occlusion, integrated-gradients.

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

    /// The class, by its name, a part of its name, or its index [default: the most probable one]
    #[arg(long, value_name = "NAME|N")]
    pub(crate) class: Option<String>,

    /// Methods
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "grad-cam")]
    pub(crate) method: Vec<Method>,

    /// Layers whose maps are weighed, by name; several are merged [default: the features, before pooling]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) layer: Vec<String>,

    /// Also write the values of each map
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) raw: Option<Raw>,

    /// Also print the areas under the deletion and insertion curves, beside those of a random map and of the distance to the center
    #[arg(long)]
    pub(crate) check: bool,

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
    smallest: f32,
    largest: f32,
    peak_x: f64,
    peak_y: f64,
    picture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    areas: Option<Areas>,
}

/// The areas under the curves of an order of pixels.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Areas {
    deletion: f32,
    insertion: f32,
    random_deletion: f32,
    random_insertion: f32,
    center_deletion: f32,
    center_insertion: f32,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let paths = args.images.collect()?;
    let mut model = args.model.load(&args.run.device()?)?;
    let class = args.class.as_deref().map(|text| model.class(text)).transpose()?;
    let layers = layers(&model, &args.layer)?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
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
    let mut sums = vec![(0, Areas::default()); args.method.len()];
    for path in &paths {
        let name = path.to_string_lossy().into_owned();
        let image = read(path).map_err(Error::Bytes).and_then(|bytes| model.decode(&bytes));
        for (index, &method) in args.method.iter().enumerate() {
            let options = ExplainOptions {
                method,
                class,
                layers: layers.clone(),
                batch_size: args.batch_size,
            };
            let explained = match &image {
                Ok(image) => model.explain(image, &options).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let line = match explained {
                Ok(explanation) => {
                    let image = image.as_ref().expect("it was explained");
                    let explained = write(args, &mut model, path, image, method, &explanation)?;
                    if let Some(areas) = explained.areas {
                        sums[index].0 += 1;
                        sums[index].1.add(areas);
                    }
                    Line { path: name.clone(), explained: Some(explained), error: None }
                }
                Err(error) => {
                    outcome = Outcome::SomeInputWasBad;
                    bar.suspend(|| eprintln!("zoo: {name}: {error}"));
                    Line { path: name.clone(), explained: None, error: Some(error) }
                }
            };
            let failed = line.error.is_some();
            bar.suspend(|| print(args.format, &mut table, line))?;
            if failed && image.is_err() {
                break;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    table.flush()?;
    if args.format == Format::Text {
        for (method, (count, areas)) in args.method.iter().zip(sums).filter(|(_, (n, _))| *n > 1) {
            writeln!(stdout(), "{method}, mean of {count}: {}", areas.divided(count).text())?;
        }
    }
    Ok(outcome)
}

/// The layers with these names.
fn layers(model: &Model, names: &[String]) -> anyhow::Result<Vec<Layer>> {
    let known = model.layers();
    if names.is_empty() {
        return Ok(vec![Layer::Features]);
    }
    let layer = |name: &String| {
        let found = known.iter().find(|(known, _)| known == name);
        found.map(|(_, layer)| *layer).ok_or_else(|| {
            let layers: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
            Error::NoSuchLayer {
                network: model.card().variant.clone(),
                layer: name.clone(),
                layers: layers.join(", "),
            }
        })
    };
    Ok(names.iter().map(layer).collect::<Result<_, _>>()?)
}

/// Writes the files of an explanation.
fn write(
    args: &Args,
    model: &mut Model,
    path: &Path,
    image: &RgbImage,
    method: Method,
    explanation: &Explanation,
) -> anyhow::Result<Explained> {
    let Explanation { class, label, probability, map } = explanation;
    let stem = path.file_stem().map_or("image".into(), |stem| stem.to_string_lossy());
    let stem = if stem == "-" { "image".into() } else { stem };
    let file = |extension: &str| args.output.join(format!("{stem}-{method}.{extension}"));
    let picture = file("png");
    let mut png = std::io::Cursor::new(Vec::new());
    map.overlay(image).write_to(&mut png, ImageFormat::Png)?;
    write_atomically(&picture, |file| file.write_all(png.get_ref()))?;
    if let Some(raw) = args.raw {
        let bytes = match raw {
            Raw::Npy => npy(&map.values, map.size),
            Raw::Safetensors => safetensors(map)?,
        };
        let extension = if raw == Raw::Npy { "npy" } else { "safetensors" };
        write_atomically(&file(extension), |file| file.write_all(&bytes))?;
    }
    let areas = match args.check {
        false => None,
        true => {
            let side = model.preprocess().crop as usize;
            let mut areas = |order: &Order| -> anyhow::Result<[f32; 2]> {
                let deletion = model.deletion(image, *class, order)?.area();
                Ok([deletion, model.insertion(image, *class, order)?.area()])
            };
            let [deletion, insertion] = areas(&Order::of_map(map, side))?;
            let [random_deletion, random_insertion] = areas(&Order::of_random_map(map, side, 0))?;
            let [center_deletion, center_insertion] = areas(&Order::from_center(side))?;
            Some(Areas {
                deletion,
                insertion,
                random_deletion,
                random_insertion,
                center_deletion,
                center_insertion,
            })
        }
    };
    let [smallest, largest] = map.range();
    let [peak_x, peak_y] = map.peak();
    Ok(Explained {
        method,
        class: *class,
        label: label.clone(),
        probability: *probability,
        smallest,
        largest,
        peak_x,
        peak_y,
        picture: picture.to_string_lossy().into_owned(),
        areas,
    })
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
            writeln!(
                stdout(),
                "{}: {label}, {:.1} %; {method}: {evidence}, values from {smallest:.3} to {largest:.3}; {picture}",
                line.path,
                100.0 * it.probability
            )?;
            if let Some(areas) = it.areas {
                writeln!(stdout(), "  {}", areas.text())?;
            }
        }
    }
    Ok(())
}

impl Areas {
    fn all(&mut self) -> [&mut f32; 6] {
        [
            &mut self.deletion,
            &mut self.insertion,
            &mut self.random_deletion,
            &mut self.random_insertion,
            &mut self.center_deletion,
            &mut self.center_insertion,
        ]
    }

    fn add(&mut self, mut other: Self) {
        self.all().into_iter().zip(other.all()).for_each(|(sum, area)| *sum += *area);
    }

    fn divided(mut self, count: usize) -> Self {
        self.all().into_iter().for_each(|area| *area /= count as f32);
        self
    }

    fn text(self) -> String {
        format!(
            "area under deletion {:.3} (random {:.3}, center {:.3}), under insertion {:.3} (random {:.3}, center {:.3})",
            self.deletion,
            self.random_deletion,
            self.center_deletion,
            self.insertion,
            self.random_insertion,
            self.center_insertion
        )
    }
}
