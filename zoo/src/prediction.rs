use serde::Serialize;

use crate::Error;

/// A class and its probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Index of the class among the logits. For a network with one output: 1 is the positive class, 0
    /// the negative one. `None` if no class reached the minimum probability.
    pub class: Option<usize>,
    /// Its name, `class 7` where the model does not know names, or [`UNKNOWN_LABEL`].
    pub label: String,
    /// In `[0, 1]`; the probabilities of all classes sum to 1. For [`UNKNOWN_LABEL`], the highest of them.
    pub probability: f32,
}

/// The label if no class reaches the minimum probability.
pub const UNKNOWN_LABEL: &str = "unknown";

impl Prediction {
    /// The prediction if no class reaches the minimum probability; `highest` is that of the most probable class.
    pub fn unknown(highest: f32) -> Self {
        Self { class: None, label: UNKNOWN_LABEL.to_owned(), probability: highest }
    }
}

/// The probabilities of the classes: the softmax of the logits. A single logit `x` is that of a binary classifier; the
/// result is then `[1 - sigmoid(x), sigmoid(x)]`.
///
/// # Errors
///
/// When a logit is NaN or +∞.
pub fn probabilities(logits: &[f32]) -> Result<Vec<f32>, Error> {
    let probabilities = match logits {
        [logit] => softmax(&[0.0, *logit]),
        logits => softmax(logits),
    };
    let are_numbers = probabilities.iter().all(|probability| probability.is_finite());
    if are_numbers { Ok(probabilities) } else { Err(Error::NonFiniteOutput) }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.into_iter().map(|x| x / sum).collect()
}

/// The `k` most probable classes, the most probable first. `names` has the names of all classes, or is empty.
pub fn top_k(probabilities: &[f32], names: &[String], k: usize) -> Vec<Prediction> {
    let mut classes: Vec<usize> = (0..probabilities.len()).collect();
    classes.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let prediction = |class: usize| Prediction {
        class: Some(class),
        label: names.get(class).map_or_else(|| format!("class {class}"), Clone::clone),
        probability: probabilities[class],
    };
    classes.into_iter().take(k).map(prediction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_classes_come_first() {
        let names = ["cat", "dog", "fox"].map(str::to_owned);
        let probabilities = probabilities(&[1.0, 3.0, 2.0]).unwrap();
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let labels = |k, names: &[String]| -> Vec<String> {
            top_k(&probabilities, names, k).into_iter().map(|found| found.label).collect()
        };
        assert_eq!(labels(2, &names), ["dog", "fox"]);
        assert_eq!(labels(9, &[]), ["class 1", "class 2", "class 0"]);
    }

    #[test]
    fn one_logit_is_the_second_of_two_classes() {
        let found = probabilities(&[3.0_f32.ln()]).unwrap();
        assert!((found[0] - 0.25).abs() < 1e-6 && (found[1] - 0.75).abs() < 1e-6);
        assert!(matches!(probabilities(&[f32::NAN, 0.0]), Err(Error::NonFiniteOutput)));
    }
}
