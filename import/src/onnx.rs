//! Weights from ONNX graphs, at run time and without generated code.
//!
//! ```text
//! file ── Graph::open ──▶ nodes and constants ─┬─ names survive ──▶ as any other checkpoint
//!                                              ├─ else: layers ── align ──▶ tensors by path
//!                                              └─ Graph::run ──▶ logits to compare with
//! ```
//!
//! Exporters rename weights, transpose them and fold BatchNorm into convolutions, but the network
//! stays the same. If the names don't help, the graph's layers are compared with those of a
//! captured network: [`recognize()`].

mod align;
mod assign;
mod constant;
mod evaluate;
mod fused;
mod graph;
mod layers;
mod network;
mod node;
mod preparation;
mod proto;
mod recognize;
mod trace;

pub(crate) use constant::{Constant, permute};
pub use evaluate::{ImageShape, NotRun};
pub use graph::Graph;
pub(crate) use graph::is_onnx;
pub(crate) use node::Node;
pub use recognize::{Match, Unmatched, recognize};
