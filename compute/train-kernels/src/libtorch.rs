//! The layers for which Burn has no fast gradient on libtorch. libtorch's autodiff records them.
//!
//! Burn computes the gradient of a convolution's weights with one convolution per group, and those
//! of BatchNorm and activations with a dozen tensors. libtorch has a single function for each, but
//! its bindings offer these functions only through libtorch's autodiff. So libtorch records each
//! layer separately; Burn's autodiff holds these records and requests their gradients.
//!
//! In the bindings every backward pass starts with a gradient of 1; TorchScript takes any. So a
//! program of two lines, `libtorch/gradients.py`, requests the gradients of a record.
#![expect(deprecated, reason = "some users have libtorch")]

use std::sync::LazyLock;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, LibTorch};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::tensor::{DType, Device, Tensor};
use tch::{CModule, IValue, Tensor as Torch};

use crate::Activation;

type Backend = Autodiff<LibTorch, NoCheckpointing>;
type Tracked = FloatTensor<Backend>;

fn tracked<const D: usize>(tensor: &Tensor<D>) -> Option<Tracked> {
    if !tensor.is_autodiff() || tensor.dtype() != DType::F32 {
        return None;
    }
    tensor.clone().try_into_primitive::<Backend>().ok()
}

fn tensor<const D: usize>(tracked: Tracked) -> Tensor<D> {
    Tensor::from_primitive::<Backend>(tracked)
}

/// Computes [`crate::conv2d`], if the padding is equal on both sides.
pub(crate) fn conv2d(layer: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let conv = Conv::of(layer, x)?;
    let (x, weight) = (tracked(x)?, tracked(&layer.weight.val())?);
    Some(match &layer.bias {
        None => record([x, weight], |[x, weight]| conv.apply(x, weight, None)),
        Some(bias) => record([x, weight, tracked(&bias.val())?], |[x, weight, bias]| {
            conv.apply(x, weight, Some(bias))
        }),
    })
}

/// Computes [`crate::batch_norm`].
pub(crate) fn batch_norm(
    layer: &BatchNorm,
    activation: Activation,
    x: &Tensor<4>,
) -> Option<Tensor<4>> {
    let [_, channels, ..] = x.dims();
    let inputs = [tracked(x)?, tracked(&layer.gamma.val())?, tracked(&layer.beta.val())?];
    let mut norm = Norm::of(layer, activation, channels, &x.device())?;
    let output = record(inputs, |[x, gamma, beta]| norm.apply(x, gamma, beta));
    norm.update();
    Some(output)
}

/// Computes [`crate::conv_batch_norm`], if the convolution has no bias.
pub(crate) fn conv_batch_norm(
    layer: &Conv2d,
    norm: &BatchNorm,
    activation: Activation,
    x: &Tensor<4>,
) -> Option<Tensor<4>> {
    if layer.bias.is_some() {
        return None;
    }
    let conv = Conv::of(layer, x)?;
    let [channels, ..] = layer.weight.dims();
    let inputs = [
        tracked(x)?,
        tracked(&layer.weight.val())?,
        tracked(&norm.gamma.val())?,
        tracked(&norm.beta.val())?,
    ];
    let mut norm = Norm::of(norm, activation, channels, &x.device())?;
    let output = record(inputs, |[x, weight, gamma, beta]| {
        norm.apply(&conv.apply(x, weight, None), gamma, beta)
    });
    norm.update();
    Some(output)
}

/// The arguments of a convolution.
struct Conv {
    stride: [i64; 2],
    padding: [i64; 2],
    dilation: [i64; 2],
    groups: i64,
}

impl Conv {
    /// Returns `None` if the padding differs between the sides, or if the layer must report an
    /// error.
    fn of(layer: &Conv2d, x: &Tensor<4>) -> Option<Self> {
        let padding = match layer.padding {
            PaddingConfig2d::Valid => [0, 0],
            PaddingConfig2d::Explicit(top, left, bottom, right)
                if (top, left) == (bottom, right) =>
            {
                [top, left]
            }
            _ => return None,
        };
        let [channels_out, group_in, ..] = layer.weight.dims();
        let groups = layer.groups;
        if x.dims()[1] != group_in * groups || !channels_out.is_multiple_of(groups) {
            return None;
        }
        let [stride, padding, dilation] =
            [layer.stride, padding, layer.dilation].map(|sizes| sizes.map(|size| size as i64));
        Some(Self { stride, padding, dilation, groups: groups as i64 })
    }

    fn apply(&self, x: &Torch, weight: &Torch, bias: Option<&Torch>) -> Torch {
        let Self { stride, padding, dilation, groups } = *self;
        x.conv2d(weight, bias, stride, padding, dilation, groups)
    }
}

/// A forward pass of BatchNorm and of the activation after it.
struct Norm<'a> {
    layer: &'a BatchNorm,
    activation: Activation,
    running: [Tensor<1>; 2],
    /// Mean and variance, if they are not those of the batch.
    known: Option<[TchTensor; 2]>,
    /// Mean and variance of the batch.
    batch: Option<[Torch; 2]>,
}

impl<'a> Norm<'a> {
    /// Returns `None` if the layer has another number of channels and must report the error.
    fn of(
        layer: &'a BatchNorm,
        activation: Activation,
        channels: usize,
        device: &Device,
    ) -> Option<Self> {
        let running = [&layer.running_mean, &layer.running_var];
        let is_batch = layer.training.is_enabled();
        let running = match is_batch {
            true => running.map(|running| running.value_sync().to_device(device)),
            false => running.map(|running| running.value().to_device(device)),
        };
        let [mean, variance] = running.each_ref().map(Tensor::dims);
        if [layer.gamma.dims(), layer.beta.dims(), mean, variance] != [[channels]; 4] {
            return None;
        }
        let [mean, variance] = [tracked(&running[0])?, tracked(&running[1])?];
        let known = [mean.into_primitive(), variance.into_primitive()];
        Some(Self { layer, activation, running, known: (!is_batch).then_some(known), batch: None })
    }

    fn apply(&mut self, x: &Torch, gamma: &Torch, beta: &Torch) -> Torch {
        // `update` changes the running statistics by Burn's rule, not libtorch's.
        let known = |index: usize| self.known.as_ref().map(|known| &known[index].tensor);
        let (output, mean, inverse_deviation) = x.native_batch_norm(
            Some(gamma),
            Some(beta),
            known(0),
            known(1),
            self.known.is_none(),
            self.layer.momentum,
            self.layer.epsilon,
        );
        if self.known.is_none() {
            // The record also refers to the mean, so it is copied.
            let variance = inverse_deviation.pow_tensor_scalar(-2) - self.layer.epsilon;
            self.batch = Some([mean.copy(), variance]);
        }
        apply(self.activation, &output)
    }

    /// Updates the running statistics as Burn's layer does.
    fn update(self) {
        let Self { layer, running: [running_mean, running_var], batch, .. } = self;
        let Some([mean, variance]) = batch else { return };
        let share = layer.momentum;
        let update = |running: Tensor<1>, batch: Torch| {
            let batch: Tensor<1> = tensor(Backend::from_inner(TchTensor::new(batch.detach())));
            running.mul_scalar(1.0 - share).add(batch.mul_scalar(share)).detach()
        };
        layer.running_mean.update(update(running_mean, mean));
        layer.running_var.update(update(running_var, variance));
    }
}

/// Computes [`crate::activate`].
pub(crate) fn activate<const D: usize>(activation: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    match activation {
        // The output would share the input's memory, and Burn would not know it.
        Activation::Identity => None,
        _ => Some(record([tracked(x)?], |[x]| apply(activation, x))),
    }
}

fn apply(activation: Activation, x: &Torch) -> Torch {
    match activation {
        Activation::Identity => x.shallow_clone(),
        Activation::RELU => x.relu(),
        Activation::Clamp { low, high } => x.clamp(f64::from(low), f64::from(high)),
        Activation::Sigmoid => x.sigmoid(),
        Activation::Silu => x.silu(),
        Activation::HARD_SIGMOID => x.hardsigmoid(),
        Activation::HARD_SWISH => x.hardswish(),
        Activation::HardSigmoid { slope, offset } => gate(x, slope, offset),
        Activation::HardSwish { slope, offset } => x * gate(x, slope, offset),
        Activation::Tanh => x.tanh(),
    }
}

fn gate(x: &Torch, slope: f32, offset: f32) -> Torch {
    (x * f64::from(slope) + f64::from(offset)).clamp(0.0, 1.0)
}

/// Computes an output with libtorch and keeps its record if gradients are needed.
fn record<const N: usize, const D: usize>(
    inputs: [Tracked; N],
    forward: impl FnOnce([&Torch; N]) -> Torch,
) -> Tensor<D>
where
    LayerBackward: Backward<LibTorch, N, State = Record<N>>,
{
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| {
        let TchTensor { tensor, storage } = input.primitive().clone();
        TchTensor { tensor: tensor.detach().set_requires_grad(true), storage }
    });
    let recorded = tch::with_grad(|| forward(inputs.each_ref().map(|input| &input.tensor)));
    let output = TchTensor::new(recorded.detach());
    let recorded = TchTensor { tensor: recorded, storage: output.storage.clone() };
    let prepared = LayerBackward.prepare::<NoCheckpointing>(nodes).compute_bound().stateful();
    tensor(match prepared {
        OpsKind::Tracked(prep) => prep.finish(Record { inputs, output: recorded }, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    })
}

/// libtorch's record of a layer. While it exists, Burn does not overwrite the tensors in place,
/// because their storage is shared.
#[derive(Debug, Clone)]
struct Record<const N: usize> {
    inputs: [TchTensor; N],
    output: TchTensor,
}

#[derive(Debug)]
struct LayerBackward;

impl<const N: usize> Backward<LibTorch, N> for LayerBackward {
    type State = Record<N>;

    fn backward(self, ops: Ops<Record<N>, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<LibTorch>(&ops.node);
        let Record { inputs, output } = ops.state;
        let asked = ops.parents.into_iter().zip(inputs);
        let (parents, inputs): (Vec<_>, Vec<_>) =
            asked.filter_map(|(parent, input)| Some((parent?, input.tensor))).unzip();
        for (parent, gradient) in
            parents.into_iter().zip(gradients(output.tensor, inputs, grad.tensor))
        {
            grads.register::<LibTorch>(parent.id, TchTensor::new(gradient));
        }
    }
}

/// Computes the gradients of `inputs` from that of `output`, which libtorch has recorded.
fn gradients(output: Torch, inputs: Vec<Torch>, gradient: Torch) -> Vec<Torch> {
    static PROGRAM: LazyLock<CModule> = LazyLock::new(|| {
        CModule::load_data(&mut include_bytes!("libtorch/gradients.pt").as_slice())
            .expect("the embedded program is valid TorchScript")
    });
    let arguments = [IValue::from(output), IValue::from(inputs), IValue::from(gradient)];
    PROGRAM.forward_is(&arguments).and_then(Vec::try_from).expect("the record contains each input")
}
