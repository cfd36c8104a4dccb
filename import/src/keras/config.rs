//! A network's configuration: what layers there are and what each is called with.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::onnx::Node;

/// Whether a layer consists of layers.
pub(super) fn is_network(layer: &Json) -> bool {
    layer["class_name"].is_string() && !members(layer).is_empty()
}

/// The layers of a network; before Keras 2.3 a sequence is nothing but a list of them.
pub(super) fn members(network: &Json) -> &[Json] {
    let config = &network["config"];
    let layers = config["layers"].as_array().or_else(|| config.as_array());
    layers.map_or(&[], Vec::as_slice)
}

pub(super) fn is_sequence(network: &Json) -> bool {
    network["class_name"] == "Sequential" || network["config"]["output_layers"].is_null()
}

/// Whether it is known what feeds what.
pub(super) fn is_connected(network: &Json) -> bool {
    network["class_name"] == "Sequential" || !network["config"]["output_layers"].is_null()
}

/// A value between layers.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What the dimensions of a value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Batch, channels, height, width.
    Map,
    /// Batch, height, width.
    Plane,
    /// Batch, features.
    Vector,
}

/// What a layer is called with.
#[derive(Debug, Clone)]
pub(super) enum Argument {
    Value(Value),
    /// A number, or one for each channel.
    Numbers(Vec<f32>),
    Other(Json),
}

/// Where a value is made: the layer, which call of it, and which of its outputs.
pub(super) type Place = (String, u64, u64);

/// A layer of the configuration.
#[derive(Clone, Copy)]
pub(super) struct Described<'c> {
    /// Its name, and a number where it is called more than once.
    pub(super) name: &'c str,
    pub(super) class: &'c str,
    pub(super) config: &'c Json,
}

impl<'c> Described<'c> {
    pub(super) fn own_name(&self) -> &'c str {
        self.config["name"].as_str().unwrap_or(self.name)
    }

    /// What strides and padding make of a node.
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

/// The indices that a call of a layer has in the configuration.
///
/// Keras 2 counts that a network inside a network was made as its first call.
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

/// A number, or a list of some, however deep in lists of one.
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

/// The places in a list of them, or a single one.
pub(super) fn places(json: &Json) -> Vec<Place> {
    match place(json) {
        Some(place) => vec![place],
        None => json.as_array().into_iter().flatten().filter_map(place).collect(),
    }
}

fn place(json: &Json) -> Option<Place> {
    match json.as_array()?.as_slice() {
        [layer, call, output, ..] => {
            Some((layer.as_str()?.to_owned(), call.as_u64()?, output.as_u64()?))
        }
        _ => None,
    }
}

/// What a layer is called with, if all of that is known.
pub(super) fn arguments(call: &Json, values: &HashMap<Place, Value>) -> Option<Vec<Argument>> {
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
        // Keras 2: where each value comes from, and behind it what else the layer is told.
        _ => {
            let single = place(call).is_some().then(|| std::slice::from_ref(call));
            for one in single.or_else(|| call.as_array().map(Vec::as_slice))? {
                arguments.push(Argument::Value(values.get(&place(one)?)?.clone()));
                arguments.extend(one.get(3).cloned().map(Argument::Other));
            }
            // Where it is told nothing, that is an empty object.
            arguments.retain(
                |one| !matches!(one, Argument::Other(Json::Object(words)) if words.is_empty()),
            );
        }
    }
    Some(arguments)
}

fn collect(
    one: &Json,
    values: &HashMap<Place, Value>,
    arguments: &mut Vec<Argument>,
) -> Option<()> {
    if one["class_name"] == "__keras_tensor__" {
        let place = place(&one["config"]["keras_history"])?;
        arguments.push(Argument::Value(values.get(&place)?.clone()));
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
