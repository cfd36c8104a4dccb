use crate::graph::{Activation, Binary, Graph, Op};

/// Lets a convolution add what its result is added to.
pub(super) fn fuse(graph: &mut Graph) {
    let uses = graph.uses();
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Op::Binary { op: Binary::Add, activation } = node.op else { continue };
        let &[a, b] = node.inputs.as_slice() else { continue };
        if graph.shape(a) != graph.shape(b) || graph.shape4(a).is_none() || a == b {
            continue;
        }
        let producers = graph.producers();
        // Of two convolutions the later one: the other's result is then there.
        let candidates = [(a, b), (b, a)].into_iter().filter_map(|(result, other)| {
            let producer = producers[result].filter(|_| uses[result] == 1)?;
            let is_plain = matches!(
                graph.nodes[producer].op,
                Op::Conv { residual: false, activation: Activation::Identity, groups, .. }
                    if groups < graph.shape(graph.nodes[producer].inputs[0])[1].max(2)
            );
            is_plain.then_some((producer, other))
        });
        let Some((producer, other)) = candidates.max_by_key(|&(producer, _)| producer) else {
            continue;
        };
        let mut conv = graph.nodes[producer].clone();
        let Op::Conv { residual, activation: slot, .. } = &mut conv.op else { unreachable!() };
        (*residual, *slot) = (true, activation);
        conv.inputs.push(other);
        conv.output = graph.nodes[index].output;
        graph.nodes[index] = conv;
    }
    super::dead::remove(graph);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, conv, graph};
    use super::*;

    #[test]
    fn the_later_convolution_adds() {
        let shape = [1, 3, 2, 2];
        for flip in [false, true] {
            let mut graph = graph(shape);
            let mut branches = [conv(&mut graph, 0, 3, 1), conv(&mut graph, 0, 3, 3)];
            if flip {
                branches.reverse();
            }
            let add = Op::Binary { op: Binary::Add, activation: Activation::RELU };
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
        let add = Op::Binary { op: Binary::Add, activation: Activation::Identity };
        let sum = graph.node(add, [branch, 0], shape);
        graph.outputs = vec![sum, branch];
        check(&graph, fuse, &["conv", "add"]);
    }
}
