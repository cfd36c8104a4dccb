//! Locations of a network's tensors in a checkpoint.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::store::burn_pack::Tensor;
use zoo_core::{KeyLayout, Parameter};

use crate::load::{has_shape, keys_of, pytorch_shape};

/// The location of a network in a checkpoint: the prefix of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The prefix before the network's keys, with a dot at the end, or nothing.
    pub prefix: String,
    /// The checkpoint's key of the network's first tensor.
    pub stem: String,
    /// The numbers that replace the names of the network's modules, if these were put into an
    /// `nn.Sequential`.
    numbered: BTreeMap<String, String>,
}

impl Location {
    /// Returns the tensors at this location by the network's keys, and all others by their own.
    pub(crate) fn split(
        &self,
        tensors: &BTreeMap<String, Tensor>,
    ) -> (BTreeMap<String, Tensor>, BTreeMap<String, Tensor>) {
        let (mut inside, mut outside) = (BTreeMap::new(), BTreeMap::new());
        for (key, tensor) in tensors {
            let inner =
                key.strip_prefix(&self.prefix).map(|inner| match self.numbered.get(first(inner)) {
                    Some(name) => format!("{name}{}", &inner[first(inner).len()..]),
                    None => inner.to_owned(),
                });
            match inner {
                Some(inner) => inside.insert(inner, tensor.clone()),
                None => outside.insert(key.clone(), tensor.clone()),
            };
        }
        (inside, outside)
    }

    /// Returns the tensors of the modules beside the network, from those outside its location.
    pub(crate) fn siblings(&self, outside: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
        let network = self.prefix.trim_end_matches('.');
        let parent = network.rfind('.').map_or("", |end| &network[..=end]);
        if network.is_empty() {
            return BTreeMap::new();
        }
        let inner = |key: &String| key.strip_prefix(parent).map(str::to_owned);
        outside.iter().filter_map(|(key, tensor)| Some((inner(key)?, tensor.clone()))).collect()
    }
}

/// The keys of a checkpoint, indexed for the search for networks.
pub(crate) struct Index<'t> {
    tensors: &'t BTreeMap<String, Tensor>,
    /// The keys by their last segments.
    ends: HashMap<&'t str, Vec<&'t str>>,
    /// The modules whose children all have numbers, with these numbers in order.
    numbered: BTreeMap<&'t str, BTreeSet<usize>>,
}

impl<'t> Index<'t> {
    pub(crate) fn new(tensors: &'t BTreeMap<String, Tensor>) -> Self {
        let mut children: BTreeMap<&str, Option<BTreeSet<usize>>> = BTreeMap::new();
        for key in tensors.keys() {
            let mut start = 0;
            while let Some(length) = key[start..].find('.') {
                let child = key[start..start + length].parse().ok();
                let entry = children.entry(&key[..start]).or_insert_with(|| Some(BTreeSet::new()));
                match (entry.as_mut(), child) {
                    (Some(numbers), Some(number)) => drop(numbers.insert(number)),
                    _ => *entry = None,
                }
                start += length + 1;
            }
        }
        let numbered = children.into_iter().filter_map(|(key, numbers)| Some((key, numbers?)));
        let mut ends: HashMap<&str, Vec<&str>> = HashMap::new();
        for key in tensors.keys() {
            ends.entry(end(key)).or_default().push(key);
        }
        Self { tensors, ends, numbered: numbered.collect() }
    }

    /// Returns the prefixes of a key in the checkpoint.
    fn prefixes(&self, key: &str) -> impl Iterator<Item = &'t str> {
        let found = self.ends.get(end(key)).map_or(&[][..], Vec::as_slice).iter();
        found
            .filter_map(move |found| found.strip_suffix(key))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    }

    /// Returns the locations that have all names of a network, except those of the classifier.
    pub(crate) fn locations(&self, layout: &KeyLayout, parameters: &[Parameter]) -> Vec<Location> {
        let Some(stem) = parameters.first() else { return Vec::new() };
        let anchors = layout.keys(std::slice::from_ref(stem));
        let Some(Some(anchor)) = anchors.first() else { return Vec::new() };
        if parameters.len() > self.tensors.len() + CLASSIFIER {
            return Vec::new();
        }
        let shape = pytorch_shape(stem);
        let mut locations = Vec::new();
        for prefix in self.prefixes(anchor) {
            if is_like(&self.tensors[&format!("{prefix}{anchor}")], &shape) {
                let stem = format!("{prefix}{anchor}");
                locations.push(Location {
                    prefix: prefix.to_owned(),
                    stem,
                    numbered: BTreeMap::new(),
                });
            }
        }
        locations.extend(self.numbered_locations(layout, parameters, anchor, &shape));
        locations
    }

    /// Returns the locations that have numbers instead of the names of a network's modules, in the
    /// same order.
    fn numbered_locations(
        &self,
        layout: &KeyLayout,
        parameters: &[Parameter],
        anchor: &str,
        shape: &[usize],
    ) -> Vec<Location> {
        let rest = &anchor[first(anchor).len()..];
        let mut modules: Option<Vec<String>> = None;
        let mut locations = Vec::new();
        for (prefix, numbers) in &self.numbered {
            let Some(lowest) = numbers.first() else { continue };
            let stem = format!("{prefix}{lowest}{rest}");
            let is_stem = self.tensors.get(&stem).is_some_and(|tensor| is_like(tensor, shape));
            if first(anchor).parse::<usize>().is_ok() || !is_stem {
                continue;
            }
            let modules = modules.get_or_insert_with(|| {
                let mut modules: Vec<String> = Vec::new();
                for key in keys_of(layout, parameters) {
                    if !modules.iter().any(|known| known == first(&key)) {
                        modules.push(first(&key).to_owned());
                    }
                }
                modules
            });
            // The classifier may be missing.
            if numbers.len() == modules.len() || numbers.len() + 1 == modules.len() {
                let numbered = numbers.iter().map(ToString::to_string).zip(modules.iter().cloned());
                let (prefix, numbered) = ((*prefix).to_owned(), numbered.collect());
                locations.push(Location { prefix, stem, numbered });
            }
        }
        locations
    }

    /// Returns the prefix that has most of some keys, for a network that is incomplete.
    pub(crate) fn likely(&self, keys: &[String]) -> Option<Location> {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for prefix in keys.iter().flat_map(|key| self.prefixes(key)) {
            *known.entry(prefix).or_default() += 1;
        }
        let (prefix, _) =
            known.into_iter().max_by_key(|(prefix, count)| (*count, usize::MAX - prefix.len()))?;
        let stem = String::new();
        Some(Location { prefix: prefix.to_owned(), stem, numbered: BTreeMap::new() })
    }
}

/// Returns the first segment of a key.
pub(crate) fn first(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

/// Returns the last two segments of a key, which index it.
fn end(key: &str) -> &str {
    let mut dots = key.rmatch_indices('.');
    dots.nth(1).map_or(key, |(at, _)| &key[at + 1..])
}

/// The largest number of classifier parameters, which a checkpoint may lack.
const CLASSIFIER: usize = 8;

/// Whether a tensor can be a network's first kernel, with any number of input channels.
fn is_like(tensor: &Tensor, shape: &[usize]) -> bool {
    match (&tensor.shape[..], shape) {
        ([outputs, _, height, width], [expected, _, rows, columns]) => {
            (outputs, height, width) == (expected, rows, columns)
        }
        _ => has_shape(tensor, shape),
    }
}
