use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Graph, Node, ValueId};
use crate::ops::concat::Concat;
use crate::ops::gather::{Gather, Source};
use crate::ops::reshape::Reshape;
use crate::ops::slice::Slice;
use crate::ops::transpose::Transpose;

/// A value of shape `[N, dims…, spatial…]` as channels of other values. Each of the `channels` is a
/// whole channel of images with the same height and width, or `None` for zeros.
struct Channels {
    dims: Vec<usize>,
    channels: Vec<Option<(ValueId, usize)>>,
    size: [usize; 2],
}

/// Replaces chains of operators that only reorder whole channels by one [`Gather`]: concatenations,
/// splits and channel shuffles.
pub(super) fn gather(graph: &mut Graph) {
    let mut known: HashMap<ValueId, Channels> = HashMap::new();
    for node in std::mem::take(&mut graph.nodes) {
        if let Some(channels) = trace(graph, &known, &node) {
            let is_image = graph.shape(node.output).len() == 4 && channels.dims.len() == 1;
            if is_image {
                let (sources, inputs) = sources(&channels);
                let op = Arc::new(Gather { sources });
                graph.nodes.push(Node { op, inputs, output: node.output });
            } else {
                graph.nodes.push(node.clone());
            }
            known.insert(node.output, channels);
        } else {
            graph.nodes.push(node);
        }
    }
    // Removes gathers that keep the order of all channels.
    let identities: Vec<_> = graph
        .nodes
        .iter()
        .filter(|node| is_identity(graph, node) && !graph.outputs.contains(&node.output))
        .map(|node| (node.output, node.inputs[0]))
        .collect();
    for (output, input) in identities {
        graph.redirect(output, input);
    }
}

fn is_identity(graph: &Graph, node: &Node) -> bool {
    let Some(Gather { sources }) = node.op_as() else { return false };
    let in_order =
        |(i, source): (usize, &Source)| *source == Source::Channel { input: 0, channel: i };
    node.inputs.len() == 1
        && graph.shape(node.inputs[0]) == graph.shape(node.output)
        && sources.iter().enumerate().all(in_order)
}

/// Returns the source of each channel, and the distinct values that the sources refer to.
fn sources(channels: &Channels) -> (Vec<Source>, Vec<ValueId>) {
    let mut inputs = Vec::new();
    let sources = channels
        .channels
        .iter()
        .map(|channel| match *channel {
            None => Source::Zero,
            Some((value, channel)) => {
                let input = inputs.iter().position(|&input| input == value);
                let input = input.unwrap_or_else(|| {
                    inputs.push(value);
                    inputs.len() - 1
                });
                Source::Channel { input, channel }
            }
        })
        .collect();
    (sources, inputs)
}

/// Returns a node's output as channels, if the node only reorders whole channels.
fn trace(graph: &Graph, known: &HashMap<ValueId, Channels>, node: &Node) -> Option<Channels> {
    let input = |value: ValueId| -> Option<Channels> {
        if let Some(Channels { dims, channels, size }) = known.get(&value) {
            return Some(Channels { dims: dims.clone(), channels: channels.clone(), size: *size });
        }
        let [_, channels, height, width] = graph.shape4(value)?;
        let is_zero = graph.data(value).map(|data| data.iter().all(|&x| x == 0.0));
        let channels = match is_zero {
            Some(true) => vec![None; channels],
            Some(false) => return None,
            None => (0..channels).map(|channel| Some((value, channel))).collect(),
        };
        Some(Channels { dims: vec![channels.len()], channels, size: [height, width] })
    };
    let x = input(*node.inputs.first()?)?;
    let (from, to) = (graph.shape(node.inputs[0]), graph.shape(node.output));
    let rank = x.dims.len();
    if node.op_as::<Reshape>().is_some() {
        let inner = to.strip_prefix(&from[..1])?;
        let suffix = [&x.size[..], &[x.size[0] * x.size[1]]];
        let dims = suffix.iter().find_map(|suffix| {
            inner
                .strip_suffix(*suffix)
                .filter(|dims| dims.iter().product::<usize>() == x.channels.len())
        })?;
        return (!dims.is_empty()).then(|| Channels { dims: dims.to_vec(), ..x });
    }
    if let Some(Transpose { axes }) = node.op_as() {
        let stays = |(i, &axis): (usize, &usize)| i == axis || (1..=rank).contains(&axis);
        if !axes.iter().enumerate().all(stays) {
            return None;
        }
        let strides: Vec<usize> =
            (0..rank).map(|axis| x.dims[axis + 1..].iter().product()).collect();
        let dims: Vec<usize> = (1..=rank).map(|axis| x.dims[axes[axis] - 1]).collect();
        let steps: Vec<usize> = (1..=rank).map(|axis| strides[axes[axis] - 1]).collect();
        return Some(Channels { channels: walk(&dims, &steps, 0, &x.channels), dims, ..x });
    }
    if let Some(Slice { start, step, .. }) = node.op_as() {
        let is_inside = (0..to.len()).all(|axis| {
            let last = start[axis] + (to[axis] as isize - 1) * step[axis];
            start[axis] >= 0 && last < from[axis] as isize
        });
        let is_whole = |axis: usize| from[axis] == to[axis];
        if !is_inside || !is_whole(0) || !(rank + 1..to.len()).all(is_whole) {
            return None;
        }
        let strides: Vec<usize> =
            (0..rank).map(|axis| x.dims[axis + 1..].iter().product()).collect();
        let first = (0..rank).map(|axis| strides[axis] * start[axis + 1] as usize).sum();
        let steps: Vec<usize> =
            (0..rank).map(|axis| strides[axis] * step[axis + 1] as usize).collect();
        let dims = to[1..=rank].to_vec();
        return Some(Channels { channels: walk(&dims, &steps, first, &x.channels), dims, ..x });
    }
    let &Concat { axis } = node.op_as()?;
    if !(1..=rank).contains(&axis) {
        return None;
    }
    let parts = node.inputs.iter().map(|&value| input(value));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    if parts.iter().any(|part| part.dims.len() != rank || part.size != x.size) {
        return None;
    }
    let outer: usize = x.dims[..axis - 1].iter().product();
    let mut channels = Vec::new();
    for i in 0..outer {
        for part in &parts {
            let length = part.channels.len() / outer;
            channels.extend_from_slice(&part.channels[i * length..][..length]);
        }
    }
    Some(Channels { dims: to[1..=rank].to_vec(), channels, size: x.size })
}

/// Returns the elements of a strided view in row-major order.
fn walk<T: Copy>(dims: &[usize], strides: &[usize], first: usize, from: &[T]) -> Vec<T> {
    let Some((&dim, inner)) = dims.split_first() else {
        return vec![from[first]];
    };
    (0..dim).flat_map(|i| walk(inner, &strides[1..], first + i * strides[0], from)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, graph};
    use super::*;
    use crate::ops::activation::Activate;
    use zoo_simd::Activation;

    #[test]
    fn a_channel_shuffle_becomes_one_gather() {
        let mut graph = graph([2, 6, 3, 2]);
        let groups = graph.node(Reshape, [graph.input], [2, 2, 3, 6]);
        let turned = graph.node(Transpose { axes: vec![0, 2, 1, 3] }, [groups], [2, 3, 2, 6]);
        let back = graph.node(Reshape, [turned], [2, 6, 3, 2]);
        graph.outputs = vec![back];
        check(&graph, gather, &["gather channels"]);
    }

    #[test]
    fn a_split_and_an_interleaving_become_one_gather() {
        let mut graph = graph([2, 4, 2, 2]);
        let slice = |start| Slice { start: vec![0, start, 0, 0], step: vec![1; 4], fill: 0.0 };
        let halves = [0, 2].map(|start| {
            let half = graph.node(slice(start), [graph.input], [2, 2, 2, 2]);
            graph.node(Reshape, [half], [2, 2, 1, 2, 2])
        });
        let stacked = graph.node(Concat { axis: 2 }, halves, [2, 2, 2, 2, 2]);
        let mixed = graph.node(Reshape, [stacked], [2, 4, 2, 2]);
        graph.outputs = vec![mixed];
        check(&graph, gather, &["gather channels"]);
    }

    #[test]
    fn zeros_are_not_an_input_of_a_gather() {
        let mut graph = graph([1, 2, 2, 2]);
        let zeros = graph.constant([1, 1, 2, 2], vec![0.0; 4]);
        let padded = graph.node(Concat { axis: 1 }, [zeros, graph.input, zeros], [1, 4, 2, 2]);
        graph.outputs = vec![padded];
        check(&graph, gather, &["gather channels"]);
    }

    #[test]
    fn a_gather_that_keeps_the_order_is_removed() {
        let mut graph = graph([2, 4, 1, 1]);
        let flat = graph.node(Reshape, [graph.input], [2, 1, 4, 1, 1]);
        let back = graph.node(Reshape, [flat], [2, 4, 1, 1]);
        let relu = graph.node(Activate(Activation::RELU), [back], [2, 4, 1, 1]);
        graph.outputs = vec![relu];
        check(&graph, gather, &["activation"]);
    }
}
