use std::collections::HashMap;

use crate::deepened::TAIL;
use crate::{Parameter, Preprocess};

/// How a family of checkpoints spells the parameters of an architecture.
///
/// Each rule is a pair of a path pattern and a key template. A pattern is matched on whole
/// segments, from the front; the segments behind it are carried over. The first rule that
/// matches wins. In a pattern `{b}` captures one segment. In a template
///
/// - `{b}` puts it back, `{b+1}` adds to a number that was captured, `{b+a}` makes it a letter,
///   `a` for 0,
/// - `{#}` counts: 0 for the first combination of captures met in module order, then 1, …; it
///   flattens stages of blocks into one list. `{#+1}` counts from 1.
///
/// The layers that a [`Deepened`](crate::Deepened) network has behind its own keep their paths.
///
/// PyTorch's names for BatchNorm's scale and shift (`weight`, `bias`) are put in by themselves.
///
/// ```
/// # use zoo_core::KeyLayout;
/// const TORCHVISION: KeyLayout = KeyLayout {
///     name: "torchvision",
///     rules: &[
///         ("stem.conv", "features.0.0"),
///         ("blocks.{b}.expand.conv", "features.{b+1}.conv.0.0"),
///     ],
///     ..KeyLayout::EMPTY
/// };
/// ```
#[derive(Debug, Clone, Copy)]
pub struct KeyLayout {
    /// Who spells the keys this way, for messages: `torchvision`.
    pub name: &'static str,
    /// Path pattern → key template.
    pub rules: &'static [(&'static str, &'static str)],
    /// Beginnings of keys, in whole segments, and what stands in their place: for those who
    /// took a spelling over and changed little.
    pub renamed: &'static [(&'static str, &'static str)],
    /// First segments of keys that a model may do without: auxiliary heads.
    pub optional: &'static [&'static str],
    /// How those who spell keys this way prepare the images of ImageNet, for files that are not
    /// among a variant's weights. The size is the variant's.
    pub preprocess: Option<Preprocess>,
    /// How a word begins that the names of these files have, where another network has the same keys and
    /// shapes: timm's `tf_`. Empty for the network that is meant without that.
    pub file_prefix: &'static str,
}

impl KeyLayout {
    /// No rules; layouts start from it with `..KeyLayout::EMPTY`.
    pub const EMPTY: Self = Self {
        name: "",
        rules: &[],
        renamed: &[],
        optional: &[],
        preprocess: None,
        file_prefix: "",
    };

    /// The keys that somebody else made of these.
    #[must_use]
    pub const fn renamed(
        self,
        name: &'static str,
        renamed: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { name, renamed, ..self }
    }

    /// The checkpoint's key for each of a module's parameters, in the same order; `None` where
    /// no rule speaks of one.
    pub fn keys(&self, parameters: &[Parameter]) -> Vec<Option<String>> {
        let mut ordinals = HashMap::new();
        parameters.iter().map(|parameter| self.key(parameter, &mut ordinals)).collect()
    }

    /// Whether a key of a checkpoint belongs to a part that a model may do without.
    pub fn is_optional(&self, key: &str) -> bool {
        key.split('.').next().is_some_and(|first| self.optional.contains(&first))
    }

    fn key<'p>(
        &self,
        parameter: &'p Parameter,
        ordinals: &mut HashMap<Vec<&'p str>, usize>,
    ) -> Option<String> {
        let path: Vec<&str> = parameter.path.split('.').collect();
        if path.first() == Some(&TAIL) {
            return Some(parameter.path.clone());
        }
        let (captures, rest, template) = self.rules.iter().find_map(|(pattern, template)| {
            let (captures, rest) = match_prefix(pattern, &path)?;
            Some((captures, rest, template))
        })?;

        let mut key = fill(template, &captures, || {
            let next = ordinals.len();
            let values = captures.iter().map(|(_, value)| *value).collect();
            *ordinals.entry(values).or_insert(next)
        });
        for segment in rest {
            key.push('.');
            key.push_str(match (parameter.layer.as_str(), *segment) {
                ("BatchNorm", "gamma") => "weight",
                ("BatchNorm", "beta") => "bias",
                (_, other) => other,
            });
        }
        Some(self.rename(key))
    }

    fn rename(&self, key: String) -> String {
        let renamed = self.renamed.iter().find_map(|(from, to)| {
            let rest = key.strip_prefix(from).filter(|rest| rest.starts_with('.'))?;
            Some(format!("{to}{rest}"))
        });
        renamed.unwrap_or(key)
    }
}

type Captures<'a> = Vec<(&'static str, &'a str)>;

/// Matches a pattern against the first segments of a path: the captures and the segments left.
fn match_prefix<'a, 'p>(
    pattern: &'static str,
    path: &'a [&'p str],
) -> Option<(Captures<'p>, &'a [&'p str])> {
    let mut captures = Vec::new();
    let mut rest = path;
    for expected in pattern.split('.') {
        let (segment, tail) = rest.split_first()?;
        match capture_name(expected) {
            Some(name) => captures.push((name, *segment)),
            None if expected == *segment => {}
            None => return None,
        }
        rest = tail;
    }
    Some((captures, rest))
}

fn capture_name(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Replaces the braces of a template.
///
/// # Panics
///
/// When the template names a capture that its pattern does not have: a mistake in the table.
fn fill(
    template: &'static str,
    captures: &[(&str, &str)],
    mut ordinal: impl FnMut() -> usize,
) -> String {
    let mut key = String::new();
    let mut rest = template;
    while let Some((literal, tail)) = rest.split_once('{') {
        let (expression, tail) = tail.split_once('}').expect("a brace is closed");
        key.push_str(literal);
        let (name, offset) = expression.split_once('+').unwrap_or((expression, "0"));
        if name == "#" {
            key.push_str(&count_on(offset, ordinal()));
        } else {
            let value = captures
                .iter()
                .find_map(|(capture, value)| (*capture == name).then_some(*value))
                .unwrap_or_else(|| panic!("`{template}` names a capture that its pattern lacks"));
            match value.parse::<usize>() {
                Ok(number) => key.push_str(&count_on(offset, number)),
                Err(_) => key.push_str(value),
            }
        }
        rest = tail;
    }
    key.push_str(rest);
    key
}

/// What comes `steps` behind a number or a letter.
///
/// # Panics
///
/// When `start` is neither or the alphabet ends: a mistake in the table.
fn count_on(start: &str, steps: usize) -> String {
    if let Ok(number) = start.parse::<usize>() {
        return (number + steps).to_string();
    }
    let mut letters = start.chars().next().expect("an offset is a number or a letter")..='z';
    letters.nth(steps).expect("there are enough letters").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(path: &str, layer: &str) -> Parameter {
        Parameter { path: path.to_owned(), shape: vec![], layer: layer.to_owned() }
    }

    const LAYOUT: KeyLayout = KeyLayout {
        name: "test",
        rules: &[
            ("stem.conv", "conv1"),
            ("stem.norm", "bn1"),
            ("stages.{s}.{b}.{kind}.conv1", "layer{s+1}.{b}.conv1"),
            ("stages.{s}.{b}.{kind}.conv2", "_blocks.{#}.conv"),
            ("stages.{s}.{b}.{kind}.norm2", "_blocks.{#+1}.bn"),
            ("stages.{s}.{b}.{kind}.conv3", "mixed_{s+5}{b+b}"),
        ],
        optional: &["aux"],
        ..KeyLayout::EMPTY
    };

    #[test]
    fn keys_follow_the_rules() {
        let parameters = [
            parameter("stem.conv.weight", "Conv2d"),
            parameter("stem.norm.gamma", "BatchNorm"),
            parameter("stem.norm.running_var", "BatchNorm"),
            parameter("stages.0.1.Basic.conv1.weight", "Conv2d"),
            parameter("stages.0.0.Basic.conv2.weight", "Conv2d"),
            parameter("stages.0.1.Basic.conv2.weight", "Conv2d"),
            parameter("stages.1.0.Basic.conv2.weight", "Conv2d"),
            parameter("stages.0.1.Basic.norm2.beta", "BatchNorm"),
            parameter("stages.0.1.Basic.conv3.weight", "Conv2d"),
            parameter("stemming.conv.weight", "Conv2d"),
        ];
        let keys = LAYOUT.keys(&parameters);
        let keys: Vec<_> = keys.iter().map(|key| key.as_deref()).collect();
        assert_eq!(
            keys,
            [
                Some("conv1.weight"),
                Some("bn1.weight"),
                Some("bn1.running_var"),
                Some("layer1.1.conv1.weight"),
                Some("_blocks.0.conv.weight"),
                Some("_blocks.1.conv.weight"),
                Some("_blocks.2.conv.weight"),
                Some("_blocks.2.bn.bias"),
                Some("mixed_5c.weight"),
                None,
            ]
        );
    }

    #[test]
    fn beginnings_of_keys_are_renamed() {
        let layout =
            LAYOUT.renamed("other", &[("layer2", "stage2"), ("conv", "c"), ("bn1", "n.1")]);
        let parameters = [
            parameter("stem.conv.weight", "Conv2d"),
            parameter("stem.norm.beta", "BatchNorm"),
            parameter("stages.1.0.Basic.conv1.weight", "Conv2d"),
        ];
        let keys: Vec<_> = layout.keys(&parameters).into_iter().flatten().collect();
        assert_eq!(keys, ["conv1.weight", "n.1.bias", "stage2.0.conv1.weight"]);
    }

    #[test]
    fn auxiliary_heads_are_optional() {
        assert!(LAYOUT.is_optional("aux.fc.weight"));
        assert!(!LAYOUT.is_optional("auxiliary.fc.weight"));
    }
}
