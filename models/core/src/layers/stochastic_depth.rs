use burn::module::{Flag, Module, Param};
use burn::tensor::{Distribution, Tensor};

use super::compute::scale;

/// Drops the residual branch of randomly chosen images while training.
///
/// Huang et al., 2016: [Deep Networks with Stochastic Depth](https://arxiv.org/abs/1603.09382).
/// As in torchvision's `mode="row"`, each image is drawn separately, and kept branches are scaled
/// by `1 / (1 - prob)`, so that inference needs no correction.
#[derive(Module, Debug)]
pub struct StochasticDepth {
    prob: f64,
    training: Param<Flag>,
}

impl StochasticDepth {
    /// Creates a layer that drops with probability `prob`.
    ///
    /// # Panics
    ///
    /// When `prob` is outside `[0, 1)`.
    pub fn new(prob: f64) -> Self {
        assert!(
            (0.0..1.0).contains(&prob),
            "the probability of stochastic depth must be in [0, 1), got {prob}"
        );
        Self { prob, training: Param::from_bool(true) }
    }

    /// Drops or scales the branch of each image; the identity in inference.
    ///
    /// # Shapes
    ///
    /// `[N, C, H, W]` → the same
    pub fn forward(&self, branch: Tensor<4>) -> Tensor<4> {
        let device = branch.device();
        if self.prob == 0.0 || !self.training.is_enabled() || !device.is_autodiff() {
            return branch;
        }
        let keep = 1.0 - self.prob;
        let [batch, channels, ..] = branch.dims();
        let mask = Tensor::<4>::random([batch, 1, 1, 1], Distribution::Bernoulli(keep), &device);
        scale(branch, (mask / keep).expand([batch, channels, 1, 1]))
    }
}
