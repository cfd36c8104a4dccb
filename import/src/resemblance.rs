//! The networks that a checkpoint is nearly of, and what differs, in words.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use zoo_core::KeyLayout;

use crate::load::{has_shape, is_counter, keys_of, pytorch_shape};
use crate::place::{Index, first};
use crate::{Candidate, Checkpoint};

/// How much of a network a checkpoint has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resemblance {
    /// The network's name.
    pub name: String,
    /// Whose spelling of the keys it would be.
    pub layout: &'static str,
    /// Parameters that have a tensor of their key and shape.
    pub matched: usize,
    /// All parameters of the network.
    pub parameters: usize,
    /// Tensors of the checkpoint that the network has no place for.
    pub unused: usize,
    /// What differs, in words.
    pub differences: Vec<String>,
}

/// Networks that are named at most.
const NAMED: usize = 3;

/// The networks that a checkpoint has most of, the nearest first.
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
        // What has twice as many tensors, or half as many, is another network.
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

/// How a network and a checkpoint go together in one spelling; `None` if they have not most of it in common.
fn resemblance(
    checkpoint: &Checkpoint,
    index: &Index<'_>,
    candidate: &Candidate<'_>,
    layout: &'static KeyLayout,
    parameters: &[zoo_core::Parameter],
) -> Option<Resemblance> {
    let keys = keys_of(layout, parameters);
    let ends: Vec<String> = keys.iter().step_by((keys.len() / 8).max(1)).cloned().collect();
    let place = index.likely(&ends)?;
    let (mut inside, _) = place.split(&checkpoint.tensors);
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
    // Another number of classes is none.
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

/// The module that a key is of, as far as it is worth naming.
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
