//! The part of a report that shows an image classification.

use std::fmt::Write;

use super::{confusion, escape, file_names, jpeg};
use crate::observer::percent;
use crate::{Answer, ClassificationEvaluation, Images};

/// Number of mistakes that are shown.
const MISTAKES: usize = 24;

/// Shows the results of each class, the confusion matrix and the most confident mistakes.
pub(crate) fn classification(evaluation: &ClassificationEvaluation, images: &Images) -> String {
    let names = evaluation.classes.iter().map(|class| &class.name);
    classes(evaluation) + &confusion(names, &evaluation.confusion) + &mistakes(evaluation, images)
}

fn classes(evaluation: &ClassificationEvaluation) -> String {
    let mut html = "<h2>Classes</h2><table id=\"classes\"><thead><tr><th>class</th><th>images</th>\
                    <th>precision</th><th>recall</th><th>F1</th></tr></thead><tbody>"
        .to_owned();
    let dash = || "–".to_owned();
    for class in &evaluation.classes {
        let _ = write!(
            html,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&class.name),
            class.images,
            class.precision.map_or_else(dash, percent),
            class.recall.map_or_else(dash, percent),
            class.f1.filter(|_| class.images > 0).map_or_else(dash, |f1| format!("{f1:.3}")),
        );
    }
    html + "</tbody></table>"
}

/// Shows the most confident of the wrong answers, with their images.
fn mistakes(evaluation: &ClassificationEvaluation, images: &Images) -> String {
    let mistakes = evaluation.mistakes();
    if mistakes.is_empty() {
        return String::new();
    }
    let mut html = "<h2>Most confident mistakes</h2><div id=\"mistakes\">".to_owned();
    for answer in mistakes.into_iter().take(MISTAKES) {
        html += &mistake(answer, evaluation, images);
    }
    html + "</div>"
}

fn mistake(answer: &Answer, evaluation: &ClassificationEvaluation, images: &Images) -> String {
    let name = |class: usize| escape(&evaluation.classes[class].name);
    let [file, path] = file_names(&images.samples()[answer.index].source.name());
    let (predicted, probability) = answer.best();
    let picture = images.plain(answer.index).and_then(|view| {
        let side = view.width().min(160);
        jpeg(&image::imageops::thumbnail(&*view, side, side))
    });
    format!(
        "<figure class=\"mistake\" title=\"{path}\"><img alt=\"{path}\" src=\"{}\">\
         <figcaption>true: <b>{}</b><br>predicted: <b>{}</b> ({:.0} %)<br>{file}</figcaption></figure>",
        picture.unwrap_or_default(),
        name(answer.class),
        name(predicted),
        100.0 * probability,
    )
}
