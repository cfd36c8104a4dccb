use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::{contiguous, flex, numbers, record, tracked};
use crate::geometry::{Geometry, Window};
use crate::{conv, depthwise};

/// Computes a convolution.
///
/// # Shapes
///
/// `[N, C, H, W]` → `[N, C', H', W']`
pub fn conv2d(layer: &Conv2d, x: &Tensor<4>) -> Option<Tensor<4>> {
    #[cfg(feature = "libtorch")]
    if let Some(output) = crate::libtorch::conv2d(layer, x) {
        return Some(output);
    }
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
    let [x, weight] = [x.node(), weight.node()];
    Some(match bias {
        None => record(ConvBackward, [x, weight], conv, output),
        Some(bias) => record(ConvBackward, [x, weight, bias.node()], conv, output),
    })
}

/// Returns the sizes of a layer's work, or `None` if they are invalid and the layer must report it.
fn geometry(layer: &Conv2d, &[batch, in_channels, height, width]: &[usize; 4]) -> Option<Geometry> {
    let [out_channels, group_in, kernel_height, kernel_width] = layer.weight.shape().dims();
    let window = Window {
        kernel: [kernel_height, kernel_width],
        stride: layer.stride,
        dilation: layer.dilation,
        padding: &layer.padding,
        is_ceiled: false,
    };
    let is_consistent =
        in_channels == group_in * layer.groups && out_channels % layer.groups == 0 && batch > 0;
    let channels = is_consistent.then_some([in_channels, out_channels])?;
    Some(Geometry { groups: layer.groups, ..window.over(batch, channels, [height, width])? })
}

/// The state for a convolution's gradients.
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

/// The backward pass of a convolution, with a bias (`N` is 3) or without.
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
