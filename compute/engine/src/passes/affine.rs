use std::sync::Arc;

use zoo_simd::Activation;

use crate::graph::{Graph, ValueId};
use crate::ops::Operator;
use crate::ops::affine::Affine;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::Conv;
use crate::ops::reshape::Reshape;

/// Converts BatchNorm with constant parameters to an affine function of each channel.
pub(super) fn of_batch_norm(graph: &mut Graph) {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Some(norm) = node.op_as::<BatchNorm>() else { continue };
        let x = node.inputs[0];
        let parameters = [1, 2, 3, 4].map(|input| graph.data(node.inputs[input]));
        let [Some(gamma), Some(beta), Some(mean), Some(variance)] = parameters else { continue };
        let (scale, offset) = norm.affine([gamma, beta, mean, variance]);
        let channels = scale.len();
        let (scale, offset) =
            (graph.constant([channels], scale), graph.constant([channels], offset));
        let node = &mut graph.nodes[index];
        node.op = Arc::new(Affine::BARE);
        node.inputs = vec![x, scale, offset];
    }
}

/// Folds an affine function of each channel into the convolution or the affine function before it.
pub(super) fn fold(graph: &mut Graph) {
    let mut uses = graph.uses();
    let producers = graph.producers();
    for index in 0..graph.nodes.len() {
        let Some(&Affine { activation }) = graph.nodes[index].op_as() else { continue };
        let &[x, scale, offset] = graph.nodes[index].inputs.as_slice() else { continue };
        let Some(producer) = producers[x].filter(|_| uses[x] == 1) else { continue };
        let scale = graph.data(scale).expect("a constant").to_vec();
        let offset = graph.data(offset).expect("a constant").to_vec();
        let node = &graph.nodes[producer];
        let op: Arc<dyn Operator> = if let Some(&conv) = node.op_as::<Conv>() {
            let &[_, weights, bias] = node.inputs.as_slice() else { continue };
            let are_known = graph.data(weights).is_some() && graph.data(bias).is_some();
            if !conv.is_bare() || uses[weights] != 1 || !are_known {
                continue;
            }
            let weights = values(graph, weights);
            if conv.out_channels_last {
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
            Arc::new(Conv { activation, ..conv })
        } else if let Some(Affine { activation: Activation::Identity }) = node.op_as() {
            let &[_, first, then] = node.inputs.as_slice() else { continue };
            let pairs = |value: ValueId| {
                graph.data(value).expect("a constant").iter().zip(scale.iter().zip(&offset))
            };
            let first = pairs(first).map(|(first, (scale, _))| first * scale).collect();
            let then = pairs(then).map(|(then, (scale, offset))| then * scale + offset).collect();
            graph.nodes[producer].inputs[1] = graph.constant([scale.len()], first);
            graph.nodes[producer].inputs[2] = graph.constant([scale.len()], then);
            Arc::new(Affine { activation })
        } else {
            continue;
        };
        graph.nodes[producer].op = op;
        let output = graph.nodes[index].output;
        graph.redirect(output, x);
        uses[x] = uses[output];
        // No node reads this output now. `dead::remove` removes the node.
        graph.nodes[index].inputs.truncate(1);
        graph.nodes[index].op = Arc::new(Reshape);
    }
    super::dead::remove(graph);
}

/// Returns a constant's values for writing. Copies them only if they are shared.
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
        graph.node(Affine::BARE, [x, scale, offset], shape)
    }

    #[test]
    fn batch_norm_is_affine() {
        let mut graph = graph([2, 3, 3, 3]);
        let vector = |graph: &mut Graph, seed| {
            // Variances are not negative.
            let numbers = noise(seed, 3).iter().map(|x| x.abs()).collect();
            graph.constant([3], numbers)
        };
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|seed| vector(&mut graph, seed));
        let norm = BatchNorm { epsilon: 1e-3 };
        let x = graph.node(norm, [graph.input, gamma, beta, mean, variance], [2, 3, 3, 3]);
        graph.outputs = vec![x];
        check(&graph, of_batch_norm, &["affine"]);
    }

    #[test]
    fn a_convolution_absorbs_all_affine_functions_after_it() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = conv(&mut graph, 0, 4, 3);
        let x = affine(&mut graph, x);
        let x = affine(&mut graph, x);
        graph.outputs = vec![x];
        check(&graph, fold, &["conv"]);
    }

    #[test]
    fn a_convolution_with_a_computed_bias_stays_unchanged() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = conv(&mut graph, 0, 4, 3);
        let bias = graph.value([4]);
        graph.nodes[0].inputs[2] = bias;
        let x = affine(&mut graph, x);
        graph.outputs = vec![x];
        fold(&mut graph);
        assert_eq!(graph.nodes.len(), 2);
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
    fn an_affine_function_is_not_folded_if_its_input_has_another_reader() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = conv(&mut graph, 0, 4, 3);
        let y = affine(&mut graph, x);
        graph.outputs = vec![x, y];
        check(&graph, fold, &["conv", "affine"]);
    }

    #[test]
    fn the_first_of_two_affine_functions_stays_if_it_has_another_reader() {
        let mut graph = graph([1, 3, 3, 3]);
        let x = conv(&mut graph, 0, 4, 3);
        let y = affine(&mut graph, x);
        let z = affine(&mut graph, y);
        graph.outputs = vec![y, z];
        check(&graph, fold, &["conv", "affine"]);
    }
}
