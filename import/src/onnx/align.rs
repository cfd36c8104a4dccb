//! The correspondence between the layers of two networks.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::layers::{Feed, Layers};

/// Finds for each layer of `ours` the corresponding one of `theirs`.
///
/// Layers are colored by their forms, then repeatedly by the colors around them, as in the
/// Weisfeiler-Leman test, until the colors distinguish no further layers. Layers with the same
/// color are then paired in the order of computation, one pair at a time, and each pair's color is
/// spread.
///
/// Exporters may write the operators between layers in unknown ways. So the comparison first uses
/// the offsets in concatenations, then only the connections, and at last only the order.
pub(super) fn align<A, B>(ours: &Layers<A>, theirs: &Layers<B>) -> Option<(Detail, Vec<usize>)> {
    let details = [Detail::Offsets, Detail::Feeds, Detail::Forms];
    details.into_iter().find_map(|detail| {
        let ours = Colors::new(ours, detail);
        let theirs = Colors::new(theirs, detail);
        Some((detail, pair(ours, theirs)?))
    })
}

/// The agreement of two networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Only the layers agree.
    Forms,
    /// The connections agree, too.
    Feeds,
    /// The offsets in concatenations agree, too.
    Offsets,
}

/// The colors of the layers of a network.
struct Colors {
    colors: Vec<u64>,
    /// The inputs of each layer, with the number of channels before them.
    feeds: Vec<Vec<(usize, i64)>>,
    /// The outputs of each layer.
    fed: Vec<Vec<(usize, i64)>>,
}

impl Colors {
    fn new<W>(layers: &Layers<W>, detail: Detail) -> Self {
        let count = layers.layers.len();
        let offset = |feed: &Feed| if detail == Detail::Offsets { feed.offset } else { 0 };
        let mut colors = Vec::with_capacity(count);
        let mut feeds = vec![Vec::new(); count];
        let mut fed = vec![Vec::new(); count];
        for (index, layer) in layers.layers.iter().enumerate() {
            if detail == Detail::Forms {
                colors.push(hash(&layer.form));
                continue;
            }
            for feed in &layer.feeds {
                if let Some(from) = feed.from {
                    feeds[index].push((from, offset(feed)));
                    fed[from].push((index, offset(feed)));
                }
            }
            let is_first = layer.feeds.iter().any(|feed| feed.from.is_none());
            let ends: BTreeSet<i64> =
                layers.last.iter().filter(|feed| feed.from == Some(index)).map(offset).collect();
            colors.push(hash(&(&layer.form, is_first, ends)));
        }
        for list in feeds.iter_mut().chain(&mut fed) {
            list.sort_unstable();
            list.dedup();
        }
        Self { colors, feeds, fed }
    }

    /// Spreads the colors to the neighbors.
    fn spread(&mut self) {
        let around = |links: &[(usize, i64)]| {
            let mut around: Vec<(u64, i64)> =
                links.iter().map(|&(other, offset)| (self.colors[other], offset)).collect();
            around.sort_unstable();
            around
        };
        self.colors = (0..self.colors.len())
            .map(|index| {
                hash(&(self.colors[index], around(&self.feeds[index]), around(&self.fed[index])))
            })
            .collect();
    }

    /// Returns the layers of each color.
    fn classes(&self) -> BTreeMap<u64, Vec<usize>> {
        let mut classes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, &color) in self.colors.iter().enumerate() {
            classes.entry(color).or_default().push(index);
        }
        classes
    }
}

/// Pairs the layers of equal colors, if both networks have the same number of each.
fn pair(mut ours: Colors, mut theirs: Colors) -> Option<Vec<usize>> {
    if ours.colors.len() != theirs.colors.len() {
        return None;
    }
    let mut number = 0;
    loop {
        let mut classes = ours.classes();
        loop {
            ours.spread();
            theirs.spread();
            let finer = ours.classes();
            let is_stable = finer.len() == classes.len();
            classes = finer;
            if is_stable {
                break;
            }
        }
        let their_classes = theirs.classes();
        let sizes = |classes: &BTreeMap<u64, Vec<usize>>| -> Vec<(u64, usize)> {
            classes.iter().map(|(&color, members)| (color, members.len())).collect()
        };
        if sizes(&classes) != sizes(&their_classes) {
            return None;
        }
        // Of the layers with the same color, the first in the order of computation get a new one.
        let alike = classes.iter().filter(|(_, members)| members.len() > 1);
        match alike.min_by_key(|(_, members)| members[0]) {
            Some((color, members)) => {
                number += 1;
                ours.colors[members[0]] = hash(&("one", number));
                theirs.colors[their_classes[color][0]] = hash(&("one", number));
            }
            None => {
                let mut pairs = vec![0; ours.colors.len()];
                for (color, members) in classes {
                    pairs[members[0]] = their_classes[&color][0];
                }
                return Some(pairs);
            }
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
