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
//! `capture` turns what Burn's capture device recorded into a `graph`; the `passes` fold, fuse and
//! rename; `plan::lower` chooses kernels and places in memory; `plan` runs the steps with its
//! `threads`. `reference` says what each operation means.

mod capture;
mod compile;
mod error;
mod graph;
mod kernels;
mod memory;
mod passes;
mod plan;
mod reference;
mod session;
mod threads;

pub use error::Error;
pub use plan::{Plan, StepInfo, StepProfile};
pub use session::{Session, default_threads, set_default_threads};
pub use zoo_graph::Outputs;
