//! The layers of convolutional networks with fast gradients, for training on Burn's cpu backend.
//!
//! Each function takes Burn's own layer and tensor. It returns `None` if the tensor is not on Flex,
//! not in single precision, checkpointed, or without autodiff although a gradient is needed. The
//! caller then uses Burn's layer. With the feature `libtorch`, the functions for convolutions,
//! norms and activations also take tensors on that backend, and use libtorch's own gradients.
//!
//! - [`conv2d`]: a convolution, as matrix products in tiles, or as loops over planes if it is
//!   depthwise.
//! - [`batch_norm`]: BatchNorm and the activation after it, so that only the input is kept;
//!   [`conv_batch_norm`]: also the convolution before it.
//! - [`activate`]: an activation; [`add`]: a sum and an activation; [`fork`]: a tensor with two
//!   readers.
//! - [`max_pool2d`], [`avg_pool2d`], [`global_avg_pool2d`]: pooling.
//! - [`scale`]: the product of channels and factors, as in squeeze-and-excitation; [`cat`] and
//!   [`channel_shuffle`]: channels in another order.
//! - [`step`]: an optimizer's update of weights, in one loop; [`sum_of_squares`] and [`multiply`]:
//!   for gradient clipping.
//!
//! No sum depends on the number of threads, so a training run gives the same weights with any
//! number.

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
