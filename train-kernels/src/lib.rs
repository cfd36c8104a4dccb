//! Convolution, BatchNorm and activations with gradients of their own, for training on Burn's
//! cpu backend.
//!
//! Each function takes Burn's own layer and tensor. It returns none where the tensor is not on
//! Flex under autodiff, not in single precision, or checkpointed; the layer then computes as ever.
//!
//! - [`conv2d`]: products of matrices in tiles, or loops over planes where it is depthwise.
//! - [`batch_norm`]: with the activation behind it, so that only the input is kept.
//! - [`activate`]: an activation alone.
//!
//! No sum depends on the number of threads, so that a run comes to the same weights everywhere.

mod activation;
mod conv;
mod depthwise;
mod gemm;
mod geometry;
mod lanes;
mod norm;
mod ops;
mod scratch;
mod transpose;

pub use activation::Activation;
pub use ops::{activate, batch_norm, conv2d};
