//! Preprocessing gives the same pixels as torchvision does on a PIL image.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zoo_core::decode::{decode, decode_over, is_drawn_in_transparency};
use zoo_core::{Background, Colour, Filter, Preprocess};
use zoo_tests::fixture::decode_floats;
use zoo_tests::{local, workspace};

#[derive(Deserialize)]
struct Golden {
    image: String,
    resize: u32,
    interpolation: Filter,
    crop: u32,
    norm_mean: [f32; 3],
    norm_std: [f32; 3],
    crop_rgb8_sha256: String,
    grid_index: Vec<usize>,
    grid: String,
    mean: f64,
    std: f64,
}

/// Reads an image of the goldens, some of which are the sample images.
fn image(name: &str) -> Vec<u8> {
    let sample = workspace("assets/images").join(name);
    let derived = local("fixtures/preprocess/images").join(name);
    std::fs::read(if sample.exists() { sample } else { derived }).expect(name)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(path: &Path) {
    let name = path.file_name().unwrap().to_string_lossy();
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let preprocess = Preprocess {
        resize: golden.resize,
        crop: golden.crop,
        filter: golden.interpolation,
        colour: Colour::Rgb,
        mean: golden.norm_mean,
        std: golden.norm_std,
        ..Preprocess::IMAGENET
    };
    let image = decode(&image(&golden.image)).unwrap();

    let hash = sha256(preprocess.crop(&image).as_raw());
    // JPEG decoders may differ by a level; where the decoder is not in play, no bit may.
    let is_exact = !golden.image.ends_with(".jpg");
    assert!(hash == golden.crop_rgb8_sha256 || !is_exact, "{name}: other pixels");

    let pixels = preprocess.pixels(&image);
    let side = golden.crop as usize;
    let expected = decode_floats(&golden.grid).unwrap();
    let mut expected = expected.into_iter();
    let level = 1.0 / 255.0 / golden.norm_std.iter().fold(f32::MAX, |a, &b| a.min(b));
    let tolerance = if is_exact { 1e-6 } else { 4.0 * level };
    for channel in 0..3 {
        for &row in &golden.grid_index {
            for &column in &golden.grid_index {
                let got = pixels[(channel * side + row) * side + column];
                let expected = expected.next().unwrap();
                assert!((got - expected).abs() <= tolerance, "{name}: {got} is not {expected}");
            }
        }
    }
    let n = pixels.len() as f64;
    let mean = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = pixels.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    let tolerance = if is_exact { 1e-6 } else { 2e-3 };
    assert!((mean - golden.mean).abs() < tolerance, "{name}: mean {mean}");
    assert!((variance.sqrt() - golden.std).abs() < tolerance, "{name}: std");
}

#[test]
fn caffes_pixels_are_blue_first_and_not_scaled() {
    let preprocess = Preprocess {
        colour: Colour::Bgr,
        mean: [104.0 / 255.0, 117.0 / 255.0, 128.0 / 255.0],
        std: [1.0 / 255.0; 3],
        ..Preprocess::IMAGENET
    };
    let image = decode(&image("coffee.png")).unwrap();
    let pixels = preprocess.pixels(&image);
    let cropped = preprocess.crop(&image);
    for (index, pixel) in cropped.pixels().enumerate() {
        for (plane, (channel, mean)) in [(2, 104.0), (1, 117.0), (0, 128.0)].into_iter().enumerate()
        {
            let got = pixels[plane * 224 * 224 + index];
            assert!((got - (f32::from(pixel[channel]) - mean)).abs() < 1e-4, "{got}");
        }
    }
}

#[test]
fn pixels_are_torchvisions() {
    let mut checked = 0;
    for entry in std::fs::read_dir(local("fixtures/preprocess")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            check(&path);
            checked += 1;
        }
    }
    assert_eq!(checked, 56);
}

/// A picture whose left half is red and whose right half is blue, however it is stored.
#[test]
fn unusual_images_become_upright_rgb() {
    for (file, left, right) in [
        ("cmyk.jpg", [200, 40, 30], [20, 60, 210]),
        ("palette.png", [200, 40, 30], [20, 60, 210]),
        ("transparent.png", [200, 40, 30], [20, 60, 210]),
        ("turned.jpg", [200, 40, 30], [20, 60, 210]),
        ("plain.webp", [200, 40, 30], [20, 60, 210]),
        ("plain.gif", [200, 40, 30], [20, 60, 210]),
        ("plain.bmp", [200, 40, 30], [20, 60, 210]),
        ("plain.tiff", [200, 40, 30], [20, 60, 210]),
        ("grey16.png", [180; 3], [20; 3]),
    ] {
        let bytes = std::fs::read(local("fixtures/images").join(file)).unwrap();
        let image = decode(&bytes).unwrap();
        assert_eq!(image.dimensions(), (32, 16), "{file}");
        for (x, expected) in [(4, left), (27, right)] {
            let found = image.get_pixel(x, 8).0;
            let off = found.iter().zip(expected).map(|(&a, b)| i32::from(a) - b).map(i32::abs);
            assert!(off.max() <= Some(4), "{file}: {found:?} is not {expected:?}");
        }
    }
}

fn unusual(file: &str) -> Vec<u8> {
    std::fs::read(local("fixtures/images").join(file)).expect(file)
}

/// What `make.py` beside the pictures says.
#[test]
fn transparency_is_laid_over_a_color_as_pil_pastes() {
    let glass = unusual("glass.png");
    for (background, expected) in [
        ("white", "f58c74015046254dbb3f80fe813119ef1b67f360262d58a66412d3c50695d40a"),
        ("black", "c91c296dbd3ce09d47c770c1f7a88cde62a07e9d2824992a3446862eb29aab8e"),
        ("#f06407", "fb21faf8ef10d2ba69ce2d1f557a9180abe15fe0e8f28954c2925ac1db356cc3"),
    ] {
        let image = decode_over(&glass, background.parse().unwrap()).unwrap();
        assert_eq!(sha256(image.as_raw()), expected, "{background}");
    }
    let dropped = decode_over(&glass, Background::None).unwrap();
    assert_eq!(dropped, decode(&glass).unwrap());
    assert_eq!(dropped.get_pixel(3, 2).0, [24, 20, 233]);

    for (file, middle) in
        [("black_drawing.png", [0; 3]), ("white_drawing.png", [255; 3]), ("dark.gif", [20, 20, 30])]
    {
        let red = decode_over(&unusual(file), Background::Color([200, 10, 30])).unwrap();
        assert_eq!(red.get_pixel(0, 0).0, [200, 10, 30], "{file}");
        assert_eq!(red.get_pixel(12, 12).0, middle, "{file}");
    }
    for opaque in ["plain.bmp", "cmyk.jpg", "grey16.png", "palette.png"] {
        let bytes = unusual(opaque);
        let over = decode_over(&bytes, Background::WHITE).unwrap();
        assert_eq!(over, decode(&bytes).unwrap(), "{opaque}");
    }
}

#[test]
fn drawings_that_only_transparency_shows_are_told_apart() {
    for (file, expected) in [
        ("black_drawing.png", true),
        ("white_drawing.png", true),
        ("dark_palette.png", true),
        ("dark.gif", true),
        ("cut_out.png", false),
        ("black_on_white.png", false),
        ("glass.png", false),
        ("transparent.png", false),
        ("plain.gif", false),
        ("plain.webp", false),
        ("grey16.png", false),
        ("turned.jpg", false),
    ] {
        assert_eq!(is_drawn_in_transparency(&unusual(file)).unwrap(), expected, "{file}");
    }
    assert!(is_drawn_in_transparency(b"").is_err());
    assert!(is_drawn_in_transparency(b"no picture").is_err());
    let cut = unusual("black_drawing.png");
    assert!(is_drawn_in_transparency(&cut[..cut.len() / 2]).is_err());
}

#[test]
fn a_background_is_written_as_it_is_read() {
    for text in ["none", "white", "black", "#f0a00b"] {
        let background: Background = text.parse().unwrap();
        assert_eq!(background.to_string(), text);
        let json = serde_json::to_string(&background).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Background>(&json).unwrap(), background);
    }
    assert_eq!("#FFFFFF".parse::<Background>().unwrap(), Background::WHITE);
    for text in [
        "",
        "red",
        "#",
        "#fff",
        "#ffffff0",
        "ffffff",
        "#+fffff",
        "#fffffg",
        "#\u{e9}\u{e9}\u{e9}",
        "White",
    ] {
        let error = text.parse::<Background>().unwrap_err().to_string();
        assert!(error.contains("hint: write none, white, black"), "{error}");
    }
    assert!(serde_json::from_str::<Background>("\"red\"").is_err());
}

#[test]
fn long_thin_and_tiny_images() {
    let sizes = [(1, 1), (3, 500), (2000, 11), (224, 224), (225, 224)];
    for (width, height) in sizes {
        let image = image::RgbImage::from_pixel(width, height, image::Rgb([255, 0, 0]));
        let pixels = Preprocess::IMAGENET.pixels(&image);
        assert_eq!(pixels.len(), 3 * 224 * 224, "{width}x{height}");
        let red = (1.0 - 0.485) / 0.229;
        assert!(pixels[..224 * 224].iter().all(|x| (x - red).abs() < 1e-5), "{width}x{height}");
    }
}
