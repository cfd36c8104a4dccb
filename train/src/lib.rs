//! Fine-tunes image classifiers and segmenters on your own images, and evaluates them.
//!
//! ```text
//! folder, list ── Dataset::open, compare ──▶ samples ── Images ──▶ views ── Task::load ──▶ batches
//! model, batches ── fit ──▶ best weights ── Record::save ──▶ model.bpk
//! model.bpk, samples ── Task::evaluate ──▶ Evaluation ──▶ report.html
//! ```
//!
//! [`train()`] runs all of this for a [`Task`]: [`Classification`] of whole images by any
//! [`ImageClassifier`](zoo_core::ImageClassifier), or [`Segmentation`], the classification of
//! pixels, by any [`ImageSegmenter`](zoo_core::ImageSegmenter). A [`Config`] holds the settings; a
//! [`Run`] holds the folder, the devices and the observer. Burn's optimizers and learning rate
//! schedules update the weights. The training loop, `fit`, is written here, because a resumed run
//! must give the same bits as an uninterrupted one.

mod augment;
mod checkpoint;
mod classify;
pub mod config;
mod confusion;
mod data;
mod error;
mod evaluate;
mod fit;
mod images;
mod journal;
mod lock;
mod observer;
mod optim;
mod parts;
mod random;
mod report;
mod segment;
mod summary;
mod task;
mod train;

pub use checkpoint::epochs_done;
pub use classify::Classification;
pub use config::{Augment, Config, Preset, Setting, TaskKind};
pub use confusion::confusion_image;
pub use data::{Dataset, IMAGES, Label, Mask, Masked, Packed, Sample, Source, is_leftover};
pub use error::Error;
pub use evaluate::{Answer, ClassScore, ClassificationEvaluation};
pub use fit::{CHECKPOINT, Fitted, Run};
pub use images::{Budget, Images};
pub use journal::METRICS;
pub use lock::Lock;
pub use observer::{EpochRow, Event, Observer, Silent, duration};
pub use optim::optimizer;
pub use report::{REPORT, Results, write_evaluation};
pub use segment::{Example, PixelAnswer, PixelClass, Segmentation, SegmentationEvaluation};
pub use summary::{ClassifiedImage, SegmentedImage};
pub use task::{Batching, Evaluation, Loss, Score, Task, TaskData};
pub use train::{LINEAR, MODEL, Trained, train};
