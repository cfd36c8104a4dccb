//! Decodes image files to upright 8-bit RGB pixels, and resizes images.

mod jpeg;
mod unread;

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage};

use crate::{Background, Interpolation};

/// The error for bytes that are not a usable image.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The bytes have no format that this build reads.
    #[error(
        "not an image\nhint: PNG, JPEG, WebP, GIF, BMP and TIFF are read; convert others first"
    )]
    UnknownFormat,
    /// The bytes have a known format of a camera, a phone or a drawing program that is not supported.
    #[error("{0} is not read\nhint: convert it to JPEG or PNG first")]
    UnreadFormat(String),
    /// The bytes are an image of a supported format, but of a kind that is not supported.
    #[error("{0}\nhint: convert it to PNG first")]
    UnknownKind(String),
    /// The image is damaged, incomplete or too large.
    #[error("not a readable image: {0}")]
    Broken(String),
    /// The image has no pixels, or one side is too long relative to the other.
    #[error(
        "an image of {0}x{1} pixels is too thin\nhint: crop it; one side may be {MAX_ASPECT} times \
         the other at most"
    )]
    Size(u32, u32),
}

impl From<image::ImageError> for DecodeError {
    fn from(error: image::ImageError) -> Self {
        use image::error::{ImageError, UnsupportedErrorKind};
        // Some decoders repeat themselves on further lines.
        let text = error.to_string().lines().next().unwrap_or_default().to_owned();
        match &error {
            ImageError::Limits(_) => {
                Self::Broken("decoding it would take more than 512 MiB".to_owned())
            }
            ImageError::Unsupported(reason) => match reason.kind() {
                UnsupportedErrorKind::Format(_) => Self::UnknownFormat,
                _ => Self::UnknownKind(text),
            },
            _ => Self::Broken(text),
        }
    }
}

/// Largest ratio of the longer side to the shorter.
const MAX_ASPECT: u32 = 200;

/// Decodes an image file.
///
/// Grayscale is repeated over the channels, transparency is dropped, 16 bits are rounded to 8,
/// palettes and CMYK are converted, and the orientation in EXIF is applied.
///
/// # Errors
///
/// See [`DecodeError`]. An image that would need more than 512 MiB to decode is refused.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    decode_over(bytes, Background::None)
}

/// Decodes an image file as [`decode`] does, and blends transparent pixels with a background.
///
/// The result is, bit for bit, that of PIL's `Image.paste` with the image as its own mask.
///
/// # Errors
///
/// See [`decode`].
pub fn decode_over(bytes: &[u8], background: Background) -> Result<RgbImage, DecodeError> {
    let image = upright(open(bytes)?)?;
    match background {
        Background::Color(color) if image.color().has_alpha() => {
            Ok(lay_over(&image.into_rgba8(), color))
        }
        _ => Ok(image.into_rgb8()),
    }
}

/// Whether an image is drawn mostly in its transparency, so that [`decode`] loses it.
///
/// An example is a black drawing whose transparent pixels are black, too: without transparency
/// it is all black. [`decode_over`] a color then shows it as a viewer does. Where neighbors
/// differ more in opacity than in color, the difference would be lost; where they differ in
/// color, it is kept. The image is drawn in its transparency if more is lost than kept.
///
/// For an image without an alpha channel only the header is read.
///
/// # Errors
///
/// See [`decode`].
pub fn is_drawn_in_transparency(bytes: &[u8]) -> Result<bool, DecodeError> {
    let decoder = open(bytes)?;
    if !decoder.color_type().has_alpha() {
        return Ok(false);
    }
    let image = upright(decoder)?.into_rgba8();
    let width = image.width() as usize;
    let (pixels, _) = image.as_raw().as_chunks::<4>();
    let (mut lost, mut kept) = (0, 0);
    let mut compare = |a: &[u8; 4], b: &[u8; 4]| {
        let [red, green, blue, alpha] = std::array::from_fn(|i| u64::from(a[i].abs_diff(b[i])));
        let color = red.max(green).max(blue);
        lost += alpha.saturating_sub(color) * 255;
        kept += color * u64::from(a[3].max(b[3]));
    };
    for row in pixels.chunks_exact(width) {
        row.windows(2).for_each(|pair| compare(&pair[0], &pair[1]));
    }
    pixels.iter().zip(&pixels[width..]).for_each(|(above, below)| compare(above, below));
    Ok(lost > kept)
}

/// Reads an image's header, and refuses an image that is too large.
fn open(bytes: &[u8]) -> Result<Box<dyn ImageDecoder + '_>, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(image::ImageError::IoError)?;
    if let Some(name) = unread::name(bytes) {
        return Err(DecodeError::UnreadFormat(name.to_owned()));
    }
    let decoder: Box<dyn ImageDecoder + '_> = match reader.format() {
        None => return Err(DecodeError::UnknownFormat),
        Some(format) if !format.reading_enabled() => {
            let name = format.extensions_str()[0].to_ascii_uppercase();
            return Err(DecodeError::UnreadFormat(format!("an image of the format {name}")));
        }
        Some(ImageFormat::Jpeg) => Box::new(jpeg::Decoder::new(bytes)?),
        Some(_) => Box::new(reader.into_decoder()?),
    };
    let (width, height) = decoder.dimensions();
    let (short, long) = (width.min(height), width.max(height));
    if short == 0 || long / short > MAX_ASPECT {
        return Err(DecodeError::Size(width, height));
    }
    // Not all decoders check the limits before they allocate.
    Limits::default().reserve(decoder.total_bytes())?;
    Ok(decoder)
}

/// Decodes an image and applies the orientation in EXIF.
fn upright(mut decoder: Box<dyn ImageDecoder + '_>) -> Result<DynamicImage, DecodeError> {
    // A damaged EXIF block does not make the image unreadable.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Blends each pixel with a color in proportion to its opacity.
fn lay_over(image: &RgbaImage, color: [u8; 3]) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [pixel @ .., alpha] = image.get_pixel(x, y).0;
        image::Rgb(std::array::from_fn(|channel| {
            let [front, back, alpha] = [pixel[channel], color[channel], alpha].map(u32::from);
            let sum = front * alpha + back * (255 - alpha) + 128;
            // The sum divided by 255 and rounded.
            ((sum + (sum >> 8)) >> 8) as u8
        }))
    })
}

/// Resizes an image as Pillow 13's `Image.resize` does, bit for bit.
///
/// The two passes are each rounded to 8 bits; the filter is wider if the image shrinks. The rows are
/// resized first, except if the height shrinks by more than twice as many pixels as the width. The
/// weights have 22 fractional bits, so that every conforming implementation gives the same pixels.
pub fn resize(image: &RgbImage, width: u32, height: u32, interpolation: Interpolation) -> RgbImage {
    let loss = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (less_width, less_height) = (loss(image.width(), width), loss(image.height(), height));
    if less_height > 0 && less_height > 2 * less_width {
        resize_rows(&resize_columns(image, height, interpolation), width, interpolation)
    } else {
        resize_columns(&resize_rows(image, width, interpolation), height, interpolation)
    }
}

/// Resizes an image to another width.
fn resize_rows(image: &RgbImage, width: u32, interpolation: Interpolation) -> RgbImage {
    let (source_width, height) = image.dimensions();
    if width == source_width {
        return image.clone();
    }
    let taps = Taps::new(source_width, width, interpolation);
    let mut output = Vec::with_capacity(width as usize * height as usize * 3);
    for row in image.as_raw().chunks_exact(source_width as usize * 3) {
        for (start, weights) in taps.iter() {
            let mut sums = [HALF; 3];
            for (pixel, &weight) in row[start * 3..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            output.extend(sums.map(round));
        }
    }
    RgbImage::from_raw(width, height, output).expect("a value for each pixel")
}

/// Resizes an image to another height.
fn resize_columns(image: &RgbImage, height: u32, interpolation: Interpolation) -> RgbImage {
    let (width, source_height) = image.dimensions();
    if height == source_height {
        return image.clone();
    }
    let taps = Taps::new(source_height, height, interpolation);
    let stride = width as usize * 3;
    let mut output = Vec::with_capacity(stride * height as usize);
    let mut sums = vec![HALF; stride];
    for (start, weights) in taps.iter() {
        sums.fill(HALF);
        for (row, &weight) in image.as_raw()[start * stride..].chunks_exact(stride).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        output.extend(sums.iter().copied().map(round));
    }
    RgbImage::from_raw(width, height, output).expect("a value for each pixel")
}

const FRACTION_BITS: u32 = 22;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

fn round(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

/// The source positions and their weights for each output position.
struct Taps {
    starts: Vec<usize>,
    lengths: Vec<usize>,
    weights: Vec<i32>,
    stride: usize,
}

impl Taps {
    fn new(source: u32, target: u32, interpolation: Interpolation) -> Self {
        let scale = f64::from(source) / f64::from(target);
        let stretch = scale.max(1.0);
        // Pillow multiplies by the inverse, which rounds differently from a division.
        let shrink = 1.0 / stretch;
        let support = interpolation.support() * stretch;
        let stride = support.ceil() as usize * 2 + 1;
        let mut taps = Self {
            starts: Vec::with_capacity(target as usize),
            lengths: Vec::with_capacity(target as usize),
            weights: vec![0; stride * target as usize],
            stride,
        };
        for (position, weights) in taps.weights.chunks_exact_mut(stride).enumerate() {
            let center = (position as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(source as usize);
            let values: Vec<f64> = (start..end)
                .map(|x| interpolation.weight((x as f64 - center + 0.5) * shrink))
                .collect();
            let total: f64 = values.iter().sum();
            for (weight, value) in weights.iter_mut().zip(&values) {
                *weight = (value / total * f64::from(1 << FRACTION_BITS)).round() as i32;
            }
            taps.starts.push(start);
            taps.lengths.push(end - start);
        }
        taps
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.weights
            .chunks_exact(self.stride)
            .zip(self.starts.iter().zip(&self.lengths))
            .map(|(weights, (&start, &length))| (start, &weights[..length]))
    }
}

impl Interpolation {
    /// Radius of the filter, in output pixels.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Self::Bicubic => 0.0,
        }
    }
}
