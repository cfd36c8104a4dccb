//! Operators that move a window over an image, and those that resize it.

use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool2d, conv_transpose2d, conv2d, interpolate, max_pool2d};
use burn::tensor::ops::{
    AvgPoolOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions,
    MaxPoolOptions,
};

use super::value::{Value, check, image};
use super::{Fault, Run};
use crate::onnx::node::Node;

impl Run<'_> {
    pub(super) fn conv(&self, node: &Node) -> Result<Value, Fault> {
        let (x, kernel) = (self.value(node, 0)?.image()?, self.value(node, 1)?.image()?);
        let [channels, inputs] = [x.dims()[1], kernel.dims()[1]];
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        if groups == 0 || inputs.checked_mul(groups) != Some(channels) {
            return Err(format!("{channels} channels do not fit its kernel"));
        }
        let window = Window::of(node, &x, [kernel.dims()[2], kernel.dims()[3]])?;
        let options =
            ConvOptions::new_with_padding(window.stride, window.padding, window.dilation, groups);
        check(&[x.dims()[0], kernel.dims()[0], window.outputs[0], window.outputs[1]])?;
        image(conv2d(x, kernel, self.bias(node, 2)?, options))
    }

    pub(super) fn conv_transpose(&self, node: &Node) -> Result<Value, Fault> {
        let (x, kernel) = (self.value(node, 0)?.image()?, self.value(node, 1)?.image()?);
        if x.dims()[1] != kernel.dims()[0] {
            return Err(format!("{} channels do not fit its kernel", x.dims()[1]));
        }
        if node.has("output_shape") || node.string("auto_pad").is_some_and(|pad| pad != "NOTSET") {
            return Err("its padding is not understood here".to_owned());
        }
        let pair = |name, default| node.pair(name, default).ok_or("its window is not flat");
        let [top, left, bottom, right] = pads(node)?;
        if (top, left) != (bottom, right) {
            return Err("its padding is not the same on both sides".to_owned());
        }
        let (stride, dilation) = (pair("strides", 1)?, pair("dilations", 1)?);
        let output_padding = pair("output_padding", 0)?;
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        let (size, side) = (x.dims(), kernel.dims());
        let grown = |axis: usize| {
            let inside = (size[axis + 2] - 1).saturating_mul(stride[axis]);
            let window = (side[axis + 2] - 1).saturating_mul(dilation[axis]);
            inside.saturating_add(window).saturating_add(output_padding[axis]).saturating_add(1)
        };
        if groups == 0 || stride.contains(&0) || dilation.contains(&0) {
            return Err("its window has no size".to_owned());
        }
        check(&[size[0], side[1].saturating_mul(groups), grown(0), grown(1)])?;
        let options =
            ConvTransposeOptions::new(stride, [top, left], output_padding, dilation, groups);
        image(conv_transpose2d(x, kernel, self.bias(node, 2)?, options))
    }

    pub(super) fn pool(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?.image()?;
        let kernel = node.pair("kernel_shape", 0).filter(|kernel| !kernel.contains(&0));
        let kernel = kernel.ok_or("its window has no size")?;
        let window = Window::of(node, &x, kernel)?;
        let ceil_mode = node.int("ceil_mode", 0) != 0;
        let [batch, channels, ..] = x.dims();
        check(&[batch, channels, window.outputs[0], window.outputs[1]])?;
        if node.operator == "MaxPool" {
            return image(max_pool2d(
                x,
                MaxPoolOptions {
                    kernel_size: kernel,
                    stride: window.stride,
                    padding: window.padding,
                    dilation: window.dilation,
                    ceil_mode,
                },
            ));
        }
        if window.dilation != [1; 2] {
            return Err("dilated averages are not understood here".to_owned());
        }
        image(avg_pool2d(
            x,
            AvgPoolOptions {
                kernel_size: kernel,
                stride: window.stride,
                padding: window.padding,
                count_include_pad: node.int("count_include_pad", 0) != 0,
                ceil_mode,
            },
        ))
    }

    /// Local response normalization: Krizhevsky et al., 2012, §3.3, as ONNX defines it.
    pub(super) fn local_response(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?.image()?;
        let size = usize::try_from(node.int("size", 5)).unwrap_or(0);
        let alpha = node.float("alpha", 1e-4) / size as f32;
        let [batch, channels, height, width] = x.dims();
        let before = size.saturating_sub(1) / 2;
        check(&[batch, channels.saturating_add(size), height, width])?;
        let zeros = |channels| Tensor::zeros([batch, channels, height, width], &self.device);
        let mut parts = vec![x.clone().square()];
        if before > 0 {
            parts.insert(0, zeros(before));
        }
        if size > before + 1 {
            parts.push(zeros(size - 1 - before));
        }
        let padded = Tensor::cat(parts, 1);
        let mut sum = padded.clone().narrow(1, 0, channels);
        for start in 1..size {
            sum = sum + padded.clone().narrow(1, start, channels);
        }
        let scale = sum.mul_scalar(alpha).add_scalar(node.float("bias", 1.0));
        image(x / scale.powf_scalar(node.float("beta", 0.75)))
    }

    pub(super) fn resize(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?.image()?;
        let [batch, channels, height, width] = x.dims();
        let (scales_at, sizes_at) = if node.inputs.len() > 2 { (2, 3) } else { (1, 9) };
        let scales = match node.floats("scales") {
            Some(scales) => Some(scales.iter().map(|&scale| f64::from(scale)).collect()),
            None => self.numbers(node, scales_at)?,
        };
        let sizes = self.numbers(node, sizes_at)?;
        let target = match (sizes, scales) {
            (Some(sizes), _) if sizes.len() >= 2 => {
                [sizes[sizes.len() - 2] as usize, sizes[sizes.len() - 1] as usize]
            }
            (_, Some(scales)) if scales.len() >= 2 => {
                let last = [scales[scales.len() - 2], scales[scales.len() - 1]];
                [(height as f64 * last[0]) as usize, (width as f64 * last[1]) as usize]
            }
            _ => return Err("it does not say how large".to_owned()),
        };
        check(&[batch, channels, target[0], target[1]])?;
        if target.contains(&0) {
            return Err("it leaves nothing".to_owned());
        }
        let asymmetric = if node.operator == "Upsample" || self.graph.opset < 11 {
            "asymmetric"
        } else {
            "half_pixel"
        };
        let coordinates = node.string("coordinate_transformation_mode").unwrap_or(asymmetric);
        let mode = node.string("mode").unwrap_or("nearest");
        let (mode, align_corners) = match (mode, coordinates) {
            ("linear", "align_corners") => (InterpolateMode::Bilinear, true),
            ("linear", "half_pixel" | "pytorch_half_pixel") => (InterpolateMode::Bilinear, false),
            ("nearest", "asymmetric") => (InterpolateMode::Nearest, false),
            (mode, coordinates) => {
                return Err(format!("{mode} with {coordinates} is not understood here"));
            }
        };
        let options = InterpolateOptions::new(mode).with_align_corners(align_corners);
        image(interpolate(x, options.with_output_size(target)))
    }
}

/// The movement of a kernel over an image.
struct Window {
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [(usize, usize); 2],
    outputs: [usize; 2],
}

impl Window {
    fn of(node: &Node, x: &Tensor<4>, kernel: [usize; 2]) -> Result<Self, Fault> {
        let pair = |name| node.pair(name, 1).filter(|pair| !pair.contains(&0));
        let stride = pair("strides").ok_or("its stride is none")?;
        let dilation = pair("dilations").ok_or("its dilation is none")?;
        let [_, _, height, width] = x.dims();
        let size = [height, width];
        let reach: [usize; 2] = std::array::from_fn(|axis| {
            (kernel[axis].max(1) - 1).saturating_mul(dilation[axis]).saturating_add(1)
        });
        let auto = node.string("auto_pad").unwrap_or("NOTSET");
        let padding = match auto {
            "SAME_UPPER" | "SAME_LOWER" => std::array::from_fn(|axis| {
                let steps = size[axis].div_ceil(stride[axis]) - 1;
                let covered = steps.saturating_mul(stride[axis]).saturating_add(reach[axis]);
                let all = covered.saturating_sub(size[axis]);
                let (less, more) = (all / 2, all - all / 2);
                if auto == "SAME_UPPER" { (less, more) } else { (more, less) }
            }),
            "VALID" => [(0, 0); 2],
            _ => {
                let [top, left, bottom, right] = pads(node)?;
                [(top, bottom), (left, right)]
            }
        };
        let mut outputs = [0; 2];
        for axis in 0..2 {
            let (before, after) = padding[axis];
            let padded = size[axis].saturating_add(before).saturating_add(after);
            if reach[axis] > padded {
                return Err(format!("its window is larger than the {size:?} pixels"));
            }
            outputs[axis] = (padded - reach[axis]) / stride[axis] + 1;
            check(&[padded, padded])?;
        }
        Ok(Self { stride, dilation, padding, outputs })
    }
}

/// Returns the padding: top, left, bottom, right.
fn pads(node: &Node) -> Result<[usize; 4], Fault> {
    match node.ints("pads") {
        None => Ok([0; 4]),
        Some(&[a, b, c, d]) => {
            let mut pads = [0; 4];
            for (pad, value) in pads.iter_mut().zip([a, b, c, d]) {
                *pad = usize::try_from(value).map_err(|_| format!("it pads by {value}"))?;
            }
            Ok(pads)
        }
        Some(pads) => Err(format!("it pads by {pads:?}")),
    }
}
