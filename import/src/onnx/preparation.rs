//! The normalization of images inside a graph: some exported networks begin with it.

use std::collections::{BTreeSet, HashMap};

use burn::tensor::{Tensor, TensorData};
use zoo_core::{Color, Preprocess};

use super::constant::Constant;
use super::graph::{Graph, axis};
use super::node::Node;
use crate::Normalization;

/// Arithmetic with a number for each channel, at the start of a graph.
#[derive(Debug, Clone)]
pub(super) struct Preparation {
    /// The name of its output.
    pub(super) output: String,
    /// Its nodes, by their first outputs.
    nodes: BTreeSet<String>,
    /// The channels of the output as functions of the images.
    channels: Vec<Channel>,
}

/// A channel as a linear function of one of the images' channels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Channel {
    source: usize,
    factor: f64,
    shift: f64,
}

/// A value that only such arithmetic has changed.
#[derive(Debug, Clone)]
struct Scaled {
    channels: Vec<Channel>,
    /// The dimension of the channels, if it is one.
    axis: Option<usize>,
    rank: usize,
}

/// Normalizations that may precede a graph: mean and deviation of values from 0 to 1.
const BEFORE: [([f32; 3], [f32; 3]); 4] = [RAW, UNIT, SIGNED, USUAL];

/// Values from 0 to 255.
const RAW: ([f32; 3], [f32; 3]) = ([0.0; 3], [1.0 / 255.0; 3]);
/// Values from 0 to 1.
const UNIT: ([f32; 3], [f32; 3]) = ([0.0; 3], [1.0; 3]);
/// Values from -1 to 1.
const SIGNED: ([f32; 3], [f32; 3]) = ([0.5; 3], [0.5; 3]);
/// The usual normalization of PyTorch's networks.
const USUAL: ([f32; 3], [f32; 3]) = (Preprocess::IMAGENET.mean, Preprocess::IMAGENET.std);

/// A normalization of published networks, besides the above.
const CAFFE: ([f32; 3], [f32; 3]) = (Preprocess::CAFFE.mean, Preprocess::CAFFE.std);

/// The largest number of channels of images.
const MANY: usize = 16;

/// Larger values are those of pixels from 0 to 255.
const BRIGHT: f64 = 8.0;

impl Preparation {
    /// Returns the normalization, or `None` if the graph begins with a layer or with other
    /// arithmetic.
    pub(super) fn of(
        nodes: &[Node],
        constants: &HashMap<String, Constant>,
        inputs: &[(String, Vec<Option<usize>>)],
    ) -> Option<Self> {
        let [(input, shape)] = inputs else {
            return None;
        };
        let is_color = |dim: &Option<usize>| matches!(dim, Some(1 | 3));
        let (axis, count) = match shape.as_slice() {
            [_, channels, _, _] if is_color(channels) => (1, (*channels)?),
            [_, _, _, channels] if is_color(channels) => (3, (*channels)?),
            _ => return None,
        };
        let channel = |source| Channel { source, factor: 1.0, shift: 0.0 };
        let images =
            Scaled { channels: (0..count).map(channel).collect(), axis: Some(axis), rank: 4 };
        let mut values: HashMap<&str, Scaled> = HashMap::from([(input.as_str(), images)]);
        let mut ends = BTreeSet::new();
        let mut prepared = BTreeSet::new();
        for node in nodes.iter().filter(|node| node.operator != "Shape") {
            let mut known = node.inputs.iter().filter(|name| values.contains_key(name.as_str()));
            let Some(first) = known.next().cloned() else { continue };
            match step(node, &values, constants) {
                Some(outputs) => {
                    prepared.extend(node.outputs.first().cloned());
                    values.extend(node.outputs.iter().map(String::as_str).zip(outputs));
                }
                None => {
                    ends.extend(known.cloned());
                    ends.insert(first);
                }
            }
        }
        let output = ends.pop_first().filter(|_| ends.is_empty())?;
        let Scaled { channels, axis: Some(_), rank: 4 } = values.remove(output.as_str())? else {
            return None;
        };
        let sources = || channels.iter().map(|channel| channel.source);
        let is_expressible = channels.len() == count
            && (sources().eq(0..count) || sources().eq((0..count).rev()))
            && channels.iter().all(|channel| channel.factor > 0.0 && channel.is_finite());
        let changes = channels.iter().any(|channel| (channel.factor, channel.shift) != (1.0, 0.0));
        (is_expressible && changes).then_some(Self { output, nodes: prepared, channels })
    }

    /// Whether a node is a part of it.
    pub(super) fn has(&self, node: &Node) -> bool {
        node.outputs.first().is_some_and(|output| self.nodes.contains(output))
    }

    /// Inverts the normalization: returns the images `[N, C, H, W]` whose normalization is
    /// `images`.
    pub(super) fn undone(&self, images: Tensor<4>) -> Tensor<4> {
        let device = images.device();
        let mut channels: Vec<_> = self.channels.iter().enumerate().collect();
        channels.sort_by_key(|(_, channel)| channel.source);
        let count = channels.len();
        let each = |value: fn(&Channel) -> f64| {
            let values: Vec<f32> = channels.iter().map(|(_, one)| value(one) as f32).collect();
            Tensor::<4>::from_data(TensorData::new(values, [1, count, 1, 1]), &device)
        };
        let order = channels.iter().map(|&(at, _)| images.clone().narrow(1, at, 1)).collect();
        (Tensor::cat(order, 1) - each(|channel| channel.shift)) / each(|channel| channel.factor)
    }

    /// Returns the normalization from pixels from 0 to 1 to the input of the first layer: that of
    /// the graph, after that of images for such a graph.
    ///
    /// The latter is not in the file. If a usual one and that of the graph give a well-known
    /// normalization, it is used. Otherwise the numbers show the range of values that the graph
    /// expects.
    pub(super) fn normalization(&self) -> Normalization {
        let well_known = [USUAL, SIGNED, UNIT, CAFFE, reversed(CAFFE), reversed(USUAL), RAW];
        let found = BEFORE.iter().find_map(|&before| {
            let all = self.after(before);
            well_known.into_iter().find(|&known| is_same(all, known))
        });
        let (mean, std) = found.unwrap_or_else(|| self.after(self.range()));
        // These are the means of ImageNet only in the order blue, green, red.
        let is_caffe = is_same((mean, std), CAFFE) && self.channels.len() == 3;
        let is_reversed = self.channels.first().is_some_and(|channel| channel.source == 2);
        let color = match self.channels.len() {
            1 => Color::Gray,
            _ if is_reversed || is_caffe => Color::Bgr,
            _ => Color::Rgb,
        };
        Normalization { mean, std, color }
    }

    /// Combines a normalization before the graph with this one.
    fn after(&self, (mean, std): ([f32; 3], [f32; 3])) -> ([f32; 3], [f32; 3]) {
        let one = |index: usize| {
            let channel = self.channels[index.min(self.channels.len() - 1)];
            let std = f64::from(std[channel.source]);
            let mean = f64::from(mean[channel.source]) + channel.zero() * std;
            (mean as f32, (std / channel.factor) as f32)
        };
        let all = [0, 1, 2].map(one);
        (all.map(|(mean, _)| mean), all.map(|(_, std)| std))
    }

    /// Returns the normalization before the graph, as far as the range of the values shows it.
    fn range(&self) -> ([f32; 3], [f32; 3]) {
        let is_any = |holds: fn(&Channel) -> bool| self.channels.iter().any(holds);
        if is_any(|one| one.zero() > BRIGHT || one.factor < 1.0 / BRIGHT) {
            RAW
        } else if is_any(|one| one.factor < 0.99) {
            // Values from 0 to 1 are never divided by more than 1.
            USUAL
        } else if is_any(|one| one.zero() < 0.0) {
            SIGNED
        } else {
            UNIT
        }
    }
}

impl Channel {
    /// Returns the value of the images that becomes zero.
    fn zero(&self) -> f64 {
        -self.shift / self.factor
    }

    fn is_finite(&self) -> bool {
        self.factor.is_finite() && self.shift.is_finite()
    }

    fn scaled(self, factor: f64, shift: f64) -> Self {
        Self { factor: self.factor * factor, shift: self.shift * factor + shift, ..self }
    }
}

/// Returns a normalization with the channels in reverse order.
fn reversed((mut mean, mut std): ([f32; 3], [f32; 3])) -> ([f32; 3], [f32; 3]) {
    mean.reverse();
    std.reverse();
    (mean, std)
}

/// Whether two normalizations differ only in rounding.
fn is_same(some: ([f32; 3], [f32; 3]), others: ([f32; 3], [f32; 3])) -> bool {
    let is_close = |(one, other): (f32, f32), std: f32| (one - other).abs() <= 1e-3 * std;
    (0..3).all(|channel| {
        let std = others.1[channel];
        is_close((some.0[channel], others.0[channel]), std) && is_close((some.1[channel], std), std)
    })
}

/// Returns the outputs of a node with scaled values.
fn step(
    node: &Node,
    values: &HashMap<&str, Scaled>,
    constants: &HashMap<String, Constant>,
) -> Option<Vec<Scaled>> {
    let value = |index: usize| values.get(node.input(index)?);
    let constant = |index: usize| constants.get(node.input(index)?);
    let ints = |name: &str, index: usize| match node.ints(name) {
        Some(ints) => Some(ints.to_vec()),
        None => constant(index)?.ints(),
    };
    let one = match node.operator.as_str() {
        "Identity" | "Dropout" => value(0)?.clone(),
        "Cast" if super::graph::is_float_code(node.int("to", 0)) => value(0)?.clone(),
        "Neg" => value(0)?.map(|channel| channel.scaled(-1.0, 0.0)),
        "Add" | "Sub" | "Mul" | "Div" => {
            let (scaled, by, is_behind) = match (value(0), value(1)) {
                (Some(scaled), None) => (scaled, constant(1)?, true),
                (None, Some(scaled)) => (scaled, constant(0)?, false),
                _ => return None,
            };
            let numbers = scaled.each(by)?;
            let mut numbers = numbers.into_iter();
            let mut arithmetic = |channel: Channel| {
                let by = numbers.next().unwrap_or(f64::NAN);
                match (node.operator.as_str(), is_behind) {
                    ("Add", _) => channel.scaled(1.0, by),
                    ("Mul", _) => channel.scaled(by, 0.0),
                    ("Sub", true) => channel.scaled(1.0, -by),
                    ("Sub", false) => channel.scaled(-1.0, by),
                    ("Div", true) => channel.scaled(1.0 / by, 0.0),
                    // A division by the image is not linear.
                    _ => channel.scaled(f64::NAN, 0.0),
                }
            };
            scaled.map(&mut arithmetic)
        }
        "BatchNormalization" => {
            let scaled = value(0).filter(|scaled| scaled.axis == Some(1))?;
            let count = scaled.channels.len();
            let numbers = |index| {
                constant(index).filter(|constant| constant.count() == count)?.numbers().ok()
            };
            let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(numbers);
            let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
            let epsilon = f64::from(node.float("epsilon", 1e-5));
            let mut index = 0..;
            scaled.map(|channel| {
                let at = index.next().unwrap_or_default();
                let factor = gamma[at] / (variance[at] + epsilon).sqrt();
                channel.scaled(factor, beta[at] - mean[at] * factor)
            })
        }
        "Transpose" => {
            let scaled = value(0)?;
            let order = node.ints("perm").filter(|order| order.len() == scaled.rank)?;
            let moved = |axis| order.iter().position(|&from| from == axis as i64);
            Scaled { axis: scaled.axis.map(moved)?, ..scaled.clone() }
        }
        "Gather" => {
            let scaled = value(0)?;
            let at =
                axis(node.int("axis", 0), scaled.rank).filter(|&at| scaled.axis == Some(at))?;
            let indices = constant(1)?;
            let count = scaled.channels.len() as i64;
            let channels = indices.ints()?.into_iter().map(|index| {
                let index = if index < 0 { index + count } else { index };
                scaled.channels.get(usize::try_from(index).ok()?).copied()
            });
            let channels = channels.collect::<Option<Vec<_>>>()?;
            match indices.dims.len() {
                0 => Scaled { channels, axis: None, rank: scaled.rank - 1 },
                1 => Scaled { channels, axis: Some(at), rank: scaled.rank },
                _ => return None,
            }
        }
        "Slice" => {
            let scaled = value(0)?;
            let (starts, ends) = (ints("starts", 1)?, ints("ends", 2)?);
            let axes = ints("axes", 3).or_else(|| Some((0..starts.len() as i64).collect()))?;
            let steps = ints("steps", 4);
            let (&[start], &[end], &[at]) = (&starts[..], &ends[..], &axes[..]) else {
                return None;
            };
            axis(at, scaled.rank).filter(|&at| scaled.axis == Some(at))?;
            let mut channels = scaled.channels.clone();
            match steps.as_deref() {
                // All channels in reverse order.
                Some([-1]) if start >= channels.len() as i64 - 1 || start == -1 => {
                    if end >= -(channels.len() as i64) {
                        return None;
                    }
                    channels.reverse();
                }
                None | Some([1]) => {
                    let count = channels.len() as i64;
                    let from_start = |at: i64| if at < 0 { at.saturating_add(count) } else { at };
                    let clamp = |at: i64| from_start(at).clamp(0, count) as usize;
                    channels = channels.get(clamp(start)..clamp(end))?.to_vec();
                }
                _ => return None,
            }
            Scaled { channels, ..scaled.clone() }
        }
        "Split" => {
            let scaled = value(0)?;
            axis(node.int("axis", 0), scaled.rank).filter(|&at| scaled.axis == Some(at))?;
            let each = scaled.channels.len().checked_div(node.outputs.len())?;
            let sizes = ints("split", 1);
            let sizes = sizes.unwrap_or_else(|| vec![each as i64; node.outputs.len()]);
            let mut rest = scaled.channels.as_slice();
            let mut parts = Vec::new();
            for size in sizes {
                let (part, others) = rest.split_at_checked(usize::try_from(size).ok()?)?;
                parts.push(Scaled { channels: part.to_vec(), ..scaled.clone() });
                rest = others;
            }
            return (parts.len() == node.outputs.len()).then_some(parts);
        }
        "Unsqueeze" => {
            let scaled = value(0).filter(|scaled| scaled.axis.is_none())?;
            let &[at] = ints("axes", 1)?.as_slice() else { return None };
            let rank = scaled.rank + 1;
            let at = axis(at, rank)?;
            Scaled { axis: Some(at), rank, ..scaled.clone() }
        }
        "Squeeze" => {
            let scaled = value(0).filter(|scaled| scaled.channels.len() == 1)?;
            let &[at] = ints("axes", 1)?.as_slice() else { return None };
            axis(at, scaled.rank).filter(|&at| scaled.axis == Some(at))?;
            Scaled { axis: None, rank: scaled.rank - 1, ..scaled.clone() }
        }
        "Concat" => {
            let parts: Option<Vec<_>> = (0..node.inputs.len()).map(value).collect();
            let parts = parts?;
            let first = *parts.first()?;
            let at = axis(node.int("axis", 1), first.rank)?;
            if parts.iter().any(|part| part.axis != Some(at) || part.rank != first.rank) {
                return None;
            }
            let channels = parts.iter().flat_map(|part| part.channels.iter().copied());
            let channels: Vec<Channel> = channels.take(MANY + 1).collect();
            (channels.len() <= MANY).then(|| Scaled { channels, ..first.clone() })?
        }
        _ => return None,
    };
    Some(vec![one])
}

impl Scaled {
    fn map(&self, f: impl FnMut(Channel) -> Channel) -> Self {
        Self { channels: self.channels.iter().copied().map(f).collect(), ..self.clone() }
    }

    /// Returns a constant's number for each channel, if it has no others.
    fn each(&self, constant: &Constant) -> Option<Vec<f64>> {
        let count = self.channels.len();
        let offset = self.rank.checked_sub(constant.dims.len())?;
        let is_channels = |index: usize| self.axis == Some(index + offset);
        let fits = |(index, &dim): (usize, &usize)| dim == 1 || is_channels(index) && dim == count;
        if !constant.dims.iter().enumerate().all(fits) {
            return None;
        }
        let numbers = constant.numbers().ok()?;
        match numbers.as_slice() {
            &[number] => Some(vec![number; count]),
            _ => Some(numbers),
        }
    }
}

impl Graph {
    /// Returns the normalization of images for the first layer, if the graph contains a part of it.
    pub fn normalization(&self) -> Option<Normalization> {
        self.preparation.as_ref().map(Preparation::normalization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a graph with these nodes before a convolution, and returns its normalization.
    fn found(nodes: Vec<Node>, constants: &[(&str, &[f32], &[usize])]) -> Option<Normalization> {
        of(nodes, constants, vec![Some(1), Some(3), Some(8), Some(8)])
    }

    fn of(
        mut nodes: Vec<Node>,
        constants: &[(&str, &[f32], &[usize])],
        shape: Vec<Option<usize>>,
    ) -> Option<Normalization> {
        let last = nodes.last().map_or_else(|| "x".to_owned(), |node| node.outputs[0].clone());
        nodes.push(Node::new("conv", "Conv", vec![last, "kernel".to_owned()], "maps"));
        let constant = |&(name, numbers, dims): &(&str, &[f32], &[usize])| {
            (name.to_owned(), Constant::of_numbers(numbers, dims.to_vec()))
        };
        let constants = constants.iter().map(constant).collect();
        let preparation = Preparation::of(&nodes, &constants, &[("x".to_owned(), shape)]);
        preparation.as_ref().map(Preparation::normalization)
    }

    fn node(operator: &str, inputs: &[&str], output: &str) -> Node {
        let inputs = inputs.iter().map(|&name| name.to_owned()).collect();
        Node::new(output, operator, inputs, output)
    }

    fn assert_is(found: Option<Normalization>, mean: [f32; 3], std: [f32; 3], color: Color) {
        let found = found.expect("the images are prepared");
        assert!(is_same((found.mean, found.std), (mean, std)), "{found:?}");
        assert_eq!(found.color, color);
    }

    const MEAN: [f32; 3] = Preprocess::IMAGENET.mean;
    const STD: [f32; 3] = Preprocess::IMAGENET.std;

    #[test]
    fn graphs_without_normalization_have_none() {
        assert_eq!(found(Vec::new(), &[]), None);
        assert_eq!(found(vec![node("Identity", &["x"], "y")], &[]), None);
        // Numbers that differ by pixel belong to the network.
        let per_pixel: &[f32] = &[0.5; 8];
        assert_eq!(
            found(vec![node("Add", &["x", "by"], "y")], &[("by", per_pixel, &[1, 1, 1, 8])]),
            None
        );
        // The same is true if the images are also used elsewhere, or are inverted.
        let nodes = vec![node("Div", &["x", "by"], "y"), node("Add", &["x", "y"], "z")];
        assert_eq!(found(nodes, &[("by", &[255.0], &[])]), None);
        assert_eq!(found(vec![node("Sub", &["by", "x"], "y")], &[("by", &[1.0], &[])]), None);
    }

    #[test]
    fn the_range_that_a_graph_expects_is_known() {
        let around: &[usize] = &[1, 3, 1, 1];
        let nodes = || vec![node("Sub", &["x", "mean"], "y"), node("Div", &["y", "std"], "z")];
        // From 0 to 1.
        let constants: &[(&str, &[f32], &[usize])] =
            &[("mean", &MEAN, around), ("std", &STD, around)];
        assert_is(found(nodes(), constants), MEAN, STD, Color::Rgb);
        // From 0 to 255.
        let (mean, std) = (MEAN.map(|mean| mean * 255.0), STD.map(|std| std * 255.0));
        let constants: &[(&str, &[f32], &[usize])] =
            &[("mean", &mean, around), ("std", &std, around)];
        assert_is(found(nodes(), constants), MEAN, STD, Color::Rgb);
        // An unusual normalization.
        let (mean, std) = ([0.41, 0.4, 0.37], [0.3, 0.31, 0.32]);
        let constants: &[(&str, &[f32], &[usize])] =
            &[("mean", &mean, around), ("std", &std, around)];
        assert_is(found(nodes(), constants), mean, std, Color::Rgb);
        // From -1 to 1, as for networks with another normalization.
        let (mean, std) = (MEAN.map(|mean| 2.0 * mean - 1.0), STD.map(|std| 2.0 * std));
        let constants: &[(&str, &[f32], &[usize])] =
            &[("mean", &mean, around), ("std", &std, around)];
        assert_is(found(nodes(), constants), MEAN, STD, Color::Rgb);
        // Caffe's means are those of blue, green and red.
        let mean: &[f32] = &[103.939, 116.779, 123.68];
        let nodes = vec![node("Sub", &["x", "mean"], "y")];
        let found = found(nodes, &[("mean", mean, around)]);
        assert_is(found, CAFFE.0, CAFFE.1, Color::Bgr);
    }

    #[test]
    fn scales_are_those_of_keras_and_tensorflow() {
        let scale = |by: f32, shift: f32| {
            let nodes = vec![node("Mul", &["x", "by"], "y"), node("Add", &["shift", "y"], "z")];
            let shape = vec![None, None, None, Some(3)];
            of(nodes, &[("by", &[by], &[]), ("shift", &[shift], &[1])], shape)
        };
        assert_is(scale(1.0 / 255.0, 0.0), [0.0; 3], [1.0; 3], Color::Rgb);
        assert_is(scale(1.0 / 127.5, -1.0), [0.5; 3], [0.5; 3], Color::Rgb);
        assert_is(scale(2.0, -1.0), [0.5; 3], [0.5; 3], Color::Rgb);
        // A normalization to -1 to 1 is inverted.
        assert_is(scale(0.5, 0.5), [0.0; 3], [1.0; 3], Color::Rgb);
    }

    #[test]
    fn batch_norm_on_images_is_a_normalization() {
        let inputs = ["x", "gamma", "beta", "mean", "variance"];
        let nodes = vec![node("BatchNormalization", &inputs, "y").with_float("epsilon", 0.0)];
        let constants: [(&str, &[f32], &[usize]); 4] = [
            ("gamma", &[1.0; 3], &[3]),
            ("beta", &[0.0; 3], &[3]),
            ("mean", &[120.0, 110.0, 100.0], &[3]),
            ("variance", &[3600.0; 3], &[3]),
        ];
        let mean = [120.0, 110.0, 100.0].map(|mean: f32| mean / 255.0);
        assert_is(found(nodes, &constants), mean, [60.0 / 255.0; 3], Color::Rgb);
    }

    /// torchvision's Inception converts ImageNet's mean and deviation to TensorFlow's like this.
    #[test]
    fn channels_may_be_normalized_separately() {
        let mut nodes = Vec::new();
        let mut constants: Vec<(String, f32)> = Vec::new();
        for channel in 0..3 {
            let name = |part: &str| format!("{part}{channel}");
            let [index, by, shift] = ["index", "by", "shift"].map(name);
            constants.push((index.clone(), channel as f32));
            constants.push((by.clone(), STD[channel] / 0.5));
            constants.push((shift.clone(), (MEAN[channel] - 0.5) / 0.5));
            let [plane, one, scaled, shifted] = ["plane", "one", "scaled", "shifted"].map(name);
            nodes.push(node("Gather", &["x", &index], &plane).with_int("axis", 1));
            nodes.push(node("Unsqueeze", &[&plane], &one).with_ints("axes", &[1]));
            nodes.push(node("Mul", &[&one, &by], &scaled));
            nodes.push(node("Add", &[&scaled, &shift], &shifted));
        }
        let parts = ["shifted0", "shifted1", "shifted2"];
        nodes.push(node("Concat", &parts, "y").with_int("axis", 1));
        let numbers: Vec<(&str, [f32; 1])> =
            constants.iter().map(|(name, number)| (name.as_str(), [*number])).collect();
        let constants: Vec<(&str, &[f32], &[usize])> =
            numbers.iter().map(|(name, number)| (*name, &number[..], &[][..])).collect();
        let found = found(nodes, &constants).expect("the images are prepared");
        assert!(is_same((found.mean, found.std), SIGNED), "{found:?}");
    }

    #[test]
    fn channels_may_be_in_the_opposite_order() {
        let nodes = vec![
            node("Gather", &["x", "order"], "turned").with_int("axis", 1),
            node("Sub", &["turned", "mean"], "y"),
            node("Conv", &["y", "kernel"], "maps"),
        ];
        let constants = HashMap::from([
            ("order".to_owned(), Constant::of_numbers(&[2.0, 1.0, 0.0], vec![3])),
            ("mean".to_owned(), Constant::of_numbers(&[1.0, 2.0, 3.0], vec![1, 3, 1, 1])),
        ]);
        let shape = vec![Some(1), Some(3), None, None];
        let found = Preparation::of(&nodes, &constants, &[("x".to_owned(), shape)]);
        let preparation = found.expect("the images are prepared");
        assert_eq!(preparation.normalization().color, Color::Bgr);
        let sources: Vec<usize> = preparation.channels.iter().map(|one| one.source).collect();
        assert_eq!(sources, [2, 1, 0]);
    }
}
