use burn::module::Initializer;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;

/// Builds a convolution whose bias is drawn in a way of its own; by itself Burn draws it as the
/// weight, where many references begin with zeros.
///
/// Everything else is as the configuration has it, whose `initializer` draws the weight. There is a
/// bias whatever its `bias` says.
///
/// # Shapes
///
/// weight `[channels[1], channels[0] / groups, height, width]`, bias `[channels[1]]`
pub fn conv_with_bias(conv: Conv2dConfig, bias: &Initializer, device: &Device) -> Conv2d {
    let [_, out_channels] = conv.channels;
    let [height, width] = conv.kernel_size;
    // Counted as for the weight, by which an initializer may draw the bias.
    let [inputs, outputs] = conv.channels.map(|channels| channels / conv.groups * height * width);
    Conv2d {
        bias: Some(bias.init_with([out_channels], Some(inputs), Some(outputs), device)),
        ..conv.with_bias(false).init(device)
    }
}

/// Builds a fully connected layer whose bias is drawn in a way of its own, like
/// [`conv_with_bias`].
///
/// # Shapes
///
/// weight `[d_input, d_output]`, bias `[d_output]`
pub fn linear_with_bias(linear: LinearConfig, bias: &Initializer, device: &Device) -> Linear {
    let [inputs, outputs] = [linear.d_input, linear.d_output];
    Linear {
        bias: Some(bias.init_with([outputs], Some(inputs), Some(outputs), device)),
        ..linear.with_bias(false).init(device)
    }
}
