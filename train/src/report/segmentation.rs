//! The part of a report that shows a segmentation.

use image::{GrayImage, RgbImage, imageops};
use serde::Serialize;
use zoo_report::{jpeg, png};

use super::{Confusion, Results, file_name};
use crate::{Example, Images, Mask, SegmentationEvaluation};

/// The largest side of an image in the report, in pixels.
const SIDE: u32 = 200;

/// The results of a class.
#[derive(Debug, Serialize)]
pub(super) struct ClassRow {
    name: String,
    /// In CSS.
    color: String,
    /// The share of all pixels.
    share: f64,
    iou: Option<f64>,
}

/// An image with its true and predicted masks.
#[derive(Debug, Serialize)]
pub(super) struct ExampleRow {
    path: String,
    file: String,
    photograph: String,
    is: String,
    predicted: String,
    pixel_accuracy: f64,
    mean_iou: f64,
}

/// The results of each class, images with their true and predicted masks, and the confusion matrix.
pub(crate) fn segmentation(evaluation: &SegmentationEvaluation, images: &Images<Mask>) -> Results {
    let classes = &evaluation.classes;
    let total = classes.iter().map(|class| class.pixels).sum::<usize>().max(1);
    let row = |(number, class): (usize, &crate::PixelClass)| {
        let [red, green, blue] = color(number);
        ClassRow {
            name: class.name.clone(),
            color: format!("rgb({red},{green},{blue})"),
            share: class.pixels as f64 / total as f64,
            iou: class.iou,
        }
    };
    let names = classes.iter().map(|class| class.name.clone()).collect();
    Results {
        pixel_classes: classes.iter().enumerate().map(row).collect(),
        examples: evaluation.examples.iter().filter_map(|it| example(it, images)).collect(),
        confusion: Some(Confusion::new(names, &evaluation.confusion)),
        ..Results::default()
    }
}

fn example(Example { answer, predicted }: &Example, images: &Images<Mask>) -> Option<ExampleRow> {
    let path = images.samples()[answer.index].source.name();
    let masked = images.masked(answer.index)?;
    let side = masked.image.width().min(SIDE);
    let [is, predicted] = [&masked.classes, predicted].map(|classes| {
        let drawn = drawn(classes);
        png(&imageops::resize(&drawn, side, side, imageops::FilterType::Nearest).into())
    });
    Some(ExampleRow {
        file: file_name(&path),
        path,
        photograph: jpeg(&imageops::thumbnail(&masked.image, side, side)),
        is,
        predicted,
        pixel_accuracy: answer.pixel_accuracy,
        mean_iou: answer.mean_iou,
    })
}

/// Draws a mask in the colors of its classes.
fn drawn(classes: &GrayImage) -> RgbImage {
    let pixel = |x, y| image::Rgb(color(usize::from(classes.get_pixel(x, y)[0])));
    RgbImage::from_fn(classes.width(), classes.height(), pixel)
}

/// Returns the color of a class: dark for the first, which is usually the background, and well
/// separated colors for the others.
fn color(class: usize) -> [u8; 3] {
    const COLORS: [[u8; 3]; 10] = [
        [38, 42, 51],
        [240, 180, 60],
        [80, 160, 220],
        [110, 190, 110],
        [220, 100, 90],
        [160, 120, 210],
        [90, 200, 200],
        [230, 140, 190],
        [170, 180, 90],
        [160, 130, 100],
    ];
    match class {
        0 => COLORS[0],
        class => {
            // After nine classes, the colors repeat, each time darker.
            let darker = ((class - 1) / 9) as u32;
            COLORS[1 + (class - 1) % 9]
                .map(|value| (f64::from(value) * 0.7_f64.powi(darker as i32)) as u8)
        }
    }
}
