use std::collections::{BTreeMap, HashMap, HashSet};

use burn::backend::capture::CapturedGraph;
use burn::backend::ir::{OperationIr, TensorId};
use burn::tensor::TensorData;

/// What a network computes, as Burn's capture device recorded it.
#[derive(Debug)]
pub struct Capture {
    /// What leads from the images and the parameters to the logits, in order.
    pub operations: Vec<OperationIr>,
    /// The images.
    pub images: TensorId,
    /// The logits.
    pub logits: TensorId,
    /// The paths of the parameters, by their tensors.
    pub parameters: HashMap<TensorId, String>,
    /// Tensors with values that are no parameters.
    pub constants: BTreeMap<TensorId, TensorData>,
}

impl Capture {
    /// Takes the forward pass out of a recording, whose output are the logits.
    ///
    /// What else was recorded, such as how parameters were drawn, is left out.
    ///
    /// # Panics
    ///
    /// When the recording has no output.
    pub fn new(
        recorded: CapturedGraph,
        images: TensorId,
        parameters: HashMap<TensorId, String>,
    ) -> Self {
        let logits = recorded.graph.outputs[0];
        let mut needed = HashSet::from([logits]);
        let mut operations = Vec::new();
        for operation in recorded.graph.operations.into_iter().rev() {
            let is_needed = operation.outputs().any(|output| {
                needed.contains(&output.id)
                    && output.id != images
                    && !parameters.contains_key(&output.id)
            });
            if is_needed && !matches!(operation, OperationIr::Init(_)) {
                needed.extend(operation.inputs().map(|input| input.id));
                operations.push(operation);
            }
        }
        operations.reverse();
        Self { operations, images, logits, parameters, constants: recorded.values }
    }
}
