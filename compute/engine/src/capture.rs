//! From a Burn model to a [`Graph`], through Burn's capture device.
//!
//! The device records what a forward pass does instead of doing it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::backend::Capture as CaptureBackend;
use burn::backend::ir::{
    ActivationOperationIr as Act, BaseOperationIr as Base, BinaryOpIr, FloatOperationIr as Float,
    InterpolateModeIr, ModuleOperationIr as Layer, NumericOperationIr as Numeric, OperationIr,
    PadModeIr, ScalarOpIr, TensorId, TensorIr, UnaryOpIr,
};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use zoo_graph::Outputs;

use crate::Error;
use crate::graph::{Activation, Binary, Graph, Node, Op, PoolKind, Value, ValueId, Window};

fn id<const D: usize>(tensor: &Tensor<D>) -> TensorId {
    let tensor = tensor.clone().try_into_primitive::<CaptureBackend>();
    tensor.expect("the tensor is on the capture device").id()
}

/// Records what a model does with images of a shape.
pub(crate) fn capture<M: Module, O: Outputs>(
    model: &M,
    shape: [usize; 4],
    forward: impl FnOnce(&M, Tensor<4>) -> O,
) -> Result<Graph, Error> {
    let device = Device::capture();
    let mut images = None;
    let mut outputs = Vec::new();
    let mut parameters = Parameters { device: &device, values: HashMap::new() };
    let recorded = device.capture_scope(|scope| {
        // `valid` makes copies of BatchNorm's statistics, which clones would share, so that
        // mapping them leaves the model itself as it is.
        let model = model.valid().map(&mut parameters).to_device(&device);
        let input = Tensor::<4>::zeros(shape, &device);
        images = Some(id(&input));
        outputs = forward(&model, input).ids();
        let mut unique = outputs.clone();
        unique.dedup();
        scope.complete([], unique)
    });
    let recorded = recorded.map_err(|error| Error::Capture { reason: error.to_string() })?;
    let images = images.expect("the scope ran");

    let mut constants = parameters.values;
    for (id, data) in recorded.values {
        let shape = data.shape().to_vec();
        constants.insert(id, Constant { shape, numbers: Numbers::Data(data) });
    }
    let mut translation = Translation { constants, ..Translation::default() };
    translation.graph.input = translation.graph.value(shape);
    translation.values.insert(images, translation.graph.input);
    let is_given = |id| id == images || translation.constants.contains_key(&id);
    for operation in needed(recorded.graph.operations, &outputs, is_given) {
        translation.operation(&operation)?;
    }
    translation.graph.outputs = outputs
        .iter()
        .map(|output| translation.values.get(output).copied())
        .collect::<Option<_>>()
        .ok_or_else(|| Error::Capture { reason: "an output comes from nowhere".to_owned() })?;
    Ok(translation.graph)
}

/// Keeps the values of a model's parameters; what is recorded needs only their shapes.
struct Parameters<'d> {
    device: &'d Device,
    values: HashMap<TensorId, Constant>,
}

struct Constant {
    shape: Vec<usize>,
    numbers: Numbers,
}

enum Numbers {
    Data(TensorData),
    /// Those of a tensor that somebody else has too.
    #[cfg(feature = "flex")]
    Shared(burn::backend::flex::FlexTensor),
}

impl Numbers {
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        #[cfg(feature = "flex")]
        if tensor.dtype() == burn::tensor::DType::F32
            && let Ok(tensor) = tensor.clone().try_into_primitive::<burn::backend::Flex>()
        {
            return Self::Shared(tensor);
        }
        Self::Data(tensor.into_data())
    }

    fn into_vec(self) -> Result<Vec<f32>, Error> {
        let data = match self {
            Self::Data(data) => data,
            // Copied once. On its way through `TensorData` a shared tensor is copied three times.
            #[cfg(feature = "flex")]
            Self::Shared(tensor) => match tensor.as_slice::<f32>() {
                Some(numbers) => return Ok(numbers.to_vec()),
                None => tensor.into_data(),
            },
        };
        let numbers = data.convert::<f32>().try_into_vec::<f32>();
        numbers.map_err(|error| Error::Capture { reason: format!("{error:?}") })
    }
}

impl ModuleMapper for Parameters<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|tensor| {
            let stand_in = Tensor::empty(tensor.shape(), self.device);
            let constant =
                Constant { shape: tensor.shape().to_vec(), numbers: Numbers::of(tensor) };
            self.values.insert(id(&stand_in), constant);
            stand_in
        })
    }
}

/// The operations that lead from what is given to the outputs.
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

#[derive(Default)]
struct Translation {
    graph: Graph,
    values: HashMap<TensorId, ValueId>,
    constants: HashMap<TensorId, Constant>,
}

impl Translation {
    fn operation(&mut self, operation: &OperationIr) -> Result<(), Error> {
        use OperationIr::{Activation as Act1, BaseBool, BaseFloat, Module, NumericFloat};
        match operation {
            NumericFloat(_, Numeric::Add(op)) => self.binary(Binary::Add, op),
            NumericFloat(_, Numeric::Sub(op)) => self.binary(Binary::Sub, op),
            NumericFloat(_, Numeric::Mul(op)) => self.binary(Binary::Mul, op),
            NumericFloat(_, Numeric::Div(op)) => self.binary(Binary::Div, op),
            NumericFloat(_, Numeric::AddScalar(op)) => self.scalar(op, |s| (1.0, s)),
            NumericFloat(_, Numeric::SubScalar(op)) => self.scalar(op, |s| (1.0, -s)),
            NumericFloat(_, Numeric::MulScalar(op)) => self.scalar(op, |s| (s, 0.0)),
            NumericFloat(_, Numeric::DivScalar(op)) => self.scalar(op, |s| (1.0 / s, 0.0)),
            NumericFloat(_, Numeric::Clamp(op)) => {
                let clamp = Activation::Clamp { low: op.min.elem(), high: op.max.elem() };
                self.node(Op::Activation(clamp), &[&op.tensor], &op.out)
            }
            NumericFloat(_, Numeric::ClampMin(op)) => {
                let clamp = Activation::Clamp { low: op.rhs.elem(), high: f32::INFINITY };
                self.node(Op::Activation(clamp), &[&op.lhs], &op.out)
            }
            NumericFloat(_, Numeric::ClampMax(op)) => {
                let clamp = Activation::Clamp { low: f32::NEG_INFINITY, high: op.rhs.elem() };
                self.node(Op::Activation(clamp), &[&op.lhs], &op.out)
            }
            NumericFloat(_, Numeric::Full(op)) => self.filled(op.value.elem(), &op.out),
            NumericFloat(_, Numeric::Pad(op)) => {
                let PadModeIr::Constant(fill) = op.mode else {
                    return Err(unsupported(operation));
                };
                let start = op.padding.iter().map(|pair| -(pair.0 as isize)).collect();
                let step = vec![1; op.padding.len()];
                self.node(Op::Slice { start, step, fill: fill.elem() }, &[&op.input], &op.out)
            }
            OperationIr::Float(_, Float::Tanh(op)) => self.activation(Activation::Tanh, op),
            Act1(Act::Relu(op)) => self.activation(Activation::RELU, op),
            Act1(Act::Sigmoid(op)) => self.activation(Activation::Sigmoid, op),
            Act1(Act::HardSigmoid(op)) => {
                let (slope, offset) = (op.alpha.elem(), op.beta.elem());
                let hard = Op::Activation(Activation::HardSigmoid { slope, offset });
                self.node(hard, &[&op.tensor], &op.out)
            }
            OperationIr::Float(_, Float::Matmul(op)) if op.rhs.shape.num_dims() == 2 => {
                self.node(Op::Linear, &[&op.lhs, &op.rhs], &op.out)
            }
            Module(Layer::Linear(op)) => {
                let inputs: Vec<_> = [&op.x, &op.weight].into_iter().chain(&op.bias).collect();
                self.node(Op::Linear, &inputs, &op.out)
            }
            BaseFloat(Base::Reshape(op)) => self.node(Op::Reshape, &[&op.input], &op.out),
            BaseFloat(Base::SwapDims(op)) => {
                let mut axes: Vec<usize> = (0..op.input.shape.num_dims()).collect();
                axes.swap(op.dim1, op.dim2);
                self.node(Op::Transpose { axes }, &[&op.input], &op.out)
            }
            BaseFloat(Base::Permute(op)) => {
                let transpose = Op::Transpose { axes: op.axes.clone() };
                self.node(transpose, &[&op.input], &op.out)
            }
            BaseFloat(Base::Slice(op)) => {
                let mut start = vec![0; op.tensor.shape.num_dims()];
                let mut step = vec![1; start.len()];
                for (axis, range) in op.ranges.iter().enumerate() {
                    if range.step < 1 || range.start < 0 {
                        return Err(unsupported(operation));
                    }
                    start[axis] = range.start;
                    step[axis] = range.step;
                }
                self.node(Op::Slice { start, step, fill: 0.0 }, &[&op.tensor], &op.out)
            }
            BaseFloat(Base::Cat(op)) => {
                let inputs: Vec<_> = op.tensors.iter().collect();
                self.node(Op::Concat { axis: op.dim }, &inputs, &op.out)
            }
            BaseFloat(Base::Zeros(op)) => self.filled(0.0, &op.out),
            BaseFloat(Base::Ones(op)) => self.filled(1.0, &op.out),
            BaseFloat(Base::EqualElem(op)) => {
                self.node(Op::Equals(op.rhs.elem()), &[&op.lhs], &op.out)
            }
            BaseFloat(Base::MaskFill(op)) => {
                self.node(Op::Fill(op.value.elem()), &[&op.tensor, &op.mask], &op.out)
            }
            BaseBool(Base::Reshape(op)) => self.node(Op::Reshape, &[&op.input], &op.out),
            Module(layer) => self.layer(layer, operation),
            _ => Err(unsupported(operation)),
        }
    }

    fn layer(&mut self, layer: &Layer, operation: &OperationIr) -> Result<(), Error> {
        match layer {
            Layer::Conv2d(op) => {
                let [top, left] = op.options.padding;
                let window = Window {
                    kernel: [op.weight.shape[2], op.weight.shape[3]],
                    stride: op.options.stride,
                    dilation: op.options.dilation,
                    before: [top.0, left.0],
                    after: [top.1, left.1],
                };
                let conv = Op::Conv {
                    window,
                    groups: op.options.groups,
                    out_last: false,
                    residual: false,
                    activation: Activation::Identity,
                };
                self.with_bias(conv, &op.x, &op.weight, op.bias.as_ref(), &op.out)
            }
            Layer::ConvTranspose2d(op) => {
                let conv = Op::ConvTranspose {
                    stride: op.options.stride,
                    padding: op.options.padding,
                    dilation: op.options.dilation,
                    groups: op.options.groups,
                };
                self.with_bias(conv, &op.x, &op.weight, op.bias.as_ref(), &op.out)
            }
            Layer::BatchNorm(op) => {
                let [gamma, beta, mean, variance] = [&op.gamma, &op.beta, &op.mean, &op.variance]
                    .map(|tensor| {
                        let value = self.read(tensor)?;
                        self.graph
                            .data(value)
                            .map(<[f32]>::to_vec)
                            .ok_or_else(|| Error::unsupported("BatchNorm with computed parameters"))
                    });
                let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
                let epsilon: f64 = op.epsilon.elem();
                let scale: Vec<f32> = gamma
                    .iter()
                    .zip(&variance)
                    .map(|(&gamma, &variance)| {
                        (f64::from(gamma) / (f64::from(variance) + epsilon).sqrt()) as f32
                    })
                    .collect();
                let offset = beta
                    .iter()
                    .zip(mean.iter().zip(&scale))
                    .map(|(beta, (mean, scale))| beta - mean * scale)
                    .collect();
                let channels = scale.len();
                let inputs = vec![
                    self.read(&op.x)?,
                    self.graph.constant([channels], scale),
                    self.graph.constant([channels], offset),
                ];
                self.push(Op::Affine { activation: Activation::Identity }, inputs, &op.out);
                Ok(())
            }
            Layer::MaxPool2d(op) => {
                let window = pool_window(op.kernel_size, op.stride, op.dilation, op.padding);
                self.node(Op::Pool { kind: PoolKind::Max, window }, &[&op.x], &op.out)
            }
            Layer::AvgPool2d(op) => {
                let window = pool_window(op.kernel_size, op.stride, [1, 1], op.padding);
                let kind = match op.count_include_pad {
                    true => PoolKind::PaddedAverage,
                    false => PoolKind::Average,
                };
                self.node(Op::Pool { kind, window }, &[&op.x], &op.out)
            }
            Layer::AdaptiveAvgPool2d(op) => self.node(Op::AdaptiveAverage, &[&op.x], &op.out),
            Layer::Interpolate(op) if op.options.mode == InterpolateModeIr::Bilinear => {
                let resize = Op::Resize { align_corners: op.options.align_corners };
                self.node(resize, &[&op.x], &op.out)
            }
            _ => Err(unsupported(operation)),
        }
    }

    fn activation(&mut self, activation: Activation, op: &UnaryOpIr) -> Result<(), Error> {
        self.node(Op::Activation(activation), &[&op.input], &op.out)
    }

    fn binary(&mut self, binary: Binary, op: &BinaryOpIr) -> Result<(), Error> {
        let binary = Op::Binary { op: binary, activation: Activation::Identity };
        self.node(binary, &[&op.lhs, &op.rhs], &op.out)
    }

    fn scalar(&mut self, op: &ScalarOpIr, of: impl Fn(f32) -> (f32, f32)) -> Result<(), Error> {
        let (scale, offset) = of(op.rhs.elem());
        self.node(Op::Scalar { scale, offset }, &[&op.lhs], &op.out)
    }

    /// Every convolution has a bias here, so that the passes need not care.
    fn with_bias(
        &mut self,
        op: Op,
        x: &TensorIr,
        weight: &TensorIr,
        bias: Option<&TensorIr>,
        out: &TensorIr,
    ) -> Result<(), Error> {
        let channels = out.shape[1];
        let inputs = vec![
            self.read(x)?,
            self.read(weight)?,
            match bias {
                Some(bias) => self.read(bias)?,
                None => self.graph.constant([channels], vec![0.0; channels]),
            },
        ];
        self.push(op, inputs, out);
        Ok(())
    }

    fn filled(&mut self, value: f32, out: &TensorIr) -> Result<(), Error> {
        let data = vec![value; out.shape.iter().product()];
        let value = self.graph.constant(out.shape.to_vec(), data);
        self.values.insert(out.id, value);
        Ok(())
    }

    fn node(&mut self, op: Op, inputs: &[&TensorIr], out: &TensorIr) -> Result<(), Error> {
        let inputs = inputs.iter().map(|input| self.read(input)).collect::<Result<_, _>>()?;
        self.push(op, inputs, out);
        Ok(())
    }

    fn push(&mut self, op: Op, inputs: Vec<ValueId>, out: &TensorIr) {
        let output = self.graph.value(out.shape.to_vec());
        self.values.insert(out.id, output);
        self.graph.nodes.push(Node { op, inputs, output });
    }

    /// The value of a tensor that an operation reads.
    fn read(&mut self, tensor: &TensorIr) -> Result<ValueId, Error> {
        if let Some(&value) = self.values.get(&tensor.id) {
            return Ok(value);
        }
        let Constant { shape, numbers } = self
            .constants
            .remove(&tensor.id)
            .ok_or_else(|| Error::Capture { reason: "a tensor comes from nowhere".to_owned() })?;
        let constant = Some(Arc::new(numbers.into_vec()?));
        self.graph.values.push(Value { shape, constant });
        let value = self.graph.values.len() - 1;
        self.values.insert(tensor.id, value);
        Ok(value)
    }
}

fn pool_window(
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 2],
) -> Window {
    Window { kernel, stride, dilation, before: padding, after: padding }
}

/// Names the operation: the first words of how it prints.
fn unsupported(operation: &OperationIr) -> Error {
    let text = format!("{operation:?}");
    let words = text.split(|c: char| !c.is_alphanumeric()).take_while(|word| !word.ends_with("Ir"));
    Error::unsupported(words.last().unwrap_or_default())
}
