//! Converts a recording of Burn's capture device to a graph.

use std::collections::{HashMap, HashSet};

use burn::backend::Capture as CaptureBackend;
use burn::backend::ir::{OperationIr, TensorId, TensorIr};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::op::Recorded;
use crate::{Constant, Error, Graph, Node, Value, ValueId};

/// The outputs of a forward pass: a tensor, a pair or a list.
pub trait Outputs {
    /// Their identifiers in the recording.
    #[doc(hidden)]
    fn ids(&self) -> Vec<TensorId>;

    /// Their values, in single precision, if the forward pass was not recorded.
    #[doc(hidden)]
    fn data(&self) -> Vec<TensorData>;
}

impl<const D: usize> Outputs for Tensor<D> {
    fn ids(&self) -> Vec<TensorId> {
        vec![id(self)]
    }

    fn data(&self) -> Vec<TensorData> {
        vec![self.to_data().convert::<f32>()]
    }
}

impl<A: Outputs, B: Outputs> Outputs for (A, B) {
    fn ids(&self) -> Vec<TensorId> {
        [self.0.ids(), self.1.ids()].concat()
    }

    fn data(&self) -> Vec<TensorData> {
        [self.0.data(), self.1.data()].concat()
    }
}

impl<O: Outputs> Outputs for Vec<O> {
    fn ids(&self) -> Vec<TensorId> {
        self.iter().flat_map(Outputs::ids).collect()
    }

    fn data(&self) -> Vec<TensorData> {
        self.iter().flat_map(Outputs::data).collect()
    }
}

/// For models whose outputs have different ranks.
impl<O: Outputs + ?Sized> Outputs for Box<O> {
    fn ids(&self) -> Vec<TensorId> {
        (**self).ids()
    }

    fn data(&self) -> Vec<TensorData> {
        (**self).data()
    }
}

fn id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    let tensor = tensor.clone().try_into_primitive::<CaptureBackend>();
    tensor.expect("the tensor is on the capture device").id()
}

impl Graph {
    /// Records the forward pass of a model on images of shape `[N, C, H, W]`. The graph has the
    /// values of the parameters.
    ///
    /// The model is in inference mode: dropout is the identity, and BatchNorm uses its running
    /// statistics.
    ///
    /// # Errors
    ///
    /// When Burn can't record the forward pass.
    ///
    /// # Panics
    ///
    /// When the forward pass panics, as it does for images that are too small.
    pub fn of_model<M: Module, O: Outputs>(
        model: &M,
        shape: [usize; 4],
        forward: impl FnOnce(&M, Tensor<4>) -> O,
    ) -> Result<Self, Error> {
        record(shape, |device| {
            let mut parameters = StandIns { device, path: Vec::new(), found: HashMap::new() };
            // A clone would share BatchNorm's statistics with the model. `valid` copies them, so
            // mapping them does not change the model.
            let model = model.valid().map(&mut parameters).to_device(device);
            let images = Tensor::<4>::zeros(shape, device);
            let input = id(&images);
            Pass { input, outputs: forward(&model, images).ids(), parameters: parameters.found }
        })
    }

    /// Builds a model on the capture device and records its forward pass on images of shape
    /// `[N, C, H, W]`. Neither the graph nor the model has values, only names and shapes.
    ///
    /// # Errors
    ///
    /// When Burn can't record the forward pass.
    ///
    /// # Panics
    ///
    /// When `build` or the forward pass panics, as it does for images that are too small.
    pub fn of_shapes<M: Module, O: Outputs>(
        build: impl FnOnce(&Device) -> M,
        shape: [usize; 4],
        forward: impl FnOnce(&M, Tensor<4>) -> O,
    ) -> Result<(M, Self), Error> {
        let mut built = None;
        let graph = record(shape, |device| {
            let model = build(device);
            let mut parameters = Paths::default();
            model.visit(&mut parameters);
            let images = Tensor::<4>::zeros(shape, device);
            let input = id(&images);
            let outputs = forward(&model, images).ids();
            built = Some(model);
            Pass { input, outputs, parameters: parameters.found }
        })?;
        Ok((built.expect("the pass was recorded"), graph))
    }
}

/// The tensors of a recorded forward pass.
struct Pass {
    input: TensorId,
    outputs: Vec<TensorId>,
    parameters: HashMap<TensorId, Value>,
}

/// Records a forward pass and converts it to a graph.
///
/// Other recorded operations, such as the initialization of parameters, are left out.
fn record(shape: [usize; 4], run: impl FnOnce(&Device) -> Pass) -> Result<Graph, Error> {
    let device = Device::capture();
    let mut pass = None;
    let recorded = device.capture_scope(|scope| {
        let pass = pass.insert(run(&device));
        let mut unique = pass.outputs.clone();
        unique.dedup();
        scope.complete([], unique)
    });
    let recorded = recorded.map_err(|error| Error::new(error.to_string()))?;
    let Pass { input, outputs, parameters: mut given } = pass.expect("the scope ran");
    for (id, data) in recorded.values {
        let shape = data.shape().to_vec();
        let constant = Some(Constant::of_data(data));
        given.insert(id, Value { shape, parameter: None, constant });
    }

    let is_given = |id| id == input || given.contains_key(&id);
    let operations = needed(recorded.graph.operations, &outputs, is_given);
    let mut builder = Builder { values: Vec::new(), nodes: Vec::new(), ids: HashMap::new(), given };
    let input =
        builder.add(input, Value { shape: shape.to_vec(), parameter: None, constant: None });
    for operation in &operations {
        builder.operation(operation)?;
    }
    let outputs = outputs.iter().map(|output| builder.ids.get(output).copied());
    let outputs = outputs
        .collect::<Option<_>>()
        .ok_or_else(|| Error::new("an output does not depend on anything"))?;
    Ok(Graph { values: builder.values, nodes: builder.nodes, input, outputs })
}

/// Returns the operations between the given tensors and the outputs.
fn needed(
    operations: Vec<OperationIr>,
    outputs: &[TensorId],
    is_given: impl Fn(TensorId) -> bool,
) -> Vec<OperationIr> {
    let mut wanted: HashSet<TensorId> = outputs.iter().copied().collect();
    let mut needed = Vec::new();
    for operation in operations.into_iter().rev() {
        let is_wanted =
            operation.outputs().any(|output| wanted.contains(&output.id) && !is_given(output.id));
        if is_wanted && !matches!(operation, OperationIr::Init(_)) {
            wanted.extend(operation.inputs().map(|input| input.id));
            needed.push(operation);
        }
    }
    needed.reverse();
    needed
}

struct Builder {
    values: Vec<Value>,
    nodes: Vec<Node>,
    ids: HashMap<TensorId, ValueId>,
    /// The parameters and constants that no operation has read yet.
    given: HashMap<TensorId, Value>,
}

impl Builder {
    fn operation(&mut self, operation: &OperationIr) -> Result<(), Error> {
        let Recorded { op, inputs, outputs } = Recorded::of(operation);
        let inputs: Vec<ValueId> =
            inputs.into_iter().map(|tensor| self.read(tensor)).collect::<Result<_, _>>()?;
        for tensor in outputs {
            let value = Value { shape: tensor.shape.to_vec(), parameter: None, constant: None };
            let output = self.add(tensor.id, value);
            self.nodes.push(Node { op: op.clone(), inputs: inputs.clone(), output });
        }
        Ok(())
    }

    fn add(&mut self, id: TensorId, value: Value) -> ValueId {
        self.values.push(value);
        self.ids.insert(id, self.values.len() - 1);
        self.values.len() - 1
    }

    /// Returns the value of a tensor that an operation reads.
    fn read(&mut self, tensor: &TensorIr) -> Result<ValueId, Error> {
        if let Some(&value) = self.ids.get(&tensor.id) {
            return Ok(value);
        }
        let value = self.given.remove(&tensor.id);
        let value = value.ok_or_else(|| Error::new("an operation reads an unknown tensor"))?;
        Ok(self.add(tensor.id, value))
    }
}

/// Replaces a model's parameters by tensors of the capture device, and keeps their values.
struct StandIns<'d> {
    device: &'d Device,
    path: Vec<String>,
    found: HashMap<TensorId, Value>,
}

impl ModuleMapper for StandIns<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|tensor| {
            let stand_in = Tensor::empty(tensor.shape(), self.device);
            let value = Value {
                shape: tensor.shape().to_vec(),
                parameter: Some(self.path.join(".")),
                constant: Some(Constant::of_tensor(tensor)),
            };
            self.found.insert(id(&stand_in), value);
            stand_in
        })
    }
}

/// Finds the parameters of a model that is on the capture device.
#[derive(Default)]
struct Paths {
    path: Vec<String>,
    found: HashMap<TensorId, Value>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let tensor = parameter.val();
        let value = Value {
            shape: tensor.shape().to_vec(),
            parameter: Some(self.path.join(".")),
            constant: None,
        };
        self.found.insert(id(&tensor), value);
    }
}
