//! The configuration of a network: its layers and their inputs.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::onnx::Node;

/// Whether a layer consists of layers.
pub(super) fn is_network(layer: &Json) -> bool {
    layer["class_name"].is_string() && !members(layer).is_empty()
}

/// Returns the layers of a network. Before Keras 2.3, a sequential network is only a list of
/// layers.
pub(super) fn members(network: &Json) -> &[Json] {
    let config = &network["config"];
    let layers = config["layers"].as_array().or_else(|| config.as_array());
    layers.map_or(&[], Vec::as_slice)
}

pub(super) fn is_sequence(network: &Json) -> bool {
    network["class_name"] == "Sequential" || network["config"]["output_layers"].is_null()
}

/// Whether the configuration states the connections between layers.
pub(super) fn is_connected(network: &Json) -> bool {
    network["class_name"] == "Sequential" || !network["config"]["output_layers"].is_null()
}

/// A value between layers.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The dimensions of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Batch, channels, height, width.
    Map,
    /// Batch, height, width.
    Plane,
    /// Batch, features.
    Vector,
}

/// An argument of a layer's call.
#[derive(Debug, Clone)]
pub(super) enum Argument {
    Value(Value),
    /// A number, or one for each channel.
    Numbers(Vec<f32>),
    Other(Json),
}

/// The origin of a value: the layer, the index of its call, and the index of its output.
pub(super) type Origin = (String, u64, u64);

/// A layer of the configuration.
#[derive(Clone, Copy)]
pub(super) struct Described<'c> {
    /// Its name, with a number if it is called more than once.
    pub(super) name: &'c str,
    pub(super) class: &'c str,
    pub(super) config: &'c Json,
}

impl<'c> Described<'c> {
    pub(super) fn own_name(&self) -> &'c str {
        self.config["name"].as_str().unwrap_or(self.name)
    }

    /// Returns a function that adds strides and padding to a node.
    pub(super) fn window(&self, strides: &[&str]) -> Result<impl FnOnce(Node) -> Node, String> {
        let strides = strides.iter().find_map(|name| pair(&self.config[*name]));
        let border = [&self.config["padding"], &self.config["border_mode"]];
        let padding = match border.into_iter().find_map(Json::as_str) {
            Some("same") => "SAME_UPPER",
            Some("valid") | None => "VALID",
            Some(other) => {
                return Err(refusal(self.own_name(), &format!("has the padding `{other}`")));
            }
        };
        Ok(move |node: Node| {
            node.with_ints("strides", &strides.unwrap_or([1, 1])).with_string("auto_pad", padding)
        })
    }
}

pub(super) fn refusal(layer: &str, what: &str) -> String {
    format!(
        "its layer `{layer}` {what}, unlike any layer of the models here\nhint: import a network of \
         `keras.applications` with one Dense layer on the mean of its maps"
    )
}

pub(super) fn name(layer: &Json) -> String {
    let names = [&layer["name"], &layer["config"]["name"]];
    names.into_iter().find_map(Json::as_str).unwrap_or_default().to_owned()
}

/// Returns the indices that a call of a layer has in the configuration.
///
/// Keras 2 counts the construction of a nested network as its first call.
pub(super) fn indices(layer: &Json, index: u64) -> Vec<u64> {
    let calls = layer["inbound_nodes"].as_array().map_or(&[][..], Vec::as_slice);
    match calls {
        [call] if call.is_array() && is_network(layer) => vec![index, index + 1],
        [call, ..] if call.is_array() && is_network(layer) => vec![index + 1],
        _ => vec![index],
    }
}

pub(super) fn values_of(arguments: &[Argument]) -> Vec<&Value> {
    let mut values = Vec::new();
    for argument in arguments {
        if let Argument::Value(value) = argument {
            values.push(value);
        }
    }
    values
}

/// Whether an axis is that of the channels.
pub(super) fn is_last(axis: &Json, kind: Kind) -> bool {
    let last = if kind == Kind::Map { 3 } else { 1 };
    let axis = axis.as_array().map_or(axis, |axes| axes.first().unwrap_or(&Json::Null));
    axis.as_i64().is_none_or(|axis| axis == -1 || axis == last)
}

pub(super) fn pair(json: &Json) -> Option<[i64; 2]> {
    match json {
        Json::Array(two) => match &two[..] {
            [one, other] => Some([one.as_i64()?, other.as_i64()?]),
            [one] => Some([one.as_i64()?; 2]),
            _ => None,
        },
        one => one.as_i64().map(|one| [one; 2]),
    }
}

/// Returns a number or the numbers of a list. It may be nested in lists with one element.
pub(super) fn numbers(json: &Json) -> Option<Vec<f32>> {
    match json {
        Json::Number(number) => Some(vec![number.as_f64()? as f32]),
        Json::Array(list) => {
            let parts: Option<Vec<Vec<f32>>> = list.iter().map(numbers).collect();
            Some(parts?.concat()).filter(|numbers| !numbers.is_empty())
        }
        Json::Object(_) => numbers(json.get("config")?.get("value")?),
        _ => None,
    }
}

/// Returns the origins in a list, or a single one.
pub(super) fn origins(json: &Json) -> Vec<Origin> {
    match origin(json) {
        Some(origin) => vec![origin],
        None => json.as_array().into_iter().flatten().filter_map(origin).collect(),
    }
}

fn origin(json: &Json) -> Option<Origin> {
    match json.as_array()?.as_slice() {
        [layer, call, output, ..] => {
            Some((layer.as_str()?.to_owned(), call.as_u64()?, output.as_u64()?))
        }
        _ => None,
    }
}

/// Returns the arguments of a layer's call, if all of them are known.
pub(super) fn arguments(call: &Json, values: &HashMap<Origin, Value>) -> Option<Vec<Argument>> {
    let mut arguments = Vec::new();
    match call {
        // Keras 3.
        Json::Object(_) => {
            for one in call["args"].as_array().into_iter().flatten() {
                collect(one, values, &mut arguments)?;
            }
            for one in call["kwargs"].as_object().into_iter().flat_map(|words| words.values()) {
                if one.to_string().contains("keras_history") {
                    collect(one, values, &mut arguments)?;
                }
            }
        }
        // Keras 2: the origin of each value, followed by the other arguments.
        _ => {
            let single = origin(call).is_some().then(|| std::slice::from_ref(call));
            for one in single.or_else(|| call.as_array().map(Vec::as_slice))? {
                arguments.push(Argument::Value(values.get(&origin(one)?)?.clone()));
                arguments.extend(one.get(3).cloned().map(Argument::Other));
            }
            // Without other arguments, this is an empty object.
            arguments.retain(
                |one| !matches!(one, Argument::Other(Json::Object(words)) if words.is_empty()),
            );
        }
    }
    Some(arguments)
}

fn collect(
    one: &Json,
    values: &HashMap<Origin, Value>,
    arguments: &mut Vec<Argument>,
) -> Option<()> {
    if one["class_name"] == "__keras_tensor__" {
        let origin = origin(&one["config"]["keras_history"])?;
        arguments.push(Argument::Value(values.get(&origin)?.clone()));
    } else if let (Some(list), true) = (one.as_array(), one.to_string().contains("keras_history")) {
        for part in list {
            collect(part, values, arguments)?;
        }
    } else if let Some(numbers) = numbers(one) {
        arguments.push(Argument::Numbers(numbers));
    } else {
        arguments.push(Argument::Other(one.clone()));
    }
    Some(())
}
