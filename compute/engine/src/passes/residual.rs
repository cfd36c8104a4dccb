use std::sync::Arc;

use crate::graph::Graph;
use crate::ops::binary::{Binary, Kind};
use crate::ops::conv::Conv;

/// Fuses an addition into the convolution that computes one of its operands.
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
        // Selects the later of two convolutions, because the other operand is computed before it.
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
    fn the_later_of_two_convolutions_adds() {
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
    fn an_addition_is_not_fused_if_the_result_has_another_reader() {
        let shape = [1, 3, 2, 2];
        let mut graph = graph(shape);
        let branch = conv(&mut graph, 0, 3, 1);
        let add = Binary::of(Kind::Add);
        let sum = graph.node(add, [branch, 0], shape);
        graph.outputs = vec![sum, branch];
        check(&graph, fuse, &["conv", "add"]);
    }
}
