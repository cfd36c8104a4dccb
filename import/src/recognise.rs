use std::collections::BTreeSet;

use zoo_core::{KeyLayout, Parameter};

use crate::load::{has_shape, is_counter, keys_of, pytorch_shape};
use crate::{Capture, Checkpoint, fit};

/// A network that a checkpoint may be of.
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// The spellings of its checkpoints.
    pub layouts: &'static [KeyLayout],
    /// The classes and channels that it usually has.
    pub usual: (usize, usize),
    /// Its parameters for a number of classes and of channels.
    pub build: Box<dyn Fn(usize, usize) -> Vec<Parameter> + 'a>,
    /// What it computes for a number of classes and of channels, if that can be recorded.
    pub capture: Box<dyn Fn(usize, usize) -> Option<Capture> + 'a>,
}

impl Candidate<'_> {
    /// The paths of the parameters that the classes are told apart by: those whose shapes change
    /// with their number.
    pub fn classifier(&self) -> BTreeSet<String> {
        let (classes, channels) = self.usual;
        let usual = (self.build)(classes, channels).into_iter();
        usual
            .zip((self.build)(classes + 1, channels))
            .filter(|(usual, more)| usual.shape != more.shape)
            .map(|(usual, _)| usual.path)
            .collect()
    }
}

/// What a checkpoint is of, as its keys and shapes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognition {
    /// The network's name.
    pub name: String,
    /// Whose spelling of the keys it is.
    pub layout: &'static str,
    /// Number of classes.
    pub num_classes: usize,
    /// Channels of the images.
    pub in_channels: usize,
    /// Whether the classifier is missing, as in a backbone's checkpoint.
    pub is_headless: bool,
    /// The networks with the same keys and shapes, of which the file's name would speak.
    pub others: Vec<String>,
}

/// Why it is not known what a checkpoint is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrecognised {
    /// Several networks have these keys and shapes, or one whose files have names that begin
    /// otherwise.
    Ambiguous(Vec<Recognition>),
    /// No network has; these are the nearest, the best first.
    Unknown(Vec<Resemblance>),
}

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
}

/// How a network and a checkpoint's keys go together in one spelling.
struct Match<'c> {
    candidate: &'c Candidate<'c>,
    layout: &'static KeyLayout,
    keys: Vec<String>,
    /// Parameters whose key the checkpoint has.
    known: usize,
    resemblance: Resemblance,
}

/// Finds out what a checkpoint is of.
///
/// The whole of the keys and shapes decides, not a name or a number: the network must have a place
/// for each tensor and the checkpoint a tensor for each parameter, except those of the classifier.
///
/// # Errors
///
/// When several networks fit, or none does.
pub fn recognise(
    checkpoint: &Checkpoint,
    candidates: &[Candidate<'_>],
) -> Result<Recognition, Unrecognised> {
    // Most networks can be told apart by how many parameters they have.
    let fitting = fitting(checkpoint, &matches(checkpoint, candidates, CLASSIFIER));
    let (fitting, is_clear) = match checkpoint.graph {
        Some(_) => (fitting, true),
        None => named(checkpoint, candidates, fitting),
    };
    match fitting.len() {
        0 => {
            let mut nearest = matches(checkpoint, candidates, usize::MAX);
            // The same network of another size has the same keys, if not the shapes.
            nearest.sort_by_key(Match::keys_apart);
            nearest.dedup_by(|a, b| a.candidate.name == b.candidate.name);
            let nearest = nearest.into_iter().take(3).map(|found| found.resemblance);
            Err(Unrecognised::Unknown(nearest.collect()))
        }
        1 if is_clear => Ok(fitting.into_iter().next().expect("there is one")),
        _ => Err(Unrecognised::Ambiguous(fitting)),
    }
}

/// The most parameters that a classifier has, which a checkpoint may lack.
const CLASSIFIER: usize = 8;

/// The networks that have anything in common with a checkpoint, the best first, of those that
/// have at most so many parameters more or fewer than the checkpoint has tensors.
fn matches<'c>(
    checkpoint: &Checkpoint,
    candidates: &'c [Candidate<'c>],
    difference: usize,
) -> Vec<Match<'c>> {
    let mut matches = Vec::new();
    for candidate in candidates {
        let (classes, channels) = candidate.usual;
        let parameters = (candidate.build)(classes, channels);
        for layout in candidate.layouts {
            let is_part = |key: &&String| !is_counter(key) && !layout.is_optional(key);
            let tensors = checkpoint.tensors.keys().filter(is_part).count();
            if tensors.abs_diff(parameters.len()) <= difference {
                matches.extend(Match::new(candidate, layout, &parameters, checkpoint));
            }
        }
    }
    // What differs only in the classifier comes before what differs elsewhere.
    matches.sort_by_key(|found| std::cmp::Reverse(found.score()));
    matches
}

/// The networks that a checkpoint is of; more than one where they can't be told apart.
fn fitting(checkpoint: &Checkpoint, matches: &[Match<'_>]) -> Vec<Recognition> {
    let best = matches.first().map_or(0, Match::score);
    let fitting: Vec<Recognition> = matches
        .iter()
        .take_while(|found| found.score() + SLACK >= best)
        .filter_map(|found| found.fit(checkpoint))
        .collect();
    // A whole network is preferred to the backbone of one.
    let whole: Vec<_> = fitting.iter().filter(|found| !found.is_headless).cloned().collect();
    let mut fitting = if whole.is_empty() { fitting } else { whole };
    // Spellings that differ only in the classifier are one without it.
    let mut names = BTreeSet::new();
    fitting.retain(|found| names.insert(found.name.clone()));
    fitting
}

/// Of networks that can't be told apart, the one that the file's name speaks of, and whether it
/// does: another network than those may have the same keys.
fn named(
    checkpoint: &Checkpoint,
    candidates: &[Candidate<'_>],
    fitting: Vec<Recognition>,
) -> (Vec<Recognition>, bool) {
    let file = checkpoint.path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = |found: &Recognition| {
        let candidate = candidates.iter().find(|candidate| candidate.name == found.name);
        let mut layouts = candidate.map_or(&[][..], |candidate| candidate.layouts).iter();
        layouts.find(|layout| layout.name == found.layout).map_or("", |layout| layout.file_prefix)
    };
    let spoken = fitting.iter().map(prefix).filter(|prefix| file.starts_with(prefix));
    let spoken = spoken.max_by_key(|prefix| prefix.len());
    let (mut meant, others): (Vec<_>, Vec<_>) =
        fitting.into_iter().partition(|found| Some(prefix(found)) == spoken);
    match &mut meant[..] {
        [meant] => meant.others = others.into_iter().map(|other| other.name).collect(),
        _ => meant.extend(others),
    }
    (meant, spoken.is_some() || candidates.len() == 1)
}

/// How many tensors a fitting network may match less than the best one: those whose shapes
/// change with the classes and the channels.
const SLACK: usize = 16;

impl<'c> Match<'c> {
    /// None where they have nothing in common.
    fn new(
        candidate: &'c Candidate<'c>,
        layout: &'static KeyLayout,
        parameters: &[Parameter],
        checkpoint: &Checkpoint,
    ) -> Option<Self> {
        let keys = keys_of(layout, parameters);
        let found = |key: &String| checkpoint.tensors.get(key);
        let known = keys.iter().filter_map(found).count();
        let matched = keys
            .iter()
            .zip(parameters)
            .filter(|(key, parameter)| {
                found(key).is_some_and(|tensor| has_shape(tensor, &pytorch_shape(parameter)))
            })
            .count();
        let resemblance = Resemblance {
            name: candidate.name.to_owned(),
            layout: layout.name,
            matched,
            parameters: parameters.len(),
            unused: unused(checkpoint, layout, &keys),
        };
        (known > 0).then_some(Self { candidate, layout, keys, known, resemblance })
    }

    /// Keys that only one of the two has.
    fn keys_apart(&self) -> usize {
        self.resemblance.unused + (self.resemblance.parameters - self.known)
    }

    fn score(&self) -> usize {
        (self.resemblance.matched + self.known).saturating_sub(self.resemblance.unused)
    }

    /// The recognition, if nothing but a classifier is missing and nothing is left over.
    fn fit(&self, checkpoint: &Checkpoint) -> Option<Recognition> {
        if self.resemblance.unused > 0 {
            return None;
        }
        let build = |classes, channels| (self.candidate.build)(classes, channels);
        let layouts = std::slice::from_ref(self.layout);
        let (num_classes, in_channels) = fit(build, self.candidate.usual, checkpoint, layouts);
        let fitted = build(num_classes, in_channels);
        let classifier = self.candidate.classifier();
        let is_headless = self
            .keys
            .iter()
            .zip(&fitted)
            .filter(|(_, parameter)| classifier.contains(&parameter.path))
            .all(|(key, _)| !checkpoint.tensors.contains_key(key));
        for (key, parameter) in self.keys.iter().zip(&fitted) {
            match checkpoint.tensors.get(key) {
                Some(tensor) if has_shape(tensor, &pytorch_shape(parameter)) => {}
                None if is_headless && classifier.contains(&parameter.path) => {}
                _ => return None,
            }
        }
        Some(Recognition {
            name: self.candidate.name.to_owned(),
            layout: self.layout.name,
            num_classes,
            in_channels,
            is_headless,
            others: Vec::new(),
        })
    }
}

/// Tensors of a checkpoint that a network has no place for.
fn unused(checkpoint: &Checkpoint, layout: &KeyLayout, keys: &[String]) -> usize {
    let keys: BTreeSet<&String> = keys.iter().collect();
    let has_place = |key: &String| keys.contains(key) || is_counter(key) || layout.is_optional(key);
    checkpoint.tensors.keys().filter(|key| !has_place(key)).count()
}

impl std::fmt::Display for Unrecognised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ambiguous(found) => {
                match found.len() {
                    1 => writeln!(f, "its keys and shapes are not only those of")?,
                    _ => writeln!(f, "its keys and shapes are those of several models")?,
                }
                for one in found {
                    writeln!(f, "  {}, keys: {}", one.name, one.layout)?;
                }
                write!(f, "hint: say which it is with --variant")
            }
            Self::Unknown(nearest) if nearest.is_empty() => {
                write!(
                    f,
                    "no model has any of its keys\nhint: `zoo inspect` shows them; `zoo list` shows \
                     the models"
                )
            }
            Self::Unknown(nearest) => {
                writeln!(f, "no model has its keys and shapes; the nearest are")?;
                for one in nearest {
                    writeln!(
                        f,
                        "  {}: {} of its {} tensors match, {} of the file's have no place",
                        one.name, one.matched, one.parameters, one.unused
                    )?;
                }
                write!(f, "hint: name one with --variant to see all that differs")
            }
        }
    }
}

impl std::error::Error for Unrecognised {}
