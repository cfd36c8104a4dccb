use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{AutodiffBackend, Flex, TensorMetadata};
use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::{Cpu, contiguous, conv2d, flex, into_owned, numbers, record, tensor, tracked};
use crate::norm::Channel;
use crate::{Activation, norm};

/// Computes BatchNorm and an activation, and updates the running statistics as the layer does.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C, H, W]`
pub fn batch_norm(layer: &BatchNorm, activation: Activation, x: &Tensor<4>) -> Option<Tensor<4>> {
    #[cfg(feature = "libtorch")]
    if let Some(output) = crate::libtorch::batch_norm(layer, activation, x) {
        return Some(output);
    }
    let [_, channels, height, width] = x.dims();
    let device = x.device();
    let x = tracked(x)?;
    let parameters = [tracked(&layer.gamma.val())?, tracked(&layer.beta.val())?];
    let input = contiguous(x.primitive());
    let is_batch = layer.training.is_enabled();
    let shape = norm::Shape { channels, positions: height * width };
    let running = [&layer.running_mean, &layer.running_var];
    let running = match is_batch {
        true => running.map(|running| running.value_sync().to_device(&device)),
        false => running.map(|running| running.value().to_device(&device)),
    };
    let statistics = [tracked(&running[0])?, tracked(&running[1])?];
    if parameters.iter().chain(&statistics).any(|t| t.shape().num_elements() != channels) {
        return None;
    }
    let [gamma, beta] = parameters.each_ref().map(|t| contiguous(t.primitive()));
    let [mean, variance] = statistics.each_ref().map(|t| contiguous(t.primitive()));
    let channel = |index: usize| {
        let statistics = match is_batch {
            true => norm::statistics(shape, numbers(&input), index),
            false => [numbers(&mean)[index], numbers(&variance)[index]],
        };
        let parameters = [numbers(&gamma)[index], numbers(&beta)[index]];
        Channel::new(statistics, parameters, layer.epsilon)
    };
    let (output, channels) = norm::forward(shape, numbers(&input), channel, activation);
    let output = flex(output, input.shape());

    if is_batch {
        let [mean, variance] = running;
        let update = |running: Tensor<1>, batch: fn(&Channel) -> f32| {
            let batch = flex(channels.iter().map(batch).collect(), [channels.len()]);
            let batch: Tensor<1> = tensor(Cpu::from_inner(batch));
            let share = layer.momentum;
            running.mul_scalar(1.0 - share).add(batch.mul_scalar(share)).detach()
        };
        layer.running_mean.update(update(mean, |channel| channel.mean));
        layer.running_var.update(update(variance, |channel| channel.variance));
    }

    let nodes = [x.node(), parameters[0].node(), parameters[1].node()];
    let norm = Norm { shape, x: input, channels: channels.into(), activation, is_batch };
    Some(record(NormBackward, nodes, norm, output))
}

/// Computes a convolution, then [`batch_norm`].
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C', H', W']`
pub fn conv_batch_norm(
    conv: &Conv2d,
    norm: &BatchNorm,
    activation: Activation,
    x: &Tensor<4>,
) -> Option<Tensor<4>> {
    #[cfg(feature = "libtorch")]
    if let Some(output) = crate::libtorch::conv_batch_norm(conv, norm, activation, x) {
        return Some(output);
    }
    batch_norm(norm, activation, &conv2d(conv, x)?)
}

/// The state for the gradients of BatchNorm.
#[derive(Debug, Clone)]
struct Norm {
    shape: norm::Shape,
    x: FlexTensor,
    channels: Arc<[Channel]>,
    activation: Activation,
    is_batch: bool,
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = Norm;

    fn backward(self, ops: Ops<Norm, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let Norm { shape, x, channels, activation, is_batch } = ops.state;
        let mut grad = into_owned(grads.consume::<Flex>(&ops.node));
        let [gamma, beta] =
            norm::backward(shape, numbers(&x), &channels, activation, is_batch, grad.storage_mut());
        let gradients = [grad, flex(gamma, [channels.len()]), flex(beta, [channels.len()])];
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
