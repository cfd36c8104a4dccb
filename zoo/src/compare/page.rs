use image::RgbImage;
use serde::Serialize;
use zoo_report::{Axis, Chart, Html, Mark, Point, Series, jpeg};

use super::{Compared, Comparison, Disagreement};

/// The largest gains and losses of classes that the page shows.
const CLASSES: usize = 20;

/// What the page's template shows.
#[derive(Serialize)]
struct Page<'a> {
    title: String,
    comparison: &'a Comparison,
    charts: Vec<Html>,
    calibration: Vec<Html>,
    pairs: Vec<PairRow<'a>>,
    classes: Vec<ClassRow<'a>>,
    disagreements: Vec<Row<'a>>,
    /// Whether the models prepare images in the same way.
    has_one_preprocessing: bool,
}

#[derive(Serialize)]
struct PairRow<'a> {
    names: [&'a str; 2],
    only: [usize; 2],
    p: f64,
}

/// A class with the recall of each model.
#[derive(Serialize)]
struct ClassRow<'a> {
    name: &'a str,
    images: usize,
    recalls: &'a [f64],
    /// The largest difference from the first model.
    change: f64,
}

#[derive(Serialize)]
struct Row<'a> {
    disagreement: &'a Disagreement,
    photograph: Option<String>,
    heat_maps: Vec<Option<String>>,
}

impl Comparison {
    /// The results as an HTML page that needs no other file.
    pub fn page(&self) -> String {
        let names: Vec<_> = self.models.iter().map(|model| &*model.name).collect();
        let on = self.data.as_ref().map_or(String::new(), |data| format!(" on {data}"));
        let page = Page {
            title: format!("{}{on}", names.join(", ")),
            comparison: self,
            charts: self.charts(),
            calibration: self.models.iter().map(calibration).collect(),
            pairs: self.pair_rows(),
            classes: self.class_rows(),
            disagreements: self.disagreements.iter().map(row).collect(),
            has_one_preprocessing: self
                .models
                .iter()
                .all(|model| model.preprocess == self.models[0].preprocess),
        };
        zoo_report::page(include_str!("page.html"), &page)
    }

    fn charts(&self) -> Vec<Html> {
        let has_accuracy = self.models.iter().any(|model| model.top1.is_some());
        let latency = || Axis::new("milliseconds for an image").logarithmic();
        let size = || Axis::new("MB of weights").logarithmic();
        let megabytes = |model: &Compared| model.file_bytes as f64 / 1e6;
        if !has_accuracy {
            let chart = Chart::new("Size and latency", latency(), size());
            return vec![
                chart.with(self.points(|model| (model.latency_ms, megabytes(model)))).html(),
            ];
        }
        let accuracy = || Axis::new("top-1 accuracy").percent();
        let top1 = |model: &Compared| model.top1.unwrap_or(f64::NAN);
        let mut front: Vec<_> = self.models.iter().filter(|model| model.on_front).collect();
        front.sort_by(|a, b| a.latency_ms.total_cmp(&b.latency_ms));
        let front = front.into_iter().map(|model| (model.latency_ms, top1(model)));
        vec![
            Chart::new("Accuracy and latency; the line is the Pareto front", latency(), accuracy())
                .with(self.points(|model| (model.latency_ms, top1(model))))
                .with(Series::guide("Pareto front", front))
                .html(),
            Chart::new("Accuracy and size", size(), accuracy())
                .with(self.points(|model| (megabytes(model), top1(model))))
                .html(),
        ]
    }

    fn points(&self, place: impl Fn(&Compared) -> (f64, f64)) -> Series {
        let point = |model: &Compared| {
            let (x, y) = place(model);
            Point { name: model.name.clone(), x, y }
        };
        Series::new("models", Mark::Points, self.models.iter().map(point).collect())
    }

    fn pair_rows(&self) -> Vec<PairRow<'_>> {
        let row = |pair: &super::Pair| PairRow {
            names: pair.models.map(|index| &*self.models[index].name),
            only: [pair.only_first, pair.only_second],
            p: pair.p,
        };
        self.pairs.iter().map(row).collect()
    }

    /// The classes for which the models differ most from the first one.
    fn class_rows(&self) -> Vec<ClassRow<'_>> {
        let mut rows: Vec<_> = self
            .classes
            .iter()
            .map(|class| {
                let differences = class.recalls.iter().map(|recall| recall - class.recalls[0]);
                let change = differences.max_by(|a, b| a.abs().total_cmp(&b.abs()));
                let (name, recalls) = (&*class.name, &*class.recalls);
                ClassRow { name, images: class.images, recalls, change: change.unwrap_or(0.0) }
            })
            .filter(|row| row.change != 0.0)
            .collect();
        rows.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()));
        rows.truncate(CLASSES);
        rows
    }
}

/// The reliability diagram of a model. Empty without labeled images.
fn calibration(model: &Compared) -> Html {
    let points = model.calibration.iter().map(|bin| Point {
        name: String::new(),
        x: bin.confidence,
        y: bin.accuracy,
    });
    if model.calibration.is_empty() {
        return Html::default();
    }
    let share = |label: &str| Axis::new(label).from_zero().percent();
    Chart::new(&model.name, share("probability of the answer"), share("right answers"))
        .with(Series::new(&model.name, Mark::Points, points.collect()))
        .with(Series::guide("perfect calibration", [(0.0, 0.0), (1.0, 1.0)]))
        .html()
}

fn row(disagreement: &Disagreement) -> Row<'_> {
    let picture = |image: &Option<RgbImage>| image.as_ref().map(jpeg);
    Row {
        photograph: picture(&disagreement.photograph),
        heat_maps: disagreement.answers.iter().map(|it| picture(&it.heat_map)).collect(),
        disagreement,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::model;
    use super::*;
    use crate::compare::{ClassRecalls, GivenAnswer, Machine, Pair, Recommendation};
    use crate::search::Limits;

    #[test]
    fn the_page_shows_all_results() {
        let answer = |label: &str, is_right| GivenAnswer {
            label: label.to_owned(),
            probability: 0.7,
            is_right,
            heat_map: Some(RgbImage::new(4, 3)),
        };
        let comparison = Comparison {
            recommendation: Recommendation { model: Some(1), sentence: "Choose <b>.".to_owned() },
            models: vec![model("a", 2.0, Some(0.8)), model("<b>", 1.0, Some(0.7))],
            pairs: vec![Pair { models: [0, 1], only_first: 12, only_second: 2, p: 0.013 }],
            classes: vec![
                ClassRecalls { name: "cat".to_owned(), images: 10, recalls: vec![0.5, 0.9] },
                ClassRecalls { name: "same".to_owned(), images: 10, recalls: vec![0.5, 0.5] },
            ],
            disagreements: vec![Disagreement {
                path: "photos/1.jpg".to_owned(),
                class: "cat".to_owned(),
                answers: vec![answer("dog", false), answer("cat", true)],
                photograph: Some(RgbImage::new(4, 3)),
            }],
            data: Some("photos".to_owned()),
            left_out: 3,
            limits: Limits { latency_ms: Some(10.0), ..Limits::default() },
            machine: Machine { processor: Some("A CPU".to_owned()), threads: 2, version: "0" },
        };
        let html = comparison.page();
        for text in [
            "Choose &lt;b&gt;.",
            "0.013",
            "40.0",
            "photos&#x2f;1.jpg",
            "3 images are left out",
            "A CPU",
            "10.0 ms",
        ] {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert_eq!(html.matches("<img").count(), 3);
        assert_eq!(html.matches("<svg").count(), 4);
        assert!(!html.contains(">same<") && !html.contains("<b>."));
    }
}
