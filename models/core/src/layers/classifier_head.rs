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

/// What a classifier head does first.
///
/// Without dropout both give the same logits for the same weights, since an average and a
/// matrix product change places; records and checkpoints are the same too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeadOrder {
    /// Averages the features over the image, then classifies them by a fully connected layer.
    PoolFirst,
    /// Classifies each place of the image by a 1×1 convolution, then averages the scores, as
    /// in [Network in Network](https://arxiv.org/abs/1312.4400), §3.2.
    ClassifyFirst,
}

/// How to build a [`ClassifierHead`].
#[derive(Config, Debug)]
pub struct ClassifierHeadConfig {
    /// Channels of the features.
    pub num_features: usize,
    /// Classes to tell apart.
    pub num_classes: usize,
    /// Applied to the features first, by networks whose features have no activation yet.
    #[config(default = "Activation::Identity")]
    pub activation: Activation,
    /// What comes then, averaging or classifying.
    #[config(default = "HeadOrder::PoolFirst")]
    pub kind: HeadOrder,
    /// Probability of dropping a feature before it is classified while training.
    #[config(default = "0.0")]
    pub dropout: f64,
    /// How the weight is drawn; by default uniform in `±1/sqrt(num_features)`, as PyTorch does.
    pub initializer: Option<Initializer>,
    /// How the bias is drawn; by default as zeros where the weight has an initializer, else as the
    /// weight.
    pub bias_initializer: Option<Initializer>,
}

/// From the last feature map to logits: global average pooling, dropout and one layer.
#[derive(Module, Debug)]
pub struct ClassifierHead {
    dropout: Dropout,
    linear: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    kind: HeadOrder,
    /// Of the weight and of the bias.
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

/// A fully connected layer whose weight and bias are drawn each in its own way.
fn linear(
    [num_features, num_classes]: [usize; 2],
    [weight, bias]: &[Initializer; 2],
    device: &Device,
) -> Linear {
    let linear = LinearConfig::new(num_features, num_classes).with_initializer(weight.clone());
    linear_with_bias(linear, bias, device)
}

impl ClassifierHead {
    /// What a 1×1 convolution by the layer's weights gives.
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

    /// As in [Zhou et al., 2015](https://arxiv.org/abs/1512.04150), §2, bias included.
    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        Some(self.maps(self.activation.forward(features)))
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

    fn set_order(&mut self, kind: HeadOrder) -> bool {
        self.kind = kind;
        true
    }
}
