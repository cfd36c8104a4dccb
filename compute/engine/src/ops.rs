//! The operators. Each file has one operator's definition, kernels and tests.
//!
//! `docs/adding-an-operator.md` explains an example.

pub(crate) mod activation;
pub(crate) mod adaptive_average_pool;
pub(crate) mod affine;
pub(crate) mod batch_norm;
pub(crate) mod binary;
pub(crate) mod concat;
pub(crate) mod conv;
pub(crate) mod conv_transpose;
pub(crate) mod elementwise;
pub(crate) mod equals;
pub(crate) mod full;
pub(crate) mod gather;
pub(crate) mod index;
pub(crate) mod leaky_relu;
pub(crate) mod linear;
pub(crate) mod mask_fill;
pub(crate) mod pool;
pub(crate) mod reshape;
pub(crate) mod resize;
pub(crate) mod scalar;
pub(crate) mod slice;
pub(crate) mod transpose;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use zoo_graph::Op;
use zoo_simd::Activation;

use crate::Error;
use crate::graph::Node;
use crate::plan::lower::Lowering;

/// A tensor's shape and its row-major numbers.
pub(crate) type View<'a> = (&'a [usize], &'a [f32]);

/// The operation of a node.
///
/// Only [`name`](Self::name) and [`evaluate`](Self::evaluate) are required. Without
/// [`lower`](Self::lower), one thread computes the operator with `evaluate`.
pub(crate) trait Operator: Any + fmt::Debug + Send + Sync {
    /// Returns its name in plans: `max pool`.
    fn name(&self) -> &'static str;

    /// Computes the output, whose shape is `shape`, as plainly as possible.
    ///
    /// This defines the operator: kernels and passes are tested against it. It also computes nodes
    /// without a kernel and nodes that do not depend on the images.
    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32>;

    /// Returns the kinds of its inputs.
    fn inputs(&self) -> Inputs {
        Inputs::ImagesAndParameters
    }

    /// Whether item `i` of the output, along the first dimension, depends only on item `i` of the
    /// inputs. The engine then computes a batch item by item. `_shape` is that of the output.
    fn is_batch_independent(&self, _shape: &[usize]) -> bool {
        true
    }

    /// Whether it applies one function to each element of its only input. The shape does not matter
    /// then.
    fn is_elementwise(&self) -> bool {
        false
    }

    /// Returns this operator with an activation applied to its results, if it supports that and has
    /// none yet.
    fn with_activation(&self, _activation: Activation) -> Option<Arc<dyn Operator>> {
        None
    }

    /// Drafts the steps that compute a node with a kernel. Returns false, and drafts nothing, if
    /// there is no kernel for the node's shapes.
    fn lower<'g>(&'g self, _node: &'g Node, _lowering: &mut Lowering<'g>) -> bool {
        false
    }
}

/// The kinds of an operator's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// The first input is images. The others are weights, which all items of a batch share.
    ImagesAndParameters,
    /// All are alike; each may be images or a constant.
    Operands,
}

/// Returns the operator for a captured operation. `input` is the shape of its first input.
///
/// # Errors
///
/// When the engine lacks the operation.
pub(crate) fn operator(op: &Op, input: &[usize]) -> Result<Arc<dyn Operator>, Error> {
    Ok(match op {
        Op::Conv { window, groups } => Arc::new(conv::Conv::new(*window, *groups)),
        &Op::ConvTranspose { stride, padding, dilation, groups, .. } => {
            Arc::new(conv_transpose::ConvTranspose { stride, padding, dilation, groups })
        }
        Op::Linear => Arc::new(linear::Linear),
        Op::BatchNorm { epsilon } => Arc::new(batch_norm::BatchNorm { epsilon: *epsilon }),
        Op::Activation(function) => Arc::new(activation::Activate::of(*function)),
        &Op::LeakyRelu { negative_slope } => Arc::new(leaky_relu::LeakyRelu { negative_slope }),
        Op::Scalar(binary, number) => Arc::new(scalar::Scalar::of(*binary, *number)),
        Op::Binary(binary) => Arc::new(binary::Binary::of(*binary)),
        Op::MaxPool { window, .. } => Arc::new(pool::Pool::max(*window)),
        Op::AveragePool { window, count_include_pad, .. } => {
            Arc::new(pool::Pool::average(*window, *count_include_pad))
        }
        Op::AdaptiveAveragePool => Arc::new(adaptive_average_pool::AdaptiveAveragePool),
        Op::Reshape => Arc::new(reshape::Reshape),
        Op::Transpose { axes } => Arc::new(transpose::Transpose { axes: axes.clone() }),
        Op::Slice(ranges) => Arc::new(slice::Slice::of_ranges(ranges, input)?),
        Op::Pad { padding, fill } => Arc::new(slice::Slice::of_padding(padding, *fill)),
        Op::Concat { axis } => Arc::new(concat::Concat { axis: *axis }),
        Op::Resize { align_corners } => Arc::new(resize::Resize { align_corners: *align_corners }),
        Op::Equals(number) => Arc::new(equals::Equals(*number)),
        Op::MaskFill(number) => Arc::new(mask_fill::MaskFill(*number)),
        Op::Full(number) => Arc::new(full::Full(*number)),
        _ => return Err(Error::unsupported(op.name())),
    })
}
