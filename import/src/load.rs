use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::store::burn_pack::Tensor;
use burn::store::{FloatCastAdapter, ModuleSnapshot, bridge};
use burn::tensor::{DType, Shape, TensorData};
use zoo_core::{KeyLayout, LayerKind, Parameter, parameters, root_prefix};

use crate::location::Index;
use crate::{Checkpoint, Error};

/// The result of matching a checkpoint's tensors with a model's parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The name of the layout that the keys were read with.
    pub layout: &'static str,
    /// Number of tensors that were loaded.
    pub loaded: usize,
    /// Keys that the model needs and the checkpoint lacks.
    pub missing: Vec<Missing>,
    /// Keys of the checkpoint without a parameter in the model.
    pub unused: Vec<String>,
    /// Keys on both sides whose shapes differ.
    pub misshapen: Vec<Misshapen>,
    /// Errors in reading values.
    pub unreadable: Vec<String>,
    /// Keys of tensors with a NaN or an infinity. They are loaded.
    pub not_finite: Vec<String>,
}

/// A key that the model needs and the checkpoint lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The key.
    pub key: String,
    /// The expected shape.
    pub shape: Vec<usize>,
    /// The most similar unused key with the same shape.
    pub nearest: Option<String>,
}

/// A key on both sides whose shapes differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// The key.
    pub key: String,
    /// The model's shape, in the checkpoint's layout.
    pub expected: Vec<usize>,
    /// The checkpoint's shape.
    pub found: Vec<usize>,
}

impl Report {
    /// Whether every parameter got its tensor and no tensor was left over.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty()
            && self.unused.is_empty()
            && self.misshapen.is_empty()
            && self.unreadable.is_empty()
    }

    /// A sentence about numbers that are NaN or infinite, if there are any.
    pub fn warning(&self) -> Option<String> {
        let [first, others @ ..] = self.not_finite.as_slice() else { return None };
        let others = match others.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Some(format!("numbers that are not finite in {first}{others}"))
    }
}

/// Loads a checkpoint's tensors into a model.
///
/// The layout is the one of `layouts` that has most of the checkpoint's keys. Half and double
/// precision become single. `name` is the model's name for error messages.
///
/// # Errors
///
/// When a tensor is missing, left over or has the wrong shape.
///
/// # Panics
///
/// When `layouts` is empty, or has no rule for one of the model's parameters.
pub fn load<M: Module>(
    model: M,
    name: &str,
    checkpoint: &Checkpoint,
    layouts: &[KeyLayout],
) -> Result<(M, Report), Error> {
    load_but(&BTreeSet::new(), model, name, checkpoint, layouts)
}

/// Loads a checkpoint, as [`load`] does, without the parameters at the paths in `absent`. These
/// keep their values.
///
/// # Errors
///
/// When another tensor is missing, or a tensor is left over or has the wrong shape.
///
/// # Panics
///
/// When `layouts` is empty, or has no rule for one of the model's parameters.
pub fn load_but<M: Module>(
    absent: &BTreeSet<String>,
    mut model: M,
    name: &str,
    checkpoint: &Checkpoint,
    layouts: &[KeyLayout],
) -> Result<(M, Report), Error> {
    let slots = parameters(&model);
    let LayoutMatch { layout, keys, tensors: found } = best_layout(&slots, checkpoint, layouts);
    let root = root_prefix(&model);

    let mut report = Report { layout: layout.name, ..Report::default() };
    let not_finite = Arc::default();
    let mut tensors: Vec<Tensor> = Vec::with_capacity(slots.len());
    for (slot, key) in slots.iter().zip(&keys) {
        let expected = pytorch_shape(slot);
        match found.get(key) {
            None if absent.contains(&slot.path) => {}
            None => {
                report.missing.push(Missing { key: key.clone(), shape: expected, nearest: None })
            }
            Some(tensor) if !has_shape(tensor, &expected) => {
                report.misshapen.push(Misshapen {
                    key: key.clone(),
                    expected,
                    found: tensor.shape.to_vec(),
                });
            }
            Some(tensor) => {
                let tensor = if is_linear(slot) { transposed(tensor) } else { tensor.clone() };
                let name = format!("{root}{}", slot.path);
                tensors.push(watched(tensor, name, key.clone(), &not_finite));
            }
        }
    }
    let wanted: BTreeSet<&String> = keys.iter().collect();
    report.unused = found
        .keys()
        .filter(|key| !wanted.contains(key) && !is_counter(key) && !layout.is_optional(key))
        .cloned()
        .collect();
    for missing in &mut report.missing {
        missing.nearest = nearest(missing, &report.unused, &found);
    }

    if report.is_clean() {
        let adapter = FloatCastAdapter::to(DType::F32);
        let result = model.apply(tensors, None, Some(Box::new(adapter)), false);
        report.loaded = result.applied.len();
        report.unreadable = result.errors.iter().map(ToString::to_string).collect();
        report.not_finite = std::mem::take(&mut *keys_in(&not_finite));
    }
    if report.is_clean() {
        Ok((model, report))
    } else {
        Err(Error::Mismatch {
            path: checkpoint.path.clone(),
            model: name.to_owned(),
            report: Box::new(report),
        })
    }
}

/// Keys that are collected while values are read.
type Keys = Arc<Mutex<Vec<String>>>;

fn keys_in(keys: &Keys) -> MutexGuard<'_, Vec<String>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a tensor with another name. Reading it collects its key if a value is NaN or infinite.
fn watched(tensor: Tensor, name: String, key: String, not_finite: &Keys) -> Tensor {
    let not_finite = not_finite.clone();
    let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
    bridge::map_data(tensor, name, dtype, shape, move |data| {
        let is_finite = match data.as_slice::<f32>() {
            Ok(values) => values.iter().all(|value| value.is_finite()),
            Err(_) => !dtype.is_float() || data.iter::<f64>().all(f64::is_finite),
        };
        if !is_finite {
            keys_in(&not_finite).push(key.clone());
        }
        data
    })
}

/// Whether a checkpoint has optional modules of an architecture, which are auxiliary heads.
pub fn has_auxiliary(checkpoint: &Checkpoint, layouts: &[KeyLayout]) -> bool {
    let keys = checkpoint.tensors.keys();
    keys.into_iter().any(|key| layouts.iter().any(|layout| layout.is_optional(key)))
}

/// Returns the checkpoint's key for each parameter, in the layout that has most of the keys.
///
/// # Panics
///
/// When `layouts` is empty, or has no rule for one of the parameters.
pub fn keys(
    parameters: &[Parameter],
    checkpoint: &Checkpoint,
    layouts: &[KeyLayout],
) -> Vec<String> {
    best_layout(parameters, checkpoint, layouts).keys
}

/// Returns the numbers of classes and input channels that a checkpoint was trained with.
///
/// `build` returns the model's parameters for these two numbers. `usual` are the numbers that the
/// model is designed for; they are returned if the checkpoint does not show others.
pub fn fit(
    build: impl Fn(usize, usize) -> Vec<Parameter>,
    (classes, channels): (usize, usize),
    checkpoint: &Checkpoint,
    layouts: &[KeyLayout],
) -> (usize, usize) {
    let usual = build(classes, channels);
    let LayoutMatch { keys, tensors, .. } = best_layout(&usual, checkpoint, layouts);
    // The dimension that grows with the number shows it in the checkpoint.
    let read = |grown: Vec<Parameter>| {
        usual.iter().zip(&grown).zip(&keys).find_map(|((usual, grown), key)| {
            let (usual, grown) = (pytorch_shape(usual), pytorch_shape(grown));
            let dimension = (0..usual.len()).find(|&d| usual[d] != grown[d])?;
            let found = &tensors.get(key)?.shape;
            let per_unit = grown[dimension] - usual[dimension];
            let number = *found.get(dimension)? / per_unit;
            (found.len() == usual.len() && number > 0).then_some(number)
        })
    };
    (
        read(build(classes + 1, channels)).unwrap_or(classes),
        read(build(classes, channels + 1)).unwrap_or(channels),
    )
}

/// The keys of a network's parameters in a checkpoint.
struct LayoutMatch<'l> {
    layout: &'l KeyLayout,
    /// The key of each parameter.
    keys: Vec<String>,
    /// The tensors at the most likely location, without its prefix.
    tensors: BTreeMap<String, Tensor>,
}

/// Returns the layout that has most of the checkpoint's keys.
fn best_layout<'l>(
    slots: &[Parameter],
    checkpoint: &Checkpoint,
    layouts: &'l [KeyLayout],
) -> LayoutMatch<'l> {
    let index = Index::new(&checkpoint.tensors);
    layouts
        .iter()
        // `max_by_key` returns the last of equal elements. Reversed, that is the first in the list.
        .rev()
        .map(|layout| {
            let keys = keys_of(layout, slots);
            let tensors = match index.likely(&keys) {
                Some(location) => location.split(&checkpoint.tensors).0,
                None => checkpoint.tensors.clone(),
            };
            let known = keys.iter().filter(|key| tensors.contains_key(*key)).count();
            (known, LayoutMatch { layout, keys, tensors })
        })
        .max_by_key(|(known, ..)| *known)
        .map(|(_, matched)| matched)
        .expect("an architecture has a layout")
}

/// Returns a layout's key for each parameter.
///
/// # Panics
///
/// When the layout has no rule for one of them, which is a mistake in the layout.
pub(crate) fn keys_of(layout: &KeyLayout, parameters: &[Parameter]) -> Vec<String> {
    let keys = layout.keys(parameters).into_iter().zip(parameters);
    keys.map(|(key, parameter)| {
        key.unwrap_or_else(|| {
            panic!("the layout {} has no rule for {}", layout.name, parameter.path)
        })
    })
    .collect()
}

/// Whether a key is a counter that PyTorch keeps beside BatchNorm's statistics.
pub(crate) fn is_counter(key: &str) -> bool {
    key.ends_with(".num_batches_tracked")
}

/// A parameter's shape as PyTorch stores it: a fully connected layer's weight is transposed.
pub(crate) fn pytorch_shape(parameter: &Parameter) -> Vec<usize> {
    let mut shape = parameter.shape.clone();
    if is_linear(parameter) {
        shape.reverse();
    }
    shape
}

/// Whether a tensor has a shape, or is the kernel of a convolution over its whole input. Some files
/// store a fully connected layer like that.
pub(crate) fn has_shape(tensor: &Tensor, expected: &[usize]) -> bool {
    match (&tensor.shape[..], expected) {
        (&[outputs, channels, height, width], &[rows, columns]) => {
            outputs == rows && channels.checked_mul(height * width) == Some(columns)
        }
        (found, expected) => found == expected,
    }
}

/// Whether a tensor of PyTorch can hold the values of a parameter.
pub fn is_of(tensor: &Tensor, parameter: &Parameter) -> bool {
    has_shape(tensor, &pytorch_shape(parameter))
}

fn is_linear(parameter: &Parameter) -> bool {
    parameter.layer == LayerKind::Linear
}

/// Transposes a fully connected layer's weight from PyTorch's `[out, in]` to Burn's `[in, out]`.
///
/// Burn's own adapter copies element by element, which takes half of the time to import VGG.
fn transposed(tensor: &Tensor) -> Tensor {
    let [rows, ref inputs @ ..] = tensor.shape[..] else {
        return tensor.clone();
    };
    if inputs.is_empty() {
        return tensor.clone();
    }
    let columns = inputs.iter().product();
    let shape = Shape::new([columns, rows]);
    bridge::map_data(tensor.clone(), tensor.name.clone(), DType::F32, shape, move |data| {
        let data = data.convert::<f32>();
        let values = data.as_slice::<f32>().expect("they were just converted");
        TensorData::new(transpose(values, rows, columns), [columns, rows])
    })
}

/// Transposes a row-major matrix, in tiles that stay in the cache.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut transposed = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for column in left..columns.min(left + TILE) {
                for row in top..rows.min(top + TILE) {
                    transposed[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    transposed
}

/// Returns the unused key with the same shape that is most similar to a missing one.
fn nearest(
    missing: &Missing,
    unused: &[String],
    tensors: &BTreeMap<String, Tensor>,
) -> Option<String> {
    unused
        .iter()
        .filter(|key| tensors[*key].shape.to_vec() == missing.shape)
        .map(|key| (strsim::normalized_levenshtein(key, &missing.key), key))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key.clone())
}

/// Number of lines of each kind that are shown; the rest is counted.
const SHOWN: usize = 12;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            write!(f, "{} tensors, keys: {}", self.loaded, self.layout)?;
            if let Some(warning) = self.warning() {
                write!(f, "\n  warning: {warning}")?;
            }
            return Ok(());
        }
        writeln!(f, "  read as {} spells the keys", self.layout)?;
        section(f, "missing from the file", &self.missing, |missing| {
            let nearest = missing.nearest.as_ref();
            let nearest = nearest.map_or_else(String::new, |key| format!(" (nearest: {key})"));
            format!("{} {:?}{nearest}", missing.key, missing.shape)
        })?;
        section(f, "without a place in the model", &self.unused, Clone::clone)?;
        section(f, "of another shape", &self.misshapen, |bad| {
            format!("{}: the model has {:?}, the file {:?}", bad.key, bad.expected, bad.found)
        })?;
        section(f, "unreadable", &self.unreadable, Clone::clone)?;
        write!(f, "hint: {}", self.hint())
    }
}

impl Report {
    fn hint(&self) -> &'static str {
        if !self.unreadable.is_empty() {
            "the file is damaged; copy or download it again"
        } else if self.missing.is_empty() && self.unused.is_empty() {
            "the names are right but the sizes are another network's"
        } else {
            "this is another network, or its keys are spelled in a way that is not known"
        }
    }
}

pub(crate) fn section<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: &[T],
    line: impl Fn(&T) -> String,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {} {title}:", items.len())?;
    for item in items.iter().take(SHOWN) {
        writeln!(f, "    {}", line(item))?;
    }
    if items.len() > SHOWN {
        writeln!(f, "    … and {} more", items.len() - SHOWN)?;
    }
    Ok(())
}
