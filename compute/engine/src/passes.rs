//! The passes. Each simplifies a graph and keeps what it computes.
//!
//! Each pass is one function; [`run`] calls them in order. A pass may leave unused nodes and values
//! in the graph; [`dead::remove`] removes them.

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

/// Runs all passes. The graph then computes one item; returns the number of items in a batch.
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
