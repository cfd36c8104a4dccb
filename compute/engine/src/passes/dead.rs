use crate::graph::Graph;

/// Removes the nodes whose results no node and no output reads.
pub(super) fn remove(graph: &mut Graph) {
    let mut is_read = vec![false; graph.values.len()];
    for &output in &graph.outputs {
        is_read[output] = true;
    }
    let mut kept = Vec::new();
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        if is_read[node.output] {
            node.inputs.iter().for_each(|&input| is_read[input] = true);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
    // Frees the memory of unused constants.
    for (value, is_read) in graph.values.iter_mut().zip(is_read) {
        if !is_read {
            value.constant = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::activation::Activate;
    use zoo_simd::Activation;

    #[test]
    fn unused_nodes_and_constants_are_removed() {
        let mut graph = Graph::default();
        graph.input = graph.value([1, 2, 1, 1]);
        let relu = Activate(Activation::RELU);
        let read = graph.node(relu, [graph.input], [1, 2, 1, 1]);
        let unread = graph.node(relu, [read], [1, 2, 1, 1]);
        graph.node(relu, [unread], [1, 2, 1, 1]);
        let constant = graph.constant([1], vec![1.0]);
        graph.outputs = vec![read];
        remove(&mut graph);
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(graph.nodes[0].output, read);
        assert!(graph.data(constant).is_none());
    }
}
