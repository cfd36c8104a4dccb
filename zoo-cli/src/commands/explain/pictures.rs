//! Pictures of channels and filters, and images that classes and channels respond to.

use std::fmt::Display;
use std::io::{Cursor, Write, stdout};
use std::path::Path;

use burn_zoo::explain::{Channels, DreamOptions, Filters, Objective, Response};
use burn_zoo::record::write_atomically;
use burn_zoo::{Model, counted};
use image::{ImageFormat, RgbImage};
use serde::Serialize;

use super::Args;
use crate::options::Format;
use crate::output::json_lines;
use crate::progress::steps_bar;

/// Writes a picture to the output folder, and returns its path.
pub(super) fn write_png(args: &Args, name: &str, picture: &RgbImage) -> anyhow::Result<String> {
    let path = args.output.join(format!("{name}.png"));
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    write_atomically(&path, |file| file.write_all(png.get_ref()))?;
    Ok(path.to_string_lossy().into_owned())
}

#[derive(Serialize)]
struct Maps<'a> {
    path: &'a str,
    maps: &'a str,
    channels: usize,
    height: usize,
    width: usize,
    /// The channels in the picture.
    shown: &'a [usize],
    picture: &'a str,
}

/// Draws the channels of a layer.
pub(super) fn maps(
    args: &Args,
    path: &Path,
    stem: &str,
    layer: &str,
    of: &Channels,
) -> anyhow::Result<()> {
    let picture = write_png(args, &format!("{stem}-maps-{layer}"), &of.grid())?;
    let path = path.to_string_lossy();
    let (channels, shown, [height, width]) = (of.iter().len(), of.shown(), of.size);
    let which = match shown.len() {
        shown if shown < channels => format!("the {shown} with the largest mean of "),
        _ => String::new(),
    };
    let row = Maps {
        path: &path,
        maps: layer,
        channels,
        height,
        width,
        shown: &shown,
        picture: &picture,
    };
    let text = format!(
        "{path}: {layer}: {which}{channels} channels of {height}x{width}, each scaled by its own range; {picture}"
    );
    print(args.format, &row, text)
}

#[derive(Serialize)]
struct FiltersRow<'a> {
    filters: usize,
    channels: usize,
    height: usize,
    width: usize,
    picture: &'a str,
}

/// Draws the filters of the first convolution.
pub(super) fn filters(args: &Args, of: &Filters) -> anyhow::Result<()> {
    let picture = write_png(args, "filters", &of.grid())?;
    let [filters, channels, height, width] = of.shape;
    let row = FiltersRow { filters, channels, height, width, picture: &picture };
    let text = format!(
        "{} of {height}x{width} and {}, each scaled by its own range; {picture}",
        counted(filters, "filter"),
        counted(channels, "channel")
    );
    print(args.format, &row, text)
}

#[derive(Serialize)]
struct DreamRow<'a> {
    dream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<usize>,
    steps: usize,
    seed: u64,
    start: Response,
    reached: Response,
    picture: &'a str,
}

/// Makes an image that a class or a channel responds to.
pub(super) fn dream(args: &Args, model: &mut Model, objective: Objective) -> anyhow::Result<()> {
    let options = DreamOptions { steps: args.steps, seed: args.seed };
    let bar = steps_bar(options.steps);
    let dream = model.dream(objective, &options, |step| bar.set_position(step as u64))?;
    bar.finish_and_clear();
    let picture = write_png(args, &format!("dream-{}", file_name(&dream.name)), &dream.image)?;
    let class = match objective {
        Objective::Class(class) => Some(class),
        Objective::Channel { .. } => None,
    };
    let row = DreamRow {
        dream: &dream.name,
        class,
        steps: args.steps,
        seed: args.seed,
        start: dream.start,
        reached: dream.reached,
        picture: &picture,
    };
    let text = |response: Response| match response.probability {
        Some(probability) => {
            format!("logit {:.2}, {:.1} %", response.value, 100.0 * probability)
        }
        None => format!("mean {:.3}", response.value),
    };
    let [start, reached] = [dream.start, dream.reached].map(text);
    print(args.format, &row, format!("{}: {reached}; at the start {start}; {picture}", dream.name))
}

/// A name with hyphens in place of characters that files should not have.
fn file_name(name: &str) -> String {
    let is_kept = |c: char| c.is_alphanumeric() || c == '.' || c == '_';
    let parts = name.split(|c: char| !is_kept(c)).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

fn print(format: Format, row: &impl Serialize, text: impl Display) -> anyhow::Result<()> {
    match format {
        Format::Json => json_lines(&mut stdout(), &[row]),
        _ => Ok(writeln!(stdout(), "{text}")?),
    }
}
