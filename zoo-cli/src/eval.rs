//! `zoo eval`: how good a model is on images whose classes are known.

use std::io::{Cursor, Write};

use anyhow::ensure;
use image::ImageFormat;
use zoo_import::write_atomically;
use zoo_train::{
    Batching, Budget, ClassScore, Dataset, Evaluation, Event, Images, Observer, evaluate,
};

use crate::args::{Eval, Format};
use crate::bars::Bars;
use crate::output::{csv_records, json_lines};
use crate::runner::ensure_held;
use crate::{Outcome, device, model};

/// Runs the command.
pub fn run(args: &Eval) -> anyhow::Result<Outcome> {
    let device = device::of(&args.run)?;
    let model = model::load(&args.model, &device)?;
    ensure_held(&model.network, args.run.backend)?;
    let labels = model.card.labels;
    ensure!(
        !labels.is_empty(),
        "the model does not know what its classes are called\n\
         hint: `zoo import --labels FILE` gives them names"
    );
    let dataset = Dataset::open_for(&args.data, &labels)?;
    let mut bars = Bars::default();
    for warning in &dataset.warnings {
        bars.on(&Event::Warning(warning));
    }
    let network = model.network.into_classifier()?;
    // Each image is seen once; none has to be kept.
    let images = Images::new(dataset.val, model.card.preprocess, &Budget::mib(0));
    let batching = Batching {
        batch_size: args.batch_size,
        workers: device::threads(),
        engine_threads: args.run.backend.engine_threads(),
    };
    let evaluation = evaluate(&network, &images, &labels, batching, &device, &mut bars);
    for complaint in images.complaints() {
        eprintln!("zoo: {complaint}");
    }
    let evaluation = evaluation?;
    if let Some(path) = &args.confusion {
        let mut png = Cursor::new(Vec::new());
        evaluation.confusion_image().write_to(&mut png, ImageFormat::Png)?;
        write_atomically(path, |file| file.write_all(png.get_ref()))?;
    }
    print(&evaluation, args.format)?;
    Ok(if evaluation.unreadable > 0 { Outcome::SomeInputWasBad } else { Outcome::Done })
}

fn print(evaluation: &Evaluation, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, &[evaluation])?,
        Format::Csv => csv_records(&mut out, &evaluation.classes)?,
        Format::Text => write!(out, "{}", text(evaluation))?,
    }
    Ok(())
}

/// Results for people.
fn text(evaluation: &Evaluation) -> String {
    let is_answer = |class: usize| evaluation.confusion.iter().any(|row| row[class] > 0);
    let classes = evaluation.classes.iter().enumerate();
    let seen = classes.filter(|(class, score)| score.images > 0 || is_answer(*class));
    let seen: Vec<_> = seen.map(|(_, score)| score).collect();
    let width = width(seen.iter().copied());
    let mut text = format!(
        "{} images: top-1 {:.2} %, top-5 {:.2} %, loss {:.4}\n\n{:width$}  images  precision  recall     F1\n",
        evaluation.images,
        100.0 * evaluation.top1,
        100.0 * evaluation.top5,
        evaluation.loss,
        "class",
    );
    for class in &seen {
        text += &format!(
            "{:width$}  {:6}  {:7.1} %  {:4.1} %  {:5.3}\n",
            class.name,
            class.images,
            100.0 * class.precision,
            100.0 * class.recall,
            class.f1,
        );
    }
    let others = evaluation.classes.len() - seen.len();
    if others > 0 {
        text +=
            &format!("{others} classes are left out: no image is of them or was taken for them\n");
    }
    if evaluation.classes.len() <= 30 {
        let width = self::width(evaluation.classes.iter());
        text += "\nwhat is (row) and what it was taken for (column)\n";
        for (class, row) in evaluation.classes.iter().zip(&evaluation.confusion) {
            text += &format!("{:width$}", class.name);
            for count in row {
                text += &format!(" {count:4}");
            }
            text += "\n";
        }
    }
    text
}

/// How many characters a column of names takes.
fn width<'a>(classes: impl Iterator<Item = &'a ClassScore>) -> usize {
    classes.map(|class| class.name.chars().count()).max().unwrap_or_default().max(5)
}
