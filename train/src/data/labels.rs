//! Labels that are not classes.

use std::collections::HashMap;

use super::Dataset;

/// With fewer labels than this, few images of each are not suspicious.
const MANY: usize = 6;

/// Describes labels that are not classes but measurements of images, or their names. `None` if they
/// are classes.
pub(super) fn doubt(dataset: &Dataset, path: &str, val_fraction: f64) -> Option<String> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    let samples = dataset.train.iter().chain(&dataset.val);
    samples.for_each(|sample| *counts.entry(sample.label).or_default() += 1);
    let (labels, images) = (counts.len(), counts.values().sum::<usize>());
    if labels < MANY {
        return None;
    }
    let names: Vec<&str> = counts.keys().map(|&class| dataset.classes[class].as_str()).collect();
    let numbers: Option<Vec<f64>> = names.iter().map(|name| number(name)).collect();
    let (mut first, mut last) = ("", "");
    if let Some(numbers) = &numbers {
        let mut order: Vec<usize> = (0..labels).collect();
        order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        (first, last) = (names[order[0]], names[order[labels - 1]]);
    }
    let has_fractions =
        numbers.as_ref().is_some_and(|numbers| numbers.iter().any(|number| number.fract() != 0.0));
    let are_alone = images == labels || (labels > 10 && 10 * images < 11 * labels);
    // Few values with many images of each may be classes: ages, shoe sizes.
    let are_measured = match numbers {
        Some(_) if has_fractions => {
            are_alone || labels > 30 || (labels > 10 && images < 5 * labels)
        }
        Some(_) => labels > 10 && images < 2 * labels && val_fraction > 0.0,
        None => false,
    };
    if are_measured {
        return Some(format!(
            "the labels in {path} look like measurements: {labels} different numbers from {first} to \
             {last} for {images} images\nhint: what is learned are classes; put the numbers into \
             groups with names, such as `small` and `large`"
        ));
    }
    if are_alone && val_fraction > 0.0 {
        let label = names.iter().min().expect("there are labels");
        return Some(format!(
            "nearly each of the {images} images in {path} has a label of its own, such as {label}: these \
             are {labels} names of images, not classes\nhint: images that show the same need the same \
             label; data.val_fraction=0 trains on one image of each class all the same"
        ));
    }
    None
}

/// Parses a label as a number, with a point or a comma before the decimals.
fn number(label: &str) -> Option<f64> {
    let begins = |character: char| character.is_ascii_digit() || "+-.,".contains(character);
    let number = label.replacen(',', ".", 1).parse::<f64>().ok()?;
    (label.starts_with(begins) && number.is_finite()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::{Sample, Source};
    use super::*;

    /// Checks images with these labels.
    fn doubts(labels: impl Iterator<Item = String>, val_fraction: f64) -> Option<String> {
        let labels: Vec<String> = labels.collect();
        let mut classes = labels.clone();
        classes.sort();
        classes.dedup();
        let class = |label: &String| classes.iter().position(|class| class == label).unwrap();
        let source = || Source::File("a.png".into());
        let train = labels.iter().map(|label| Sample { source: source(), label: class(label) });
        let train = train.collect();
        doubt(&Dataset { classes, train, ..Dataset::default() }, "DATA", val_fraction)
    }

    #[test]
    fn measurements_are_not_classes() {
        let text = doubts((0..20).map(|n| format!("{:.3}", f64::from(n) / 7.0)), 0.2).unwrap();
        assert!(text.contains("20 different numbers from 0.000 to 2.714 for 20 images"), "{text}");
        for text in [
            doubts((0..7).map(|n| format!("{n},5")), 0.2),
            doubts((0..7).map(|n| format!("{n}.5")), 0.0),
            doubts((0..200).map(|n| format!("{:.1}", f64::from(n % 50) / 3.0)), 0.2),
            doubts((0..5000).map(|n| format!("{:e}", f64::from(n % 100) / 10.0)), 0.2),
            // Ages, most of them once.
            doubts((0..60).map(|n| ((n * 37) % 45).to_string()), 0.2),
        ] {
            assert!(text.unwrap().contains("look like measurements"));
        }
    }

    #[test]
    fn names_of_images_are_not_classes() {
        for text in [
            doubts((0..8).map(|n| format!("img_{n}")), 0.2),
            doubts((0..8).map(|n| n.to_string()), 0.2),
            doubts((0..100).map(|n| format!("img_{}", n % 95)), 0.2),
        ] {
            assert!(text.unwrap().contains("a label of its own"));
        }
    }

    #[test]
    fn classes_may_be_numbers_and_have_few_images() {
        for (count, classes) in [(5, 5), (12, 6), (40, 20), (60_000, 10), (3000, 101), (2000, 1000)]
        {
            assert_eq!(doubts((0..count).map(|n| (n % classes).to_string()), 0.2), None);
            assert_eq!(doubts((0..count).map(|n| format!("c{}", n % classes)), 0.2), None);
        }
        // Ratings in half steps, and shoe sizes.
        assert_eq!(doubts((0..60).map(|n| (f64::from(n % 9) / 2.0).to_string()), 0.2), None);
        assert_eq!(doubts((0..500).map(|n| (f64::from(n % 25) / 2.0).to_string()), 0.2), None);
        // One image of each class is fine without validation.
        assert_eq!(doubts((0..8).map(|n| format!("img_{n}")), 0.0), None);
        // Words that Rust parses as numbers.
        assert_eq!(number("nan").or(number("inf")).or(number("infinity")), None);
    }
}
