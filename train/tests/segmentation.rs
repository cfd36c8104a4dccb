//! A network learns to segment discs.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;
use zoo_core::{Background, ImageSegmenter, Preprocess};
use zoo_record::{ModelCard, Origin, Record, TrainingImages};
use zoo_train::{
    Batching, Budget, Config, Dataset, Error, Images, Run, Segmentation, Silent, Task, train,
};

/// A network of two convolutions.
#[derive(Module, Debug)]
struct Tiny {
    conv: Conv2d,
    classifier: Conv2d,
}

impl Tiny {
    fn new(device: &Device) -> Self {
        let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
        let conv = Conv2dConfig::new([3, 8], [3, 3]).with_padding(padding).init(device);
        Self { conv, classifier: Conv2dConfig::new([8, 2], [1, 1]).init(device) }
    }
}

impl ImageSegmenter for Tiny {
    fn forward_features(&self, images: Tensor<4>) -> Tensor<4> {
        relu(self.conv.forward(images))
    }

    fn forward_head(&self, features: Tensor<4>) -> Tensor<4> {
        self.classifier.forward(features)
    }

    fn num_features(&self) -> usize {
        8
    }

    fn reset_classifier(&mut self, num_classes: usize, device: &Device) {
        self.classifier = Conv2dConfig::new([8, num_classes], [1, 1]).init(device);
    }
}

/// Draws bright discs on a dark background, and their masks.
fn discs(folder: &Path, count: i32) {
    for name in ["images", "masks"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for number in 0..count {
        let is_inside = |x: u32, y: u32| {
            let [dx, dy] = [x as i32 - 8 - number % 5, y as i32 - 12 + number % 3];
            dx * dx + dy * dy < 30
        };
        let image = RgbImage::from_fn(30, 24, |x, y| {
            let noise = ((x * 13 + y * 7) % 40) as u8;
            if is_inside(x, y) { Rgb([200, noise, 30]) } else { Rgb([20, noise, 90]) }
        });
        let mask = GrayImage::from_fn(30, 24, |x, y| Luma([if is_inside(x, y) { 255 } else { 0 }]));
        image.save(folder.join(format!("images/{number}.png"))).unwrap();
        mask.save(folder.join(format!("masks/{number}.png"))).unwrap();
    }
}

fn card() -> ModelCard {
    ModelCard {
        variant: "tiny".to_owned(),
        tag: None,
        num_classes: 2,
        in_channels: 3,
        has_auxiliary: false,
        has_classifier: true,
        hidden: Vec::new(),
        labels: Vec::new(),
        preprocess: Preprocess::IMAGENET.sized(32, 32),
        origin: Origin::default(),
    }
}

#[test]
fn discs_are_found() {
    let data = TempDir::new().unwrap();
    discs(data.path(), 12);
    fs::write(data.path().join("images/alone.png"), "no image").unwrap();
    let root = data.path().to_str().unwrap();
    let mut dataset = Dataset::open_masks(root, 0.25, 0).unwrap();
    assert_eq!((dataset.train.len(), dataset.val.len()), (9, 3));
    assert_eq!(*dataset.val[0].label.values, [0, 255]);
    assert_eq!(dataset.classes, ["0", "255"]);
    assert!(dataset.warnings[0].contains("alone.png has no mask"));
    dataset.compare(&TrainingImages::default(), Background::None, 2, &mut Silent);
    let settings =
        ["data.task=segment", "recipe.epochs=10", "recipe.batch_size=3", "recipe.lr=0.03"];
    let layers: Vec<_> = settings.iter().map(|setting| Config::setting(setting).unwrap()).collect();
    let config = Config::from_layers(&layers).unwrap();
    let out = TempDir::new().unwrap();
    let device = Device::flex();
    let mut run = Run {
        folder: out.path(),
        device: &device,
        others: &[],
        resume: false,
        stop: &AtomicBool::new(false),
        observer: &mut Silent,
    };
    let trained =
        train::<Segmentation<_>>(Tiny::new(&device), &card(), &dataset, &config, &mut run).unwrap();
    let evaluation = trained.evaluation.unwrap();
    assert!(
        evaluation.mean_iou > 0.95 && evaluation.classes.len() == 2,
        "{:?}",
        evaluation.classes
    );
    let best = &trained.fitted.history[trained.fitted.best_epoch.unwrap() - 1];
    assert_eq!(best.val_mean_iou, Some(evaluation.mean_iou));
    assert_eq!(best.val_accuracy, Some(evaluation.pixel_accuracy));

    // The record keeps the hashes of its images, and its evaluation is the same for any batch size.
    let record = Record::open(&trained.model).unwrap();
    let mut held_out = Dataset::open_masks_for(root, &record.card.labels).unwrap();
    held_out.leave_out(&record.training_images().unwrap(), 2, &mut Silent);
    let names = |dataset: &Dataset<_>| {
        let mut names: Vec<_> = dataset.val.iter().map(|sample| sample.source.name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&held_out), names(&dataset));
    let model = record.load_into(Tiny::new(&device)).unwrap();
    let images = Images::new(held_out.val, card().preprocess, &Budget::mib(0));
    for engine in [false, true] {
        let batching = Batching { batch_size: 2, workers: 2, engine };
        let names = &held_out.classes;
        let again =
            Segmentation::evaluate(&model, &images, names, batching, &device, &mut Silent).unwrap();
        assert_eq!(again.confusion, evaluation.confusion);
        assert!((again.loss - evaluation.loss).abs() < 1e-5);
    }

    // The report shows masks side by side, and the results of each class.
    let report = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert_eq!(report.matches("alt=\"predicted mask\"").count(), 3);
    assert!(report.contains("validation mean IoU") && report.contains("Pixel accuracy"));
    assert!(!report.contains("{{"));
}

#[test]
fn photographs_are_not_masks() {
    let data = TempDir::new().unwrap();
    discs(data.path(), 2);
    let photograph = RgbImage::from_fn(30, 24, |x, y| Rgb([(x * 8) as u8, (y * 10) as u8, 3]));
    photograph.save(data.path().join("masks/1.png")).unwrap();
    let error = Dataset::open_masks(data.path().to_str().unwrap(), 0.5, 0).unwrap_err();
    assert!(matches!(&error, Error::Data(text) if text.contains("too many different values")));
}
