//! # burn-zoo
//!
//! The classic convolutional networks for [Burn](https://burn.dev), with their published weights.
//!
//! ```no_run
//! use burn_zoo::{Backend, Model};
//!
//! # fn main() -> Result<(), burn_zoo::Error> {
//! let device = Backend::Cpu.device()?;
//! let mut model = Model::load("efficientnet_lite0", &device)?;
//! let image = model.open_image("cat.jpg")?;
//! for prediction in &model.classify(&[image], 5)?[0] {
//!     println!("{:5.1} %  {}", 100.0 * prediction.probability, prediction.label);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Model::load`] takes a name, such as `resnet50` or `resnet50.imagenet1k_v2`, and downloads the weights once;
//! [`Model::open`] takes a file: a record that this crate wrote, or a checkpoint of PyTorch, safetensors, ONNX or Keras. A
//! [`Model`] classifies images, embeds them, and gives access to the Burn module with [`Model::network`]. On the CPU, a
//! [`Session`] runs the network by compiled plans.
//!
//! ## Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `cpu` (default) | the backend for the CPU: zoo-engine and Burn's Flex |
//! | `ndarray`, `wgpu`, `libtorch`, `remote` | further backends |
//! | `threads` (default) | several threads for Burn's kernels and for decoding |
//! | `embedded` (default) | the weights of EfficientNet-Lite0, compiled in |
//! | `import` (default) | checkpoints of PyTorch, safetensors, ONNX and Keras, and [`export`](import::export); facts about networks |
//! | `download` (default) | the [`Hub`]: published weights by name |
//! | `train` | fine-tuning, evaluation, benchmarks, comparisons, architecture search and explanations: [`train`], [`mod@bench`], [`compare`], [`search`], [`explain`] |
//!
//! Without default features, the crate has the networks, records and classification on any device of Burn, and builds for
//! `wasm32-unknown-unknown`.

#[cfg(feature = "train")]
pub mod bench;
#[cfg(feature = "threads")]
mod classify;
#[cfg(feature = "train")]
pub mod compare;
#[cfg(feature = "import")]
mod contents;
mod device;
#[cfg(feature = "threads")]
mod embed;
mod error;
#[cfg(feature = "train")]
mod evaluate;
#[cfg(feature = "train")]
pub mod explain;
#[cfg(feature = "train")]
mod finetune;
#[cfg(feature = "download")]
pub mod hub;
#[cfg(feature = "import")]
mod info;
mod large;
mod model;
mod prediction;
#[cfg(feature = "train")]
pub mod search;
#[cfg(feature = "train")]
mod statistics;
#[cfg(feature = "import")]
mod summary;

#[cfg(feature = "threads")]
pub use classify::ClassifyOptions;
#[cfg(feature = "import")]
pub use contents::{Contents, Source, TensorInfo};
#[cfg(feature = "remote")]
pub use device::remote;
pub use device::{Backend, UnknownBackend, default_to_cpu, set_threads};
#[cfg(feature = "threads")]
pub use embed::{Embeddings, Pair};
pub use error::Error;
#[cfg(feature = "train")]
pub use evaluate::{EvaluateOptions, Evaluated};
#[cfg(feature = "train")]
pub use finetune::{Finetuned, RUN_CONFIG, Validation, ensure_no_run};
#[cfg(feature = "download")]
pub use hub::Hub;
#[cfg(feature = "import")]
pub use info::{ModelInfo, PlanInfo, PlanStep, VariantInfo, WeightsInfo};
pub use large::ensure_fits;
pub use model::{EMBEDDED_MODEL, Model};
pub use prediction::{Prediction, UNKNOWN_LABEL, probabilities, top_k};
#[cfg(feature = "import")]
pub use summary::{ModuleSummary, Summary, summary};
pub use zoo_core::{CaughtPanic, catch_panic, counted, decode, is_catching_panic};
pub use zoo_engine::{Plan, Session, StepProfile, default_threads};
pub use zoo_models::{Classifier, Logits, Network, Segmenter};
pub use zoo_record::{ModelCard, Precision, Record};

/// Records: Burn's file format with a model card inside.
pub mod record {
    pub use zoo_record::*;
}

/// Import and export: checkpoints of other programs.
#[cfg(feature = "import")]
pub mod import {
    pub use zoo_import::*;
}

/// The networks: their tables, configurations and parts.
pub mod models {
    pub use zoo_core::{
        Background, Family, HiddenLayer, ImageClassifier, ImageSegmenter, KeyLayout, Labels,
        Preprocess, Variant, Weights, layers::Activation,
    };
    pub use zoo_models::*;
}

/// Fine-tuning and evaluation.
#[cfg(feature = "train")]
pub mod train {
    pub use zoo_train::*;
}
