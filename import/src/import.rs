//! Import of a checkpoint as a network of the zoo with its card.

use std::collections::BTreeSet;

use burn::tensor::Device;
use zoo_core::{
    KeyLayout, Labels, Parameter, Preprocess, Variant, Weights, parameters, with_margin,
};
use zoo_models::{Config, Network, published, variant};
use zoo_record::{ModelCard, Origin};

use crate::agreement::{Agreement, agreement};
use crate::error::Error;
use crate::identify::{Identified, Unidentified, candidate, identify, identify_as};
use crate::onnx::Graph;
use crate::{
    Checkpoint, Choice, Normalization, Report, Unrecognized, fit, has_auxiliary, is_of, keys,
    load_but,
};

/// The options of an import.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The network, with a tag if several weights are published. If it is `None`, the network is
    /// recognized by its keys and shapes, or by its graph.
    pub variant: Option<String>,
    /// The names of the classes, in order. For one output: the negative and the positive class, or
    /// only the latter.
    pub labels: Option<Vec<String>>,
    /// The choice between several networks in the file.
    pub choice: Choice,
}

/// A network with the weights of a checkpoint.
#[derive(Debug)]
pub struct Imported {
    /// The network.
    pub network: Network,
    /// The card of the model.
    pub card: ModelCard,
    /// The report of the tensors and parameters.
    pub report: Report,
    /// Notes about the import, as sentences for the user.
    pub notes: Vec<String>,
}

impl Imported {
    /// Computes the logits of a fixed image with the network and with the graph that its weights
    /// came from, and compares them.
    ///
    /// # Errors
    ///
    /// [`Error::Disagreement`] when rounding does not explain the difference.
    pub fn compare(&self, graph: &Graph) -> Result<Comparison, Error> {
        let card = &self.card;
        if !card.has_classifier {
            return Ok(Comparison::Headless);
        }
        let size = variant(&card.variant).map_err(zoo_models::UnknownName::from)?.size;
        match agreement(graph, &self.network, card.in_channels, size) {
            Ok(agreement) if agreement.is_close() => Ok(Comparison::Equal(agreement)),
            Ok(Agreement { difference, largest }) => Err(Error::Disagreement {
                model: card.variant.clone(),
                difference,
                largest,
                hint: match graph.takes_maxima() {
                    true => ": it takes the maximum of each map, not the mean",
                    false => ", such as another activation, stride or border",
                },
            }),
            Err(reason) => Ok(Comparison::Impossible(reason.to_string())),
        }
    }
}

/// The comparison of an imported network with the graph that its weights came from.
#[derive(Debug, Clone)]
pub enum Comparison {
    /// Their logits are equal, except for rounding.
    Equal(Agreement),
    /// Without a classifier there are no logits to compare.
    Headless,
    /// The graph could not be computed, for this reason.
    Impossible(String),
}

/// Loads a checkpoint into the named variant, or into the recognized one, with the checkpoint's
/// number of classes.
///
/// # Errors
///
/// When the variant is unknown or ambiguous, when the tensors do not fit the network, or when the
/// number of `labels` differs from the number of classes.
pub fn import(
    checkpoint: &Checkpoint,
    options: &ImportOptions,
    device: &Device,
) -> Result<Imported, Error> {
    if let Some(reason) = checkpoint.graph.as_ref().and_then(Graph::refusal) {
        return Err(Error::Graph { path: checkpoint.path.clone(), reason: reason.to_string() });
    }
    let ImportOptions { variant: name, labels, choice } = options;
    let mut notes = Vec::new();
    let original = checkpoint;
    let Chosen { variant, tagged, identified } = choose(checkpoint, name.as_deref(), choice)?;
    let (recognition, found, layouts) = match &identified {
        Some(one) => (Some(&one.recognition), &one.checkpoint, one.layouts),
        None => (None, checkpoint, variant.layouts),
    };
    let candidate = candidate(&variant);
    let (num_classes, in_channels) = match recognition {
        Some(found) => (found.num_classes, found.in_channels),
        None => fit(&candidate.build, candidate.usual, found, layouts),
    };
    let has_classifier = !recognition.is_some_and(|found| found.is_headless);
    let hidden = recognition.map_or(&[][..], |found| &found.hidden);
    let absent = if has_classifier { BTreeSet::new() } else { (candidate.classifier)() };
    let config = variant.config.clone().with_num_classes(num_classes).with_in_channels(in_channels);
    let mut network = config.init_with_hidden(hidden, device);
    let mut has_auxiliary = hidden.is_empty() && has_auxiliary(found, layouts);
    if has_auxiliary {
        let mut whole = network.clone();
        whole.attach_auxiliary(device);
        has_auxiliary = fits(&parameters(&whole), found, layouts);
        if has_auxiliary {
            network = whole;
        } else {
            notes.push(
                "its auxiliary classifiers, which only training uses, do not fit and are left out"
                    .to_owned(),
            );
        }
    }
    let (loaded, sha256) = rayon::join(
        || load_but(&absent, network, variant.name, found, layouts),
        || original.sha256(),
    );
    let (network, report) = loaded?;

    // The file's hash is the best evidence for the weights.
    let sha256 = sha256?;
    let known = variant.weights.iter().find(|weights| sha256.starts_with(weights.sha256));
    if let Some(found) = recognition {
        if known.is_none() && !found.others.is_empty() {
            notes.push(format!(
                "taken for {}, whose keys and shapes are also those of {}; `variant` says which it is",
                found.name,
                found.others.join(", ")
            ));
        }
        notes.extend(found.notes.iter().cloned());
    }
    let (mut preprocess, known_labels) =
        training(&variant, known, tagged, report.layout, in_channels);
    let facts = &original.facts;
    if let Some(theirs) = facts.preprocess.filter(|_| known.is_none() && in_channels == 3) {
        preprocess = theirs;
    }
    if let Some(Normalization { mean, std, color }) = original.normalization {
        preprocess = Preprocess { mean, std, color, ..preprocess };
    }
    if let Some(graph) = &original.graph {
        preprocess = fixed_by(graph, preprocess, in_channels);
    }
    let labels = match (labels, facts.names(num_classes)) {
        (None, Some(names)) if has_classifier && known.is_none() => Some(names.to_vec()),
        (labels, _) => labels.clone(),
    };
    let known_labels = known_labels.filter(|_| has_classifier);
    let file = original.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let card = ModelCard {
        variant: variant.name.to_owned(),
        tag: known.map(|weights| weights.tag.to_owned()),
        num_classes,
        in_channels,
        has_auxiliary,
        has_classifier,
        hidden: hidden.to_vec(),
        labels: class_names(labels, known_labels, num_classes)?,
        preprocess,
        origin: Origin {
            file: file.unwrap_or_default(),
            sha256,
            layout: report.layout.to_owned(),
            url: known.map(|weights| weights.url.to_owned()),
            license: known.map(|weights| weights.license.to_owned()),
        },
    };
    Ok(Imported { network, card, report, notes })
}

/// Whether a checkpoint has a tensor of the right shape for each parameter.
fn fits(parameters: &[Parameter], checkpoint: &Checkpoint, layouts: &[KeyLayout]) -> bool {
    let keys = keys(parameters, checkpoint, layouts);
    parameters.iter().zip(keys).all(|(parameter, key)| {
        let tensor = checkpoint.tensors.get(&key);
        tensor.is_some_and(|tensor| is_of(tensor, parameter))
    })
}

/// The network that a checkpoint is loaded into.
struct Chosen {
    variant: Variant<Config>,
    /// The weights with the requested tag.
    tagged: Option<&'static Weights>,
    /// The recognition, if the tensors are those of the variant and no others.
    identified: Option<Identified>,
}

/// Returns the named variant, or the recognized one.
fn choose(checkpoint: &Checkpoint, name: Option<&str>, choice: &Choice) -> Result<Chosen, Error> {
    let path = checkpoint.path.clone();
    let Some(name) = name else {
        return match identify(checkpoint, choice) {
            Ok(identified) => {
                let variant =
                    variant(&identified.recognition.name).map_err(zoo_models::UnknownName::from)?;
                Ok(Chosen { variant, tagged: None, identified: Some(identified) })
            }
            Err(
                reason @ Unidentified::Keys(Unrecognized::NotAveraged | Unrecognized::NoPrefix(..)),
            ) => Err(Error::NotThere { path, reason: Box::new(reason) }),
            Err(reason) => Err(Error::Unrecognized { path, reason: Box::new(reason) }),
        };
    };
    let (variant, tagged) = published(name)?;
    match identify_as(checkpoint, &variant, choice) {
        Ok(identified) => Ok(Chosen { variant, tagged, identified: Some(identified) }),
        // Loading reports best which tensors are not the network's.
        Err(Unidentified::Keys(Unrecognized::Unknown(_))) if checkpoint.graph.is_none() => {
            Ok(Chosen { variant, tagged, identified: None })
        }
        Err(reason) => {
            let model = variant.name.to_owned();
            Err(Error::NotOf { path, model, reason: Box::new(reason) })
        }
    }
}

/// Returns the preprocessing and the classes of weights with the keys of a layout, if these are
/// known.
///
/// Weights with an unknown hash are assumed to be those with the requested tag, or to have the
/// preprocessing of the first published weights.
fn training(
    variant: &Variant<Config>,
    known: Option<&'static Weights>,
    tagged: Option<&'static Weights>,
    layout: &str,
    in_channels: usize,
) -> (Preprocess, Option<Labels>) {
    let usual = Preprocess::usual(variant.size, in_channels);
    let is_color = in_channels == 3;
    let weights = known.or(tagged).or(variant.weights.first()).filter(|_| is_color);
    // Files with this layout may have their own preprocessing.
    let layout = variant.layouts.iter().find(|one| one.name == layout).or(match variant.layouts {
        // If the names are missing, weights of such a variant can only belong to this layout.
        [only] => Some(only),
        _ => None,
    });
    let theirs = layout.and_then(|layout| layout.preprocess).filter(|_| is_color);
    let theirs = theirs.map(|theirs| theirs.sized(usual.resize, usual.crop));
    let preprocess = match theirs.filter(|_| known.is_none()) {
        Some(theirs) => theirs,
        None => weights.map_or(usual, |weights| weights.preprocess),
    };
    let labels = weights.map(|weights| weights.labels).or(theirs.map(|_| Labels::ImageNet1k));
    (preprocess, labels)
}

/// Returns the given names of classes, or otherwise those of the known labels.
fn class_names(
    given: Option<Vec<String>>,
    known: Option<Labels>,
    num_classes: usize,
) -> Result<Vec<String>, Error> {
    let names = match (given, known) {
        (Some(given), _) => given,
        (None, Some(Labels::ImageNet1k)) => imagenet1k(num_classes),
        (None, _) => Vec::new(),
    };
    if !ModelCard::can_be_named(num_classes, names.len()) {
        return Err(Error::ClassNames { names: names.len(), classes: num_classes });
    }
    Ok(names)
}

/// Returns ImageNet's names for a network with `num_classes` classes. TensorFlow's networks have
/// one more class, the background, before the others.
fn imagenet1k(num_classes: usize) -> Vec<String> {
    let names = zoo_assets::imagenet1k().map(str::to_owned);
    match num_classes {
        1000 => names.collect(),
        1001 => std::iter::once("background".to_owned()).chain(names).collect(),
        _ => Vec::new(),
    }
}

/// Returns the preprocessing for the image size of a graph, if it differs. Keras resizes to the
/// size itself, without a margin.
fn fixed_by(graph: &Graph, preprocess: Preprocess, in_channels: usize) -> Preprocess {
    match graph.side(in_channels) {
        Some(side) if side != preprocess.crop => {
            let resize = if graph.is_keras() { side } else { with_margin(side) };
            preprocess.sized(resize, side)
        }
        _ => preprocess,
    }
}
