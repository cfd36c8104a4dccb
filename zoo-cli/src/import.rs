//! `zoo import`: from a checkpoint to a record.

use anyhow::ensure;
use zoo_import::onnx::{Graph, Match};
use zoo_import::{Checkpoint, Choice, Precision, Record};
use zoo_models::variant;

use crate::agreement::agreement;
use crate::args::Import;
use crate::device::{self, Backend};
use crate::lines;
use crate::model::{Model, from_checkpoint};
use crate::output::{channels, classes, ensure_apart};

/// Runs the command.
pub fn run(args: &Import) -> anyhow::Result<()> {
    ensure_apart(&args.checkpoint, &args.output)?;
    device::keep_memory();
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
    let device = Backend::Cpu.device()?;
    let choice = Choice {
        prefix: args.key.clone(),
        is_averaged: args.ema,
        is_trunk: args.trunk,
        activation: args.activation.map(Into::into),
    };
    let (model, report) =
        from_checkpoint(&checkpoint, args.variant.as_deref(), labels, &choice, &device)?;
    let checked = match &checkpoint.graph {
        Some(graph) => Some(check(graph, &model)?),
        None => None,
    };
    let precision = if args.half { Precision::Half } else { Precision::Single };
    Record::save(model.network, &model.card, precision, &args.output)?;

    let card = &model.card;
    let tag = card.tag.as_ref().map_or_else(String::new, |tag| format!(".{tag}"));
    eprintln!("read {} as {}{tag}", args.checkpoint.display(), card.variant);
    eprintln!("  {report}");
    if report.layout == Match::LAYOUTS[0].name {
        eprintln!("  matched by the graph's structure, since their names are lost");
    }
    eprintln!(
        "  {}{}, {}",
        classes(card.num_classes),
        if card.labels.is_empty() { " without names" } else { "" },
        channels(card.in_channels)
    );
    if card.has_auxiliary {
        eprintln!("  with the auxiliary classifiers that it was trained with");
    }
    if !card.has_classifier {
        eprintln!("  without a classifier: the record has a fresh one, for fine-tuning");
    }
    if let Some(checked) = checked {
        eprintln!("  {checked}");
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

/// Compares a model with the graph that its weights came from.
fn check(graph: &Graph, model: &Model) -> anyhow::Result<String> {
    let card = &model.card;
    if !card.has_classifier {
        return Ok("not checked: without a classifier there are no logits to compare".to_owned());
    }
    let size = variant(&card.variant)?.size;
    match agreement(graph, &model.network, card.in_channels, size) {
        Ok(agreement) => {
            let difference = agreement.difference;
            ensure!(
                agreement.is_close(),
                "{} has the graph's weights, but a logit differs by {difference:.1e} of {:.1e}\n\
                 hint: the graph does something that the model does not{}; export the network \
                 alone, in evaluation mode",
                card.variant,
                agreement.largest,
                match graph.takes_maxima() {
                    true => ": it takes the maximum of each map, not the mean",
                    false => ", such as another activation, stride or border",
                }
            );
            Ok(format!("checked: largest difference of a logit {difference:.1e}"))
        }
        Err(reason) => Ok(format!("not checked against the graph: {reason:#}")),
    }
}
