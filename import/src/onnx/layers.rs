//! What both a graph and a network are reduced to, so that they can be compared: the layers with
//! weights, and which of them feed which.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// The layers with weights of a network, in the order of computation.
///
/// `W` is what is known about the weights: their values in a graph, their [`Place`] in a network.
#[derive(Debug, Clone)]
pub(super) struct Layers<W> {
    pub(super) layers: Vec<Layer<W>>,
    /// Those whose outputs the network's output is computed from, with nothing between.
    pub(super) last: BTreeSet<Feed>,
}

/// A convolution or a fully connected layer with the BatchNorm right behind it, or a BatchNorm
/// that stands alone.
#[derive(Debug, Clone)]
pub(super) struct Layer<W> {
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) feeds: BTreeSet<Feed>,
    pub(super) weights: W,
}

/// All that has to agree for one layer to have the other's weights.
///
/// A fully connected layer is a convolution of one pixel. Padding is left out: exporters write
/// it in nodes of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Form {
    pub(super) kind: Kind,
    /// The weight's, as a convolution has it.
    pub(super) shape: [usize; 4],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) groups: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Conv,
    ConvTranspose,
    /// BatchNorm alone.
    Norm,
}

/// Where a layer's input comes from: the images (`None`) or another layer, and how many channels
/// were put before that layer's own on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Feed {
    pub(super) from: Option<usize>,
    pub(super) offset: i64,
}

/// Where a network has the weights of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// Path of the convolution or the fully connected layer.
    pub(super) path: Option<String>,
    /// Path of the BatchNorm, and what it adds to the variance.
    pub(super) norm: Option<(String, f64)>,
}

impl Form {
    /// A fully connected layer.
    pub(super) fn dense(outputs: usize, inputs: usize) -> Self {
        let shape = [outputs, inputs, 1, 1];
        Self { kind: Kind::Conv, shape, stride: [1; 2], dilation: [1; 2], groups: 1 }
    }

    /// BatchNorm alone.
    pub(super) fn norm(channels: usize) -> Self {
        let shape = [channels, 1, 1, 1];
        Self { kind: Kind::Norm, shape, stride: [1; 2], dilation: [1; 2], groups: 1 }
    }

    /// The fully connected layer that a convolution is whose kernel is as large as its input.
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
    /// Number of classes, as far as the last layer tells.
    pub(super) fn num_classes(&self) -> Option<usize> {
        let last = self.last.iter().filter_map(|feed| feed.from).max()?;
        Some(self.layers[last].form.outputs())
    }

    /// Channels of the images.
    pub(super) fn in_channels(&self) -> Option<usize> {
        let is_first = |layer: &&Layer<W>| layer.feeds.iter().any(|feed| feed.from.is_none());
        self.layers.iter().find(is_first).map(|layer| layer.form.inputs())
    }

    /// Only the layers for which `keep` holds; those left get what the others were fed.
    pub(super) fn only(self, keep: impl Fn(usize, &Layer<W>) -> bool) -> Self {
        let mut kept = Vec::new();
        // What stands for each layer's output now.
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

    /// Without the layers that the output does not depend on, such as auxiliary classifiers.
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

/// More feeds than a value of any network has.
const MANY: usize = 4096;

/// Follows values through a computation and notes the layers.
#[derive(Debug)]
pub(super) struct Tracer<K, W> {
    pub(super) layers: Vec<Layer<W>>,
    flows: HashMap<K, Flow>,
}

/// What is known about a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    pub(super) feeds: BTreeSet<Feed>,
    pub(super) channels: Option<usize>,
    /// The layer whose output this is as it is, so that what scales it belongs to the layer.
    pub(super) bare: Option<usize>,
    /// Whether the channels are the last dimension.
    pub(super) channels_last: bool,
    /// How many pixels were stepped over right before, where some were.
    pub(super) step: Option<[usize; 2]>,
}

impl<K: Hash + Eq, W> Tracer<K, W> {
    pub(super) fn new() -> Self {
        Self { layers: Vec::new(), flows: HashMap::new() }
    }

    /// What is known about a value; nothing about constants.
    pub(super) fn flow(&self, value: &K) -> Flow {
        self.flows.get(value).cloned().unwrap_or_default()
    }

    pub(super) fn set(&mut self, value: K, mut flow: Flow) {
        if flow.feeds.len() > MANY {
            // No network has so many; a graph that doubles a value again and again has.
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

    /// An operation without weights: the output is fed by whatever the inputs are fed by.
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

    /// Channels laid one behind the other; `None` in `inputs` where a number is not known.
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

    /// Channels from a certain one on, which is negative where some are put before them.
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
