//! Weights that PyTorch stores as two tensors: pruned ones, and those with weight normalization.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::store::burn_pack::{self, Tensor};
use burn::tensor::{Bytes, DType};

/// The names of a weight's two tensors, and their combination.
struct Form {
    /// The suffixes of the weight's name.
    parts: [&'static str; 2],
    combine: fn(&[f32], &[f32]) -> Option<Vec<f32>>,
}

/// The forms of `torch.nn.utils`: `prune`, `weight_norm` and `parametrizations.weight_norm`.
const FORMS: [Form; 3] = [
    Form { parts: ["_orig", "_mask"], combine: masked },
    Form { parts: ["_g", "_v"], combine: normalized },
    Form { parts: [".original0", ".original1"], combine: normalized },
];

/// Computes `weight = orig * mask`.
fn masked(original: &[f32], mask: &[f32]) -> Option<Vec<f32>> {
    let is_fitting = original.len() == mask.len();
    is_fitting.then(|| original.iter().zip(mask).map(|(value, mask)| value * mask).collect())
}

/// Computes `weight = g * v / |v|`. The length is that over all but the first dimension, with a `g`
/// for each of its elements; with a single `g`, it is that over all dimensions.
fn normalized(lengths: &[f32], directions: &[f32]) -> Option<Vec<f32>> {
    if lengths.is_empty() || !directions.len().is_multiple_of(lengths.len()) {
        return None;
    }
    let row = directions.len() / lengths.len();
    let scaled = directions.chunks(row.max(1)).zip(lengths).flat_map(|(row, length)| {
        let squares = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        let factor = f64::from(*length) / squares.sqrt();
        row.iter().map(move |value| (f64::from(*value) * factor) as f32)
    });
    Some(scaled.collect())
}

/// Replaces weights that are stored as two tensors by their combination.
pub(crate) fn merged(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    for Form { parts: [first, second], combine } in &FORMS {
        let stems: Vec<String> = tensors
            .keys()
            .filter_map(|key| key.strip_suffix(first))
            .filter(|stem| tensors.contains_key(&format!("{stem}{second}")))
            .map(str::to_owned)
            .collect();
        for stem in stems {
            let mut part = |end: &str| tensors.remove(&format!("{stem}{end}"));
            let (Some(first), Some(second)) = (part(first), part(second)) else { continue };
            // The key `layer.parametrizations.weight` belongs to `layer.weight`.
            let key = stem.replace("parametrizations.", "");
            tensors.insert(key.clone(), merge(key, first, second, *combine));
        }
    }
    tensors
}

fn merge(
    key: String,
    first: Tensor,
    second: Tensor,
    combine: fn(&[f32], &[f32]) -> Option<Vec<f32>>,
) -> Tensor {
    // The weight has the shape of the larger tensor.
    let shape = if first.byte_len() > second.byte_len() { &first } else { &second }.shape.clone();
    let length = shape.iter().product::<usize>() * size_of::<f32>();
    let parts = Arc::new([first, second]);
    Tensor::deferred(key, DType::F32, shape, None, length, move || {
        let [first, second] = &*parts;
        let values = combine(&floats(first)?, &floats(second)?).ok_or_else(|| {
            let text = format!("`{}` and `{}` do not fit together", first.name, second.name);
            burn_pack::Error::ValidationError(text)
        })?;
        Ok(Bytes::from_elems(values))
    })
}

/// Returns a tensor's values in single precision.
pub(crate) fn floats(tensor: &Tensor) -> Result<Vec<f32>, burn_pack::Error> {
    let data = burn::tensor::TensorData::from_bytes(
        tensor.to_bytes()?,
        tensor.shape.clone(),
        tensor.dtype,
    );
    Ok(data.iter::<f32>().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(key: &str, shape: &[usize], values: &[f32]) -> (String, Tensor) {
        let bytes = Bytes::from_elems(values.to_vec());
        (key.to_owned(), Tensor::new(key.to_owned(), DType::F32, shape.to_vec(), None, bytes))
    }

    #[test]
    fn pruned_weights_are_multiplied_by_their_masks() {
        let tensors = merged(BTreeMap::from([
            tensor("fc.weight_orig", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            tensor("fc.weight_mask", &[2, 2], &[1.0, 0.0, 0.0, 1.0]),
            tensor("fc.bias", &[2], &[0.0; 2]),
        ]));
        assert!(tensors.keys().eq(["fc.bias", "fc.weight"]));
        assert_eq!(floats(&tensors["fc.weight"]).unwrap(), [1.0, 0.0, 0.0, 4.0]);
    }

    #[test]
    fn lengths_and_directions_are_multiplied() {
        for [length, direction] in [
            ["fc.weight_g", "fc.weight_v"],
            ["fc.parametrizations.weight.original0", "fc.parametrizations.weight.original1"],
        ] {
            let tensors = merged(BTreeMap::from([
                tensor(length, &[2, 1], &[10.0, 1.0]),
                tensor(direction, &[2, 2], &[3.0, 4.0, 0.0, 2.0]),
            ]));
            let weight = &tensors["fc.weight"];
            assert_eq!(weight.shape[..], [2, 2]);
            assert_eq!(floats(weight).unwrap(), [6.0, 8.0, 0.0, 1.0]);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_an_error_when_they_are_read() {
        let tensors = merged(BTreeMap::from([
            tensor("weight_orig", &[3], &[1.0; 3]),
            tensor("weight_mask", &[2], &[1.0; 2]),
        ]));
        assert!(floats(&tensors["weight"]).is_err());
    }
}
