use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};

/// How to build a [`ClassifierHead`].
#[derive(Config, Debug)]
pub struct ClassifierHeadConfig {
    /// Channels of the features.
    pub num_features: usize,
    /// Classes to tell apart.
    pub num_classes: usize,
    /// Probability of dropping a pooled feature while training.
    #[config(default = "0.0")]
    pub dropout: f64,
}

/// Global average pooling → dropout → one fully connected layer.
#[derive(Module, Debug)]
pub struct ClassifierHead {
    dropout: Dropout,
    linear: Linear,
}

impl ClassifierHeadConfig {
    /// Builds the layer.
    pub fn init(&self, device: &Device) -> ClassifierHead {
        ClassifierHead {
            dropout: DropoutConfig::new(self.dropout).init(),
            linear: LinearConfig::new(self.num_features, self.num_classes).init(device),
        }
    }
}

impl ClassifierHead {
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → logits `[N, num_classes]`
    pub fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let pooled = adaptive_avg_pool2d(features, [1, 1]).flatten(1, 3);
        self.linear.forward(self.dropout.forward(pooled))
    }

    /// Number of channels of the features.
    pub fn num_features(&self) -> usize {
        let [num_features, _] = self.linear.weight.lazy_shape().dims();
        num_features
    }

    /// Replaces the fully connected layer by a fresh one for `num_classes` classes.
    pub fn reset(&mut self, num_classes: usize, device: &Device) {
        self.linear = LinearConfig::new(self.num_features(), num_classes).init(device);
    }
}
