use super::{Inputs, Operator, View};

/// The concatenation of tensors along a dimension. A pass converts a concatenation of channels to a
/// [`Gather`](super::gather::Gather).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Concat {
    pub(crate) axis: usize,
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let outer: usize = shape[..self.axis].iter().product();
        let mut out = Vec::with_capacity(shape.iter().product());
        for i in 0..outer {
            for (_, values) in inputs {
                let length = values.len() / outer;
                out.extend_from_slice(&values[i * length..][..length]);
            }
        }
        out
    }

    fn inputs(&self) -> Inputs {
        Inputs::Operands
    }

    fn is_batch_independent(&self, _shape: &[usize]) -> bool {
        self.axis > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zoo_graph::Window;
    use zoo_simd::Activation;

    use super::*;
    use crate::passes::testing::graph;
    use crate::plan::testing::{check, conv};

    proptest! {
        #![proptest_config(crate::plan::testing::config())]

        #[test]
        fn concatenations_match_their_definition(
            batch in 1..3_usize, parts in prop::collection::vec(1..4_usize, 1..5), odd: bool,
            size in [2..9_usize, 2..9],
        ) {
            // As in a dense block, the concatenation is convolved and then concatenated with the
            // result.
            let unit = if odd { 9 } else { 16 };
            let mut graph = graph([batch, unit, size[0], size[1]]);
            let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
            let mut parts_so_far = vec![graph.input];
            let mut channels = unit;
            let mut x = graph.input;
            for part in parts {
                let relu = Activation::RELU;
                let new = conv(&mut graph, x, part * unit, window, 1, relu).unwrap();
                parts_so_far.push(new);
                channels += part * unit;
                let shape = [batch, channels, size[0], size[1]];
                x = graph.node(Concat { axis: 1 }, parts_so_far.clone(), shape);
            }
            graph.outputs = vec![x];
            check(&graph)?;
        }
    }
}
