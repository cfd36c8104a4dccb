//! Export of a network to a file for other programs.

use std::collections::BTreeSet;
use std::path::Path;

use zoo_core::{KeyLayout, Variant};
use zoo_graph::Graph;
use zoo_models::{Config, Network, UnknownName, variant};
use zoo_record::{ModelCard, Precision};

use super::StateDict;
use crate::Error;
use crate::identify::candidate;
use crate::network::capture;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Safetensors with the keys of the PyTorch implementation, for `load_state_dict`.
    Safetensors,
    /// A `.pth` file with the keys of the PyTorch implementation, for `torch.load`.
    Pth,
    /// A model for ONNX Runtime and other programs, for any batch size.
    Onnx {
        /// The operator set; see [`OPSETS`](super::OPSETS).
        opset: i64,
        /// Side of the images in pixels; by default that of the card.
        size: Option<usize>,
    },
}

impl ExportFormat {
    /// ONNX with the operator set of PyTorch's exporter.
    pub const ONNX: Self = Self::Onnx { opset: 18, size: None };
}

/// The options of an export.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions<'a> {
    /// The format.
    pub format: ExportFormat,
    /// The key layout, by name. By default that of the imported weights, or else the most common
    /// one.
    pub layout: Option<&'a str>,
    /// The precision of the weights.
    pub precision: Precision,
}

/// Writes a network to a file for other programs atomically, and returns the key layout.
///
/// # Errors
///
/// When the network has no such layout or can't be written in the format, or when the file can't be
/// written.
pub fn export(
    network: &Network,
    card: &ModelCard,
    options: ExportOptions<'_>,
    path: &Path,
) -> Result<&'static KeyLayout, Error> {
    let variant = variant(&card.variant).map_err(UnknownName::from)?;
    let layout = layout(&variant, card, options.layout)?;
    // An untrained classifier is not exported.
    let classifier = (candidate(&variant).classifier)();
    let absent = if card.has_classifier { BTreeSet::new() } else { classifier.clone() };
    let state = StateDict::of(network, layout, &absent, options.precision)
        .with_hidden(&card.hidden, &classifier);
    match options.format {
        ExportFormat::Safetensors => state.save_safetensors(path)?,
        ExportFormat::Pth => state.save_pth(path)?,
        ExportFormat::Onnx { opset, size } => {
            if !card.has_classifier {
                return Err(Error::NoClassifier(card.variant.clone()));
            }
            let config = variant.config.clone().with_num_classes(card.num_classes);
            let config = config.with_in_channels(card.in_channels);
            let size = size.unwrap_or(card.preprocess.crop as usize);
            let captured = |images| -> Result<Graph, Error> {
                let shape = [images, card.in_channels, size, size];
                Ok(capture(&config, &card.hidden, shape)?.1)
            };
            state.save_onnx([&captured(2)?, &captured(3)?], opset, path)?;
        }
    }
    Ok(layout)
}

/// Returns the layout with this name, or by default that of the imported weights, or else the most
/// common one.
fn layout(
    variant: &Variant<Config>,
    card: &ModelCard,
    name: Option<&str>,
) -> Result<&'static KeyLayout, Error> {
    let find = |name: &str| variant.layouts.iter().find(|layout| layout.name == name);
    match name {
        None => Ok(find(&card.origin.layout).unwrap_or(&variant.layouts[0])),
        Some(name) => find(name).ok_or_else(|| Error::NoLayout {
            model: variant.name.to_owned(),
            layout: name.to_owned(),
            layouts: variant.layouts.iter().map(|layout| layout.name).collect(),
        }),
    }
}
