//! A report of a run as one HTML file that needs no other.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use zoo_record::{ModelCard, write_atomically};

use crate::{Answer, Config, EpochRow, Error, Evaluation, Fitted, Images, duration};

/// The name of the report in a run's folder.
pub const REPORT: &str = "report.html";

/// How many mistakes are shown.
const MISTAKES: usize = 24;

/// What a report tells of.
#[derive(Debug)]
pub struct Report<'a> {
    /// What the network is.
    pub card: &'a ModelCard,
    /// What it was told.
    pub config: &'a Config,
    /// How it was trained.
    pub fitted: &'a Fitted,
    /// What it is worth, and on which images.
    pub evaluation: Option<(&'a Evaluation, &'a Images)>,
}

impl Report<'_> {
    /// Writes the report.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let html = self.html();
        Ok(write_atomically(path, |file| file.write_all(html.as_bytes()))?)
    }

    /// The report as text.
    pub fn html(&self) -> String {
        let mut results = String::new();
        if let Some((evaluation, images)) = self.evaluation {
            results += &classes(evaluation);
            results += &confusion(evaluation);
            results += &mistakes(evaluation, images);
        }
        let title = format!("{} on {}", self.card.variant, self.config.data.path);
        include_str!("report.html")
            .replace("{{title}}", &escape(&title))
            .replace("{{facts}}", &self.facts())
            .replace("{{curves}}", &curves(&self.fitted.history))
            .replace("{{results}}", &results)
            .replace("{{epochs}}", &epochs(&self.fitted.history))
            .replace("{{config}}", &escape(&self.config.to_toml()))
    }

    fn facts(&self) -> String {
        let mut facts = Vec::new();
        if let Some((evaluation, _)) = self.evaluation {
            facts.push((percent(evaluation.top1), "of the validation images are right"));
            if evaluation.classes.len() > 5 {
                facts.push((percent(evaluation.top5), "are among the first five"));
            }
            facts.push((evaluation.images.to_string(), "images to validate with"));
            if evaluation.unreadable > 0 {
                facts.push((evaluation.unreadable.to_string(), "of them can't be read"));
            }
        }
        facts.push((self.card.num_classes.to_string(), "classes"));
        if let Some(best) = self.fitted.best_epoch {
            let what = match best {
                0 => "epochs were better than the classifier alone",
                _ => "is the best epoch",
            };
            facts.push((best.to_string(), what));
        }
        facts.push((duration(self.fitted.seconds), "of training"));
        facts.iter().fold(String::new(), |mut html, (number, what)| {
            let _ = write!(html, "<div class=\"fact\"><b>{number}</b> {what}</div>");
            html
        })
    }
}

/// Loss and accuracy over the epochs.
fn curves(history: &[EpochRow]) -> String {
    let series = |value: fn(&EpochRow) -> Option<f64>| -> Vec<(usize, f64)> {
        history.iter().filter_map(|row| Some((row.epoch, value(row)?))).collect()
    };
    let loss = [series(|row| Some(row.train_loss)), series(|row| row.val_loss)];
    let accuracy = [series(|row| Some(row.train_accuracy)), series(|row| row.val_accuracy)];
    let highest = loss.iter().flatten().map(|point| point.1).fold(0.0, f64::max);
    format!("{}{}", chart("Loss", &loss, highest), chart("Accuracy", &accuracy, 1.0))
}

fn chart(title: &str, series: &[Vec<(usize, f64)>; 2], highest: f64) -> String {
    let (width, height) = (420.0, 220.0);
    let last = series.iter().flatten().map(|point| point.0).max().unwrap_or(1);
    let x = |epoch: usize| 40.0 + (width - 50.0) * (epoch - 1) as f64 / (last.max(2) - 1) as f64;
    let y = |value: f64| 10.0 + (height - 40.0) * (1.0 - value / highest.max(1e-9));
    let mut svg = format!(
        "<figure><figcaption>{title}: <span class=\"train\">training</span>, <span \
         class=\"val\">validation</span></figcaption><svg viewBox=\"0 0 {width} {height}\" \
         role=\"img\" aria-label=\"{title}\">"
    );
    for step in 0..=4 {
        let value = highest * f64::from(step) / 4.0;
        let y = y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"40\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text \
             x=\"34\" y=\"{:.1}\" text-anchor=\"end\">{value:.2}</text>",
            width - 10.0,
            y + 3.5
        );
    }
    for epoch in [1, last] {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{epoch}</text>",
            x(epoch),
            height - 12.0
        );
    }
    for (points, class) in series.iter().zip(["train", "val"]) {
        let line: Vec<_> = points
            .iter()
            .map(|&(epoch, value)| format!("{:.1},{:.1}", x(epoch), y(value)))
            .collect();
        let _ = write!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
        if let [(epoch, value)] = points[..] {
            let _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                x(epoch),
                y(value)
            );
        }
    }
    svg + "</svg></figure>"
}

fn classes(evaluation: &Evaluation) -> String {
    let mut html = "<h2>Classes</h2><table id=\"classes\"><thead><tr><th>class</th><th>images</th>\
                    <th>precision</th><th>recall</th><th>F1</th></tr></thead><tbody>"
        .to_owned();
    for class in &evaluation.classes {
        let _ = write!(
            html,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td></tr>",
            escape(&class.name),
            class.images,
            percent(class.precision),
            percent(class.recall),
            class.f1
        );
    }
    html + "</tbody></table>"
}

/// The confusion matrix as a table, or for many classes as a picture.
fn confusion(evaluation: &Evaluation) -> String {
    let mut html = "<h2>What is (row) and what it was taken for (column)</h2>".to_owned();
    if evaluation.classes.len() > 30 {
        let mut png = Cursor::new(Vec::new());
        let written = evaluation.confusion_image().write_to(&mut png, image::ImageFormat::Png);
        if written.is_ok() {
            let data = STANDARD.encode(png.into_inner());
            let _ = write!(
                html,
                "<img id=\"confusion\" alt=\"\" src=\"data:image/png;base64,{data}\">"
            );
        }
        return html;
    }
    html += "<table id=\"confusion\"><thead><tr><th></th>";
    for class in &evaluation.classes {
        let _ = write!(html, "<th>{}</th>", escape(&class.name));
    }
    html += "</tr></thead><tbody>";
    for (row, (class, counts)) in evaluation.classes.iter().zip(&evaluation.confusion).enumerate() {
        let _ = write!(html, "<tr><th>{}</th>", escape(&class.name));
        for (column, &count) in counts.iter().enumerate() {
            let kind = if row == column { "right" } else { "wrong" };
            let share = count as f64 / class.images.max(1) as f64;
            let _ = write!(html, "<td class=\"{kind}\" style=\"--share:{share:.3}\">{count}</td>");
        }
        html += "</tr>";
    }
    html + "</tbody></table>"
}

/// The surest of the wrong answers, with their pictures.
fn mistakes(evaluation: &Evaluation, images: &Images) -> String {
    let mistakes = evaluation.mistakes();
    if mistakes.is_empty() {
        return String::new();
    }
    let mut html = "<h2>The surest mistakes</h2><div id=\"mistakes\">".to_owned();
    for answer in mistakes.into_iter().take(MISTAKES) {
        html += &mistake(answer, evaluation, images);
    }
    html + "</div>"
}

fn mistake(answer: &Answer, evaluation: &Evaluation, images: &Images) -> String {
    let name = |class: usize| escape(&evaluation.classes[class].name);
    let source = escape(&images.samples()[answer.index].source.name());
    let (taken, probability) = answer.best();
    let picture = images.plain(answer.index).and_then(|view| {
        let side = view.width().min(160);
        let small = image::imageops::thumbnail(&*view, side, side);
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(&small).ok()?;
        Some(STANDARD.encode(bytes))
    });
    format!(
        "<figure class=\"mistake\" title=\"{source}\"><img alt=\"{source}\" \
         src=\"data:image/jpeg;base64,{}\"><figcaption>{:.0} % <b>{}</b><br>is {}</figcaption></figure>",
        picture.unwrap_or_default(),
        100.0 * probability,
        name(taken),
        name(answer.class),
    )
}

fn epochs(history: &[EpochRow]) -> String {
    let optional =
        |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
    history.iter().fold(String::new(), |mut html, row| {
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{:.4}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2e}</td>\
             <td>{:.1}</td><td>{:.0}</td></tr>",
            row.epoch,
            row.train_loss,
            percent(row.train_accuracy),
            optional(row.val_loss),
            row.val_accuracy.map_or_else(String::new, percent),
            row.lr,
            row.images_per_second,
            row.seconds
        );
        html
    })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Text for HTML. Braces are spelled out so that no name looks like a place to fill in.
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
