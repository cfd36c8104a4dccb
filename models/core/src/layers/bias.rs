use burn::module::Initializer;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;

/// Builds a convolution with a separate initializer for the bias. Burn initializes the bias as the
/// weight, but many references start with zeros.
///
/// The other settings are those of `conv`; its `initializer` initializes the weight. The layer has a
/// bias whatever `conv.bias` says.
///
/// # Shapes
///
/// weight `[channels[1], channels[0] / groups, height, width]`, bias `[channels[1]]`
pub fn conv_with_bias(conv: Conv2dConfig, bias: &Initializer, device: &Device) -> Conv2d {
    let [_, out_channels] = conv.channels;
    let [height, width] = conv.kernel_size;
    // Fan-in and fan-out of the weight, because an initializer may use them for the bias.
    let [inputs, outputs] = conv.channels.map(|channels| channels / conv.groups * height * width);
    Conv2d {
        bias: Some(bias.init_with([out_channels], Some(inputs), Some(outputs), device)),
        ..conv.with_bias(false).init(device)
    }
}

/// Builds a fully connected layer with a separate initializer for the bias, like [`conv_with_bias`].
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
