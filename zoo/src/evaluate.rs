//! Evaluation of models on labeled images.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use zoo_engine::default_threads;
use zoo_models::Network;
use zoo_record::{ModelCard, TrainingImages};
use zoo_train::{
    Batching, Budget, Classification, ClassificationEvaluation, ClassifiedImage, Dataset,
    Evaluation, Event, Images, Observer, Segmentation, SegmentationEvaluation, SegmentedImage,
    Task, write_evaluation,
};

use crate::{Error, Model};

/// Options of [`Model::evaluate`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Number of images in a batch; by default 32 for a classifier and 1 for a segmenter.
    pub batch_size: Option<usize>,
    /// The file that gets the results as an HTML page.
    pub report: Option<PathBuf>,
}

/// The results of an evaluation, with a row for each image that could be read.
#[derive(Debug)]
pub enum Evaluated {
    /// The model is an image classifier.
    Classification(ClassificationEvaluation, Vec<ClassifiedImage>),
    /// The model is a segmenter.
    Segmentation(SegmentationEvaluation, Vec<SegmentedImage>),
}

impl Model {
    /// Evaluates the model on labeled images. `data` is a folder or a list, as
    /// [`Dataset::open_for`] takes it, or [`Dataset::open_masks_for`] for a segmenter. Images that the model was trained on are
    /// left out, as [`Dataset::leave_out`] explains. If the classes have no names, their numbers are used.
    ///
    /// # Errors
    ///
    /// When the model has no trained classifier, the images can't be used, or the report can't be written.
    pub fn evaluate(
        self,
        data: &str,
        options: &EvaluateOptions,
        observer: &mut dyn Observer,
    ) -> Result<Evaluated, Error> {
        if !self.card().has_classifier {
            return Err(Error::NoClassifier(self.card().variant.clone()));
        }
        let device = &self.session().device().clone();
        let training_images = &self.training_images.clone();
        let (network, card) = &self.into_parts()?;
        let labels = labels(card, observer);
        let batching = |usual| Batching {
            batch_size: options.batch_size.unwrap_or(usual),
            workers: default_threads(),
            engine: true,
        };
        let report = options.report.as_deref().map(|path| (path, data));
        Ok(match network {
            Network::Segmenter(network) => {
                let dataset = Dataset::open_masks_for(data, &labels)?;
                let batching = batching(1);
                let setup = Setup { card, training_images, batching, device, report };
                let (evaluation, rows) =
                    setup.evaluate::<Segmentation<_>>(network, dataset, observer)?;
                Evaluated::Segmentation(evaluation, rows)
            }
            Network::Classifier(network) => {
                let dataset = Dataset::open_for(data, &labels)?;
                let batching = batching(32);
                let setup = Setup { card, training_images, batching, device, report };
                let (evaluation, rows) =
                    setup.evaluate::<Classification<_>>(network, dataset, observer)?;
                Evaluated::Classification(evaluation, rows)
            }
        })
    }
}

/// An evaluation with its rows.
type WithRows<E> = (E, Vec<<E as Evaluation>::Row>);

/// The parts of an evaluation that do not depend on the task.
struct Setup<'a> {
    card: &'a ModelCard,
    training_images: &'a TrainingImages,
    batching: Batching,
    device: &'a Device,
    /// The file for the report, and the images as the user names them.
    report: Option<(&'a Path, &'a str)>,
}

impl Setup<'_> {
    fn evaluate<T: Task>(
        &self,
        network: &T::Model,
        mut dataset: Dataset<T::Label>,
        observer: &mut dyn Observer,
    ) -> Result<WithRows<T::Evaluation>, Error> {
        dataset.leave_out(self.training_images, self.batching.workers, observer);
        for warning in &dataset.warnings {
            observer.on(&Event::Warning(warning));
        }
        // Each image is needed once, so the cache keeps none.
        let images = Images::new(dataset.val, self.card.preprocess, &Budget::mib(0));
        let (names, batching) = (&dataset.classes, self.batching);
        let evaluation = T::evaluate(network, &images, names, batching, self.device, observer);
        for complaint in images.complaints() {
            observer.on(&Event::Warning(&complaint));
        }
        let evaluation = evaluation?;
        if let Some((path, data)) = self.report {
            write_evaluation::<T>(path, self.card, data, &evaluation, &images)?;
        }
        let rows = evaluation.rows(&images);
        Ok((evaluation, rows))
    }
}

/// The names of the classes, or their numbers, with a warning, if they have no names.
pub(crate) fn labels(card: &ModelCard, observer: &mut dyn Observer) -> Vec<String> {
    let labels = card.answers();
    if !labels.is_empty() {
        return labels;
    }
    let last = card.num_answers() - 1;
    observer.on(&Event::Warning(&format!(
        "the model does not know the names of its classes: labels are their numbers, 0 to {last}; import the checkpoint \
         with `labels` to name them"
    )));
    (0..=last).map(|class| class.to_string()).collect()
}
