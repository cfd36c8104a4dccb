//! What convolutional networks are made of, with gradients of its own, for training on Burn's cpu
//! backend.
//!
//! Each function takes Burn's own layer and tensor. It returns none where the tensor is not on
//! Flex, not in single precision, checkpointed, or without autodiff where there is a gradient to
//! compute; Burn then computes as ever. With the feature `libtorch`, convolutions, norms and
//! activations are also computed on that backend, with gradients of libtorch's own.
//!
//! - [`conv2d`]: products of matrices in tiles, or loops over planes where it is depthwise.
//! - [`batch_norm`]: with the activation behind it, so that only the input is kept;
//!   [`conv_batch_norm`]: with the convolution before it, too.
//! - [`activate`]: an activation alone, and [`add`]: one of a sum; [`fork`]: two readers of a tensor.
//! - [`max_pool2d`], [`avg_pool2d`], [`global_avg_pool2d`].
//! - [`scale`]: channels by factors, as in squeeze-and-excitation; [`cat`] and
//!   [`channel_shuffle`]: channels in another order.
//! - [`step`]: what an optimizer does with weights, in one pass; [`sum_of_squares`] and
//!   [`multiply`] to clip gradients.
//!
//! No sum depends on the number of threads, so that a run comes to the same weights everywhere.

mod activation;
mod conv;
mod depthwise;
mod gemm;
mod geometry;
#[cfg(feature = "libtorch")]
mod libtorch;
mod norm;
mod ops;
mod optim;
mod padded;
mod plane;
mod pool;
mod scratch;
mod transpose;
mod vectorized;

pub use ops::{
    activate, add, avg_pool2d, batch_norm, cat, channel_shuffle, conv_batch_norm, conv2d, fork,
    global_avg_pool2d, has_steps, max_pool2d, multiply, scale, step, sum_of_squares,
};
pub use optim::{Rule, Step};
pub use zoo_simd::Activation;
