//! The layers of a network, read off its own computation.

use std::collections::HashMap;

use burn::backend::Capture;
use burn::backend::ir::{
    BaseOperationIr, FloatOperationIr, ModuleOperationIr, OperationIr, ScalarIr, TensorId, TensorIr,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use zoo_core::root_prefix;

use super::layers::{Flow, Form, Kind, Layers, Place, Tracer};

/// Runs a network on Burn's capture device, which computes nothing, and notes its layers.
///
/// `shape` is that of the images; `forward` gives the logits in a row.
///
/// Returns nothing where the network can't be captured.
///
/// # Panics
///
/// When the network can't take images of the shape.
pub fn capture<M: Module>(
    shape: [usize; 4],
    init: impl FnOnce(&Device) -> M,
    forward: impl FnOnce(&M, Tensor<4>) -> Tensor<1>,
) -> Option<Layers<Place>> {
    let device = Device::capture();
    let mut paths = Paths::default();
    let mut images = None;
    let mut model = None;
    let captured = device.capture_scope(|scope| {
        let model = model.insert(init(&device));
        paths.root = root_prefix(model).matches('.').count();
        model.visit(&mut paths);
        let zeros = Tensor::zeros(shape, &device);
        images = Some(id(&zeros));
        let logits = forward(model, zeros);
        scope.complete([], [id(&logits)])
    });
    let graph = captured.ok()?.graph;

    let mut uses: HashMap<TensorId, usize> = HashMap::new();
    let is_work = |operation: &&OperationIr| !matches!(operation, OperationIr::Drop(_));
    for operation in graph.operations.iter().filter(is_work) {
        for input in operation.inputs() {
            *uses.entry(input.id).or_default() += 1;
        }
    }
    let mut tracer = Tracer::new();
    tracer.image(images?, Some(shape[1]));
    for operation in graph.operations.iter().filter(is_work) {
        note(&mut tracer, operation, &mut paths, &uses);
    }
    Some(tracer.finish(graph.outputs.first()?))
}

/// Notes one operation.
fn note(
    tracer: &mut Tracer<TensorId, Place>,
    operation: &OperationIr,
    paths: &mut Paths,
    uses: &HashMap<TensorId, usize>,
) {
    let mut layer = |input: &TensorIr, weight: &TensorIr, out: &TensorIr, form: Form| {
        let path = paths.paths.get(&weight.id);
        let path = path.and_then(|path| path.strip_suffix(".weight")).map(str::to_owned);
        let name = path.clone().unwrap_or_default();
        tracer.layer(&input.id, out.id, name, form, Place { path, norm: None });
    };
    match operation {
        OperationIr::Module(ModuleOperationIr::Conv2d(conv)) => {
            let options = &conv.options;
            let form = Form {
                kind: Kind::Conv,
                shape: conv.weight.shape.dims(),
                stride: options.stride,
                dilation: options.dilation,
                groups: options.groups,
            };
            return layer(&conv.x, &conv.weight, &conv.out, form);
        }
        OperationIr::Module(ModuleOperationIr::ConvTranspose2d(conv)) => {
            let options = &conv.options;
            let form = Form {
                kind: Kind::ConvTranspose,
                shape: conv.weight.shape.dims(),
                stride: options.stride,
                dilation: options.dilation,
                groups: options.groups,
            };
            return layer(&conv.x, &conv.weight, &conv.out, form);
        }
        OperationIr::Module(ModuleOperationIr::Linear(linear)) => {
            let [inputs, outputs] = linear.weight.shape.dims();
            let form = Form::dense(outputs, inputs);
            return layer(&linear.x, &linear.weight, &linear.out, form);
        }
        OperationIr::Float(_, FloatOperationIr::Matmul(matmul))
            if paths.paths.contains_key(&matmul.rhs.id) =>
        {
            let shape = matmul.rhs.shape.to_vec();
            if let [.., inputs, outputs] = shape[..] {
                let form = Form::dense(outputs, inputs);
                return layer(&matmul.lhs, &matmul.rhs, &matmul.out, form);
            }
        }
        OperationIr::Module(ModuleOperationIr::BatchNorm(norm)) => {
            let Some(path) = paths.paths.get(&norm.gamma.id) else {
                return;
            };
            let path = path.strip_suffix(".gamma").unwrap_or(path).to_owned();
            let epsilon = match norm.epsilon {
                ScalarIr::Float(epsilon) => epsilon,
                _ => 0.0,
            };
            let flow = tracer.flow(&norm.x.id);
            match flow.bare.filter(|_| uses.get(&norm.x.id) == Some(&1)) {
                Some(index) => {
                    tracer.layers[index].weights.norm = Some((path, epsilon));
                    tracer.set(norm.out.id, Flow { bare: None, ..flow });
                }
                None => {
                    let [channels] = norm.gamma.shape.dims();
                    let place = Place { path: None, norm: Some((path.clone(), epsilon)) };
                    tracer.layer(&norm.x.id, norm.out.id, path, Form::norm(channels), place);
                }
            }
            return;
        }
        OperationIr::BaseFloat(BaseOperationIr::Reshape(reshape)) => {
            paths.rename(reshape.input.id, reshape.out.id);
        }
        OperationIr::BaseFloat(BaseOperationIr::SwapDims(swap)) => {
            paths.rename(swap.input.id, swap.out.id);
        }
        OperationIr::BaseFloat(BaseOperationIr::Permute(permute)) => {
            paths.rename(permute.input.id, permute.out.id);
        }
        OperationIr::BaseFloat(BaseOperationIr::Cat(cat)) if cat.dim == 1 => {
            let channels = |tensor: &TensorIr| tensor.shape.to_vec().get(1).copied();
            let parts: Vec<_> =
                cat.tensors.iter().map(|tensor| (tensor.id, channels(tensor))).collect();
            return tracer.concat(&parts, cat.out.id);
        }
        OperationIr::BaseFloat(BaseOperationIr::Slice(slice)) if slice.ranges.len() == 4 => {
            let channels = slice.out.shape.to_vec()[1];
            let start = slice.ranges[1].start as i64;
            return tracer.slice(&slice.tensor.id, slice.out.id, start, Some(channels));
        }
        _ => {}
    }
    let inputs: Vec<TensorId> = operation.inputs().map(|input| input.id).collect();
    if !inputs.is_empty() {
        for output in operation.outputs() {
            tracer.pass(&inputs, output.id);
        }
    }
}

/// Which tensor of the capture is which parameter.
#[derive(Default)]
struct Paths {
    /// How many segments come before those of the network itself.
    root: usize,
    path: Vec<String>,
    paths: HashMap<TensorId, String>,
}

impl Paths {
    fn rename(&mut self, from: TensorId, to: TensorId) {
        if let Some(path) = self.paths.get(&from) {
            self.paths.insert(to, path.clone());
        }
    }
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.paths.insert(id(&param.val()), self.path[self.root..].join("."));
    }
}

fn id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    let primitive = tensor.clone().try_into_primitive::<Capture>();
    primitive.expect("the tensor is on the capture device").id()
}
