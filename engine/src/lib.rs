//! # zoo-engine

mod capture;
mod compile;
mod error;
mod graph;
mod kernels;
mod memory;
mod passes;
mod plan;
mod reference;
mod threads;

pub use capture::Outputs;
pub use error::Error;
pub use plan::{Plan, StepInfo, StepProfile};
