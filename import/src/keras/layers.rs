//! A layer's weights in Keras, and the corresponding ones in PyTorch.

use burn::store::bridge;
use burn::store::burn_pack::{self, Tensor};
use burn::tensor::{Bytes, DType, Shape, TensorData};
use hdf5_reader::Dataset;
use zoo_core::Color;

use super::Normalization;
use crate::onnx::permute;

/// A layer that has weights.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) weights: Vec<Weight>,
}

/// One of a layer's weights. Its values stay in the file.
#[derive(Clone)]
pub(super) struct Weight {
    pub(super) role: Role,
    pub(super) dims: Vec<usize>,
    pub(super) dtype: DType,
    pub(super) dataset: Dataset,
}

/// The role of a weight in its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Kernel,
    DepthwiseKernel,
    PointwiseKernel,
    Bias,
    Gamma,
    Beta,
    MovingMean,
    MovingVariance,
    Mean,
    Variance,
    Other(String),
}

/// The names of weights. A name that is part of another one comes after it. Keras 1 called the
/// variance a standard deviation.
const NAMES: [(&str, Role); 14] = [
    ("depthwise_kernel", Role::DepthwiseKernel),
    ("pointwise_kernel", Role::PointwiseKernel),
    ("kernel", Role::Kernel),
    ("W", Role::Kernel),
    ("bias", Role::Bias),
    ("b", Role::Bias),
    ("gamma", Role::Gamma),
    ("beta", Role::Beta),
    ("moving_mean", Role::MovingMean),
    ("running_mean", Role::MovingMean),
    ("mean", Role::Mean),
    ("moving_variance", Role::MovingVariance),
    ("running_std", Role::MovingVariance),
    ("variance", Role::Variance),
];

impl Role {
    /// Returns the role of a weight by its name: `kernel:0`, or `block1_conv1_W_1:0`.
    pub(super) fn named(name: &str) -> Self {
        let name = name.split(':').next().unwrap_or_default();
        let name = match name.rsplit_once('_') {
            Some((start, number)) if number.parse::<usize>().is_ok() => start,
            _ => name,
        };
        let is = |known: &str| {
            name.strip_suffix(known).is_some_and(|start| start.is_empty() || start.ends_with('_'))
        };
        let known = NAMES.iter().find(|(known, _)| is(known));
        known.map_or_else(|| Self::Other(name.to_owned()), |(_, role)| role.clone())
    }

    /// Whether a kernel is that of a depthwise convolution, which Keras 3 does not distinguish by
    /// name. No published network has a convolution with a single output.
    fn is_depthwise(&self, channels: usize, multiplier: usize) -> bool {
        *self == Self::DepthwiseKernel || *self == Self::Kernel && channels > 1 && multiplier == 1
    }

    /// Returns the roles of the `count` weights of a layer that have only numbers, in their order.
    pub(super) fn numbered(class: &str, count: usize) -> Vec<Self> {
        let class = class.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
        let roles = match (class, count) {
            ("conv2d" | "dense", 1 | 2) => vec![Self::Kernel, Self::Bias],
            ("depthwise_conv2d", 1 | 2) => vec![Self::DepthwiseKernel, Self::Bias],
            ("separable_conv2d", 2 | 3) => {
                vec![Self::DepthwiseKernel, Self::PointwiseKernel, Self::Bias]
            }
            ("batch_normalization", 4) => {
                vec![Self::Gamma, Self::Beta, Self::MovingMean, Self::MovingVariance]
            }
            // In published networks, a BatchNorm with three weights has no scale.
            ("batch_normalization", 3) => vec![Self::Beta, Self::MovingMean, Self::MovingVariance],
            ("normalization", 3) => {
                vec![Self::Mean, Self::Variance, Self::Other("count".to_owned())]
            }
            _ => (0..count).map(|number| Self::Other(number.to_string())).collect(),
        };
        roles.into_iter().take(count).collect()
    }
}

/// Fully connected layers after a flattened map. TensorFlow's maps have their channels last.
const FLATTENED: [(&str, [usize; 3]); 1] = [("fc1", [7, 7, 512])];

/// Classifiers that are 1×1 convolutions on a single pixel.
const POINTWISE: &str = "conv_preds";

/// IMAGENET_STDDEV_RGB of `keras.applications.efficientnet`.
const EFFICIENTNET_STD: [f32; 3] = [0.229, 0.224, 0.225];

impl Layer {
    fn find(&self, role: &Role) -> Option<&Weight> {
        self.weights.iter().find(|weight| weight.role == *role)
    }

    pub(super) fn has(&self, role: &Role) -> bool {
        self.find(role).is_some()
    }

    /// Whether the layer is fully connected.
    pub(super) fn is_dense(&self) -> bool {
        self.find(&Role::Kernel).is_some_and(|kernel| kernel.dims.len() == 2)
    }

    /// Returns a weight in ONNX's order: kernels have their outputs first, matrices do not change.
    pub(super) fn constant(&self, role: &Role, is_depthwise: bool) -> Option<Tensor> {
        let weight = self.find(role)?;
        let dims = weight.dims.clone();
        let view = match *dims.as_slice() {
            [height, width, channels, multiplier]
                if is_depthwise || *role == Role::DepthwiseKernel =>
            {
                let shape = vec![channels * multiplier, 1, height, width];
                View { dims, order: vec![2, 3, 0, 1], shape }
            }
            [height, width, inputs, outputs] => {
                let shape = vec![outputs, inputs, height, width];
                View { dims, order: vec![3, 2, 0, 1], shape }
            }
            _ => View { order: (0..dims.len()).collect(), shape: dims.clone(), dims },
        };
        Some(weight.tensor(&format!("{} {role:?}", self.name), view))
    }

    /// Returns a weight's values, if the layer has it.
    pub(super) fn values(&self, role: &Role) -> Option<Vec<f32>> {
        let weight = self.find(role)?;
        let shape = Shape::from(weight.dims.clone());
        Some(weight.data(weight.bytes().ok()?, shape).ok()?.iter::<f32>().collect())
    }

    /// Returns the tensors by their keys.
    pub(super) fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors: Vec<_> = self.weights.iter().map(|weight| self.tensor(weight)).collect();
        // A BatchNorm without scale or shift gets a scale of 1 or a shift of 0.
        if let Some(mean) = self.find(&Role::MovingMean) {
            let count = mean.dims.iter().product();
            for (role, name, value) in [(Role::Gamma, "weight", 1.0_f32), (Role::Beta, "bias", 0.0)]
            {
                if !self.has(&role) {
                    let key = format!("{}.{name}", self.name);
                    let data = TensorData::new(vec![value; count], [count]);
                    tensors.push((key.clone(), bridge::from_data(data, key, None)));
                }
            }
        }
        tensors
    }

    fn tensor(&self, weight: &Weight) -> (String, Tensor) {
        let is_separable = self.has(&Role::PointwiseKernel);
        let name = match &weight.role {
            Role::DepthwiseKernel if is_separable => "depthwise.weight",
            Role::PointwiseKernel => "pointwise.weight",
            Role::Bias if is_separable => "pointwise.bias",
            Role::Kernel | Role::DepthwiseKernel | Role::Gamma => "weight",
            Role::Bias | Role::Beta => "bias",
            Role::MovingMean => "running_mean",
            Role::MovingVariance => "running_var",
            Role::Mean => "mean",
            Role::Variance => "variance",
            Role::Other(name) => name,
        };
        let key = format!("{}.{name}", self.name);
        let tensor = weight.tensor(&key, self.view(weight));
        (key, tensor)
    }

    /// Returns the transposition to PyTorch's tensor of a weight.
    fn view(&self, weight: &Weight) -> View {
        let dims = weight.dims.clone();
        let flattened = FLATTENED.iter().find(|(name, _)| *name == self.name);
        match (&weight.role, dims.as_slice()) {
            (Role::Kernel, &[1, 1, inputs, outputs]) if self.name == POINTWISE => {
                View { dims, order: vec![3, 2, 0, 1], shape: vec![outputs, inputs] }
            }
            (role, &[height, width, channels, multiplier])
                if role.is_depthwise(channels, multiplier) =>
            {
                View {
                    dims,
                    order: vec![2, 3, 0, 1],
                    shape: vec![channels * multiplier, 1, height, width],
                }
            }
            (Role::Kernel | Role::PointwiseKernel, &[height, width, inputs, outputs]) => {
                View { dims, order: vec![3, 2, 0, 1], shape: vec![outputs, inputs, height, width] }
            }
            (Role::Kernel, &[inputs, outputs]) => match flattened {
                Some((_, [height, width, channels])) if height * width * channels == inputs => {
                    View {
                        dims: vec![*height, *width, *channels, outputs],
                        order: vec![3, 2, 0, 1],
                        shape: vec![outputs, inputs],
                    }
                }
                _ => View { dims, order: vec![1, 0], shape: vec![outputs, inputs] },
            },
            _ => View { order: (0..dims.len()).collect(), shape: dims.clone(), dims },
        }
    }

    /// Returns the scaling of images, if this layer normalizes them.
    pub(super) fn normalization(&self) -> Result<Option<Normalization>, burn_pack::Error> {
        let (Some(mean), Some(variance)) = (self.find(&Role::Mean), self.find(&Role::Variance))
        else {
            return Ok(None);
        };
        let (Some(mean), Some(variance)) = (mean.channels()?, variance.channels()?) else {
            return Ok(None);
        };
        // The published EfficientNets store the deviation instead of the variance, and divide by
        // its square root once more, in a layer without weights.
        let is_deviation =
            variance.iter().zip(EFFICIENTNET_STD).all(|(found, std)| (found - std).abs() < 1e-4);
        let std = variance.map(|variance| if is_deviation { variance } else { variance.sqrt() });
        let is_scale = |std: &f32| *std > 0.0 && std.is_finite();
        let color = Color::Rgb;
        Ok(std.iter().all(is_scale).then_some(Normalization { mean, std, color }))
    }
}

/// A transposition.
struct View {
    /// The dimensions in the file; one of them may be split into two.
    dims: Vec<usize>,
    /// The permutation of these dimensions.
    order: Vec<usize>,
    /// The permuted dimensions; some of them may be joined.
    shape: Vec<usize>,
}

impl Weight {
    fn bytes(&self) -> Result<Vec<u8>, burn_pack::Error> {
        let bytes = match self.dtype {
            DType::BF16 => self.dataset.read_raw_bytes(),
            _ => self.dataset.read_native_bytes(),
        };
        bytes.map_err(|error| burn_pack::Error::IoError(error.to_string()))
    }

    /// Returns a tensor that reads its values lazily.
    fn tensor(&self, key: &str, view: View) -> Tensor {
        let weight = self.clone();
        let shape = Shape::from(view.shape);
        bridge::deferred(key.to_owned(), self.dtype, shape.clone(), None, move || {
            let bytes = permute(&weight.bytes()?, &view.dims, &view.order, weight.dtype.size());
            weight.data(bytes, shape.clone())
        })
    }

    fn data(&self, bytes: Vec<u8>, shape: Shape) -> Result<TensorData, burn_pack::Error> {
        TensorData::try_from_bytes(Bytes::from_bytes_vec(bytes), shape, self.dtype)
            .map_err(|error| burn_pack::Error::TensorBytesSizeMismatch(error.to_string()))
    }

    /// Returns the values for red, green and blue, if there are three.
    fn channels(&self) -> Result<Option<[f32; 3]>, burn_pack::Error> {
        let shape = Shape::from(self.dims.clone());
        let values: Vec<f32> = self.data(self.bytes()?, shape)?.iter::<f32>().collect();
        Ok(match *values {
            [gray] => Some([gray; 3]),
            [red, green, blue] => Some([red, green, blue]),
            _ => None,
        })
    }
}
