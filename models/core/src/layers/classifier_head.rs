use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::conv_norm_act::weight_and_bias;
use super::{Activation, global_avg_pool2d, linear_with_bias};
use crate::Head;

/// The order of pooling and classification in a head.
///
/// Without dropout both orders give the same logits, because the mean and the linear layer commute.
/// Records and checkpoints are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeadOrder {
    /// Average pooling, then a fully connected layer.
    PoolFirst,
    /// A 1×1 convolution that classifies each position, then average pooling of the scores, as in
    /// [Network in Network](https://arxiv.org/abs/1312.4400), §3.2.
    ClassifyFirst,
}

/// Configuration of a [`ClassifierHead`].
#[derive(Config, Debug)]
pub struct ClassifierHeadConfig {
    /// Channels of the features.
    pub num_features: usize,
    /// Number of classes.
    pub num_classes: usize,
    /// Activation of the features before the head, if the features have none.
    #[config(default = "Activation::Identity")]
    pub activation: Activation,
    /// The order of pooling and classification.
    #[config(default = "HeadOrder::PoolFirst")]
    pub kind: HeadOrder,
    /// Probability of dropping a feature before the classifier while training.
    #[config(default = "0.0")]
    pub dropout: f64,
    /// Initializer of the weight; by default uniform in `±1/sqrt(num_features)`, as in PyTorch.
    pub initializer: Option<Initializer>,
    /// Initializer of the bias; by default zeros if the weight has an initializer, otherwise as the
    /// weight.
    pub bias_initializer: Option<Initializer>,
}

/// The common head: global average pooling, dropout and one linear layer.
#[derive(Module, Debug)]
pub struct ClassifierHead {
    dropout: Dropout,
    linear: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    kind: HeadOrder,
    /// Initializers of the weight and of the bias.
    #[module(skip)]
    initializers: [Initializer; 2],
}

impl ClassifierHeadConfig {
    /// Builds the layer.
    pub fn init(&self, device: &Device) -> ClassifierHead {
        let initializers = weight_and_bias(self.initializer.clone(), self.bias_initializer.clone());
        ClassifierHead {
            dropout: DropoutConfig::new(self.dropout).init(),
            linear: linear([self.num_features, self.num_classes], &initializers, device),
            activation: self.activation,
            kind: self.kind,
            initializers,
        }
    }
}

/// Builds a fully connected layer with separate initializers for weight and bias.
fn linear(
    [num_features, num_classes]: [usize; 2],
    [weight, bias]: &[Initializer; 2],
    device: &Device,
) -> Linear {
    let linear = LinearConfig::new(num_features, num_classes).with_initializer(weight.clone());
    linear_with_bias(linear, bias, device)
}

impl ClassifierHead {
    /// Computes a 1×1 convolution with the layer's weights.
    fn maps(&self, features: Tensor<4>) -> Tensor<4> {
        let weight = self.linear.weight.val().transpose().unsqueeze_dims(&[2, 3]);
        let bias = self.linear.bias.as_ref().map(|bias| bias.val());
        conv2d(features, weight, bias, ConvOptions::new([1, 1], [0, 0], [1, 1], 1))
    }
}

impl Head for ClassifierHead {
    fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let features = self.activation.forward(features);
        match self.kind {
            HeadOrder::PoolFirst => {
                let pooled = global_avg_pool2d(features).flatten(1, 3);
                self.linear.forward(self.dropout.forward(pooled))
            }
            HeadOrder::ClassifyFirst => {
                let maps = self.maps(self.dropout.forward(features));
                global_avg_pool2d(maps).flatten(1, 3)
            }
        }
    }

    /// Class activation maps as in [Zhou et al., 2015](https://arxiv.org/abs/1512.04150), §2, with the
    /// bias.
    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        Some(self.maps(self.activation.forward(features)))
    }

    fn class_weights(&self, class: usize) -> Option<Tensor<1>> {
        Some(self.linear.weight.val().narrow(1, class, 1).flatten(0, 1))
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn accepts_pooled_features(&self) -> bool {
        self.activation == Activation::Identity
    }

    fn num_features(&self) -> usize {
        let [num_features, _] = self.linear.weight.lazy_shape().dims();
        num_features
    }

    fn num_classes(&self) -> usize {
        let [_, num_classes] = self.linear.weight.lazy_shape().dims();
        num_classes
    }

    fn reset(&mut self, num_classes: usize, device: &Device) {
        let channels = [self.num_features(), num_classes];
        self.linear = linear(channels, &self.initializers, device);
    }

    fn set_order(&mut self, order: HeadOrder) -> bool {
        self.kind = order;
        true
    }
}
