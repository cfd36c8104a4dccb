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

mod agreement;
mod checkpoint;
mod claim;
mod error;
mod export;
mod facts;
mod head;
mod identify;
mod import;
mod keras;
mod kind;
mod load;
mod network;
pub mod onnx;
mod packed;
mod place;
mod pytorch;
mod recognize;
mod reparametrized;
mod resemblance;
mod rest;

pub use agreement::{Agreement, NotCompared, agreement};
pub use burn::store::burn_pack::Tensor;
pub use checkpoint::Checkpoint;
pub use error::Error;
pub use export::{ExportFormat, ExportOptions, OPSETS, StateDict, export};
pub use facts::Facts;
pub use identify::{Identified, Unidentified, candidate, identify, identify_as};
pub use import::{Comparison, ImportOptions, Imported, import};
pub use keras::Normalization;
pub use load::{Misshapen, Missing, Report, fit, has_auxiliary, is_of, keys, load, load_but};
pub use network::{NotCaptured, capture};
pub use recognize::{Candidate, Choice, Found, Recognition, Unrecognized, recognize};
pub use resemblance::Resemblance;
