//! Turns the checkpoints that the world already has into Burn records.
//!
//! ```text
//! file ── Checkpoint::open ──▶ tensors by key ── load ──▶ model + Report ── Record::save ──▶ record
//! ```
//!
//! [`Checkpoint::open`] reads PyTorch's and safetensors' files without running anything in them.
//! [`load`] puts the tensors into a model, strictly: each parameter gets a tensor of its shape
//! and no tensor is left over, or the [`Report`] in the error lists all that is wrong. A
//! [`Record`] is Burn's own file with a [`ModelCard`] inside, which says all that is needed to
//! use it.

mod card;
mod checkpoint;
mod error;
mod load;
pub mod onnx;
mod recognise;
mod record;

pub use burn::store::burn_pack::Tensor;
pub use card::{ModelCard, Origin};
pub use checkpoint::Checkpoint;
pub use error::Error;
pub use load::{Misshapen, Missing, Report, fit, has_auxiliary, keys, load, load_but};
pub use recognise::{Candidate, Recognition, Resemblance, Unrecognised, recognise};
pub use record::{Precision, Record, is_record, is_record_file};
