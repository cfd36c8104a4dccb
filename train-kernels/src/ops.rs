//! The operations as Burn's autodiff knows them.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex, TensorMetadata};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::tensor::{Bytes, DType, Shape, Tensor};

use crate::geometry::Geometry;
use crate::norm::Channel;
use crate::{Activation, activation, conv, depthwise, norm};

/// The backend that is computed for: Burn's cpu backend under autodiff.
type Cpu = Autodiff<Flex, NoCheckpointing>;

/// The tensor as autodiff knows it, if it is one that this crate computes with.
fn tracked<const D: usize>(tensor: &Tensor<D>) -> Option<FloatTensor<Cpu>> {
    if !tensor.is_autodiff() || tensor.dtype() != DType::F32 {
        return None;
    }
    tensor.clone().try_into_primitive::<Cpu>().ok()
}

fn tensor<const D: usize>(tracked: FloatTensor<Cpu>) -> Tensor<D> {
    Tensor::from_primitive::<Cpu>(tracked)
}

/// The same numbers one after the other.
fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    match tensor.as_slice::<f32>() {
        Some(_) => tensor.clone(),
        None => tensor.to_contiguous(),
    }
}

fn numbers(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("made contiguous before")
}

fn flex(numbers: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(numbers), Layout::contiguous(shape.into()), DType::F32)
}

/// A gradient to be overwritten: the same memory where nobody else has it.
fn into_owned(grad: FlexTensor) -> FlexTensor {
    let grad = if grad.as_slice::<f32>().is_some() { grad } else { grad.to_contiguous() };
    match grad.storage::<f32>().len() == grad.layout().num_elements() {
        true => grad,
        false => flex(numbers(&grad).to_vec(), grad.shape()),
    }
}

/// Applies a convolution.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C', H', W']`
pub fn conv2d(layer: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let x = tracked(x)?;
    let weight = tracked(&layer.weight.val())?;
    let bias = match &layer.bias {
        Some(bias) => Some(tracked(&bias.val())?),
        None => None,
    };
    let geometry = geometry(layer, &x.shape().dims())?;
    let conv =
        Conv { geometry, x: contiguous(x.primitive()), weight: contiguous(weight.primitive()) };
    let bias_numbers = bias.as_ref().map(|bias| contiguous(bias.primitive()));
    let output = conv.forward(bias_numbers.as_ref().map(numbers));
    Some(tensor(match bias {
        None => match ConvBackward
            .prepare::<NoCheckpointing>([x.node(), weight.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(conv, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        },
        Some(bias) => match ConvBackward
            .prepare::<NoCheckpointing>([x.node(), weight.node(), bias.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(conv, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        },
    }))
}

/// The sizes of a layer's work; none where the layer is to say what is wrong with them.
fn geometry(layer: &Conv2d, &[batch, in_channels, height, width]: &[usize; 4]) -> Option<Geometry> {
    let [out_channels, group_in, kernel_height, kernel_width] = layer.weight.shape().dims();
    let (kernel, input) = ([kernel_height, kernel_width], [height, width]);
    let (before, after) = match layer.padding {
        PaddingConfig2d::Valid => ([0, 0], [0, 0]),
        PaddingConfig2d::Explicit(top, left, bottom, right) => ([top, left], [bottom, right]),
        PaddingConfig2d::Same => {
            let needed = [0, 1].map(|axis| {
                let outputs = input[axis].div_ceil(layer.stride[axis]);
                (outputs.saturating_sub(1) * layer.stride[axis] + kernel[axis])
                    .saturating_sub(input[axis])
            });
            (needed.map(|all| all / 2), needed.map(|all| all - all / 2))
        }
    };
    let mut output = [0; 2];
    for axis in [0, 1] {
        let covered = layer.dilation[axis] * (kernel[axis] - 1) + 1;
        let padded = input[axis] + before[axis] + after[axis];
        output[axis] = padded.checked_sub(covered)? / layer.stride[axis] + 1;
    }
    let is_consistent =
        in_channels == group_in * layer.groups && out_channels % layer.groups == 0 && batch > 0;
    is_consistent.then_some(Geometry {
        batch,
        channels: [in_channels, out_channels],
        input,
        output,
        kernel,
        stride: layer.stride,
        dilation: layer.dilation,
        padding: before.map(usize::cast_signed),
        groups: layer.groups,
    })
}

/// What a convolution's gradients are computed from.
#[derive(Debug, Clone)]
struct Conv {
    geometry: Geometry,
    x: FlexTensor,
    weight: FlexTensor,
}

impl Conv {
    fn forward(&self, bias: Option<&[f32]>) -> FlexTensor {
        let g = &self.geometry;
        let (x, weight) = (numbers(&self.x), numbers(&self.weight));
        let output = match g.is_depthwise() {
            true => depthwise::forward(g, x, weight, bias),
            false => conv::forward(g, x, weight, bias),
        };
        flex(output, [g.batch, g.channels[1], g.output[0], g.output[1]])
    }

    fn input_gradient(&self, grad: &[f32]) -> FlexTensor {
        let g = &self.geometry;
        let weight = numbers(&self.weight);
        let gradient = match g.is_depthwise() {
            true => depthwise::input_gradient(g, grad, weight),
            false => conv::input_gradient(g, grad, weight),
        };
        flex(gradient, self.x.shape())
    }

    fn weight_gradient(&self, grad: &[f32]) -> FlexTensor {
        let g = &self.geometry;
        let x = numbers(&self.x);
        let gradient = match g.is_depthwise() {
            true => depthwise::weight_gradient(g, x, grad),
            false => conv::weight_gradient(g, x, grad),
        };
        flex(gradient, self.weight.shape())
    }

    fn bias_gradient(&self, grad: &[f32]) -> FlexTensor {
        let channels = self.geometry.channels[1];
        let mut sums = vec![0.0; channels];
        for (plane, grad) in grad.chunks_exact(self.geometry.outputs()).enumerate() {
            sums[plane % channels] += grad.iter().map(|g| f64::from(*g)).sum::<f64>();
        }
        flex(sums.into_iter().map(|sum| sum as f32).collect(), [channels])
    }
}

/// With a bias or without.
#[derive(Debug)]
struct ConvBackward;

impl<const N: usize> Backward<Flex, N> for ConvBackward {
    type State = Conv;

    fn backward(self, ops: Ops<Conv, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let conv = ops.state;
        let grad = contiguous(&grads.consume::<Flex>(&ops.node));
        let gradients = [Conv::input_gradient, Conv::weight_gradient, Conv::bias_gradient];
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, gradient(&conv, numbers(&grad)));
            }
        }
    }
}

/// Applies BatchNorm and an activation; running statistics are updated as the layer does it.
///
/// # Shapes
///
/// `[N, C, H, W]` → the same
pub fn batch_norm(layer: &BatchNorm, activation: Activation, x: &Tensor<4>) -> Option<Tensor<4>> {
    let [_, channels, height, width] = x.dims();
    let device = x.device();
    let x = tracked(x)?;
    let parameters = [tracked(&layer.gamma.val())?, tracked(&layer.beta.val())?];
    let input = contiguous(x.primitive());
    let is_batch = layer.training.is_enabled();
    let shape = norm::Shape { channels, places: height * width };
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
    let prepared = NormBackward.prepare::<NoCheckpointing>(nodes).compute_bound().stateful();
    Some(tensor(match prepared {
        OpsKind::Tracked(prep) => {
            let norm = Norm { shape, x: input, channels: channels.into(), activation, is_batch };
            prep.finish(norm, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    }))
}

/// What the gradients of BatchNorm are computed from.
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

/// Applies an activation.
///
/// # Shapes
///
/// `[…]` → `[…]`
pub fn activate<const D: usize>(activation: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    let x = tracked(x)?;
    let input = contiguous(x.primitive());
    let output = flex(activation::forward(activation, numbers(&input)), input.shape());
    let prepared =
        ActivationBackward.prepare::<NoCheckpointing>([x.node()]).compute_bound().stateful();
    Some(tensor(match prepared {
        OpsKind::Tracked(prep) => prep.finish((activation, input), output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }))
}

#[derive(Debug)]
struct ActivationBackward;

impl Backward<Flex, 1> for ActivationBackward {
    type State = (Activation, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (activation, x) = ops.state;
        let mut grad = into_owned(grads.consume::<Flex>(&ops.node));
        activation::backward(activation, numbers(&x), grad.storage_mut());
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, grad);
        }
    }
}
