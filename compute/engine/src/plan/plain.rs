//! A step without a kernel.

use std::ops::Range;
use std::sync::Arc;

use super::buffers::{Images, Location};
use super::draft::{Placed, Work};
use crate::graph::{Graph, Node};
use crate::memory::Arena;
use crate::ops::Operator;
use crate::threads::Member;

/// Row-major tensors that an operator computes as it is defined, on one thread.
#[derive(Debug)]
pub(super) struct Plain {
    op: Arc<dyn Operator>,
    inputs: Vec<Input>,
    output: Location,
}

#[derive(Debug)]
enum Input {
    Made(Location),
    Known(Vec<usize>, Arc<Vec<f32>>),
}

impl Plain {
    /// A node's step; the draft's inputs are those of the node that are not known.
    pub(super) fn new(graph: &Graph, node: &Node, placed: &Placed<'_>) -> Self {
        let mut made = 0..;
        let inputs = node.inputs.iter().map(|&value| match &graph.values[value].constant {
            Some(constant) => Input::Known(graph.shape(value).to_vec(), constant.clone()),
            None => Input::Made(placed.input_location(made.next().expect("it has no end"))),
        });
        let (inputs, output) = (inputs.collect(), placed.output_location());
        Self { op: node.op.clone(), inputs, output }
    }
}

impl Work for Plain {
    fn cleared(&self) -> Option<Images> {
        None
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        if member.index != 0 {
            return;
        }
        for item in items.clone() {
            let inputs = self.inputs.iter().map(|input| match input {
                Input::Made(location) => {
                    let start = arena.at(location.at(item));
                    // SAFETY: the buffer has this length, and nobody writes it now.
                    let values = unsafe { std::slice::from_raw_parts(start, location.len()) };
                    (location.shape.as_slice(), values)
                }
                Input::Known(shape, constant) => (shape.as_slice(), constant.as_slice()),
            });
            let inputs: Vec<_> = inputs.collect();
            let values = self.op.evaluate(&inputs, &self.output.shape);
            let output = arena.at(self.output.at(item));
            // SAFETY: the buffer has this length, and no other thread has it.
            unsafe { output.copy_from_nonoverlapping(values.as_ptr(), values.len()) }
        }
    }
}
