//! The classifier of a fine-tuned checkpoint: one fully connected layer under any name, or several.

use std::collections::BTreeMap;

use burn::store::burn_pack::{self, Tensor};
use burn::tensor::{Bytes, DType};
use zoo_core::HiddenLayer;
use zoo_core::layers::Activation;

use crate::reparametrized::floats;

/// Tensors by key.
type Tensors = BTreeMap<String, Tensor>;

/// A classifier that was found in a checkpoint, with the network's own keys.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The tensors of the network's classifier and of the layers after it.
    pub tensors: Tensors,
    /// The hidden layers, in order.
    pub hidden: Vec<HiddenLayer>,
    /// The names of the layers in the checkpoint.
    pub names: Vec<String>,
    /// Whether the activations between the layers are assumed, because the checkpoint does not
    /// state them.
    pub is_assumed: bool,
}

/// The epsilon of PyTorch's BatchNorm, by default.
const EPSILON: f32 = 1e-5;

/// Returns the layers of a group of tensors, if they are consecutive fully connected layers, with
/// or without BatchNorm, and the first one has `inputs` inputs.
///
/// The tensors get the names of a classifier with the keys `weight` and `bias`. `activation` is
/// between the layers, unless their numbers show that nothing is.
pub(crate) fn chain(
    group: &Tensors,
    inputs: usize,
    [weight, bias]: [&str; 2],
    activation: Activation,
) -> Option<Head> {
    let mut dense = Vec::new();
    let mut pending: Option<Norm> = None;
    for (name, layer) in layers(group)? {
        match layer {
            Layer::Norm(norm) => match dense.last_mut() {
                Some(last) if follows(last, &name) => {
                    let last: &mut Dense = last;
                    last.after = Some(norm);
                    last.end = number(&name);
                }
                _ if pending.is_some() => return None,
                _ => pending = Some(norm),
            },
            Layer::Linear { weight, bias } => {
                let before = pending.take();
                dense.push(Dense { end: number(&name), name, weight, bias, before, after: None });
            }
        }
    }
    if dense.is_empty() || pending.is_some() {
        return None;
    }
    let mut expected = inputs;
    for layer in &dense {
        let is_norm = |norm: &Option<Norm>, width| norm.as_ref().is_none_or(|it| it.width == width);
        if layer.inputs() != expected
            || !is_norm(&layer.before, layer.inputs())
            || !is_norm(&layer.after, layer.outputs())
        {
            return None;
        }
        expected = layer.outputs();
    }

    let between: Vec<Option<Activation>> = dense
        .windows(2)
        .map(|pair| match (pair[0].end, number(&pair[1].name)) {
            (Some(one), Some(next)) if next == one + 1 => Some(Activation::Identity),
            _ => None,
        })
        .collect();
    let hidden = dense.iter().zip(&between);
    let hidden = hidden.map(|(layer, between)| HiddenLayer {
        width: layer.outputs(),
        activation: between.unwrap_or(activation),
    });
    let hidden = hidden.collect();
    let mut tensors = Tensors::new();
    for (index, layer) in dense.iter().enumerate() {
        let keys = match index.checked_sub(1) {
            None => [weight.to_owned(), bias.to_owned()],
            Some(tail) => ["weight", "bias"].map(|part| format!("tail.{tail}.linear.{part}")),
        };
        let folded = layer.folded();
        tensors.extend(keys.into_iter().zip(folded));
    }
    let is_assumed = between.iter().any(Option::is_none);
    let names = dense.into_iter().map(|layer| layer.name).collect();
    Some(Head { tensors, hidden, names, is_assumed })
}

/// A layer with its parameters.
#[expect(clippy::large_enum_variant, reason = "a classifier has a few")]
enum Layer {
    Linear { weight: Tensor, bias: Option<Tensor> },
    Norm(Norm),
}

/// BatchNorm's parameters: scale, shift, mean and variance.
#[derive(Clone)]
struct Norm {
    width: usize,
    scale: Option<Tensor>,
    shift: Option<Tensor>,
    mean: Tensor,
    variance: Tensor,
}

/// A fully connected layer with the BatchNorms before and after it.
struct Dense {
    name: String,
    /// The number at the end of its last name, if layers are numbered.
    end: Option<usize>,
    weight: Tensor,
    bias: Option<Tensor>,
    before: Option<Norm>,
    after: Option<Norm>,
}

/// Returns the layers of a group in the order of their names, or `None` if one of them is of
/// another kind.
fn layers(group: &Tensors) -> Option<Vec<(String, Layer)>> {
    let mut parts: BTreeMap<Vec<Step>, (&str, BTreeMap<&str, &Tensor>)> = BTreeMap::new();
    for (key, tensor) in group {
        let (name, part) = key.rsplit_once('.').unwrap_or(("", key));
        let steps = name.split('.').filter(|step| !step.is_empty()).map(Step::of).collect();
        parts.entry(steps).or_insert((name, BTreeMap::new())).1.insert(part, tensor);
    }
    let layer = |(name, mut parts): (&str, BTreeMap<&str, &Tensor>)| {
        parts.remove("num_batches_tracked");
        let mut take = |part: &str| parts.remove(part).cloned();
        let layer = match (take("running_mean"), take("running_var")) {
            (Some(mean), Some(variance)) => Layer::Norm(Norm {
                width: mean.shape.iter().product(),
                scale: take("weight"),
                shift: take("bias"),
                mean,
                variance,
            }),
            (None, None) => {
                let weight = take("weight")?;
                let is_linear = match weight.shape[..] {
                    [_, _] => true,
                    [_, _, height, width] => height == 1 && width == 1,
                    _ => false,
                };
                Layer::Linear { bias: take("bias"), weight: is_linear.then_some(weight)? }
            }
            _ => return None,
        };
        parts.is_empty().then(|| (name.to_owned(), layer))
    };
    parts.into_values().map(layer).collect()
}

/// A segment of a name, ordered so that 10 comes after 9.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Number(usize),
    Name(String),
}

impl Step {
    fn of(step: &str) -> Self {
        step.parse().map_or_else(|_| Self::Name(step.to_owned()), Self::Number)
    }
}

/// Returns the number at the end of a name, as in `nn.Sequential`.
fn number(name: &str) -> Option<usize> {
    name.rsplit('.').next()?.parse().ok()
}

/// Whether a layer comes directly after another one, by its number. Without numbers it does.
fn follows(layer: &Dense, name: &str) -> bool {
    match (layer.end, number(name)) {
        (Some(one), Some(next)) => next == one + 1,
        _ => true,
    }
}

impl Dense {
    fn outputs(&self) -> usize {
        self.weight.shape[0]
    }

    fn inputs(&self) -> usize {
        self.weight.shape[1]
    }

    /// Returns weight and bias, with the BatchNorms around the layer folded into them.
    fn folded(&self) -> [Tensor; 2] {
        let [outputs, inputs] = [self.outputs(), self.inputs()];
        if let (None, None, Some(bias)) = (&self.before, &self.after, &self.bias) {
            return [self.weight.clone(), bias.clone()];
        }
        let part = |shape: Vec<usize>, pick: fn(Vec<f32>, Vec<f32>) -> Vec<f32>| {
            let (weight, bias) = (self.weight.clone(), self.bias.clone());
            let (before, after) = (self.before.clone(), self.after.clone());
            let length = 4 * shape.iter().product::<usize>();
            Tensor::deferred(String::new(), DType::F32, shape, None, length, move || {
                let mut weight = floats(&weight)?;
                let mut bias = bias.as_ref().map_or(Ok(vec![0.0; outputs]), floats)?;
                if let Some(norm) = &before {
                    let (scale, shift) = norm.scale_and_shift()?;
                    for (row, bias) in weight.chunks_exact_mut(inputs).zip(&mut bias) {
                        for ((value, scale), shift) in row.iter_mut().zip(&scale).zip(&shift) {
                            *bias += *value * shift;
                            *value *= scale;
                        }
                    }
                }
                if let Some(norm) = &after {
                    let (scale, shift) = norm.scale_and_shift()?;
                    for (row, scale) in weight.chunks_exact_mut(inputs).zip(&scale) {
                        row.iter_mut().for_each(|value| *value *= scale);
                    }
                    for ((bias, scale), shift) in bias.iter_mut().zip(&scale).zip(&shift) {
                        *bias = *bias * scale + shift;
                    }
                }
                Ok(Bytes::from_elems(pick(weight, bias)))
            })
        };
        [part(vec![outputs, inputs], |weight, _| weight), part(vec![outputs], |_, bias| bias)]
    }
}

impl Norm {
    /// Returns the layer's factors and summands.
    fn scale_and_shift(&self) -> Result<(Vec<f32>, Vec<f32>), burn_pack::Error> {
        let or = |tensor: &Option<Tensor>, value: f32| match tensor {
            Some(tensor) => floats(tensor),
            None => Ok(vec![value; self.width]),
        };
        let variance = floats(&self.variance)?;
        let scale = or(&self.scale, 1.0)?;
        let scale: Vec<f32> =
            scale.iter().zip(&variance).map(|(one, var)| one / (var + EPSILON).sqrt()).collect();
        let (mean, shift) = (floats(&self.mean)?, or(&self.shift, 0.0)?);
        let shift = shift.iter().zip(&mean).zip(&scale).map(|((b, mean), scale)| b - mean * scale);
        Ok((scale.clone(), shift.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(tensors: &[(&str, &[usize], &[f32])]) -> Tensors {
        let tensor = |(key, shape, values): &(&str, &[usize], &[f32])| {
            let bytes = Bytes::from_elems(values.to_vec());
            let tensor = Tensor::new(String::new(), DType::F32, shape.to_vec(), None, bytes);
            ((*key).to_owned(), tensor)
        };
        tensors.iter().map(tensor).collect()
    }

    fn find(tensors: &[(&str, &[usize], &[f32])], inputs: usize) -> Option<Head> {
        chain(&group(tensors), inputs, ["fc.weight", "fc.bias"], Activation::Relu)
    }

    #[test]
    fn one_layer_is_found_under_any_name() {
        for name in ["1.", "linear.", ""] {
            let keys = [format!("{name}weight"), format!("{name}bias")];
            let head = find(&[(&keys[0], &[2, 3], &[0.0; 6]), (&keys[1], &[2], &[1.0; 2])], 3);
            let head = head.unwrap();
            assert!(head.hidden.is_empty() && head.tensors.keys().eq(["fc.bias", "fc.weight"]));
        }
    }

    #[test]
    fn a_layer_without_bias_gets_zeros() {
        let head = find(&[("weight", &[2, 1], &[3.0, 4.0])], 1).unwrap();
        assert_eq!(floats(&head.tensors["fc.bias"]).unwrap(), [0.0; 2]);
        assert_eq!(floats(&head.tensors["fc.weight"]).unwrap(), [3.0, 4.0]);
    }

    #[test]
    fn layer_numbers_show_whether_activations_are_between_layers() {
        let layers = |second: &'static str| {
            let head = find(&[("9.weight", &[4, 3], &[0.0; 12]), (second, &[2, 4], &[0.0; 8])], 3);
            head.unwrap()
        };
        let (apart, adjacent) = (layers("11.weight"), layers("10.weight"));
        assert_eq!(apart.hidden, [HiddenLayer { width: 4, activation: Activation::Relu }]);
        assert!(apart.is_assumed && apart.names == ["9", "11"]);
        assert_eq!(adjacent.hidden, [HiddenLayer { width: 4, activation: Activation::Identity }]);
        assert!(!adjacent.is_assumed);
        assert!(apart.tensors.contains_key("tail.0.linear.weight"));
    }

    #[test]
    fn batch_norm_is_folded_into_the_layers_around_it() {
        // Scale 2 and shift 1 with mean 3: 2 x - 5; the variance makes a scale of 1.
        let one = 1.0 - EPSILON;
        let norm = |key: &'static str| {
            [("weight", 2.0), ("bias", 1.0), ("running_mean", 3.0), ("running_var", one)]
                .map(|(part, value)| (format!("{key}.{part}"), value))
        };
        for (name, weight, bias) in [("0", 20.0, -49.0), ("2", 20.0, -3.0)] {
            let mut tensors = group(&[("1.weight", &[1, 1], &[10.0]), ("1.bias", &[1], &[1.0])]);
            for (key, value) in norm(name) {
                tensors.extend(group(&[(key.as_str(), &[1], &[value])]));
            }
            let head = chain(&tensors, 1, ["w", "b"], Activation::Relu).unwrap();
            assert!((floats(&head.tensors["w"]).unwrap()[0] - weight).abs() < 1e-4);
            assert!((floats(&head.tensors["b"]).unwrap()[0] - bias).abs() < 1e-4, "{name}");
        }
    }

    #[test]
    fn other_layers_are_not_a_classifier() {
        for tensors in [
            // Other inputs, a convolution, layers that do not follow each other, LayerNorm.
            &[("0.weight", &[2_usize, 5][..], &[0.0_f32; 10][..])][..],
            &[("0.weight", &[2, 3, 3, 3], &[0.0; 54])],
            &[("0.weight", &[4, 3], &[0.0; 12]), ("1.weight", &[2, 3], &[0.0; 6])],
            &[("0.weight", &[3], &[0.0; 3]), ("1.weight", &[2, 3], &[0.0; 6])],
            &[],
        ] {
            assert!(find(tensors, 3).is_none());
        }
    }
}
