//! The layers that Burn has no fast gradient for on libtorch: libtorch records them itself.
//!
//! Burn composes a grouped convolution's gradient of one convolution a group, and that of BatchNorm
//! and of activations of a dozen tensors. libtorch has each in one pass, but its bindings offer them
//! only through its own autodiff. So each layer is recorded there for itself; Burn's autodiff holds
//! these records and asks them for their gradients.
#![expect(deprecated, reason = "kept for those who have libtorch")]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, LibTorch};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::tensor::{DType, Tensor};

use crate::Activation;

type Tracked = FloatTensor<Autodiff<LibTorch, NoCheckpointing>>;

fn tracked<const D: usize>(tensor: &Tensor<D>) -> Option<Tracked> {
    if !tensor.is_autodiff() || tensor.dtype() != DType::F32 {
        return None;
    }
    tensor.clone().try_into_primitive::<Autodiff<LibTorch, NoCheckpointing>>().ok()
}

fn tensor<const D: usize>(tracked: Tracked) -> Tensor<D> {
    Tensor::from_primitive::<Autodiff<LibTorch, NoCheckpointing>>(tracked)
}

/// [`crate::conv2d`], where there are groups and both sides are padded alike.
pub(crate) fn conv2d(layer: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    let padding = match layer.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => {
            [top, left]
        }
        _ => return None,
    };
    let [channels_out, group_in, ..] = layer.weight.dims();
    let groups = layer.groups;
    let fits = x.dims()[1] == group_in * groups && channels_out.is_multiple_of(groups);
    if groups == 1 || !fits {
        return None;
    }
    let sizes = |sizes: [usize; 2]| sizes.map(|size| size as i64);
    let (stride, padding) = (sizes(layer.stride), sizes(padding));
    let dilation = sizes(layer.dilation);
    let (x, weight) = (tracked(x)?, tracked(&layer.weight.val())?);
    Some(match &layer.bias {
        None => record([x, weight], |[x, weight]| {
            let bias = None::<&tch::Tensor>;
            x.conv2d(weight, bias, stride, padding, dilation, groups as i64)
        }),
        Some(bias) => record([x, weight, tracked(&bias.val())?], |[x, weight, bias]| {
            x.conv2d(weight, Some(bias), stride, padding, dilation, groups as i64)
        }),
    })
}

/// [`crate::batch_norm`]
pub(crate) fn batch_norm(
    layer: &BatchNorm,
    activation: Activation,
    x: &Tensor<4>,
) -> Option<Tensor<4>> {
    let device = x.device();
    let inputs = [tracked(x)?, tracked(&layer.gamma.val())?, tracked(&layer.beta.val())?];
    let running = [&layer.running_mean, &layer.running_var];
    let is_batch = layer.training.is_enabled();
    let running = match is_batch {
        true => running.map(|running| running.value_sync().to_device(&device)),
        false => running.map(|running| running.value().to_device(&device)),
    };
    let channels = x.dims()[1];
    let all = [layer.gamma.val(), layer.beta.val()];
    if all.iter().chain(&running).any(|numbers| numbers.dims() != [channels]) {
        return None;
    }
    let [mean, variance] = [tracked(&running[0])?, tracked(&running[1])?];
    // Those of this batch are weighted with what came before by Burn's rule, not libtorch's.
    let known = (!is_batch).then_some([&mean.primitive().tensor, &variance.primitive().tensor]);
    let mut statistics = None;
    let output = record(inputs, |[x, gamma, beta]| {
        let (output, mean, deviation) = x.native_batch_norm(
            Some(gamma),
            Some(beta),
            known.map(|[mean, _]| mean),
            known.map(|[_, variance]| variance),
            is_batch,
            layer.momentum,
            layer.epsilon,
        );
        // The mean is also part of the record.
        statistics = Some([mean.copy(), deviation.pow_tensor_scalar(-2) - layer.epsilon]);
        apply(activation, &output)
    });
    if let (true, Some(batch)) = (is_batch, statistics) {
        let [mean, variance]: [Tensor<1>; 2] = batch
            .map(|batch| tensor(Autodiff::<LibTorch>::from_inner(TchTensor::new(batch.detach()))));
        let share = layer.momentum;
        let update = |running: Tensor<1>, batch: Tensor<1>| {
            running.mul_scalar(1.0 - share).add(batch.mul_scalar(share)).detach()
        };
        let [running_mean, running_var] = running;
        layer.running_mean.update(update(running_mean, mean));
        layer.running_var.update(update(running_var, variance));
    }
    Some(output)
}

/// [`crate::activate`]
pub(crate) fn activate<const D: usize>(activation: Activation, x: &Tensor<D>) -> Option<Tensor<D>> {
    match activation {
        // Would be the same memory, of which Burn would not know.
        Activation::Identity => None,
        _ => Some(record([tracked(x)?], |[x]| apply(activation, x))),
    }
}

fn apply(activation: Activation, x: &tch::Tensor) -> tch::Tensor {
    match activation {
        Activation::Identity => x.shallow_clone(),
        Activation::Relu => x.relu(),
        Activation::Relu1 => x.clamp(0.0, 1.0),
        Activation::Relu6 => x.relu6(),
        Activation::Silu => x.silu(),
        Activation::HardSwish => x.hardswish(),
        Activation::Sigmoid => x.sigmoid(),
        Activation::HardSigmoid => x.hardsigmoid(),
        Activation::Tanh => x.tanh(),
    }
}

/// The output of what libtorch computes of the inputs, with its record if there will be gradients.
fn record<const N: usize, const D: usize>(
    inputs: [Tracked; N],
    forward: impl FnOnce([&tch::Tensor; N]) -> tch::Tensor,
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

/// What libtorch keeps of a layer. As long as it does, Burn does not write over the same memory,
/// since it sees that it is not alone with it.
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
        // libtorch begins at a scalar: one whose gradient is this one.
        let scalar = output.tensor.flatten(0, -1).dot(&grad.tensor.flatten(0, -1));
        let asked: Vec<_> =
            ops.parents.iter().zip(&inputs).filter(|(parent, _)| parent.is_some()).collect();
        let inputs: Vec<_> = asked.iter().map(|(_, input)| &input.tensor).collect();
        let gradients = tch::Tensor::run_backward(&[scalar], &inputs, false, false);
        for ((parent, _), gradient) in asked.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<LibTorch>(parent.id, TchTensor::new(gradient));
            }
        }
    }
}
