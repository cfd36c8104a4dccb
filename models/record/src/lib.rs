//! The record format: weights with all that is needed to use them.
//!
//! A [`Record`] is Burn's file (burnpack) with a [`ModelCard`] inside. The card says which network it is,
//! its classes, its preprocessing, and the origin of the weights. A program that has only Burn and the
//! architecture's crate reads the same file with [`Module::load_file`](burn::module::Module::load_file).

mod atomic;
mod card;
mod digest;
mod error;
mod record;
mod training_images;

pub use atomic::write_atomically;
pub use burn::store::burn_pack::Tensor;
pub use card::{ModelCard, Origin};
pub use digest::sha256;
pub use error::Error;
pub use record::{Precision, Record, is_record, is_record_file};
pub use training_images::{Fingerprint, TrainingImages};
