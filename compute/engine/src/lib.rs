//! # zoo-engine
//!
//! Runs a [Burn](https://burn.dev) model's forward pass on the processor at the speed of the
//! inference runtimes: it is recorded once for a shape of images, simplified, and compiled into a
//! [`Plan`] of kernels that keep to one layout from the first convolution to the last.
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
//! /// What the model computes, without Burn computing it.
//! fn run(net: &Net, images: Tensor<4>) -> Result<TensorData, Error> {
//!     let shape = images.dims();
//!     let mut plan = Plan::compile(net, shape, 2, |net, x| relu(net.conv.forward(x)))?;
//!     Ok(plan.run_tensor(images)?.remove(0))
//! }
//! ```
//!
//! Any model will do that is made of the operations of convolutional networks; another one is an
//! [`Error::Unsupported`] that names what is missing. A plan copies the weights: later changes of
//! the model don't change it.
//!
//! ## How it is made
//!
//! [`zoo_graph`] records what the model does. Each recorded operation becomes an operator of `ops`,
//! which has a file for each. The `passes` fold and fuse operators. `plan::lower` asks each operator for
//! the steps that compute it and finds places in memory; a [`Plan`] runs the steps with its
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
