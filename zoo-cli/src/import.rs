//! `zoo import`: from a checkpoint to a record.

use anyhow::Context;
use zoo_import::{Checkpoint, Precision, Record};

use crate::args::Import;
use crate::device::Backend;
use crate::model::from_checkpoint;

/// Runs the command.
pub fn run(args: &Import) -> anyhow::Result<()> {
    let labels = match &args.labels {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Some(text.lines().map(str::to_owned).collect())
        }
        None => None,
    };
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let device = Backend::Cpu.device()?;
    let (model, report) = from_checkpoint(&checkpoint, args.variant.as_deref(), labels, &device)?;
    let precision = if args.half { Precision::Half } else { Precision::Single };
    Record::save(&model.network, &model.card, precision, &args.output)?;

    let card = &model.card;
    let tag = card.tag.as_ref().map_or_else(String::new, |tag| format!(".{tag}"));
    eprintln!("read {} as {}{tag}", args.checkpoint.display(), card.variant);
    eprintln!("  {report}");
    eprintln!(
        "  {} classes{}, {} channels",
        card.num_classes,
        if card.labels.is_empty() { " without names" } else { "" },
        card.in_channels
    );
    if card.has_auxiliary {
        eprintln!("  with the auxiliary classifiers that it was trained with");
    }
    if !card.has_classifier {
        eprintln!("  without a classifier: the record has a fresh one, for fine-tuning");
    }
    eprintln!("wrote {}", args.output.display());
    Ok(())
}
