use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;

use super::{contiguous, flex, numbers, record, tracked};
use crate::plane;

/// Concatenates 2 to 6 tensors along the channels.
///
/// # Shapes
///
/// `[N, C, H, W]`, `[N, C', H, W]`, … → `[N, C + C' + …, H, W]`
pub fn cat(parts: &[Tensor<4>]) -> Option<Tensor<4>> {
    match parts.len() {
        2 => cat_all::<2>(parts),
        3 => cat_all::<3>(parts),
        4 => cat_all::<4>(parts),
        5 => cat_all::<5>(parts),
        6 => cat_all::<6>(parts),
        _ => None,
    }
}

fn cat_all<const N: usize>(parts: &[Tensor<4>]) -> Option<Tensor<4>> {
    let parts: &[Tensor<4>; N] = parts.try_into().ok()?;
    let [batch, _, height, width] = parts[0].dims();
    let channels = parts.each_ref().map(|part| part.dims()[1]);
    let fits = |part: &Tensor<4>| {
        let [n, c, h, w] = part.dims();
        [n, h, w] == [batch, height, width] && n * c * h * w > 0
    };
    if !parts.iter().all(fits) {
        return None;
    }
    let tracked: Vec<_> = parts.iter().map(tracked).collect::<Option<_>>()?;
    let inputs: Vec<_> = tracked.iter().map(|part| contiguous(part.primitive())).collect();
    let slices: Vec<_> = inputs.iter().map(numbers).collect();
    let output = plane::interleave(&slices, batch);
    let output = flex(output, [batch, channels.iter().sum(), height, width]);
    let nodes = std::array::from_fn(|part| tracked[part].node());
    Some(record(CatBackward, nodes, channels, output))
}

#[derive(Debug)]
struct CatBackward;

impl<const N: usize> Backward<Flex, N> for CatBackward {
    /// The number of channels of each part.
    type State = [usize; N];

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let channels = ops.state;
        let grad = contiguous(&grads.consume::<Flex>(&ops.node));
        let [batch, _, height, width] = grad.shape().dims();
        let mut first = 0;
        for (parent, channels) in ops.parents.into_iter().zip(channels) {
            let range = first * height * width..(first + channels) * height * width;
            first += channels;
            if let Some(parent) = parent {
                let gradient = plane::take(numbers(&grad), batch, range);
                grads.register::<Flex>(parent.id, flex(gradient, [batch, channels, height, width]));
            }
        }
    }
}

/// Reorders the channels: the first channel of each group, then the second of each group, …
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C, H, W]`
pub fn channel_shuffle(x: &Tensor<4>, groups: usize) -> Option<Tensor<4>> {
    let [_, channels, height, width] = x.dims();
    if groups == 0 || !channels.is_multiple_of(groups) || x.shape().num_elements() == 0 {
        return None;
    }
    let x = tracked(x)?;
    let input = contiguous(x.primitive());
    let output = plane::shuffle(numbers(&input), [channels, groups], height * width);
    let output = flex(output, input.shape());
    Some(record(ShuffleBackward, [x.node()], groups, output))
}

#[derive(Debug)]
struct ShuffleBackward;

impl Backward<Flex, 1> for ShuffleBackward {
    /// The number of groups.
    type State = usize;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = contiguous(&grads.consume::<Flex>(&ops.node));
        let [_, channels, height, width] = grad.shape().dims();
        if let [Some(parent)] = ops.parents {
            // The inverse is a shuffle whose number of groups is the number of channels in a group.
            let groups = channels / ops.state;
            let gradient = plane::shuffle(numbers(&grad), [channels, groups], height * width);
            grads.register::<Flex>(parent.id, flex(gradient, grad.shape()));
        }
    }
}
