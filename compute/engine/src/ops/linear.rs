use super::{Operator, View};

/// A fully connected layer. Inputs: `[…, in]`, weights `[in, out]` and optionally a bias `[out]`. A
/// pass converts it to a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear;

impl Operator for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let [depth, width] = [inputs[1].0[0], inputs[1].0[1]];
        let mut out = Vec::with_capacity(shape.iter().product());
        for row in inputs[0].1.chunks_exact(depth) {
            let mut sums = match inputs.get(2) {
                Some(bias) => bias.1.to_vec(),
                None => vec![0.0; width],
            };
            for (x, weights) in row.iter().zip(inputs[1].1.chunks_exact(width)) {
                sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
            }
            out.extend(sums);
        }
        out
    }

    fn is_batch_independent(&self, shape: &[usize]) -> bool {
        shape.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zoo_simd::Activation;

    use super::*;
    use crate::ops::activation::Activate;
    use crate::ops::reshape::Reshape;
    use crate::passes::testing::{graph, noise};
    use crate::plan::testing::check;

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn fully_connected_layers_match_their_definition(
            batch in 1..10_usize, channels in 1..40_usize, size in [1..4_usize, 1..4],
            hidden in 1..100_usize, classes in 1..50_usize,
        ) {
            let mut graph = graph([batch, channels, size[0], size[1]]);
            let length = channels * size[0] * size[1];
            let x = graph.node(Reshape, [graph.input], [batch, length]);
            let weights = graph.constant([length, hidden], noise(1, length * hidden));
            let bias = graph.constant([hidden], noise(2, hidden));
            let x = graph.node(Linear, [x, weights, bias], [batch, hidden]);
            let x = graph.node(Activate(Activation::Sigmoid), [x], [batch, hidden]);
            let weights = graph.constant([hidden, classes], noise(3, hidden * classes));
            let x = graph.node(Linear, [x, weights], [batch, classes]);
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }

    #[test]
    fn a_reshape_that_joins_images_is_not_split_by_image() {
        let mut graph = graph([4, 6, 1, 1]);
        let pairs = graph.node(Reshape, [graph.input], [2, 12]);
        let weights = graph.constant([12, 5], noise(2, 60));
        let x = graph.node(Linear, [pairs, weights], [2, 5]);
        graph.outputs = vec![x];
        check(&graph).unwrap();
    }
}
