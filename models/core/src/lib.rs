//! The contract and the parts that every architecture of the zoo shares.
//!
//! - [`ImageClassifier`] with its [`Head`], [`ImageSegmenter`]: what a network can be asked to do.
//! - [`layers`]: the blocks that three architectures or more are built of, or that have a training
//!   kernel of their own.
//! - [`Variant`], [`Weights`], [`Preprocess`], [`KeyLayout`]: what is known about a network, as data.
//! - [`parameters`]: the names and shapes of a module's parameters, without their values.
//!
//! This crate names no architecture, does no input or output, and asks for no backend, but for its
//! feature `cpu-training`.

mod classifier;
mod head;
mod keys;
pub mod layers;
mod mlp_head;
mod panics;
mod parameters;
mod preprocess;
mod pyramid;
mod segmenter;
mod variant;

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
pub use segmenter::ImageSegmenter;
pub use variant::{
    Family, Implementation, Labels, Paper, StemKind, Variant, Weights, parse_number, parse_width,
};
