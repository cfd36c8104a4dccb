//! Converts checkpoints of other programs to networks of the zoo, and back.
//!
//! ```text
//! file ── Checkpoint::open ──▶ tensors by key ── import ──▶ network, card, report ── Record::save ──▶ record
//! network, card ── export ──▶ safetensors, .pth or ONNX
//! ```
//!
//! [`Checkpoint::open`] reads files of PyTorch, safetensors, ONNX and Keras, and executes nothing
//! in them. [`import`] recognizes the network of a checkpoint ([`identify`]) and loads the tensors
//! into it, strictly ([`load`]): each parameter gets a tensor of its shape and no tensor is left
//! over. Otherwise the [`Report`] in the error lists all differences. [`export`] writes files with
//! the same keys, layouts and bits ([`StateDict`]).

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
mod location;
mod network;
pub mod onnx;
mod packed;
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
