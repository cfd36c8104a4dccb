//! A computation as a list of operators, which the [passes](crate::passes) change.

use std::sync::Arc;

use crate::Error;
use crate::ops::{Operator, operator};

/// Index of a value in [`Graph::values`].
pub(crate) type ValueId = usize;

/// A tensor of a computation.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    /// Row-major numbers, if they are known before the computation starts.
    pub(crate) constant: Option<Arc<Vec<f32>>>,
}

/// An operator with its inputs and its output.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) op: Arc<dyn Operator>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
}

/// A computation: nodes in topological order, and their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) input: ValueId,
    pub(crate) outputs: Vec<ValueId>,
}

impl Graph {
    /// Converts a captured graph, with the values of its weights.
    ///
    /// # Errors
    ///
    /// When it has an operation without an operator.
    pub(crate) fn of(recorded: zoo_graph::Graph) -> Result<Self, Error> {
        let zoo_graph::Graph { values, nodes, input, outputs } = recorded;
        let values = values.into_iter().map(|value| {
            let constant = value.constant.map(|constant| constant.to_vec()).transpose()?;
            Ok(Value { shape: value.shape, constant: constant.map(Arc::new) })
        });
        let values: Vec<Value> = values.collect::<Result<_, Error>>()?;
        let nodes = nodes.into_iter().map(|node| {
            let first = node.inputs.first().map(|&input| values[input].shape.as_slice());
            let op = operator(&node.op, first.unwrap_or_default())?;
            Ok(Node { op, inputs: node.inputs, output: node.output })
        });
        let nodes = nodes.collect::<Result<_, Error>>()?;
        Ok(Self { values, nodes, input, outputs })
    }

    /// Computes the outputs with [`Operator::evaluate`].
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
            made[node.output] = Some(node.op.evaluate(&inputs, self.shape(node.output)));
        }
        let output = |&value: &ValueId| made[value].clone().expect("outputs are made");
        self.outputs.iter().map(output).collect()
    }

    /// Adds a node and its output.
    pub(crate) fn node(
        &mut self,
        op: impl Operator,
        inputs: impl Into<Vec<ValueId>>,
        shape: impl Into<Vec<usize>>,
    ) -> ValueId {
        let output = self.value(shape);
        self.nodes.push(Node { op: Arc::new(op), inputs: inputs.into(), output });
        output
    }

    /// Adds a value that a node will compute.
    pub(crate) fn value(&mut self, shape: impl Into<Vec<usize>>) -> ValueId {
        self.values.push(Value { shape: shape.into(), constant: None });
        self.values.len() - 1
    }

    /// Adds a constant.
    pub(crate) fn constant(&mut self, shape: impl Into<Vec<usize>>, data: Vec<f32>) -> ValueId {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), data.len());
        self.values.push(Value { shape, constant: Some(Arc::new(data)) });
        self.values.len() - 1
    }

    pub(crate) fn shape(&self, value: ValueId) -> &[usize] {
        &self.values[value].shape
    }

    /// Returns a value's shape if it has 4 dimensions, as images have.
    pub(crate) fn shape4(&self, value: ValueId) -> Option<[usize; 4]> {
        self.values[value].shape.as_slice().try_into().ok()
    }

    pub(crate) fn data(&self, value: ValueId) -> Option<&[f32]> {
        self.values[value].constant.as_ref().map(|data| data.as_slice())
    }

    /// Returns how often each value is read; an output counts as a read.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        for &value in self.nodes.iter().flat_map(|node| &node.inputs).chain(&self.outputs) {
            uses[value] += 1;
        }
        uses
    }

    /// Returns the index of the node that computes each value.
    pub(crate) fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            producers[node.output] = Some(index);
        }
        producers
    }

    /// Replaces a value by another one in all inputs and outputs.
    pub(crate) fn redirect(&mut self, from: ValueId, to: ValueId) {
        let inputs = self.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        for value in inputs.chain(&mut self.outputs).filter(|value| **value == from) {
            *value = to;
        }
    }
}

impl Node {
    /// Returns the operator, if it has this type.
    pub(crate) fn op_as<O: Operator>(&self) -> Option<&O> {
        (&*self.op as &dyn std::any::Any).downcast_ref()
    }
}
