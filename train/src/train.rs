use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use rand::RngExt;
use zoo_core::ImageClassifier;
use zoo_import::{ModelCard, Origin, Precision, Record};

use crate::classify::{Classification, batching};
use crate::fit::{Fitted, Run, fit};
use crate::images::Budget;
use crate::random::{Purpose, stream};
use crate::{Config, Dataset, Error, Evaluation, Images, evaluate, parts};

/// The name of the best network's record in a run's folder.
pub const MODEL: &str = "model.bpk";

/// What came of a run.
#[derive(Debug)]
pub struct Trained {
    /// How the run went.
    pub fitted: Fitted,
    /// The record with the best weights.
    pub model: PathBuf,
    /// What these are worth on the validation images; none where there are none, or where the
    /// run was interrupted.
    pub evaluation: Option<Evaluation>,
    /// The validation images.
    pub val: Images,
}

/// Trains a network to tell the classes of a data set apart, and keeps the best weights in
/// [`MODEL`] in the run's folder.
///
/// The network is on the run's device, without autodiff; its card says how images are prepared.
/// It gets a fresh classifier, unless it knows the same classes already.
///
/// # Errors
///
/// See [`Error`].
pub fn train<M: ImageClassifier>(
    mut model: M,
    card: &ModelCard,
    dataset: &Dataset,
    config: &Config,
    run: &mut Run<'_>,
) -> Result<Trained, Error> {
    let names = &dataset.classes;
    let side = card.preprocess.crop as usize;
    if side < model.min_size() {
        let smallest = model.min_size();
        return Err(Error::Config(format!(
            "images of {side}x{side} pixels are too small for {}\nhint: it takes {smallest}x\
             {smallest} and larger, --size says which",
            card.variant
        )));
    }
    run.device.seed(stream(config.seed, Purpose::Init, 0, 0).random());
    if !card.has_classifier || card.labels != *names {
        model.reset_classifier(names.len(), run.device);
        if config.model.pretrained {
            model = parts::draw_small(model);
        }
    }
    draw(&model);
    let template = model.valid();
    let card = ModelCard {
        tag: None,
        num_classes: names.len(),
        has_classifier: true,
        labels: names.clone(),
        origin: Origin {
            file: format!("trained with zoo {}", env!("CARGO_PKG_VERSION")),
            ..card.origin.clone()
        },
        ..card.clone()
    };

    let budget = Budget::mib(config.data.cache_mib);
    let [train, val] = [&dataset.train, &dataset.val]
        .map(|samples| Images::new(samples.clone(), card.preprocess, &budget));
    let path = run.folder.join(MODEL);
    let task = Classification::new(config, names, &train, &val);
    let task = if config.recipe.do_fine_tuning {
        task
    } else {
        task.freeze(&template, run.device, run.observer)?
    };
    let keep = |model: &M| Ok(Record::save(model, &card, Precision::Single, &path)?);
    let run_id = identity(config, dataset, &card);
    let fitted = fit(&task, model, config, &run_id, run, keep)?;

    let mut evaluation = None;
    if !fitted.was_interrupted && !val.samples().is_empty() {
        // What counts is what the record says, not what was computed on the way.
        let best = Record::open(&path)?.load_into(template)?;
        let batching = batching(config);
        evaluation = Some(evaluate(&best, &val, names, batching, run.device, run.observer)?);
    }
    Ok(Trained { fitted, model: path, evaluation, val })
}

/// Draws parameters that are drawn when they are first used, in the order of the module.
fn draw<M: Module>(model: &M) {
    struct Draw;
    impl ModuleVisitor for Draw {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let _ = param.val();
        }
    }
    model.visit(&mut Draw);
}

/// Tells runs apart that can't go on from each other's checkpoints.
fn identity(config: &Config, dataset: &Dataset, card: &ModelCard) -> String {
    let mut config = config.clone();
    (config.data.workers, config.data.cache_mib, config.recipe.checkpoint_steps) = (0, 0, 0);
    let mut text = format!("{}\n{card:?}\n", config.to_toml());
    for sample in dataset.train.iter().chain(&dataset.val) {
        text += &format!("{} {}\n", sample.source.name(), sample.class);
    }
    format!("{:08x}-{}", crc32c::crc32c(text.as_bytes()), text.len())
}
