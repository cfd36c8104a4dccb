//! The operations of convolutional networks, and their conversion from Burn's operations.

use burn::backend::ir::{
    ActivationOperationIr as Act, BaseOperationIr as Base, FloatOperationIr as Float,
    InterpolateModeIr, ModuleOperationIr as Layer, NumericOperationIr as Numeric, OperationIr,
    PadModeIr, TensorIr,
};
use burn::tensor::Slice;

/// An operation of a graph.
///
/// Images are `[N, C, H, W]`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// A 2-D convolution. Inputs: images, weights `[out, in / groups, h, w]` and optionally a bias
    /// `[out]`.
    Conv {
        /// The window of the kernel.
        window: Window,
        /// Number of groups of channels that are convolved separately.
        groups: usize,
    },
    /// A transposed 2-D convolution. Inputs: images, weights `[in, out / groups, h, w]` and
    /// optionally a bias `[out]`.
    ConvTranspose {
        /// Distance in the output between the windows of adjacent input pixels.
        stride: [usize; 2],
        /// Rows and columns that are removed at each edge of the output.
        padding: [usize; 2],
        /// Rows and columns that are added at the end of the output.
        output_padding: [usize; 2],
        /// Distance between adjacent elements of the kernel.
        dilation: [usize; 2],
        /// Number of groups of channels that are convolved separately.
        groups: usize,
    },
    /// A fully connected layer. Inputs: `[…, in]`, weights `[in, out]` and optionally a bias
    /// `[out]`.
    Linear,
    /// The product of two batches of matrices.
    MatMul,
    /// BatchNorm with running statistics. Inputs: images, then gamma, beta, mean and variance,
    /// `[C]` each.
    BatchNorm {
        /// The number that is added to the variance.
        epsilon: f64,
    },
    /// A function of each element.
    Activation(Activation),
    /// `x` if it is positive, otherwise `negative_slope · x`.
    LeakyRelu {
        /// The factor of negative elements.
        negative_slope: f32,
    },
    /// An operation on each element and a number: `x + 1`.
    Scalar(Binary, f32),
    /// An operation on the elements of two tensors, with broadcasting.
    Binary(Binary),
    /// The maximum of each window.
    MaxPool {
        /// The window.
        window: Window,
        /// Whether the last window may extend beyond the edge.
        ceil_mode: bool,
    },
    /// The average of each window.
    AveragePool {
        /// The window.
        window: Window,
        /// Whether the average includes the zeros of the padding.
        count_include_pad: bool,
        /// Whether the last window may extend beyond the edge.
        ceil_mode: bool,
    },
    /// Averages over a grid of cells, which may overlap, as in PyTorch. The output's shape is the
    /// size of the grid.
    AdaptiveAveragePool,
    /// The same elements in another shape.
    Reshape,
    /// Output dimension `i` is input dimension `axes[i]`.
    Transpose {
        /// A permutation of the dimensions.
        axes: Vec<usize>,
    },
    /// A range of each of the first dimensions, and the other dimensions whole.
    Slice(Vec<Slice>),
    /// The tensor with elements added at its edges.
    Pad {
        /// Numbers of elements before and after, for each dimension.
        padding: Vec<(usize, usize)>,
        /// Their value.
        fill: f32,
    },
    /// The concatenation of tensors.
    Concat {
        /// The dimension along which they are concatenated.
        axis: usize,
    },
    /// Bilinear interpolation to the output's size.
    Resize {
        /// Whether the centers of the corner pixels stay fixed.
        align_corners: bool,
    },
    /// 1 if an element equals this number, otherwise 0.
    Equals(f32),
    /// The first input, with elements replaced by this number if the second input is not 0 there.
    MaskFill(f32),
    /// A tensor whose elements all have this value. No inputs.
    Full(f32),
    /// An operation that has no variant here.
    Other {
        /// Burn's name of the operation.
        name: String,
    },
}

impl Op {
    /// Returns its name for messages: that of its variant, or Burn's for [`Op::Other`].
    pub fn name(&self) -> String {
        match self {
            Self::Other { name } => name.clone(),
            known => {
                let text = format!("{known:?}");
                text.chars().take_while(|c| c.is_alphanumeric()).collect()
            }
        }
    }
}

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, min), max)`, with the bounds that are given.
    Clamp {
        /// The lower bound.
        min: Option<f32>,
        /// The upper bound.
        max: Option<f32>,
    },
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `min(max(alpha · x + beta, 0), 1)`
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// The hyperbolic tangent.
    Tanh,
}

/// An operation on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a · b`
    Mul,
    /// `a / b`
    Div,
}

/// The window of a convolution or a pooling. The first number of each pair is for rows, the second
/// for columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The size.
    pub kernel: [usize; 2],
    /// Distance between adjacent windows.
    pub stride: [usize; 2],
    /// Distance between adjacent elements of the window.
    pub dilation: [usize; 2],
    /// Padding before the first row and column.
    pub before: [usize; 2],
    /// Padding after the last row and column.
    pub after: [usize; 2],
}

impl Window {
    /// Returns a window as large as an image, without padding.
    pub fn whole(size: [usize; 2]) -> Self {
        Self { kernel: size, stride: [1, 1], dilation: [1, 1], before: [0, 0], after: [0, 0] }
    }
}

/// An operation of Burn, converted.
pub(crate) struct Recorded<'a> {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<&'a TensorIr>,
    /// One tensor, or several for an [`Op::Other`].
    pub(crate) outputs: Vec<&'a TensorIr>,
}

impl<'a> Recorded<'a> {
    pub(crate) fn of(operation: &'a OperationIr) -> Self {
        let outputs = operation.outputs().collect();
        match known(operation) {
            Some((op, inputs)) => Self { op, inputs, outputs },
            None => {
                let op = Op::Other { name: name(operation) };
                Self { op, inputs: operation.inputs().collect(), outputs }
            }
        }
    }
}

/// Returns the operation as an [`Op`] and its inputs, or `None` if it has no variant.
fn known(operation: &OperationIr) -> Option<(Op, Vec<&TensorIr>)> {
    use OperationIr::{Activation as Act1, BaseBool, BaseFloat, Module, NumericFloat};
    Some(match operation {
        NumericFloat(_, Numeric::Add(op)) => (Op::Binary(Binary::Add), vec![&op.lhs, &op.rhs]),
        NumericFloat(_, Numeric::Sub(op)) => (Op::Binary(Binary::Sub), vec![&op.lhs, &op.rhs]),
        NumericFloat(_, Numeric::Mul(op)) => (Op::Binary(Binary::Mul), vec![&op.lhs, &op.rhs]),
        NumericFloat(_, Numeric::Div(op)) => (Op::Binary(Binary::Div), vec![&op.lhs, &op.rhs]),
        NumericFloat(_, Numeric::AddScalar(op)) => {
            (Op::Scalar(Binary::Add, op.rhs.elem()), vec![&op.lhs])
        }
        NumericFloat(_, Numeric::SubScalar(op)) => {
            (Op::Scalar(Binary::Sub, op.rhs.elem()), vec![&op.lhs])
        }
        NumericFloat(_, Numeric::MulScalar(op)) => {
            (Op::Scalar(Binary::Mul, op.rhs.elem()), vec![&op.lhs])
        }
        NumericFloat(_, Numeric::DivScalar(op)) => {
            (Op::Scalar(Binary::Div, op.rhs.elem()), vec![&op.lhs])
        }
        NumericFloat(_, Numeric::Clamp(op)) => {
            let (min, max) = (Some(op.min.elem()), Some(op.max.elem()));
            (Op::Activation(Activation::Clamp { min, max }), vec![&op.tensor])
        }
        NumericFloat(_, Numeric::ClampMin(op)) => {
            let clamp = Activation::Clamp { min: Some(op.rhs.elem()), max: None };
            (Op::Activation(clamp), vec![&op.lhs])
        }
        NumericFloat(_, Numeric::ClampMax(op)) => {
            let clamp = Activation::Clamp { min: None, max: Some(op.rhs.elem()) };
            (Op::Activation(clamp), vec![&op.lhs])
        }
        NumericFloat(_, Numeric::Full(op)) => (Op::Full(op.value.elem()), vec![]),
        NumericFloat(_, Numeric::Pad(op)) => {
            let PadModeIr::Constant(fill) = op.mode else { return None };
            (Op::Pad { padding: op.padding.clone(), fill: fill.elem() }, vec![&op.input])
        }
        OperationIr::Float(_, Float::Tanh(op)) => {
            (Op::Activation(Activation::Tanh), vec![&op.input])
        }
        OperationIr::Float(_, Float::Matmul(op)) => {
            let op_of = if op.rhs.shape.num_dims() == 2 { Op::Linear } else { Op::MatMul };
            (op_of, vec![&op.lhs, &op.rhs])
        }
        Act1(Act::Relu(op)) => (Op::Activation(Activation::Relu), vec![&op.input]),
        Act1(Act::LeakyRelu(op)) => {
            (Op::LeakyRelu { negative_slope: op.rhs.elem() }, vec![&op.lhs])
        }
        Act1(Act::Sigmoid(op)) => (Op::Activation(Activation::Sigmoid), vec![&op.input]),
        Act1(Act::HardSigmoid(op)) => {
            let (alpha, beta) = (op.alpha.elem(), op.beta.elem());
            (Op::Activation(Activation::HardSigmoid { alpha, beta }), vec![&op.tensor])
        }
        BaseFloat(Base::Reshape(op)) | BaseBool(Base::Reshape(op)) => {
            (Op::Reshape, vec![&op.input])
        }
        BaseFloat(Base::SwapDims(op)) => {
            let mut axes: Vec<usize> = (0..op.input.shape.num_dims()).collect();
            axes.swap(op.dim1, op.dim2);
            (Op::Transpose { axes }, vec![&op.input])
        }
        BaseFloat(Base::Permute(op)) => (Op::Transpose { axes: op.axes.clone() }, vec![&op.input]),
        BaseFloat(Base::Slice(op)) => (Op::Slice(op.ranges.clone()), vec![&op.tensor]),
        BaseFloat(Base::Cat(op)) => (Op::Concat { axis: op.dim }, op.tensors.iter().collect()),
        BaseFloat(Base::Zeros(_)) => (Op::Full(0.0), vec![]),
        BaseFloat(Base::Ones(_)) => (Op::Full(1.0), vec![]),
        BaseFloat(Base::EqualElem(op)) => (Op::Equals(op.rhs.elem()), vec![&op.lhs]),
        BaseFloat(Base::MaskFill(op)) => {
            (Op::MaskFill(op.value.elem()), vec![&op.tensor, &op.mask])
        }
        Module(layer) => return layer_of(layer),
        _ => return None,
    })
}

fn layer_of(layer: &Layer) -> Option<(Op, Vec<&TensorIr>)> {
    Some(match layer {
        Layer::Conv2d(op) => {
            let [(top, bottom), (left, right)] = op.options.padding;
            let window = Window {
                kernel: [op.weight.shape[2], op.weight.shape[3]],
                stride: op.options.stride,
                dilation: op.options.dilation,
                before: [top, left],
                after: [bottom, right],
            };
            let conv = Op::Conv { window, groups: op.options.groups };
            (conv, [&op.x, &op.weight].into_iter().chain(&op.bias).collect())
        }
        Layer::ConvTranspose2d(op) => {
            let conv = Op::ConvTranspose {
                stride: op.options.stride,
                padding: op.options.padding,
                output_padding: op.options.padding_out,
                dilation: op.options.dilation,
                groups: op.options.groups,
            };
            (conv, [&op.x, &op.weight].into_iter().chain(&op.bias).collect())
        }
        Layer::Linear(op) => {
            (Op::Linear, [&op.x, &op.weight].into_iter().chain(&op.bias).collect())
        }
        Layer::BatchNorm(op) => (
            Op::BatchNorm { epsilon: op.epsilon.elem() },
            vec![&op.x, &op.gamma, &op.beta, &op.mean, &op.variance],
        ),
        Layer::MaxPool2d(op) => {
            let window = pool_window(op.kernel_size, op.stride, op.dilation, op.padding);
            (Op::MaxPool { window, ceil_mode: op.ceil_mode }, vec![&op.x])
        }
        Layer::AvgPool2d(op) => {
            let window = pool_window(op.kernel_size, op.stride, [1, 1], op.padding);
            let count_include_pad = op.count_include_pad;
            let pool = Op::AveragePool { window, count_include_pad, ceil_mode: op.ceil_mode };
            (pool, vec![&op.x])
        }
        Layer::AdaptiveAvgPool2d(op) => (Op::AdaptiveAveragePool, vec![&op.x]),
        Layer::Interpolate(op) if op.options.mode == InterpolateModeIr::Bilinear => {
            (Op::Resize { align_corners: op.options.align_corners }, vec![&op.x])
        }
        _ => return None,
    })
}

fn pool_window(
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 2],
) -> Window {
    Window { kernel, stride, dilation, before: padding, after: padding }
}

/// Returns Burn's name of an operation: the last word before the operands in its debug output.
fn name(operation: &OperationIr) -> String {
    let text = format!("{operation:?}");
    let words = text.split(|c: char| !c.is_alphanumeric()).take_while(|word| !word.ends_with("Ir"));
    words.last().unwrap_or_default().to_owned()
}
