use zoo_core::{Variant, Weights};

use crate::{Config, UnknownVariant, VARIANTS, variant};

/// Looks up a variant and its weights by a name such as `resnet50.imagenet1k_v2`. Without a tag, the
/// weights are the variant's latest, if any are published.
///
/// # Errors
///
/// When no variant has this name, or it has no weights with this tag.
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

/// Looks up a variant as [`published()`] does, and requires published weights.
///
/// # Errors
///
/// As for [`published()`], and when the variant has no published weights.
pub fn with_weights(name: &str) -> Result<(Variant<Config>, &'static Weights), UnknownName> {
    let (variant, weights) = published(name)?;
    let weights = weights.ok_or_else(|| UnknownName::NoWeights(variant.name.to_owned()))?;
    Ok((variant, weights))
}

/// Returns all published weights with their variants.
pub fn all_published() -> impl Iterator<Item = (&'static Variant<Config>, &'static Weights)> {
    VARIANTS
        .iter()
        .flat_map(|variant| variant.weights.iter().map(move |weights| (variant, weights)))
}

/// The error for a name without a variant or without weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownName {
    /// No variant has this name.
    Variant(UnknownVariant),
    /// The variant has no weights with this tag.
    Tag {
        /// The variant.
        variant: String,
        /// The requested tag.
        tag: String,
        /// The tags that the variant has.
        tags: Vec<&'static str>,
    },
    /// No weights are published for the variant.
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
