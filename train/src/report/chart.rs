//! Curves over the epochs, as SVG.

use std::fmt::Write;

use crate::EpochRow;

/// Width and height of a chart, and its border on each side: left, right, top, bottom.
const SIZE: [f64; 2] = [420.0, 220.0];
const BORDER: [f64; 4] = [46.0, 12.0, 10.0, 30.0];

/// A value for each of some epochs.
type Series = Vec<(usize, f64)>;

/// Draws loss and accuracy over the epochs, and the mean IoU if there is one.
pub(super) fn curves(history: &[EpochRow]) -> String {
    let series = |value: fn(&EpochRow) -> Option<f64>| -> Series {
        history.iter().filter_map(|row| Some((row.epoch, value(row)?))).collect()
    };
    let loss = [series(|row| Some(row.train_loss)), series(|row| row.val_loss)];
    let accuracy = [series(|row| Some(row.train_accuracy)), series(|row| row.val_accuracy)];
    let iou = [Series::new(), series(|row| row.val_mean_iou)];
    let highest = loss.iter().flatten().map(|point| point.1).fold(0.0, f64::max);
    let mut charts = chart("Loss", &loss, highest);
    if iou[1].is_empty() {
        charts += &chart("Accuracy", &accuracy, 1.0);
    } else {
        charts += &chart("Pixel accuracy", &accuracy, 1.0);
        charts += &chart("Mean IoU", &iou, 1.0);
    }
    charts
}

/// Draws a chart of training and validation from 0 to at least `highest`.
fn chart(title: &str, series: &[Series; 2], highest: f64) -> String {
    let [width, height] = SIZE;
    let [left, right, top, bottom] = BORDER;
    let ticks = ticks(highest, 4);
    let highest = ticks[ticks.len() - 1];
    let last = series.iter().flatten().map(|point| point.0).max().unwrap_or(1);
    let x = |epoch: usize| {
        left + (width - left - right) * (epoch - 1) as f64 / (last.max(2) - 1) as f64
    };
    let y = |value: f64| top + (height - top - bottom) * (1.0 - value / highest);
    let shown = ["training", "validation"].iter().zip(["train", "val"]).zip(series);
    let legend: Vec<_> = shown
        .filter(|(_, series)| !series.is_empty())
        .map(|((name, class), _)| format!("<span class=\"{class}\">{name}</span>"))
        .collect();
    let mut svg = format!(
        "<figure><figcaption>{title}: {}</figcaption><svg viewBox=\"0 0 {width} {height}\" \
         role=\"img\" aria-label=\"{title}\">",
        legend.join(", ")
    );
    let digits = digits(ticks[1]);
    for &value in &ticks {
        let y = y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text \
             x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>",
            width - right,
            left - 6.0,
            y + 3.5
        );
    }
    for epoch in epoch_ticks(last) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{epoch}</text>",
            x(epoch),
            height - bottom + 18.0
        );
    }
    let drawn = series.iter().zip(["train", "val"]).filter(|(points, _)| !points.is_empty());
    for (points, class) in drawn {
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

/// Returns round numbers from 0 to `highest` or a little above, with about `steps` steps.
fn ticks(highest: f64, steps: usize) -> Vec<f64> {
    let highest = if highest.is_finite() && highest > 0.0 { highest } else { 1.0 };
    let step = round_step(highest / steps as f64);
    let count = (highest / step - 1e-9).ceil().max(1.0) as usize;
    (0..=count).map(|tick| tick as f64 * step).collect()
}

/// Returns the smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    round.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// Returns the number of digits after the point that a step needs.
fn digits(step: f64) -> usize {
    (0..12)
        .find(|&digits| {
            let scaled = step * 10.0_f64.powi(digits);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        })
        .map_or(12, |digits| digits as usize)
}

/// Returns the epochs that are named below a chart: the first, the last and round ones between
/// them.
fn epoch_ticks(last: usize) -> Vec<usize> {
    let step = (round_step((last as f64 / 6.0).max(1.0)).round() as usize).max(1);
    let between = (1..).map(|tick| tick * step).take_while(|&epoch| epoch + step / 2 < last);
    let mut ticks: Vec<usize> = std::iter::once(1).chain(between).collect();
    ticks.push(last);
    ticks.sort_unstable();
    ticks.dedup();
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_highest_value() {
        assert_eq!(ticks(1.0, 4), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(ticks(0.59, 4), [0.0, 0.2, 0.4, 0.6000000000000001]);
        assert_eq!(ticks(17.0, 4), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(ticks(1.8e11, 4), [0.0, 5e10, 1e11, 1.5e11, 2e11]);
        for strange in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(ticks(strange, 4), ticks(1.0, 4));
        }
        assert_eq!([0.25, 0.2, 5.0, 0.0005].map(digits), [2, 1, 0, 4]);
    }

    #[test]
    fn epochs_are_named_from_the_first_to_the_last() {
        assert_eq!(epoch_ticks(1), [1]);
        assert_eq!(epoch_ticks(3), [1, 2, 3]);
        assert_eq!(epoch_ticks(30), [1, 5, 10, 15, 20, 25, 30]);
        assert_eq!(*epoch_ticks(1000).last().unwrap(), 1000);
        assert!(epoch_ticks(1000).len() < 10);
    }
}
