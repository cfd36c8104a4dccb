//! The layers of a network, read off its own computation.

use std::collections::HashMap;

use burn::backend::ir::{
    BaseOperationIr, FloatOperationIr, ModuleOperationIr, OperationIr, ScalarIr, TensorId, TensorIr,
};

use super::layers::{Flow, Form, Kind, Layers, Place, Tracer};
use crate::Capture;

impl Layers<Place> {
    /// The layers of a network that was captured.
    pub(super) fn of(capture: &Capture) -> Self {
        let mut uses: HashMap<TensorId, usize> = HashMap::new();
        for input in capture.operations.iter().flat_map(OperationIr::inputs) {
            *uses.entry(input.id).or_default() += 1;
        }
        let mut tracer = Tracer::new();
        tracer.image(capture.images, None);
        let mut paths: HashMap<TensorId, &str> =
            capture.parameters.iter().map(|(&id, path)| (id, path.as_str())).collect();
        for operation in &capture.operations {
            note(&mut tracer, operation, &mut paths, &uses);
        }
        tracer.finish(&capture.logits)
    }
}

/// Notes one operation.
fn note(
    tracer: &mut Tracer<TensorId, Place>,
    operation: &OperationIr,
    paths: &mut HashMap<TensorId, &str>,
    uses: &HashMap<TensorId, usize>,
) {
    let mut layer = |input: &TensorIr, weight: &TensorIr, out: &TensorIr, form: Form| {
        let path = paths.get(&weight.id);
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
            if paths.contains_key(&matmul.rhs.id) =>
        {
            let shape = matmul.rhs.shape.to_vec();
            if let [.., inputs, outputs] = shape[..] {
                let form = Form::dense(outputs, inputs);
                return layer(&matmul.lhs, &matmul.rhs, &matmul.out, form);
            }
        }
        OperationIr::Module(ModuleOperationIr::BatchNorm(norm)) => {
            let Some(path) = paths.get(&norm.gamma.id) else {
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
            rename(paths, reshape.input.id, reshape.out.id);
        }
        OperationIr::BaseFloat(BaseOperationIr::SwapDims(swap)) => {
            rename(paths, swap.input.id, swap.out.id);
        }
        OperationIr::BaseFloat(BaseOperationIr::Permute(permute)) => {
            rename(paths, permute.input.id, permute.out.id);
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

/// Another view of a parameter is the parameter still.
fn rename(paths: &mut HashMap<TensorId, &str>, from: TensorId, to: TensorId) {
    if let Some(path) = paths.get(&from).copied() {
        paths.insert(to, path);
    }
}
