//! The networks that a checkpoint resembles, and the differences in words.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use zoo_core::KeyLayout;

use crate::load::{has_shape, is_counter, keys_of, pytorch_shape};
use crate::location::{Index, first};
use crate::{Candidate, Checkpoint};

/// The similarity of a checkpoint to a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resemblance {
    /// The network's name.
    pub name: String,
    /// The layout of the keys.
    pub layout: &'static str,
    /// Number of parameters with a tensor of their key and shape.
    pub matched: usize,
    /// Number of parameters of the network.
    pub parameters: usize,
    /// Number of tensors of the checkpoint without a parameter in the network.
    pub unused: usize,
    /// The differences, in words.
    pub differences: Vec<String>,
}

/// The largest number of networks that are named.
const NAMED: usize = 3;

/// Returns the networks with most matches in the checkpoint, the nearest first.
pub(crate) fn nearest(
    checkpoint: &Checkpoint,
    index: &Index<'_>,
    candidates: &[Candidate<'_>],
) -> Vec<Resemblance> {
    let counted = checkpoint.tensors.keys().filter(|key| !is_counter(key)).count();
    let mut near: Vec<Resemblance> = Vec::new();
    for candidate in candidates {
        let (classes, channels) = candidate.usual;
        let parameters = (candidate.build)(classes, channels);
        // A network with twice as many or half as many tensors is another one.
        if parameters.len() > 2 * counted || counted > 4 * parameters.len() {
            continue;
        }
        for layout in candidate.layouts {
            near.extend(resemblance(checkpoint, index, candidate, layout, &parameters));
        }
    }
    near.sort_by_key(|one| {
        let apart = one.parameters - one.matched + one.unused;
        (apart, one.name.len())
    });
    let mut names = BTreeSet::new();
    near.retain(|one| names.insert(one.name.clone()));
    near.truncate(NAMED);
    near
}

/// Compares a network and a checkpoint in one layout. `None` if they do not share most tensors.
fn resemblance(
    checkpoint: &Checkpoint,
    index: &Index<'_>,
    candidate: &Candidate<'_>,
    layout: &'static KeyLayout,
    parameters: &[zoo_core::Parameter],
) -> Option<Resemblance> {
    let keys = keys_of(layout, parameters);
    let ends: Vec<String> = keys.iter().step_by((keys.len() / 8).max(1)).cloned().collect();
    let location = index.likely(&ends)?;
    let (mut inside, _) = location.split(&checkpoint.tensors);
    inside.retain(|key, _| !is_counter(key) && !layout.is_optional(key));
    let mut matched = 0;
    let mut missing = BTreeSet::new();
    let mut reshaped = Vec::new();
    for (key, parameter) in keys.iter().zip(parameters) {
        let expected = pytorch_shape(parameter);
        match inside.remove(key) {
            None => drop(missing.insert(module(key))),
            Some(tensor) if has_shape(&tensor, &expected) => matched += 1,
            Some(tensor) => reshaped.push((key, expected, tensor.shape.to_vec())),
        }
    }
    if 2 * matched < parameters.len() || 2 * matched < inside.len() {
        return None;
    }
    // Another number of classes is not a difference.
    let classifier = (candidate.classifier)();
    let path_of: HashMap<&String, &String> =
        keys.iter().zip(parameters.iter().map(|parameter| &parameter.path)).collect();
    reshaped.retain(|(key, ..)| !classifier.contains(path_of[key]));
    let mut differences = Vec::new();
    for (key, expected, found) in &reshaped {
        let layer = key.rsplit_once('.').map_or(key.as_str(), |(layer, _)| layer);
        differences.push(match (&expected[..], &found[..]) {
            ([outputs, .., height, width], [others, .., rows, columns])
                if expected.len() == 4
                    && found.len() == 4
                    && outputs == others
                    && (height, width) != (rows, columns) =>
            {
                format!("`{layer}` is {rows}x{columns}, not {height}x{width}")
            }
            _ => format!("`{key}` is {found:?}, not {expected:?}"),
        });
    }
    let list = |what: &str, modules: BTreeSet<String>| {
        let shown: Vec<_> =
            modules.iter().take(NAMED).map(|module| format!("`{module}`")).collect();
        let more = if modules.len() > NAMED { ", …" } else { "" };
        (!modules.is_empty()).then(|| format!("{what} {}{more}", shown.join(", ")))
    };
    differences.truncate(NAMED);
    differences.extend(list("it lacks", missing));
    let unused = inside.len();
    differences.extend(list("it also has", inside.keys().map(|key| module(key)).collect()));
    Some(Resemblance {
        name: candidate.name.to_owned(),
        layout: layout.name,
        matched,
        parameters: parameters.len(),
        unused,
        differences,
    })
}

/// Returns the module of a key, as far as it is worth naming.
fn module(key: &str) -> String {
    let outer = first(key);
    match key[outer.len()..].strip_prefix('.').map(first) {
        Some(inner) if inner != "weight" && inner != "bias" => format!("{outer}.{inner}"),
        _ => outer.to_owned(),
    }
}

impl fmt::Display for Resemblance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, matched, parameters, differences, .. } = self;
        write!(f, "{name}, {matched} of whose {parameters} tensors match")?;
        match differences.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", differences.join("; ")),
        }
    }
}
