use std::sync::Arc;

use crate::graph::Graph;

/// Computes the nodes that do not depend on the images (constant folding).
pub(super) fn fold(graph: &mut Graph) {
    for node in std::mem::take(&mut graph.nodes) {
        let view = |&value: &usize| graph.data(value).map(|data| (graph.shape(value), data));
        match node.inputs.iter().map(view).collect::<Option<Vec<_>>>() {
            Some(inputs) => {
                let data = node.op.evaluate(&inputs, graph.shape(node.output));
                graph.values[node.output].constant = Some(Arc::new(data));
            }
            None => graph.nodes.push(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::scalar::Scalar;

    #[test]
    fn a_node_with_constant_inputs_becomes_a_constant() {
        let mut graph = Graph::default();
        graph.input = graph.value([2]);
        let known = graph.constant([2], vec![1.0, 2.0]);
        let twice = Scalar { scale: 2.0, offset: 0.0 };
        let folded = graph.node(twice, [known], [2]);
        let computed = graph.node(twice, [graph.input], [2]);
        graph.outputs = vec![folded, computed];
        fold(&mut graph);
        assert_eq!(graph.nodes.len(), 1);
        assert_eq!(graph.data(folded), Some(&[2.0, 4.0][..]));
    }
}
