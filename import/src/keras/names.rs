//! Names of layers.

use std::collections::HashMap;

use serde_json::Value;

use super::layers::{Layer, Role};

/// Returns the names of the layers in a network's configuration, by the path of their weights.
pub(super) fn in_config(config: &Value) -> HashMap<String, String> {
    let mut names = HashMap::new();
    collect(&config["config"], "", &mut names);
    names
}

fn collect(network: &Value, path: &str, names: &mut HashMap<String, String>) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for layer in network["layers"].as_array().into_iter().flatten() {
        let (Some(class), Some(name)) =
            (layer["class_name"].as_str(), layer["config"]["name"].as_str())
        else {
            continue;
        };
        let class = snake_case(class);
        let count = counts.entry(class.clone()).or_default();
        let path = match count {
            0 => format!("{path}layers/{class}"),
            _ => format!("{path}layers/{class}_{count}"),
        };
        *count += 1;
        collect(&layer["config"], &format!("{path}/"), names);
        names.insert(path, name.to_owned());
    }
}

/// Converts `DepthwiseConv2D` to `depthwise_conv2d`, as Keras does.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut name = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| letters[before]);
        let is_before_small = letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        let is_word = letter.is_uppercase()
            && before.is_some_and(|before| is_before_small || before.is_lowercase());
        if is_word {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Keras's default names of layers. A number follows, which increases from network to network.
const UNNAMED: [&str; 5] =
    ["conv2d", "depthwise_conv2d", "separable_conv2d", "batch_normalization", "dense"];

/// The classifier of nearly all published networks.
const CLASSIFIER: &str = "predictions";

/// The fully connected layers of published networks, and the convolution that replaces one.
const FULLY_CONNECTED: [&str; 4] = [CLASSIFIER, "conv_preds", "fc1", "fc2"];

/// Gives predictable names to layers with default names: they are numbered from 0 in the order of
/// their creation. A single additional fully connected layer is a new classifier.
pub(super) fn settle(layers: &mut [Layer]) {
    let number = |name: &str, class: &str| match name.strip_prefix(class)? {
        "" => Some(0),
        number => number.strip_prefix('_')?.parse::<usize>().ok(),
    };
    let has_classifier = layers.iter().any(|layer| {
        FULLY_CONNECTED[..2].contains(&layer.name.as_str()) && layer.has(&Role::Kernel)
    });
    let mut new: Vec<&mut Layer> = layers
        .iter_mut()
        .filter(|layer| layer.is_dense() && !FULLY_CONNECTED.contains(&layer.name.as_str()))
        .collect();
    if let ([classifier], false) = (new.as_mut_slice(), has_classifier) {
        CLASSIFIER.clone_into(&mut classifier.name);
    }
    for class in UNNAMED {
        let mut unnamed: Vec<_> = layers
            .iter_mut()
            .filter_map(|layer| Some((number(&layer.name, class)?, layer)))
            .collect();
        unnamed.sort_by_key(|(number, _)| *number);
        for (index, (_, layer)) in unnamed.into_iter().enumerate() {
            layer.name = format!("{class}_{index}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_become_kerass_layer_names() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("SeparableConv2D", "separable_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("ReLU", "re_lu"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("InputLayer", "input_layer"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }
}
