//! Recognition of a graph's network, and the graph's weights in that network's order.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use burn::store::burn_pack::Tensor;
use zoo_core::{KeyLayout, Parameter};

use super::align::{Detail, align};
use super::assign::assign;
use super::layers::{Form, Kind, Layer, Layers, WeightPaths};
use super::trace::Weights;
use crate::load::{keys_of, pytorch_shape, section};
use crate::{Candidate, Checkpoint, Recognition};

/// A network with the same layers as a graph.
#[derive(Debug)]
pub struct Match {
    /// The recognized network.
    pub recognition: Recognition,
    /// The graph's weights by the network's own paths; [`Self::LAYOUTS`] is their key layout.
    pub checkpoint: Checkpoint,
}

impl Match {
    /// The key layout of [`Self::checkpoint`].
    pub const LAYOUTS: &[KeyLayout] =
        &[KeyLayout { name: "the model's", rules: &[("{part}", "{part}")], ..KeyLayout::EMPTY }];
}

/// The reason why no network has the layers of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The nearest network, if the graph has any layer of a network.
    pub nearest: Option<String>,
    /// Whether the graph has most of its layers.
    pub is_near: bool,
    /// Whether it is the only network that the graph was compared with.
    pub is_only: bool,
    /// The graph's layers without a counterpart in it, with the reason.
    pub nodes: Vec<String>,
    /// Its own layers without a counterpart in the graph.
    pub layers: Vec<String>,
}

/// Finds the networks with the layers of a checkpoint's graph, only by structure.
///
/// If there are several, they differ in something without weights, such as padding. Their
/// computation then decides.
///
/// # Errors
///
/// When there is none.
pub fn recognize(
    checkpoint: &Checkpoint,
    candidates: &[Candidate<'_>],
) -> Result<Vec<Match>, Unmatched> {
    let nothing = Unmatched {
        nearest: None,
        is_near: false,
        is_only: candidates.len() == 1,
        nodes: Vec::new(),
        layers: Vec::new(),
    };
    let graph = checkpoint.graph.as_ref().ok_or(nothing.clone())?;
    let theirs = graph.layers();
    let (Some(classes), Some(channels)) = (theirs.num_classes(), theirs.in_channels()) else {
        return Err(nothing);
    };

    let mut matches: Vec<(Detail, Match)> = Vec::new();
    let mut nearest: Option<((usize, bool), Attempt<'_>)> = None;
    for candidate in candidates {
        let mut shapes = shapes(&(candidate.build)(classes, channels), &BTreeSet::new());
        let theirs = connected(&theirs, &shapes);
        let kernels = kernels(&theirs);
        let is_headless = false;
        let mut attempt =
            Attempt { candidate, theirs, classes, channels, is_headless, is_near: false };
        let is_shorter = kernels.len() < shapes.len() && kernels.len() + HEAD >= shapes.len();
        if shapes != kernels && is_shorter {
            let usual = candidate.usual.0;
            let backbone =
                self::shapes(&(candidate.build)(usual, channels), &(candidate.classifier)());
            if backbone == kernels {
                shapes = backbone;
                attempt = Attempt { classes: usual, is_headless: true, ..attempt };
            }
        }
        let common = common(&kernels, &shapes);
        attempt.is_near = 3 * common > 2 * kernels.len().max(shapes.len());
        let common = 2 * common;
        let score = (common + 1).saturating_sub(kernels.len().abs_diff(shapes.len()));
        // Of two networks that are equally near, the one in Keras is named.
        let has_keys = candidate.layouts.iter().any(|layout| layout.name == "Keras");
        let score = (score, graph.is_keras() && has_keys);
        if shapes == kernels {
            matches.extend(attempt.fit(checkpoint).ok());
        }
        if common > 0 && nearest.as_ref().is_none_or(|(best, _)| score > *best) {
            nearest = Some((score, attempt));
        }
    }
    // The networks with most agreement are preferred.
    let Some(best) = matches.iter().map(|(detail, _)| *detail).max() else {
        return Err(match nearest {
            Some((_, attempt)) => attempt.explain(nothing, checkpoint),
            None => nothing,
        });
    };
    Ok(matches.into_iter().filter(|(detail, _)| *detail == best).map(|(_, found)| found).collect())
}

/// The largest number of layers of a classifier.
const HEAD: usize = 3;

/// A candidate with the graph's numbers of classes and channels.
struct Attempt<'c> {
    candidate: &'c Candidate<'c>,
    /// The graph's layers in the form of the candidate's.
    theirs: Cow<'c, Layers<Weights>>,
    classes: usize,
    channels: usize,
    is_headless: bool,
    /// Whether most kernels have the same shapes.
    is_near: bool,
}

impl Attempt<'_> {
    fn layers(&self) -> Option<Layers<WeightPaths>> {
        let layers = Layers::of(&(self.candidate.capture)(self.classes, self.channels)?);
        if !self.is_headless {
            return Some(layers);
        }
        let classifier = (self.candidate.classifier)();
        let is_classifier = |layer: &Layer<WeightPaths>| {
            let path = layer.weights.path.as_ref();
            path.is_some_and(|path| classifier.contains(&format!("{path}.weight")))
        };
        Some(layers.only(|_, layer| !is_classifier(layer)))
    }

    /// # Errors
    ///
    /// When layers of the graph do not fit; the error lists them.
    fn fit(&self, checkpoint: &Checkpoint) -> Result<(Detail, Match), Vec<String>> {
        let ours = self.layers().ok_or_else(Vec::new)?;
        let (detail, pairs) = align(&ours, &self.theirs).ok_or_else(Vec::new)?;
        let parameters = (self.candidate.build)(self.classes, self.channels);
        let by_path: HashMap<&str, &Parameter> =
            parameters.iter().map(|parameter| (parameter.path.as_str(), parameter)).collect();
        let keys = keys_of(&Match::LAYOUTS[0], &parameters);
        let keys: HashMap<&str, String> = by_path_of(&parameters).zip(keys).collect();

        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        let mut misfits = Vec::new();
        for (layer, &pair) in ours.layers.iter().zip(&pairs) {
            let node = &self.theirs.layers[pair];
            match assign(&layer.weights, &node.weights, &by_path) {
                Ok(found) => {
                    tensors.extend(found.into_iter().map(|(path, tensor)| {
                        (keys.get(path.as_str()).cloned().unwrap_or(path), tensor)
                    }));
                }
                Err(reason) => misfits.push(format!(
                    "{} ({}) would be {}: {reason}",
                    node.name, node.form, layer.name
                )),
            }
        }
        if !misfits.is_empty() {
            return Err(misfits);
        }
        let recognition = Recognition {
            name: self.candidate.name.to_owned(),
            layout: Match::LAYOUTS[0].name,
            num_classes: self.classes,
            in_channels: self.channels,
            is_headless: self.is_headless,
            hidden: Vec::new(),
            others: Vec::new(),
            notes: Vec::new(),
        };
        let checkpoint = Checkpoint {
            tensors,
            path: checkpoint.path.clone(),
            facts: checkpoint.facts.clone(),
            graph: checkpoint.graph.clone(),
            normalization: checkpoint.normalization,
        };
        Ok((detail, Match { recognition, checkpoint }))
    }

    fn explain(&self, nothing: Unmatched, checkpoint: &Checkpoint) -> Unmatched {
        let nearest = Some(self.candidate.name.to_owned());
        let unmatched = Unmatched { nearest, is_near: self.is_near, ..nothing };
        let Some(ours) = self.layers() else {
            return unmatched;
        };
        let mut nodes = left_over(&self.theirs, &ours);
        let layers = left_over(&ours, &self.theirs);
        if nodes.is_empty() && layers.is_empty() {
            nodes = self.fit(checkpoint).err().unwrap_or_default();
        }
        Unmatched { nodes, layers, ..unmatched }
    }
}

fn by_path_of(parameters: &[Parameter]) -> impl Iterator<Item = &str> {
    parameters.iter().map(|parameter| parameter.path.as_str())
}

/// Returns the layers of one network without a counterpart of the same form in another.
fn left_over<A, B>(some: &Layers<A>, others: &Layers<B>) -> Vec<String> {
    let mut available: HashMap<&Form, usize> = HashMap::new();
    for layer in &others.layers {
        *available.entry(&layer.form).or_default() += 1;
    }
    let is_left = |layer: &&Layer<A>| match available.get_mut(&layer.form) {
        Some(count @ 1..) => {
            *count -= 1;
            false
        }
        _ => true,
    };
    let left = some.layers.iter().filter(is_left);
    left.map(|layer| format!("{}: {}", layer.name, layer.form)).collect()
}

/// Converts a graph's layers to the forms of a network with kernels of these shapes: a convolution
/// over its whole input may be a fully connected layer there.
///
/// Whether the input is no larger than the kernel is only visible in the logits.
fn connected<'l, W: Clone>(layers: &'l Layers<W>, shapes: &[[usize; 4]]) -> Cow<'l, Layers<W>> {
    let has = |form: &Form| shapes.binary_search(&form.shape).is_ok();
    let mut connected = Cow::Borrowed(layers);
    for (index, layer) in layers.layers.iter().enumerate().filter(|(_, layer)| !has(&layer.form)) {
        if let Some(dense) = layer.form.connected().filter(has) {
            connected.to_mut().layers[index].form = dense;
        }
    }
    connected
}

/// Returns the shapes of a graph's kernels, sorted.
fn kernels(layers: &Layers<Weights>) -> Vec<[usize; 4]> {
    let layers = layers.layers.iter().filter(|layer| layer.form.kind != Kind::Norm);
    let mut shapes: Vec<_> = layers.map(|layer| layer.form.shape).collect();
    shapes.sort_unstable();
    shapes
}

/// Returns the shapes of a network's kernels, sorted, without those at some paths.
fn shapes(parameters: &[Parameter], absent: &BTreeSet<String>) -> Vec<[usize; 4]> {
    let kernels = parameters
        .iter()
        .filter(|parameter| parameter.shape.len() > 1 && !absent.contains(&parameter.path));
    let mut shapes: Vec<_> = kernels
        .map(|parameter| {
            let mut shape = pytorch_shape(parameter);
            shape.resize(4, 1);
            [shape[0], shape[1], shape[2], shape[3]]
        })
        .collect();
    shapes.sort_unstable();
    shapes
}

/// Returns the number of common elements of two sorted lists.
fn common<T: Ord>(some: &[T], others: &[T]) -> usize {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while i < some.len() && j < others.len() {
        match some[i].cmp(&others[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, common) = (i + 1, j + 1, common + 1),
        }
    }
    common
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_told = self.is_near || self.is_only;
        let Some(nearest) = self.nearest.as_ref().filter(|_| is_told) else {
            return match self.is_only {
                true => write!(f, "the graph has none of its layers\nhint: {RECOGNISE}"),
                false => write!(
                    f,
                    "no model has the graph's layers, or most of them\nhint: `zoo list` shows the \
                     models; `variant` shows how the graph differs from one"
                ),
            };
        };
        match self.is_only {
            true => writeln!(f, "the graph's layers are not those of {nearest}")?,
            false => writeln!(f, "no model has all of the graph's layers; {nearest} has most")?,
        }
        section(f, "of the graph's layers without a place in it", &self.nodes, Clone::clone)?;
        section(f, "of its layers that the graph lacks", &self.layers, Clone::clone)?;
        if self.nodes.is_empty() && self.layers.is_empty() {
            writeln!(f, "  the layers are the same, but they are connected differently")?;
        }
        match self.is_only {
            true => write!(f, "hint: {RECOGNISE}"),
            false => {
                write!(f, "hint: `variant` shows how the graph differs from another model")
            }
        }
    }
}

/// The hint if a model was named.
const RECOGNISE: &str =
    "without `variant`, the layers tell which model it is; `zoo list` shows the models";

impl std::error::Error for Unmatched {}

#[cfg(test)]
mod tests {
    use super::*;

    /// timm writes VGG's first fully connected layer like this.
    #[test]
    fn a_convolution_over_the_whole_map_is_a_fully_connected_layer() {
        let conv = Form { shape: [8, 2, 3, 3], ..Form::dense(8, 18) };
        let connected = |form: Form, shapes: &[[usize; 4]]| {
            let layer = Layer { name: String::new(), form, feeds: BTreeSet::new(), weights: () };
            let layers = Layers { layers: vec![layer], last: BTreeSet::new() };
            super::connected(&layers, shapes).layers[0].form.clone()
        };
        let dense = [8, 18, 1, 1];
        assert_eq!(connected(conv.clone(), &[dense]), Form::dense(8, 18));
        // If the network has the convolution, or neither, nothing changes.
        assert_eq!(connected(conv.clone(), &[conv.shape, dense]), conv);
        assert_eq!(connected(conv.clone(), &[[8, 9, 1, 1]]), conv);
        let strided = Form { stride: [2; 2], ..conv };
        assert_eq!(connected(strided.clone(), &[dense]), strided);
    }
}
