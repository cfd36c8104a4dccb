//! Turns the checkpoints that the world already has into Burn records.
//!
//! ```text
//! file ── Checkpoint::open ──▶ tensors by key ── load ──▶ model + Report ── Record::save ──▶ record
//! model ── StateDict::of ──▶ tensors by key ── save_safetensors, save_pth, save_onnx ──▶ file
//! ```
//!
//! [`Checkpoint::open`] reads PyTorch's, safetensors', ONNX's and Keras's files without running anything in them.
//! [`load`] puts the tensors into a model, strictly: each parameter gets a tensor of its shape
//! and no tensor is left over, or the [`Report`] in the error lists all that is wrong. A
//! [`Record`] is Burn's own file with a [`ModelCard`] inside, which says all that is needed to
//! use it. A [`StateDict`] is the way back: the same keys, layouts and bits. With the feature
//! `download`, a [`Store`] keeps the records of published weights.

mod atomic;
mod card;
mod checkpoint;
mod digest;
#[cfg(feature = "download")]
mod download;
mod error;
mod export;
mod facts;
mod head;
mod keras;
mod kind;
mod load;
pub mod onnx;
mod packed;
mod place;
mod pytorch;
mod recognise;
mod record;
mod reparametrized;
mod resemblance;
mod rest;
mod seen;
#[cfg(feature = "download")]
mod store;

pub use atomic::write_atomically;
pub use burn::store::burn_pack::Tensor;
pub use card::{ModelCard, Origin};
pub use checkpoint::Checkpoint;
#[cfg(feature = "download")]
pub use download::{Event, Limits};
pub use error::Error;
pub use export::{OPSETS, StateDict};
pub use facts::Facts;
pub use keras::Normalization;
pub use load::{Misshapen, Missing, Report, fit, has_auxiliary, is_of, keys, load, load_but};
pub use recognise::{Candidate, Choice, Found, Recognition, Unrecognised, recognise};
pub use record::{Precision, Record, is_record, is_record_file};
pub use resemblance::Resemblance;
pub use seen::{Fingerprint, Seen};
#[cfg(feature = "download")]
pub use store::{Entry, State, Store};
