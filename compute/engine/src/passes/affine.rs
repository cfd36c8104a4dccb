use std::sync::Arc;

use crate::graph::{Activation, Graph, Op, ValueId};

/// Lets BatchNorm and other affine functions of channels be done by the convolution, or the
/// affine function, whose result they take.
pub(super) fn fold(graph: &mut Graph) {
    let mut uses = graph.uses();
    let producers = graph.producers();
    for index in 0..graph.nodes.len() {
        let Op::Affine { activation } = graph.nodes[index].op else { continue };
        let &[x, scale, offset] = graph.nodes[index].inputs.as_slice() else { continue };
        let Some(producer) = producers[x].filter(|_| uses[x] == 1) else { continue };
        let scale = graph.data(scale).expect("a constant").to_vec();
        let offset = graph.data(offset).expect("a constant").to_vec();
        match &graph.nodes[producer].op {
            &Op::Conv { out_last, residual: false, activation: Activation::Identity, .. } => {
                let &[_, weights, bias] = graph.nodes[producer].inputs.as_slice() else { continue };
                if uses[weights] != 1 || graph.data(weights).is_none() {
                    continue;
                }
                let weights = values(graph, weights);
                if out_last {
                    for row in weights.chunks_exact_mut(scale.len()) {
                        row.iter_mut().zip(&scale).for_each(|(weight, scale)| *weight *= scale);
                    }
                } else {
                    let length = weights.len() / scale.len();
                    for (filter, scale) in weights.chunks_exact_mut(length).zip(&scale) {
                        filter.iter_mut().for_each(|weight| *weight *= scale);
                    }
                }
                let bias = graph.data(bias).expect("a constant");
                let bias = bias.iter().zip(scale.iter().zip(&offset));
                let bias = bias.map(|(bias, (scale, offset))| bias * scale + offset).collect();
                graph.nodes[producer].inputs[2] = graph.constant([scale.len()], bias);
            }
            Op::Affine { activation: Activation::Identity } => {
                let &[_, first, then] = graph.nodes[producer].inputs.as_slice() else { continue };
                let pairs = |value: ValueId| {
                    graph.data(value).expect("a constant").iter().zip(scale.iter().zip(&offset))
                };
                let first = pairs(first).map(|(first, (scale, _))| first * scale).collect();
                let then =
                    pairs(then).map(|(then, (scale, offset))| then * scale + offset).collect();
                graph.nodes[producer].inputs[1] = graph.constant([scale.len()], first);
                graph.nodes[producer].inputs[2] = graph.constant([scale.len()], then);
            }
            _ => continue,
        }
        if let Op::Conv { activation: slot, .. } | Op::Affine { activation: slot } =
            &mut graph.nodes[producer].op
        {
            *slot = activation;
        }
        let output = graph.nodes[index].output;
        graph.redirect(output, x);
        uses[x] = uses[output];
        graph.nodes[index].inputs.truncate(1);
        graph.nodes[index].op = Op::Reshape;
    }
    super::dead::remove(graph);
}

/// A constant's values, to be changed; copied only where others share them.
fn values(graph: &mut Graph, value: ValueId) -> &mut Vec<f32> {
    Arc::make_mut(graph.values[value].constant.as_mut().expect("a constant"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, conv, graph, noise};
    use super::*;

    fn affine(graph: &mut Graph, x: ValueId) -> ValueId {
        let shape = graph.shape(x).to_vec();
        let scale = graph.constant([shape[1]], noise(5, shape[1]));
        let offset = graph.constant([shape[1]], noise(6, shape[1]));
        graph.node(Op::Affine { activation: Activation::Identity }, [x, scale, offset], shape)
    }

    #[test]
    fn a_convolution_takes_in_all_that_follow() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = conv(&mut graph, 0, 4, 3);
        let x = affine(&mut graph, x);
        let x = affine(&mut graph, x);
        graph.outputs = vec![x];
        check(&graph, fold, &["conv"]);
    }

    #[test]
    fn affine_functions_merge() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = affine(&mut graph, 0);
        let x = affine(&mut graph, x);
        graph.outputs = vec![x];
        check(&graph, fold, &["affine"]);
    }

    #[test]
    fn a_result_that_others_read_stays() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = conv(&mut graph, 0, 4, 3);
        let y = affine(&mut graph, x);
        graph.outputs = vec![x, y];
        check(&graph, fold, &["conv", "affine"]);
    }

    #[test]
    fn what_others_read_of_two_stays() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = conv(&mut graph, 0, 4, 3);
        let y = affine(&mut graph, x);
        let z = affine(&mut graph, y);
        graph.outputs = vec![y, z];
        check(&graph, fold, &["conv", "affine"]);
    }
}
