use burn::tensor::{Device, Tensor};

use crate::layers::HeadOrder;

/// The end of a network that classifies images: it turns features into class scores.
///
/// Most networks have a [`ClassifierHead`](crate::layers::ClassifierHead). A network whose last
/// layers are fields of its own implements the trait itself.
pub trait Head {
    /// Classifies features.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → logits `[N, num_classes]`
    fn forward(&self, features: Tensor<4>) -> Tensor<2>;

    /// Scores of each class at each place, whose average the logits are, where the head ends
    /// in an average: class activation maps.
    ///
    /// # Shapes
    ///
    /// features `[N, num_features, h, w]` → `[N, num_classes, h, w]`
    fn class_maps(&self, features: Tensor<4>) -> Option<Tensor<4>> {
        let _ = features;
        None
    }

    /// Whether the features' average over all places, `[N, num_features, 1, 1]`, has the same
    /// logits as the features.
    fn accepts_pooled_features(&self) -> bool;

    /// Number of channels of the features.
    fn num_features(&self) -> usize;

    /// Number of classes.
    fn num_classes(&self) -> usize;

    /// Replaces the last layer by a fresh one for `num_classes` classes.
    fn reset(&mut self, num_classes: usize, device: &Device);

    /// Chooses what the head does first, and says whether it has that choice: a
    /// [`ClassifierHead`](crate::layers::ClassifierHead) has.
    fn set_order(&mut self, kind: HeadOrder) -> bool {
        let _ = kind;
        false
    }
}
