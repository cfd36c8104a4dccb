//! The generated documents agree with the code.
//!
//! `UPDATE_DOCS=1 cargo test -p zoo-tests --test docs` writes the generated parts again.

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

/// Returns a table with a line for each architecture.
fn families() -> String {
    let mut table = format!(
        "{} architectures with {} variants, {} of them with published weights. Accuracy is that of the \
         best weights on ImageNet-1k, as published.\n\n\
         | architecture | variants | parameters | top-1 |\n|---|---|---:|---:|\n",
        FAMILIES.len(),
        VARIANTS.len(),
        VARIANTS.iter().filter(|variant| !variant.weights.is_empty()).count()
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
        let count = variants(family).count();
        let first = variants(family).next().expect("a family has a variant").name;
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        writeln!(
            table,
            "| [{}]({}), {} | `{first}`{others} | {range} | {best} |",
            family.title, family.paper.url, family.paper.year,
        )
        .unwrap();
    }
    table
}

/// Returns the document of all models.
fn models() -> String {
    let mut text = String::from(
        "# Models\n\n\
         Generated from the registry: `UPDATE_DOCS=1 cargo test -p zoo-tests --test docs`.\n\n\
         Parameters are trainable ones, without auxiliary heads. Multiply-accumulates (GMACs) are \
         for one image of as many pixels a side. Accuracy is in percent, as published, on the \
         validation set of ImageNet-1k. Weights are named `variant.tag`.\n\n",
    );
    text.push_str(UNLISTED);
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
            "\n| weights | top-1 | top-5 | resize, crop | license |\n|---|---:|---:|---|---|\n",
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
                    format!("{:?}", preprocess.interpolation).to_lowercase(),
                    weights.license
                )
                .unwrap();
            }
        }
    }
    text
}

/// The names that have no row in a table.
const UNLISTED: &str = "\
Some names follow a rule and have no row: `resnet<6n+2>_cifar` and `resnet<6n+2>_cifar_b`; `wrn_<6n+4>_<k>`, with the type of
its blocks after it if that is not B(3,3) (`wrn_40_4_b131`); `densenet_bc_<depth>_k<growth>`; AE-CNN's genomes, such as
`ae_cnn_r64x3_m_d20x6_a_r128x4`; and widths as in `mobilenet_v2_w0_35`, `mobilenet_v1_0_35`, `mobilenet_v3_small_w0_75`,
`mnasnet0_35`, `mnasnet_a1_w0_75` and `ghostnet_075`, each with the ending that its row has (`mobilenet_v2_w0_35_keras`). timm's
further combinations of ResNet's options have timm's names (`seresnext26d_32x4d`), and a VGG for CIFAR may have hidden
layers of 4,096 outputs (`vgg16_bn_cifar_4096`).
";

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
    let (before, rest) = text.split_once(BEGIN).expect("the README has the markers of the table");
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

/// The README shows the code of the projects in `tests/embedding`.
#[test]
fn the_readme_shows_code_that_runs() {
    let path = workspace("README.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for project in ["zoo", "architecture"] {
        let file = format!("tests/embedding/{project}/src/main.rs");
        let code = std::fs::read_to_string(workspace(&file)).unwrap();
        let begin = format!("<!-- code: {file} -->\n");
        let (before, rest) =
            text.split_once(&begin).expect("the README has the markers of the code");
        let (_, after) = rest.split_once("<!-- end of code -->").expect("the code ends");
        text = format!("{before}{begin}```rust,ignore\n{code}```\n<!-- end of code -->{after}");
    }
    is_current(&path, &text);
}
