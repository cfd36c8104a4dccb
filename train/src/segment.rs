//! Training for semantic segmentation.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use burn::module::ParamId;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::seq::SliceRandom;
use zoo_core::ImageSegmenter;

use crate::evaluate::to_tensor;
use crate::random::{Purpose, stream};
use crate::task::TaskData;
use crate::{Batching, Config, Error, Images, Loss, Mask, Observer, Results, Task, parts, report};

mod augment;
mod evaluate;
mod loss;

use augment::augment;
pub use evaluate::{Example, PixelAnswer, PixelClass, SegmentationEvaluation};
use loss::cross_entropy_and_dice;

/// Trains all layers of a segmenter.
#[derive(Debug)]
pub struct Segmentation<M> {
    data: TaskData<Mask>,
    model: PhantomData<fn() -> M>,
}

/// The input of one loss computation.
#[derive(Debug)]
pub struct Batch {
    /// Images `[N, C, S, S]`.
    values: Vec<f32>,
    /// The class of each pixel, `[N, S, S]`.
    classes: Vec<u8>,
    count: usize,
}

impl<M: ImageSegmenter> Task for Segmentation<M> {
    type Model = M;
    type Label = Mask;
    type Batch = Batch;
    type Evaluation = SegmentationEvaluation;

    fn min_size(model: &M, _config: &Config) -> usize {
        model.min_size()
    }

    fn with_fresh_classifier(
        mut model: M,
        num_classes: usize,
        _config: &Config,
        device: &Device,
    ) -> M {
        model.reset_classifier(num_classes, device);
        model
    }

    fn evaluate(
        model: &M,
        images: &Images<Mask>,
        names: &[String],
        batching: Batching,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<SegmentationEvaluation, Error> {
        evaluate::evaluate(model, images, names, batching, device, observer)
    }

    fn results(evaluation: &SegmentationEvaluation, images: &Images<Mask>) -> Results {
        report::segmentation(evaluation, images)
    }

    /// Images are validated one at a time: one image keeps all threads busy, and a smaller last
    /// batch would need its own plan in each epoch.
    fn new(data: TaskData<Mask>) -> Self {
        let batching = Batching { batch_size: 1, ..data.batching };
        Self { data: TaskData { batching, ..data }, model: PhantomData }
    }

    fn data(&self) -> &TaskData<Mask> {
        &self.data
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        let TaskData { config, train, .. } = &self.data;
        let mut order: Vec<_> = (0..train.samples().len()).collect();
        order.shuffle(&mut stream(config.seed, Purpose::Order, epoch, 0));
        order.chunks(config.recipe.batch_size).map(<[usize]>::to_vec).collect()
    }

    fn load(&self, epoch: usize, position: usize, images: &[usize]) -> Option<Batch> {
        let TaskData { config, train, .. } = &self.data;
        let mut batch = Batch { values: Vec::new(), classes: Vec::new(), count: 0 };
        for (position, &index) in (position..).zip(images) {
            let Some(masked) = train.masked(index) else { continue };
            let mut rng = stream(config.seed, Purpose::View, epoch, position);
            let view = augment(&masked, &config.augment, &mut rng);
            batch.values.extend(train.values(&view.image));
            batch.classes.extend(view.classes.into_raw());
            batch.count += 1;
        }
        (batch.count > 0).then_some(batch)
    }

    fn prepare(&self, model: M) -> Result<M, Error> {
        parts::freeze_some(model, &self.data.config.recipe)
    }

    fn fresh(&self, model: &M) -> BTreeSet<ParamId> {
        parts::parameters_in(model, &model.classifier_paths())
    }

    fn loss(&self, model: &M, batch: Batch, device: &Device) -> Loss {
        let Batch { values, classes, count } = batch;
        let logits = model.forward(to_tensor(values, count, &*self.data.train, device));
        let classes = classes_to_tensor(&classes, count, &self.data.train, device);
        let pixels = classes.dims().iter().product::<usize>() as f64;
        let right = logits.clone().argmax(1).equal(classes.clone()).int().sum();
        let correct = f64::from(right.into_scalar::<i32>()) / pixels * count as f64;
        Loss { loss: cross_entropy_and_dice(logits, classes), images: count, correct }
    }
}

/// Converts classes of pixels to a tensor `[N, 1, S, S]`.
fn classes_to_tensor(
    classes: &[u8],
    count: usize,
    images: &Images<Mask>,
    device: &Device,
) -> Tensor<4, Int> {
    let side = images.preprocess().crop as usize;
    let classes: Vec<i32> = classes.iter().map(|&class| i32::from(class)).collect();
    Tensor::from_data(TensorData::new(classes, [count, 1, side, side]), device)
}
