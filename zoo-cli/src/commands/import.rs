//! `zoo import`: from a checkpoint to a record.

use std::path::PathBuf;

use anyhow::ensure;
use burn_zoo::import::onnx::{Graph, Match};
use burn_zoo::import::{Checkpoint, Choice, Comparison, ImportOptions, import};
use burn_zoo::models::Activation;
use burn_zoo::record::{Precision, Record};
use burn_zoo::{Backend, counted};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::lines;
use crate::options::keep_memory;
use crate::output::{ensure_apart, in_options};

/// `zoo import`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A .pt, .pth, .pt2, .safetensors, .onnx, .h5 or .keras file, or a folder or an archive with one
    pub(crate) checkpoint: PathBuf,

    /// Name of the model, with a tag if several weights are published [default: recognized by the
    /// names and shapes of the tensors]
    #[arg(long, short, alias = "variant", value_name = "MODEL[.TAG]")]
    pub(crate) model: Option<String>,

    /// The record to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// A text file with the name of one class per line; for a model with one output, the negative and
    /// the positive class, or only the positive one
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,

    /// Prefix of the network's keys, if the file has several networks: encoder_q
    #[arg(long, alias = "key", value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,

    /// Take the averaged weights, if the file has both averaged and trained ones
    #[arg(long)]
    pub(crate) ema: bool,

    /// Take only the layers before the classifier, for fine-tuning
    #[arg(long, alias = "trunk")]
    pub(crate) backbone: bool,

    /// The activation between the layers of a classifier with several layers; files do not say it
    /// [default: relu]
    #[arg(long, value_parser = activation(), value_name = "NAME")]
    pub(crate) activation: Option<Activation>,

    /// Store the weights in half precision: half the size, probabilities differ in the third digit
    #[arg(long)]
    pub(crate) half: bool,
}

/// The activations that can be between two fully connected layers.
const ACTIVATIONS: [(&str, &str, Activation); 7] = [
    ("none", "Nothing", Activation::Identity),
    ("relu", "max(x, 0)", Activation::Relu),
    ("relu6", "min(max(x, 0), 6)", Activation::Relu6),
    ("silu", "x sigmoid(x), also called swish", Activation::Silu),
    ("hard-swish", "x relu6(x + 3) / 6", Activation::HardSwish),
    ("tanh", "The hyperbolic tangent", Activation::Tanh),
    ("sigmoid", "The logistic function", Activation::Sigmoid),
];

fn activation() -> impl TypedValueParser<Value = Activation> {
    let values = ACTIVATIONS.map(|(name, help, _)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).map(|name| {
        let named = ACTIVATIONS.into_iter().find(|(known, ..)| *known == name);
        named.expect("it is one of the names").2
    })
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure_apart(&args.checkpoint, &args.output)?;
    keep_memory();
    let labels = match &args.labels {
        Some(path) => {
            ensure_apart(path, &args.output)?;
            let labels = lines::read(path)?;
            ensure!(!labels.is_empty(), "there are no names of classes in {}", path.display());
            Some(labels)
        }
        None => None,
    };
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let options = ImportOptions {
        variant: args.model.clone(),
        labels,
        choice: Choice {
            prefix: args.prefix.clone(),
            averaged: args.ema,
            backbone: args.backbone,
            activation: args.activation,
        },
    };
    let imported = import(&checkpoint, &options, &Backend::Cpu.device()?)?;
    for note in &imported.notes {
        eprintln!("note: {}", in_options(note));
    }
    let comparison = match &checkpoint.graph {
        Some(graph) => Some(imported.compare(graph)?),
        None => None,
    };
    let precision = if args.half { Precision::Half } else { Precision::Single };
    let (card, report) = (&imported.card, &imported.report);
    Record::save(imported.network, card, precision, &args.output)?;

    let tag = card.tag.as_ref().map_or_else(String::new, |tag| format!(".{tag}"));
    eprintln!("read {} as {}{tag}", args.checkpoint.display(), card.variant);
    eprintln!("  {report}");
    if report.layout == Match::LAYOUTS[0].name {
        eprintln!("  matched by the graph's structure, since their names are lost");
    }
    eprintln!(
        "  {}{}, {}",
        counted(card.num_classes, "class"),
        if card.labels.is_empty() { " without names" } else { "" },
        counted(card.in_channels, "channel")
    );
    if card.has_auxiliary {
        eprintln!("  with the auxiliary classifiers that it was trained with");
    }
    if !card.has_classifier {
        eprintln!("  without a classifier: the record has a new one, for fine-tuning");
    }
    match comparison {
        Some(Comparison::Equal(agreement)) => {
            eprintln!("  checked: largest difference of a logit {:.1e}", agreement.difference);
        }
        Some(Comparison::Headless) => {
            eprintln!("  not checked: without a classifier there are no logits to compare");
        }
        Some(Comparison::Impossible(reason)) => {
            eprintln!("  not checked against the graph: {reason}");
        }
        None => {}
    }
    if card.num_classes > 1 && checkpoint.graph.as_ref().is_some_and(Graph::is_multi_label) {
        eprintln!(
            "  note: its classes don't exclude each other (a sigmoid is at the end); `zoo classify` \
             gives probabilities that sum to 1, in the same order"
        );
    }
    eprintln!("wrote {}", args.output.display());
    Ok(())
}
