use zoo_core::{Variant, Weights};

use crate::{Config, UnknownVariant, VARIANTS, variant};

/// Splits a name such as `resnet50.imagenet1k_v2` and looks both parts up. Without a tag, the weights are the
/// variant's latest, if any are published.
///
/// # Errors
///
/// When no network is called that, or it has no weights with that tag.
pub fn published(name: &str) -> Result<(Variant<Config>, Option<&'static Weights>), UnknownName> {
    let (name, tag) = match name.split_once('.') {
        Some((name, tag)) => (name, Some(tag)),
        None => (name, None),
    };
    let variant = variant(name)?;
    let weights = variant.weights(tag);
    if let (Some(tag), None) = (tag, weights) {
        return Err(UnknownName::Tag {
            variant: name.to_owned(),
            tag: tag.to_owned(),
            tags: variant.weights.iter().map(|weights| weights.tag).collect(),
        });
    }
    Ok((variant, weights))
}

/// The same for a network that has published weights.
///
/// # Errors
///
/// Also when it has none.
pub fn with_weights(name: &str) -> Result<(Variant<Config>, &'static Weights), UnknownName> {
    let (variant, weights) = published(name)?;
    let weights = weights.ok_or_else(|| UnknownName::NoWeights(variant.name.to_owned()))?;
    Ok((variant, weights))
}

/// All published weights with their variants.
pub fn all_published() -> impl Iterator<Item = (&'static Variant<Config>, &'static Weights)> {
    VARIANTS
        .iter()
        .flat_map(|variant| variant.weights.iter().map(move |weights| (variant, weights)))
}

/// A name that leads to no network, or to no weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownName {
    /// No network is called that.
    Variant(UnknownVariant),
    /// The network has no weights with that tag.
    Tag {
        /// The network.
        variant: String,
        /// The tag that was asked for.
        tag: String,
        /// The tags that there are.
        tags: Vec<&'static str>,
    },
    /// No weights are published for the network.
    NoWeights(String),
}

impl From<UnknownVariant> for UnknownName {
    fn from(unknown: UnknownVariant) -> Self {
        Self::Variant(unknown)
    }
}

impl std::fmt::Display for UnknownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variant(unknown) => unknown.fmt(f),
            Self::Tag { variant, tag, tags } if tags.is_empty() => {
                write!(f, "no weights are published for {variant}\nhint: leave `.{tag}` out")
            }
            Self::Tag { variant, tag, tags } => {
                write!(f, "{variant} has no weights `{tag}`\nhint: it has {}", tags.join(", "))
            }
            Self::NoWeights(variant) => write!(
                f,
                "no weights are published for {variant}\nhint: docs/models.md lists those that are; open another file with \
                 Model::open"
            ),
        }
    }
}

impl std::error::Error for UnknownName {}
