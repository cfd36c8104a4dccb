//! The part of a report that shows a segmentation.

use std::fmt::Write;

use image::{GrayImage, RgbImage, imageops};

use super::{confusion, escape, file_names, jpeg, png};
use crate::observer::percent;
use crate::{Example, Images, Mask, SegmentationEvaluation};

/// The largest side of an image in the report, in pixels.
const SIDE: u32 = 200;

/// Shows the results of each class, images with their true and predicted masks, and the confusion
/// matrix.
pub(crate) fn segmentation(evaluation: &SegmentationEvaluation, images: &Images<Mask>) -> String {
    let names = evaluation.classes.iter().map(|class| &class.name);
    classes(evaluation)
        + &examples(evaluation, images)
        + &confusion(names, &evaluation.confusion).replacen("matrix (", "matrix of pixels (", 1)
}

fn classes(evaluation: &SegmentationEvaluation) -> String {
    let mut html = "<h2>Classes</h2><table id=\"classes\"><thead><tr><th>class</th><th>color below\
                    </th><th>pixels</th><th>IoU</th></tr></thead><tbody>"
        .to_owned();
    let total = evaluation.classes.iter().map(|class| class.pixels).sum::<usize>().max(1);
    for (number, class) in evaluation.classes.iter().enumerate() {
        let [red, green, blue] = color(number);
        let _ = write!(
            html,
            "<tr><th>{}</th><td><span class=\"swatch\" style=\"background:rgb({red},{green},{blue})\">\
             </span></td><td>{}</td><td>{}</td></tr>",
            escape(&class.name),
            percent(class.pixels as f64 / total as f64),
            class.iou.map_or_else(|| "–".to_owned(), |iou| format!("{iou:.3}")),
        );
    }
    html + "</tbody></table>"
}

/// Shows images with their true and predicted masks side by side.
fn examples(evaluation: &SegmentationEvaluation, images: &Images<Mask>) -> String {
    let mut html = "<h2>Validation images, the least accurate first</h2><table id=\"examples\"><thead>\
                    <tr><th>image</th><th>true mask</th><th>predicted mask</th><th></th></tr></thead>\
                    <tbody>"
        .to_owned();
    for example in &evaluation.examples {
        html += &row(example, images).unwrap_or_default();
    }
    html + "</tbody></table>"
}

fn row(Example { answer, predicted }: &Example, images: &Images<Mask>) -> Option<String> {
    let [file, path] = file_names(&images.samples()[answer.index].source.name());
    let masked = images.masked(answer.index)?;
    let side = masked.image.width().min(SIDE);
    let photograph = jpeg(&imageops::thumbnail(&masked.image, side, side))?;
    let [is, taken] = [&masked.classes, predicted].map(|classes| {
        let drawn = drawn(classes);
        png(&imageops::resize(&drawn, side, side, imageops::FilterType::Nearest).into())
    });
    Some(format!(
        "<tr><td><img alt=\"{path}\" title=\"{path}\" src=\"{photograph}\"></td><td><img \
         alt=\"true mask\" src=\"{is}\"></td><td><img alt=\"predicted mask\" src=\"{taken}\"></td><td>\
         {file}<br>{} of the pixels are right<br>mean IoU {:.3}</td></tr>",
        percent(answer.pixel_accuracy),
        answer.mean_iou,
    ))
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
