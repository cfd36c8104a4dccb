//! A computation as a plain list of nodes.
//!
//! The operators are those of convolutional networks. Some come out of a capture, the others
//! (marked *fused*) are made by the [passes](crate::passes); each is defined by what
//! [`reference`](crate::reference) computes for it.

use std::sync::Arc;

/// Index of a value in [`Graph::values`].
pub(crate) type ValueId = usize;

/// A tensor that a computation reads, makes or passes on.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    /// Row-major values, where they are known before the computation starts.
    pub(crate) constant: Option<Arc<Vec<f32>>>,
}

/// A step of a computation.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
}

/// A computation: nodes in an order in which each finds its inputs made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) input: ValueId,
    pub(crate) outputs: Vec<ValueId>,
}

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    Identity,
    /// `min(max(x, low), high)`; ReLU has no upper bound.
    Clamp {
        low: f32,
        high: f32,
    },
    Sigmoid,
    /// `x · sigmoid(x)`, *fused*
    Silu,
    /// `min(max(slope · x + offset, 0), 1)`
    HardSigmoid {
        slope: f32,
        offset: f32,
    },
    /// `x · min(max(slope · x + offset, 0), 1)`, *fused*
    HardSwish {
        slope: f32,
        offset: f32,
    },
    Tanh,
}

impl Activation {
    pub(crate) const RELU: Self = Self::Clamp { low: 0.0, high: f32::INFINITY };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolKind {
    Max,
    /// The average of what lies inside the image.
    Average,
    /// The average with the zeros of the padding.
    PaddedAverage,
}

/// Windows of a convolution or a pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Before the first row and column.
    pub(crate) before: [usize; 2],
    /// After the last row and column.
    pub(crate) after: [usize; 2],
}

impl Window {
    /// The window that is as large as an image.
    pub(crate) fn whole(size: [usize; 2]) -> Self {
        Self { kernel: size, stride: [1, 1], dilation: [1, 1], before: [0, 0], after: [0, 0] }
    }
}

/// Where a channel comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A channel of one of the node's inputs.
    Channel {
        input: usize,
        channel: usize,
    },
    Zero,
}

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    /// Inputs: images, weights `[out, in / groups, h, w]`, bias and, where there is a `residual`,
    /// what is added before the activation. A residual or an activation is *fused*. Weights that
    /// are `out_last` are a fully connected layer's, `[in, h, w, out]`.
    Conv {
        window: Window,
        groups: usize,
        out_last: bool,
        residual: bool,
        activation: Activation,
    },
    /// Inputs: images, weights `[in, out / groups, h, w]`, bias.
    ConvTranspose {
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        groups: usize,
    },
    /// Inputs: `[…, in]`, `[in, out]` and maybe a bias `[out]`.
    Linear,
    /// Each channel (dimension 1) times a factor plus an offset. Inputs: images, factors `[C]`,
    /// offsets `[C]`.
    Affine {
        activation: Activation,
    },
    Activation(Activation),
    /// `scale · x + offset`
    Scalar {
        scale: f32,
        offset: f32,
    },
    /// Of two tensors that are broadcast to each other.
    Binary {
        op: Binary,
        activation: Activation,
    },
    Pool {
        kind: PoolKind,
        window: Window,
    },
    /// To a grid of overlapping cells, as PyTorch cuts them.
    AdaptiveAverage,
    Reshape,
    /// Output dimension `i` is input dimension `axes[i]`.
    Transpose {
        axes: Vec<usize>,
    },
    /// Output element `i` is input element `start + i · step` in each dimension; beyond the input
    /// it is `fill`.
    Slice {
        start: Vec<isize>,
        step: Vec<isize>,
        fill: f32,
    },
    Concat {
        axis: usize,
    },
    /// The channels of 4-dimensional inputs in another order, *fused*.
    Gather {
        sources: Vec<Source>,
    },
    /// Bilinear.
    Resize {
        align_corners: bool,
    },
    /// 1 where the element has the value, 0 elsewhere.
    Equals(f32),
    /// The first input, with a value where the second isn't 0.
    Fill(f32),
}

impl Op {
    /// A word for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Conv { .. } => "conv",
            Self::ConvTranspose { .. } => "conv transpose",
            Self::Linear => "linear",
            Self::Affine { .. } => "affine",
            Self::Activation(_) => "activation",
            Self::Scalar { .. } => "scalar",
            Self::Binary { op: Binary::Add, .. } => "add",
            Self::Binary { op: Binary::Sub, .. } => "sub",
            Self::Binary { op: Binary::Mul, .. } => "mul",
            Self::Binary { op: Binary::Div, .. } => "div",
            Self::Pool { kind: PoolKind::Max, .. } => "max pool",
            Self::Pool { .. } => "average pool",
            Self::AdaptiveAverage => "adaptive average pool",
            Self::Reshape => "reshape",
            Self::Transpose { .. } => "transpose",
            Self::Slice { .. } => "slice",
            Self::Concat { .. } => "concat",
            Self::Gather { .. } => "gather channels",
            Self::Resize { .. } => "resize",
            Self::Equals(_) => "equals",
            Self::Fill(_) => "fill",
        }
    }
}

impl Graph {
    /// What the nodes compute, as the reference defines it.
    #[cfg(test)]
    pub(crate) fn evaluate(&self, images: &[f32]) -> Vec<Vec<f32>> {
        let mut made: Vec<Option<Vec<f32>>> = vec![None; self.values.len()];
        made[self.input] = Some(images.to_vec());
        for node in &self.nodes {
            let view = |&value: &ValueId| {
                let data = made[value].as_deref().or(self.data(value));
                (self.shape(value), data.expect("nodes are in order"))
            };
            let inputs: Vec<_> = node.inputs.iter().map(view).collect();
            made[node.output] =
                Some(crate::reference::evaluate(&node.op, &inputs, self.shape(node.output)));
        }
        let output = |&value: &ValueId| made[value].clone().expect("outputs are made");
        self.outputs.iter().map(output).collect()
    }

    /// Adds a node and the value it makes.
    pub(crate) fn node(
        &mut self,
        op: Op,
        inputs: impl Into<Vec<ValueId>>,
        shape: impl Into<Vec<usize>>,
    ) -> ValueId {
        let output = self.value(shape);
        self.nodes.push(Node { op, inputs: inputs.into(), output });
        output
    }

    /// Adds a value that a node will make.
    pub(crate) fn value(&mut self, shape: impl Into<Vec<usize>>) -> ValueId {
        self.values.push(Value { shape: shape.into(), constant: None });
        self.values.len() - 1
    }

    /// Adds a value that is known.
    pub(crate) fn constant(&mut self, shape: impl Into<Vec<usize>>, data: Vec<f32>) -> ValueId {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), data.len());
        self.values.push(Value { shape, constant: Some(Arc::new(data)) });
        self.values.len() - 1
    }

    pub(crate) fn shape(&self, value: ValueId) -> &[usize] {
        &self.values[value].shape
    }

    /// The shape of images.
    pub(crate) fn shape4(&self, value: ValueId) -> Option<[usize; 4]> {
        self.values[value].shape.as_slice().try_into().ok()
    }

    pub(crate) fn data(&self, value: ValueId) -> Option<&[f32]> {
        self.values[value].constant.as_ref().map(|data| data.as_slice())
    }

    /// How often each value is read, outputs counted.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        for &value in self.nodes.iter().flat_map(|node| &node.inputs).chain(&self.outputs) {
            uses[value] += 1;
        }
        uses
    }

    /// Which node makes each value.
    pub(crate) fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            producers[node.output] = Some(index);
        }
        producers
    }

    /// Makes all readers of a value read another one.
    pub(crate) fn redirect(&mut self, from: ValueId, to: ValueId) {
        let inputs = self.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        for value in inputs.chain(&mut self.outputs).filter(|value| **value == from) {
            *value = to;
        }
    }
}
