//! Training for image classification.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use burn::module::ParamId;
use burn::tensor::activation::log_softmax;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use rand::RngExt;
use rand::seq::SliceRandom;
use zoo_core::ImageClassifier;

use crate::augment::mix;
use crate::config::{Balance, Config};
use crate::evaluate::{ClassificationEvaluation, compare, evaluate, shape_of, to_tensor};
use crate::images::prefetch;
use crate::random::{Purpose, stream};
use crate::task::{Evaluation, TaskData};
use crate::{
    Augment, Batching, Error, Event, Images, Loss, Observer, Results, Sample, Score, Task, parts,
    report,
};

/// Trains all layers of a classifier or only the last one.
#[derive(Debug)]
pub struct Classification<M> {
    data: TaskData<usize>,
    /// The features of the images, computed once. Only with a frozen backbone.
    features: Option<Cached>,
    /// The factor of each class in the loss.
    weights: Vec<f32>,
    model: PhantomData<fn() -> M>,
}

/// The input of one loss computation.
#[derive(Debug)]
pub struct Batch {
    /// Images `[N, C, S, S]`, or features `[N, F, h, w]`.
    values: Vec<f32>,
    /// The target probabilities, `[N, K]`; each row adds up to the image's weight.
    targets: Vec<f32>,
    /// The most probable class of each target.
    classes: Vec<i32>,
    count: usize,
}

/// Features of the training and the validation images.
#[derive(Debug)]
struct Cached {
    /// The features of each image, for each view; `None` if the image can't be read.
    train: Vec<Vec<Option<Box<[f32]>>>>,
    val: Vec<Option<Box<[f32]>>>,
    /// The shape of the features, `[F, h, w]`.
    shape: [usize; 3],
}

impl<M: ImageClassifier> Classification<M> {
    fn view(&self, epoch: usize) -> usize {
        epoch % self.data.config.recipe.views
    }

    fn targets(&self, classes: &[usize]) -> Vec<f32> {
        let smoothing = self.data.config.recipe.label_smoothing as f32;
        let count = self.data.names.len();
        let mut targets = vec![smoothing / count as f32; classes.len() * count];
        for (row, &class) in targets.chunks_exact_mut(count).zip(classes) {
            row[class] += 1.0 - smoothing;
        }
        targets
    }

    /// Scales targets by the weights of their classes so that the batch's loss is a weighted mean.
    fn weigh(&self, targets: &mut [f32]) {
        for row in targets.chunks_exact_mut(self.data.names.len()) {
            row.iter_mut().zip(&self.weights).for_each(|(target, weight)| *target *= weight);
        }
        let total: f32 = targets.iter().sum();
        targets.iter_mut().for_each(|target| *target /= total);
    }
}

impl<M: ImageClassifier> Task for Classification<M> {
    type Model = M;
    type Label = usize;
    type Batch = Batch;
    type Evaluation = ClassificationEvaluation;

    fn min_size(model: &M, config: &Config) -> usize {
        match config.recipe.do_fine_tuning {
            true => model.min_training_size(),
            false => model.min_size(),
        }
    }

    fn with_fresh_classifier(
        mut model: M,
        num_classes: usize,
        config: &Config,
        device: &Device,
    ) -> M {
        model.reset_classifier(num_classes, device);
        if config.model.pretrained { parts::draw_small(model) } else { model }
    }

    fn evaluate(
        model: &M,
        images: &Images,
        names: &[String],
        batching: Batching,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<ClassificationEvaluation, Error> {
        evaluate(model, images, names, batching, device, observer)
    }

    fn results(evaluation: &ClassificationEvaluation, images: &Images) -> Results {
        report::classification(evaluation, images)
    }

    fn new(data: TaskData<usize>) -> Self {
        let weights = match data.config.data.balance {
            Balance::Weights => class_weights(data.train.samples(), data.names.len()),
            Balance::None | Balance::Samples => vec![1.0; data.names.len()],
        };
        Self { data, features: None, weights, model: PhantomData }
    }

    fn data(&self) -> &TaskData<usize> {
        &self.data
    }

    /// Computes the features of all images, if only the classifier is trained.
    fn precompute(
        &mut self,
        model: &M,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let TaskData { config, train, val, batching, .. } = &self.data;
        if !config.recipe.do_fine_tuning {
            let mut features = Features { model, device, config, batching: *batching, observer };
            self.features = Some(features.compute(train, val)?);
        }
        Ok(())
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        let TaskData { config, names, train, .. } = &self.data;
        let order = order(train.samples(), names.len(), config, epoch);
        // The batches have nearly the same size, so that none is too small for BatchNorm.
        let batches = order.len().div_ceil(config.recipe.batch_size);
        let bound = |batch: usize| batch * order.len() / batches;
        (0..batches).map(|batch| order[bound(batch)..bound(batch + 1)].to_vec()).collect()
    }

    fn load(&self, epoch: usize, position: usize, images: &[usize]) -> Option<Batch> {
        let TaskData { config: Config { seed, augment, .. }, train, names, .. } = &self.data;
        let mut values = Vec::new();
        let mut classes = Vec::new();
        for (position, &index) in (position..).zip(images) {
            let row = match &self.features {
                Some(cached) => {
                    cached.train[self.view(epoch)][index].as_deref().map(<[f32]>::to_vec)
                }
                None => {
                    // An image may occur several times in an epoch, each time with another view.
                    let mut rng = stream(*seed, Purpose::View, epoch, position);
                    let view = train.view(index, augment, &mut rng);
                    view.map(|view| train.values(&view))
                }
            };
            if let Some(row) = row {
                values.extend(row);
                classes.push(train.samples()[index].label);
            }
        }
        let count = classes.len();
        let mut targets = self.targets(&classes);
        if self.features.is_none() && count > 1 {
            let preprocess = train.preprocess();
            let shape = [count, preprocess.channels(), preprocess.crop as usize];
            let mut rng = stream(*seed, Purpose::Mix, epoch, position);
            mix(augment, &mut values, &mut targets, shape, &mut rng);
        }
        let classes = targets.chunks_exact(names.len()).map(largest).collect();
        self.weigh(&mut targets);
        (count > 0).then_some(Batch { values, targets, classes, count })
    }

    fn prepare(&self, model: M) -> Result<M, Error> {
        if self.features.is_some() {
            let fresh = self.fresh(&model);
            return Ok(parts::freeze_backbone(model, &fresh));
        }
        parts::freeze_some(model, &self.data.config.recipe)
    }

    fn fresh(&self, model: &M) -> BTreeSet<ParamId> {
        parts::parameters_in(model, &model.classifier_paths())
    }

    fn loss(&self, model: &M, batch: Batch, device: &Device) -> Loss {
        let Batch { values, targets, classes, count } = batch;
        let dropout = self.data.config.recipe.dropout.unwrap_or_default();
        let (logits, auxiliary) = match &self.features {
            Some(cached) => {
                let [channels, height, width] = cached.shape;
                let data = TensorData::new(values, [count, channels, height, width]);
                let features = Tensor::from_data(data, device);
                (model.forward_head(drop_channels(features, dropout)), Vec::new())
            }
            None => {
                let images = to_tensor(values, count, &*self.data.train, device);
                if dropout > 0.0 {
                    let features = model.forward_features(images);
                    (model.forward_head(drop_channels(features, dropout)), Vec::new())
                } else {
                    let output = model.forward_training(images);
                    (output.logits, output.auxiliary)
                }
            }
        };
        let shape = [count, self.data.names.len()];
        let targets = Tensor::<2>::from_data(TensorData::new(targets, shape), device);
        let classes = Tensor::<2, Int>::from_data(TensorData::new(classes, [count, 1]), device);
        let cross_entropy = |logits: Tensor<2>| -(log_softmax(logits, 1) * targets.clone()).sum();
        let correct = logits.clone().argmax(1).equal(classes);
        let loss = auxiliary.into_iter().fold(cross_entropy(logits), |loss, (factor, logits)| {
            loss + cross_entropy(logits) * factor
        });
        let correct = correct.int().sum().into_scalar::<i32>();
        Loss { loss, images: count, correct: f64::from(correct) }
    }

    fn validate(
        &self,
        model: &M,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Option<Score>, Error> {
        let TaskData { names, val, batching, .. } = &self.data;
        if val.samples().is_empty() {
            return Ok(None);
        }
        let Some(cached) = &self.features else {
            let evaluation = evaluate(model, val, names, *batching, device, observer)?;
            return Ok(Some(evaluation.score()));
        };
        let read: Vec<_> =
            (0..cached.val.len()).filter(|&index| cached.val[index].is_some()).collect();
        let mut answers = Vec::new();
        for indices in read.chunks(512) {
            let rows = indices.iter().filter_map(|&index| cached.val[index].as_deref());
            let values: Vec<f32> = rows.flatten().copied().collect();
            let [channels, height, width] = cached.shape;
            let data = TensorData::new(values, [indices.len(), channels, height, width]);
            let logits = model.forward_head(Tensor::from_data(data, device));
            answers.extend(compare(logits, indices, val));
        }
        let evaluation = ClassificationEvaluation::of(answers, cached.val.len(), names)?;
        Ok(Some(evaluation.score()))
    }
}

/// Returns the inverse of each class's share of the images, with a mean of one over the images.
fn class_weights(samples: &[Sample], classes: usize) -> Vec<f32> {
    let mut counts = vec![0_usize; classes];
    samples.iter().for_each(|sample| counts[sample.label] += 1);
    let weight = |count: usize| samples.len() as f32 / (classes * count.max(1)) as f32;
    counts.into_iter().map(weight).collect()
}

/// Returns the index of the largest value.
fn largest(row: &[f32]) -> i32 {
    let position = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    position.unwrap_or_default() as i32
}

/// Returns the images of an epoch in random order.
fn order(samples: &[Sample], classes: usize, config: &Config, epoch: usize) -> Vec<usize> {
    let mut rng = stream(config.seed, Purpose::Order, epoch, 0);
    if config.data.balance != Balance::Samples {
        let mut order: Vec<_> = (0..samples.len()).collect();
        order.shuffle(&mut rng);
        return order;
    }
    let mut of_class = vec![Vec::new(); classes];
    for (index, sample) in samples.iter().enumerate() {
        of_class[sample.label].push(index);
    }
    of_class.retain(|images| !images.is_empty());
    let draw = |_| {
        let images = &of_class[rng.random_range(0..of_class.len())];
        images[rng.random_range(0..images.len())]
    };
    (0..samples.len()).map(draw).collect()
}

/// Drops whole channels of features, at all positions of an image, so that dropout has the same
/// effect after pooling.
fn drop_channels(features: Tensor<4>, probability: f64) -> Tensor<4> {
    if probability <= 0.0 {
        return features;
    }
    let keep = 1.0 - probability;
    let [batch, channels, ..] = features.dims();
    let device = features.device();
    let mask = Tensor::random([batch, channels, 1, 1], Distribution::Bernoulli(keep), &device);
    features * mask / keep
}

/// Computes the features of images with the frozen backbone.
struct Features<'a, M> {
    model: &'a M,
    device: &'a Device,
    config: &'a Config,
    batching: Batching,
    observer: &'a mut dyn Observer,
}

impl<M: ImageClassifier> Features<'_, M> {
    fn compute(&mut self, train: &Images, val: &Images) -> Result<Cached, Error> {
        // If the classifier begins with pooling, only the pooled features are kept.
        let pooled = self.model.head().accepts_pooled_features();
        let mut shape = [0; 3];
        let mut views = Vec::new();
        let (count, config) = (self.config.recipe.views, self.config);
        for view in 0..count {
            let load = |index| view_of(train, config, view, index);
            let name = format!("computing features, view {} of {count}", view + 1);
            views.push(self.of_images(&name, train, load, pooled, &mut shape));
        }
        if views.iter().flatten().all(Option::is_none) {
            let reason = "none of the images to train on can be read";
            return Err(Error::Data(reason.to_owned()));
        }
        let load = |index| val.plain(index).map(|view| val.values(&view));
        let name = "computing features to validate with";
        let val = self.of_images(name, val, load, pooled, &mut shape);
        Ok(Cached { train: views, val, shape })
    }

    fn of_images(
        &mut self,
        name: &str,
        images: &Images,
        load: impl Fn(usize) -> Option<Vec<f32>> + Sync,
        pooled: bool,
        shape: &mut [usize; 3],
    ) -> Vec<Option<Box<[f32]>>> {
        let count = images.samples().len();
        let batching = self.batching;
        let Batching { batch_size, workers, .. } = batching;
        self.observer.on(&Event::Pass { name, images: count });
        let range = |batch: usize| batching.range(batch, count);
        let load = |batch: usize| {
            let (mut read, mut values) = (Vec::new(), Vec::new());
            for index in range(batch) {
                if let Some(row) = load(index) {
                    values.extend(row);
                    read.push(index);
                }
            }
            (read, values)
        };
        let mut rows = vec![None; count];
        let Self { model, device, observer, .. } = self;
        let mut session = batching.session(*model, device);
        let forward = |model: &M, images| match pooled {
            true => adaptive_avg_pool2d(model.forward_features(images), [1, 1]),
            false => model.forward_features(images),
        };
        prefetch(0..count.div_ceil(batch_size), workers, load, |loaded| {
            for (batch, (read, values)) in loaded.enumerate() {
                if !read.is_empty() {
                    let batch = shape_of(read.len(), images);
                    let features = session.run_tensor("features", values, batch, forward);
                    let [_, channels, height, width] = features.dims();
                    *shape = [channels, height, width];
                    let values: Vec<f32> = features.into_data().iter::<f32>().collect();
                    let chunks = values.chunks_exact(channels * height * width);
                    for (index, row) in read.into_iter().zip(chunks) {
                        rows[index] = Some(row.into());
                    }
                }
                observer.on(&Event::Progress(range(batch).len()));
            }
        });
        observer.on(&Event::PassDone);
        rows
    }
}

/// Returns the network's input for view number `view` of an image. View 0 is not augmented.
fn view_of(images: &Images, config: &Config, view: usize, index: usize) -> Option<Vec<f32>> {
    let plain = Augment::none();
    let augment = if view == 0 { &plain } else { &config.augment };
    let mut rng = stream(config.seed, Purpose::View, view, index);
    let view = images.view(index, augment, &mut rng)?;
    Some(images.values(&view))
}
