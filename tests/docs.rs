//! What documents state is what the code says.
//!
//! `UPDATE_DOCS=1 cargo test -p zoo-tests --test docs` writes the generated parts anew.

use std::fmt::Write;

use zoo_cli::list::row;
use zoo_models::{FAMILIES, VARIANTS};
use zoo_tests::workspace;

const BEGIN: &str = "<!-- models: generated from the registry -->\n";
const END: &str = "<!-- end of models -->";

/// A table with a line for each variant.
fn table() -> String {
    let mut table = String::from(
        "| architecture | variant | parameters | GMACs | pixels | ImageNet top-1 | weights |\n\
         |---|---|---:|---:|---:|---:|---|\n",
    );
    for family in FAMILIES {
        let paper = &family.paper;
        let mut title = format!("[{}]({}), {}", family.title, paper.url, paper.year);
        for variant in VARIANTS.iter().filter(|v| v.config.family().name == family.name) {
            let row = row(variant);
            let params =
                row.params.map_or_else(String::new, |n| format!("{:.2} M", n as f64 / 1e6));
            let gmacs = row.gmacs.map_or_else(String::new, |gmacs| format!("{gmacs:.3}"));
            let top1 = row.top1.map_or_else(String::new, |top1| format!("{top1:.2}"));
            writeln!(
                table,
                "| {title} | `{}` | {params} | {gmacs} | {} | {top1} | {} |",
                row.variant, row.size, row.weights
            )
            .unwrap();
            title.clear();
        }
    }
    table
}

#[test]
fn the_readme_lists_the_registry() {
    let path = workspace("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the README has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table ends");
    let current = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(text == current, "README.md is not current: run this test with UPDATE_DOCS=1");
    }
}
