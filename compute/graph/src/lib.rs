//! # zoo-graph
//!
//! A [Burn](https://burn.dev) model's forward pass as a [`Graph`]: operations in the order of
//! computation, the shapes of all tensors, and the paths of the parameters.
//!
//! Burn's capture device records the operations of a forward pass instead of computing them. Only
//! this crate reads such a recording. There are two ways to make one:
//!
//! - [`Graph::of_model`] takes a model with weights, and the graph has their values.
//! - [`Graph::of_shapes`] builds the model on the capture device. There are no values, so even the
//!   largest networks take only milliseconds.
//!
//! ```
//! use burn::nn::conv::{Conv2d, Conv2dConfig};
//! use burn::tensor::activation::relu;
//! use zoo_graph::{Activation, Graph, Op};
//!
//! let (_conv, graph) = Graph::of_shapes(
//!     |device| Conv2dConfig::new([3, 8], [3, 3]).init(device),
//!     [1, 3, 32, 32],
//!     |conv: &Conv2d, images| relu(conv.forward(images)),
//! )?;
//! let [conv, relu] = &graph.nodes[..] else { panic!("two operations") };
//! assert_eq!(graph.values[conv.inputs[1]].parameter.as_deref(), Some("weight"));
//! assert_eq!(graph.macs(conv), 30 * 30 * 8 * 3 * 3 * 3);
//! assert_eq!(relu.op, Op::Activation(Activation::Relu));
//! assert_eq!(graph.shape(graph.outputs[0]), [1, 8, 30, 30]);
//! # Ok::<(), zoo_graph::Error>(())
//! ```
//!
//! An operation that [`Op`] has no variant for is an [`Op::Other`] with Burn's name. Each user of a
//! graph decides how to handle it.

mod capture;
mod constant;
mod op;

use std::collections::HashMap;

pub use capture::Outputs;
pub use constant::Constant;
pub use op::{Activation, Binary, Op, Window};

/// Index of a value in [`Graph::values`].
pub type ValueId = usize;

/// A model's forward pass.
#[derive(Debug)]
pub struct Graph {
    /// The tensors that the nodes read and write.
    pub values: Vec<Value>,
    /// The operations, in topological order: each comes after those that compute its inputs.
    pub nodes: Vec<Node>,
    /// The images.
    pub input: ValueId,
    /// The tensors that the forward pass returns.
    pub outputs: Vec<ValueId>,
}

/// A tensor.
#[derive(Debug)]
pub struct Value {
    /// Its size along each dimension.
    pub shape: Vec<usize>,
    /// The path of the parameter, as Burn's modules name it: `stem.conv.weight`. `None` if the
    /// tensor is not a parameter.
    pub parameter: Option<String>,
    /// Its numbers, if they are known without the images.
    pub constant: Option<Constant>,
}

/// An operation.
#[derive(Debug, Clone)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// The tensors that it reads, in the order that the [`Op`] states.
    pub inputs: Vec<ValueId>,
    /// The tensor that it computes.
    pub output: ValueId,
}

/// The error of a forward pass that can't be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model could not be captured: {reason}\nhint: check that it takes this input")]
pub struct Error {
    /// The message of Burn or of this crate.
    pub reason: String,
}

impl Error {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl Graph {
    /// Returns the shape of a value.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        &self.values[value].shape
    }

    /// Returns the path of each value that is a parameter, also of a reshaped or transposed one.
    pub fn parameters(&self) -> HashMap<ValueId, &str> {
        let own = self.values.iter().enumerate();
        let mut paths: HashMap<ValueId, &str> =
            own.filter_map(|(id, value)| Some((id, value.parameter.as_deref()?))).collect();
        for node in &self.nodes {
            if let Op::Reshape | Op::Transpose { .. } = node.op
                && let Some(&path) = paths.get(&node.inputs[0])
            {
                paths.insert(node.output, path);
            }
        }
        paths
    }

    /// Removes a prefix from the paths of all parameters, such as that of an enum around the model.
    pub fn strip_prefix(&mut self, prefix: &str) {
        for path in self.values.iter_mut().filter_map(|value| value.parameter.as_mut()) {
            if let Some(rest) = path.strip_prefix(prefix) {
                *path = rest.to_owned();
            }
        }
    }

    /// Returns the multiply-accumulates of a convolution or a matrix product, and 0 for other
    /// nodes.
    pub fn macs(&self, node: &Node) -> u64 {
        let count = |value: ValueId| self.shape(value).iter().product::<usize>() as u64;
        let size = |value: ValueId, axis: usize| self.shape(value)[axis] as u64;
        match node.op {
            Op::Conv { .. } => {
                let [weight, output] = [node.inputs[1], node.output];
                count(output) * (count(weight) / size(weight, 0))
            }
            Op::ConvTranspose { .. } => {
                let [x, weight] = [node.inputs[0], node.inputs[1]];
                count(x) * (count(weight) / size(weight, 0))
            }
            Op::Linear => count(node.output) * size(node.inputs[1], 0),
            Op::MatMul => {
                let x = node.inputs[0];
                count(node.output) * size(x, self.shape(x).len() - 1)
            }
            _ => 0,
        }
    }
}
