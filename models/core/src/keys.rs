use std::borrow::Cow;
use std::collections::HashMap;

use crate::mlp_head::TAIL;
use crate::{LayerKind, Parameter, Preprocess};

/// The rules that turn an architecture's paths into the keys of a kind of checkpoint.
///
/// Each rule is a pair of a path pattern and a key template. A pattern matches whole segments, from
/// the front; the remaining segments are copied. The first rule that matches wins. In a pattern `{b}`
/// captures one segment. In a template
///
/// - `{b}` inserts it. `{b+1}` adds to a captured number, and `{b+a}` makes it a letter, `a` for 0.
///   `{2b+s}` is twice the first plus the second.
/// - `{#}` counts: 0 for the first combination of captures in module order, then 1, …; it
///   flattens stages of blocks into one list, and is a number in `{#+1}` or `{2#+s}`.
/// - `{b:s}` and `{b:i}` do the reverse: the stage of block `b` of a list, and its index in that
///   stage, by the [`depths`](Self::depths) of the stages.
/// - `[conv|bn]` makes one rule for a convolution and its BatchNorm: the pattern matches the whole
///   layer; the first text replaces `conv`, the second `norm`.
/// - `<unit>` is the text of [`modules`](Self::modules) for the module that `@` matches at the
///   beginning of the pattern.
///
/// The hidden layers of a [`WithMlpHead`](crate::WithMlpHead) network keep their paths.
///
/// PyTorch's names for BatchNorm's scale and shift (`weight`, `bias`) are inserted automatically.
///
/// ```
/// # use zoo_core::KeyLayout;
/// const TORCHVISION: KeyLayout = KeyLayout {
///     name: "torchvision",
///     rules: &[
///         ("stem", "features.0.[0|1]"),
///         ("blocks.{b}.expand", "features.{b+1}.conv.0.[0|1]"),
///     ],
///     ..KeyLayout::EMPTY
/// };
/// ```
#[derive(Debug, Clone, Copy)]
pub struct KeyLayout {
    /// Its name, for messages: `torchvision`.
    pub name: &'static str,
    /// Path pattern → key template.
    pub rules: &'static [(&'static str, &'static str)],
    /// Number of blocks in each stage, if keys count them by stage and the network does not.
    pub depths: &'static [usize],
    /// Modules with the same inner rules: the pattern of each, and the texts for the templates of its
    /// rules by name.
    pub modules: &'static [(&'static str, Texts)],
    /// Prefixes of keys to replace, in whole segments: (from, to).
    pub renamed: &'static [(&'static str, &'static str)],
    /// First segments of the keys that a model does not need: auxiliary heads.
    pub optional: &'static [&'static str],
    /// The preprocessing of ImageNet by the authors of these checkpoints, for files that are not among
    /// a variant's weights. The size is the variant's.
    pub preprocess: Option<Preprocess>,
    /// Prefix of a word in the file name, if another network has the same keys and shapes: timm's `tf_`.
    /// Empty for the network that is assumed otherwise.
    pub file_prefix: &'static str,
}

/// Texts by name.
pub type Texts = &'static [(&'static str, &'static str)];

impl KeyLayout {
    /// A layout without rules; other layouts start from it with `..KeyLayout::EMPTY`.
    pub const EMPTY: Self = Self {
        name: "",
        rules: &[],
        depths: &[],
        modules: &[],
        renamed: &[],
        optional: &[],
        preprocess: None,
        file_prefix: "",
    };

    /// Returns this layout with some prefixes of keys replaced.
    #[must_use]
    pub const fn renamed(
        self,
        name: &'static str,
        renamed: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { name, renamed, ..self }
    }

    /// Returns the checkpoint's key for each of a module's parameters, in the same order; `None` if no
    /// rule matches.
    pub fn keys(&self, parameters: &[Parameter]) -> Vec<Option<String>> {
        let mut ordinals = HashMap::new();
        parameters.iter().map(|parameter| self.key(parameter, &mut ordinals)).collect()
    }

    /// Whether a key of a checkpoint belongs to a module that a model does not need.
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
        let Match { captures, rest, template } = self
            .rules
            .iter()
            .find_map(|(pattern, template)| self.apply(pattern, template, &path))?;

        let mut key = fill(&template, &captures, self.depths, || {
            let next = ordinals.len();
            let values = captures.iter().map(|(_, value)| *value).collect();
            *ordinals.entry(values).or_insert(next)
        });
        for segment in rest {
            key.push('.');
            key.push_str(match (&parameter.layer, *segment) {
                (LayerKind::BatchNorm, "gamma") => "weight",
                (LayerKind::BatchNorm, "beta") => "bias",
                (_, other) => other,
            });
        }
        Some(self.rename(key))
    }

    /// Applies a rule to a path, if it matches.
    fn apply<'a, 'p>(
        &self,
        pattern: &'static str,
        template: &'static str,
        path: &'a [&'p str],
    ) -> Option<Match<'a, 'p>> {
        let (captures, rest, template) = match pattern.strip_prefix("@.") {
            None => {
                let (captures, rest) = match_prefix(pattern, path)?;
                (captures, rest, Cow::Borrowed(template))
            }
            Some(pattern) => self.modules.iter().find_map(|(module, texts)| {
                let (mut captures, rest) = match_prefix(module, path)?;
                let (more, rest) = match_prefix(pattern, rest)?;
                captures.extend(more);
                let put_in = |template: String, (name, text): &(&str, &str)| {
                    template.replace(&format!("<{name}>"), text)
                };
                Some((captures, rest, texts.iter().fold(template.to_owned(), put_in).into()))
            })?,
        };
        let Some((before, choice)) = template.split_once('[') else {
            return Some(Match { captures, rest, template });
        };
        let (conv, choice) = choice.split_once('|').expect("a bracket has two alternatives");
        let (norm, after) = choice.split_once(']').expect("a bracket is closed");
        let (chosen, rest) = match rest.split_first()? {
            (&"conv", rest) => (conv, rest),
            (&"norm", rest) => (norm, rest),
            _ => return None,
        };
        Some(Match { captures, rest, template: format!("{before}{chosen}{after}").into() })
    }

    fn rename(&self, key: String) -> String {
        let renamed = self.renamed.iter().find_map(|(from, to)| {
            let rest = key.strip_prefix(from).filter(|rest| rest.starts_with('.'))?;
            Some(format!("{to}{rest}"))
        });
        renamed.unwrap_or(key)
    }
}

/// The result of a matching rule: the captured segments, the remaining segments, and the template.
struct Match<'a, 'p> {
    captures: Captures<'p>,
    rest: &'a [&'p str],
    template: Cow<'static, str>,
}

type Captures<'a> = Vec<(&'static str, &'a str)>;

/// Matches a pattern against the first segments of a path. Returns the captures and the remaining
/// segments.
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
/// When the template names a capture that its pattern does not have: an error in the table.
fn fill(
    template: &str,
    captures: &[(&str, &str)],
    depths: &[usize],
    mut ordinal: impl FnMut() -> usize,
) -> String {
    let mut key = String::new();
    let mut rest = template;
    while let Some((literal, tail)) = rest.split_once('{') {
        let (expression, tail) = tail.split_once('}').expect("a brace is closed");
        key.push_str(literal);
        key.push_str(&evaluate(expression, captures, depths, &mut ordinal));
        rest = tail;
    }
    key.push_str(rest);
    key
}

/// Computes the sum in a template's braces.
///
/// # Panics
///
/// When a term is neither a number nor a capture nor a letter, or the alphabet ends: an error in the
/// table.
fn evaluate(
    expression: &str,
    captures: &[(&str, &str)],
    depths: &[usize],
    ordinal: &mut impl FnMut() -> usize,
) -> String {
    let mut sum = 0;
    let mut letter = None;
    for term in expression.split('+') {
        let name = term.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &term[..term.len() - name.len()];
        let number: usize = number.parse().unwrap_or(1);
        let (name, of_stage) = name.split_once(':').unwrap_or((name, ""));
        let captured =
            captures.iter().find_map(|(capture, value)| (*capture == name).then_some(*value));
        sum += number
            * match (name, captured) {
                ("", _) => 1,
                ("#", _) => ordinal(),
                (_, Some(value)) => match (value.parse(), of_stage) {
                    (Ok(block), "s") => in_stage(block, depths)[0],
                    (Ok(block), "i") => in_stage(block, depths)[1],
                    (Ok(value), _) => value,
                    (Err(_), _) => return value.to_owned(),
                },
                _ => {
                    letter = name.chars().next();
                    assert_eq!(name.len(), 1, "`{{{expression}}}` is of no capture");
                    0
                }
            };
    }
    let Some(letter) = letter else { return sum.to_string() };
    (letter..='z').nth(sum).expect("there are enough letters").to_string()
}

/// Returns the stage of a block in a list of blocks, and its index in that stage.
///
/// # Panics
///
/// When the stages have fewer blocks: an error in the table.
fn in_stage(block: usize, depths: &[usize]) -> [usize; 2] {
    let mut before = 0;
    for (stage, depth) in depths.iter().enumerate() {
        if block < before + depth {
            return [stage, block - before];
        }
        before += depth;
    }
    panic!("stages of {depths:?} blocks have no block {block}")
}

#[cfg(test)]
mod tests {
    use burn::module::ParamId;

    use super::*;
    use crate::LayerKind::{BatchNorm, Conv2d};

    fn parameter(path: &str, layer: LayerKind) -> Parameter {
        Parameter { id: ParamId::new(), path: path.to_owned(), shape: vec![], layer }
    }

    const LAYOUT: KeyLayout = KeyLayout {
        name: "test",
        rules: &[
            ("stem.conv", "conv1"),
            ("stem.norm", "bn1"),
            ("stages.{s}.{b}.{kind}.conv1", "layer{s+1}.{b}.conv1"),
            ("stages.{s}.{b}.{kind}.conv2", "_blocks.{#}.conv"),
            ("stages.{s}.{b}.{kind}.norm2", "_blocks.{#+1}.bn"),
            ("stages.{s}.{m}.{kind}.conv3", "mixed_{s+5}{m+b}"),
        ],
        optional: &["aux"],
        ..KeyLayout::EMPTY
    };

    #[test]
    fn keys_follow_the_rules() {
        let parameters = [
            parameter("stem.conv.weight", Conv2d),
            parameter("stem.norm.gamma", BatchNorm),
            parameter("stem.norm.running_var", BatchNorm),
            parameter("stages.0.1.Basic.conv1.weight", Conv2d),
            parameter("stages.0.0.Basic.conv2.weight", Conv2d),
            parameter("stages.0.1.Basic.conv2.weight", Conv2d),
            parameter("stages.1.0.Basic.conv2.weight", Conv2d),
            parameter("stages.0.1.Basic.norm2.beta", BatchNorm),
            parameter("stages.0.1.Basic.conv3.weight", Conv2d),
            parameter("stemming.conv.weight", Conv2d),
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
    fn one_rule_matches_a_convolution_and_its_norm() {
        let layout = KeyLayout {
            rules: &[("stem", "[conv|bn]1"), ("blocks.{b}.{part}", "b{2b+1}_{part}[|_BN]")],
            ..KeyLayout::EMPTY
        };
        let parameters = [
            parameter("stem.conv.weight", Conv2d),
            parameter("stem.norm.gamma", BatchNorm),
            parameter("blocks.3.expand.conv.bias", Conv2d),
            parameter("blocks.3.expand.norm.running_mean", BatchNorm),
            parameter("blocks.3.expand.bias", Conv2d),
        ];
        let keys = layout.keys(&parameters);
        let keys: Vec<_> = keys.iter().map(|key| key.as_deref()).collect();
        assert_eq!(
            keys,
            [
                Some("conv1.weight"),
                Some("bn1.weight"),
                Some("b7_expand.bias"),
                Some("b7_expand_BN.running_mean"),
                None,
            ]
        );
    }

    #[test]
    fn blocks_are_counted_by_stage() {
        let layout = KeyLayout {
            rules: &[("blocks.{b}", "stage{b:s+1}.unit{b:i}")],
            depths: &[1, 2],
            ..KeyLayout::EMPTY
        };
        let parameters = ["blocks.0.weight", "blocks.1.weight", "blocks.2.weight"]
            .map(|path| parameter(path, Conv2d));
        let keys: Vec<_> = layout.keys(&parameters).into_iter().flatten().collect();
        assert_eq!(keys, ["stage1.unit0.weight", "stage2.unit0.weight", "stage2.unit1.weight"]);
    }

    #[test]
    fn modules_share_rules() {
        let layout = KeyLayout {
            modules: &[
                ("stages.0.{b}", &[("unit", "first{b}"), ("kind", "x")]),
                ("stages.1.{b}", &[("unit", "second{b+2}"), ("kind", "y")]),
            ],
            rules: &[("@.{part}", "<unit>.{part}_<kind>.[conv|bn]")],
            ..KeyLayout::EMPTY
        };
        let parameters = [
            parameter("stages.0.0.expand.conv.weight", Conv2d),
            parameter("stages.1.1.expand.norm.beta", BatchNorm),
        ];
        let keys: Vec<_> = layout.keys(&parameters).into_iter().flatten().collect();
        assert_eq!(keys, ["first0.expand_x.conv.weight", "second3.expand_y.bn.bias"]);
    }

    #[test]
    fn prefixes_of_keys_are_replaced() {
        let layout =
            LAYOUT.renamed("other", &[("layer2", "stage2"), ("conv", "c"), ("bn1", "n.1")]);
        let parameters = [
            parameter("stem.conv.weight", Conv2d),
            parameter("stem.norm.beta", BatchNorm),
            parameter("stages.1.0.Basic.conv1.weight", Conv2d),
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
