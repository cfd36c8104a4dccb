//! What documents state is what the code says.
//!
//! `UPDATE_DOCS=1 cargo test -p zoo-tests --test docs` writes the generated parts anew.

use std::fmt::Write;
use std::path::Path;

use zoo_core::{Family, Variant};
use zoo_models::{Config, FAMILIES, VARIANTS};
use zoo_tests::workspace;

const BEGIN: &str = "<!-- models: generated from the registry -->\n";
const END: &str = "<!-- end of models -->";

fn variants(family: &Family) -> impl Iterator<Item = &'static Variant<Config>> + Clone {
    let name = family.name;
    VARIANTS.iter().filter(move |variant| variant.config.family().name == name)
}

fn millions(params: usize) -> String {
    format!("{:.2} M", params as f64 / 1e6)
}

/// A table with a line for each architecture.
fn families() -> String {
    let mut table = String::from(
        "| architecture | parameters | ImageNet top-1 | variants |\n|---|---:|---:|---|\n",
    );
    for family in FAMILIES {
        let params = variants(family).filter_map(|variant| variant.params);
        let range = match (params.clone().min(), params.max()) {
            (Some(least), Some(most)) if least < most => {
                format!("{} – {}", millions(least), millions(most))
            }
            (Some(one), _) => millions(one),
            _ => String::new(),
        };
        let best = variants(family).filter_map(Variant::top1).reduce(f64::max);
        let best = best.map_or_else(String::new, |top1| format!("{top1:.2}"));
        let names: Vec<String> =
            variants(family).map(|variant| format!("`{}`", variant.name)).collect();
        writeln!(
            table,
            "| [{}]({}), {} | {range} | {best} | {} |",
            family.title,
            family.paper.url,
            family.paper.year,
            names.join(" ")
        )
        .unwrap();
    }
    table
}

/// All that is known about the models.
fn models() -> String {
    let mut text = String::from(
        "# Models\n\n\
         Generated from the registry: `UPDATE_DOCS=1 cargo test -p zoo-tests --test docs`.\n\n\
         Parameters are trainable ones, without auxiliary heads. Multiply-accumulates (GMACs) are \
         for one image of as many pixels a side. Accuracy is in per cent, as published, on the \
         validation set of ImageNet-1k. Weights are named `variant.tag`.\n",
    );
    for family in FAMILIES {
        let paper = &family.paper;
        write!(
            text,
            "\n## {}\n\n{}, {}: [{}]({})\n\n\
             | variant | parameters | GMACs | pixels | keys |\n|---|---:|---:|---:|---|\n",
            family.title, paper.authors, paper.year, paper.title, paper.url
        )
        .unwrap();
        for variant in variants(family) {
            let layouts: Vec<_> = variant.layouts.iter().map(|layout| layout.name).collect();
            writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                variant.name,
                variant.params.map_or_else(String::new, |n| n.to_string()),
                variant.gmacs.map_or_else(String::new, |gmacs| format!("{gmacs:.3}")),
                variant.size,
                layouts.join(", ")
            )
            .unwrap();
        }
        if variants(family).all(|variant| variant.weights.is_empty()) {
            continue;
        }
        text.push_str(
            "\n| weights | top-1 | top-5 | resize, crop | licence |\n|---|---:|---:|---|---|\n",
        );
        for variant in variants(family) {
            for weights in variant.weights {
                let [top1, top5] = weights
                    .accuracy
                    .map_or_else(Default::default, |both| both.map(|share| format!("{share:.2}")));
                let preprocess = &weights.preprocess;
                writeln!(
                    text,
                    "| [`{}.{}`]({}) | {top1} | {top5} | {}, {}, {} | {} |",
                    variant.name,
                    weights.tag,
                    weights.url,
                    preprocess.resize,
                    preprocess.crop,
                    format!("{:?}", preprocess.filter).to_lowercase(),
                    weights.licence
                )
                .unwrap();
            }
        }
    }
    text
}

fn is_current(path: &Path, current: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, current).unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == current, "{} is not current: run this test with UPDATE_DOCS=1", path.display());
}

#[test]
fn the_readme_lists_the_registry() {
    let path = workspace("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the README has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table ends");
    is_current(&path, &format!("{before}{BEGIN}{}{END}{after}", families()));
}

#[test]
fn the_models_are_described() {
    is_current(&workspace("docs/models.md"), &models());
}

#[test]
fn the_settings_of_a_run_are_described() {
    is_current(&workspace("docs/settings.md"), &zoo_train::config::reference());
}
