//! Preprocessing gives the same pixels as torchvision on a PIL image.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zoo_core::decode::{decode, decode_over, is_drawn_in_transparency, resize};
use zoo_core::{Background, Color, Interpolation, Preprocess};
use zoo_tests::fixture::decode_floats;
use zoo_tests::{local, workspace};

#[derive(Deserialize)]
struct Golden {
    image: String,
    resize: u32,
    interpolation: Interpolation,
    crop: u32,
    norm_mean: [f32; 3],
    norm_std: [f32; 3],
    crop_rgb8_sha256: String,
    grid_index: Vec<usize>,
    grid: String,
    mean: f64,
    std: f64,
}

/// Reads an image of the golden files, some of which are the sample images.
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
        interpolation: golden.interpolation,
        color: Color::Rgb,
        mean: golden.norm_mean,
        std: golden.norm_std,
        ..Preprocess::IMAGENET
    };
    let image = decode(&image(&golden.image)).unwrap();

    let hash = sha256(preprocess.crop(&image).as_raw());
    assert_eq!(hash, golden.crop_rgb8_sha256, "{name}: other pixels");

    let pixels = preprocess.pixels(&image);
    let side = golden.crop as usize;
    let expected = decode_floats(&golden.grid).unwrap();
    let mut expected = expected.into_iter();
    for channel in 0..3 {
        for &row in &golden.grid_index {
            for &column in &golden.grid_index {
                let got = pixels[(channel * side + row) * side + column];
                let expected = expected.next().unwrap();
                assert!((got - expected).abs() <= 1e-6, "{name}: {got} is not {expected}");
            }
        }
    }
    let n = pixels.len() as f64;
    let mean = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = pixels.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    assert!((mean - golden.mean).abs() < 1e-6, "{name}: mean {mean}");
    assert!((variance.sqrt() - golden.std).abs() < 1e-6, "{name}: std");
}

#[test]
fn caffes_pixels_are_blue_first_and_not_scaled() {
    let preprocess = Preprocess {
        color: Color::Bgr,
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

/// `oracle/resize.py` has the sizes, and the same generator of pixels.
#[test]
fn resizing_is_pillows_for_every_shape() {
    let goldens = std::fs::read_to_string(local("fixtures/preprocess/resize.csv")).unwrap();
    let mut checked = 0;
    for line in goldens.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<_> = line.split(',').collect();
        let &[.., interpolation, expected] = &cells[..] else { panic!("{line}") };
        let size = |cell: usize| cells[cell].parse::<u32>().unwrap();
        let (width, height) = (size(0), size(1));
        let mut state = width * 65536 + height;
        let image = image::RgbImage::from_fn(width, height, |_, _| {
            image::Rgb(std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }))
        });
        let interpolation = if interpolation == "bilinear" {
            Interpolation::Bilinear
        } else {
            Interpolation::Bicubic
        };
        let resized = resize(&image, size(2), size(3), interpolation);
        assert_eq!(sha256(resized.as_raw())[..16], *expected, "{line}");
        checked += 1;
    }
    assert_eq!(checked, 182);
}

/// Compares the JPEGs of a folder with the results of `oracle/check_jpeg.py`.
fn check_jpegs(folder: &Path) -> usize {
    let goldens = std::fs::read_to_string(folder.join("pixels.csv")).unwrap();
    let mut other = Vec::new();
    let lines: Vec<_> = goldens.lines().filter(|line| !line.starts_with('#')).collect();
    for line in &lines {
        let (name, expected) = line.split_once(',').unwrap();
        let found = match decode(&std::fs::read(folder.join(name)).unwrap()) {
            Ok(image) => format!("{},{},{}", image.width(), image.height(), sha256(image.as_raw())),
            Err(_) => "refused".to_owned(),
        };
        if found != expected {
            other.push(format!("{name}: {found}"));
        }
    }
    assert!(other.is_empty(), "{} of {} differ:\n{}", other.len(), lines.len(), other.join("\n"));
    lines.len()
}

#[test]
fn jpegs_are_pils() {
    assert_eq!(check_jpegs(&local("fixtures/jpeg")), 35);
    match std::env::var_os("ZOO_JPEGS") {
        Some(folder) => println!("{} more are equal", check_jpegs(Path::new(&folder))),
        None => println!("skipped: ZOO_JPEGS names no folder of oracle/check_jpeg.py"),
    }
}

#[test]
fn jpegs_that_are_cut_off_anywhere_are_refused() {
    for name in ["rgb.jpg", "35x19_2x2_progressive.jpg", "35x19_2x2_restart_1B.jpg", "cmyk.jpg"] {
        let jpeg = std::fs::read(local("fixtures/jpeg").join(name)).unwrap();
        for length in 4..jpeg.len() {
            let error = decode(&jpeg[..length]).unwrap_err().to_string();
            let expected = "not a readable image: the file ends before the image does";
            assert_eq!(error, expected, "{name} cut to {length}");
        }
    }
}

#[test]
fn jpegs_of_other_kinds_are_named() {
    let jpeg = std::fs::read(local("fixtures/jpeg/21x19_2x2.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let with = |changes: &[(usize, u8)]| {
        let mut jpeg = jpeg.clone();
        changes.iter().for_each(|&(offset, value)| jpeg[frame + offset] = value);
        decode(&jpeg).unwrap_err().to_string()
    };
    for (changes, name) in [
        (&[(1, 0xc3)][..], "a lossless JPEG"),
        (&[(1, 0xc5)], "a hierarchical JPEG"),
        (&[(1, 0xc9)], "a JPEG with arithmetic coding"),
        (&[(1, 0xca)], "a JPEG with arithmetic coding"),
        (&[(1, 0xf7)], "a JPEG-LS image"),
        (&[(4, 12)], "a JPEG of 12 bits a sample"),
        (&[(9, 2)], "a JPEG of 2 components"),
        (&[(11, 0x32), (14, 0x21)], "a JPEG with fractional sampling"),
    ] {
        let expected = format!("{name} is not read\nhint: convert it to PNG first");
        assert_eq!(with(changes), expected);
    }
    for damage in [[(11, 0x02)], [(11, 0x52)], [(3, 14)], [(9, 4)], [(12, 3)]] {
        let error = with(&damage);
        assert!(error.starts_with("not a readable image"), "{damage:?}: {error}");
    }
    assert!(with(&[(5, 0), (6, 0)]).contains("too thin"));
}

/// A scan of a few bytes is repeated, each time for a whole image.
#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let jpeg = std::fs::read(local("fixtures/jpeg/scans_deep.jpg")).unwrap();
    let scan = jpeg.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let mut endless = jpeg[..scan].to_vec();
    let frame = endless.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    // The image has 8000 × 8000 pixels.
    endless[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0x40, 0x1f, 0x40]);
    for _ in 0..10_000 {
        endless.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 0, 0x10]);
    }
    endless.extend([0xff, 0xd9]);
    let error = decode(&endless).unwrap_err().to_string();
    assert!(error.contains("more scans than an image needs"), "{error}");
}

#[test]
fn unsupported_image_formats_are_named() {
    let boxes = |brand: &[u8], more: &[u8]| {
        [&[0, 0, 0, 16 + more.len() as u8], &b"ftyp"[..], brand, &[0; 4], more, &[0; 40]].concat()
    };
    let tiff = |entries: &[(u16, u32)]| {
        let mut tiff = [&b"II*\0\x08\0\0\0"[..], &(entries.len() as u16).to_le_bytes()].concat();
        for (tag, value) in entries {
            tiff.extend(
                [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat(),
            );
        }
        tiff
    };
    for (bytes, name) in [
        (boxes(b"heic", b"mif1heic"), "a HEIC image"),
        (boxes(b"mif1", b"mif1heic"), "a HEIC image"),
        (boxes(b"mif1", b"mif1avif"), "an AVIF image"),
        (boxes(b"avif", b""), "an AVIF image"),
        (boxes(b"qt  ", b""), "a film"),
        (boxes(b"isom", b"iso2mp41"), "a film"),
        (boxes(b"crx ", b"isom"), "a camera's raw image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n....".to_vec(), "a JPEG XL image"),
        (b"\xff\x0a........".to_vec(), "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n....".to_vec(), "a JPEG 2000 image"),
        (tiff(&[(0x00fe, 1), (0x014a, 99)]), "a camera's raw image"),
        (tiff(&[(0x0100, 8), (0xc612, 0x0401)]), "a camera's raw image"),
        (b"8BPS\0\x01........".to_vec(), "a Photoshop file"),
        (b"\0\0\x01\0\x01\0\x10\x10".to_vec(), "an icon"),
        (b"%PDF-1.7\n........".to_vec(), "a PDF document"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), "an SVG drawing"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a -->\n<svg/>".to_vec(), "an SVG drawing"),
        (b"P6 1 1 255 abc".to_vec(), "an image of the format PBM"),
        (b"qoif\0\0\0\x01\0\0\0\x01\x03\0".to_vec(), "an image of the format QOI"),
    ] {
        let error = decode(&bytes).unwrap_err().to_string();
        assert_eq!(error, format!("{name} is not read\nhint: convert it to JPEG or PNG first"));
    }
    for other in
        [&b"<!DOCTYPE html><html><svg/></html>"[..], b"hello <svg", b"PK\x03\x04....", b"\0"]
    {
        let error = decode(other).unwrap_err().to_string();
        assert!(error.starts_with("not an image\nhint: PNG, JPEG"), "{error}");
    }
}

/// An image whose left half is red and whose right half is blue, in any format.
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

/// `make.py` beside the images computes the expected values.
#[test]
fn transparency_is_drawn_on_a_color_as_pil_pastes() {
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
fn drawings_that_only_transparency_shows_are_recognized() {
    for (file, expected) in [
        ("black_drawing.png", true),
        ("white_drawing.png", true),
        ("dark_palette.png", true),
        ("dark.gif", true),
        ("cut_out.png", false),
        ("black_on_white.png", false),
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
