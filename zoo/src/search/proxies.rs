use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, FloatDType, Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use zoo_core::ImageClassifier;
use zoo_engine::Plan;
use zoo_graph::{Activation, Graph, Op};
use zoo_models::Classifier;

use super::Row;
use crate::default_threads;

/// A score of an untrained network. A network with a higher score is expected to become more accurate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proxy {
    /// Number of parameters.
    Params,
    /// Synaptic flow: the logarithm of Σ |θ · ∂R/∂θ| over all weights θ, where R is the sum of the logits of an image of ones,
    /// and all weights have their absolute values.
    ///
    /// Tanaka et al., 2020: [Pruning neural networks without any data](https://arxiv.org/abs/2006.05467); as a score of
    /// networks Abdelfattah et al., 2021: [Zero-Cost Proxies for Lightweight NAS](https://arxiv.org/abs/2101.08134).
    Synflow,
    /// The logarithm of the determinant of K, where K counts for each two images the ReLUs that are both on or both off.
    ///
    /// Mellor et al., 2021: [Neural Architecture Search without Training](https://arxiv.org/abs/2006.04647). A network without
    /// ReLU has no such patterns, so it has no score: the other activations are never off.
    Nwot,
}

impl Proxy {
    /// All proxies.
    pub const ALL: [Self; 3] = [Self::Params, Self::Synflow, Self::Nwot];

    /// The score in a candidate's row, if it has this one.
    pub fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Params => Some(row.params as f64),
            Self::Synflow => row.synflow,
            Self::Nwot => row.nwot,
        }
    }

    /// The name: `params`, `synflow` or `nwot`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Synflow => "synflow",
            Self::Nwot => "nwot",
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|proxy| proxy.name() == text);
        found.ok_or_else(|| format!("not a proxy ({})", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Returns the score [`Proxy::Synflow`] of a network for images `[1, C, H, W]`.
pub(super) fn synflow(network: &Classifier, shape: [usize; 4], device: &Device) -> f64 {
    // The sums of a deep network exceed single precision.
    [FloatDType::F32, FloatDType::F64]
        .into_iter()
        .map(|precision| flow(network, shape, device, precision).ln())
        .find(|flow| flow.is_finite())
        .unwrap_or(f64::INFINITY)
}

fn flow(network: &Classifier, shape: [usize; 4], device: &Device, precision: FloatDType) -> f64 {
    let device = device.clone().autodiff();
    let network = network.valid().train().map(&mut Linearize(precision));
    let ones = Tensor::<4>::ones(shape, (&device, precision.into()));
    let gradients = network.forward(ones).sum().backward();
    let mut flow = Flow { gradients, sum: 0.0 };
    network.visit(&mut flow);
    flow.sum
}

/// Takes the absolute values of all parameters, and switches BatchNorm and dropout to inference.
struct Linearize(FloatDType);

impl ModuleMapper for Linearize {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|tensor| tensor.cast(self.0).abs().detach().require_grad())
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(false)
    }
}

/// Adds up `θ · ∂R/∂θ` of the weights, without biases and BatchNorm.
struct Flow {
    gradients: Gradients,
    sum: f64,
}

impl ModuleVisitor for Flow {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let weight = parameter.val();
        if D > 1
            && let Some(gradient) = weight.grad(&self.gradients)
        {
            self.sum += (weight.inner() * gradient).sum().into_scalar::<f64>();
        }
    }
}

/// Returns the score [`Proxy::Nwot`] of a network on a batch of images, row-major `[N, C, H, W]`. `None` if it has no ReLU, the
/// engine lacks one of its operations, or there are no images.
pub(super) fn nwot(
    network: &Classifier,
    images: &[f32],
    shape: [usize; 4],
    device: &Device,
) -> Option<f64> {
    let [count, channels, height, width] = shape;
    if count == 0 {
        return None;
    }
    let batch = Tensor::from_data(TensorData::new(images.to_vec(), shape), device);
    let network = with_statistics_of(network, batch);
    let forward = |network: &Classifier, images| network.forward(images);
    let mut graph = Graph::of_model(&network, [1, channels, height, width], forward).ok()?;
    let relus = graph.nodes.iter().filter(|node| is_relu(&node.op)).map(|node| node.output);
    graph.outputs = relus.collect();
    if graph.outputs.is_empty() {
        return None;
    }
    let mut plan = Plan::of_recorded(graph, default_threads()).ok()?;
    let mut codes = Vec::with_capacity(count);
    for image in images.chunks_exact(channels * height * width) {
        codes.push(code(&plan.run(image).ok()?));
    }
    let units = plan.output_shapes().map(|shape| shape.iter().product::<usize>()).sum::<usize>();
    let agreement = |a: &[u64], b: &[u64]| {
        let differing: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
        units as f64 - f64::from(differing)
    };
    let kernel = codes.iter().map(|a| codes.iter().map(|b| agreement(a, b)).collect()).collect();
    Some(log_determinant(kernel))
}

fn is_relu(op: &Op) -> bool {
    matches!(
        op,
        Op::Activation(
            Activation::Relu | Activation::Clamp { min: Some(0.0), max: Some(1.0 | 6.0) }
        )
    )
}

/// One bit for each number: whether it is positive.
fn code(outputs: &[Vec<f32>]) -> Vec<u64> {
    let bits = |numbers: &[f32]| {
        numbers.iter().enumerate().fold(0, |bits, (i, x)| bits | u64::from(*x > 0.0) << i)
    };
    outputs.iter().flat_map(|output| output.chunks(64).map(bits)).collect()
}

/// The logarithm of the determinant of a positive semidefinite matrix; -∞ if it is singular.
fn log_determinant(mut matrix: Vec<Vec<f64>>) -> f64 {
    let mut sum = 0.0;
    for column in 0..matrix.len() {
        let (above, below) = matrix.split_at_mut(column + 1);
        let pivot = &above[column];
        if pivot[column] <= 1e-9 {
            return f64::NEG_INFINITY;
        }
        sum += pivot[column].ln();
        for row in below {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).for_each(|(x, p)| *x -= factor * p);
        }
    }
    sum
}

/// Returns the network with the mean and the variance of a batch as the running statistics of each BatchNorm.
fn with_statistics_of(network: &Classifier, images: Tensor<4>) -> Classifier {
    // In a training step, statistics `s` become `(1 - m) s + m b`, where `b` is that of the batch and `m` the momentum. Two
    // steps, from zeros and from ones, give both.
    let images = images.autodiff();
    let after_step = |start: f64| {
        // A clone would share the statistics.
        let network = network.valid().map(&mut Statistics::new(|old| old.full_like(start)));
        let network = network.train();
        drop(network.forward(images.clone()));
        let mut found = Vec::new();
        let _ = network.valid().map(&mut Statistics::new(|tensor| {
            found.push(tensor.clone());
            tensor
        }));
        found
    };
    let steps = after_step(0.0).into_iter().zip(after_step(1.0));
    // From ones minus from zeros is 1 - m.
    let mut of_batch =
        steps.map(|(zeros, ones)| zeros.clone() / (zeros - ones + 1.0)).collect::<VecDeque<_>>();
    network.valid().map(&mut Statistics::new(|_| {
        of_batch.pop_front().expect("a step does not add statistics")
    }))
}

/// Changes the running means and variances of all BatchNorms.
struct Statistics<F> {
    change: F,
    path: Vec<String>,
}

impl<F: FnMut(Tensor<1>) -> Tensor<1>> Statistics<F> {
    fn new(change: F) -> Self {
        Self { change, path: Vec::new() }
    }
}

impl<F: FnMut(Tensor<1>) -> Tensor<1>> ModuleMapper for Statistics<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.path.last().map(String::as_str) {
            Some("running_mean" | "running_var") => parameter.map(|tensor| {
                let shape = tensor.shape();
                (self.change)(tensor.flatten(0, -1)).reshape(shape)
            }),
            _ => parameter,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Distribution};
    use zoo_models::{Network, variant};

    use super::*;

    fn network(name: &str) -> Classifier {
        let Network::Classifier(network) = variant(name).unwrap().config.init(&Device::flex())
        else {
            panic!("{name} classifies")
        };
        zoo_core::initialize_parameters(&network);
        network
    }

    fn images(shape: [usize; 4]) -> Vec<f32> {
        let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        images.into_data().try_to_vec().unwrap()
    }

    /// Multiplies all weights by a number.
    struct Scale(f64);

    impl ModuleMapper for Scale {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D > 1 { parameter.map(|tensor| tensor * self.0) } else { parameter }
        }
    }

    #[test]
    fn the_flow_is_the_derivative_of_the_logits_by_a_factor_of_all_weights() {
        let (device, shape) = (Device::flex(), [1, 3, 16, 16]);
        let network = network("resnet20_cifar");
        let sum = |factor: f64| {
            let linear = network.valid().train().map(&mut Linearize(FloatDType::F64));
            let ones = Tensor::<4>::ones(shape, (&device, DType::F64)).autodiff();
            linear.map(&mut Scale(factor)).forward(ones).sum().into_scalar::<f64>()
        };
        let derivative = (sum(1.0 + 1e-5) - sum(1.0 - 1e-5)) / 2e-5;
        for precision in [FloatDType::F32, FloatDType::F64] {
            let flow = flow(&network, shape, &device, precision);
            assert!((flow / derivative - 1.0).abs() < 1e-4, "{precision:?}: {flow} {derivative}");
        }
    }

    #[test]
    fn deep_networks_have_a_finite_flow() {
        let (device, shape) = (Device::flex(), [1, 3, 32, 32]);
        let network = network("resnet152");
        assert!(!flow(&network, shape, &device, FloatDType::F32).is_finite());
        let flow = synflow(&network, shape, &device);
        assert!(flow.is_finite(), "{flow}");
    }

    #[test]
    fn the_statistics_of_a_batch_normalize_it() {
        let device = Device::flex();
        let shape = [8, 3, 16, 16];
        let batch = Tensor::<4>::from_data(TensorData::new(images(shape), shape), &device);
        let network = network("resnet20_cifar");
        let expected = network.valid().train().forward(batch.clone().autodiff()).inner();
        let normalized = with_statistics_of(&network, batch.clone()).forward(batch);
        normalized.into_data().assert_approx_eq::<f32>(
            &expected.into_data(),
            burn::tensor::Tolerance::absolute(1e-2),
        );
    }

    #[test]
    fn equal_images_have_no_determinant() {
        let (device, shape) = (Device::flex(), [4, 3, 16, 16]);
        let network = network("resnet20_cifar");
        let different = images(shape);
        let score = nwot(&network, &different, shape, &device).unwrap();
        // Units that are on for all images would give a singular matrix; independent ones the largest.
        let units = 16 * 256 * 7 + 32 * 64 * 6 + 64 * 16 * 6;
        assert!(score > 0.0 && score < 4.0 * f64::from(units).ln(), "{score}");
        let equal = different[..3 * 256].repeat(4);
        let score = nwot(&network, &equal, shape, &device).unwrap();
        assert_eq!(score, f64::NEG_INFINITY);
    }

    #[test]
    fn a_network_without_relu_has_no_code() {
        let shape = [2, 3, 64, 64];
        let score = nwot(&network("efficientnet_b0"), &images(shape), shape, &Device::flex());
        assert_eq!(score, None);
    }

    #[test]
    fn the_determinant_is_that_of_the_matrix() {
        let matrix = vec![vec![4.0, 2.0, 1.0], vec![2.0, 3.0, 0.5], vec![1.0, 0.5, 2.0]];
        // 4 (6 - 0.25) - 2 (4 - 0.5) + (1 - 3)
        assert!((log_determinant(matrix) - 14.0_f64.ln()).abs() < 1e-12);
        assert_eq!(log_determinant(vec![vec![1.0; 2]; 2]), f64::NEG_INFINITY);
    }
}
