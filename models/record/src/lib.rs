//! Weights with all that is needed to use them.
//!
//! A [`Record`] is Burn's own file (burnpack) with a [`ModelCard`] inside, which names the network, its classes, how images
//! are prepared, and where the weights come from. A program that has only Burn and the architecture's crate reads the same file with
//! [`Module::load_file`](burn::module::Module::load_file).

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
