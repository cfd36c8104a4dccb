//! The common form of graphs and networks, which makes them comparable: the layers with weights,
//! and their connections.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// The layers with weights of a network, in the order of computation.
///
/// `W` describes the weights: their values in a graph, their [`WeightPaths`] in a network.
#[derive(Debug, Clone)]
pub(super) struct Layers<W> {
    pub(super) layers: Vec<Layer<W>>,
    /// The layers directly before the network's output.
    pub(super) last: BTreeSet<Feed>,
}

/// A convolution or a fully connected layer with the BatchNorm directly after it, or a single
/// BatchNorm.
#[derive(Debug, Clone)]
pub(super) struct Layer<W> {
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) feeds: BTreeSet<Feed>,
    pub(super) weights: W,
}

/// The properties that must agree if one layer takes the weights of another.
///
/// A fully connected layer is a convolution of one pixel. Padding is left out, because exporters
/// write it as separate nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Form {
    pub(super) kind: Kind,
    /// The shape of the weight, as that of a convolution.
    pub(super) shape: [usize; 4],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Conv,
    ConvTranspose,
    /// A single BatchNorm.
    Norm,
}

/// An input of a layer: the images (`None`) or another layer, and the number of channels before
/// that layer's own in concatenations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Feed {
    pub(super) from: Option<usize>,
    pub(super) offset: i64,
}

/// The paths of a layer's weights in a network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WeightPaths {
    /// Path of the convolution or the fully connected layer.
    pub(super) path: Option<String>,
    /// Path of the BatchNorm, and its epsilon.
    pub(super) norm: Option<(String, f64)>,
}

impl Form {
    /// Returns the form of a fully connected layer.
    pub(super) fn dense(outputs: usize, inputs: usize) -> Self {
        let shape = [outputs, inputs, 1, 1];
        Self { kind: Kind::Conv, shape, stride: [1; 2], dilation: [1; 2], groups: 1 }
    }

    /// Returns the form of a single BatchNorm.
    pub(super) fn norm(channels: usize) -> Self {
        let shape = [channels, 1, 1, 1];
        Self { kind: Kind::Norm, shape, stride: [1; 2], dilation: [1; 2], groups: 1 }
    }

    /// Returns the fully connected layer that equals a convolution over its whole input.
    pub(super) fn connected(&self) -> Option<Self> {
        let [outputs, channels, height, width] = self.shape;
        let dense = Self::dense(outputs, channels.checked_mul(height)?.checked_mul(width)?);
        (*self == Self { shape: self.shape, ..dense }).then_some(dense)
    }

    pub(super) fn outputs(&self) -> usize {
        match self.kind {
            Kind::Conv | Kind::Norm => self.shape[0],
            Kind::ConvTranspose => self.shape[1].saturating_mul(self.groups),
        }
    }

    pub(super) fn inputs(&self) -> usize {
        match self.kind {
            Kind::Conv => self.shape[1].saturating_mul(self.groups),
            Kind::ConvTranspose | Kind::Norm => self.shape[0],
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [_, _, height, width] = self.shape;
        match self.kind {
            Kind::Norm => return write!(f, "BatchNorm of {} channels", self.outputs()),
            Kind::Conv => write!(f, "{height}x{width}")?,
            Kind::ConvTranspose => write!(f, "transposed {height}x{width}")?,
        }
        write!(f, ", {} to {} channels", self.inputs(), self.outputs())?;
        for (name, value, usual) in [
            ("stride", self.stride, [1; 2]),
            ("dilation", self.dilation, [1; 2]),
            ("groups", [self.groups; 2], [1; 2]),
        ] {
            match value {
                _ if value == usual => {}
                [height, width] if height == width => write!(f, ", {name} {height}")?,
                [height, width] => write!(f, ", {name} {height}x{width}")?,
            }
        }
        Ok(())
    }
}

impl<W> Layers<W> {
    /// Number of classes, as far as the last layer shows.
    pub(super) fn num_classes(&self) -> Option<usize> {
        let last = self.last.iter().filter_map(|feed| feed.from).max()?;
        Some(self.layers[last].form.outputs())
    }

    /// Number of channels of the images.
    pub(super) fn in_channels(&self) -> Option<usize> {
        let is_first = |layer: &&Layer<W>| layer.feeds.iter().any(|feed| feed.from.is_none());
        self.layers.iter().find(is_first).map(|layer| layer.form.inputs())
    }

    /// Keeps only the layers for which `keep` holds; these get the inputs of the removed ones.
    pub(super) fn only(self, keep: impl Fn(usize, &Layer<W>) -> bool) -> Self {
        let mut kept = Vec::new();
        // The replacement of each layer's output.
        let mut feeds_of: Vec<BTreeSet<Feed>> = Vec::new();
        let through = |feeds: &BTreeSet<Feed>, feeds_of: &[BTreeSet<Feed>]| {
            let spread = feeds.iter().flat_map(|feed| match feed.from {
                None => vec![*feed],
                Some(from) => feeds_of[from]
                    .iter()
                    .map(|inner| Feed { from: inner.from, offset: inner.offset + feed.offset })
                    .collect(),
            });
            spread.collect::<BTreeSet<_>>()
        };
        for (index, mut layer) in self.layers.into_iter().enumerate() {
            layer.feeds = through(&layer.feeds, &feeds_of);
            if keep(index, &layer) {
                feeds_of.push([Feed { from: Some(kept.len()), offset: 0 }].into());
                kept.push(layer);
            } else {
                feeds_of.push(layer.feeds);
            }
        }
        let last = through(&self.last, &feeds_of);
        Self { layers: kept, last }
    }

    /// Removes the layers that the output does not depend on, such as auxiliary classifiers.
    pub(super) fn needed(self) -> Self {
        let mut is_needed = vec![false; self.layers.len()];
        let mut open: Vec<usize> = self.last.iter().filter_map(|feed| feed.from).collect();
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut is_needed[index], true) {
                open.extend(self.layers[index].feeds.iter().filter_map(|feed| feed.from));
            }
        }
        self.only(|index, _| is_needed[index])
    }
}

/// The largest number of inputs of a value.
const MANY: usize = 4096;

/// A tracer that follows values through a computation and collects the layers.
#[derive(Debug)]
pub(super) struct Tracer<K, W> {
    pub(super) layers: Vec<Layer<W>>,
    flows: HashMap<K, Flow>,
}

/// The properties of a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    pub(super) feeds: BTreeSet<Feed>,
    pub(super) channels: Option<usize>,
    /// The layer whose unchanged output this is, so that a following scale belongs to the layer.
    pub(super) bare: Option<usize>,
    /// Whether the channels are the last dimension.
    pub(super) channels_last: bool,
    /// The stride of pixels directly before, if there was one.
    pub(super) step: Option<[usize; 2]>,
}

impl<K: Hash + Eq, W> Tracer<K, W> {
    pub(super) fn new() -> Self {
        Self { layers: Vec::new(), flows: HashMap::new() }
    }

    /// Returns the properties of a value; those of a constant are empty.
    pub(super) fn flow(&self, value: &K) -> Flow {
        self.flows.get(value).cloned().unwrap_or_default()
    }

    pub(super) fn set(&mut self, value: K, mut flow: Flow) {
        if flow.feeds.len() > MANY {
            // No network has that many. A graph that doubles a value repeatedly does.
            flow.feeds = flow.feeds.iter().map(|feed| Feed { offset: 0, ..*feed }).collect();
        }
        self.flows.insert(value, flow);
    }

    pub(super) fn image(&mut self, value: K, channels: Option<usize>) {
        let feeds = [Feed { from: None, offset: 0 }].into();
        self.set(value, Flow { feeds, channels, ..Flow::default() });
    }

    pub(super) fn layer(&mut self, input: &K, output: K, name: String, form: Form, weights: W) {
        let feeds = self.flow(input).feeds;
        let index = self.layers.len();
        let channels = Some(form.outputs());
        self.layers.push(Layer { name, form, feeds, weights });
        let feeds = [Feed { from: Some(index), offset: 0 }].into();
        self.set(output, Flow { feeds, channels, bare: Some(index), ..Flow::default() });
    }

    /// Adds an operation without weights: its output has all inputs of its inputs.
    pub(super) fn pass<'k>(&mut self, inputs: impl IntoIterator<Item = &'k K>, output: K)
    where
        K: 'k,
    {
        let mut joined = Flow::default();
        for input in inputs {
            let flow = self.flow(input);
            joined.feeds.extend(flow.feeds);
            joined.channels = joined.channels.or(flow.channels);
            joined.channels_last |= flow.channels_last;
        }
        self.set(output, joined);
    }

    /// Adds a concatenation of channels; a number in `inputs` is `None` if it is not known.
    pub(super) fn concat(&mut self, inputs: &[(K, Option<usize>)], output: K) {
        let mut joined = Flow { channels: Some(0), ..Flow::default() };
        for (input, channels) in inputs {
            let flow = self.flow(input);
            let before = joined.channels.unwrap_or_default() as i64;
            joined.feeds.extend(shifted(&flow.feeds, before));
            let all = joined.channels.zip(channels.or(flow.channels));
            joined.channels = all.map(|(before, own)| before.saturating_add(own));
            joined.channels_last |= flow.channels_last;
        }
        self.set(output, joined);
    }

    /// Adds a slice of channels from `start` on, which is negative if channels are added before.
    pub(super) fn slice(&mut self, input: &K, output: K, start: i64, channels: Option<usize>) {
        let flow = self.flow(input);
        let feeds = shifted(&flow.feeds, start.saturating_neg()).collect();
        self.set(output, Flow { feeds, channels, bare: None, step: None, ..flow });
    }

    pub(super) fn finish(self, output: &K) -> Layers<W> {
        let last = self.flow(output).feeds;
        Layers { layers: self.layers, last }.needed()
    }
}

fn shifted(feeds: &BTreeSet<Feed>, by: i64) -> impl Iterator<Item = Feed> {
    feeds.iter().map(move |feed| Feed { from: feed.from, offset: feed.offset.saturating_add(by) })
}
