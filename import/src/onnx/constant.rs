//! The tensors in a graph. Large ones stay on disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use burn::store::bridge;
use burn::store::burn_pack::{self, Tensor};
use burn::tensor::{Bytes, DType, Shape, TensorData};

use super::node::Node;
use super::proto;

/// A tensor of the graph: an initializer, or the value of a Constant node.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    pub(super) dtype: DType,
    pub(super) dims: Vec<usize>,
    values: Values,
    /// The tensor of the file of which this is a view, if it is one.
    pub(super) origin: Option<String>,
}

#[derive(Debug, Clone)]
enum Values {
    Memory(Arc<[u8]>),
    /// The values of a tensor of another format, read lazily.
    Tensor(Tensor),
    File {
        path: Arc<PathBuf>,
        offset: u64,
        length: usize,
    },
    /// The values of another constant with permuted dimensions.
    Transposed {
        of: Arc<Constant>,
        order: Vec<usize>,
        /// The depth of nested transpositions.
        depth: usize,
    },
}

/// The largest dimension of a tensor without elements.
const EMPTY: usize = 1 << 16;

/// The largest depth of nested transpositions; no exporter writes more.
const DEEPEST: usize = 8;

/// The largest number of values in a parameter of an operator.
const FEW: usize = 64;

/// Values with fewer bytes than this are kept in memory, because a read costs more.
const SMALL: usize = 4096;

/// The file that constants are read from.
pub(super) struct Source {
    path: Arc<PathBuf>,
    /// The content while it is parsed; a tensor's bytes are a slice of it.
    content: prost::bytes::Bytes,
}

impl Source {
    pub(super) fn new(path: &Path, content: prost::bytes::Bytes) -> Self {
        Self { path: Arc::new(path.to_owned()), content }
    }

    /// Returns the constant of a tensor, or `None` if networks do not compute with its type.
    ///
    /// # Errors
    ///
    /// When the tensor is invalid.
    pub(super) fn constant(&self, tensor: &proto::Tensor) -> Result<Option<Constant>, String> {
        let broken = |reason: &str| format!("the tensor `{}` {reason}", tensor.name);
        let Some(dtype) = dtype(tensor.data_type) else {
            return Ok(None);
        };
        let dims: Vec<usize> =
            tensor.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(usize::MAX)).collect();
        let size = dims.iter().try_fold(dtype.size(), |size, &dim| size.checked_mul(dim));
        let is_honest = !dims.contains(&0) || dims.iter().all(|&dim| dim < EMPTY);
        let Some(size) = size.filter(|_| is_honest) else {
            return Err(broken(&format!("claims to be of the size {:?}", tensor.dims)));
        };
        let values = if tensor.location == 1 {
            self.external(tensor).map_err(|reason| broken(&reason))?
        } else if !tensor.raw.is_empty() {
            let length = tensor.raw.len();
            if length < SMALL {
                Values::Memory(tensor.raw.to_vec().into())
            } else {
                // The parser returns slices of the content, so their address gives the offset.
                let start = tensor.raw.as_ptr() as usize - self.content.as_ptr() as usize;
                Values::File { path: self.path.clone(), offset: start as u64, length }
            }
        } else {
            Values::Memory(typed(tensor, dtype).into())
        };
        let found = values.length();
        if found != size {
            return Err(broken(&format!("of {dims:?} should have {size} bytes, but has {found}")));
        }
        Ok(Some(Constant { dtype, dims, values, origin: None }))
    }

    /// Returns the value of a Constant node without a tensor: numbers in its attributes.
    pub(super) fn constant_of(&self, node: &Node) -> Option<Constant> {
        let tensor = if node.has("value_float") {
            proto::Tensor {
                data_type: 1,
                floats: vec![node.float("value_float", 0.0)],
                ..Default::default()
            }
        } else if let Some(floats) = node.floats("value_floats") {
            let dims = vec![floats.len() as i64];
            proto::Tensor { data_type: 1, dims, floats: floats.to_vec(), ..Default::default() }
        } else if node.has("value_int") {
            proto::Tensor {
                data_type: 7,
                longs: vec![node.int("value_int", 0)],
                ..Default::default()
            }
        } else {
            let longs = node.ints("value_ints")?.to_vec();
            proto::Tensor {
                data_type: 7,
                dims: vec![longs.len() as i64],
                longs,
                ..Default::default()
            }
        };
        self.constant(&tensor).ok()?
    }

    /// Returns the file of a tensor's values, if it should be beside the model and is missing.
    pub(super) fn missing(&self, tensor: &proto::Tensor) -> Option<String> {
        let location = tensor.external.iter().find(|entry| entry.key == "location")?;
        let location = location.value.as_str();
        let is_name =
            Path::new(location).components().all(|part| matches!(part, Component::Normal(_)));
        let is_there = self.path.with_file_name(location).exists();
        (tensor.location == 1 && is_name && !is_there).then(|| location.to_owned())
    }

    /// Returns values in a file beside the model.
    fn external(&self, tensor: &proto::Tensor) -> Result<Values, String> {
        let entry = |key: &str| {
            tensor.external.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let location = entry("location").unwrap_or_default();
        let relative = Path::new(location);
        let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        let stays = relative.components().all(is_below);
        if location.is_empty() || !stays {
            return Err(format!("is in `{location}`, which is not beside the model"));
        }
        let number = |key| match entry(key) {
            Some(text) => {
                text.parse::<u64>().map(Some).map_err(|_| format!("has the {key} {text}"))
            }
            None => Ok(None),
        };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // A link may lead out of the folder even if its name does not.
        let missing = |error: std::io::Error| format!("is in `{location}`, but {error}");
        let path = folder.join(relative).canonicalize().map_err(missing)?;
        if !path.starts_with(folder.canonicalize().map_err(missing)?) {
            return Err(format!("is in `{location}`, a link to a file elsewhere"));
        }
        let available = std::fs::metadata(&path).map_err(missing)?.len();
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(available.saturating_sub(offset));
        if offset.checked_add(length).is_none_or(|end| end > available) {
            return Err(format!("lies behind the end of `{location}`"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(Values::File { path: Arc::new(path), offset, length })
    }
}

/// Returns the data type of weights.
fn dtype(code: i32) -> Option<DType> {
    Some(match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        6 => DType::I32,
        7 => DType::I64,
        // Booleans are bytes.
        9 => DType::U8,
        10 => DType::F16,
        11 => DType::F64,
        16 => DType::BF16,
        _ => return None,
    })
}

/// Returns the values of the typed fields, as bytes.
fn typed(tensor: &proto::Tensor, dtype: DType) -> Vec<u8> {
    let ints = |width: usize| {
        tensor.ints.iter().flat_map(|int| int.to_le_bytes().into_iter().take(width)).collect()
    };
    match dtype {
        DType::F32 => tensor.floats.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DType::F64 => tensor.doubles.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DType::I64 => tensor.longs.iter().flat_map(|value| value.to_le_bytes()).collect(),
        // Narrower types are stored in 32 bits.
        dtype => ints(dtype.size()),
    }
}

impl Values {
    fn length(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Tensor(tensor) => tensor.dtype.size() * tensor.shape.num_elements(),
            Self::File { length, .. } => *length,
            Self::Transposed { of, .. } => of.values.length(),
        }
    }
}

impl Constant {
    /// Returns the constant of a tensor of another format.
    pub(crate) fn of(tensor: Tensor) -> Self {
        let dims = tensor.shape.to_vec();
        Self { dtype: tensor.dtype, dims, values: Values::Tensor(tensor), origin: None }
    }

    /// Returns a constant of numbers in single precision. Their number must be that of the
    /// dimensions.
    pub(crate) fn of_numbers(numbers: &[f32], dims: Vec<usize>) -> Self {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Self { dtype: DType::F32, dims, values: Values::Memory(bytes.into()), origin: None }
    }

    /// Returns the constant with other dimensions, which must have the same number of elements.
    pub(super) fn reshaped(&self, dims: Vec<usize>) -> Option<Self> {
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        (count(&dims) == count(&self.dims)).then(|| Self { dims, ..self.clone() })
    }

    /// Returns the constant with permuted dimensions.
    pub(super) fn transposed(&self, order: Vec<usize>) -> Option<Self> {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let depth = match &self.values {
            Values::Transposed { depth, .. } => depth + 1,
            _ => 0,
        };
        if !sorted.into_iter().eq(0..self.dims.len()) || depth > DEEPEST {
            return None;
        }
        Some(Self {
            dtype: self.dtype,
            dims: order.iter().map(|&axis| self.dims[axis]).collect(),
            values: Values::Transposed { of: Arc::new(self.clone()), order, depth },
            origin: self.origin.clone(),
        })
    }

    /// Returns the same values with their own name.
    pub(super) fn renamed(&self) -> Self {
        Self { origin: None, ..self.clone() }
    }

    pub(super) fn count(&self) -> usize {
        self.dims.iter().product()
    }

    pub(super) fn is_float(&self) -> bool {
        self.dtype.is_float()
    }

    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        match &self.values {
            Values::Memory(bytes) => Ok(bytes.to_vec()),
            Values::Tensor(tensor) => {
                Ok(tensor.to_bytes().map_err(std::io::Error::other)?.to_vec())
            }
            Values::File { path, offset, length } => {
                let mut file = File::open(path.as_path())?;
                file.seek(SeekFrom::Start(*offset))?;
                let mut bytes = vec![0; *length];
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Values::Transposed { of, order, .. } => {
                Ok(permute(&of.bytes()?, &of.dims, order, self.dtype.size()))
            }
        }
    }

    /// Reads the values.
    pub(super) fn data(&self) -> Result<TensorData, burn_pack::Error> {
        let bytes = self.bytes().map_err(|error| burn_pack::Error::IoError(error.to_string()))?;
        let shape = Shape::from(self.dims.clone());
        TensorData::try_from_bytes(Bytes::from_bytes_vec(bytes), shape, self.dtype)
            .map_err(|error| burn_pack::Error::TensorBytesSizeMismatch(error.to_string()))
    }

    /// Reads the values in single precision.
    pub(super) fn floats(&self) -> Result<Vec<f32>, burn_pack::Error> {
        Ok(self.data()?.iter::<f32>().collect())
    }

    /// Reads the values in double precision, which holds all integers that occur.
    pub(super) fn numbers(&self) -> Result<Vec<f64>, burn_pack::Error> {
        Ok(self.data()?.iter::<f64>().collect())
    }

    /// Reads the values as integers, if they are few: sizes, indices, axes.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        let values = (self.count() <= FEW).then(|| self.numbers())?.ok()?;
        Some(values.into_iter().map(|value| value as i64).collect())
    }

    /// Returns the part of a file with its values, if they are in a file.
    pub(super) fn file_range(&self) -> Option<(&Path, std::ops::Range<u64>)> {
        match &self.values {
            Values::File { path, offset, length } => {
                Some((path, *offset..offset.saturating_add(*length as u64)))
            }
            Values::Transposed { of, .. } => of.file_range(),
            Values::Memory(_) | Values::Tensor(_) => None,
        }
    }

    /// Returns a tensor that reads its values lazily.
    pub(super) fn tensor(&self, name: &str) -> Tensor {
        let constant = self.clone();
        let shape = Shape::from(self.dims.clone());
        bridge::deferred(name.to_owned(), self.dtype, shape, None, move || constant.data())
    }
}

/// Permutes the dimensions of row-major values.
pub(crate) fn permute(bytes: &[u8], dims: &[usize], order: &[usize], width: usize) -> Vec<u8> {
    let mut steps = vec![width; dims.len()];
    for axis in (1..dims.len()).rev() {
        steps[axis - 1] = steps[axis] * dims[axis];
    }
    let mut permuted = Vec::with_capacity(bytes.len());
    let mut index = vec![0; dims.len()];
    while permuted.len() < bytes.len() {
        let start: usize = index.iter().zip(order).map(|(&i, &axis)| i * steps[axis]).sum();
        permuted.extend_from_slice(&bytes[start..start + width]);
        for (position, &axis) in order.iter().enumerate().rev() {
            index[position] += 1;
            if index[position] < dims[axis] {
                break;
            }
            index[position] = 0;
        }
    }
    permuted
}
