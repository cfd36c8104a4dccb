//! What a checkpoint has beside the layers of a network: its classifier, and what is none of its own.

use std::collections::{BTreeMap, BTreeSet};

use burn::store::burn_pack::Tensor;
use zoo_core::layers::Activation;

use crate::head;
use crate::load::is_counter;
use crate::place::{Place, first};

/// Tensors by key.
type Tensors = BTreeMap<String, Tensor>;

/// The tensors of a checkpoint that are left when the trunk of a network was taken.
pub(crate) struct Rest<'t> {
    /// Those at the network's place, by the network's keys.
    pub inside: Tensors,
    /// Those elsewhere, by their own keys.
    pub outside: Tensors,
    /// The names of the trunk's modules.
    pub trunk: BTreeSet<&'t str>,
    pub place: &'t Place,
}

/// The classifier that a checkpoint has for the trunk of a network.
pub(crate) enum Classifier {
    /// The checkpoint has none.
    None,
    /// The module with this name has layers that are not fully connected ones in a row.
    Unknown(String),
    /// The checkpoint has this one.
    One(head::Head),
    /// The modules with these names could each be it.
    Several(Vec<String>),
}

impl Rest<'_> {
    /// Takes the classifier out of the rest. It is in the network's own module for it; or else in a module that the network
    /// does not have; or else in a module beside the network.
    pub(crate) fn take_classifier(
        &mut self,
        inputs: usize,
        [weight, bias]: [&str; 2],
        activation: Activation,
    ) -> Classifier {
        let region = self.region(weight);
        let (group, rest) = under(&self.inside, region);
        let names = [weight, bias];
        if !group.is_empty() {
            let Some(head) = head::chain(&group, inputs, names, activation) else {
                return Classifier::Unknown(region.to_owned());
            };
            self.inside = rest;
            let outputs = outputs(&head, names);
            let mut behind = self.behind(outputs);
            return match behind.len() {
                0 => Classifier::One(named(region, head)),
                1 => {
                    // The layers that follow under another name.
                    let (name, next) = behind.swap_remove(0);
                    self.inside.retain(|key, _| first(key) != name);
                    let one =
                        group.into_iter().map(|(key, tensor)| (format!("first.{key}"), tensor));
                    let two = next.into_iter().map(|(key, tensor)| (format!("next.{key}"), tensor));
                    let both = one.chain(two).collect();
                    match head::chain(&both, inputs, names, activation) {
                        Some(mut head) => {
                            head.names = vec![region.to_owned(), name];
                            Classifier::One(head)
                        }
                        None => Classifier::None,
                    }
                }
                _ => Classifier::Several(behind.into_iter().map(|(name, _)| name).collect()),
            };
        }
        let mut found: Vec<(String, head::Head)> = Vec::new();
        let names: BTreeSet<String> = self.inside.keys().map(|key| first(key).to_owned()).collect();
        for name in names.iter().filter(|name| !self.trunk.contains(name.as_str())) {
            let (group, _) = under(&self.inside, name);
            if let Some(head) = head::chain(&group, inputs, [weight, bias], activation) {
                found.push((name.clone(), head));
            }
        }
        if found.is_empty() {
            let siblings = self.place.siblings(&self.outside);
            let names: BTreeSet<&str> = siblings.keys().map(|key| first(key)).collect();
            for name in names {
                let (group, _) = under(&siblings, name);
                if let Some(head) = head::chain(&group, inputs, [weight, bias], activation) {
                    found.push((name.to_owned(), head));
                }
            }
        }
        match found.len() {
            0 => Classifier::None,
            1 => {
                let (name, head) = found.swap_remove(0);
                self.inside.retain(|key, _| first(key) != name);
                Classifier::One(named(&name, head))
            }
            _ => Classifier::Several(found.into_iter().map(|(name, _)| name).collect()),
        }
    }

    /// Whether nothing follows a network's own classifier, in its module or elsewhere.
    pub(crate) fn is_alone(&self, [weight, bias]: [&str; 2]) -> bool {
        let (group, _) = under(&self.inside, self.region(weight));
        let outputs = self.inside.get(weight).map_or(0, |weight| weight.shape[0]);
        let own = [weight, bias].into_iter().filter(|key| self.inside.contains_key(*key)).count();
        group.len() == own && self.behind(outputs).is_empty()
    }

    /// Leaves out the classifier whose weight has this key, and whatever else is where its layers are.
    pub(crate) fn leave_classifier(&mut self, weight: &str) {
        self.leave(self.region(weight));
    }

    /// Leaves out a module.
    pub(crate) fn leave(&mut self, module: &str) {
        self.inside = under(&self.inside, module).1;
    }

    /// Notes about what was left out; `None` if there is something at the network's place that makes it another network.
    pub(crate) fn notes(&self) -> Option<Vec<String>> {
        let modules = [self.leftovers()?, self.beside()];
        Some(modules.iter().filter(|modules| !modules.is_empty()).map(ignored).collect())
    }

    /// Where the layers of a network's classifier are: in its module, or where this has other layers of the network, under its
    /// own name.
    fn region<'k>(&self, weight: &'k str) -> &'k str {
        let own = weight.rsplit_once('.').map_or("", |(name, _)| name);
        if self.trunk.contains(first(own)) { own } else { first(own) }
    }

    /// The modules beside a network that take so many inputs and are fully connected layers.
    fn behind(&self, inputs: usize) -> Vec<(String, Tensors)> {
        let siblings = self.place.siblings(&self.outside);
        let modules = |tensors: &Tensors| -> BTreeSet<String> {
            tensors.keys().map(|key| first(key).to_owned()).collect()
        };
        let (within, beside) = (modules(&self.inside), modules(&siblings));
        let within = within.into_iter().filter(|name| !self.trunk.contains(name.as_str()));
        let groups = within
            .map(|name| (under(&self.inside, &name).0, name))
            .chain(beside.into_iter().map(|name| (under(&siblings, &name).0, name)));
        groups
            .filter(|(group, name)| {
                !is_of_training(name)
                    && head::chain(group, inputs, ["weight", "bias"], Activation::Relu).is_some()
            })
            .map(|(group, name)| (name, group))
            .collect()
    }

    /// The modules that are left over in a network's place; `None` if they are a part of a network: beside layers of the
    /// same module, or with convolutions.
    fn leftovers(&self) -> Option<BTreeMap<String, usize>> {
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        for (key, tensor) in &self.inside {
            let name = first(key);
            if self.trunk.contains(name) || (tensor.shape.len() > 2 && !is_of_training(name)) {
                return None;
            }
            *left.entry(name.to_owned()).or_default() += 1;
        }
        Some(left)
    }

    /// The modules beside a network's place, as far as they are not around it.
    fn beside(&self) -> BTreeMap<String, usize> {
        let mut beside: BTreeMap<String, usize> = BTreeMap::new();
        for key in self.outside.keys().filter(|key| !is_counter(key)) {
            let around = self
                .place
                .prefix
                .split('.')
                .zip(key.split('.'))
                .take_while(|(one, other)| one == other);
            let steps: Vec<&str> = key.split('.').take(around.count() + 1).collect();
            *beside.entry(steps.join(".")).or_default() += 1;
        }
        beside
    }
}

/// The tensors under a name, without it, and the others.
fn under(tensors: &Tensors, name: &str) -> (Tensors, Tensors) {
    let (mut group, mut rest) = (BTreeMap::new(), BTreeMap::new());
    for (key, tensor) in tensors {
        match key.strip_prefix(name).and_then(|key| key.strip_prefix('.')) {
            Some(inner) => group.insert(inner.to_owned(), tensor.clone()),
            None => rest.insert(key.clone(), tensor.clone()),
        };
    }
    (group, rest)
}

/// The outputs of a classifier.
fn outputs(head: &head::Head, [weight, _]: [&str; 2]) -> usize {
    let last = match head.hidden.len() {
        0 => weight.to_owned(),
        layers => format!("tail.{}.linear.weight", layers - 1),
    };
    head.tensors.get(&last).map_or(0, |weight| weight.shape[0])
}

/// A classifier with the names that its layers have in the checkpoint.
fn named(name: &str, mut head: head::Head) -> head::Head {
    let join = |rest: &String| match rest.is_empty() {
        true => name.to_owned(),
        false => format!("{name}.{rest}"),
    };
    head.names = head.names.iter().map(join).collect();
    head
}

/// Words in the names of what training keeps beside a network.
const TRAINING: [&str; 16] = [
    "optim",
    "sched",
    "ema",
    "scaler",
    "amp",
    "loss",
    "criterion",
    "rng",
    "metric",
    "queue",
    "proj",
    "pred",
    "momentum",
    "teacher",
    "aux",
    "swa",
];

/// Whether a module is what training keeps beside a network.
fn is_of_training(name: &str) -> bool {
    let name = name.to_lowercase();
    name.split('_').any(|word| TRAINING.iter().any(|known| word.starts_with(known)))
}

/// A note about modules that were left out.
fn ignored(modules: &BTreeMap<String, usize>) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = modules
        .iter()
        .take(SHOWN)
        .map(|(name, count)| match count {
            1 => format!("`{name}`"),
            count => format!("`{name}` ({count} tensors)"),
        })
        .collect();
    if modules.len() > SHOWN {
        names.push(format!("{} more", modules.len() - SHOWN));
    }
    format!("ignored, since it is not the network's: {}", names.join(", "))
}
