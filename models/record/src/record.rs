use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::store::burn_pack::{
    self, Bytes, HEADER_SIZE, MAGIC_NUMBER, MAX_CBOR_RECURSION_DEPTH, Reader, Writer,
};
use burn::store::{FloatCastAdapter, ModuleAdapter, ModuleSnapshot, bridge};
use burn::tensor::{AllocationProperty, DType, Tensor, TensorData};
use serde::Deserialize;
use zoo_core::{LayerKind, Parameter, parameters, root_prefix};

use crate::{Error, ModelCard, TrainingImages, atomic};

/// Key of the model card in the record's metadata.
const CARD: &str = "zoo.card";
/// Key of the fingerprints of the training images in the record's metadata.
const TRAINING_IMAGES: &str = "zoo.seen";
/// Alignment that values need to be used without a copy.
const ALIGN: usize = 16;

/// A Burn record (burnpack) with a model card inside.
///
/// The tensors have Burn's names, so [`Module::load_file`] also loads the record into its
/// architecture.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// Its model card.
    pub card: ModelCard,
    /// The text of [`TrainingImages`], if the record has it.
    training_images: Option<String>,
    tensors: Vec<burn_pack::Tensor>,
}

/// The precision of the weights in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits (f32).
    #[default]
    Single,
    /// 16 bits (f16). BatchNorm stays at 32 bits, because its variances would become zero.
    Half,
}

/// Whether a file that begins with these bytes is a record.
pub fn is_record(head: &[u8]) -> bool {
    head.starts_with(&MAGIC_NUMBER.to_le_bytes())
}

/// Whether a file is a record.
///
/// # Errors
///
/// When the file can't be read.
pub fn is_record_file(path: &Path) -> Result<bool, Error> {
    if path.is_dir() {
        return Ok(false);
    }
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4).read_to_end(&mut head))
        .map_err(|source| Error::Open { path: path.to_owned(), source })?;
    Ok(is_record(&head))
}

/// Returns the size of a record's metadata, in bytes, as its header states it.
fn metadata_size(head: &[u8]) -> u64 {
    // It is after the magic number and the format's version.
    let size = head.get(6..HEADER_SIZE).and_then(|size| size.try_into().ok());
    size.map_or(0, |size| u64::from(u32::from_le_bytes(size)))
}

/// Checks that tensors do not overlap. Burn's reader only checks that they are inside the file.
///
/// # Errors
///
/// When two tensors overlap.
fn check_ranges(head: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Metadata {
        tensors: BTreeMap<String, Descriptor>,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        data_offsets: (u64, u64),
    }

    let metadata = head.get(HEADER_SIZE..).unwrap_or_default();
    let metadata: Metadata =
        ciborium::de::from_reader_with_recursion_limit(metadata, MAX_CBOR_RECURSION_DEPTH)
            .map_err(|error| error.to_string())?;
    let mut ranges: Vec<_> =
        metadata.tensors.iter().map(|(name, tensor)| (tensor.data_offsets, name)).collect();
    ranges.retain(|((start, end), _)| start < end);
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let [((_, end), name), ((start, _), next)] = pair else { continue };
        if start < end {
            return Err(format!("the tensors `{name}` and `{next}` lie over one another"));
        }
    }
    Ok(())
}

impl Record {
    /// Path of the file, or the name that was given for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors. Their values are still on disk.
    pub fn tensors(&self) -> &[burn_pack::Tensor] {
        &self.tensors
    }

    /// Returns the images that the network was trained on; empty if the record has no list of them.
    ///
    /// # Errors
    ///
    /// When the list is damaged.
    pub fn training_images(&self) -> Result<TrainingImages, Error> {
        let Some(text) = &self.training_images else { return Ok(TrainingImages::default()) };
        TrainingImages::from_text(text).ok_or_else(|| Error::Damaged {
            path: self.path.clone(),
            reason: "its list of the images that it was trained on can't be read".to_owned(),
        })
    }

    /// Opens a record. Its values stay on disk.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is not a record, is incomplete, or has no model card.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let size = std::fs::metadata(path)
            .map_err(|source| Error::Open { path: path.to_owned(), source })?;
        if size.len() == 0 {
            return Err(Error::Empty(path.to_owned()));
        }
        let mut head = Vec::new();
        File::open(path)
            .and_then(|file| {
                (&file).take(HEADER_SIZE as u64).read_to_end(&mut head)?;
                file.take(metadata_size(&head)).read_to_end(&mut head)
            })
            .map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Self::read(path, &head, Reader::from_file_exact(path))
    }

    /// Reads a record in memory, such as one that is compiled into a program; `name` is for messages.
    ///
    /// Bytes are not copied if their address is a multiple of 16.
    ///
    /// # Errors
    ///
    /// When the bytes are not a record, are incomplete, or have no model card.
    pub fn from_bytes(name: &str, bytes: impl Into<bytes::Bytes>) -> Result<Self, Error> {
        let bytes = bytes.into();
        // Values are used without a copy.
        let reader = Reader::from_bytes(match bytes.as_ptr().align_offset(ALIGN) {
            0 => Bytes::from_shared(bytes.clone(), AllocationProperty::Native),
            _ => Bytes::from_bytes_vec(bytes.to_vec()),
        });
        Self::read(Path::new(name), &bytes, reader)
    }

    /// Reads a record. `head` is the beginning of the file, with its metadata.
    fn read(
        path: &Path,
        head: &[u8],
        reader: Result<Reader, burn_pack::Error>,
    ) -> Result<Self, Error> {
        let damaged = |reason: String| Error::Damaged { path: path.to_owned(), reason };
        let reader = reader.map_err(|error| damaged(error.to_string()))?;
        check_ranges(head).map_err(damaged)?;
        let card = reader.metadata().get(CARD).ok_or_else(|| Error::NoCard(path.to_owned()))?;
        let card: ModelCard = serde_json::from_str(card)
            .map_err(|error| damaged(format!("its model card can't be read: {error}")))?;
        if let Some(flaw) = card.flaw() {
            return Err(damaged(format!("its model card can't be right: {flaw}")));
        }
        let training_images = reader.metadata().get(TRAINING_IMAGES).cloned();
        let tensors = reader.into_tensors().map_err(|error| damaged(error.to_string()))?;
        Ok(Self { path: path.to_owned(), card, training_images, tensors })
    }

    /// Loads the record's values into the model that its card describes, in single precision.
    ///
    /// # Errors
    ///
    /// When the record's tensors are not the model's.
    pub fn load_into<M: Module>(self, mut model: M) -> Result<M, Error> {
        let root = root_prefix(&model);
        let mut tensors = self.tensors;
        for tensor in &mut tensors {
            tensor.name.insert_str(0, &root);
        }
        let cast = FloatCastAdapter::to(DType::F32);
        let result = model.apply(tensors, None, Some(cast.clone_box()), false);
        if result.errors.is_empty() && result.missing.is_empty() && result.unused.is_empty() {
            Ok(model)
        } else {
            Err(Error::Damaged {
                path: self.path,
                reason: format!("its tensors are not those of {}\n{result}", self.card.variant),
            })
        }
    }

    /// Writes a model and its card to a record. It takes the model, so that no value has to be copied.
    ///
    /// The file is written atomically: it replaces an older one only when it is complete.
    ///
    /// # Errors
    ///
    /// When the file can't be written, or the path is a folder or another thing that is not a file.
    pub fn save<M: Module>(
        model: M,
        card: &ModelCard,
        precision: Precision,
        path: &Path,
    ) -> Result<(), Error> {
        Self::save_trained(model, card, &TrainingImages::default(), precision, path)
    }

    /// Writes a model and its card as [`save`](Self::save) does, with the images that it was trained on, so
    /// that `zoo eval` can exclude them.
    ///
    /// # Errors
    ///
    /// As for [`save`](Self::save).
    pub fn save_trained<M: Module>(
        model: M,
        card: &ModelCard,
        training_images: &TrainingImages,
        precision: Precision,
        path: &Path,
    ) -> Result<(), Error> {
        let names = parameters(&model);
        let mut values = Values(Vec::with_capacity(names.len()));
        model.map(&mut values);
        let tensors =
            names.into_iter().zip(values.0).map(|(Parameter { path, layer, .. }, data)| {
                let data = match precision {
                    Precision::Half if layer != LayerKind::BatchNorm => {
                        data.convert_dtype(DType::F16)
                    }
                    _ => data,
                };
                // No identifier, because it is random: equal weights must give equal files.
                bridge::from_data(data, path, None)
            });
        let tensors = tensors.collect();
        let write = |reason: String| Error::Write { path: path.to_owned(), reason };
        let card = serde_json::to_string(card).map_err(|error| write(error.to_string()))?;
        let mut writer = Writer::new(tensors).with_metadata(CARD, &card);
        if !training_images.is_empty() {
            writer = writer.with_metadata(TRAINING_IMAGES, &training_images.to_text());
        }
        writer
            .auto_extension(false)
            .write_to_file(atomic::target(path)?)
            .map_err(|error| write(error.to_string()))
    }
}

/// Collects the values of a model, in the order of its parameters.
struct Values(Vec<TensorData>);

impl ModuleMapper for Values {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, _) = param.transform_for_save().consume();
        // Clones of the model share BatchNorm's statistics.
        if D == 1 {
            self.0.push(tensor.into_data());
            return param;
        }
        // Drop `param` first: with two owners the values would be copied.
        drop(param);
        let nothing = Tensor::empty([0; D], &tensor.device());
        self.0.push(tensor.into_data());
        Param::initialized(id, nothing)
    }
}
