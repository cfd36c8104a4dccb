//! Anti-aliased downsampling by a factor of 2.

use burn::module::Module;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::tensor::Tensor;
use zoo_core::layers::Apply;

/// A layer that downsamples by a factor of 2.
#[derive(Module, Debug)]
pub(crate) enum AntiAlias {
    /// 2×2 average pooling.
    Average(AvgPool2d),
    /// A 3×3 binomial filter.
    BlurPool2d(BlurPool2d),
}

/// BlurPool: two 2×2 average poolings, which make a binomial filter with weights 1, 2, 1 in both
/// directions. The border is reflected.
#[derive(Module, Debug)]
pub(crate) struct BlurPool2d {
    averages: [AvgPool2d; 2],
}

/// Builds 2×2 average pooling with `ceil_mode`; padding is not counted.
pub(crate) fn avg_pool_2x2_ceil() -> AvgPool2d {
    AvgPool2dConfig::new([2, 2])
        .with_strides([2, 2])
        .with_ceil_mode(true)
        .with_count_include_pad(false)
        .init()
}

impl AntiAlias {
    /// Halves the map: `[N, C, H, W]` → `[N, C, H / 2, W / 2]`, rounded up.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Average(pool) => pool.apply(x),
            Self::BlurPool2d(blur) => blur.forward(x),
        }
    }
}

impl BlurPool2d {
    pub(crate) fn new() -> Self {
        let average = AvgPool2dConfig::new([2, 2]);
        let halves = average.clone().with_strides([2, 2]);
        Self { averages: [average.with_strides([1, 1]).init(), halves.init()] }
    }

    /// Halves the map: `[N, C, H, W]` → `[N, C, H / 2, W / 2]`, rounded up.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.averages.iter().fold(reflect_pad(reflect_pad(x, 2), 3), |x, average| average.apply(x))
    }
}

/// Adds reflection padding of one pixel on both sides of an axis.
#[expect(
    clippy::disallowed_methods,
    reason = "the tensors are joined along a side, not by channels"
)]
fn reflect_pad(x: Tensor<4>, axis: usize) -> Tensor<4> {
    let size = x.dims()[axis];
    let before = x.clone().narrow(axis, 1, 1);
    let after = x.clone().narrow(axis, size - 2, 1);
    Tensor::cat(vec![before, x, after], axis)
}
