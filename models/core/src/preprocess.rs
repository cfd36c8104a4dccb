use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The preprocessing of an image: resize, crop, normalize.
///
/// The steps are torchvision's for a PIL image: resize the shorter side with antialiasing, crop
/// the center, scale to `[0, 1]`, subtract the mean, divide by the standard deviation. With
/// the feature `image`, [`pixels`](Self::pixels) runs them and gives the same 8-bit values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Length of the shorter side after resizing, in pixels.
    pub resize: u32,
    /// Height and width of the central crop, in pixels; at most `resize`.
    pub crop: u32,
    /// The interpolation of the resize.
    #[serde(rename = "filter", alias = "interpolation")]
    pub interpolation: Interpolation,
    /// The color channels of the network's input.
    #[serde(alias = "colour")]
    pub color: Color,
    /// Mean of each of the network's channels, subtracted after scaling to `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, the divisor after that.
    pub std: [f32; 3],
    /// The background of transparent pixels.
    #[serde(default, skip_serializing_if = "Background::is_none")]
    pub background: Background,
}

/// The interpolation of the resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// A triangle filter that reaches one output pixel to each side.
    Bilinear,
    /// The cubic filter with a = -0.5, which reaches two output pixels to each side.
    Bicubic,
}

/// The color channels of a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as in Caffe.
    Bgr,
    /// One channel of brightness; uses the first of `mean` and `std`.
    #[serde(alias = "grey")]
    Gray,
}

/// The background of transparent pixels.
///
/// On a command line and in a file it is `none`, `white`, `black`, `gray` or a color such as
/// `#f0f0ff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Background {
    /// No background: transparency is dropped and the file's colors remain, as in PIL's
    /// `convert("RGB")`.
    #[default]
    None,
    /// A color, as red, green and blue.
    Color([u8; 3]),
}

impl Background {
    /// Whether transparency is dropped.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// White.
    pub const WHITE: Self = Self::Color([255; 3]);

    /// Black.
    pub const BLACK: Self = Self::Color([0; 3]);

    /// Gray: 128 of 255 in each channel.
    pub const GRAY: Self = Self::Color([128; 3]);
}

/// The error for a text that is not a [`Background`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no background\nhint: write none, white, black, gray or a color such as #f0f0ff")]
pub struct UnknownBackground(String);

impl FromStr for Background {
    type Err = UnknownBackground;

    fn from_str(text: &str) -> Result<Self, UnknownBackground> {
        let color = |digits: &str| {
            let is_color =
                digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let [_, color @ ..] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
            is_color.then_some(Self::Color(color))
        };
        match text {
            "none" => Ok(Self::None),
            "white" => Ok(Self::WHITE),
            "black" => Ok(Self::BLACK),
            "gray" => Ok(Self::GRAY),
            _ => text
                .strip_prefix('#')
                .and_then(color)
                .ok_or_else(|| UnknownBackground(text.to_owned())),
        }
    }
}

impl fmt::Display for Background {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => formatter.write_str("none"),
            Self::WHITE => formatter.write_str("white"),
            Self::BLACK => formatter.write_str("black"),
            Self::GRAY => formatter.write_str("gray"),
            Self::Color([red, green, blue]) => {
                write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
            }
        }
    }
}

impl TryFrom<String> for Background {
    type Error = UnknownBackground;

    fn try_from(text: String) -> Result<Self, UnknownBackground> {
        text.parse()
    }
}

impl From<Background> for String {
    fn from(background: Background) -> Self {
        background.to_string()
    }
}

/// Returns the length of the shorter side after resizing for a crop of this size: 256/224 of it, or
/// the size itself for thumbnails below 64 pixels.
pub fn with_margin(crop: u32) -> u32 {
    if crop < 64 { crop } else { crop * 256 / 224 }
}

impl Preprocess {
    /// Returns the default preprocessing of a network for images of `size` × `size` pixels: gray for
    /// one input channel, RGB otherwise.
    pub fn usual(size: usize, in_channels: usize) -> Self {
        let crop = u32::try_from(size).unwrap_or(224);
        let preprocess = Self::IMAGENET.sized(with_margin(crop), crop);
        if in_channels == 1 {
            let color = Color::Gray;
            return Self { color, mean: [0.5; 3], std: [0.5; 3], ..preprocess };
        }
        preprocess
    }

    /// The common preprocessing for ImageNet: 256 → 224, bilinear, the dataset's mean and deviation.
    pub const IMAGENET: Self = Self {
        resize: 256,
        crop: 224,
        interpolation: Interpolation::Bilinear,
        color: Color::Rgb,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        background: Background::None,
    };

    /// TensorFlow's preprocessing: values from -1 to 1. The mode `tf` of Keras.
    pub const TENSORFLOW: Self = Self { mean: [0.5; 3], std: [0.5; 3], ..Self::IMAGENET };

    /// Caffe's preprocessing: blue, green, red from 0 to 255, minus the mean. The mode `caffe` of Keras.
    pub const CAFFE: Self = Self {
        color: Color::Bgr,
        mean: [103.939 / 255.0, 116.779 / 255.0, 123.68 / 255.0],
        std: [1.0 / 255.0; 3],
        ..Self::IMAGENET
    };

    /// Returns this preprocessing with another `resize` and `crop`.
    pub const fn sized(self, resize: u32, crop: u32) -> Self {
        Self { resize, crop, ..self }
    }

    /// Returns this preprocessing with bicubic interpolation.
    pub const fn bicubic(self) -> Self {
        Self { interpolation: Interpolation::Bicubic, ..self }
    }

    /// Number of channels of the network's input: 3 or 1.
    pub const fn channels(&self) -> usize {
        match self.color {
            Color::Rgb | Color::Bgr => 3,
            Color::Gray => 1,
        }
    }
}

/// The numbers of the preprocessing, as a phrase.
impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resize, crop, interpolation, mean, std, .. } = self;
        write!(
            f,
            "resize {resize} ({interpolation:?}), crop {crop}, mean {mean:.3?}, std {std:.3?}"
        )
    }
}

#[cfg(feature = "image")]
mod pixels {
    use image::{RgbImage, imageops};

    use super::{Color, Preprocess};
    use crate::decode::resize;

    impl Preprocess {
        /// Resizes and crops an image, to 8-bit pixels `crop × crop`.
        pub fn crop(&self, image: &RgbImage) -> RgbImage {
            let (width, height) = self.resized(image.dimensions());
            let resized = resize(image, width, height, self.interpolation);
            let crop = self.crop.min(width).min(height);
            let (left, top) = (center(width - crop), center(height - crop));
            imageops::crop_imm(&resized, left, top, crop, crop).to_image()
        }

        /// The part of an image of this width and height that the network sees, in the image's pixels:
        /// left, top, width and height.
        pub fn region(&self, dimensions: (u32, u32)) -> [f64; 4] {
            let (width, height) = self.resized(dimensions);
            let crop = self.crop.min(width).min(height);
            let scale = [
                f64::from(dimensions.0) / f64::from(width),
                f64::from(dimensions.1) / f64::from(height),
            ];
            [
                f64::from(center(width - crop)) * scale[0],
                f64::from(center(height - crop)) * scale[1],
                f64::from(crop) * scale[0],
                f64::from(crop) * scale[1],
            ]
        }

        /// Computes the network's input for one image: `[channels, crop, crop]`, row-major.
        pub fn pixels(&self, image: &RgbImage) -> Vec<f32> {
            let cropped = self.crop(image);
            let planes = |channels: [usize; 3]| {
                channels
                    .into_iter()
                    .zip(self.mean.into_iter().zip(self.std))
                    .flat_map(|(channel, (mean, std))| {
                        cropped
                            .pixels()
                            .map(move |pixel| (f32::from(pixel[channel]) / 255.0 - mean) / std)
                    })
                    .collect()
            };
            match self.color {
                Color::Rgb => planes([0, 1, 2]),
                Color::Bgr => planes([2, 1, 0]),
                Color::Gray => imageops::grayscale(&cropped)
                    .pixels()
                    .map(|pixel| (f32::from(pixel[0]) / 255.0 - self.mean[0]) / self.std[0])
                    .collect(),
            }
        }

        /// Width and height after resizing; the longer side is rounded down, as torchvision does.
        fn resized(&self, (width, height): (u32, u32)) -> (u32, u32) {
            let size = self.resize.max(self.crop);
            let long = |long: u32, short: u32| {
                u32::try_from(u64::from(size) * u64::from(long) / u64::from(short))
                    .unwrap_or(u32::MAX)
            };
            if width <= height { (size, long(height, width)) } else { (long(width, height), size) }
        }
    }

    /// Returns half of a margin; a half is rounded to the even neighbor, as in Python's `round`.
    fn center(margin: u32) -> u32 {
        let half = margin / 2;
        half + (margin % 2) * (half % 2)
    }
}
