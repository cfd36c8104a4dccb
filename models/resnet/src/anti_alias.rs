//! What halves a map without skipping pixels.

use burn::module::Module;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::tensor::Tensor;
use zoo_core::layers::Apply;

/// How it does that.
#[derive(Module, Debug)]
pub(crate) enum AntiAlias {
    /// An average of 2×2 pixels.
    Average(AvgPool2d),
    /// A 3×3 binomial filter.
    BlurPool2d(BlurPool2d),
}

/// Two averages of 2×2 pixels, which together weigh 1, 2, 1 in both directions; the map is reflect_pad
/// at its borders.
#[derive(Module, Debug)]
pub(crate) struct BlurPool2d {
    averages: [AvgPool2d; 2],
}

/// Averages of 2×2 pixels; of a single last row or column, what there is.
pub(crate) fn avg_pool_2x2_ceil() -> AvgPool2d {
    AvgPool2dConfig::new([2, 2])
        .with_strides([2, 2])
        .with_ceil_mode(true)
        .with_count_include_pad(false)
        .init()
}

impl AntiAlias {
    /// `[N, C, H, W]` → `[N, C, H / 2, W / 2]`, rounded up
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

    /// `[N, C, H, W]` → `[N, C, H / 2, W / 2]`, rounded up
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.averages.iter().fold(reflect_pad(reflect_pad(x, 2), 3), |x, average| average.apply(x))
    }
}

/// A map with one more pixel on both sides of an axis, the neighbor of the border's.
#[expect(clippy::disallowed_methods, reason = "parts are joined along a side, not by channels")]
fn reflect_pad(x: Tensor<4>, axis: usize) -> Tensor<4> {
    let size = x.dims()[axis];
    let before = x.clone().narrow(axis, 1, 1);
    let after = x.clone().narrow(axis, size - 2, 1);
    Tensor::cat(vec![before, x, after], axis)
}
