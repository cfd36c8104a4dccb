//! The two cells of the search: each has five blocks on the outputs of the last two cells.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor, s};
use zoo_core::layers::{
    Activation, Apply, ConvNormAct, ConvNormActConfig, Padding, add, cat, relu,
    torch_default_uniform,
};

use crate::{EarlierInput, Implementation};

/// A cell of figure 4: its blocks, and the hidden states that make up its output.
#[derive(Debug)]
pub(crate) struct CellPlan {
    /// Stride of the operations on the cell's inputs.
    stride: usize,
    blocks: [BlockPlan; 5],
    output: &'static [usize],
}

impl CellPlan {
    /// Number of output channels of a cell with `width` channels in a hidden state.
    pub(crate) fn out_channels(&self, width: usize) -> usize {
        width * self.output.len()
    }
}

/// A block: two operations whose results are added, each with its input, a hidden state.
#[derive(Debug)]
struct BlockPlan {
    left: (Op, usize),
    right: (Op, usize),
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Identity,
    Separable(usize),
    Average,
    Max,
}
use Op::{Average, Identity, Max, Separable};

// The hidden states: a cell's inputs, then the sum of each block.
const EARLIER: usize = 0;
const LATER: usize = 1;
const SUM: [usize; 5] = [2, 3, 4, 5, 6];

/// Number that BatchNorm adds to the variance.
const EPSILON: f64 = 1e-3;

#[rustfmt::skip]
pub(crate) static NORMAL_CELL: CellPlan = CellPlan {
    stride: 1,
    blocks: [
        BlockPlan { left: (Separable(5), LATER),   right: (Separable(3), EARLIER) },
        BlockPlan { left: (Separable(5), EARLIER), right: (Separable(3), EARLIER) },
        BlockPlan { left: (Average,      LATER),   right: (Identity,     EARLIER) },
        BlockPlan { left: (Average,      EARLIER), right: (Average,      EARLIER) },
        BlockPlan { left: (Separable(3), LATER),   right: (Identity,     LATER)   },
    ],
    output: &[EARLIER, SUM[0], SUM[1], SUM[2], SUM[3], SUM[4]],
};

#[rustfmt::skip]
pub(crate) static REDUCTION_CELL: CellPlan = CellPlan {
    stride: 2,
    blocks: [
        BlockPlan { left: (Separable(5), LATER),   right: (Separable(7), EARLIER) },
        BlockPlan { left: (Max,          LATER),   right: (Separable(7), EARLIER) },
        BlockPlan { left: (Average,      LATER),   right: (Separable(5), EARLIER) },
        BlockPlan { left: (Identity,     SUM[1]),  right: (Average,      SUM[0])  },
        BlockPlan { left: (Separable(3), SUM[0]),  right: (Max,          LATER)   },
    ],
    output: &[SUM[1], SUM[2], SUM[3], SUM[4]],
};

/// The two inputs of a cell: tensors, or their numbers of channels.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<T> {
    pub(crate) earlier: T,
    pub(crate) later: T,
}

impl<T> Inputs<T> {
    pub(crate) fn advance(&mut self, output: T, earlier_input: EarlierInput) {
        let later = std::mem::replace(&mut self.later, output);
        if earlier_input == EarlierInput::Nearest {
            self.earlier = later;
        }
    }
}

/// Configuration of a [`Cell`].
pub(crate) struct CellConfig {
    pub(crate) plan: &'static CellPlan,
    /// Channels of the inputs.
    pub(crate) inputs: Inputs<usize>,
    /// The previous cell.
    pub(crate) before: Option<&'static CellPlan>,
    /// Channels of a hidden state.
    pub(crate) width: usize,
    pub(crate) implementation: Implementation,
}

#[derive(Module, Debug)]
pub(crate) struct Cell {
    earlier: Option<Fit>,
    later: ConvNormAct,
    blocks: Vec<Block>,
    #[module(skip)]
    plan: &'static CellPlan,
}

/// The layers that give the earlier input the size of the later one and the width of a hidden state.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has a handful of them")]
enum Fit {
    Projection(ConvNormAct),
    Halving(Halving),
}

/// Two 1×1 convolutions with stride 2. The second takes the pixels that are diagonally after those of
/// the first.
#[derive(Module, Debug)]
struct Halving {
    even: Conv2d,
    odd: Conv2d,
    norm: BatchNorm,
}

/// The sum of two operations; `None` is the identity.
#[derive(Module, Debug)]
struct Block {
    left: Option<Operation>,
    right: Option<Operation>,
}

#[derive(Module, Debug)]
enum Operation {
    /// A separable convolution that is applied twice; the first has the stride.
    Separable(Vec<SeparableConv>),
    Average(AvgPool2d),
    Max(MaxPool2d),
    /// Max pooling on a map that is padded with zeros.
    MaxOfPadded(MaxPool2d),
}

/// ReLU, a depthwise convolution, a 1×1 convolution, and BatchNorm.
#[derive(Module, Debug)]
struct SeparableConv {
    depthwise: Conv2d,
    pointwise: Conv2d,
    norm: BatchNorm,
}

impl CellConfig {
    pub(crate) fn out_channels(&self) -> usize {
        self.plan.out_channels(self.width)
    }

    /// Builds the cell.
    pub(crate) fn init(&self, device: &Device) -> Cell {
        let Inputs { earlier, later } = self.inputs;
        let project =
            |channels| self.implementation.linear_conv([channels, self.width], 1).init(device);
        let blocks = self.plan.blocks.iter().map(|plan| Block {
            left: self.operation(plan.left, device),
            right: self.operation(plan.right, device),
        });
        Cell {
            // The previous cell may have halved the later input, but not this one.
            earlier: self.before.map(|before| match before.stride {
                1 => Fit::Projection(project(earlier)),
                _ => Fit::Halving(self.halving(earlier, device)),
            }),
            later: project(later),
            blocks: blocks.collect(),
            plan: self.plan,
        }
    }

    fn operation(&self, (op, hidden): (Op, usize), device: &Device) -> Option<Operation> {
        let is_first = self.before.is_none();
        let channels = if is_first && hidden == EARLIER { self.inputs.earlier } else { self.width };
        let stride = if [EARLIER, LATER].contains(&hidden) { self.plan.stride } else { 1 };
        let padding = match self.implementation {
            Implementation::Cadene if is_first => Padding::Symmetric,
            _ => Padding::Same,
        };
        match op {
            Identity => None,
            Separable(kernel_size) => {
                let conv = |channels, stride| {
                    self.separable_conv(channels, kernel_size, stride, padding, device)
                };
                Some(Operation::Separable(vec![conv(channels, stride), conv(self.width, 1)]))
            }
            Average => {
                let pool = AvgPool2dConfig::new([3, 3])
                    .with_strides([stride; 2])
                    .with_padding(padding.of([3, 3]))
                    .with_count_include_pad(
                        self.implementation != Implementation::Cadene && stride > 1,
                    );
                Some(Operation::Average(pool.init()))
            }
            Max => {
                let pool = MaxPool2dConfig::new([3, 3]).with_strides([stride; 2]);
                Some(match self.implementation {
                    Implementation::Keras => Operation::MaxOfPadded(pool.init()),
                    _ => Operation::Max(pool.with_padding(padding.of([3, 3])).init()),
                })
            }
        }
    }

    fn separable_conv(
        &self,
        channels: usize,
        kernel_size: usize,
        stride: usize,
        padding: Padding,
        device: &Device,
    ) -> SeparableConv {
        SeparableConv {
            depthwise: conv([channels, channels], kernel_size)
                .with_stride([stride; 2])
                .with_groups(channels)
                .with_padding(padding.of([kernel_size; 2]))
                .init(device),
            pointwise: conv([channels, self.width], 1).init(device),
            norm: self.implementation.norm(self.width).init(device),
        }
    }

    fn halving(&self, channels: usize, device: &Device) -> Halving {
        let conv = conv([channels, self.width / 2], 1).with_stride([2, 2]);
        Halving {
            even: conv.init(device),
            odd: conv.init(device),
            norm: self.implementation.norm(self.width).init(device),
        }
    }
}

impl Implementation {
    /// Returns a convolution with BatchNorm, with PyTorch's default initialization.
    pub(crate) fn linear_conv(self, channels: [usize; 2], kernel_size: usize) -> ConvNormActConfig {
        ConvNormActConfig::new(channels, [kernel_size; 2])
            .with_initializer(Some(torch_default_uniform()))
            .with_epsilon(EPSILON)
            .with_momentum(self.momentum())
            .with_activation(Activation::Identity)
    }

    fn norm(self, channels: usize) -> BatchNormConfig {
        BatchNormConfig::new(channels).with_epsilon(EPSILON).with_momentum(self.momentum())
    }

    /// Returns the weight of a batch's statistics in BatchNorm's running averages.
    fn momentum(self) -> f64 {
        match self {
            Self::Cadene | Self::Timm => 0.1,
            Self::Keras => 3e-4,
        }
    }
}

/// Returns a convolution without bias, with PyTorch's default initialization.
fn conv(channels: [usize; 2], kernel_size: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [kernel_size; 2]).with_bias(false)
}

impl Cell {
    /// Computes the cell.
    ///
    /// # Shapes
    ///
    /// outputs `[N, earlier, H, W]`, twice as large after a reduction cell, and
    /// `[N, later, H, W]` → `[N, out_channels, H', W']`
    pub(crate) fn forward(&self, inputs: &Inputs<Tensor<4>>) -> Tensor<4> {
        let earlier = inputs.earlier.clone();
        let earlier = match &self.earlier {
            None => earlier,
            Some(Fit::Projection(projection)) => projection.forward(relu(earlier)),
            Some(Fit::Halving(halving)) => halving.forward(relu(earlier)),
        };
        let later = self.later.forward(relu(inputs.later.clone()));
        let mut hidden = vec![earlier, later];
        for (block, BlockPlan { left, right }) in self.blocks.iter().zip(&self.plan.blocks) {
            let left = apply(block.left.as_ref(), hidden[left.1].clone());
            let right = apply(block.right.as_ref(), hidden[right.1].clone());
            hidden.push(add(Activation::Identity, left, right));
        }
        cat(self.plan.output.iter().map(|&index| hidden[index].clone()).collect())
    }
}

fn apply(operation: Option<&Operation>, x: Tensor<4>) -> Tensor<4> {
    match operation {
        None => x,
        Some(Operation::Separable(convs)) => convs.iter().fold(x, |x, conv| conv.forward(x)),
        Some(Operation::Average(pool)) => pool.apply(x),
        Some(Operation::Max(pool)) => pool.apply(x),
        Some(Operation::MaxOfPadded(pool)) => {
            // TensorFlow's SAME padding for 3×3 and stride 2: one pixel after, and one before if
            // the size is odd.
            let [_, _, height, width] = x.dims();
            pool.apply(x.pad((width % 2, 1, height % 2, 1), 0.0))
        }
    }
}

impl SeparableConv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.apply(self.pointwise.apply(self.depthwise.apply(relu(x))))
    }
}

impl Halving {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // The map is padded with zeros.
        let shifted = x.clone().pad((0, 1, 0, 1), 0.0).slice(s![.., .., 1.., 1..]);
        self.norm.apply(cat(vec![self.even.apply(x), self.odd.apply(shifted)]))
    }
}
