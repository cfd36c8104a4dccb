use crate::graph::{Graph, Node, Value};
use crate::ops::Inputs;

/// Changes a graph for a batch of images to one for a single image, and returns the number of
/// images. If the images depend on one another, the graph does not change, and the batch counts as
/// 1 item.
pub(super) fn split(graph: &mut Graph) -> usize {
    let batch = graph.shape(graph.input)[0];
    if batch == 0
        || !graph.outputs.iter().all(|&output| is_of_batch(&graph.values[output], batch))
        || !graph.nodes.iter().all(|node| is_of_each(graph, node, batch))
    {
        return 1;
    }
    let made = graph.nodes.iter().map(|node| node.output).chain([graph.input]);
    for value in made.collect::<Vec<_>>() {
        graph.values[value].shape[0] = 1;
    }
    // Keeps one copy of constant operands that are equal for all images.
    for index in 0..graph.nodes.len() {
        let Node { op, inputs, output } = graph.nodes[index].clone();
        let rank = graph.shape(output).len();
        for (input, &value) in inputs.iter().enumerate().filter(|_| op.inputs() == Inputs::Operands)
        {
            let Some(data) = graph.data(value) else { continue };
            let mut shape = graph.shape(value).to_vec();
            if shape.len() == rank && shape[0] == batch {
                shape[0] = 1;
                let data = data[..data.len() / batch].to_vec();
                graph.nodes[index].inputs[input] = graph.constant(shape, data);
            }
        }
    }
    batch
}

/// Whether a computed value has one entry for each image along its first dimension.
fn is_of_batch(value: &Value, batch: usize) -> bool {
    value.constant.is_none() && value.shape.first() == Some(&batch)
}

/// Whether a node computes each image independently and in the same way.
fn is_of_each(graph: &Graph, node: &Node, batch: usize) -> bool {
    let output = &graph.values[node.output];
    let is_operand = |value: &Value| {
        let has_rank = value.shape.len() == output.shape.len();
        match &value.constant {
            None => has_rank && is_of_batch(value, batch),
            // A constant that is broadcast over the images, or equal for all of them.
            Some(data) => {
                !has_rank
                    || value.shape[0] == 1
                    || value.shape[0] == batch
                        && data
                            .chunks_exact(data.len() / batch)
                            .all(|of_image| of_image == &data[..data.len() / batch])
            }
        }
    };
    let mut inputs = node.inputs.iter().map(|&input| &graph.values[input]);
    let are_inputs_of_batch = match node.op.inputs() {
        Inputs::Operands => inputs.all(is_operand),
        Inputs::ImagesAndParameters => {
            inputs.next().is_some_and(|images| is_of_batch(images, batch))
                && inputs.all(|parameters| parameters.constant.is_some())
        }
    };
    are_inputs_of_batch && is_of_batch(output, batch) && node.op.is_batch_independent(&output.shape)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{conv, graph, noise};
    use super::*;
    use crate::graph::ValueId;
    use crate::ops::binary::{Binary, Kind};
    use crate::ops::concat::Concat;
    use crate::ops::linear::Linear;
    use crate::ops::reshape::Reshape;
    use crate::ops::slice::Slice;
    use crate::ops::transpose::Transpose;

    fn add(graph: &mut Graph, a: ValueId, b: ValueId, shape: [usize; 4]) -> ValueId {
        graph.node(Binary::of(Kind::Add), [a, b], shape)
    }

    #[test]
    fn a_batch_is_split_into_images() {
        let shape = [3, 4, 5, 5];
        let mut graph = graph([3, 2, 5, 5]);
        let x = conv(&mut graph, 0, 4, 3);
        let known = graph.constant([1, 4, 1, 1], noise(1, 4));
        let x = add(&mut graph, x, known, shape);
        // A constant that is equal for all images.
        let known = graph.constant([3, 4, 5, 5], noise(2, 100).repeat(3));
        let x = add(&mut graph, x, known, shape);
        let known = graph.constant([3, 1, 5, 5], vec![0.0; 75]);
        let x = graph.node(Concat { axis: 1 }, [x, known], [3, 5, 5, 5]);
        let x = graph.node(Reshape, [x], [3, 125]);
        let weights = graph.constant([125, 3], noise(3, 375));
        let x = graph.node(Linear, [x, weights], [3, 3]);
        graph.outputs = vec![x];
        let images = noise(4, 150);
        let expected = graph.evaluate(&images).remove(0);
        assert_eq!(split(&mut graph), 3);
        let got = images.chunks(50).flat_map(|image| graph.evaluate(image).remove(0));
        assert_eq!(got.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_batch_of_dependent_images_is_not_split() {
        let across: [fn(&mut Graph) -> ValueId; 5] = [
            |graph| graph.node(Transpose { axes: vec![1, 0, 2, 3] }, [0], [2, 2, 3, 3]),
            |graph| graph.node(Reshape, [0], [1, 4, 3, 3]),
            |graph| graph.node(Concat { axis: 0 }, [0, 0], [4, 2, 3, 3]),
            |graph| {
                let slice = Slice { start: vec![1, 0, 0, 0], step: vec![1; 4], fill: 0.0 };
                graph.node(slice, [0], [2, 2, 3, 3])
            },
            |graph| {
                let others = graph.constant([2, 1, 1, 1], vec![1.0, 2.0]);
                add(graph, 0, others, [2, 2, 3, 3])
            },
        ];
        for across in across {
            let mut graph = graph([2, 2, 3, 3]);
            let x = across(&mut graph);
            graph.outputs = vec![x];
            assert_eq!(split(&mut graph), 1);
            assert_eq!(graph.shape(graph.input)[0], 2);
        }
    }
}
