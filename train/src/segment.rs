//! Training a network to tell the pixels of images apart.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use burn::module::ParamId;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use image::{GrayImage, RgbImage, imageops};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::Serialize;
use zoo_core::decode::{decode_over, resize};
use zoo_core::{ImageSegmenter, Preprocess};

use crate::config::Config;
use crate::images::{Broken, Budget, decoded, prefetch};
use crate::random::{Purpose, stream};
use crate::{Error, Event, Loss, Observer, Score, Task, is_leftover, parts};

/// An image and the mask that says what each of its pixels is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The image's file.
    pub image: PathBuf,
    /// The mask's file, of the same name.
    pub mask: PathBuf,
}

/// Images with masks.
#[derive(Debug, Clone)]
pub struct Masks {
    /// The grey values in the masks, which are the classes.
    pub values: Vec<u8>,
    /// Images to train on.
    pub train: Vec<Pair>,
    /// Images to validate with.
    pub val: Vec<Pair>,
    /// What was strange, as sentences for the user.
    pub warnings: Vec<String>,
}

/// More values than this are no classes but a photograph.
const MOST_CLASSES: usize = 64;

impl Masks {
    /// Finds the images in `images` and the masks of the same names in `masks`, in the folder
    /// itself or in its parts `train` and `val`.
    ///
    /// # Errors
    ///
    /// When a folder or a mask can't be read, or there is nothing to learn from.
    pub fn open(root: &Path, val_fraction: f64, seed: u64) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let (mut train, mut val) = (Vec::new(), Vec::new());
        for folder in test_folders(root)? {
            let path = folder.display();
            warnings.push(format!("{path} is left out of training and validation"));
        }
        if root.join("train").is_dir() {
            train = pairs(&root.join("train"), &mut warnings)?;
            if root.join("val").is_dir() {
                val = pairs(&root.join("val"), &mut warnings)?;
            }
        } else {
            train.extend(pairs(root, &mut warnings)?);
        }
        if val.is_empty() && train.len() > 1 && val_fraction > 0.0 {
            train.shuffle(&mut stream(seed, Purpose::Split, 0, 0));
            let count = (train.len() as f64 * val_fraction).round() as usize;
            val = train.split_off(train.len() - count.clamp(1, train.len() - 1));
        }
        let mut values = BTreeSet::new();
        for pair in train.iter().chain(&val) {
            values.extend(read_mask(&pair.mask)?.into_raw());
            if values.len() > MOST_CLASSES {
                return Err(Error::Data(format!(
                    "{} has too many different values to be a mask\nhint: each class is one grey \
                     value; save masks as PNG, since JPEG changes values",
                    pair.mask.display()
                )));
            }
        }
        if values.len() < 2 {
            let text = format!(
                "all pixels of the masks in {} are of one class\nhint: each class is one grey value",
                root.display()
            );
            return Err(Error::Data(text));
        }
        Ok(Self { values: values.into_iter().collect(), train, val, warnings })
    }

    /// The names of the classes: the grey values.
    pub fn classes(&self) -> Vec<String> {
        self.values.iter().map(u8::to_string).collect()
    }
}

/// Folders of images to test with.
fn test_folders(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: std::io::Error| Error::read(root, error);
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_test = path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("test"));
        if is_test && path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

fn pairs(root: &Path, warnings: &mut Vec<String>) -> Result<Vec<Pair>, Error> {
    let files = |name: &str| {
        let folder = root.join(name);
        let entries = std::fs::read_dir(&folder).map_err(|error| Error::read(&folder, error))?;
        let mut files = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(|error| Error::read(&folder, error))?.path();
            if path.is_file()
                && image::ImageFormat::from_path(&path).is_ok()
                && !path.file_name().is_some_and(is_leftover)
                && let Some(stem) = path.file_stem()
            {
                files.insert(stem.to_owned(), path);
            }
        }
        Ok::<_, Error>(files)
    };
    let (images, mut masks) = (files("images")?, files("masks")?);
    let mut pairs = Vec::new();
    for (stem, image) in images {
        match masks.remove(&stem) {
            Some(mask) => pairs.push(Pair { image, mask }),
            None => warnings.push(format!("{} has no mask", image.display())),
        }
    }
    warnings.extend(masks.values().map(|mask| format!("{} has no image", mask.display())));
    if pairs.is_empty() {
        let text = format!(
            "there is no image with a mask in {}\nhint: images/NAME.jpg goes with masks/NAME.png",
            root.display()
        );
        return Err(Error::Data(text));
    }
    Ok(pairs)
}

fn read_mask(path: &Path) -> Result<GrayImage, Error> {
    let image = decoded(|| image::open(path)).map_err(|reason| Error::read(path, reason))?;
    Ok(image.into_luma8())
}

/// How well pixels are told apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentEvaluation {
    /// Number of images.
    pub images: usize,
    /// The share of pixels that are right.
    pub pixels: f64,
    /// Intersection over union of each class.
    pub iou: Vec<f64>,
    /// The mean of these.
    pub mean_iou: f64,
    /// The mean loss.
    pub loss: f64,
}

/// Loads images with their masks, and keeps them as long as the budget allows.
#[derive(Debug)]
pub(crate) struct Pairs {
    pairs: Vec<Pair>,
    values: Vec<u8>,
    preprocess: Preprocess,
    kept: Vec<OnceLock<Arc<Loaded>>>,
    budget: Arc<Budget>,
    broken: Broken,
}

/// An image and its classes, both of the network's size.
#[derive(Debug)]
struct Loaded {
    image: RgbImage,
    classes: GrayImage,
}

impl Pairs {
    pub(crate) fn new(
        pairs: &[Pair],
        values: &[u8],
        preprocess: Preprocess,
        budget: &Arc<Budget>,
    ) -> Self {
        Self {
            pairs: pairs.to_vec(),
            values: values.to_vec(),
            preprocess,
            kept: pairs.iter().map(|_| OnceLock::new()).collect(),
            budget: Arc::clone(budget),
            broken: Broken::default(),
        }
    }

    /// Number of images that could not be read, so far.
    pub(crate) fn unreadable(&self) -> usize {
        self.broken.count()
    }

    fn load(&self, index: usize) -> Option<Arc<Loaded>> {
        if let Some(kept) = self.kept[index].get() {
            return Some(Arc::clone(kept));
        }
        match self.read(&self.pairs[index]) {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                if self.budget.take(4 * loaded.classes.len()) {
                    let _ = self.kept[index].set(Arc::clone(&loaded));
                }
                Some(loaded)
            }
            Err(reason) => {
                self.broken.add(index, reason);
                None
            }
        }
    }

    fn read(&self, pair: &Pair) -> Result<Loaded, String> {
        let bytes = std::fs::read(&pair.image).map_err(|error| error.to_string())?;
        let image = decoded(|| decode_over(&bytes, self.preprocess.background))?;
        let mask = read_mask(&pair.mask).map_err(|error| error.to_string())?;
        if mask.dimensions() != image.dimensions() {
            return Err("its mask is of another size".to_owned());
        }
        let side = self.preprocess.crop;
        let mut classes = imageops::resize(&mask, side, side, imageops::FilterType::Nearest);
        for value in classes.iter_mut() {
            let class = self.values.binary_search(value);
            *value = class.map_err(|_| "its mask has unknown values".to_owned())? as u8;
        }
        Ok(Loaded { image: resize(&image, side, side, self.preprocess.filter), classes })
    }

    fn values(&self, image: &RgbImage) -> Vec<f32> {
        let side = self.preprocess.crop;
        self.preprocess.sized(side, side).pixels(image)
    }

    fn to_tensors(&self, batch: Batch, device: &Device) -> (Tensor<4>, Tensor<4, Int>) {
        let side = self.preprocess.crop as usize;
        let images = [batch.count, self.preprocess.channels(), side, side];
        let classes: Vec<i32> = batch.classes.iter().map(|&class| i32::from(class)).collect();
        (
            Tensor::from_data(TensorData::new(batch.values, images), device),
            Tensor::from_data(TensorData::new(classes, [batch.count, 1, side, side]), device),
        )
    }
}

/// What a step is computed from.
pub(crate) struct Batch {
    values: Vec<f32>,
    classes: Vec<u8>,
    count: usize,
}

/// Training a segmenter.
pub(crate) struct Segmentation<'a, M> {
    config: &'a Config,
    train: &'a Pairs,
    val: &'a Pairs,
    model: PhantomData<fn() -> M>,
}

impl<'a, M: ImageSegmenter> Segmentation<'a, M> {
    pub(crate) fn new(config: &'a Config, train: &'a Pairs, val: &'a Pairs) -> Self {
        Self { config, train, val, model: PhantomData }
    }
}

impl<M: ImageSegmenter> Task for Segmentation<'_, M> {
    type Model = M;
    type Batch = Batch;

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<_> = (0..self.train.pairs.len()).collect();
        order.shuffle(&mut stream(self.config.seed, Purpose::Order, epoch, 0));
        order.chunks(self.config.recipe.batch_size).map(<[usize]>::to_vec).collect()
    }

    fn load(&self, epoch: usize, place: usize, images: &[usize]) -> Option<Batch> {
        let mut batch = Batch { values: Vec::new(), classes: Vec::new(), count: 0 };
        for (place, &index) in (place..).zip(images) {
            let Some(loaded) = self.train.load(index) else { continue };
            let mut rng = stream(self.config.seed, Purpose::View, epoch, place);
            let view = augment(&loaded, self.config, &mut rng);
            batch.values.extend(self.train.values(&view.image));
            batch.classes.extend(view.classes.into_raw());
            batch.count += 1;
        }
        (batch.count > 0).then_some(batch)
    }

    fn prepare(&self, model: M) -> Result<M, Error> {
        parts::freeze_some(model, &self.config.recipe)
    }

    fn fresh(&self, model: &M) -> BTreeSet<ParamId> {
        parts::parameters_in(model, &model.classifier_paths())
    }

    fn loss(&self, model: &M, batch: Batch, device: &Device) -> Loss {
        let images = batch.count;
        let (values, classes) = self.train.to_tensors(batch, device);
        let logits = model.forward(values);
        let pixels = classes.dims().iter().product::<usize>() as f64;
        let right = logits.clone().argmax(1).equal(classes.clone()).int().sum();
        let correct = f64::from(right.into_scalar::<i32>()) / pixels * images as f64;
        Loss { loss: cross_entropy_and_dice(logits, classes), images, correct }
    }

    fn validate(
        &self,
        model: &M,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Option<Score>, Error> {
        if self.val.pairs.is_empty() {
            return Ok(None);
        }
        let evaluation = evaluate(model, self.val, self.config, device, observer)?;
        Ok(Some(Score { loss: evaluation.loss, accuracy: evaluation.mean_iou }))
    }

    fn complaints(&self) -> Vec<String> {
        let of = |pairs: &Pairs| {
            pairs.broken.tell(|index| pairs.pairs[index].image.display().to_string())
        };
        [of(self.train), of(self.val)].concat()
    }
}

/// A random part of an image, mirrored by chance, with its classes.
fn augment(loaded: &Loaded, config: &Config, rng: &mut rand::rngs::StdRng) -> Loaded {
    let (side, _) = loaded.image.dimensions();
    let smallest = config.augment.crop_scale.sqrt() * f64::from(side);
    let part = rng.random_range(smallest..=f64::from(side)).round().max(1.0) as u32;
    let [left, top] = [(); 2].map(|()| rng.random_range(0..=side - part));
    let image = imageops::crop_imm(&loaded.image, left, top, part, part).to_image();
    let classes = imageops::crop_imm(&loaded.classes, left, top, part, part).to_image();
    let nearest = imageops::FilterType::Nearest;
    let mut view = Loaded {
        image: resize(&image, side, side, zoo_core::Filter::Bilinear),
        classes: imageops::resize(&classes, side, side, nearest),
    };
    if rng.random_bool(config.augment.flip) {
        imageops::flip_horizontal_in_place(&mut view.image);
        imageops::flip_horizontal_in_place(&mut view.classes);
    }
    view
}

/// The mean cross-entropy of the pixels plus one minus the mean Dice coefficient of the classes:
/// [Milletari et al., 2016](https://arxiv.org/abs/1606.04797), §3, with more than one class.
fn cross_entropy_and_dice(logits: Tensor<4>, classes: Tensor<4, Int>) -> Tensor<1> {
    let [_, count, ..] = logits.dims();
    let device = logits.device();
    let cross_entropy = -log_softmax(logits.clone(), 1).gather(1, classes.clone()).mean();
    let numbers = Tensor::<1, Int>::arange(0..count as i64, &device).reshape([1, count, 1, 1]);
    let is_class = classes.equal(numbers).float();
    let probabilities = softmax(logits, 1);
    let of_class = |values: Tensor<4>| values.sum_dim(0).sum_dim(2).sum_dim(3).flatten::<1>(0, 3);
    let both = of_class(probabilities.clone() * is_class.clone());
    let all = of_class(probabilities + is_class);
    let dice = (both * 2.0 + 1.0) / (all + 1.0);
    cross_entropy + (-dice.mean() + 1.0)
}

/// Compares what a network in validation mode makes of images with their masks.
pub(crate) fn evaluate<M: ImageSegmenter>(
    model: &M,
    pairs: &Pairs,
    config: &Config,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<SegmentEvaluation, Error> {
    let count = pairs.pairs.len();
    let classes = pairs.values.len();
    observer.on(&Event::Pass { name: "validating", images: count });
    let load = |index: usize| pairs.load(index);
    // Pixels by class and by what they were taken for.
    let mut confusion = vec![vec![0_usize; classes]; classes];
    let (mut loss, mut images) = (0.0, 0);
    prefetch(0..count, config.workers(), load, |loaded| {
        for loaded in loaded {
            observer.on(&Event::Progress(1));
            let Some(loaded) = loaded else { continue };
            let truth = loaded.classes.as_raw();
            let values = pairs.values(&loaded.image);
            let batch = Batch { values, classes: truth.clone(), count: 1 };
            let (values, masks) = pairs.to_tensors(batch, device);
            let logits = model.forward(values);
            let taken = logits.clone().argmax(1).into_data();
            for (taken, &class) in taken.iter::<i64>().zip(truth) {
                confusion[usize::from(class)][taken as usize] += 1;
            }
            loss += f64::from(cross_entropy_and_dice(logits, masks).into_scalar::<f32>());
            images += 1;
        }
    });
    observer.on(&Event::PassDone);
    if images == 0 {
        return Err(Error::Data("none of the images to validate with can be read".to_owned()));
    }
    let total: usize = confusion.iter().flatten().sum();
    let right: usize = (0..classes).map(|class| confusion[class][class]).sum();
    let iou: Vec<f64> = (0..classes)
        .map(|class| {
            let is: usize = confusion[class].iter().sum();
            let taken: usize = confusion.iter().map(|row| row[class]).sum();
            let union = is + taken - confusion[class][class];
            // A class that is nowhere and is seen nowhere is right everywhere.
            if union == 0 { 1.0 } else { confusion[class][class] as f64 / union as f64 }
        })
        .collect();
    Ok(SegmentEvaluation {
        images,
        pixels: right as f64 / total as f64,
        mean_iou: iou.iter().sum::<f64>() / classes as f64,
        iou,
        loss: loss / images as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_mask_costs_nothing_and_a_wrong_one_much() {
        let device = Device::flex();
        let classes = Tensor::<4, Int>::from_data([[[[0, 1], [1, 1]]]], &device);
        let loss = |sign: f32| {
            let ones = classes.clone().float() * 2.0 - 1.0;
            let logits = Tensor::cat(vec![-ones.clone(), ones], 1) * (20.0 * sign);
            cross_entropy_and_dice(logits, classes.clone()).into_scalar::<f32>()
        };
        assert!(loss(1.0).abs() < 1e-4, "{}", loss(1.0));
        assert!(loss(-1.0) > 20.0, "{}", loss(-1.0));
    }
}
