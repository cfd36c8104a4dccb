//! Fine-tunes image classifiers and segmenters on photographs of one's own, and says how good they are.
//!
//! ```text
//! folder, list ── Dataset::open, compare ──▶ samples ── Images ──▶ views ── Task::load ──▶ batches
//! model, batches ── fit ──▶ best weights ── Record::save ──▶ model.bpk
//! model.bpk, samples ── evaluate ──▶ Evaluation ──▶ report.html
//! ```
//!
//! [`train`] does all of it for any [`ImageClassifier`](zoo_core::ImageClassifier),
//! [`train_segmenter`] for any [`ImageSegmenter`](zoo_core::ImageSegmenter); [`Config`]
//! says how, and a [`Run`] says where to and who listens. Burn's optimisers and schedules move
//! the weights; the loop around them, [`fit`], is ours, since it has to go on from a checkpoint
//! to the same bits.

mod augment;
mod checkpoint;
mod classify;
pub mod config;
mod confusion;
mod data;
mod error;
mod evaluate;
mod fit;
mod forward;
mod images;
mod journal;
mod lock;
mod observer;
mod optim;
mod parts;
mod random;
mod report;
mod segment;
mod task;
mod train;

pub use augment::Augment;
pub use checkpoint::epochs_done;
pub use config::{Config, Preset, TaskKind};
pub use data::{Dataset, Packed, Sample, Source, is_leftover};
pub use error::Error;
pub use evaluate::{Answer, Batching, ClassScore, Evaluation, evaluate};
pub use fit::{CHECKPOINT, Fitted, Run, fit};
pub use images::{Budget, Images};
pub use journal::METRICS;
pub use lock::Lock;
pub use observer::{EpochRow, Event, Observer, Silent, duration};
pub use optim::optimizer;
pub use report::{REPORT, Report};
pub use segment::{Masks, Pair, SegmentEvaluation};
pub use task::{Loss, Score, Task};
pub use train::{LINEAR, MODEL, Segmented, Trained, train, train_segmenter};
