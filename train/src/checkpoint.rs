//! The training state of a run in one file.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Deref;
use std::path::Path;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::store::burn_pack::{Reader, Tensor, Writer};
use burn::tensor::{Bytes, DType, Shape};
use serde::{Deserialize, Serialize};
use zoo_record::write_atomically;

use crate::fit::RunId;
use crate::{CHECKPOINT, EpochRow, Error, Score};

/// The progress of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Number of complete epochs.
    pub(crate) epoch: usize,
    /// Number of complete batches of the next epoch.
    pub(crate) batch: usize,
    /// Number of updates.
    pub(crate) step: usize,
    /// Sums over the epoch's images so far.
    pub(crate) loss: f64,
    pub(crate) correct: f64,
    pub(crate) images: usize,
    /// The classifier's learning rate in the last update.
    pub(crate) lr: f64,
    /// The score of the best epoch, and its number from 1.
    pub(crate) best: Option<Score>,
    pub(crate) best_epoch: usize,
    /// Number of epochs of the run, and the number that was done when it was set.
    pub(crate) epochs: usize,
    pub(crate) since: usize,
    /// Seconds of training.
    pub(crate) seconds: f64,
    pub(crate) history: Vec<EpochRow>,
    /// The identity of the run.
    pub(crate) run: String,
}

/// The values that change during training.
pub(crate) struct State<M> {
    pub(crate) model: M,
    pub(crate) ema: Option<M>,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) schedule: ModuleLrScheduler,
    pub(crate) progress: Progress,
}

const PROGRESS: &str = "zoo.progress";
const CHECKSUM: &str = "zoo.crc32c";

/// The checksum of the whole training state: Burn's readers take a damaged optimizer for one of
/// another kind.
fn checksum<B: Deref<Target = [u8]>>(progress: &str, parts: &BTreeMap<&str, B>) -> String {
    let sum = crc32c::crc32c(progress.as_bytes());
    let sum = parts.values().fold(sum, |sum, part| crc32c::crc32c_append(sum, part));
    format!("{sum:08x}")
}

/// Opens a training state and reads the progress of its run.
fn open(path: &Path) -> Result<(Reader, Progress), Error> {
    let broken = |reason: String| Error::Resume { path: path.to_owned(), reason };
    let reader = Reader::from_file_exact(path).map_err(|error| broken(error.to_string()))?;
    let text = reader.metadata().get(PROGRESS).map_or("", |text| text);
    let progress = toml::from_str(text)
        .map_err(|_| broken("it is not a checkpoint of a training run".to_owned()))?;
    Ok((reader, progress))
}

/// Returns the number of epochs that the run in a folder has done, or `None` if it has no
/// training state yet.
///
/// # Errors
///
/// When its training state can't be read.
pub fn epochs_done(folder: &Path) -> Result<Option<usize>, Error> {
    let path = folder.join(CHECKPOINT);
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(open(&path)?.1.epoch))
}

impl<M: Module> State<M> {
    /// Writes the training state atomically: an older one is replaced only when the new one is
    /// complete.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        // `valid` updates BatchNorm's statistics; `into_record` does not.
        let mut parts = vec![("model", self.model.valid().into_record().into_bytes())];
        if let Some(ema) = &self.ema {
            parts.push(("ema", ema.clone().into_record().into_bytes()));
        }
        parts.push(("optimizer", self.optimizer.into_bytes()));
        let failed = |reason: String| zoo_record::Error::Write { path: path.to_owned(), reason };
        let parts = parts
            .into_iter()
            .map(|(name, bytes)| Ok((name, bytes.map_err(|error| failed(error.to_string()))?)))
            .collect::<Result<BTreeMap<_, _>, zoo_record::Error>>()?;
        let progress =
            toml::to_string(&self.progress).map_err(|error| failed(error.to_string()))?;
        let checksum = checksum(&progress, &parts);
        let tensor = |(name, bytes): (&str, Bytes)| {
            Tensor::new(name.to_owned(), DType::U8, Shape::new([bytes.len()]), None, bytes)
        };
        let bytes = Writer::new(parts.into_iter().map(tensor).collect())
            .with_metadata(PROGRESS, &progress)
            .with_metadata(CHECKSUM, &checksum)
            .into_bytes()
            .map_err(|error| failed(error.to_string()))?;
        write_atomically(path, |file| file.write_all(&bytes))?;
        Ok(())
    }

    /// Loads a training state. `rebuild` creates what depends on the parameters' ids, which are
    /// those in the file.
    pub(crate) fn load(
        self,
        path: &Path,
        id: &RunId,
        rebuild: impl FnOnce(&M) -> Result<(ModuleOptimizer, ModuleLrScheduler), Error>,
    ) -> Result<Self, Error> {
        let broken = |reason: String| Error::Resume { path: path.to_owned(), reason };
        let (reader, mut progress) = open(path)?;
        let text = reader.metadata().get(PROGRESS).map_or("", |text| text);
        if id.earlier.contains(&progress.run) {
            progress.run.clone_from(&id.current);
        }
        if progress.run != id.current {
            return Err(broken(
                "it was written with other images or another configuration".to_owned(),
            ));
        }
        let mut parts = ["model", "ema", "optimizer"]
            .into_iter()
            .filter(|name| self.ema.is_some() || *name != "ema")
            .map(|name| {
                let part = reader.tensor_data(name).map_err(|error| broken(error.to_string()))?;
                Ok((name, part))
            })
            .collect::<Result<BTreeMap<_, _>, Error>>()?;
        if reader.metadata().get(CHECKSUM) != Some(&checksum(text, &parts)) {
            return Err(broken("it is damaged".to_owned()));
        }
        let mut part = |name: &str| Bytes::from_bytes_vec(parts.remove(name).unwrap_or_default());
        let mut model = |model: M, name: &str| {
            let record = ModuleRecord::from_bytes(part(name));
            let record = record.map_err(|error| broken(error.to_string()))?;
            model.try_load_record(record).map_err(|error| broken(error.to_string()))
        };
        let ema = self.ema.map(|ema| model(ema, "ema")).transpose()?;
        let model = model(self.model, "model")?;
        let (optimizer, mut schedule) = rebuild(&model)?;
        // A rate depends on the number of updates so far and on their total number, which may have
        // grown since this was written.
        (0..progress.step).for_each(|_| drop(schedule.step()));
        let record = OptimizerRecord::from_bytes(part("optimizer"));
        let record = record.map_err(|error| broken(error.to_string()))?;
        let has_state = !record.is_empty();
        let optimizer = optimizer.load_record(record);
        if has_state && optimizer.to_record().is_empty() {
            return Err(broken("its optimizer is another backend's; resume there".to_owned()));
        }
        Ok(Self { model, ema, optimizer, schedule, progress })
    }
}
