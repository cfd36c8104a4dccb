use std::sync::Arc;

use crate::graph::Graph;
use crate::ops::binary::{Binary, Kind};
use crate::ops::conv::Conv;

/// Lets a convolution add what its result is added to.
pub(super) fn fuse(graph: &mut Graph) {
    let uses = graph.uses();
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Some(&Binary { kind: Kind::Add, activation }) = node.op_as() else { continue };
        let &[a, b] = node.inputs.as_slice() else { continue };
        if graph.shape(a) != graph.shape(b) || graph.shape4(a).is_none() || a == b {
            continue;
        }
        let producers = graph.producers();
        // Of two convolutions the later one: the other's result is then there.
        let candidates = [(a, b), (b, a)].into_iter().filter_map(|(result, other)| {
            let producer = producers[result].filter(|_| uses[result] == 1)?;
            let conv = graph.nodes[producer].op_as::<Conv>()?;
            let channels = graph.shape(graph.nodes[producer].inputs[0])[1];
            (conv.is_bare() && conv.groups < channels.max(2)).then_some((producer, other, *conv))
        });
        let Some((producer, other, conv)) = candidates.max_by_key(|&(producer, ..)| producer)
        else {
            continue;
        };
        let mut inputs = graph.nodes[producer].inputs.clone();
        inputs.push(other);
        let node = &mut graph.nodes[index];
        node.op = Arc::new(Conv { residual: true, activation, ..conv });
        node.inputs = inputs;
    }
    super::dead::remove(graph);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, conv, graph};
    use super::*;
    use zoo_simd::Activation;

    #[test]
    fn the_later_convolution_adds() {
        let shape = [1, 3, 2, 2];
        for flip in [false, true] {
            let mut graph = graph(shape);
            let mut branches = [conv(&mut graph, 0, 3, 1), conv(&mut graph, 0, 3, 3)];
            if flip {
                branches.reverse();
            }
            let add = Binary { kind: Kind::Add, activation: Activation::RELU };
            let sum = graph.node(add, branches, shape);
            graph.outputs = vec![sum];
            check(&graph, fuse, &["conv", "conv"]);
        }
    }

    #[test]
    fn nothing_is_fused_where_the_result_is_read_twice() {
        let shape = [1, 3, 2, 2];
        let mut graph = graph(shape);
        let branch = conv(&mut graph, 0, 3, 1);
        let add = Binary::of(Kind::Add);
        let sum = graph.node(add, [branch, 0], shape);
        graph.outputs = vec![sum, branch];
        check(&graph, fuse, &["conv", "add"]);
    }
}
