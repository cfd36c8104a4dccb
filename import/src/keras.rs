//! Keras's weight files: `.h5` of Keras 1 and 2, `.weights.h5` and `.keras` of Keras 3.
//!
//! ```text
//! conv1/conv1/kernel:0                             ─┐
//! layers/conv2d_4/vars/0, whose `name` is conv1    ─┼─▶ layers ──▶ conv1.weight, as in PyTorch
//! the same in an archive, beside config.json       ─┘
//! ```
//!
//! TensorFlow's kernels are height × width × inputs × outputs, PyTorch's are outputs × inputs ×
//! height × width. Tensors get PyTorch's names and dimensions here, and keep the names of Keras's
//! layers. After that they are handled like those of any other checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use burn::store::burn_pack::Tensor;
use hdf5_reader::storage::{BytesStorage, DynStorage, FileStorage};
use hdf5_reader::{Hdf5File, OpenOptions};
use serde_json::Value as Json;
use zip::ZipArchive;
use zoo_core::Color;

use crate::Error;
use crate::error::damaged;
use crate::onnx::Graph;

mod config;
mod layers;
mod names;
mod network;
mod operators;
mod reader;

use reader::Reader;

/// The content of a Keras file.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The tensors by key.
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// The computation of the network, if the file has it.
    pub(crate) graph: Option<Graph>,
    /// The scaling of images before the first convolution.
    pub(crate) normalization: Option<Normalization>,
}

/// The scaling of images with values in `[0, 1]` for a network's first layer: `(x - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// The number that is subtracted from each channel.
    pub mean: [f32; 3],
    /// The number that then divides each channel.
    pub std: [f32; 3],
    /// The channels of the network's input.
    pub color: Color,
}

/// The name of the weights in a `.keras` archive.
pub(crate) const WEIGHTS: &str = "model.weights.h5";
const CONFIG: &str = "config.json";

/// The largest ratio of unpacked to packed size: that of deflate is at most 1032.
const EXPANSION: u64 = 1032;

/// Reads an HDF5 file. Its values stay on disk.
pub(crate) fn read_hdf5(path: &Path) -> Result<Contents, Error> {
    let storage = FileStorage::open(path).map_err(|error| damaged(path, error))?;
    read(path, Arc::new(storage), None)
}

/// Reads a `.keras` archive. Its values are kept in memory.
pub(crate) fn read_archive(path: &Path) -> Result<Contents, Error> {
    let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    let mut archive = ZipArchive::new(file).map_err(|error| damaged(path, error))?;
    let mut unpack = |name: &str| {
        let file = archive.by_name(name).map_err(|error| damaged(path, error))?;
        let size = file.size();
        if size > file.compressed_size().saturating_mul(EXPANSION) {
            return Err(damaged(path, format!("{name} claims to be of {size} bytes")));
        }
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(|error| damaged(path, error))?;
        Ok(bytes)
    };
    let config: Json = serde_json::from_slice(&unpack(CONFIG)?)
        .map_err(|error| damaged(path, format!("{CONFIG}: {error}")))?;
    let weights = BytesStorage::new(unpack(WEIGHTS)?);
    read(path, Arc::new(weights), Some(config))
}

/// Reads the layers and translates them; `config` is the archive's description of the network.
fn read(path: &Path, storage: DynStorage, config: Option<Json>) -> Result<Contents, Error> {
    let length = storage.len();
    let limit = usize::try_from(length.saturating_mul(EXPANSION)).unwrap_or(usize::MAX);
    let options = OpenOptions::default()
        .with_max_read_bytes(limit)
        .with_max_chunk_bytes(limit)
        // Each value is read once.
        .with_chunk_cache_bytes(0);
    let file = Hdf5File::from_storage_with_options(storage, options)
        .map_err(|error| damaged(path, error))?;
    let stated = file.superblock().eof_address;
    if length < stated {
        return Err(damaged(path, format!("it has {length} of its {stated} bytes")));
    }
    let root = file.root_group().map_err(|error| damaged(path, error))?;
    let names = config.as_ref().map(names::in_config).unwrap_or_default();
    let mut layers = Reader::new(path, limit, &names).read(&root)?;
    let config = config.or_else(|| {
        let config = root.attribute("model_config").and_then(|text| text.read_string()).ok()?;
        serde_json::from_str(&config).ok()
    });
    let graph = config.and_then(|config| network::graph(&config, &layers));
    names::settle(&mut layers);

    let normalization = graph.as_ref().and_then(Graph::normalization);
    let has_graph = graph.is_some();
    let mut contents = Contents { tensors: BTreeMap::new(), graph, normalization };
    for layer in &layers {
        match layer.normalization().map_err(|error| damaged(path, error))? {
            Some(_) if has_graph => {}
            Some(found) => contents.normalization = Some(found),
            None => {
                for (key, tensor) in layer.tensors() {
                    if contents.tensors.insert(key.clone(), tensor).is_some() {
                        return Err(damaged(path, format!("there are two weights {key}")));
                    }
                }
            }
        }
    }
    Ok(contents)
}
