use std::collections::HashMap;

use crate::graph::{Activation, Binary, Graph, Node, Op, PoolKind, ValueId, Window};

/// Writes the operators on vectors and scalars as operators on images `[N, C, H, W]`, of which
/// there are fewer: a fully connected layer is a convolution as large as its image, and so on.
pub(super) fn everything_is_an_image(graph: &mut Graph) {
    // The images that vectors are the elements of, in the same order.
    let mut images: HashMap<ValueId, ValueId> = HashMap::new();
    for Node { op, inputs, output } in std::mem::take(&mut graph.nodes) {
        let x = inputs[0];
        let shape = graph.shape(output).to_vec();
        match &op {
            Op::Reshape
                if graph.shape4(x).is_some_and(|images| images[0] == shape[0])
                    && shape.len() == 2 =>
            {
                images.insert(output, x);
            }
            Op::Linear if shape.len() == 2 && graph.data(inputs[1]).is_some() => {
                let image = image_of(graph, &images, x);
                let [batch, _, height, width] = graph.shape4(image).expect("an image");
                let zeros = |graph: &mut Graph| graph.constant([shape[1]], vec![0.0; shape[1]]);
                let bias = inputs.get(2).copied().unwrap_or_else(|| zeros(graph));
                let op = Op::Conv {
                    window: Window::whole([height, width]),
                    groups: 1,
                    out_last: true,
                    residual: false,
                    activation: Activation::Identity,
                };
                let logits = graph.node(op, [image, inputs[1], bias], [batch, shape[1], 1, 1]);
                images.insert(output, logits);
                graph.nodes.push(Node { op: Op::Reshape, inputs: vec![logits], output });
                continue;
            }
            // A bias that is added to what a matrix product gave.
            Op::Binary { op: Binary::Add, activation: Activation::Identity }
                if shape.len() == 2
                    && images.contains_key(&x)
                    && graph.shape(images[&x])[1..] == [shape[1], 1, 1]
                    && graph.data(inputs[1]).is_some_and(|bias| bias.len() == shape[1]) =>
            {
                let image = images[&x];
                let image_shape = graph.shape(image).to_vec();
                let ones = graph.constant([shape[1]], vec![1.0; shape[1]]);
                let bias = graph.data(inputs[1]).expect("it was checked").to_vec();
                let bias = graph.constant([shape[1]], bias);
                let affine = Op::Affine { activation: Activation::Identity };
                let image = graph.node(affine, [image, ones, bias], image_shape);
                images.insert(output, image);
                graph.nodes.push(Node { op: Op::Reshape, inputs: vec![image], output });
                continue;
            }
            Op::Activation(_) | Op::Scalar { .. } if shape.len() == 2 => {
                let image = image_of(graph, &images, x);
                let image_shape = graph.shape(image).to_vec();
                let (op, inputs) = as_affine(graph, op, &image_shape, vec![image]);
                let image = graph.node(op, inputs, image_shape);
                images.insert(output, image);
                graph.nodes.push(Node { op: Op::Reshape, inputs: vec![image], output });
                continue;
            }
            Op::AdaptiveAverage => {
                let size = [graph.shape(x)[2], graph.shape(x)[3]];
                let cells = [shape[2], shape[3]];
                if size[0].is_multiple_of(cells[0]) && size[1].is_multiple_of(cells[1]) {
                    let kernel = [size[0] / cells[0], size[1] / cells[1]];
                    let window = Window { stride: kernel, ..Window::whole(kernel) };
                    let op = Op::Pool { kind: PoolKind::Average, window };
                    graph.nodes.push(Node { op, inputs, output });
                    continue;
                }
            }
            _ => {}
        }
        let (op, inputs) = as_affine(graph, op, &shape, inputs);
        graph.nodes.push(Node { op, inputs, output });
    }
}

fn image_of(graph: &mut Graph, images: &HashMap<ValueId, ValueId>, vector: ValueId) -> ValueId {
    images.get(&vector).copied().unwrap_or_else(|| {
        let [batch, length] = [graph.shape(vector)[0], graph.shape(vector)[1]];
        graph.node(Op::Reshape, [vector], [batch, length, 1, 1])
    })
}

/// A scale or an offset of images, as an affine function of each channel.
fn as_affine(
    graph: &mut Graph,
    op: Op,
    shape: &[usize],
    inputs: Vec<ValueId>,
) -> (Op, Vec<ValueId>) {
    if shape.len() != 4 {
        return (op, inputs);
    }
    let channels = shape[1];
    let (x, scale, offset) = match op {
        Op::Scalar { scale, offset } => (inputs[0], vec![scale; channels], vec![offset; channels]),
        Op::Binary { op: binary, activation: Activation::Identity } => {
            let per_channel = |value: ValueId| per_channel(graph, value, shape);
            let zeros = vec![0.0; channels];
            let ones = vec![1.0; channels];
            match (binary, per_channel(inputs[0]), per_channel(inputs[1])) {
                (Binary::Add, Some(a), None) => (inputs[1], ones, a),
                (Binary::Add, None, Some(b)) => (inputs[0], ones, b),
                (Binary::Sub, Some(a), None) => (inputs[1], vec![-1.0; channels], a),
                (Binary::Sub, None, Some(b)) => (inputs[0], ones, b.iter().map(|b| -b).collect()),
                (Binary::Mul, Some(a), None) => (inputs[1], a, zeros),
                (Binary::Mul, None, Some(b)) => (inputs[0], b, zeros),
                (Binary::Div, None, Some(b)) => {
                    (inputs[0], b.iter().map(|b| 1.0 / b).collect(), zeros)
                }
                _ => return (op, inputs),
            }
        }
        _ => return (op, inputs),
    };
    if graph.shape(x) != shape {
        return (op, inputs);
    }
    let (scale, offset) = (graph.constant([channels], scale), graph.constant([channels], offset));
    (Op::Affine { activation: Activation::Identity }, vec![x, scale, offset])
}

/// A constant that is the same in all places of a channel.
fn per_channel(graph: &Graph, value: ValueId, shape: &[usize]) -> Option<Vec<f32>> {
    let data = graph.data(value)?;
    match graph.shape4(value)? {
        [1, 1, 1, 1] => Some(vec![data[0]; shape[1]]),
        [1, channels, 1, 1] if channels == shape[1] => Some(data.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, graph, noise};
    use super::*;

    #[test]
    fn fully_connected_layers_are_convolutions() {
        let mut graph = graph([2, 3, 2, 2]);
        let flat = graph.node(Op::Reshape, [graph.input], [2, 12]);
        let weights = graph.constant([12, 5], noise(1, 60));
        let bias = graph.constant([5], noise(2, 5));
        let hidden = graph.node(Op::Linear, [flat, weights, bias], [2, 5]);
        let hidden = graph.node(Op::Activation(Activation::Tanh), [hidden], [2, 5]);
        let weights = graph.constant([5, 4], noise(3, 20));
        let logits = graph.node(Op::Linear, [hidden, weights], [2, 4]);
        graph.outputs = vec![logits];
        check(&graph, everything_is_an_image, &["conv", "activation", "conv", "reshape"]);
    }

    #[test]
    fn scales_and_offsets_are_affine() {
        let mut graph = graph([2, 3, 2, 2]);
        let shape = [2, 3, 2, 2];
        let mut x = graph.node(Op::Scalar { scale: 2.0, offset: 1.0 }, [graph.input], shape);
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
            let known = graph.constant([1, 3, 1, 1], vec![0.5, -2.0, 3.0]);
            let op = Op::Binary { op, activation: Activation::Identity };
            x = graph.node(op, [x, known], shape);
        }
        graph.outputs = vec![x];
        check(&graph, everything_is_an_image, &["affine"; 5]);
    }

    #[test]
    fn averages_of_equal_cells_are_poolings() {
        let mut graph = graph([1, 2, 4, 6]);
        let pooled = graph.node(Op::AdaptiveAverage, [graph.input], [1, 2, 2, 3]);
        let uneven = graph.node(Op::AdaptiveAverage, [graph.input], [1, 2, 3, 3]);
        graph.outputs = vec![pooled, uneven];
        let names = ["average pool", "adaptive average pool"];
        check(&graph, everything_is_an_image, &names);
    }
}
