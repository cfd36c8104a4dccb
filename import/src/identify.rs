//! Recognition of the zoo's model that a checkpoint belongs to.

use burn::tensor::Device;
use zoo_core::{KeyLayout, Variant, parameters};
use zoo_models::{Config, Network, VARIANTS, unlisted, variant};

use crate::agreement::{Agreement, agreement};
use crate::network::capture;
use crate::onnx::{self, Graph, Match, Unmatched};
use crate::recognize::recognize;
use crate::{Candidate, Checkpoint, Choice, Found, Recognition, Unrecognized, load};

/// A checkpoint with its model.
pub struct Identified {
    /// The model, as recognized by the checkpoint's tensors.
    pub recognition: Recognition,
    /// Only the tensors of the model.
    pub checkpoint: Checkpoint,
    /// The layouts of the tensors' keys.
    pub layouts: &'static [KeyLayout],
}

/// The reason why the network of a checkpoint is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// Keys and shapes do not decide.
    #[error(transparent)]
    Keys(#[from] Unrecognized),
    /// The layers of the graph do not decide.
    #[error(transparent)]
    Graph(#[from] Unmatched),
    /// The graph has the layers of these networks but another computation.
    #[error(
        "it has the layers of {}, but computes something else than any of them\nhint: between the layers or \
         before them the graph does what no model does; export the network alone, in evaluation mode",
        .0.join(" and of ")
    )]
    Computes(Vec<String>),
}

/// Recognizes the network of a checkpoint, among those in the tables first.
///
/// # Errors
///
/// When the network is unknown or ambiguous.
pub fn identify(checkpoint: &Checkpoint, choice: &Choice) -> Result<Identified, Unidentified> {
    let listed: Vec<Candidate<'_>> = VARIANTS.iter().map(candidate).collect();
    let error = match identify_among(checkpoint, &listed, choice) {
        Ok(identified) => return Ok(identified),
        Err(error) => error,
    };
    // The network may have another size than those in the tables.
    let family = |name: &str| variant(name).ok().map(|variant| variant.config.family().name);
    let near = match &error {
        Unidentified::Keys(Unrecognized::Unknown(_)) => None,
        Unidentified::Graph(Unmatched { nearest: Some(nearest), .. }) => family(nearest),
        _ => return Err(error),
    };
    let is_near = |relative: &Variant<Config>| match near {
        Some(near) => relative.config.family().name == near,
        None => true,
    };
    let relatives: Vec<_> = unlisted().filter(is_near).collect();
    let relatives: Vec<Candidate<'_>> = relatives.iter().map(candidate).collect();
    let is_near =
        |error: &Unidentified| matches!(error, Unidentified::Graph(unmatched) if unmatched.is_near);
    identify_among(checkpoint, &relatives, choice).map_err(|closer| match &closer {
        Unidentified::Keys(Unrecognized::Unknown(_)) => error,
        Unidentified::Keys(_) => closer,
        _ if is_near(&closer) && !is_near(&error) => closer,
        _ => error,
    })
}

/// Checks that a checkpoint holds the named model.
///
/// # Errors
///
/// When it does not.
pub fn identify_as(
    checkpoint: &Checkpoint,
    variant: &Variant<Config>,
    choice: &Choice,
) -> Result<Identified, Unidentified> {
    identify_among(checkpoint, &[candidate(variant)], choice)
}

/// Recognizes by the names of the tensors, or otherwise by the graph.
fn identify_among(
    checkpoint: &Checkpoint,
    candidates: &[Candidate<'_>],
    choice: &Choice,
) -> Result<Identified, Unidentified> {
    let unrecognized = match recognize(checkpoint, candidates, choice) {
        Ok(Found { recognition, checkpoint }) => {
            let layouts = candidates
                .iter()
                .find(|candidate| candidate.name == recognition.name)
                .map_or(&[][..], |candidate| candidate.layouts);
            return Ok(Identified { recognition, checkpoint, layouts });
        }
        Err(unrecognized) => unrecognized,
    };
    let Some(graph) = checkpoint.graph.as_ref().filter(|graph| graph.refusal().is_none()) else {
        return Err(unrecognized.into());
    };
    let is_of_another_size = match &unrecognized {
        Unrecognized::Unknown(nearest) => nearest.iter().any(|one| one.unused == 0),
        _ => false,
    };
    if graph.is_keras() && is_of_another_size {
        return Err(unrecognized.into());
    }
    let mut matches = match onnx::recognize(checkpoint, candidates) {
        Ok(matches) => matches,
        // The names are more reliable than a few equal layers.
        Err(unmatched) if graph.is_keras() && !unmatched.is_near => {
            return Err(unrecognized.into());
        }
        Err(unmatched) => return Err(unmatched.into()),
    };
    if matches.len() > 1 {
        // These networks have the same layers, so their computation decides.
        let all: Vec<_> = matches.iter().map(|found| found.recognition.clone()).collect();
        let compared: Vec<(Agreement, Match)> = matches
            .into_iter()
            .filter_map(|found| Some((computes(graph, &found)?, found)))
            .collect();
        let is_any_left = compared.len() < all.len();
        let mut close: Vec<(f32, Match)> = compared
            .into_iter()
            .filter(|(agreement, _)| agreement.is_close())
            .map(|(agreement, found)| (agreement.difference, found))
            .collect();
        // Networks with other padding may be close too, but not as close.
        let least = close.iter().map(|(difference, _)| *difference).fold(f32::INFINITY, f32::min);
        close.retain(|(difference, _)| *difference <= 8.0 * least);
        if close.is_empty() && is_any_left {
            // The graph can't be computed; names may decide.
            let named = Checkpoint {
                path: checkpoint.path.clone(),
                tensors: checkpoint.tensors.clone(),
                facts: checkpoint.facts.clone(),
                ..Checkpoint::default()
            };
            return identify_among(&named, candidates, choice)
                .map_err(|_| Unrecognized::Ambiguous(all).into());
        }
        if close.is_empty() {
            return Err(Unidentified::Computes(all.into_iter().map(|one| one.name).collect()));
        }
        matches = close.into_iter().map(|(_, found)| found).collect();
    }
    // Several networks have the same computation if they differ only in rounding, or in a BatchNorm
    // that the exporter folded into the convolutions. The first one is used.
    let found = matches.into_iter().next().expect("a graph without a match is an error");
    let Match { recognition, checkpoint } = found;
    Ok(Identified { recognition, checkpoint, layouts: Match::LAYOUTS })
}

/// Compares a model with the graph's weights with the graph. `None` if they can't be compared.
fn computes(graph: &Graph, found: &Match) -> Option<Agreement> {
    let Recognition { name, num_classes, in_channels, .. } = &found.recognition;
    let variant = variant(name).ok()?;
    let config = variant.config.with_num_classes(*num_classes).with_in_channels(*in_channels);
    let network = config.init(&Device::flex());
    let (network, _) = load(network, name, &found.checkpoint, Match::LAYOUTS).ok()?;
    agreement(graph, &network, *in_channels, variant.size).ok()
}

/// Returns a variant as a candidate for recognition.
pub fn candidate(variant: &Variant<Config>) -> Candidate<'_> {
    let sized = |num_classes, in_channels| {
        variant.config.clone().with_num_classes(num_classes).with_in_channels(in_channels)
    };
    Candidate {
        name: variant.name,
        family: variant.config.family().name,
        layouts: variant.layouts,
        usual: (variant.config.num_classes(), variant.config.in_channels()),
        build: Box::new(move |num_classes, in_channels| {
            parameters(&lazy(&sized(num_classes, in_channels)))
        }),
        classifier: Box::new(|| {
            let network = lazy(&variant.config);
            let (parameters, modules) = (parameters(&network), network.classifier_paths());
            let of_classifier = parameters.into_iter().filter(|it| it.is_in(&modules));
            of_classifier.map(|parameter| parameter.path).collect()
        }),
        capture: Box::new(move |num_classes, in_channels| {
            let images = [1, in_channels, variant.size, variant.size];
            let captured = capture(&sized(num_classes, in_channels), &[], images);
            captured.ok().map(|(_, capture)| capture)
        }),
    }
}

/// Builds a network with lazy parameters, which are never initialized here.
fn lazy(config: &Config) -> Network {
    config.init(&Device::flex())
}
