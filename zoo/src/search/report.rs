use std::fmt::Write;

use zoo_train::duration;

use super::journal::{Row, Status};
use super::{Found, SearchConfig, best, trained};
use crate::statistics::spearman;
use crate::{ModuleSummary, counted, summary};

/// Width and height of the chart in pixels.
const CHART: [f64; 2] = [720.0, 360.0];

/// Space for the axes in pixels.
const MARGIN: f64 = 48.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}\
    th:first-child,td:first-child{text-align:left}.scroll{overflow-x:auto}svg{max-width:100%;height:auto}\
    .units{display:flex;flex-wrap:wrap;gap:.4rem;align-items:center}.unit{border:1px solid #888;border-radius:.4rem;\
    padding:.3rem .6rem;background:#f4f6fa}.unit small{display:block;color:#666}code{overflow-wrap:anywhere}";

/// Returns the report of a search as a page of HTML.
pub(super) fn html(config: &SearchConfig, rows: &[Row], found: &Found) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Architecture search</title><style>{STYLE}</style><h1>Architecture search</h1>"
    );
    html += &result(config, found);
    html += "<h2>Accuracy and latency</h2><p>Each point is a trained candidate. The line connects the Pareto front: no other \
             candidate is both faster and more accurate.</p>";
    html += &chart(rows);
    html += &front_table(rows);
    html += &baselines(config, rows);
    html += &proxies(rows);
    html += &genealogy(rows, &found.best);
    html += &cost(rows);
    html + "</html>"
}

fn result(config: &SearchConfig, found: &Found) -> String {
    let best = &found.best;
    let (latency, side) = (best.latency_ms.unwrap_or_default(), best.image_size);
    let mut html = format!(
        "<p>The search on <code>{}</code> trained {} and found <code>{}</code>, on images of {side}×{side} pixels: {:.1} % of the {} test \
         images are classified correctly, {latency:.2} ms for an image, {:.2} MB of weights, {} parameters.</p><h2>The network</h2>",
        escape(&config.data),
        counted(found.trained, "candidate"),
        escape(&best.network),
        100.0 * found.test.top1,
        found.test.images,
        best.size as f64 / 1e6,
        best.params,
    );
    html += "<div class=\"units\">";
    for Part { name, output, params } in parts(best) {
        let _ = write!(
            html,
            "<div class=\"unit\">{}<small>{output}</small><small>{params}</small></div>→",
            escape(&name)
        );
    }
    html + "classes</div>"
}

/// A part of the found network in its diagram.
struct Part {
    name: String,
    output: String,
    params: String,
}

fn parts(best: &Row) -> Vec<Part> {
    let Ok(variant) = zoo_models::variant(&best.network) else { return Vec::new() };
    let Ok(summary) = summary(&variant.config, best.image_size) else { return Vec::new() };
    let part = |module: &ModuleSummary, name: &str| Part {
        name: name.to_owned(),
        output: module.output.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>().join("×"),
        params: counted(module.params, "parameter"),
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
            None => Part { name: kind.to_owned(), output: String::new(), params: String::new() },
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

fn chart(rows: &[Row]) -> String {
    let points: Vec<_> =
        rows.iter().filter_map(|row| Some((row.latency_ms?, row.accuracy?, row))).collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (_, slowest) = range(&mut points.iter().map(|point| point.0));
    let (worst, highest) = range(&mut points.iter().map(|point| point.1));
    let [width, height] = CHART;
    let x = |latency: f64| MARGIN + latency / (1.05 * slowest) * (width - 2.0 * MARGIN);
    let y = |accuracy: f64| {
        let share = (accuracy - worst) / (highest - worst).max(1e-9);
        height - MARGIN - share * (height - 2.0 * MARGIN)
    };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\"><rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-size=\"13\">milliseconds for an image</text>",
        width / 2.0,
        height - 8.0
    );
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let (latency, accuracy) = (share * 1.05 * slowest, worst + share * (highest - worst));
        let (below, left) = (height - MARGIN + 18.0, MARGIN - 6.0);
        let (column, line, right) = (x(latency), y(accuracy), width - MARGIN);
        let _ = write!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{right}\" y1=\"{line}\" y2=\"{line}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{column}\" y=\"{below}\" text-anchor=\"middle\" font-size=\"12\" fill=\"#555\">{latency:.2}</text>\
             <text x=\"{left}\" y=\"{line}\" text-anchor=\"end\" font-size=\"12\" fill=\"#555\">{:.0} %</text>",
            100.0 * accuracy,
        );
    }
    let front: Vec<_> = pareto_front(rows)
        .iter()
        .filter_map(|row| Some(format!("{:.1},{:.1}", x(row.latency_ms?), y(row.accuracy?))))
        .collect();
    let _ = write!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1a5fb4\" stroke-width=\"1.5\"/>",
        front.join(" ")
    );
    for (latency, accuracy, row) in points {
        let color = if row.method == "random" { "#c64600" } else { "#1a5fb4" };
        let _ = write!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{color}\" fill-opacity=\"0.6\"><title>{}: {:.1} %, {latency:.2} \
             ms</title></circle>",
            x(latency),
            y(accuracy),
            escape(&row.network),
            100.0 * accuracy
        );
    }
    svg + "</svg><p>Blue: search. Orange: random search.</p>"
}

fn front_table(rows: &[Row]) -> String {
    let mut html = "<div class=\"scroll\"><table><tr><th>network on the Pareto front</th><th>accuracy</th><th>ms</th>\
                    <th>parameters</th><th>MB</th><th>generation</th></tr>"
        .to_owned();
    for row in pareto_front(rows) {
        let _ = write!(
            html,
            "<tr><td><code>{}</code></td><td>{:.1} %</td><td>{:.2}</td><td>{}</td><td>{:.2}</td><td>{}</td></tr>",
            escape(&row.network),
            100.0 * row.accuracy.unwrap_or_default(),
            row.latency_ms.unwrap_or_default(),
            row.params,
            row.size as f64 / 1e6,
            row.generation
        );
    }
    html + "</table></div>"
}

fn baselines(config: &SearchConfig, rows: &[Row]) -> String {
    let mut html = "<h2>Baselines</h2><p>Each is trained in the same way under the same limits. <i>random</i> draws networks of the \
                    same space. <i>params</i> is the network with the most parameters of all that were measured. <i>registry</i> are \
                    networks of <code>zoo list</code> that are as fast as the found one.</p><table><tr><th>method</th><th>trained</th><th>best accuracy</th>\
                    <th>median accuracy</th><th>best network</th><th>ms</th><th>time</th></tr>"
        .to_owned();
    // The largest network may have been trained by the search already.
    let measured = rows.iter().filter(|row| row.status == Status::Measured);
    let largest = measured.max_by_key(|row| row.params).map(Row::candidate);
    for method in ["search", "random", "params", "registry"] {
        let of_method = |row: &&Row| match method {
            "params" => row.accuracy.is_some() && Some(row.candidate()) == largest,
            _ => row.accuracy.is_some() && row.method == method,
        };
        let trained: Vec<&Row> = rows.iter().filter(of_method).collect();
        let mut accuracies: Vec<f64> = trained.iter().filter_map(|row| row.accuracy).collect();
        accuracies.sort_by(f64::total_cmp);
        let Some(best) = best(trained.iter().copied(), config.target_ms) else { continue };
        let counts = |row: &&Row| row.method == method || of_method(row);
        let seconds: f64 = rows.iter().filter(counts).map(|row| row.seconds).sum();
        let _ = write!(
            html,
            "<tr><td>{method}</td><td>{}</td><td>{:.1} %</td><td>{:.1} %</td><td><code>{}</code></td><td>{:.2}</td><td>{}</td></tr>",
            accuracies.len(),
            100.0 * best.accuracy.unwrap_or_default(),
            100.0 * accuracies[accuracies.len() / 2],
            escape(&best.network),
            best.latency_ms.unwrap_or_default(),
            duration(seconds)
        );
    }
    html += "</table>";
    let highest =
        |method| best(trained(rows, method), config.target_ms).and_then(|row| row.accuracy);
    if highest("random") > highest("search") {
        html += "<p>Random search found a better network in this time. Its genome is on the Pareto front above.</p>";
    }
    html
}

/// A quantity of a candidate that costs no training, with its name.
type Quantity = (&'static str, fn(&Row) -> Option<f64>);

fn proxies(rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.accuracy.is_some()).collect();
    if rows.len() < 3 {
        return String::new();
    }
    let mut html = "<h2>Proxies</h2><p>Rank correlation (Spearman) of a quantity that costs no training with the accuracy of the \
                    trained candidates.</p><table><tr><th>proxy</th><th>correlation</th><th>candidates</th></tr>"
        .to_owned();
    let quantities: [Quantity; 5] = [
        ("parameters", |row| Some(row.params as f64)),
        ("multiply-accumulates", |row| Some(row.macs as f64)),
        ("latency", |row| row.latency_ms),
        ("synflow", |row| row.synflow),
        ("NWOT", |row| row.nwot),
    ];
    for (name, value) in quantities {
        let pairs = rows.iter().filter_map(|row| Some((value(row)?, row.accuracy?)));
        let (values, accuracies): (Vec<f64>, Vec<f64>) = pairs.unzip();
        if values.len() >= 3 {
            let correlation = spearman(&values, &accuracies);
            let _ = write!(
                html,
                "<tr><td>{name}</td><td>{correlation:.2}</td><td>{}</td></tr>",
                values.len()
            );
        }
    }
    // In successive halving, some candidates are trained twice.
    let longer = |row: &&Row| {
        let again = rows.iter().filter(|other| other.candidate() == row.candidate());
        again.filter(|other| other.epochs > row.epochs).max_by_key(|other| other.epochs).copied()
    };
    let pairs = rows.iter().filter_map(|row| Some((row.accuracy?, longer(row)?.accuracy?)));
    let (short, long): (Vec<f64>, Vec<f64>) = pairs.unzip();
    if short.len() >= 3 {
        let correlation = spearman(&short, &long);
        let _ = write!(
            html,
            "<tr><td>accuracy after fewer epochs</td><td>{correlation:.2}</td><td>{}</td></tr>",
            short.len()
        );
    }
    html + "</table>"
}

fn genealogy(rows: &[Row], best: &Row) -> String {
    let mut html =
        "<h2>Genealogy</h2><p>The ancestors of the found network, the first parent of each.</p><ol>".to_owned();
    let mut current = Some(best);
    while let Some(row) = current {
        let _ = write!(
            html,
            "<li>generation {}: <code>{}</code>, {:.1} %</li>",
            row.generation,
            escape(&row.network),
            100.0 * row.accuracy.unwrap_or_default()
        );
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
    html + "</ol>"
}

fn cost(rows: &[Row]) -> String {
    let count = |status: Status| rows.iter().filter(|row| row.status == status).count();
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    format!(
        "<h2>Cost</h2><p>{} candidates were trained, {} exceeded a limit and were not trained, {} failed. Measuring and training took \
         {} ({:.2} device-hours).</p>",
        count(Status::Trained),
        count(Status::Rejected),
        count(Status::Failed),
        duration(seconds),
        seconds / 3600.0
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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
