//! Test functions for passes.

use zoo_graph::Window;

use crate::graph::{Graph, ValueId};
use crate::ops::conv::Conv;

/// Returns pseudo-random numbers in `[-1, 1)`.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2) + 1;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Returns a graph with an input.
pub(crate) fn graph(shape: [usize; 4]) -> Graph {
    let mut graph = Graph::default();
    graph.input = graph.value(shape);
    graph
}

/// Adds a convolution with pseudo-random weights and with padding that keeps the size.
pub(crate) fn conv(graph: &mut Graph, x: ValueId, channels: usize, side: usize) -> ValueId {
    let [batch, depth, height, width] = graph.shape4(x).expect("images");
    let weights = noise(x as u64, channels * depth * side * side);
    let weights = graph.constant([channels, depth, side, side], weights);
    let bias = graph.constant([channels], noise(7, channels));
    let window = Window { before: [side / 2; 2], after: [side / 2; 2], ..Window::whole([side; 2]) };
    graph.node(Conv::new(window, 1), [x, weights, bias], [batch, channels, height, width])
}

/// Checks that after a pass the nodes have these names and compute the same.
pub(crate) fn check(graph: &Graph, pass: impl Fn(&mut Graph), names: &[&str]) {
    let images = noise(3, graph.shape(graph.input).iter().product());
    let before = graph.evaluate(&images);
    let mut graph = graph.clone();
    pass(&mut graph);
    super::dead::remove(&mut graph);
    let found: Vec<_> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(found, names);
    for (before, after) in before.iter().zip(graph.evaluate(&images)) {
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(after) {
            assert!((before - after).abs() < 1e-5 * (1.0 + before.abs()), "{before} {after}");
        }
    }
}
