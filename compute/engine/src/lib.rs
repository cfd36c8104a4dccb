//! # zoo-engine
//!
//! Runs a [Burn](https://burn.dev) model's forward pass on the CPU at the speed of inference
//! runtimes. The engine captures the forward pass once for a shape of images, simplifies the graph
//! and compiles it into a [`Plan`] of kernels, which share one memory format.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::conv::Conv2d;
//! use burn::tensor::{Tensor, TensorData, activation::relu};
//! use zoo_engine::{Error, Plan};
//!
//! #[derive(Module, Debug)]
//! struct Net {
//!     conv: Conv2d,
//! }
//!
//! /// Computes the model's output with the engine.
//! fn run(net: &Net, images: Tensor<4>) -> Result<TensorData, Error> {
//!     let shape = images.dims();
//!     let mut plan = Plan::compile(net, shape, 2, |net, x| relu(net.conv.forward(x)))?;
//!     Ok(plan.run_tensor(images)?.remove(0))
//! }
//! ```
//!
//! The engine runs every model that consists of the operations of convolutional networks. For other
//! models it returns [`Error::Unsupported`], which names the missing operation. A plan copies the
//! weights, so later changes of the model do not affect it.
//!
//! ## Structure
//!
//! [`zoo_graph`] captures the model. Each captured operation becomes an operator; `ops` has a file
//! for each operator. The `passes` fold and fuse operators. `plan::lower` asks each operator for
//! the steps that compute it and assigns memory to the buffers. A [`Plan`] runs the steps with its
//! `threads`.

mod compile;
mod error;
mod graph;
mod memory;
mod ops;
mod passes;
mod plan;
mod session;
mod threads;

pub use error::Error;
pub use plan::{Plan, StepInfo, StepProfile};
pub use session::{Session, default_threads, set_default_threads};
pub use zoo_graph::Outputs;
