//! The loss of segmentation.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Int, Tensor};

/// Computes the mean cross-entropy of the pixels plus one minus the mean Dice coefficient of the
/// classes: [Milletari et al., 2016](https://arxiv.org/abs/1606.04797), §3, with more than one
/// class.
///
/// # Shapes
///
/// logits `[N, K, H, W]`, classes `[N, 1, H, W]` → `[1]`
pub(super) fn cross_entropy_and_dice(logits: Tensor<4>, classes: Tensor<4, Int>) -> Tensor<1> {
    let [_, count, ..] = logits.dims();
    let device = logits.device();
    let cross_entropy = -log_softmax(logits.clone(), 1).gather(1, classes.clone()).mean();
    let numbers = Tensor::<1, Int>::arange(0..count as i64, &device).reshape([1, count, 1, 1]);
    let is_class = classes.equal(numbers).float();
    let probabilities = softmax(logits, 1);
    let of_class = |values: Tensor<4>| values.sum_dim(0).sum_dim(2).sum_dim(3).flatten::<1>(0, 3);
    let both = of_class(probabilities.clone() * is_class.clone());
    let all = of_class(probabilities + is_class);
    let dice = (both * 2.0 + 1.0) / (all + 1.0);
    cross_entropy + (-dice.mean() + 1.0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_perfect_mask_costs_nothing_and_a_wrong_one_much() {
        let device = Device::flex();
        let classes = Tensor::<4, Int>::from_data([[[[0, 1], [1, 1]]]], &device);
        let loss = |sign: f32| {
            let ones = classes.clone().float() * 2.0 - 1.0;
            let logits = Tensor::cat(vec![-ones.clone(), ones], 1) * (20.0 * sign);
            cross_entropy_and_dice(logits, classes.clone()).into_scalar::<f32>()
        };
        assert!(loss(1.0).abs() < 1e-4, "{}", loss(1.0));
        assert!(loss(-1.0) > 20.0, "{}", loss(-1.0));
    }
}
