//! Tests of whole plans.

use zoo_graph::Window;
use zoo_simd::{Activation, Isa};

use super::testing::{conv, relu};
use crate::Plan;
use crate::ops::binary::{Binary, Kind};
use crate::ops::pool::Pool;
use crate::passes::testing::graph;

#[test]
fn an_input_of_another_length_is_an_error() {
    let mut graph = graph([1, 2, 3, 3]);
    let x = graph.node(relu(), [graph.input], [1, 2, 3, 3]);
    graph.outputs = vec![x];
    let mut plan = Plan::of_graph(graph, Isa::best(), 1).unwrap();
    assert!(plan.run(&[0.0; 17]).is_err());
}

#[test]
fn a_plan_needs_little_memory() {
    // Residual blocks: two of the large images are live at a time, and some scratch memory.
    let shape = [1, 64, 112, 112];
    let window = Window { before: [1, 1], after: [1, 1], ..Window::whole([3, 3]) };
    let mut graph = graph([1, 3, 112, 112]);
    let mut x = conv(&mut graph, 0, 64, window, 1, Activation::RELU).unwrap();
    for _ in 0..6 {
        let y = conv(&mut graph, x, 16, window, 1, Activation::RELU).unwrap();
        let y = conv(&mut graph, y, 64, window, 1, Activation::Identity).unwrap();
        let add = Binary { kind: Kind::Add, activation: Activation::RELU };
        x = graph.node(add, [x, y], shape);
    }
    let pool = Pool::average(Window::whole([112, 112]), false);
    let pooled = graph.node(pool, [x], [1, 64, 1, 1]);
    graph.outputs = vec![pooled];
    let plan = Plan::of_graph(graph, Isa::best(), 1).unwrap();
    let two_largest = 2 * shape.iter().product::<usize>() * size_of::<f32>();
    assert!(plan.activation_bytes() <= two_largest * 3 / 2, "{}", plan.activation_bytes());
}
