//! Images with masks, which hold the class of each pixel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{GrayImage, RgbImage};
use rand::seq::SliceRandom;

use super::{Dataset, Label, Sample, Source, Split, folder, is_leftover, listed};
use crate::Error;
use crate::images::decoded;
use crate::random::{Purpose, stream};

/// A file with a gray value for each pixel of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The file.
    pub path: PathBuf,
    /// The gray value of each class, in ascending order.
    pub values: Arc<[u8]>,
}

/// An image and the class of each pixel, both of the network's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// The image.
    pub image: RgbImage,
    /// The index of the class at each pixel.
    pub classes: GrayImage,
}

impl Label for Mask {
    type Decoded = Masked;

    fn bytes(decoded: &Masked) -> usize {
        decoded.image.as_raw().len() + decoded.classes.as_raw().len()
    }

    fn class(&self) -> Option<usize> {
        None
    }
}

/// An image with more gray values than this is not a mask.
const MOST_CLASSES: usize = 64;

impl Dataset<Mask> {
    /// Finds the images in `images` and the masks of the same names in `masks`, in the folder
    /// itself or in its splits `train` and `val`. The classes are the gray values in the masks.
    ///
    /// Without a split `val`, `val_fraction` of the images is drawn for validation. Images of the
    /// split `test` are left out.
    ///
    /// # Errors
    ///
    /// When a folder or a mask can't be read, or there is nothing to learn from.
    pub fn open_masks(root: &str, val_fraction: f64, seed: u64) -> Result<Self, Error> {
        let root = Path::new(root);
        let mut found = Found::in_folder(root, &[Split::Train, Split::Val])?;
        let (mut val, mut train): (Vec<_>, Vec<_>) =
            found.pairs.drain(..).partition(|pair| pair.split == Some(Split::Val));
        if train.is_empty() {
            return Err(nothing(root));
        }
        if val.is_empty() && train.len() > 1 && val_fraction > 0.0 {
            train.shuffle(&mut stream(seed, Purpose::Split, 0, 0));
            let count = (train.len() as f64 * val_fraction).round() as usize;
            val = train.split_off(train.len() - count.clamp(1, train.len() - 1));
        }
        if val.is_empty() {
            found.warnings.push("there are no images to validate with".to_owned());
        }
        let values = values(train.iter().chain(&val))?;
        if values.len() < 2 {
            return Err(Error::Data(format!(
                "all pixels of the masks in {} are of one class\nhint: each class is one gray value",
                root.display()
            )));
        }
        let values: Arc<[u8]> = values.into_iter().collect();
        Ok(Self {
            classes: values.iter().map(u8::to_string).collect(),
            train: samples(train, &values),
            val: samples(val, &values),
            warnings: found.warnings,
            ..Self::default()
        })
    }

    /// Finds images for the evaluation of a network with these classes: those of the split `val` if
    /// the folder has it, otherwise those of the split `test`, otherwise all.
    ///
    /// If all classes have numbers as names, these are their gray values. Otherwise the gray values
    /// are 0, 1, … or, if the masks have as many values as there are classes, these values in
    /// ascending order.
    ///
    /// # Errors
    ///
    /// When a folder or a mask can't be read, there are no images, or masks have more values than
    /// there are classes.
    pub fn open_masks_for(root: &str, classes: &[String]) -> Result<Self, Error> {
        let root = Path::new(root);
        let Found { mut pairs, warnings } =
            Found::in_folder(root, &[Split::Train, Split::Val, Split::Test])?;
        let has = |split: &Split| pairs.iter().any(|pair| pair.split == Some(*split));
        let wanted = [Split::Val, Split::Test].into_iter().find(has);
        pairs.retain(|pair| wanted.is_none() || pair.split == wanted);
        let named: Option<BTreeSet<u8>> = classes.iter().map(|name| name.parse().ok()).collect();
        let named = named.filter(|named| named.len() == classes.len());
        let numbered = || (0..=u8::MAX).take(classes.len()).collect();
        let known: BTreeSet<u8> = named.unwrap_or_else(numbered);
        let in_masks = values(&pairs)?;
        let values: Arc<[u8]> = if in_masks.is_subset(&known) {
            known.into_iter().collect()
        } else if in_masks.len() == classes.len() {
            in_masks.into_iter().collect()
        } else {
            let in_masks: Vec<_> = in_masks.iter().map(u8::to_string).collect();
            return Err(Error::Data(format!(
                "the masks in {} have the gray values {}\nhint: the network knows the classes {}",
                root.display(),
                listed(&in_masks),
                listed(classes)
            )));
        };
        let (classes, val) = (classes.to_vec(), samples(pairs, &values));
        Ok(Self { classes, val, warnings, split: wanted, ..Self::default() })
    }
}

/// The files of an image and of its mask, and their split.
struct Pair {
    image: PathBuf,
    mask: PathBuf,
    split: Option<Split>,
}

/// The images with masks in a folder.
#[derive(Default)]
struct Found {
    pairs: Vec<Pair>,
    warnings: Vec<String>,
}

impl Found {
    /// Finds the images of these splits, or of the folder itself if it has no split to train on.
    fn in_folder(root: &Path, wanted: &[Split]) -> Result<Self, Error> {
        if !root.is_dir() {
            return Err(Error::read(root, "there is no such folder"));
        }
        let mut found = Self::default();
        let mut is_divided = false;
        for folder in folder::folders(root)? {
            let Some(split) = Split::named(&folder::name(&folder)) else { continue };
            is_divided |= split == Split::Train;
            if wanted.contains(&split) {
                found.add(folder.path(), Some(split))?;
            } else {
                let path = folder.path().display();
                found.warnings.push(format!("{path} is left out of training and validation"));
            }
        }
        if !is_divided && (root.join("images").is_dir() || found.pairs.is_empty()) {
            found.add(root, None)?;
        }
        Ok(found)
    }

    fn add(&mut self, folder: &Path, split: Option<Split>) -> Result<(), Error> {
        let (images, mut masks) = (files(&folder.join("images"))?, files(&folder.join("masks"))?);
        let before = self.pairs.len();
        for (stem, image) in images {
            match masks.remove(&stem) {
                Some(mask) => self.pairs.push(Pair { image, mask, split }),
                None => self.warnings.push(format!("{} has no mask", image.display())),
            }
        }
        let alone = masks.values().map(|mask| format!("{} has no image", mask.display()));
        self.warnings.extend(alone);
        if self.pairs.len() == before { Err(nothing(folder)) } else { Ok(()) }
    }
}

fn nothing(folder: &Path) -> Error {
    Error::Data(format!(
        "there is no image with a mask in {}\nhint: images/NAME.jpg goes with masks/NAME.png",
        folder.display()
    ))
}

/// Returns the image files in a folder, by their names without extensions.
fn files(folder: &Path) -> Result<BTreeMap<std::ffi::OsString, PathBuf>, Error> {
    let failed = |error: std::io::Error| Error::read(folder, error);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file()
            && image::ImageFormat::from_path(&path).is_ok()
            && !path.file_name().is_some_and(is_leftover)
            && let Some(stem) = path.file_stem()
        {
            files.insert(stem.to_owned(), path);
        }
    }
    Ok(files)
}

fn samples(pairs: Vec<Pair>, values: &Arc<[u8]>) -> Vec<Sample<Mask>> {
    let sample = |pair: Pair| Sample {
        source: Source::File(pair.image),
        label: Mask { path: pair.mask, values: Arc::clone(values) },
    };
    pairs.into_iter().map(sample).collect()
}

/// Returns the gray values in masks.
fn values<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> Result<BTreeSet<u8>, Error> {
    let mut values = BTreeSet::new();
    for pair in pairs {
        values.extend(read(&pair.mask)?.into_raw());
        if values.len() > MOST_CLASSES {
            return Err(Error::Data(format!(
                "{} has too many different values to be a mask\nhint: each class is one gray value; \
                 save masks as PNG, since JPEG changes values",
                pair.mask.display()
            )));
        }
    }
    Ok(values)
}

/// Decodes a mask.
pub(crate) fn read(path: &Path) -> Result<GrayImage, Error> {
    let image = decoded(|| image::open(path)).map_err(|reason| Error::read(path, reason))?;
    Ok(image.into_luma8())
}

#[cfg(test)]
mod tests {
    use image::Luma;
    use tempfile::TempDir;

    use super::*;

    /// Creates a folder of images whose masks have these values in their pixels.
    fn folder(masks: &[(&str, [u8; 2])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, [left, right]) in masks {
            let (split, name) = name.rsplit_once('/').unwrap_or(("", name));
            for kind in ["images", "masks"] {
                std::fs::create_dir_all(folder.path().join(split).join(kind)).unwrap();
            }
            let file =
                |kind: &str| folder.path().join(split).join(kind).join(format!("{name}.png"));
            RgbImage::new(2, 1).save(file("images")).unwrap();
            let value = |x, _| Luma([if x == 0 { *left } else { *right }]);
            GrayImage::from_fn(2, 1, value).save(file("masks")).unwrap();
        }
        folder
    }

    #[test]
    fn splits_are_trained_on_validated_on_and_left_out() {
        let folder = folder(&[("train/1", [0, 9]), ("valid/2", [0, 9]), ("test/3", [0, 9])]);
        let root = folder.path().to_str().unwrap();
        let dataset = Dataset::open_masks(root, 0.5, 0).unwrap();
        assert_eq!((dataset.train.len(), dataset.val.len()), (1, 1));
        assert_eq!(dataset.classes, ["0", "9"]);
        assert!(dataset.warnings[0].contains("test is left out of training"));
        std::fs::remove_dir_all(folder.path().join("valid")).unwrap();
        let evaluated = Dataset::open_masks_for(root, &dataset.classes).unwrap();
        assert!(evaluated.val[0].source.name().contains("test"), "{:?}", evaluated.val);
    }

    #[test]
    fn classes_of_a_network_are_found_in_masks() {
        let of = |masks: &[(&str, [u8; 2])], classes: &[&str]| {
            let folder = folder(masks);
            let classes: Vec<String> = classes.iter().map(|&class| class.to_owned()).collect();
            let dataset = Dataset::open_masks_for(folder.path().to_str().unwrap(), &classes);
            dataset.map(|dataset| dataset.val[0].label.values.to_vec())
        };
        assert_eq!(of(&[("1", [0, 255])], &["0", "255"]).unwrap(), [0, 255]);
        assert_eq!(of(&[("1", [0, 0])], &["0", "255"]).unwrap(), [0, 255]);
        assert_eq!(of(&[("1", [0, 1])], &["ground", "cell"]).unwrap(), [0, 1]);
        assert_eq!(of(&[("1", [0, 255])], &["ground", "cell"]).unwrap(), [0, 255]);
        let text = of(&[("1", [0, 7]), ("2", [3, 4])], &["0", "1"]).unwrap_err().to_string();
        assert!(text.contains("values 0, 3, 4, 7") && text.contains("classes 0, 1"), "{text}");
    }
}
