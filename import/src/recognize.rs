//! Recognition of the network in a checkpoint, and of the location of its tensors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use burn::store::burn_pack::Tensor;
use zoo_core::layers::Activation;
use zoo_core::{HiddenLayer, KeyLayout, Parameter, counted};
use zoo_graph::Graph;

use crate::load::{has_shape, is_counter, keys_of, pytorch_shape};
use crate::location::{Index, Location, first};
use crate::onnx::Match;
use crate::resemblance::{Resemblance, nearest};
use crate::rest::{Classifier, Rest};
use crate::{Checkpoint, Facts, fit, head};

/// A network that a checkpoint may hold.
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its architecture.
    pub family: &'a str,
    /// The layouts of its checkpoints.
    pub layouts: &'static [KeyLayout],
    /// Its usual numbers of classes and channels.
    pub usual: (usize, usize),
    /// Returns its parameters for a number of classes and of channels.
    pub build: Box<dyn Fn(usize, usize) -> Vec<Parameter> + 'a>,
    /// Returns the paths of the classifier's parameters.
    pub classifier: Box<dyn Fn() -> BTreeSet<String> + 'a>,
    /// Returns its graph for a number of classes and of channels, if it can be captured.
    pub capture: Box<dyn Fn(usize, usize) -> Option<Graph> + 'a>,
}

/// The choice between several networks in a checkpoint, and parts of them.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The prefix of the network's keys, if there are several networks.
    pub prefix: Option<String>,
    /// Whether the averaged weights are taken instead of the trained ones.
    pub averaged: bool,
    /// Whether only the backbone is taken, without the classifier.
    pub backbone: bool,
    /// The activation between the fully connected layers of a classifier; ReLU by default.
    pub activation: Option<Activation>,
}

/// The network that was recognized by keys and shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognition {
    /// The network's name.
    pub name: String,
    /// The layout of the keys.
    pub layout: &'static str,
    /// Number of classes.
    pub num_classes: usize,
    /// Number of image channels.
    pub in_channels: usize,
    /// Whether the classifier is missing, as in a backbone's checkpoint.
    pub is_headless: bool,
    /// The classifier's hidden layers, if it has more than one layer where the network has one.
    pub hidden: Vec<HiddenLayer>,
    /// Networks with the same keys and shapes, if nothing decides between them.
    pub others: Vec<String>,
    /// Notes about the recognition, as sentences for the user.
    pub notes: Vec<String>,
}

/// The network and its classes, as a phrase.
impl fmt::Display for Recognition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.others.is_empty() {
            write!(f, " (or {}, which have the same keys and shapes)", self.others.join(" or "))?;
        }
        match Match::LAYOUTS[0].name == self.layout {
            true => f.write_str(", matched by the graph's structure")?,
            false => write!(f, ", keys: {}", self.layout)?,
        }
        match self.is_headless {
            true => f.write_str(", no classifier")?,
            false => write!(f, ", {}", counted(self.num_classes, "class"))?,
        }
        write!(f, ", {}", counted(self.in_channels, "channel"))
    }
}

/// A network that was found in a checkpoint.
#[derive(Debug)]
pub struct Found {
    /// The recognized network.
    pub recognition: Recognition,
    /// Only its tensors, with the keys of the layout.
    pub checkpoint: Checkpoint,
}

/// The reason why the network of a checkpoint is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrecognized {
    /// Several networks have these keys and shapes; or one has, but its files have a word in their
    /// names that this file lacks.
    Ambiguous(Vec<Recognition>),
    /// There are several networks in the file, with these prefixes and names.
    Several(Vec<(String, String)>),
    /// No network has keys with the first prefix. Networks have keys with the other prefixes.
    NoPrefix(String, Vec<String>),
    /// There are no averaged weights in the file.
    NotAveraged,
    /// The file names an unknown network, but has the keys and shapes of known ones.
    Other {
        /// The name in the file.
        architecture: String,
        /// The origin of the name.
        source: &'static str,
        /// The networks with the same keys and shapes.
        names: Vec<String>,
    },
    /// No network has these keys and shapes. The list has the nearest ones, the best first.
    Unknown(Vec<Resemblance>),
}

/// Words in the prefixes of averaged weights.
const AVERAGED: [&str; 7] = ["ema", "swa", "average", "averaged", "avg", "polyak", "shadow"];

/// Words in the prefixes of copies that training needs, such as a teacher.
const COPIES: [&str; 6] = ["teacher", "momentum", "target", "k", "old", "key"];

/// Whether a prefix has one of some words.
fn has_any_word(prefix: &str, words: &[&str]) -> bool {
    let prefix = prefix.to_lowercase();
    prefix.split(['.', '_', '-']).any(|word| words.contains(&word))
}

/// Recognizes the network in a checkpoint.
///
/// Keys and shapes decide. With some prefix, the checkpoint must have a tensor for each parameter
/// of the network, except those of the classifier, and no other tensor in the network's modules.
/// Tensors beside the network, such as a loss, a queue or a projection, are left out and noted.
///
/// # Errors
///
/// When several networks fit, or none does.
pub fn recognize(
    checkpoint: &Checkpoint,
    candidates: &[Candidate<'_>],
    choice: &Choice,
) -> Result<Found, Unrecognized> {
    let index = Index::new(&checkpoint.tensors);
    let mut fits: Vec<Fit<'_>> = Vec::new();
    for candidate in candidates {
        fits.extend(Fit::all(checkpoint, &index, candidate, choice));
    }
    // Of networks with the same first tensor, the smaller ones are parts of the largest.
    let sizes: Vec<(String, usize)> =
        fits.iter().map(|fit| (fit.location.stem.clone(), fit.keys.len())).collect();
    fits.retain(|fit| {
        let is_part =
            |(stem, size): &(String, usize)| *stem == fit.location.stem && *size > fit.keys.len();
        !sizes.iter().any(is_part)
    });
    if fits.is_empty() {
        return Err(Unrecognized::Unknown(nearest(checkpoint, &index, candidates)));
    }

    let mut by_stem: BTreeMap<String, Vec<Fit<'_>>> = BTreeMap::new();
    for fit in fits {
        by_stem.entry(fit.location.stem.clone()).or_default().push(fit);
    }
    // The prefix may include a segment that belongs to the keys in another layout.
    let longest = |fits: &[Fit<'_>]| {
        fits.iter()
            .map(|fit| fit.location.prefix.clone())
            .max_by_key(String::len)
            .unwrap_or_default()
    };
    let mut by_prefix: BTreeMap<String, Vec<Fit<'_>>> =
        by_stem.into_values().map(|fits| (longest(&fits), fits)).collect();
    let (prefix, copies) = choose(&by_prefix, choice)?;
    let fits = by_prefix.remove(&prefix).expect("it was chosen among them");
    let mut found = decide(checkpoint, fits, candidates.len() == 1)?;
    if let Some(copies) = copies {
        found.recognition.notes.insert(0, copies);
    }
    Ok(found)
}

/// Returns the prefix of the chosen network, and a note about other networks in the file.
fn choose(
    by_prefix: &BTreeMap<String, Vec<Fit<'_>>>,
    choice: &Choice,
) -> Result<(String, Option<String>), Unrecognized> {
    let prefixes: Vec<&String> = by_prefix.keys().collect();
    if let Some(asked) = &choice.prefix {
        let asked = asked.trim_end_matches('.');
        let is_meant = |prefix: &&&String| {
            let prefix = prefix.trim_end_matches('.');
            prefix == asked
                || prefix.strip_prefix(asked).is_some_and(|rest| rest.starts_with('.'))
                || asked.is_empty()
        };
        return match prefixes.iter().find(is_meant) {
            Some(prefix) => Ok(((**prefix).clone(), None)),
            None => {
                let known = prefixes.into_iter().cloned().collect();
                Err(Unrecognized::NoPrefix(asked.to_owned(), known))
            }
        };
    }
    let (averaged, trained): (Vec<&String>, Vec<&String>) =
        prefixes.iter().partition(|prefix| has_any_word(prefix, &AVERAGED));
    let (copies, trained): (Vec<&String>, Vec<&String>) =
        trained.into_iter().partition(|prefix| has_any_word(prefix, &COPIES));
    let pick = |among: &[&String]| match among {
        [one] => Ok((*one).clone()),
        several => {
            let name = |prefix: &&String| by_prefix[*prefix][0].candidate.name.to_owned();
            let several = several.iter().map(|prefix| ((*prefix).clone(), name(prefix)));
            Err(Unrecognized::Several(several.collect()))
        }
    };
    if choice.averaged {
        return match averaged.is_empty() {
            true => Err(Unrecognized::NotAveraged),
            false => pick(&averaged).map(|prefix| (prefix, None)),
        };
    }
    let among = [&trained, &copies, &averaged].into_iter().find(|list| !list.is_empty());
    let among = among.expect("a network was found");
    let prefix = pick(among)?;
    let note = match averaged.first().filter(|_| among != &averaged) {
        Some(averaged) => {
            let (taken, averaged) = (shown(&prefix), shown(averaged));
            Some(format!(
                "the weights {taken} were taken; averaged ones are {averaged}, `averaged` takes those"
            ))
        }
        None => copies
            .first()
            .filter(|_| among != &copies)
            .map(|copy| format!("a copy of the network is {}, `prefix` takes that", shown(copy))),
    };
    Ok((prefix, note))
}

/// Describes the location of a network in words.
fn shown(prefix: &str) -> String {
    match prefix.trim_end_matches('.') {
        "" => "at the top of the file".to_owned(),
        prefix => format!("in `{prefix}`"),
    }
}

/// Decides between networks with the same keys and shapes at the same location.
fn decide(
    checkpoint: &Checkpoint,
    mut fits: Vec<Fit<'_>>,
    is_asked: bool,
) -> Result<Found, Unrecognized> {
    // A complete network is better than one without a classifier, and that is better than one with
    // another classifier.
    let best = fits.iter().map(Fit::completeness).max().expect("there is one");
    fits.retain(|fit| fit.completeness() == best);
    fits.sort_by_key(|fit| fit.location.prefix.len());
    // Layouts that differ only in the classifier are one if it is missing.
    let mut names = BTreeSet::new();
    fits.retain(|fit| names.insert(fit.candidate.name));
    if is_asked {
        let fit = fits.swap_remove(0);
        return Ok(fit.into_found(checkpoint));
    }

    if checkpoint.graph.is_some() && fits.len() > 1 {
        // The computation of the graph decides.
        let fits = fits.into_iter().map(|fit| fit.into_found(checkpoint).recognition);
        return Err(Unrecognized::Ambiguous(fits.collect()));
    }
    let facts = &checkpoint.facts;
    let usual = fits.iter().find(|fit| fit.layout.file_prefix.is_empty());
    let usual_name = usual.map(|fit| fit.candidate.name);
    let all = || fits.iter().map(|fit| fit.candidate.name.to_owned()).collect::<Vec<_>>();
    if let (Some(architecture), Some(source)) = (&facts.architecture, facts.source)
        && usual_name.is_some()
        && !fits.iter().any(|fit| fit.is_meant_by(architecture))
    {
        let architecture = architecture.clone();
        return Err(Unrecognized::Other { architecture, source, names: all() });
    }
    let spoken = texts(checkpoint).into_iter().find_map(|text| {
        let spoken = |fit: &Fit<'_>| fit.spoken_of(&text, usual_name);
        let best = fits.iter().map(spoken).max().filter(|best| *best > 0)?;
        let mut meant = (0..fits.len()).filter(|&fit| spoken(&fits[fit]) == best);
        let one = meant.next()?;
        meant.next().is_none().then_some(one)
    });
    if let Some(meant) = spoken {
        let fit = fits.swap_remove(meant);
        // If another name extends this one, it is not clear which of them is meant.
        let adds = |other: &&Fit<'_>| other.layout.file_prefix.starts_with(fit.candidate.name);
        let others = fits.iter().filter(adds).map(|other| other.candidate.name.to_owned());
        let others = if fit.layout.file_prefix.is_empty() { others.collect() } else { Vec::new() };
        let mut found = fit.into_found(checkpoint);
        found.recognition.others = others;
        return Ok(found);
    }
    // The networks whose files need no word in their names.
    let usual = fits.iter().position(|fit| fit.layout.file_prefix.is_empty());
    let usuals = fits.iter().filter(|fit| fit.layout.file_prefix.is_empty()).count();
    match usual {
        Some(usual) if usuals == 1 => {
            let fit = fits.swap_remove(usual);
            let others = fits.iter().map(|fit| fit.candidate.name.to_owned()).collect();
            let mut found = fit.into_found(checkpoint);
            found.recognition.others = others;
            Ok(found)
        }
        _ => {
            let fits = fits.into_iter().map(|fit| fit.into_found(checkpoint).recognition);
            Err(Unrecognized::Ambiguous(fits.collect()))
        }
    }
}

/// Returns the texts that may name the network, the most reliable first.
fn texts(checkpoint: &Checkpoint) -> Vec<String> {
    let Facts { architecture, entry, .. } = &checkpoint.facts;
    let path = &checkpoint.path;
    let name = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let entry = entry.as_ref().map(|entry| name(std::path::Path::new(entry).file_name()));
    // On model hubs all files have the same name, and the folder has the name of the network.
    let folder = path.parent().filter(|_| Facts::is_from_hub(path));
    let folder = folder.map(|folder| name(folder.file_name()));
    let file = Some(name(path.file_name()));
    [architecture.clone(), entry, file, folder].into_iter().flatten().collect()
}

/// A network at a location in a checkpoint.
struct Fit<'c> {
    candidate: &'c Candidate<'c>,
    layout: &'static KeyLayout,
    location: Location,
    /// The network's keys, without those of the classifier.
    keys: Vec<String>,
    tensors: BTreeMap<String, Tensor>,
    recognition: Recognition,
}

impl<'c> Fit<'c> {
    /// Returns the fits of a network at all locations in a checkpoint.
    fn all(
        checkpoint: &Checkpoint,
        index: &Index<'_>,
        candidate: &'c Candidate<'c>,
        choice: &Choice,
    ) -> Vec<Self> {
        let mut fits: Vec<Self> = Vec::new();
        let (classes, channels) = candidate.usual;
        let parameters = (candidate.build)(classes, channels);
        let mut classifier = None;
        for layout in candidate.layouts {
            for location in index.locations(layout, &parameters) {
                let classifier = classifier.get_or_insert_with(|| (candidate.classifier)());
                fits.extend(Self::at(
                    checkpoint,
                    candidate,
                    layout,
                    &parameters,
                    classifier,
                    location,
                    choice,
                ));
            }
        }
        fits
    }

    /// Returns the fit at a location, if the network is there.
    fn at(
        checkpoint: &Checkpoint,
        candidate: &'c Candidate<'c>,
        layout: &'static KeyLayout,
        parameters: &[Parameter],
        classifier: &BTreeSet<String>,
        location: Location,
        choice: &Choice,
    ) -> Option<Self> {
        let all = keys_of(layout, parameters);
        let is_head = |path: &String| classifier.contains(path);
        let (head, backbone): (Vec<_>, Vec<_>) =
            parameters.iter().zip(all).partition(|(parameter, _)| is_head(&parameter.path));
        let (mut inside, outside) = location.split(&checkpoint.tensors);

        // All layers of the backbone must be there.
        let mut tensors = BTreeMap::new();
        for (_, key) in &backbone {
            tensors.insert(key.clone(), inside.remove(key)?);
        }
        let optional: Vec<String> =
            inside.keys().filter(|key| layout.is_optional(key)).cloned().collect();
        for key in optional {
            tensors.extend(inside.remove_entry(&key));
        }
        inside.retain(|key, _| !is_counter(key));
        let modules = backbone.iter().map(|(_, key)| first(key)).collect();
        let mut rest = Rest { inside, outside, backbone: modules, location: &location };

        let mut notes = Vec::new();
        let mut hidden = Vec::new();
        let keys: Vec<&str> = head.iter().map(|(_, key)| key.as_str()).collect();
        let is_there = !keys.is_empty() && keys.iter().all(|key| rest.inside.contains_key(*key));
        let is_whole = is_there
            && match keys[..] {
                [weight, bias] => rest.is_alone([weight, bias]),
                _ => true,
            };
        let mut is_headless = true;
        if choice.backbone {
            if let Some(weight) = keys.first() {
                rest.leave_classifier(weight);
            }
        } else if is_whole {
            is_headless = false;
            for key in &keys {
                tensors.extend(rest.inside.remove_entry(*key));
            }
        } else if let (&[weight, bias], [(parameter, _), _]) = (&keys[..], &head[..]) {
            let inputs = *pytorch_shape(parameter).get(1)?;
            let activation = choice.activation.unwrap_or(Activation::Relu);
            match rest.take_classifier(inputs, [weight, bias], activation) {
                Classifier::One(found) => {
                    is_headless = false;
                    notes.extend(describe(&found, choice.activation));
                    hidden.clone_from(&found.hidden);
                    tensors.extend(found.tensors);
                }
                Classifier::None => {}
                Classifier::Unknown(name) => {
                    rest.leave(&name);
                    notes.push(format!(
                        "its classifier, `{name}`, is not of fully connected layers in a row: it was not taken"
                    ));
                }
                Classifier::Several(names) => notes.push(format!(
                    "there are several classifiers, {}: none was taken",
                    names.join(" and ")
                )),
            }
        } else {
            rest.inside.retain(|key, _| !keys.contains(&key.as_str()));
        }
        notes.extend(rest.notes()?);

        let layouts = std::slice::from_ref(layout);
        let narrowed = Checkpoint { tensors, ..Checkpoint::default() };
        // The network's own classifier is the first of several layers.
        let (outputs, in_channels) = fit(&candidate.build, candidate.usual, &narrowed, layouts);
        let fitted = (candidate.build)(outputs, in_channels);
        let keys = keys_of(layout, &fitted);
        for (key, parameter) in keys.iter().zip(&fitted) {
            match narrowed.tensors.get(key) {
                Some(tensor) if has_shape(tensor, &pytorch_shape(parameter)) => {}
                None if is_headless && is_head(&parameter.path) => {}
                _ => return None,
            }
        }
        let last = format!("tail.{}.linear.bias", hidden.len().wrapping_sub(1));
        let num_classes = narrowed.tensors.get(&last).map_or(outputs, |bias| bias.shape[0]);
        let recognition = Recognition {
            name: candidate.name.to_owned(),
            layout: layout.name,
            num_classes,
            in_channels,
            is_headless,
            hidden,
            others: Vec::new(),
            notes,
        };
        Some(Self { candidate, layout, location, keys, tensors: narrowed.tensors, recognition })
    }

    /// Ranks the classifier: the network's own, another one, none.
    fn completeness(&self) -> usize {
        match (self.recognition.is_headless, self.recognition.hidden.is_empty()) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        }
    }

    /// Returns how clearly a text, such as a file's name, names the network; 0 if it does not.
    ///
    /// If the network's files have a word in their names, its name counts only with this word,
    /// unless the text is the name of the usual network with these keys, followed by something
    /// else.
    fn spoken_of(&self, text: &str, usual: Option<&str>) -> usize {
        let word = self.layout.file_prefix;
        let name = plain(self.candidate.name);
        match (has_word(text, word), plain(text).contains(&name)) {
            (true, is_named) => 1000 + word.len() + usize::from(is_named),
            (false, true)
                if word.is_empty() || usual.is_some_and(|usual| name.contains(&plain(usual))) =>
            {
                name.len()
            }
            (false, _) => 0,
        }
    }

    /// Whether an author's name for a network can mean this one: it must be the architecture's
    /// name, with a size and only known words.
    fn is_meant_by(&self, architecture: &str) -> bool {
        if self.spoken_of(architecture, None) > 0 {
            return true;
        }
        let text = plain(architecture);
        let text = text.split("for").next().unwrap_or_default();
        let Some((before, after)) = text.split_once(&plain(self.candidate.family)) else {
            return false;
        };
        let letters =
            |text: &str| text.chars().filter(char::is_ascii_alphabetic).collect::<String>();
        let is_known = |text: &str| SAME.contains(&text);
        self.layout.file_prefix.is_empty()
            && is_known(&letters(before))
            && is_known(&letters(after))
    }

    fn into_found(self, checkpoint: &Checkpoint) -> Found {
        let checkpoint = Checkpoint {
            path: checkpoint.path.clone(),
            tensors: self.tensors,
            facts: checkpoint.facts.clone(),
            graph: None,
            ..Checkpoint::default()
        };
        Found { recognition: self.recognition, checkpoint }
    }
}

/// Words that authors add to an architecture's name without a change of its computation.
const SAME: [&str; 13] =
    ["", "tv", "gluon", "legacy", "se", "v", "x", "d", "w", "large", "small", "bn", "lite"];

/// Whether a text has a word, or one that begins with it.
fn has_word(text: &str, word: &str) -> bool {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let is_start = |at: usize| !text[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
    !word.is_empty() && text.match_indices(word).any(|(at, _)| is_start(at))
}

/// Returns a name without the characters that people write differently.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns a note about a classifier that is not the network's own.
fn describe(head: &head::Head, chosen: Option<Activation>) -> Option<String> {
    let names = head.names.join("`, `");
    match (&head.hidden[..], head.is_assumed, chosen) {
        ([], ..) => None,
        (_, true, None) => Some(format!(
            "its classifier has {} layers, `{names}`; the file does not say what is between them: ReLU was assumed, \
             `activation` names another one",
            head.names.len()
        )),
        _ => Some(format!("its classifier has {} layers, `{names}`", head.names.len())),
    }
}

impl std::fmt::Display for Unrecognized {
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
                write!(f, "hint: say which it is with `variant`")
            }
            Self::Several(found) => {
                writeln!(f, "there are several networks in it")?;
                for (prefix, name) in found {
                    writeln!(f, "  {}: {name}", shown(prefix))?;
                }
                let last = found.last().map_or("", |(prefix, _)| prefix.trim_end_matches('.'));
                write!(f, "hint: say which one with `prefix`, such as {last}")
            }
            Self::NoPrefix(asked, known) => {
                let known: Vec<_> = known.iter().map(|prefix| shown(prefix)).collect();
                write!(
                    f,
                    "there is no network in `{asked}`\nhint: there is one {}; leave `prefix` out or correct it",
                    known.join(" and one ")
                )
            }
            Self::NotAveraged => {
                write!(f, "there are no averaged weights in it\nhint: leave `averaged` out")
            }
            Self::Other { architecture, source, names } => {
                let names = names.join(" or ");
                write!(
                    f,
                    "{source} says that it is a {architecture}, which zoo does not have; its keys and shapes are those of \
                     {names}, which may compute something else\nhint: if it computes the same, say so with `variant`"
                )
            }
            Self::Unknown(nearest) if nearest.is_empty() => {
                write!(
                    f,
                    "no model is in it\nhint: `zoo inspect` shows its tensors; `zoo list` shows the models"
                )
            }
            Self::Unknown(nearest) => {
                writeln!(f, "no model has its keys and shapes; the nearest are")?;
                for one in nearest {
                    writeln!(f, "  {one}")?;
                }
                write!(f, "hint: `variant` shows all that differs")
            }
        }
    }
}

impl std::error::Error for Unrecognized {}
