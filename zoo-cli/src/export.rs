//! `zoo export`: from a record to a file that other programs read.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use zoo_core::{KeyLayout, Variant};
use zoo_import::{ModelCard, Precision, StateDict};
use zoo_models::{Config, variant};

use crate::args::{Export, Target};
use crate::capture::capture;
use crate::device::Backend;
use crate::model::from_record_file;
use crate::output::ensure_apart;
use crate::recognise::candidate;

/// Runs the command.
pub fn run(args: &Export) -> anyhow::Result<()> {
    ensure!(
        args.to == Target::Onnx || args.opset.is_none() && args.size.is_none(),
        "only ONNX has operator sets and image sizes\n\
         hint: leave --opset and --size out, or add --to onnx"
    );
    ensure_apart(&args.record, &args.output)?;
    let model = from_record_file(&args.record, &Backend::Cpu.device()?)?;
    let card = &model.card;
    let variant = variant(&card.variant)?;
    let layout = layout(&variant, card, args.layout.as_deref())?;
    // A fresh classifier is no weight that anyone wants.
    let classifier = (candidate(&variant).classifier)();
    let absent = if card.has_classifier { BTreeSet::new() } else { classifier.clone() };
    let precision = if args.half { Precision::Half } else { Precision::Single };
    let state = StateDict::of(&model.network, layout, &absent, precision)
        .with_hidden(&card.hidden, &classifier);

    match args.to {
        Target::Safetensors => state.save_safetensors(&args.output)?,
        Target::Pth => state.save_pth(&args.output)?,
        Target::Onnx => {
            ensure!(
                card.has_classifier,
                "{} has no trained classifier, so its logits mean nothing\n\
                 hint: fine-tune it, or export its weights --to safetensors",
                args.record.display()
            );
            let config = variant.config.with_num_classes(card.num_classes);
            let config = config.with_in_channels(card.in_channels);
            let size = args.size.unwrap_or(card.preprocess.crop as usize);
            let captured =
                |images| capture(&config, &card.hidden, [images, card.in_channels, size, size]);
            let ((_, two), (_, three)) = (captured(2)?, captured(3)?);
            state.save_onnx([&two, &three], args.opset.unwrap_or(OPSET), &args.output)?;
        }
    }
    eprintln!("read {} as {}, keys: {}", args.record.display(), card.variant, layout.name);
    if !card.has_classifier {
        eprintln!("  without a classifier, as the record has no trained one");
    }
    eprintln!("wrote {}", args.output.display());
    Ok(())
}

/// The operator set where none is asked for; what PyTorch writes too.
const OPSET: i64 = 18;

/// The spelling that is asked for, or the one that the weights came in, or the most common one.
fn layout(
    variant: &Variant<Config>,
    card: &ModelCard,
    asked: Option<&str>,
) -> anyhow::Result<&'static KeyLayout> {
    let find = |name: &str| variant.layouts.iter().find(|layout| layout.name == name);
    match asked {
        None => Ok(find(&card.origin.layout).unwrap_or(&variant.layouts[0])),
        Some(name) => match find(name) {
            Some(layout) => Ok(layout),
            None => {
                let names: Vec<_> = variant.layouts.iter().map(|layout| layout.name).collect();
                bail!(
                    "{} has no keys as `{name}` spells them\nhint: it has those of {}",
                    variant.name,
                    names.join(", ")
                )
            }
        },
    }
}
