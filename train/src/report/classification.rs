//! The part of a report that shows an image classification.

use image::imageops::thumbnail;
use serde::Serialize;
use zoo_report::jpeg;

use super::{Confusion, Results, file_name};
use crate::{Answer, ClassificationEvaluation, Images};

/// Number of mistakes that are shown.
const MISTAKES: usize = 24;

/// A wrong answer with its image.
#[derive(Debug, Serialize)]
pub(super) struct Mistake {
    path: String,
    file: String,
    photograph: Option<String>,
    is: String,
    predicted: String,
    probability: f32,
}

/// The results of each class, the confusion matrix and the most confident mistakes.
pub(crate) fn classification(evaluation: &ClassificationEvaluation, images: &Images) -> Results {
    let names = evaluation.classes.iter().map(|class| class.name.clone()).collect();
    let mistakes = evaluation.mistakes().into_iter().take(MISTAKES);
    Results {
        classes: evaluation.classes.clone(),
        mistakes: mistakes.map(|answer| mistake(answer, evaluation, images)).collect(),
        confusion: Some(Confusion::new(names, &evaluation.confusion)),
        ..Results::default()
    }
}

fn mistake(answer: &Answer, evaluation: &ClassificationEvaluation, images: &Images) -> Mistake {
    let name = |class: usize| evaluation.classes[class].name.clone();
    let path = images.samples()[answer.index].source.name();
    let (predicted, probability) = answer.best();
    let photograph = images.plain(answer.index).map(|view| {
        let side = view.width().min(160);
        jpeg(&thumbnail(&*view, side, side))
    });
    Mistake {
        file: file_name(&path),
        path,
        photograph,
        is: name(answer.class),
        predicted: name(predicted),
        probability,
    }
}
