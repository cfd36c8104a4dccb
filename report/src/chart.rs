//! Charts as SVG.

use std::fmt::Write;

use minijinja::HtmlEscape;

use crate::{Html, ticks};

/// Width and height of a chart, and its border on each side: left, right, top, bottom.
const SIZE: [f64; 2] = [480.0, 260.0];
const BORDER: [f64; 4] = [52.0, 16.0, 12.0, 42.0];

/// About as many steps between the ticks of an axis.
const STEPS: usize = 4;

/// A chart without more points than this names each of them.
const NAMED: usize = 14;

/// Height of a name and width of its letters, in the units of the chart.
const LETTER: [f64; 2] = [6.0, 11.0];

/// Number of colors in the style sheet.
const COLORS: usize = 6;

/// An axis of a [`Chart`].
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    label: String,
    from_zero: bool,
    logarithmic: bool,
    percent: bool,
    whole: bool,
}

impl Axis {
    /// A linear axis over the range of the values.
    pub fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            from_zero: false,
            logarithmic: false,
            percent: false,
            whole: false,
        }
    }

    /// Starts at 0.
    pub fn from_zero(self) -> Self {
        Self { from_zero: true, ..self }
    }

    /// Has a logarithmic scale, for positive values.
    pub fn logarithmic(self) -> Self {
        Self { logarithmic: true, ..self }
    }

    /// Shows shares in percent.
    pub fn percent(self) -> Self {
        Self { percent: true, ..self }
    }

    /// Has ticks at whole numbers only.
    pub fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    fn ticks(&self, values: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        if self.logarithmic {
            return ticks::logarithmic([low, high]);
        }
        let low = if self.from_zero { low.min(0.0) } else { low };
        // A single value has no range.
        let high = if high > low { high } else { low + low.abs().max(1.0) * 0.1 };
        let ticks = ticks::linear([low, high], STEPS);
        match self.whole && ticks[1] - ticks[0] < 1.0 {
            true => (low.floor() as i64..=high.ceil() as i64).map(|tick| tick as f64).collect(),
            false => ticks,
        }
    }

    /// The position of a value between the first and the last tick, in `[0, 1]`.
    fn share(&self, value: f64, ticks: &[f64]) -> f64 {
        let scaled = |value: f64| if self.logarithmic { value.ln() } else { value };
        let [low, high] = [ticks[0], ticks[ticks.len() - 1]].map(scaled);
        ((scaled(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn text(&self, value: f64, digits: usize) -> String {
        match self.percent {
            true => format!("{:.*} %", digits.saturating_sub(2), 100.0 * value),
            false => format!("{value:.digits$}"),
        }
    }
}

/// How a [`Series`] is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line through all points, without the points.
    Line,
    /// The points, with their names if they are few.
    Points,
    /// A thin line behind the others, such as a border or a diagonal.
    Guide,
}

/// A point with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its name; empty on a curve.
    pub name: String,
    /// Its value on the horizontal axis.
    pub x: f64,
    /// Its value on the vertical axis.
    pub y: f64,
}

/// Values that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    name: String,
    mark: Mark,
    points: Vec<Point>,
}

impl Series {
    /// Points with names.
    pub fn new(name: &str, mark: Mark, points: Vec<Point>) -> Self {
        Self { name: name.to_owned(), mark, points }
    }

    /// A line through points.
    pub fn line(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self::new(name, Mark::Line, unnamed(points))
    }

    /// A thin line through points.
    pub fn guide(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self::new(name, Mark::Guide, unnamed(points))
    }
}

fn unnamed(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<Point> {
    points.into_iter().map(|(x, y)| Point { name: String::new(), x, y }).collect()
}

/// A chart of several series over the same axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
}

impl Chart {
    /// A chart without data.
    pub fn new(title: &str, x: Axis, y: Axis) -> Self {
        Self { title: title.to_owned(), x, y, series: Vec::new() }
    }

    /// Adds a series. Points that are not finite are left out, and so is a series without points.
    pub fn with(mut self, mut series: Series) -> Self {
        let is_drawn = |point: &Point| {
            let is_positive =
                (!self.x.logarithmic || point.x > 0.0) && (!self.y.logarithmic || point.y > 0.0);
            point.x.is_finite() && point.y.is_finite() && is_positive
        };
        series.points.retain(is_drawn);
        if !series.points.is_empty() {
            self.series.push(series);
        }
        self
    }

    /// Draws the chart, with its numbers in a table that opens below it. Empty without data.
    pub fn html(&self) -> Html {
        if self.series.is_empty() {
            return Html::default();
        }
        let mut html = format!("<figure class=\"chart\"><figcaption>{}", HtmlEscape(&self.title));
        let named = |series: &&Series| series.mark != Mark::Guide;
        if self.series.iter().filter(named).count() > 1 {
            html += ":";
            for (index, series) in self.series.iter().enumerate().filter(|(_, it)| named(it)) {
                let color = index % COLORS;
                let _ = write!(
                    html,
                    " <span class=\"legend color-{color}\">{}</span>",
                    HtmlEscape(&series.name)
                );
            }
        }
        html += "</figcaption>";
        html += &self.svg();
        html += &self.numbers();
        Html(html + "</figure>")
    }

    fn svg(&self) -> String {
        let [width, height] = SIZE;
        let [left, right, top, bottom] = BORDER;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x_ticks = self.x.ticks(points().map(|point| point.x));
        let y_ticks = self.y.ticks(points().map(|point| point.y));
        let x = |value: f64| left + (width - left - right) * self.x.share(value, &x_ticks);
        let y =
            |value: f64| height - bottom - (height - top - bottom) * self.y.share(value, &y_ticks);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            HtmlEscape(&self.title)
        );
        let digits = digits(&self.y, &y_ticks);
        for &tick in &y_ticks {
            let (y, end) = (y(tick), width - right);
            let text = self.y.text(tick, digits);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 6.0,
                y + 3.5
            );
        }
        let digits = self::digits(&self.x, &x_ticks);
        for &tick in &x_ticks {
            let digits = if self.x.logarithmic { ticks::digits(tick) } else { digits };
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(tick),
                height - bottom + 16.0,
                self.x.text(tick, digits)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + width - right) / 2.0,
            height - 6.0,
            HtmlEscape(&self.x.label)
        );
        let mut names = Names::default();
        for (index, series) in self.series.iter().enumerate() {
            let color = index % COLORS;
            let places = series.points.iter().map(|point| (x(point.x), y(point.y), point));
            if series.mark != Mark::Points && series.points.len() > 1 {
                let class = if series.mark == Mark::Guide { "guide" } else { "line" };
                let line: Vec<_> =
                    places.clone().map(|(x, y, _)| format!("{x:.1},{y:.1}")).collect();
                let _ = write!(
                    svg,
                    "<polyline class=\"{class} color-{color}\" points=\"{}\"/>",
                    line.join(" ")
                );
                continue;
            }
            let is_named = series.points.len() <= NAMED;
            for (x, y, point) in places {
                let mut title = format!(
                    "{}: {}, {}: {}",
                    self.x.label,
                    self.x.text(point.x, significant(point.x)),
                    self.y.label,
                    self.y.text(point.y, 4)
                );
                if !point.name.is_empty() {
                    title = format!("{}: {title}", point.name);
                }
                let _ = write!(
                    svg,
                    "<circle class=\"color-{color}\" tabindex=\"0\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\">\
                     <title>{}</title></circle>",
                    HtmlEscape(&title)
                );
                if is_named && !point.name.is_empty() {
                    svg += &names.place(&point.name, [x, y]);
                }
            }
        }
        svg + "</svg>"
    }

    /// The table behind the chart.
    fn numbers(&self) -> String {
        let mut html = "<details><summary>Numbers</summary><div class=\"wide\" tabindex=\"0\"><table><thead><tr>\
                        <th></th>"
            .to_owned();
        for label in [&self.x.label, &self.y.label] {
            let _ = write!(html, "<th>{}</th>", HtmlEscape(label));
        }
        html += "</tr></thead><tbody>";
        for series in self.series.iter().filter(|series| series.mark != Mark::Guide) {
            for point in &series.points {
                let name = if point.name.is_empty() { &series.name } else { &point.name };
                let _ = write!(
                    html,
                    "<tr><th>{}</th><td>{}</td><td>{}</td></tr>",
                    HtmlEscape(name),
                    self.x.text(point.x, significant(point.x)),
                    self.y.text(point.y, 4)
                );
            }
        }
        html + "</tbody></table></div></details>"
    }
}

/// The digits after the point that the ticks of an axis need.
fn digits(axis: &Axis, ticks: &[f64]) -> usize {
    let digits = ticks::digits(ticks[1] - ticks[0]);
    if axis.logarithmic { ticks::digits(ticks[0]) } else { digits }
}

/// The digits after the point that show three digits of a number.
fn significant(number: f64) -> usize {
    let is_whole = number.fract() == 0.0 || number == 0.0;
    if is_whole { 0 } else { (2 - number.abs().log10().floor() as i32).clamp(0, 9) as usize }
}

/// The names beside points, each where no earlier one is.
#[derive(Default)]
struct Names {
    /// Left, right and middle of each.
    taken: Vec<[f64; 3]>,
}

impl Names {
    fn place(&mut self, name: &str, [x, y]: [f64; 2]) -> String {
        let [letter, line] = LETTER;
        let width = letter * name.chars().count() as f64;
        // To the right of the point, or to its left at the right edge.
        let is_left = x + 7.0 + width > SIZE[0];
        let start = if is_left { (x - 7.0 - width).max(0.0) } else { x + 7.0 };
        let is_free = |middle: &f64| {
            let overlaps = |[left, right, other]: &[f64; 3]| {
                start < *right && start + width > *left && (middle - other).abs() < line
            };
            !self.taken.iter().any(overlaps) && (line..SIZE[1] - BORDER[3]).contains(middle)
        };
        let shifts = [0.0, -line, line, -2.0 * line, 2.0 * line, -3.0 * line, 3.0 * line];
        let middle = shifts.into_iter().map(|shift| y + shift).find(is_free).unwrap_or(y);
        self.taken.push([start, start + width, middle]);
        format!(
            "<text class=\"name\" x=\"{start:.1}\" y=\"{:.1}\">{}</text>",
            middle + 3.5,
            HtmlEscape(name)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scatter() -> Chart {
        let point = |name: &str, x, y| Point { name: name.to_owned(), x, y };
        let points = vec![
            point("a<b", 2.0, 0.71),
            point("next to it", 2.1, 0.71),
            point("slow", 130.0, 0.775),
            point("nothing", 0.0, 0.5),
            point("strange", f64::NAN, 0.5),
        ];
        Chart::new("Accuracy", Axis::new("ms").logarithmic(), Axis::new("top-1").percent())
            .with(Series::new("models", Mark::Points, points))
            .with(Series::guide("front", [(2.0, 0.71), (130.0, 0.775)]))
    }

    #[test]
    fn each_finite_point_is_drawn_and_in_the_table() {
        let html = scatter().html().0;
        let count = |text: &str| html.matches(text).count();
        assert_eq!((count("<circle"), count("<polyline"), count("<tr>")), (3, 1, 4), "{html}");
        assert!(html.contains("a&lt;b: ms: 2, top-1: 71.00 %"), "{html}");
        assert!(html.contains("<td>130</td><td>77.50 %</td>"), "{html}");
    }

    #[test]
    fn names_do_not_overlap() {
        let mut names = Names::default();
        let first = names.place("resnet50", [100.0, 100.0]);
        let second = names.place("resnet34", [104.0, 102.0]);
        assert!(first.contains("y=\"103.5\"") && second.contains("y=\"116.5\""), "{second}");
        assert!(names.place("at the edge", [470.0, 50.0]).contains("x=\"397.0\""));
    }

    #[test]
    fn epochs_are_whole() {
        let axis = Axis::new("epoch").whole();
        assert_eq!(axis.ticks([1.0, 2.0].into_iter()), [1.0, 2.0]);
        assert_eq!(axis.ticks([1.0, 30.0].into_iter()), [0.0, 10.0, 20.0, 30.0]);
    }

    #[test]
    fn a_chart_without_data_is_empty() {
        let chart = Chart::new("Loss", Axis::new("epoch"), Axis::new("loss"));
        assert_eq!(chart.with(Series::line("training", [])).html(), Html::default());
    }
}
