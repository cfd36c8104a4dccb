//! Layers that three architectures or more share, or that have a training kernel of their own.

#[expect(clippy::disallowed_methods, reason = "Burn's layers run if there is no kernel")]
mod activation;
mod bias;
mod branches;
mod classifier_head;
#[expect(clippy::disallowed_methods, reason = "Burn's layers run if there is no kernel")]
mod compute;
mod conv_norm_act;
mod inverted_residual;
mod kernels;
mod squeeze_excite;
mod stochastic_depth;

pub use activation::Activation;
pub use bias::{conv_with_bias, linear_with_bias};
pub use branches::{BranchLayer, Branches, BranchesConfig};
pub use classifier_head::{ClassifierHead, ClassifierHeadConfig, HeadOrder};
pub use compute::{
    Apply, add, batch_norm, cat, channel_shuffle, fork, global_avg_pool2d, relu, tanh,
};
pub use conv_norm_act::{
    ConvNormAct, ConvNormActConfig, Padding, kaiming_normal, kaiming_normal_by_group,
    torch_default_uniform,
};
pub use inverted_residual::{InvertedResidual, InvertedResidualConfig};
pub use squeeze_excite::{SqueezeExcite, SqueezeExciteConfig};
pub use stochastic_depth::StochasticDepth;

/// Rounds a number of channels to a multiple of `divisor`, at least to `divisor`. The result is at
/// most a tenth below `channels`.
///
/// This is the rule of TensorFlow's MobileNet code, which torchvision and timm follow.
///
/// ```
/// # use zoo_core::layers::make_divisible;
/// assert_eq!(make_divisible(32.0 * 1.4, 8), 48);
/// assert_eq!(make_divisible(16.0 * 0.35, 8), 8);
/// assert_eq!(make_divisible(11.0, 8), 16); // 8 would take away more than a tenth
/// ```
pub fn make_divisible(channels: f64, divisor: usize) -> usize {
    let step = divisor as f64;
    let rounded = ((channels + step / 2.0) / step).floor() * step;
    let rounded = rounded.max(step);
    if rounded < 0.9 * channels { (rounded + step) as usize } else { rounded as usize }
}
