//! Reports as HTML pages that need no other file, in one look: readable on a phone, in a dark room and on paper.
//!
//! A page is a template of [minijinja](https://docs.rs/minijinja) that starts with `{% extends "base.html" %}` and fills the block
//! `content`. The values of its context are escaped. A [`Chart`] brings its own HTML, with its numbers in a table behind it.
//!
//! ```
//! # #[derive(serde::Serialize)] struct Context { title: String, chart: zoo_report::Html }
//! use zoo_report::{Axis, Chart, Series, page};
//!
//! let chart = Chart::new("Loss", Axis::new("epoch"), Axis::new("loss").from_zero())
//!     .with(Series::line("training", [(1.0, 2.1), (2.0, 1.4)]));
//! let context = Context { title: "A <run>".to_owned(), chart: chart.html() };
//! let html = page("{% extends 'base.html' %}{% block content %}{{ chart }}{% endblock %}", &context);
//! assert!(html.contains("<h1>A &lt;run&gt;</h1>") && html.contains("<svg"));
//! ```

mod chart;
mod picture;
mod ticks;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::{Serialize, Serializer};

pub use chart::{Axis, Chart, Mark, Point, Series};
pub use picture::{jpeg, png, within};

/// HTML that a template takes as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Html(pub String);

impl Serialize for Html {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::from_safe_string(self.0.clone()).serialize(serializer)
    }
}

/// Renders a page. The context has at least a `title`.
///
/// A template may use, beside the filters of minijinja:
/// - `percent`: 0.123 becomes 12.3 %, an absent value a dash;
/// - `fixed(n)`: a number with `n` digits after the point, an absent value a dash;
/// - `{% from "parts.html" import show_facts %}`: `show_facts(facts)` shows pairs of a number and its meaning in large type.
///
/// # Panics
///
/// When the template is wrong. It is a part of the program, so a test finds this.
pub fn page(template: &str, context: &impl Serialize) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("percent", |value: Value| number(&value, 1, 100.0, " %"));
    environment.add_filter("fixed", |value: Value, digits: usize| number(&value, digits, 1.0, ""));
    for (name, source) in [
        ("base.html", include_str!("templates/base.html")),
        ("parts.html", include_str!("templates/parts.html")),
        ("style.css", include_str!("templates/style.css")),
        ("page", template),
    ] {
        environment.add_template(name, source).unwrap_or_else(|error| panic!("{error:#}"));
    }
    let context = Value::from(Serde(context));
    let rendered = environment.get_template("page").and_then(|page| page.render(context));
    rendered.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A number with its unit, or a dash if there is none.
fn number(value: &Value, digits: usize, factor: f64, unit: &str) -> String {
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_finite() => format!("{:.digits$}{unit}", factor * number),
        _ => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Context {
        title: &'static str,
        share: Option<f64>,
        facts: Vec<(String, &'static str)>,
    }

    #[test]
    fn a_page_escapes_its_values() {
        let template = r#"{% extends "base.html" %}{% from "parts.html" import show_facts %}
            {% block content %}{{ show_facts(facts) }}{{ share|percent }} {{ share|fixed(3) }}{% endblock %}"#;
        let facts = vec![("{{ 1 + 1 }}".to_owned(), "<b>")];
        let html = page(template, &Context { title: "a & b", share: Some(0.1234), facts });
        assert!(html.contains("<title>a &amp; b</title>"), "{html}");
        assert!(html.contains("{{ 1 + 1 }}") && html.contains("&lt;b&gt;"), "{html}");
        assert!(html.contains("12.3 % 0.123"), "{html}");
        let html = page(template, &Context { title: "", share: None, facts: Vec::new() });
        assert!(html.contains("– –"), "{html}");
    }
}
