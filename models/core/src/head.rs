use burn::tensor::{Device, Tensor};

use crate::layers::{Activation, HeadOrder};

/// The end of a network that classifies images: it computes the logits from the features.
///
/// Most networks have a [`ClassifierHead`](crate::layers::ClassifierHead). Other networks implement
/// this trait themselves.
pub trait Head {
    /// Computes the logits from the features.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → logits `[N, num_classes]`
    fn forward(&self, features: Tensor<4>) -> Tensor<2>;

    /// Class activation maps: a score for each class at each position. Their mean over all positions
    /// is the logits. `None` if no such maps exist: the head has more than one layer.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → `[N, num_classes, h, w]`
    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        let _ = features;
        None
    }

    /// The weights of a class, if the head is an average and one fully connected layer: the logit is
    /// their product with the pooled features, plus a bias. `None` for other heads.
    ///
    /// # Shapes
    ///
    /// → `[num_features]`
    fn class_weights(&self, class: usize) -> Option<Tensor<1>> {
        let _ = class;
        None
    }

    /// The activation that the head starts with, if the features come without it.
    fn activation(&self) -> Activation {
        Activation::Identity
    }

    /// Whether the head gives the same logits for pooled features, `[N, num_features, 1, 1]`, as for
    /// the features themselves. Training on cached features relies on it.
    fn accepts_pooled_features(&self) -> bool;

    /// Number of channels of the features.
    fn num_features(&self) -> usize;

    /// Number of classes.
    fn num_classes(&self) -> usize;

    /// Replaces the last layer by a randomly initialized one for `num_classes` classes. The hidden
    /// layers of a [`WithMlpHead`](crate::WithMlpHead) network are removed.
    fn reset(&mut self, num_classes: usize, device: &Device);

    /// Sets the order of pooling and classification. Returns false if this head has only one.
    fn set_order(&mut self, order: HeadOrder) -> bool {
        let _ = order;
        false
    }
}
