//! The traits and layers that the architectures share.
//!
//! - [`ImageClassifier`] with its [`Head`], [`ImageSegmenter`]: the traits of networks.
//! - [`layers`]: the layers that three or more architectures share, or that have their own training
//!   kernel.
//! - [`Variant`], [`Weights`], [`Preprocess`], [`KeyLayout`]: facts about a network, as data.
//! - [`parameters`]: the names and shapes of a module's parameters, without their values.
//!
//! This crate depends on no architecture and does no I/O. Only its feature `cpu-training` depends on
//! a backend.

mod classifier;
mod head;
mod keys;
pub mod layers;
mod mlp_head;
mod panics;
mod parameters;
mod preprocess;
mod pyramid;
mod search;
mod segmenter;
mod variant;
mod words;

#[cfg(feature = "image")]
pub mod decode;

pub use classifier::{ImageClassifier, TrainingOutput, check_size};
pub use head::Head;
pub use keys::{KeyLayout, Texts};
pub use mlp_head::{HiddenLayer, WithMlpHead};
pub use panics::{CaughtPanic, catch_panic, is_catching_panic};
pub use parameters::{
    LayerKind, Parameter, count_trainable, fill_with_noise, initialize_parameters, parameters,
    root_prefix,
};
pub use preprocess::{
    Background, Color, Interpolation, Preprocess, UnknownBackground, with_margin,
};
pub use pyramid::{FeatureMaps, PyramidBuilder, PyramidLevel};
pub use search::{Inheritance, SearchSpace};
pub use segmenter::ImageSegmenter;
pub use variant::{
    Family, Implementation, Labels, Paper, StemKind, Variant, Weights, parse_number, parse_width,
};
pub use words::counted;
