//! The weights in an archive of `torch.export.save`, a `.pt2` file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::store::burn_pack::Tensor;
use burn::tensor::{BoolStore, DType};
use serde::Deserialize;

use super::contents::View;
use super::storages::{Archive, Storages};

/// The entry that lists the files of the weights.
pub(crate) const WEIGHTS: &str = "data/weights/model_weights_config.json";

#[derive(Deserialize)]
struct Config {
    config: BTreeMap<String, Weight>,
}

#[derive(Deserialize)]
struct Weight {
    path_name: String,
    use_pickle: bool,
    tensor_meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    dtype: u8,
    sizes: Vec<Int>,
    strides: Vec<Int>,
    storage_offset: Int,
}

#[derive(Deserialize)]
struct Int {
    as_int: u64,
}

/// Lists the tensors of an archive.
pub(super) fn tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let (archive, config) = Archive::open(path, WEIGHTS, "data/weights/")?;
    let config: Config = serde_json::from_slice(&config)
        .map_err(|error| format!("its list of weights can't be read: {error}"))?;
    let storages = Arc::new(Storages::Archive(archive));
    let mut tensors = BTreeMap::new();
    for (key, weight) in config.config {
        let Weight { path_name, use_pickle, tensor_meta: meta } = weight;
        if use_pickle {
            return Err(format!("`{key}` is a tensor of a class of its own"));
        }
        // `torch._export.serde.schema.ScalarType`
        let dtype = match meta.dtype {
            1 => DType::U8,
            2 => DType::I8,
            3 => DType::I16,
            4 => DType::I32,
            5 => DType::I64,
            6 => DType::F16,
            7 => DType::F32,
            8 => DType::F64,
            12 => DType::Bool(BoolStore::Native),
            13 => DType::BF16,
            other => return Err(format!("`{key}` is of numbers of an unknown type, {other}")),
        };
        let ints = |list: &[Int]| list.iter().map(|int| int.as_int).collect::<Vec<_>>();
        let length = storages.length(&path_name).ok_or_else(|| format!("it lacks {path_name}"))?;
        let count = length / dtype.size() as u64;
        let (shape, strides) = (ints(&meta.sizes), ints(&meta.strides));
        let view = View::new(meta.storage_offset.as_int, &shape, &strides, count)
            .ok_or_else(|| format!("`{key}` of {shape:?} reaches beyond {path_name}"))?;
        let mut tensor = view.tensor(dtype, path_name, storages.clone());
        tensor.name.clone_from(&key);
        tensors.insert(key, tensor);
    }
    Ok(tensors)
}
