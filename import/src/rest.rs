//! The tensors of a checkpoint beside a network's backbone: its classifier, and those that do not
//! belong to the network.

use std::collections::{BTreeMap, BTreeSet};

use burn::store::burn_pack::Tensor;
use zoo_core::layers::Activation;

use crate::head;
use crate::load::is_counter;
use crate::location::{Location, first};

/// Tensors by key.
type Tensors = BTreeMap<String, Tensor>;

/// The tensors of a checkpoint that are not in a network's backbone.
pub(crate) struct Rest<'t> {
    /// Those at the network's location, by the network's keys.
    pub inside: Tensors,
    /// Those elsewhere, by their own keys.
    pub outside: Tensors,
    /// The names of the backbone's modules.
    pub backbone: BTreeSet<&'t str>,
    pub location: &'t Location,
}

/// The classifier that a checkpoint has for a network's backbone.
pub(crate) enum Classifier {
    /// The checkpoint has none.
    None,
    /// The module with this name does not consist of consecutive fully connected layers.
    Unknown(String),
    /// The checkpoint has this one.
    One(head::Head),
    /// Each of the modules with these names can be the classifier.
    Several(Vec<String>),
}

impl Rest<'_> {
    /// Takes the classifier out of the rest. It is in the network's own module for it, or else in a
    /// module that the network does not have, or else in a module beside the network.
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
            let mut following = self.following(outputs);
            return match following.len() {
                0 => Classifier::One(named(region, head)),
                1 => {
                    // The layers that follow have another name.
                    let (name, next) = following.swap_remove(0);
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
                _ => Classifier::Several(following.into_iter().map(|(name, _)| name).collect()),
            };
        }
        let mut found: Vec<(String, head::Head)> = Vec::new();
        let names: BTreeSet<String> = self.inside.keys().map(|key| first(key).to_owned()).collect();
        for name in names.iter().filter(|name| !self.backbone.contains(name.as_str())) {
            let (group, _) = under(&self.inside, name);
            if let Some(head) = head::chain(&group, inputs, [weight, bias], activation) {
                found.push((name.clone(), head));
            }
        }
        if found.is_empty() {
            let siblings = self.location.siblings(&self.outside);
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

    /// Whether no layer follows a network's own classifier, in its module or elsewhere.
    pub(crate) fn is_alone(&self, [weight, bias]: [&str; 2]) -> bool {
        let (group, _) = under(&self.inside, self.region(weight));
        let outputs = self.inside.get(weight).map_or(0, |weight| weight.shape[0]);
        let own = [weight, bias].into_iter().filter(|key| self.inside.contains_key(*key)).count();
        group.len() == own && self.following(outputs).is_empty()
    }

    /// Removes the classifier whose weight has this key, with all tensors of its module.
    pub(crate) fn leave_classifier(&mut self, weight: &str) {
        self.leave(self.region(weight));
    }

    /// Removes a module.
    pub(crate) fn leave(&mut self, module: &str) {
        self.inside = under(&self.inside, module).1;
    }

    /// Returns notes about the tensors that were left out, or `None` if those at the network's
    /// location show that it is another network.
    pub(crate) fn notes(&self) -> Option<Vec<String>> {
        let modules = [self.leftovers()?, self.beside()];
        Some(modules.iter().filter(|modules| !modules.is_empty()).map(ignored).collect())
    }

    /// Returns the module of a network's classifier, or the classifier's own name if that module
    /// has other layers of the network.
    fn region<'k>(&self, weight: &'k str) -> &'k str {
        let own = weight.rsplit_once('.').map_or("", |(name, _)| name);
        if self.backbone.contains(first(own)) { own } else { first(own) }
    }

    /// Returns the modules of fully connected layers with `inputs` inputs that may follow the
    /// network.
    fn following(&self, inputs: usize) -> Vec<(String, Tensors)> {
        let siblings = self.location.siblings(&self.outside);
        let modules = |tensors: &Tensors| -> BTreeSet<String> {
            tensors.keys().map(|key| first(key).to_owned()).collect()
        };
        let (within, beside) = (modules(&self.inside), modules(&siblings));
        let within = within.into_iter().filter(|name| !self.backbone.contains(name.as_str()));
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

    /// Returns the modules that are left over at a network's location. `None` if they belong to a
    /// network: if they are beside layers of the same module, or have convolutions.
    fn leftovers(&self) -> Option<BTreeMap<String, usize>> {
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        for (key, tensor) in &self.inside {
            let name = first(key);
            if self.backbone.contains(name) || (tensor.shape.len() > 2 && !is_of_training(name)) {
                return None;
            }
            *left.entry(name.to_owned()).or_default() += 1;
        }
        Some(left)
    }

    /// Returns the modules outside a network's location that do not contain it.
    fn beside(&self) -> BTreeMap<String, usize> {
        let mut beside: BTreeMap<String, usize> = BTreeMap::new();
        for key in self.outside.keys().filter(|key| !is_counter(key)) {
            let around = self
                .location
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

/// Returns the tensors with a prefix, without it, and the others.
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

/// Returns the number of outputs of a classifier.
fn outputs(head: &head::Head, [weight, _]: [&str; 2]) -> usize {
    let last = match head.hidden.len() {
        0 => weight.to_owned(),
        layers => format!("tail.{}.linear.weight", layers - 1),
    };
    head.tensors.get(&last).map_or(0, |weight| weight.shape[0])
}

/// Adds the checkpoint's name to the names of a classifier's layers.
fn named(name: &str, mut head: head::Head) -> head::Head {
    let join = |rest: &String| match rest.is_empty() {
        true => name.to_owned(),
        false => format!("{name}.{rest}"),
    };
    head.names = head.names.iter().map(join).collect();
    head
}

/// Words in the names of modules that only training needs.
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

/// Whether only training needs a module.
fn is_of_training(name: &str) -> bool {
    let name = name.to_lowercase();
    name.split('_').any(|word| TRAINING.iter().any(|known| word.starts_with(known)))
}

/// Returns a note about modules that were left out.
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
