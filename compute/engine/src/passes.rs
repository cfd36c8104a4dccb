//! Graph → graph that computes the same with less.
//!
//! Each pass is one function; [`run`] is their order. A pass may leave nodes and values behind
//! that nothing reads; [`dead::remove`] takes them away.

mod activation;
mod affine;
mod batch;
mod bias;
mod channels;
mod constants;
mod dead;
mod images;
mod residual;
#[cfg(test)]
pub(crate) mod testing;

use crate::graph::Graph;

/// Runs all passes; the graph is what is to be done for each of as many items as are returned.
pub(crate) fn run(graph: &mut Graph) -> usize {
    constants::fold(graph);
    let batch = batch::split(graph);
    channels::gather(graph);
    images::everything_is_an_image(graph);
    bias::add(graph);
    affine::of_batch_norm(graph);
    dead::remove(graph);
    activation::recognize(graph);
    affine::fold(graph);
    activation::fuse(graph);
    residual::fuse(graph);
    activation::fuse(graph);
    dead::remove(graph);
    batch
}
