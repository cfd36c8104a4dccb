//! The contents of a pickle: tensors by key, and other facts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use burn::store::burn_pack::{self, Tensor};
use burn::tensor::{BoolStore, Bytes, DType};

use super::pickle::{Id, Object, Pickle, Value};
use super::storages::Storages;
use crate::Facts;

/// The contents of a pickle.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The tensors. A key is the path to a tensor through dictionaries, modules and lists, joined
    /// with dots.
    pub tensors: BTreeMap<String, Tensor>,
    /// The other facts.
    pub facts: Facts,
    /// A kind of tensors that is not supported, if there are any.
    pub unsupported: Option<Unsupported>,
}

/// A kind of tensors that is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unsupported {
    /// Integers with separate scales.
    Quantized,
    /// Values with their indices.
    Sparse,
    /// Numbers of a type that Burn does not have, with PyTorch's name of the type.
    Numbers(String),
}

/// The largest depth of nested dictionaries and lists. A deeper one is a cycle.
const DEEPEST: usize = 64;

/// The largest number of visited values. A pickle may have many paths to the same value.
const MOST_VISITS: usize = 1 << 26;

/// The largest number of tensors.
const MOST_TENSORS: usize = 1 << 20;

/// Lists the tensors of a pickle.
///
/// # Errors
///
/// When a tensor or the whole pickle is invalid.
pub(super) fn contents(pickle: &Pickle, storages: &Arc<Storages>) -> Result<Contents, String> {
    let mut walk =
        Walk { pickle, storages, found: Contents::default(), barren: HashSet::new(), visits: 0 };
    walk.value(pickle.root(), &mut Vec::new())?;
    Ok(walk.found)
}

/// A walk through a pickle.
struct Walk<'p> {
    pickle: &'p Pickle,
    storages: &'p Arc<Storages>,
    found: Contents,
    /// Values without tensors.
    barren: HashSet<Id>,
    visits: usize,
}

impl Walk<'_> {
    /// Visits a value; `path` are the segments that lead to it.
    fn value(&mut self, id: Id, path: &mut Vec<String>) -> Result<(), String> {
        self.visits += 1;
        if self.visits > MOST_VISITS || self.found.tensors.len() > MOST_TENSORS {
            return Err("its values are nested in one another again and again".to_owned());
        }
        let (object, is_flat) = match self.pickle.get(id) {
            Value::Object(object) => (Some(object), false),
            Value::Dict(_) | Value::Sequence(_) => (None, false),
            _ => (None, true),
        };
        if is_flat || path.len() > DEEPEST || self.barren.contains(&id) {
            return Ok(());
        }
        let before = self.found.tensors.len();
        match object.map(|object| self.tensor(object)).transpose()?.flatten() {
            Some(Rebuilt::Tensor(mut tensor)) => {
                tensor.name = path.join(".");
                self.found.tensors.entry(tensor.name.clone()).or_insert(tensor);
                return Ok(());
            }
            Some(Rebuilt::Unsupported(kind)) => {
                self.found.unsupported.get_or_insert(kind);
                return Ok(());
            }
            Some(Rebuilt::Nothing) => {}
            None => self.children(id, path)?,
        }
        if self.found.tensors.len() == before {
            self.barren.insert(id);
        }
        Ok(())
    }

    /// Visits the contents of a value that is not a tensor.
    fn children(&mut self, id: Id, path: &mut Vec<String>) -> Result<(), String> {
        let pickle = self.pickle;
        if let Some(entries) = pickle.entries(id) {
            return self.entries(entries, path);
        }
        if let Some(items) = pickle.sequence(id) {
            return self.items(items, path);
        }
        let Some(object) = pickle.object(id) else { return Ok(()) };
        let state = object.state.map(|state| match pickle.sequence(state) {
            // With `__slots__`, the state is a pair.
            Some([state, _slots]) => *state,
            _ => state,
        });
        if let Some(state) = state
            && pickle.entry(state, "_parameters").or(pickle.entry(state, "_modules")).is_some()
        {
            return self.module(state, path);
        }
        if !object.items.is_empty() {
            return self.items(&object.items, path);
        }
        let arguments = pickle.sequence(object.arguments).unwrap_or_default();
        match arguments {
            // OrderedDict([[key, value], …]), as Python 2 writes it.
            [list] if pickle.global(object.callable) == Some("collections.OrderedDict") => {
                let pairs = pickle.sequence(*list).unwrap_or_default();
                let pair = |pair: &Id| match pickle.sequence(*pair) {
                    Some([key, value]) => Some((*key, *value)),
                    _ => None,
                };
                let entries: Vec<_> = pairs.iter().filter_map(pair).collect();
                self.entries(&entries, path)?;
            }
            // For example, a named tuple.
            arguments => self.items(arguments, path)?,
        }
        match state.and_then(|state| pickle.entries(state)) {
            Some(entries) => self.entries(entries, path),
            None => Ok(()),
        }
    }

    fn entries(&mut self, entries: &[(Id, Id)], path: &mut Vec<String>) -> Result<(), String> {
        for (key, value) in entries {
            let key = match self.pickle.get(*key) {
                Value::Text(text) => text.to_string(),
                Value::Int(int) => int.to_string(),
                _ => continue,
            };
            self.note(&key, *value);
            path.push(key);
            self.value(*value, path)?;
            path.pop();
        }
        Ok(())
    }

    fn items(&mut self, items: &[Id], path: &mut Vec<String>) -> Result<(), String> {
        self.visits += items.len();
        for (index, item) in items.iter().enumerate() {
            if matches!(
                self.pickle.get(*item),
                Value::Sequence(_) | Value::Dict(_) | Value::Object(_)
            ) {
                path.push(index.to_string());
                self.value(*item, path)?;
                path.pop();
            }
        }
        Ok(())
    }

    /// Lists the tensors of `torch.nn.Module.state_dict`.
    fn module(&mut self, state: Id, path: &mut Vec<String>) -> Result<(), String> {
        let pickle = self.pickle;
        let names = |name: &str| -> HashSet<&str> {
            let set = pickle.entry(state, name);
            let items = set.and_then(|set| match pickle.object(set) {
                // set([…]), in the older protocols.
                Some(object) => {
                    pickle.sequence(object.arguments).and_then(|arguments| match arguments {
                        [list] => pickle.sequence(*list),
                        _ => None,
                    })
                }
                None => pickle.sequence(set),
            });
            let items = items.unwrap_or_default().iter();
            items.filter_map(|item| pickle.text(*item).map(|text| &**text)).collect()
        };
        let fleeting = names("_non_persistent_buffers_set");
        for part in ["_parameters", "_buffers", "_modules"] {
            let entries = pickle.entry(state, part).and_then(|part| pickle.entries(part));
            let entries = entries.unwrap_or_default().iter().copied();
            let kept: Vec<_> = entries
                .filter(|(key, _)| {
                    part != "_buffers"
                        || pickle.text(*key).is_none_or(|key| !fleeting.contains(&**key))
                })
                .collect();
            self.entries(&kept, path)?;
        }
        Ok(())
    }

    /// Keeps the facts of an entry about the network.
    fn note(&mut self, key: &str, value: Id) {
        let pickle = self.pickle;
        match key {
            "arch" | "architecture" | "model_name" => {
                if let Some(text) = pickle.text(value) {
                    self.found.facts.architecture.get_or_insert_with(|| text.to_string());
                }
            }
            // The command line of a training script.
            "args" | "hyper_parameters" | "hparams" => {
                let state = pickle.object(value).and_then(|object| object.state).unwrap_or(value);
                let model = ["model", "arch", "model_name"].iter();
                let model = model
                    .filter_map(|name| pickle.entry(state, name))
                    .find_map(|id| pickle.text(id));
                if let Some(text) = model {
                    self.found.facts.architecture.get_or_insert_with(|| text.to_string());
                }
            }
            _ if Facts::NAMES.iter().any(|name| key.eq_ignore_ascii_case(name)) => {
                self.found.facts.class_names.extend(self.names(value));
            }
            _ => {}
        }
    }

    /// Returns the names of classes in order: a list, or a dictionary between names and numbers.
    fn names(&self, value: Id) -> Option<Vec<String>> {
        let pickle = self.pickle;
        let text = |id: Id| pickle.text(id).map(ToString::to_string);
        if let Some(entries) = pickle.entries(value) {
            let number = |id: Id| match pickle.get(id) {
                Value::Int(int) => Some(*int),
                Value::Text(text) => text.parse().ok(),
                _ => None,
            };
            let numbered = entries.iter().map(|(key, value)| match pickle.get(*value) {
                Value::Int(int) => Some((*int, text(*key)?)),
                _ => Some((number(*key)?, text(*value)?)),
            });
            return in_order(numbered.collect::<Option<Vec<_>>>()?);
        }
        let items = match pickle.object(value) {
            Some(object) => &object.items[..],
            None => pickle.sequence(value)?,
        };
        let names: Vec<String> = items.iter().map(|item| text(*item)).collect::<Option<_>>()?;
        (!names.is_empty()).then_some(names)
    }

    /// Returns the tensor that an object rebuilds, or `None` if it rebuilds something else.
    fn tensor(&self, object: &Object) -> Result<Option<Rebuilt>, String> {
        let arguments = self.pickle.sequence(object.arguments).unwrap_or_default();
        self.rebuilt(object.callable, arguments, object.state)
    }

    fn rebuilt(
        &self,
        callable: Id,
        arguments: &[Id],
        state: Option<Id>,
    ) -> Result<Option<Rebuilt>, String> {
        let Some(name) = self.pickle.global(callable) else { return Ok(None) };
        let rebuilt = match (name, arguments) {
            (
                "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
                [storage, offset, shape, strides, ..],
            ) => self.view(*storage, None, *offset, *shape, *strides)?,
            (
                "torch._utils._rebuild_tensor_v3",
                [storage, offset, shape, strides, _, _, dtype, ..],
            ) => self.view(*storage, Some(*dtype), *offset, *shape, *strides)?,
            (
                "torch._utils._rebuild_parameter"
                | "torch._utils._rebuild_parameter_with_state"
                | "torch._utils._rebuild_device_tensor_from_numpy"
                | "torch._utils._rebuild_device_tensor_from_cpu_tensor"
                | "torch.nn.parameter.Parameter"
                | "torch.nn.parameter.Buffer",
                [data, ..],
            ) => {
                let object = self.pickle.object(*data);
                return object.map_or(Ok(Some(Rebuilt::Nothing)), |object| self.tensor(object));
            }
            ("torch._tensor._rebuild_from_type_v2", [callable, _, arguments, ..]) => {
                let arguments = self.pickle.sequence(*arguments).unwrap_or_default();
                return self.rebuilt(*callable, arguments, None);
            }
            ("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct", _) => {
                state.and_then(|state| self.array(state)).unwrap_or(Rebuilt::Nothing)
            }
            (
                "numpy.core.numeric._frombuffer" | "numpy._core.numeric._frombuffer",
                [bytes, dtype, shape, order],
            ) => {
                let is_fortran = self.pickle.text(*order).is_some_and(|order| **order == *"F");
                self.array_of(*shape, *dtype, is_fortran, *bytes).unwrap_or(Rebuilt::Nothing)
            }
            (name, _) if name.starts_with("torch._utils._rebuild_qtensor") => {
                Rebuilt::Unsupported(Unsupported::Quantized)
            }
            (name, _) if name.starts_with("torch._utils._rebuild_sparse") => {
                Rebuilt::Unsupported(Unsupported::Sparse)
            }
            // Tensors without values, and numbers.
            ("torch._utils._rebuild_meta_tensor_no_storage", _) => Rebuilt::Nothing,
            (name, _) if name.ends_with("core.multiarray.scalar") => Rebuilt::Nothing,
            _ => return Ok(None),
        };
        Ok(Some(rebuilt))
    }

    /// Returns a tensor that is a view of a storage.
    fn view(
        &self,
        storage: Id,
        dtype: Option<Id>,
        offset: Id,
        shape: Id,
        strides: Id,
    ) -> Result<Rebuilt, String> {
        let pickle = self.pickle;
        let Value::Persistent(id) = pickle.get(storage) else { return Ok(Rebuilt::Nothing) };
        let fields = pickle.sequence(*id).unwrap_or_default();
        let &[_, kind, key, _, count, ref view @ ..] = fields else {
            return Err("a storage has not all that it needs".to_owned());
        };
        let type_name = pickle.global(dtype.unwrap_or(kind)).unwrap_or_default();
        let dtype = match dtype_of(type_name) {
            Ok(dtype) => dtype,
            Err(Some(kind)) => return Ok(Rebuilt::Unsupported(kind)),
            Err(None) => return Ok(Rebuilt::Nothing),
        };
        let key = key_of(pickle, key).ok_or("a storage has no name")?;
        let number = |id: Id| pickle.int(id).and_then(|int| u64::try_from(int).ok());
        let numbers = |id: Id| -> Option<Vec<u64>> {
            pickle.sequence(id)?.iter().map(|id| number(*id)).collect()
        };
        let claim = || -> Option<_> {
            // In old files a storage may be a part of another one.
            let start = match view.first().and_then(|view| pickle.sequence(*view)) {
                Some([_, start, _]) => number(*start)?,
                _ => 0,
            };
            let offset = number(offset)?.checked_add(start)?;
            Some((number(count)?.checked_add(start)?, offset, numbers(shape)?, numbers(strides)?))
        };
        let (count, offset, shape, strides) =
            claim().ok_or("a tensor's shape is of no numbers, or of negative ones")?;
        let length = self.storages.length(&key).ok_or_else(|| format!("it lacks storage {key}"))?;
        let width = dtype.size() as u64;
        // The size of a storage without a type is in bytes.
        let is_typed = pickle.global(kind).is_some_and(|name| !name.ends_with("UntypedStorage"));
        let count = if is_typed { count } else { count / width };
        let view = View::new(offset, &shape, &strides, count.min(length / width));
        let view = view.ok_or_else(|| {
            format!("a tensor of {shape:?} reaches beyond storage {key} of {count} elements")
        })?;
        Ok(Rebuilt::Tensor(view.tensor(dtype, key, self.storages.clone())))
    }

    /// Returns an array of NumPy, from the state `(version, shape, dtype, is_fortran, bytes)`.
    fn array(&self, state: Id) -> Option<Rebuilt> {
        let &[_, shape, dtype, is_fortran, bytes] = self.pickle.sequence(state)? else {
            return None;
        };
        let is_fortran = self.pickle.int(is_fortran)? != 0;
        self.array_of(shape, dtype, is_fortran, bytes)
    }

    fn array_of(&self, shape: Id, dtype: Id, is_fortran: bool, bytes: Id) -> Option<Rebuilt> {
        let pickle = self.pickle;
        let dtype = self.numpy_dtype(dtype)?;
        let shape = pickle.sequence(shape)?.iter();
        let shape: Vec<u64> =
            shape.map(|id| u64::try_from(pickle.int(*id)?).ok()).collect::<Option<_>>()?;
        // In the older protocols bytes are Latin-1 text that must be encoded.
        let text = |id: Id| {
            let object = pickle.object(id)?;
            let is_encoded = pickle.global(object.callable) == Some("_codecs.encode");
            let text = pickle.sequence(object.arguments)?.first().filter(|_| is_encoded)?;
            pickle.text(*text).cloned()
        };
        let source = match pickle.get(bytes) {
            Value::Bytes(bytes) => Source::Bytes(bytes.clone()),
            Value::Text(text) => Source::Latin1(text.clone()),
            _ => match pickle.object(bytes)?.arguments {
                arguments
                    if pickle.global(pickle.object(bytes)?.callable)?.contains("bytearray") =>
                {
                    match pickle.get(*pickle.sequence(arguments)?.first()?) {
                        Value::Bytes(bytes) => Source::Bytes(bytes.clone()),
                        _ => return None,
                    }
                }
                _ => Source::Latin1(text(bytes)?),
            },
        };
        let mut strides = vec![1_u64; shape.len()];
        let mut step = 1_u64;
        let axes: Vec<usize> = match is_fortran {
            true => (0..shape.len()).collect(),
            false => (0..shape.len()).rev().collect(),
        };
        for axis in axes {
            strides[axis] = step;
            step = step.checked_mul(shape[axis])?;
        }
        let count = source.length() / dtype.size() as u64;
        let view = View::new(0, &shape, &strides, count)?;
        Some(Rebuilt::Tensor(view.tensor_of(dtype, move || Ok(source.bytes()))))
    }

    /// Returns the type of an array's numbers: `dtype("f4")` with the byte order in its state.
    fn numpy_dtype(&self, id: Id) -> Option<DType> {
        let object = self.pickle.object(id)?;
        let name = self.pickle.text(*self.pickle.sequence(object.arguments)?.first()?)?;
        if let Some(state) = object.state.and_then(|state| self.pickle.sequence(state))
            && self.pickle.text(*state.get(1)?).is_some_and(|order| **order == *">")
        {
            return None;
        }
        Some(match &**name {
            "f8" => DType::F64,
            "f4" => DType::F32,
            "f2" => DType::F16,
            "i8" => DType::I64,
            "i4" => DType::I32,
            "i2" => DType::I16,
            "i1" => DType::I8,
            "u1" => DType::U8,
            "b1" => DType::Bool(BoolStore::Native),
            _ => return None,
        })
    }
}

/// The result of rebuilding a tensor.
enum Rebuilt {
    Tensor(Tensor),
    Unsupported(Unsupported),
    /// A tensor without values.
    Nothing,
}

/// Returns the name of a storage, which may be a number.
pub(super) fn key_of(pickle: &Pickle, id: Id) -> Option<String> {
    match pickle.get(id) {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(int) => Some(int.to_string()),
        _ => None,
    }
}

/// Returns the type of the numbers of a storage's class, such as `torch.FloatStorage`, or of a
/// `torch.dtype`.
///
/// # Errors
///
/// The kind that is not supported, or `None` if the numbers are not needed.
pub(super) fn dtype_of(name: &str) -> Result<DType, Option<Unsupported>> {
    let name = name.rsplit('.').next().unwrap_or(name);
    Ok(match name.strip_suffix("Storage").unwrap_or(name) {
        "Float" | "float32" | "float" => DType::F32,
        "Double" | "float64" | "double" => DType::F64,
        "Half" | "float16" | "half" => DType::F16,
        "BFloat16" | "bfloat16" => DType::BF16,
        "Long" | "int64" | "long" => DType::I64,
        "Int" | "int32" | "int" => DType::I32,
        "Short" | "int16" | "short" => DType::I16,
        "Char" | "int8" => DType::I8,
        "Byte" | "uint8" => DType::U8,
        "uint16" => DType::U16,
        "uint32" => DType::U32,
        "uint64" => DType::U64,
        "Bool" | "bool" => DType::Bool(BoolStore::Native),
        name if name.starts_with("Q") || name.starts_with("q") => {
            return Err(Some(Unsupported::Quantized));
        }
        name if name.to_lowercase().starts_with("complex") => return Err(None),
        name => return Err(Some(Unsupported::Numbers(name.to_owned()))),
    })
}

/// Returns names by their numbers, if these are 0, 1, 2, ….
fn in_order(mut numbered: Vec<(i64, String)>) -> Option<Vec<String>> {
    numbered.sort();
    let is_counted = (0..).zip(&numbered).all(|(index, (number, _))| index == *number);
    let names: Vec<String> = numbered.into_iter().map(|(_, name)| name).collect();
    (is_counted && !names.is_empty()).then_some(names)
}

/// The elements of a storage in the order of a tensor.
pub(super) struct View {
    /// The index of the first element, and the number of elements from there on.
    offset: u64,
    extent: u64,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl View {
    /// Returns a view, if its elements are among the first `count` ones and it does not have more
    /// elements than a tensor can have.
    pub(super) fn new(offset: u64, shape: &[u64], strides: &[u64], count: u64) -> Option<Self> {
        if shape.len() != strides.len() {
            return None;
        }
        let elements = shape.iter().try_fold(1_u64, |all, dim| all.checked_mul(*dim))?;
        elements.checked_mul(8)?;
        let last = shape.iter().zip(strides).try_fold(0_u64, |last, (dim, stride)| {
            last.checked_add(dim.saturating_sub(1).checked_mul(*stride)?)
        })?;
        let extent = if elements == 0 { 0 } else { last.checked_add(1)? };
        if offset.checked_add(extent)? > count {
            return None;
        }
        let sizes = |list: &[u64]| -> Option<Vec<usize>> {
            list.iter().map(|&size| usize::try_from(size).ok()).collect()
        };
        Some(Self { offset, extent, shape: sizes(shape)?, strides: sizes(strides)? })
    }

    /// Returns the tensor. Its bytes are read lazily.
    pub(super) fn tensor(self, dtype: DType, key: String, storages: Arc<Storages>) -> Tensor {
        let width = dtype.size();
        let (start, length) = (self.offset * width as u64, self.extent as usize * width);
        let described = format!("storage {key} of a tensor of {:?}", self.shape);
        self.tensor_of(dtype, move || {
            storages.read(&key, start, length).map_err(|error| {
                let text = format!("cannot read {described}: {error}");
                match error.kind() {
                    std::io::ErrorKind::InvalidData => burn_pack::Error::ValidationError(text),
                    _ => burn_pack::Error::IoError(text),
                }
            })
        })
    }

    /// Returns the tensor of bytes that begin at the view's first element.
    fn tensor_of(
        self,
        dtype: DType,
        read: impl Fn() -> Result<Vec<u8>, burn_pack::Error> + Send + Sync + 'static,
    ) -> Tensor {
        let length = self.shape.iter().product::<usize>() * dtype.size();
        let shape = self.shape.clone();
        Tensor::deferred(String::new(), dtype, shape, None, length, move || {
            let mut bytes = self.gathered(read()?, dtype.size());
            if matches!(dtype, DType::Bool(_)) {
                bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
            }
            Ok(Bytes::from_bytes_vec(bytes))
        })
    }

    /// Returns the bytes in the order of the tensor, row-major.
    fn gathered(&self, bytes: Vec<u8>, width: usize) -> Vec<u8> {
        let mut step = 1;
        let is_contiguous = self.shape.iter().zip(&self.strides).rev().all(|(&dim, &stride)| {
            let expected = step;
            step *= dim;
            dim <= 1 || stride == expected
        });
        let elements: usize = self.shape.iter().product();
        if is_contiguous {
            return bytes;
        }
        let mut gathered = Vec::with_capacity(elements * width);
        let mut position = vec![0; self.shape.len()];
        let mut at = 0;
        for _ in 0..elements {
            gathered.extend_from_slice(&bytes[at * width..(at + 1) * width]);
            for axis in (0..position.len()).rev() {
                position[axis] += 1;
                at += self.strides[axis];
                if position[axis] < self.shape[axis] {
                    break;
                }
                at -= self.strides[axis] * self.shape[axis];
                position[axis] = 0;
            }
        }
        gathered
    }
}

/// The bytes of an array.
enum Source {
    Bytes(Arc<[u8]>),
    /// Text with a letter for each byte.
    Latin1(Arc<str>),
}

impl Source {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Latin1(text) => text.chars().count() as u64,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Latin1(text) => text.chars().map(|letter| u32::from(letter) as u8).collect(),
        }
    }
}
