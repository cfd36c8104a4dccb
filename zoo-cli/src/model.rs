//! From `--model` and `--weights` to a network that is ready to run.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use burn::tensor::Device;
use zoo_core::{Colour, KeyLayout, Labels, Parameter, Preprocess, Variant, Weights, parameters};
use zoo_import::onnx::Graph;
use zoo_import::{
    Checkpoint, Choice, ModelCard, Normalization, Origin, Recognition, Record, Report,
    Unrecognised, fit, has_auxiliary, is_record_file,
};
use zoo_models::{Config, Network, variant};

use crate::output::without_hint;
use crate::recognise::{Identified, candidate, identify, identify_as};
use crate::{args, weights};

/// A network with weights, and what is known about them.
pub struct Model {
    /// The network.
    pub network: Network,
    /// What its record says about it, or would say.
    pub card: ModelCard,
}

/// The variant that is compiled in.
pub const EMBEDDED: &str = "efficientnet_lite0";

/// Loads the model that a command line asks for; the embedded one if it asks for none.
///
/// # Errors
///
/// As for [`from_file`] where a file is given, or else when published weights can't be had.
pub fn load(args: &args::Model, device: &Device) -> anyhow::Result<Model> {
    match (&args.weights, args.model.as_deref()) {
        (Some(weights), name) => from_file(weights, name, device),
        (None, None) => embedded(device),
        (None, Some(name)) => {
            let (variant, weights) = with_weights(name)?;
            if variant.name == EMBEDDED {
                return embedded(device);
            }
            let record = weights::record(&variant, weights)?;
            from_record(record, device).map_err(|error| {
                let name = format!("{}.{}", variant.name, weights.tag);
                anyhow!(
                    "the record of {name} is from another version of zoo: {}\nhint: `zoo weights \
                     remove {name}`, then pull it again",
                    without_hint(&format!("{error:#}"))
                )
            })
        }
    }
}

/// Loads weights from a record, or from a checkpoint of the model with a name.
///
/// # Errors
///
/// When the file can't be read, is of another model than the one with that name, or has no
/// classifier.
pub fn from_file(path: &Path, name: Option<&str>, device: &Device) -> anyhow::Result<Model> {
    if is_record_file(path)? {
        let record = Record::open(path)?;
        if let Some(name) = name {
            let asked = published(name)?.0.name;
            ensure!(
                asked == record.card.variant,
                "{} is a record of {}, not of {asked}\nhint: leave the model's name out or correct it",
                path.display(),
                record.card.variant
            );
        }
        return from_record(record, device);
    }
    let checkpoint = Checkpoint::open(path)?;
    let (model, report) = from_checkpoint(&checkpoint, name, None, &Choice::default(), device)?;
    if let Some(warning) = report.warning() {
        eprintln!("zoo: warning: {} has {warning}", path.display());
    }
    ensure!(
        model.card.has_classifier,
        "{} has no classifier, only the layers before it\nhint: `zoo import` makes a record of it \
         that can be fine-tuned",
        path.display()
    );
    Ok(model)
}

/// Loads a record, and nothing else.
///
/// # Errors
///
/// When the file is a checkpoint or damaged.
pub fn from_record_file(path: &Path, device: &Device) -> anyhow::Result<Model> {
    ensure!(
        is_record_file(path)?,
        "{} is not a record\nhint: make one of it with `zoo import`",
        path.display()
    );
    from_record(Record::open(path)?, device)
}

/// Loads a checkpoint into the variant with a name, or into the one it is recognised as, with as
/// many classes as it has.
///
/// # Errors
///
/// When it is not clear which variant that is, when the tensors are not the network's, or when
/// there are not as many `labels` as classes.
pub fn from_checkpoint(
    checkpoint: &Checkpoint,
    name: Option<&str>,
    labels: Option<Vec<String>>,
    choice: &Choice,
    device: &Device,
) -> anyhow::Result<(Model, Report)> {
    if let Some(reason) = checkpoint.graph.as_ref().and_then(Graph::refusal) {
        bail!("{} can't be imported: {reason}", checkpoint.path.display());
    }
    let original = checkpoint;
    let Chosen { variant, tagged, identified } = choose(checkpoint, name, choice)?;
    let (recognition, found, layouts) = match &identified {
        Some(one) => (Some(&one.recognition), &one.checkpoint, one.layouts),
        None => (None, checkpoint, variant.layouts),
    };
    let candidate = candidate(&variant);
    let (num_classes, in_channels) = match recognition {
        Some(found) => (found.num_classes, found.in_channels),
        None => fit(&candidate.build, candidate.usual, found, layouts),
    };
    let has_classifier = !recognition.is_some_and(|found| found.is_headless);
    let hidden = recognition.map_or(&[][..], |found| &found.hidden);
    let absent = if has_classifier { BTreeSet::new() } else { (candidate.classifier)() };
    let config = variant.config.clone().with_num_classes(num_classes).with_in_channels(in_channels);
    let mut network = config.init_with_hidden(hidden, device);
    let mut has_auxiliary = hidden.is_empty() && has_auxiliary(found, layouts);
    if has_auxiliary {
        let mut whole = network.clone();
        whole.attach_auxiliary(device);
        has_auxiliary = fits(&parameters(&whole), found, layouts);
        if has_auxiliary {
            network = whole;
        } else {
            eprintln!(
                "note: its auxiliary classifiers, which only training uses, do not fit and are left out"
            );
        }
    }
    let (loaded, sha256) = rayon::join(
        || zoo_import::load_but(&absent, network, variant.name, found, layouts),
        || original.sha256(),
    );
    let (network, report) = loaded?;

    // The file's hash says best which weights these are.
    let sha256 = sha256?;
    let known = variant.weights.iter().find(|weights| sha256.starts_with(weights.sha256));
    if let Some(Recognition { name, others, notes, .. }) = recognition {
        if known.is_none() && !others.is_empty() {
            eprintln!(
                "note: taken for {name}, whose keys and shapes are also those of {}; --variant says which it is",
                others.join(", ")
            );
        }
        for note in notes {
            eprintln!("note: {note}");
        }
    }
    let (mut preprocess, known_labels) =
        training(&variant, known, tagged, report.layout, in_channels);
    let facts = &original.facts;
    if let Some(theirs) = facts.preprocess.filter(|_| known.is_none() && in_channels == 3) {
        preprocess = theirs;
    }
    if let Some(Normalization { mean, std, colour }) = original.normalization {
        preprocess = Preprocess { mean, std, colour, ..preprocess };
    }
    if let Some(graph) = &original.graph {
        preprocess = fixed_by(graph, preprocess, in_channels);
    }
    let labels = match (labels, facts.names(num_classes)) {
        (None, Some(names)) if has_classifier && known.is_none() => Some(names.to_vec()),
        (labels, _) => labels,
    };
    let known_labels = known_labels.filter(|_| has_classifier);
    let file = original.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let card = ModelCard {
        variant: variant.name.to_owned(),
        tag: known.map(|weights| weights.tag.to_owned()),
        num_classes,
        in_channels,
        has_auxiliary,
        has_classifier,
        hidden: hidden.to_vec(),
        labels: class_names(labels, known_labels, num_classes)?,
        preprocess,
        origin: Origin {
            file: file.unwrap_or_default(),
            sha256,
            layout: report.layout.to_owned(),
            url: known.map(|weights| weights.url.to_owned()),
            licence: known.map(|weights| weights.licence.to_owned()),
        },
    };
    Ok((Model { network, card }, report))
}

/// Whether a checkpoint has a tensor of the right shape for each parameter.
fn fits(parameters: &[Parameter], checkpoint: &Checkpoint, layouts: &[KeyLayout]) -> bool {
    let keys = zoo_import::keys(parameters, checkpoint, layouts);
    parameters.iter().zip(keys).all(|(parameter, key)| {
        let tensor = checkpoint.tensors.get(&key);
        tensor.is_some_and(|tensor| zoo_import::is_of(tensor, parameter))
    })
}

/// What a checkpoint is loaded as.
struct Chosen {
    variant: Variant<Config>,
    /// The weights whose tag was asked for.
    tagged: Option<&'static Weights>,
    /// What the tensors tell, where they are the variant's and no others.
    identified: Option<Identified>,
}

/// The variant with a name, or the one that a checkpoint is recognised as.
fn choose(checkpoint: &Checkpoint, name: Option<&str>, choice: &Choice) -> anyhow::Result<Chosen> {
    let path = checkpoint.path.display();
    let (variant, tagged, identified) = match name {
        None => {
            let identified = identify(checkpoint, choice).map_err(|error| {
                let context = match error.downcast_ref() {
                    Some(Unrecognised::NotAveraged | Unrecognised::NoPrefix(..)) => {
                        path.to_string()
                    }
                    _ => format!("can't tell which model {path} is of"),
                };
                error.context(context)
            })?;
            (variant(&identified.recognition.name)?, None, Some(identified))
        }
        Some(name) => {
            let (variant, tagged) = published(name)?;
            match identify_as(checkpoint, &variant, choice) {
                Ok(identified) => (variant, tagged, Some(identified)),
                // What are not the network's tensors is said best when they are loaded.
                Err(error)
                    if checkpoint.graph.is_none()
                        && matches!(error.downcast_ref(), Some(Unrecognised::Unknown(_))) =>
                {
                    (variant, tagged, None)
                }
                Err(error) => {
                    return Err(error.context(format!("{path} does not fit {}", variant.name)));
                }
            }
        }
    };
    Ok(Chosen { variant, tagged, identified })
}

/// How images were prepared for weights whose keys are spelled in a layout, and what they were
/// trained to tell apart, where that is known.
///
/// Weights that are not known by their hash are most likely those whose tag was asked for, or
/// were trained with the first recipe that was published.
fn training(
    variant: &Variant<Config>,
    known: Option<&'static Weights>,
    tagged: Option<&'static Weights>,
    layout: &str,
    in_channels: usize,
) -> (Preprocess, Option<Labels>) {
    let usual = usual_preprocess(variant, in_channels);
    let is_colour = in_channels == 3;
    let weights = known.or(tagged).or(variant.weights.first()).filter(|_| is_colour);
    // Those who spell keys this way may have their own way to prepare images.
    let layout = variant.layouts.iter().find(|one| one.name == layout).or(match variant.layouts {
        // Without their names, weights of such a variant can only be of those.
        [only] => Some(only),
        _ => None,
    });
    let theirs = layout.and_then(|layout| layout.preprocess).filter(|_| is_colour);
    let theirs = theirs.map(|theirs| theirs.sized(usual.resize, usual.crop));
    let preprocess = match theirs.filter(|_| known.is_none()) {
        Some(theirs) => theirs,
        None => weights.map_or(usual, |weights| weights.preprocess),
    };
    let labels = weights.map(|weights| weights.labels).or(theirs.map(|_| Labels::ImageNet1k));
    (preprocess, labels)
}

/// The names of classes that were given, or else those of the known labels.
fn class_names(
    given: Option<Vec<String>>,
    known: Option<Labels>,
    num_classes: usize,
) -> anyhow::Result<Vec<String>> {
    let names = match (given, known) {
        (Some(given), _) => given,
        (None, Some(Labels::ImageNet1k)) => imagenet1k(num_classes),
        (None, _) => Vec::new(),
    };
    ensure!(
        ModelCard::can_be_named(num_classes, names.len()),
        "{} names of classes were given, but the checkpoint tells {num_classes} classes apart\nhint: \
         --labels takes a file with a line for each",
        names.len()
    );
    Ok(names)
}

/// ImageNet's names for a network of so many classes. TensorFlow's networks have one more, the
/// background, before the others.
fn imagenet1k(num_classes: usize) -> Vec<String> {
    let names = zoo_assets::imagenet1k().map(str::to_owned);
    match num_classes {
        1000 => names.collect(),
        1001 => std::iter::once("background".to_owned()).chain(names).collect(),
        _ => Vec::new(),
    }
}

/// Splits `resnet50.imagenet1k_v2` and looks both parts up.
///
/// # Errors
///
/// When no model is called that, or it has no weights with that tag.
pub fn published(name: &str) -> anyhow::Result<(Variant<Config>, Option<&'static Weights>)> {
    let (name, tag) = match name.split_once('.') {
        Some((name, tag)) => (name, Some(tag)),
        None => (name, None),
    };
    let variant = variant(name)?;
    let weights = variant.weights(tag);
    if let (Some(tag), None) = (tag, weights) {
        let tags: Vec<_> = variant.weights.iter().map(|weights| weights.tag).collect();
        match tags.as_slice() {
            [] => bail!("no weights are published for {name}\nhint: leave `.{tag}` out"),
            tags => bail!("{name} has no weights `{tag}`\nhint: it has {}", tags.join(", ")),
        }
    }
    Ok((variant, weights))
}

/// The same for a model that has published weights.
///
/// # Errors
///
/// When it has none, too.
pub fn with_weights(name: &str) -> anyhow::Result<(Variant<Config>, &'static Weights)> {
    let (variant, weights) = published(name)?;
    let weights = weights.with_context(|| {
        format!(
            "no weights are published for {}\nhint: `zoo weights list` shows those that are; \
             where a model is used, --weights FILE takes others",
            variant.name
        )
    })?;
    Ok((variant, weights))
}

fn embedded(device: &Device) -> anyhow::Result<Model> {
    let record = Record::from_bytes("the embedded record", zoo_assets::EFFICIENTNET_LITE0)?;
    from_record(record, device)
}

fn from_record(record: Record, device: &Device) -> anyhow::Result<Model> {
    let card = record.card.clone();
    let config = variant(&card.variant)
        .context("the record is of a model that this zoo does not have")?
        .config
        .with_num_classes(card.num_classes)
        .with_in_channels(card.in_channels);
    let mut network = config.init_with_hidden(&card.hidden, device);
    if card.has_auxiliary {
        network.attach_auxiliary(device);
    }
    Ok(Model { network: record.load_into(network)?, card })
}

/// The recipe for images of the size that a graph takes, if that is another one. Keras resizes to
/// the size itself, without a margin.
fn fixed_by(graph: &Graph, preprocess: Preprocess, in_channels: usize) -> Preprocess {
    match graph.side(in_channels) {
        Some(side) if side != preprocess.crop => {
            let resize = if graph.is_keras() { side } else { with_margin(side) };
            preprocess.sized(resize, side)
        }
        _ => preprocess,
    }
}

/// The shorter side of images that squares are cut out of: the common margin for photographs, none
/// for thumbnails.
fn with_margin(crop: u32) -> u32 {
    if crop < 64 { crop } else { crop * 256 / 224 }
}

/// What to do with images where nobody says.
pub fn usual_preprocess(variant: &Variant<Config>, in_channels: usize) -> Preprocess {
    let crop = u32::try_from(variant.size).unwrap_or(224);
    let preprocess = Preprocess::IMAGENET.sized(with_margin(crop), crop);
    if in_channels == 1 {
        let colour = Colour::Grey;
        return Preprocess { colour, mean: [0.5; 3], std: [0.5; 3], ..preprocess };
    }
    preprocess
}
