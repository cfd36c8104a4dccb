//! Where in a checkpoint the tensors of a network may be.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn::store::burn_pack::Tensor;
use zoo_core::{KeyLayout, Parameter};

use crate::load::{has_shape, keys_of, pytorch_shape};

/// A place in a checkpoint: what the keys of a network begin with there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What comes before the network's keys, with a dot, or nothing.
    pub prefix: String,
    /// The checkpoint's key of the network's first tensor.
    pub stem: String,
    /// The numbers that stand for the names of the network's modules, where it was put into `nn.Sequential` module by
    /// module.
    numbered: BTreeMap<String, String>,
}

impl Place {
    /// The tensors at the place, by the network's keys, and all others by their own.
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

    /// The tensors of the modules beside the network, among those that are not at the place.
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

/// The keys of a checkpoint, prepared for looking for networks.
pub(crate) struct Index<'t> {
    tensors: &'t BTreeMap<String, Tensor>,
    /// The keys by their last steps.
    ends: HashMap<&'t str, Vec<&'t str>>,
    /// The modules all of whose children are numbers, with these in order.
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

    /// What comes before a key wherever it is.
    fn prefixes(&self, key: &str) -> impl Iterator<Item = &'t str> {
        let found = self.ends.get(end(key)).map_or(&[][..], Vec::as_slice).iter();
        found
            .filter_map(move |found| found.strip_suffix(key))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    }

    /// The places where all names of a network are, apart from those of the classifier.
    pub(crate) fn places(&self, layout: &KeyLayout, parameters: &[Parameter]) -> Vec<Place> {
        let Some(stem) = parameters.first() else { return Vec::new() };
        let anchors = layout.keys(std::slice::from_ref(stem));
        let Some(Some(anchor)) = anchors.first() else { return Vec::new() };
        if parameters.len() > self.tensors.len() + CLASSIFIER {
            return Vec::new();
        }
        let shape = pytorch_shape(stem);
        let mut places = Vec::new();
        for prefix in self.prefixes(anchor) {
            if is_like(&self.tensors[&format!("{prefix}{anchor}")], &shape) {
                let stem = format!("{prefix}{anchor}");
                places.push(Place { prefix: prefix.to_owned(), stem, numbered: BTreeMap::new() });
            }
        }
        places.extend(self.numbered_places(layout, parameters, anchor, &shape));
        places
    }

    /// The places where the modules of a network have numbers instead of names, in the same order.
    fn numbered_places(
        &self,
        layout: &KeyLayout,
        parameters: &[Parameter],
        anchor: &str,
        shape: &[usize],
    ) -> Vec<Place> {
        let rest = &anchor[first(anchor).len()..];
        let mut modules: Option<Vec<String>> = None;
        let mut places = Vec::new();
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
                places.push(Place { prefix, stem, numbered });
            }
        }
        places
    }

    /// The prefixes under which most of some keys are, for a network that is not wholly there.
    pub(crate) fn likely(&self, keys: &[String]) -> Option<Place> {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for prefix in keys.iter().flat_map(|key| self.prefixes(key)) {
            *known.entry(prefix).or_default() += 1;
        }
        let (prefix, _) =
            known.into_iter().max_by_key(|(prefix, count)| (*count, usize::MAX - prefix.len()))?;
        let stem = String::new();
        Some(Place { prefix: prefix.to_owned(), stem, numbered: BTreeMap::new() })
    }
}

/// The first step of a key.
pub(crate) fn first(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

/// The last steps of a key, by which it is looked up.
fn end(key: &str) -> &str {
    let mut dots = key.rmatch_indices('.');
    dots.nth(1).map_or(key, |(at, _)| &key[at + 1..])
}

/// The most parameters that a classifier has, which a checkpoint may lack.
const CLASSIFIER: usize = 8;

/// Whether a tensor can be a network's first kernel, for images of any number of channels.
fn is_like(tensor: &Tensor, shape: &[usize]) -> bool {
    match (&tensor.shape[..], shape) {
        ([outputs, _, height, width], [expected, _, rows, columns]) => {
            (outputs, height, width) == (expected, rows, columns)
        }
        _ => has_shape(tensor, shape),
    }
}
