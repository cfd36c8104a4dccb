use serde::Serialize;
use zoo_report::{Axis, Chart, Html, Mark, Point, Series};
use zoo_train::duration;

use super::journal::{Row, Status};
use super::{Found, SearchConfig, best, trained};
use crate::statistics::spearman;
use crate::{ModuleSummary, summary};

/// What the page's template shows.
#[derive(Serialize)]
struct Page<'a> {
    title: &'static str,
    data: &'a str,
    trained: usize,
    best: &'a Row,
    top1: f64,
    test_images: usize,
    parts: Vec<Part>,
    chart: Html,
    front: Vec<&'a Row>,
    baselines: Vec<Baseline<'a>>,
    random_is_better: bool,
    proxies: Vec<Correlation>,
    ancestors: Vec<&'a Row>,
    all_trained: usize,
    rejected: usize,
    failed: usize,
    time: String,
    hours: f64,
}

/// A part of the found network in its diagram.
#[derive(Serialize)]
struct Part {
    name: String,
    output: String,
    params: Option<usize>,
}

/// The results of a method.
#[derive(Serialize)]
struct Baseline<'a> {
    method: &'static str,
    trained: usize,
    best: &'a Row,
    median: f64,
    time: String,
}

/// How well a quantity that costs no training ranks candidates.
#[derive(Serialize)]
struct Correlation {
    name: &'static str,
    spearman: f64,
    candidates: usize,
}

/// Returns the report of a search as a page of HTML.
pub(super) fn html(config: &SearchConfig, rows: &[Row], found: &Found) -> String {
    let count = |status: Status| rows.iter().filter(|row| row.status == status).count();
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    let highest =
        |method| best(trained(rows, method), config.target_ms).and_then(|row| row.accuracy);
    let page = Page {
        title: "Architecture search",
        data: &config.data,
        trained: found.trained,
        best: &found.best,
        top1: found.test.top1,
        test_images: found.test.images,
        parts: parts(&found.best),
        chart: chart(rows),
        front: pareto_front(rows),
        baselines: baselines(config, rows),
        random_is_better: highest("random") > highest("search"),
        proxies: proxies(rows),
        ancestors: ancestors(rows, &found.best),
        all_trained: count(Status::Trained),
        rejected: count(Status::Rejected),
        failed: count(Status::Failed),
        time: duration(seconds),
        hours: seconds / 3600.0,
    };
    zoo_report::page(include_str!("report.html"), &page)
}

fn parts(best: &Row) -> Vec<Part> {
    let Ok(variant) = zoo_models::variant(&best.network) else { return Vec::new() };
    let Ok(summary) = summary(&variant.config, best.image_size) else { return Vec::new() };
    let part = |module: &ModuleSummary, name: &str| {
        let output: Vec<_> = module.output.iter().skip(1).map(ToString::to_string).collect();
        Part { name: name.to_owned(), output: output.join("×"), params: Some(module.params) }
    };
    let Some(genome) = best.network.strip_prefix("ae_cnn_") else {
        return summary.modules.iter().map(|module| part(module, &module.name)).collect();
    };
    // The name lists all units. A pooling has no parameters, so it is no module of the summary.
    let mut parts = Vec::new();
    for (index, code) in genome.split('_').enumerate() {
        let path = format!("units.{index}");
        let module = summary.modules.iter().find(|module| module.name == path);
        let kind = match code.as_bytes() {
            [b'r', ..] => "ResNet unit",
            [b'd', ..] => "DenseNet unit",
            [b'm'] => "max pooling",
            _ => "average pooling",
        };
        parts.push(match module {
            Some(module) => part(module, &format!("{kind} {code}")),
            None => Part { name: kind.to_owned(), output: String::new(), params: None },
        });
    }
    let classifier = summary.modules.iter().find(|module| module.name == "classifier");
    parts.extend(classifier.map(|module| part(module, "classifier")));
    parts
}

/// The trained candidates that no other one beats in both accuracy and latency, the fastest first.
pub(super) fn pareto_front(rows: &[Row]) -> Vec<&Row> {
    let mut sorted: Vec<_> =
        rows.iter().filter_map(|row| Some((row.latency_ms?, row.accuracy?, row))).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut highest = f64::NEG_INFINITY;
    sorted.retain(|(_, accuracy, _)| {
        let is_better = *accuracy > highest;
        highest = highest.max(*accuracy);
        is_better
    });
    sorted.into_iter().map(|(.., row)| row).collect()
}

/// Accuracy and latency of all trained candidates.
fn chart(rows: &[Row]) -> Html {
    let place = |row: &Row| Some((row.latency_ms?, row.accuracy?));
    let points = |name: &str, is_meant: &dyn Fn(&&Row) -> bool| {
        let point = |row: &Row| {
            let (x, y) = place(row)?;
            Some(Point { name: row.network.clone(), x, y })
        };
        let points = rows.iter().filter(is_meant).filter_map(point).collect();
        Series::new(name, Mark::Points, points)
    };
    let front = pareto_front(rows).into_iter().filter_map(place);
    Chart::new(
        "Accuracy and latency",
        Axis::new("milliseconds for an image").from_zero(),
        Axis::new("validation accuracy").percent(),
    )
    .with(points("search", &|row| row.method != "random"))
    .with(points("random search", &|row| row.method == "random"))
    .with(Series::guide("Pareto front", front))
    .html()
}

fn baselines<'a>(config: &SearchConfig, rows: &'a [Row]) -> Vec<Baseline<'a>> {
    // The largest network may have been trained by the search already.
    let measured = rows.iter().filter(|row| row.status == Status::Measured);
    let largest = measured.max_by_key(|row| row.params).map(Row::candidate);
    let baseline = |method: &'static str| {
        let of_method = |row: &&Row| match method {
            "params" => row.accuracy.is_some() && Some(row.candidate()) == largest,
            _ => row.accuracy.is_some() && row.method == method,
        };
        let trained: Vec<&Row> = rows.iter().filter(of_method).collect();
        let mut accuracies: Vec<f64> = trained.iter().filter_map(|row| row.accuracy).collect();
        accuracies.sort_by(f64::total_cmp);
        let best = best(trained.iter().copied(), config.target_ms)?;
        let counts = |row: &&Row| row.method == method || of_method(row);
        let seconds: f64 = rows.iter().filter(counts).map(|row| row.seconds).sum();
        let median = accuracies[accuracies.len() / 2];
        Some(Baseline { method, trained: accuracies.len(), best, median, time: duration(seconds) })
    };
    ["search", "random", "params", "registry"].into_iter().filter_map(baseline).collect()
}

/// A quantity of a candidate that costs no training, with its name.
type Quantity = (&'static str, fn(&Row) -> Option<f64>);

fn proxies(rows: &[Row]) -> Vec<Correlation> {
    let rows: Vec<_> = rows.iter().filter(|row| row.accuracy.is_some()).collect();
    let quantities: [Quantity; 5] = [
        ("parameters", |row| Some(row.params as f64)),
        ("multiply-accumulates", |row| Some(row.macs as f64)),
        ("latency", |row| row.latency_ms),
        ("synflow", |row| row.synflow),
        ("NWOT", |row| row.nwot),
    ];
    let correlation = |name, pairs: (Vec<f64>, Vec<f64>)| {
        let (values, accuracies) = pairs;
        let candidates = values.len();
        // Two candidates always correlate perfectly.
        (candidates >= 3).then(|| Correlation {
            name,
            spearman: spearman(&values, &accuracies),
            candidates,
        })
    };
    // In successive halving, some candidates are trained twice.
    let longer = |row: &&Row| {
        let again = rows.iter().filter(|other| other.candidate() == row.candidate());
        again.filter(|other| other.epochs > row.epochs).max_by_key(|other| other.epochs).copied()
    };
    let again = rows.iter().filter_map(|row| Some((row.accuracy?, longer(row)?.accuracy?)));
    let of_quantity = |(name, value): &Quantity| {
        correlation(name, rows.iter().filter_map(|row| Some((value(row)?, row.accuracy?))).unzip())
    };
    let mut correlations: Vec<_> = quantities.iter().filter_map(of_quantity).collect();
    correlations.extend(correlation("accuracy after fewer epochs", again.unzip()));
    correlations
}

/// The found network, its first parent, the first parent of that, and so on.
fn ancestors<'a>(rows: &'a [Row], best: &'a Row) -> Vec<&'a Row> {
    let mut ancestors = Vec::new();
    let mut current = Some(best);
    while let Some(row) = current {
        ancestors.push(row);
        let parent = row.parents.split(' ').next().filter(|parent| *parent != row.network);
        // A parent is of an earlier generation.
        current = parent.and_then(|name| {
            rows.iter().find(|other| {
                other.network == name
                    && other.generation < row.generation
                    && other.status == Status::Trained
            })
        });
    }
    ancestors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_has_no_network_that_another_beats() {
        let row = |id: usize, latency: f64, accuracy: f64| Row {
            method: "search".to_owned(),
            generation: 0,
            parents: String::new(),
            network: id.to_string(),
            image_size: 32,
            epochs: 1,
            params: 1,
            macs: 1,
            size: 4,
            memory: 4,
            latency_ms: Some(latency),
            synflow: None,
            nwot: None,
            status: Status::Trained,
            accuracy: Some(accuracy),
            seconds: 1.0,
            reason: String::new(),
        };
        let rows = [
            row(0, 2.0, 0.5),
            row(1, 1.0, 0.4),
            row(2, 3.0, 0.5),
            row(3, 4.0, 0.9),
            row(4, 1.0, 0.3),
        ];
        let front: Vec<_> = pareto_front(&rows).iter().map(|row| &*row.network).collect();
        assert_eq!(front, ["1", "0", "3"]);
    }
}
