use std::sync::Arc;

use zoo_simd::Activation;

use crate::graph::Graph;
use crate::ops::activation::Activate;
use crate::ops::binary::{Binary, Kind};

/// Recognizes activations that Burn records as the product of a value and its gate: SiLU,
/// hard-swish.
pub(super) fn recognize(graph: &mut Graph) {
    let producers = graph.producers();
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        if !node.op_as::<Binary>().is_some_and(|binary| binary.is_bare(Kind::Mul)) {
            continue;
        }
        for (x, factor) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
            let Some(gate) = producers[factor].map(|gate| &graph.nodes[gate]) else { continue };
            if gate.inputs[0] != x {
                continue;
            }
            let activation = match gate.op_as() {
                Some(Activate(Activation::Sigmoid)) => Activation::Silu,
                Some(&Activate(Activation::HardSigmoid { slope, offset })) => {
                    Activation::HardSwish { slope, offset }
                }
                _ => continue,
            };
            let node = &mut graph.nodes[index];
            node.op = Arc::new(Activate(activation));
            node.inputs = vec![x];
            break;
        }
    }
    super::dead::remove(graph);
}

/// Fuses an activation into the operator that computes its input.
pub(super) fn fuse(graph: &mut Graph) {
    let uses = graph.uses();
    let producers = graph.producers();
    for index in 0..graph.nodes.len() {
        let Some(&Activate(activation)) = graph.nodes[index].op_as() else { continue };
        let x = graph.nodes[index].inputs[0];
        let Some(producer) = producers[x].filter(|_| uses[x] == 1) else { continue };
        let output = graph.nodes[index].output;
        let Some(fused) = graph.nodes[producer].op.with_activation(activation) else { continue };
        graph.nodes[producer].op = fused;
        graph.redirect(output, x);
        // No node reads this output now. `dead::remove` removes the node.
        graph.nodes[index].inputs = vec![x];
    }
    super::dead::remove(graph);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, conv, graph};
    use super::*;

    const SHAPE: [usize; 4] = [1, 3, 2, 2];

    #[test]
    fn a_gated_value_becomes_an_activation() {
        let gates =
            [Activation::Sigmoid, Activation::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 }];
        for gate in gates {
            for flip in [false, true] {
                let mut graph = graph(SHAPE);
                let factor = graph.node(Activate(gate), [graph.input], SHAPE);
                let mut inputs = [graph.input, factor];
                if flip {
                    inputs.reverse();
                }
                let product = graph.node(Binary::of(Kind::Mul), inputs, SHAPE);
                graph.outputs = vec![product];
                check(&graph, recognize, &["activation"]);
            }
        }
    }

    #[test]
    fn an_activation_is_fused_into_the_operator_before_it() {
        let mut graph = graph(SHAPE);
        let x = conv(&mut graph, 0, 3, 3);
        let relu = graph.node(Activate(Activation::RELU), [x], SHAPE);
        graph.outputs = vec![relu];
        check(&graph, fuse, &["conv"]);
    }

    #[test]
    fn an_activation_is_not_fused_if_its_input_has_another_reader() {
        let mut graph = graph(SHAPE);
        let x = conv(&mut graph, 0, 3, 3);
        let relu = graph.node(Activate(Activation::RELU), [x], SHAPE);
        graph.outputs = vec![relu, x];
        check(&graph, fuse, &["conv", "activation"]);
    }
}
