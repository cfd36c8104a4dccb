use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;
use image::{DynamicImage, ImageFormat, RgbImage};

/// Returns a photograph whose longer side has at most this many pixels.
pub fn within(image: &RgbImage, side: u32) -> RgbImage {
    let scale = f64::from(side) / f64::from(image.width().max(image.height()).max(1));
    let length = |length: u32| ((f64::from(length) * scale.min(1.0)).round() as u32).max(1);
    thumbnail(image, length(image.width()), length(image.height()))
}

/// Encodes a photograph as a JPEG data URL.
///
/// # Panics
///
/// When a side has 0 or more than 65,535 pixels.
pub fn jpeg(image: &RgbImage) -> String {
    let mut bytes = Vec::new();
    let written = JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(image);
    written.expect("a JPEG file takes a picture of this size");
    format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes))
}

/// Encodes a drawing as a PNG data URL.
pub fn png(image: &DynamicImage) -> String {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("memory takes any picture");
    format!("data:image/png;base64,{}", STANDARD.encode(bytes.into_inner()))
}
