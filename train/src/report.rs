//! Reports of runs and of evaluations, each as one self-contained HTML file.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use zoo_record::{ModelCard, write_atomically};
use zoo_report::{Axis, Chart, Html, Series, png};

use crate::task::{Evaluation, Task};
use crate::{Config, EpochRow, Error, Fitted, Images, TaskKind, confusion_image, duration};

mod classification;
mod segmentation;

pub(crate) use classification::classification;
pub(crate) use segmentation::segmentation;

/// The name of the report in a run's folder.
pub const REPORT: &str = "report.html";

/// With more classes than this, the confusion matrix is an image.
const MOST_CELLS: usize = 30;

/// The content of a report.
#[derive(Debug, Serialize)]
struct Report<'a> {
    title: String,
    facts: Vec<(String, &'static str)>,
    history: &'a [EpochRow],
    charts: Vec<Html>,
    /// The smoothing of the training targets, if the two losses are shown.
    smoothing: Option<f64>,
    has_iou: bool,
    config: String,
    #[serde(flatten)]
    results: Option<Results>,
}

/// The part of a report that shows an evaluation.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    classes: Vec<crate::ClassScore>,
    mistakes: Vec<classification::Mistake>,
    pixel_classes: Vec<segmentation::ClassRow>,
    examples: Vec<segmentation::ExampleRow>,
    confusion: Option<Confusion>,
}

/// A confusion matrix: a table, or an image if there are many classes.
#[derive(Debug, Default, Serialize)]
struct Confusion {
    names: Vec<String>,
    rows: Vec<Vec<Cell>>,
    picture: Option<String>,
}

#[derive(Debug, Serialize)]
struct Cell {
    count: usize,
    /// The share of its row, in `[0, 1]`.
    share: f64,
}

impl Confusion {
    fn new(names: Vec<String>, confusion: &[Vec<usize>]) -> Self {
        if names.len() > MOST_CELLS {
            let picture = png(&confusion_image(&names, confusion).into());
            return Self { picture: Some(picture), ..Self::default() };
        }
        let row = |counts: &Vec<usize>| {
            let total = counts.iter().sum::<usize>().max(1) as f64;
            counts.iter().map(|&count| Cell { count, share: count as f64 / total }).collect()
        };
        Self { names, rows: confusion.iter().map(row).collect(), picture: None }
    }
}

/// Writes the report of a run, with the evaluation of its best weights.
///
/// # Errors
///
/// When the file can't be written.
pub(crate) fn write_run<T: Task>(
    path: &Path,
    card: &ModelCard,
    config: &Config,
    fitted: &Fitted,
    evaluated: Option<(&T::Evaluation, &Images<T::Label>)>,
) -> Result<(), Error> {
    let mut facts = evaluated.map_or_else(Vec::new, |(evaluation, _)| facts(evaluation));
    facts.push((card.num_classes.to_string(), "classes"));
    match fitted.best_epoch {
        Some(0) => facts.push(("0".to_owned(), "epochs were better than the classifier alone")),
        Some(best) => facts.push((best.to_string(), "is the best epoch")),
        None => {}
    }
    if fitted.precompute_seconds >= 0.1 {
        facts.push((duration(fitted.precompute_seconds), "computing features"));
    }
    facts.push((duration(fitted.seconds), "in training steps"));
    let history = &fitted.history;
    let is_classification = config.data.task == TaskKind::Classify;
    let smoothing = if is_classification { config.recipe.label_smoothing } else { 0.0 };
    let report = Report {
        title: titled(card, config.data.path.as_deref()),
        facts,
        history,
        charts: charts(history),
        smoothing: history.iter().any(|row| row.val_loss.is_some()).then_some(smoothing),
        has_iou: history.iter().any(|row| row.val_mean_iou.is_some()),
        config: config.to_toml(),
        results: evaluated.map(|(evaluation, images)| T::results(evaluation, images)),
    };
    report.write(path)
}

/// Writes the report of an evaluation on the images at `data`.
///
/// # Errors
///
/// When the file can't be written.
pub fn write_evaluation<T: Task>(
    path: &Path,
    card: &ModelCard,
    data: &str,
    evaluation: &T::Evaluation,
    images: &Images<T::Label>,
) -> Result<(), Error> {
    let report = Report {
        title: titled(card, Some(data)),
        facts: facts(evaluation),
        history: &[],
        charts: Vec::new(),
        smoothing: None,
        has_iou: false,
        config: String::new(),
        results: Some(T::results(evaluation, images)),
    };
    report.write(path)
}

impl Report<'_> {
    fn write(&self, path: &Path) -> Result<(), Error> {
        let html = zoo_report::page(include_str!("report/page.html"), self);
        Ok(write_atomically(path, |file| file.write_all(html.as_bytes()))?)
    }
}

fn titled(card: &ModelCard, data: Option<&str>) -> String {
    match data {
        Some(path) => format!("{} on {path}", card.variant),
        None => card.variant.clone(),
    }
}

fn facts(evaluation: &impl Evaluation) -> Vec<(String, &'static str)> {
    let mut facts = evaluation.facts();
    facts.push((evaluation.images().to_string(), "validation images"));
    if evaluation.unreadable() > 0 {
        facts.push((evaluation.unreadable().to_string(), "of them can't be read"));
    }
    facts
}

/// Loss and accuracy over the epochs, and the mean IoU if there is one.
fn charts(history: &[EpochRow]) -> Vec<Html> {
    let series = |name: &str, value: fn(&EpochRow) -> Option<f64>| {
        let points = history.iter().filter_map(|row| Some((row.epoch as f64, value(row)?)));
        Series::line(name, points)
    };
    let epochs = || Axis::new("epoch").whole();
    let share = |name: &str| Axis::new(name).from_zero().percent();
    let has_iou = history.iter().any(|row| row.val_mean_iou.is_some());
    let accuracy = if has_iou { "Pixel accuracy" } else { "Accuracy" };
    let charts = [
        Chart::new("Loss", epochs(), Axis::new("loss").from_zero())
            .with(series("training", |row| Some(row.train_loss)))
            .with(series("validation", |row| row.val_loss)),
        Chart::new(accuracy, epochs(), share(accuracy))
            .with(series("training", |row| Some(row.train_accuracy)))
            .with(series("validation", |row| row.val_accuracy)),
        Chart::new("Mean IoU", epochs(), share("mean IoU"))
            .with(series("validation", |row| row.val_mean_iou)),
    ];
    charts.iter().map(Chart::html).filter(|html| *html != Html::default()).collect()
}

/// Returns the name of an image's file without its folders.
fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or(path.into(), |name| name.to_string_lossy()).into_owned()
}
