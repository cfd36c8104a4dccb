use std::collections::HashMap;
use std::sync::Arc;

use zoo_graph::Window;

use crate::graph::{Graph, Node, ValueId};
use crate::ops::Operator;
use crate::ops::adaptive_average_pool::AdaptiveAveragePool;
use crate::ops::affine::Affine;
use crate::ops::binary::{Binary, Kind};
use crate::ops::conv::Conv;
use crate::ops::linear::Linear;
use crate::ops::pool::Pool;
use crate::ops::reshape::Reshape;
use crate::ops::scalar::Scalar;

/// Converts operators on vectors and scalars to operators on images `[N, C, H, W]`, so that fewer
/// operators need a kernel. For example, a fully connected layer becomes a convolution whose window
/// is as large as the image.
pub(super) fn everything_is_an_image(graph: &mut Graph) {
    // For each vector, the image that has the same elements in the same order.
    let mut images: HashMap<ValueId, ValueId> = HashMap::new();
    for Node { op, inputs, output } in std::mem::take(&mut graph.nodes) {
        let shape = graph.shape(output).to_vec();
        let node = Node { op, inputs, output };
        let Some(&x) = node.inputs.first() else {
            graph.nodes.push(node);
            continue;
        };
        if let (2, Some(image)) = (shape.len(), vector_as_image(graph, &mut images, &node)) {
            images.insert(output, image);
            let (op, inputs) = (Arc::new(Reshape), vec![image]);
            graph.nodes.push(Node { op, inputs, output });
            continue;
        }
        let is_flattened = node.op_as::<Reshape>().is_some()
            && shape.len() == 2
            && graph.shape4(x).is_some_and(|images| images[0] == shape[0]);
        if is_flattened {
            images.insert(output, x);
        }
        if node.op_as::<AdaptiveAveragePool>().is_some() {
            let size = [graph.shape(x)[2], graph.shape(x)[3]];
            let cells = [shape[2], shape[3]];
            if size[0].is_multiple_of(cells[0]) && size[1].is_multiple_of(cells[1]) {
                let kernel = [size[0] / cells[0], size[1] / cells[1]];
                let window = Window { stride: kernel, ..Window::whole(kernel) };
                let op = Arc::new(Pool::average(window, false));
                graph.nodes.push(Node { op, ..node });
                continue;
            }
        }
        let (op, inputs) = as_affine(graph, &node, &shape, node.inputs.clone());
        graph.nodes.push(Node { op, inputs, output });
    }
}

/// Returns an image with the elements of a node's vector, if the node can be computed on images.
fn vector_as_image(
    graph: &mut Graph,
    images: &mut HashMap<ValueId, ValueId>,
    node: &Node,
) -> Option<ValueId> {
    let &Node { ref op, ref inputs, output } = node;
    let [batch, length] = graph.shape(output)[..] else { return None };
    let x = inputs[0];
    if node.op_as::<Linear>().is_some() {
        graph.data(inputs[1])?;
        let image = image_of(graph, images, x);
        let [_, _, height, width] = graph.shape4(image).expect("an image");
        let mut inputs = inputs.clone();
        inputs[0] = image;
        let conv = Conv { out_channels_last: true, ..Conv::new(Window::whole([height, width]), 1) };
        return Some(graph.node(conv, inputs, [batch, length, 1, 1]));
    }
    // A bias that is added to a matrix product.
    if node.op_as::<Binary>().is_some_and(|binary| binary.is_bare(Kind::Add))
        && let Some(&image) = images.get(&x)
        && graph.shape(image)[1..] == [length, 1, 1]
        && let Some(bias) = graph.data(inputs[1]).filter(|bias| bias.len() == length)
    {
        let bias = bias.to_vec();
        let shape = graph.shape(image).to_vec();
        let ones = graph.constant([length], vec![1.0; length]);
        let bias = graph.constant([length], bias);
        return Some(graph.node(Affine::BARE, [image, ones, bias], shape));
    }
    if op.is_elementwise() {
        let image = image_of(graph, images, x);
        let shape = graph.shape(image).to_vec();
        let (op, inputs) = as_affine(graph, node, &shape, vec![image]);
        let image = graph.value(shape);
        graph.nodes.push(Node { op, inputs, output: image });
        return Some(image);
    }
    None
}

fn image_of(graph: &mut Graph, images: &HashMap<ValueId, ValueId>, vector: ValueId) -> ValueId {
    images.get(&vector).copied().unwrap_or_else(|| {
        let [batch, length] = [graph.shape(vector)[0], graph.shape(vector)[1]];
        graph.node(Reshape, [vector], [batch, length, 1, 1])
    })
}

/// Returns a node's operator and inputs, or an affine function of each channel if that is
/// equivalent.
fn as_affine(
    graph: &mut Graph,
    node: &Node,
    shape: &[usize],
    inputs: Vec<ValueId>,
) -> (Arc<dyn Operator>, Vec<ValueId>) {
    match affine(graph, node, shape, &inputs) {
        Some((x, scale, offset)) => {
            let channels = scale.len();
            let scale = graph.constant([channels], scale);
            let offset = graph.constant([channels], offset);
            (Arc::new(Affine::BARE), vec![x, scale, offset])
        }
        None => (node.op.clone(), inputs),
    }
}

/// Returns the images, factors and offsets of a node that is an affine function of each channel.
fn affine(
    graph: &Graph,
    node: &Node,
    shape: &[usize],
    inputs: &[ValueId],
) -> Option<(ValueId, Vec<f32>, Vec<f32>)> {
    let &[_, channels, _, _] = shape else { return None };
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    let (x, scale, offset) = if let Some(&Scalar { scale, offset }) = node.op_as() {
        (inputs[0], vec![scale; channels], vec![offset; channels])
    } else {
        let &Binary { kind, .. } =
            node.op_as().filter(|binary: &&Binary| binary.is_bare(binary.kind))?;
        let [a, b] = [inputs[0], inputs[1]];
        match (kind, per_channel(graph, a, shape), per_channel(graph, b, shape)) {
            (Kind::Add, Some(offset), None) => (b, ones, offset),
            (Kind::Add, None, Some(offset)) => (a, ones, offset),
            (Kind::Sub, Some(offset), None) => (b, vec![-1.0; channels], offset),
            (Kind::Sub, None, Some(by)) => (a, ones, by.iter().map(|by| -by).collect()),
            (Kind::Mul, Some(scale), None) => (b, scale, zeros),
            (Kind::Mul, None, Some(scale)) => (a, scale, zeros),
            (Kind::Div, None, Some(by)) => (a, by.iter().map(|by| 1.0 / by).collect(), zeros),
            _ => return None,
        }
    };
    (graph.shape(x) == shape).then_some((x, scale, offset))
}

/// Returns a number for each channel, if a value is a constant that is uniform in each channel.
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
    use crate::ops::activation::Activate;
    use zoo_simd::Activation;

    #[test]
    fn fully_connected_layers_become_convolutions() {
        let mut graph = graph([2, 3, 2, 2]);
        let flat = graph.node(Reshape, [graph.input], [2, 12]);
        let weights = graph.constant([12, 5], noise(1, 60));
        let bias = graph.constant([5], noise(2, 5));
        let hidden = graph.node(Linear, [flat, weights, bias], [2, 5]);
        let hidden = graph.node(Activate(Activation::Tanh), [hidden], [2, 5]);
        let weights = graph.constant([5, 4], noise(3, 20));
        let logits = graph.node(Linear, [hidden, weights], [2, 4]);
        graph.outputs = vec![logits];
        check(&graph, everything_is_an_image, &["conv", "activation", "conv", "reshape"]);
    }

    #[test]
    fn scales_and_offsets_become_affine_functions() {
        let mut graph = graph([2, 3, 2, 2]);
        let shape = [2, 3, 2, 2];
        let mut x = graph.node(Scalar { scale: 2.0, offset: 1.0 }, [graph.input], shape);
        for kind in [Kind::Add, Kind::Sub, Kind::Mul, Kind::Div] {
            let known = graph.constant([1, 3, 1, 1], vec![0.5, -2.0, 3.0]);
            x = graph.node(Binary::of(kind), [x, known], shape);
        }
        graph.outputs = vec![x];
        check(&graph, everything_is_an_image, &["affine"; 5]);
    }

    #[test]
    fn adaptive_averages_of_equal_cells_become_poolings() {
        let mut graph = graph([1, 2, 4, 6]);
        let pooled = graph.node(AdaptiveAveragePool, [graph.input], [1, 2, 2, 3]);
        let uneven = graph.node(AdaptiveAveragePool, [graph.input], [1, 2, 3, 3]);
        graph.outputs = vec![pooled, uneven];
        let names = ["average pool", "adaptive average pool"];
        check(&graph, everything_is_an_image, &names);
    }
}
