//! A report of a run as one self-contained HTML file.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, RgbImage};
use zoo_record::{ModelCard, write_atomically};

use crate::observer::percent;
use crate::task::Evaluation;
use crate::{Config, EpochRow, Error, Fitted, Images, Task, confusion_image, duration};

mod chart;
mod classification;
mod segmentation;

pub(crate) use classification::classification;
pub(crate) use segmentation::segmentation;

/// The name of the report in a run's folder.
pub const REPORT: &str = "report.html";

/// With more classes than this, the confusion matrix is an image.
const MOST_CELLS: usize = 30;

/// The content of a report.
pub(crate) struct Report<'a, T: Task> {
    /// The card of the network.
    pub(crate) card: &'a ModelCard,
    /// The configuration of the run.
    pub(crate) config: &'a Config,
    /// The history of the training.
    pub(crate) fitted: &'a Fitted,
    /// The evaluation of the best weights, and its images.
    pub(crate) evaluated: Option<(&'a T::Evaluation, &'a Images<T::Label>)>,
}

impl<T: Task> Report<'_, T> {
    /// Writes the report.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let html = self.html();
        Ok(write_atomically(path, |file| file.write_all(html.as_bytes()))?)
    }

    /// Returns the report as text.
    fn html(&self) -> String {
        let results = self.evaluated.map(|(evaluation, images)| T::report(evaluation, images));
        let title = match &self.config.data.path {
            Some(path) => format!("{} on {path}", self.card.variant),
            None => self.card.variant.clone(),
        };
        let history = &self.fitted.history;
        include_str!("report.html")
            .replace("{{title}}", &escape(&title))
            .replace("{{facts}}", &self.facts())
            .replace("{{curves}}", &chart::curves(history))
            .replace("{{losses}}", &losses(self.config, history))
            .replace("{{results}}", &results.unwrap_or_default())
            .replace("{{epochs}}", &epochs(history))
            .replace("{{config}}", &escape(&self.config.to_toml()))
    }

    fn facts(&self) -> String {
        let mut facts = Vec::new();
        if let Some((evaluation, _)) = self.evaluated {
            facts.extend(evaluation.facts());
            facts.push((evaluation.images().to_string(), "validation images"));
            if evaluation.unreadable() > 0 {
                facts.push((evaluation.unreadable().to_string(), "of them can't be read"));
            }
        }
        facts.push((self.card.num_classes.to_string(), "classes"));
        match self.fitted.best_epoch {
            Some(0) => facts.push(("0".to_owned(), "epochs were better than the classifier alone")),
            Some(best) => facts.push((best.to_string(), "is the best epoch")),
            None => {}
        }
        if self.fitted.precompute_seconds >= 0.1 {
            facts.push((duration(self.fitted.precompute_seconds), "computing features"));
        }
        facts.push((duration(self.fitted.seconds), "in training steps"));
        facts.iter().fold(String::new(), |mut html, (number, what)| {
            let _ = write!(html, "<div class=\"fact\"><b>{number}</b> {what}</div>");
            html
        })
    }
}

/// Explains why the training loss and the validation loss can't be compared directly.
fn losses(config: &Config, history: &[EpochRow]) -> String {
    if history.iter().all(|row| row.val_loss.is_none()) {
        return String::new();
    }
    let smoothing = config.recipe.label_smoothing;
    let is_smoothed = smoothing > 0.0 && config.data.task == crate::TaskKind::Classify;
    let smoothed = match is_smoothed {
        true => format!(
            " Its targets are smoothed (<code>recipe.label_smoothing</code> is {smoothing}), those of \
             the validation loss are not: with smoothing, a loss of 0 can't be reached."
        ),
        false => String::new(),
    };
    format!(
        "<p class=\"note\">The training loss is of randomly changed images, while weights are still \
         moving.{smoothed} So it may lie above the validation loss.</p>"
    )
}

/// Shows the confusion matrix as a table, or as an image for many classes.
fn confusion<'a>(names: impl Iterator<Item = &'a String>, confusion: &[Vec<usize>]) -> String {
    let mut html = "<h2>Confusion matrix (rows: true, columns: predicted)</h2>".to_owned();
    let names: Vec<String> = names.cloned().collect();
    if names.len() > MOST_CELLS {
        let picture = png(&confusion_image(&names, confusion).into());
        let _ = write!(html, "<img id=\"confusion\" alt=\"confusion matrix\" src=\"{picture}\">");
        return html;
    }
    html += "<table id=\"confusion\"><thead><tr><th></th>";
    for name in &names {
        let _ = write!(html, "<th>{}</th>", escape(name));
    }
    html += "</tr></thead><tbody>";
    for (row, (name, counts)) in names.iter().zip(confusion).enumerate() {
        let _ = write!(html, "<tr><th>{}</th>", escape(name));
        let total = counts.iter().sum::<usize>().max(1);
        for (column, &count) in counts.iter().enumerate() {
            let kind = if row == column { "right" } else { "wrong" };
            let share = count as f64 / total as f64;
            let _ = write!(html, "<td class=\"{kind}\" style=\"--share:{share:.3}\">{count}</td>");
        }
        html += "</tr>";
    }
    html + "</tbody></table>"
}

/// Shows the results of each epoch as a table.
fn epochs(history: &[EpochRow]) -> String {
    let has_iou = history.iter().any(|row| row.val_mean_iou.is_some());
    let iou_head = if has_iou { "<th>validation mean IoU</th>" } else { "" };
    let mut html = format!(
        "<table id=\"epochs\"><thead><tr><th>epoch</th><th>loss</th><th>accuracy</th>\
         <th>validation loss</th><th>validation accuracy</th>{iou_head}<th>learning rate</th>\
         <th>images/s</th><th>seconds</th></tr></thead><tbody>"
    );
    let dash = || "–".to_owned();
    for row in history {
        let iou = row.val_mean_iou.map_or_else(dash, |iou| format!("{iou:.3}"));
        let iou = if has_iou { format!("<td>{iou}</td>") } else { String::new() };
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{:.4}</td><td>{}</td><td>{}</td><td>{}</td>{iou}<td>{:.2e}</td>\
             <td>{:.1}</td><td>{:.1}</td></tr>",
            row.epoch,
            row.train_loss,
            percent(row.train_accuracy),
            row.val_loss.map_or_else(dash, |loss| format!("{loss:.4}")),
            row.val_accuracy.map_or_else(dash, percent),
            row.lr,
            row.images_per_second,
            row.seconds
        );
    }
    html + "</tbody></table>"
}

/// Returns the name of an image's file without its folders, and with them.
fn file_names(name: &str) -> [String; 2] {
    let short = Path::new(name).file_name().map_or(name.into(), |name| name.to_string_lossy());
    [escape(&short), escape(name)]
}

/// Encodes an image as a JPEG data URL.
fn jpeg(image: &RgbImage) -> Option<String> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(image).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)))
}

/// Encodes a drawing as a PNG data URL.
fn png(image: &DynamicImage) -> String {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("memory takes any picture");
    format!("data:image/png;base64,{}", STANDARD.encode(bytes.into_inner()))
}

/// Escapes text for HTML. Braces are escaped too, so that no name looks like a placeholder.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut html, character| {
        match character {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '{' => html += "&#123;",
            '}' => html += "&#125;",
            other => html.push(other),
        }
        html
    })
}
