//! Assignment of a graph's weights to the parameters of a network.

use std::collections::HashMap;

use burn::store::bridge;
use burn::store::burn_pack::Tensor;
use burn::tensor::TensorData;
use zoo_core::Parameter;

use super::constant::Constant;
use super::layers::WeightPaths;
use super::trace::{Scale, Weights};
use crate::load::pytorch_shape;

/// Returns the tensors of one layer, by the paths of their parameters.
///
/// # Errors
///
/// When the network has no parameter for a weight.
pub(super) fn assign(
    target: &WeightPaths,
    weights: &Weights,
    parameters: &HashMap<&str, &Parameter>,
) -> Result<Vec<(String, Tensor)>, String> {
    let mut tensors = Vec::new();
    if let (Some(path), Some(kernel)) = (&target.path, &weights.kernel) {
        let path = format!("{path}.weight");
        let parameter = parameters.get(path.as_str()).ok_or("the model has no such layer")?;
        let kernel = oriented(kernel, weights)
            .and_then(|kernel| kernel.reshaped(pytorch_shape(parameter)))
            .ok_or("its kernel has another shape")?;
        tensors.push((path.clone(), kernel.tensor(&path)));
    }
    let bias = target.path.as_ref().map(|path| format!("{path}.bias"));
    let bias = bias.filter(|path| parameters.contains_key(path.as_str()));

    match (&target.norm, weights.scales.as_slice()) {
        // A trained BatchNorm.
        (Some((path, epsilon)), [Scale::Norm(norm)])
            if bias.is_some() || weights.bias.is_none() =>
        {
            let channels = norm.gamma.count();
            if let Some(bias) = bias {
                let values = match &weights.bias {
                    Some(bias) => floats(bias, channels)?,
                    None => vec![0.0; channels],
                };
                tensors.push(vector(bias, values));
            }
            let mut variance = floats(&norm.variance, channels)?;
            // Only the sum of variance and epsilon matters.
            for value in &mut variance {
                *value += norm.epsilon - *epsilon as f32;
            }
            for (name, values) in [
                ("gamma", floats(&norm.gamma, channels)?),
                ("beta", floats(&norm.beta, channels)?),
                ("running_mean", floats(&norm.mean, channels)?),
                ("running_var", variance),
            ] {
                tensors.push(vector(format!("{path}.{name}"), values));
            }
        }
        // BatchNorm was folded into the layer or is written as arithmetic; this BatchNorm does the
        // rest.
        (Some((path, epsilon)), _) => {
            let channels = parameters
                .get(format!("{path}.gamma").as_str())
                .map(|gamma| gamma.shape.iter().product())
                .ok_or("the model has no such layer")?;
            let (factor, shift) = composed(weights, channels)?;
            if let Some(bias) = bias {
                tensors.push(vector(bias, vec![0.0; channels]));
            }
            for (name, values) in [
                ("gamma", factor),
                ("beta", shift),
                ("running_mean", vec![0.0; channels]),
                // With epsilon, this is exactly 1.
                ("running_var", vec![1.0 - *epsilon as f32; channels]),
            ] {
                tensors.push(vector(format!("{path}.{name}"), values));
            }
        }
        (None, _) => {
            let channels = match (&bias, &weights.bias) {
                (Some(path), _) => parameters[path.as_str()].shape.iter().product(),
                (None, Some(bias)) => bias.count(),
                (None, None) if weights.scales.is_empty() => return Ok(tensors),
                (None, None) => return Err("the model does not scale its output".to_owned()),
            };
            let (factor, shift) = composed(weights, channels)?;
            if factor.iter().any(|&factor| factor != 1.0) {
                return Err("the model does not scale its output".to_owned());
            }
            match bias {
                Some(bias) => tensors.push(vector(bias, shift)),
                None if shift.iter().all(|&shift| shift == 0.0) => {}
                None => return Err("the model has no bias there".to_owned()),
            }
        }
    }
    Ok(tensors)
}

/// Returns the kernel in PyTorch's order.
fn oriented(kernel: &Constant, weights: &Weights) -> Option<Constant> {
    let mut kernel = kernel.clone();
    if weights.is_transposed {
        kernel = kernel.transposed(vec![1, 0])?;
    }
    if let Some(channels) = weights.flattened {
        // From [positions, channels] to [channels, positions].
        let &[outputs, inputs] = kernel.dims.as_slice() else {
            return None;
        };
        kernel = kernel.reshaped(vec![outputs, inputs / channels, channels])?;
        kernel = kernel.transposed(vec![0, 2, 1])?;
    }
    Some(kernel)
}

/// Combines bias and scales to one factor and one shift for each channel.
fn composed(weights: &Weights, channels: usize) -> Result<(Vec<f32>, Vec<f32>), String> {
    let mut factors = vec![1.0_f64; channels];
    let mut shifts = match &weights.bias {
        Some(bias) => doubles(bias, channels)?,
        None => vec![0.0; channels],
    };
    for scale in &weights.scales {
        let (by, add): (Vec<f64>, Vec<f64>) = match scale {
            Scale::Norm(norm) => {
                let gamma = doubles(&norm.gamma, channels)?;
                let beta = doubles(&norm.beta, channels)?;
                let mean = doubles(&norm.mean, channels)?;
                let variance = doubles(&norm.variance, channels)?;
                let channel = |c: usize| {
                    let by = gamma[c] / (variance[c] + f64::from(norm.epsilon)).sqrt();
                    (by, beta[c] - mean[c] * by)
                };
                (0..channels).map(channel).unzip()
            }
            Scale::Add(by) => doubles(by, channels)?.into_iter().map(|by| (1.0, by)).unzip(),
            Scale::Sub(by) => doubles(by, channels)?.into_iter().map(|by| (1.0, -by)).unzip(),
            Scale::Mul(by) => doubles(by, channels)?.into_iter().map(|by| (by, 0.0)).unzip(),
            Scale::Div(by) => doubles(by, channels)?.into_iter().map(|by| (1.0 / by, 0.0)).unzip(),
        };
        for channel in 0..channels {
            factors[channel] *= by[channel];
            shifts[channel] = shifts[channel] * by[channel] + add[channel];
        }
    }
    let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    Ok((single(factors), single(shifts)))
}

fn doubles(constant: &Constant, channels: usize) -> Result<Vec<f64>, String> {
    let values = constant.numbers().map_err(|error| error.to_string())?;
    if values.len() == channels {
        Ok(values)
    } else {
        Err(format!("{} numbers for {channels} channels", values.len()))
    }
}

fn floats(constant: &Constant, channels: usize) -> Result<Vec<f32>, String> {
    Ok(doubles(constant, channels)?.into_iter().map(|value| value as f32).collect())
}

fn vector(path: String, values: Vec<f32>) -> (String, Tensor) {
    let shape = [values.len()];
    (path.clone(), bridge::from_data(TensorData::new(values, shape), path, None))
}
