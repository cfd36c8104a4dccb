use crate::graph::Graph;
use crate::ops::conv::Conv;
use crate::ops::conv_transpose::ConvTranspose;

/// Adds a bias of zeros to each convolution without one, so that later passes and steps can rely on
/// it.
pub(super) fn add(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let is_conv = node.op_as::<Conv>().is_some() || node.op_as::<ConvTranspose>().is_some();
        if is_conv && node.inputs.len() == 2 {
            let channels = graph.shape(node.output)[1];
            let bias = graph.constant([channels], vec![0.0; channels]);
            graph.nodes[index].inputs.push(bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use zoo_graph::Window;

    use super::super::testing::{check, graph, noise};
    use super::*;

    #[test]
    fn convolutions_without_a_bias_get_one() {
        let mut graph = graph([1, 2, 3, 3]);
        let weights = graph.constant([4, 2, 1, 1], noise(1, 8));
        let conv = Conv::new(Window::whole([1, 1]), 1);
        let x = graph.node(conv, [graph.input, weights], [1, 4, 3, 3]);
        graph.outputs = vec![x];
        check(&graph, add, &["conv"]);
        add(&mut graph);
        assert_eq!(graph.data(graph.nodes[0].inputs[2]), Some(&[0.0; 4][..]));
    }
}
