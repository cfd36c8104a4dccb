//! Which of the models to choose.

use super::{Compared, Pair, Recommendation};
use crate::search::Limits;

/// Two models are told apart if equally good ones differ as much with a smaller probability.
const SIGNIFICANT: f64 = 0.05;

/// The largest loss of accuracy that a faster model may have, if the images can't tell it from the most accurate one.
const LOSS: f64 = 0.01;

/// Marks the models that no other one beats in both speed and accuracy, or in speed and size if there is no accuracy.
pub(super) fn mark_front(models: &mut [Compared]) {
    let value = |model: &Compared| model.top1.unwrap_or(-(model.file_bytes as f64));
    let points: Vec<_> = models.iter().map(|model| (model.latency_ms, value(model))).collect();
    for (model, (latency, value)) in models.iter_mut().zip(&points) {
        let beats = |(other, better): &(f64, f64)| {
            other <= latency && better >= value && (other < latency || better > value)
        };
        model.on_front = !points.iter().any(beats);
    }
}

/// Of the models within the limits: the fastest of those that are as good as the most accurate one, within a point and within chance.
pub(super) fn recommend(models: &[Compared], pairs: &[Pair], limits: &Limits) -> Recommendation {
    let within: Vec<usize> =
        (0..models.len()).filter(|index| models[*index].exceeds.is_none()).collect();
    let limited = match *limits == Limits::default() {
        true => "",
        false => " within the limits",
    };
    let by = |value: &dyn Fn(&Compared) -> f64, among: &[usize]| {
        let order = |a: &&usize, b: &&usize| value(&models[**a]).total_cmp(&value(&models[**b]));
        among.iter().min_by(order).copied()
    };
    let latency = |model: &Compared| model.latency_ms;
    let size = |model: &Compared| model.file_bytes as f64;
    let Some(fastest) = by(&latency, &within) else {
        let all: Vec<usize> = (0..models.len()).collect();
        let [fastest, smallest] = [by(&latency, &all), by(&size, &all)]
            .map(|index| &models[index.expect("there are models")]);
        let sentence = format!(
            "No model meets the limits: the fastest is {} with {}, the smallest is {} with {}.",
            fastest.name,
            milliseconds(fastest),
            smallest.name,
            megabytes(smallest)
        );
        return Recommendation { model: None, sentence };
    };
    let Some(best) = by(&|model| -model.top1.unwrap_or(-1.0), &within)
        .filter(|best| models[*best].top1.is_some())
    else {
        let smallest = by(&size, &within).expect("there is a model");
        let model = &models[fastest];
        let also = match fastest == smallest {
            true => " It is also the smallest.".to_owned(),
            false => {
                let smallest = &models[smallest];
                format!(" The smallest is {} with {}.", smallest.name, megabytes(smallest))
            }
        };
        let sentence = format!(
            "{} is the fastest{limited}: {}, {}.{also} Without labeled images, accuracy was not compared.",
            model.name,
            milliseconds(model),
            megabytes(model)
        );
        return Recommendation { model: Some(fastest), sentence };
    };
    let p = |index: usize| {
        let is_this = |pair: &&Pair| pair.models.contains(&index) && pair.models.contains(&best);
        pairs.iter().find(is_this).map_or(1.0, |pair| pair.p)
    };
    let top1 = |index: usize| models[index].top1.unwrap_or_default();
    let is_equal = |&index: &usize| {
        let is_close = top1(index) >= top1(best) - LOSS - 1e-9 && p(index) >= SIGNIFICANT;
        index == best || is_close
    };
    let equal: Vec<usize> = within.iter().copied().filter(is_equal).collect();
    let chosen = by(&latency, &equal).expect("the best one is among them");
    let (model, rival) = (&models[chosen], &models[best]);
    let percent = |model: &Compared| 100.0 * model.top1.unwrap_or_default();
    let mut sentence = format!(
        "Choose {}: {:.1} % of the {} images are classified correctly, {} for an image, {}.",
        model.name,
        percent(model),
        model.images.unwrap_or_default(),
        milliseconds(model),
        megabytes(model)
    );
    if chosen == best {
        sentence += &format!(" It is the most accurate{limited}");
        sentence += if chosen == fastest && within.len() > 1 { " and the fastest." } else { "." };
    } else {
        sentence += &format!(
            " It is {:.1} times as fast as {}, which is not better by more than a point or beyond chance ({:.1} %, p = {:.2}).",
            rival.latency_ms / model.latency_ms,
            rival.name,
            percent(rival),
            p(chosen)
        );
    }
    Recommendation { model: Some(chosen), sentence }
}

fn milliseconds(model: &Compared) -> String {
    format!("{:.*} ms", if model.latency_ms < 10.0 { 2 } else { 1 }, model.latency_ms)
}

fn megabytes(model: &Compared) -> String {
    format!("{:.1} MB", model.file_bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::model;

    fn advice(models: &mut [Compared], p: f64, limits: Limits) -> Recommendation {
        for model in &mut *models {
            model.exceeds = limits.exceeded(&model.cost());
        }
        let pair = Pair { models: [0, 1], only_first: 3, only_second: 1, p };
        recommend(models, &[pair], &limits)
    }

    #[test]
    fn the_front_has_no_model_that_another_beats() {
        let mut models =
            [model("a", 2.0, Some(0.8)), model("b", 1.0, Some(0.7)), model("c", 3.0, Some(0.8))];
        mark_front(&mut models);
        assert_eq!(models.map(|model| model.on_front), [true, true, false]);
    }

    #[test]
    fn a_slower_model_must_be_better_beyond_chance() {
        let mut models = [model("slow", 9.0, Some(0.81)), model("fast", 3.0, Some(0.80))];
        let chance = advice(&mut models, 0.3, Limits::default());
        assert_eq!(chance.model, Some(1));
        assert!(chance.sentence.contains("3.0 times as fast as slow"), "{}", chance.sentence);
        models[0].top1 = Some(0.83);
        let far = advice(&mut models, 0.3, Limits::default());
        assert_eq!(far.model, Some(0), "{}", far.sentence);
        models[0].top1 = Some(0.81);
        let real = advice(&mut models, 0.01, Limits::default());
        assert_eq!(real.model, Some(0), "{}", real.sentence);
        let limits = Limits { latency_ms: Some(5.0), ..Limits::default() };
        let limited = advice(&mut models, 0.01, limits);
        assert_eq!(limited.model, Some(1));
        assert!(limited.sentence.contains("most accurate within the limits"), "{limited:?}");
    }

    #[test]
    fn no_model_may_meet_the_limits() {
        let mut models = [model("slow", 9.0, None), model("fast", 3.0, None)];
        let limits = Limits { latency_ms: Some(1.0), ..Limits::default() };
        let advice = advice(&mut models, 1.0, limits);
        assert_eq!(advice.model, None);
        assert!(advice.sentence.contains("the fastest is fast with 3.00 ms"), "{advice:?}");
    }

    #[test]
    fn without_images_the_fastest_is_named() {
        let mut models = [model("slow", 9.0, None), model("fast", 3.0, None)];
        let advice = advice(&mut models, 1.0, Limits::default());
        assert_eq!(advice.model, Some(1));
        assert!(advice.sentence.contains("fast is the fastest: 3.00 ms, 4.0 MB"), "{advice:?}");
    }
}
