//! Datasets: the labeled images of a folder, a list or a packed file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use rand::seq::SliceRandom;
use zoo_record::{TrainingImages, write_atomically};

use crate::Error;
use crate::observer::images;
use crate::random::{Purpose, stream};

mod contents;
mod folder;
mod idx;
mod labels;
mod leftovers;
mod list;
mod masks;

pub use leftovers::is_leftover;
pub(crate) use masks::read as read_mask;
pub use masks::{Mask, Masked};

/// The name of the list of images and their splits in a run's folder.
pub const IMAGES: &str = "images.csv";

/// Labeled images, some to train on and some to validate on.
///
/// The label of an image is the index of its class, or a [`Mask`] with the class of each pixel.
#[derive(Debug, Clone)]
pub struct Dataset<L = usize> {
    /// The names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// The images to train on.
    pub train: Vec<Sample<L>>,
    /// The images to validate on.
    pub val: Vec<Sample<L>>,
    /// Problems with the data, as sentences for the user.
    pub warnings: Vec<String>,
    /// The hashes of the images to train on, for the record. [`compare`](Self::compare) fills them.
    pub training_images: TrainingImages,
    /// The split that is evaluated, if the source has splits.
    split: Option<Split>,
}

impl<L> Default for Dataset<L> {
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            train: Vec::new(),
            val: Vec::new(),
            warnings: Vec::new(),
            training_images: TrainingImages::default(),
            split: None,
        }
    }
}

/// An image and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<L = usize> {
    /// The location of its pixels.
    pub source: Source,
    /// Its label.
    pub label: L,
}

/// The label of an image.
pub trait Label: Clone + Debug + Send + Sync {
    /// The form in which an image and its label are kept in memory.
    type Decoded: Debug + Send + Sync;

    /// Returns the size of the decoded form in bytes.
    fn bytes(decoded: &Self::Decoded) -> usize;

    /// Returns the class of the image. `None` if its pixels have classes.
    fn class(&self) -> Option<usize>;
}

/// The index of a class.
impl Label for usize {
    type Decoded = RgbImage;

    fn bytes(decoded: &RgbImage) -> usize {
        decoded.as_raw().len()
    }

    fn class(&self) -> Option<usize> {
        Some(*self)
    }
}

/// The location of an image's pixels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// An image in a file of many images; the file is in memory.
    Packed {
        /// The file.
        images: Arc<Packed>,
        /// Index of the image in the file.
        index: usize,
    },
}

/// Many gray images of one size.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Packed {
    /// The name of the file.
    pub name: String,
    /// Width and height.
    pub size: [u32; 2],
    /// A byte for each pixel.
    pub pixels: Vec<u8>,
}

impl Packed {
    /// Returns the pixels of an image.
    pub(crate) fn of(&self, index: usize) -> &[u8] {
        let [width, height] = self.size;
        let length = (width * height) as usize;
        &self.pixels[index * length..][..length]
    }
}

impl Source {
    /// The name of the image in reports.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.to_string_lossy().into_owned(),
            Self::Packed { images, index } => format!("{} #{index}", images.name),
        }
    }
}

/// An image as its source lists it, with the name of its class.
struct Listed {
    source: Source,
    label: String,
    /// Its split, if the source has splits.
    split: Option<Split>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Train,
    Val,
    /// Images for the final evaluation. Nothing is trained or chosen with them.
    Test,
}

impl Split {
    /// Returns the split with this name, in upper or lower case.
    fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Val),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

/// The content of a source of data.
#[derive(Default)]
struct Listing {
    images: Vec<Listed>,
    /// The classes in the order of the source, if it has one. Otherwise they are sorted by name.
    classes: Option<Vec<String>>,
    warnings: Vec<String>,
    /// A description of the data, if they do not look like images with classes.
    doubt: Option<String>,
}

impl Dataset {
    /// Finds the images of a folder of folders, a list (`.csv`, `.tsv`, `.txt`, `.jsonl`), or of
    /// `fashion-mnist:FOLDER` and `mnist:FOLDER`.
    ///
    /// A folder may have the splits `train` and `val`, a list a column `split`. Otherwise
    /// `val_fraction` of each class is drawn for validation. Images of the split `test` are left
    /// out, and so are files for which [`is_leftover`] is true. A table's columns are separated by
    /// commas, semicolons or tabs. Their names may also be `file`, `filename` or `image`, `class`
    /// or `category`, `set` or `subset`.
    ///
    /// # Errors
    ///
    /// When the source can't be read, holds nothing to learn from, or looks like other data than
    /// images with classes: masks, boxes, measurements.
    pub fn open(path: &str, val_fraction: f64, seed: u64) -> Result<Self, Error> {
        let mut listing = Self::list(path)?;
        if let Some(doubt) = listing.doubt.take() {
            return Err(Error::Data(doubt));
        }
        let mut dataset = listing.split(val_fraction, seed)?;
        let (classes, train) = (dataset.classes.len(), dataset.train.len());
        if train == 0 {
            return Err(Error::Data(format!(
                "there are no images to train on in {path}\nhint: each class is a folder of images"
            )));
        }
        if classes < 2 {
            let class = dataset.classes.first().map_or("", String::as_str);
            let warnings: String =
                dataset.warnings.iter().map(|warning| format!("\n{warning}")).collect();
            let inner = Path::new(path).join(class);
            let hint = match folder::has_folders(&inner) {
                true => format!("the classes may be the folders in {}", inner.display()),
                false => "a classifier needs two classes; each class is a folder of its own".into(),
            };
            return Err(Error::Data(format!(
                "all images in {path} are of one class, {class}{warnings}\nhint: {hint}"
            )));
        }
        if let Some(doubt) = labels::doubt(&dataset, path, val_fraction) {
            return Err(Error::Data(doubt));
        }
        let counts = dataset.counts(&dataset.train);
        if let Some(class) = counts.iter().position(|&count| count == 0) {
            return Err(Error::Data(format!(
                "there is no image of class {} to train on\nhint: add some or remove the class \
                 from the validation images",
                dataset.classes[class]
            )));
        }
        if let (Some(fewest), Some(most)) = (counts.iter().min(), counts.iter().max())
            && *most > 2 * fewest
        {
            let name = |count| {
                let class = counts.iter().position(|&other| other == count);
                &dataset.classes[class.expect("it is one of them")]
            };
            dataset.warnings.push(format!(
                "the classes are uneven: {} of {}, {most} of {}; data.balance=weights or samples \
                 makes up for it",
                images(*fewest),
                name(*fewest),
                name(*most)
            ));
        }
        if dataset.val.is_empty() {
            dataset.warnings.push("there are no images to validate with".to_owned());
        }
        Ok(dataset)
    }

    /// Finds images as [`open`](Self::open) does, and sets test images apart: those of the split `test`, or a fifth of each class.
    /// Another fifth of each class is for validation, unless the source has a split `val`.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and when a class has fewer than three images.
    pub fn open_with_test(path: &str, seed: u64) -> Result<(Self, Vec<Sample>), Error> {
        let mut dataset = Self::open(path, 0.2, seed)?;
        let class_of = |name: &str| dataset.classes.iter().position(|class| class == name);
        let listing = Self::list(path)?;
        let mut test = Vec::new();
        for image in listing.images.into_iter().filter(|image| image.split == Some(Split::Test)) {
            if let Some(label) = class_of(&image.label) {
                test.push(Sample { source: image.source, label });
            }
        }
        if test.is_empty() {
            let mut left = Vec::new();
            for class in 0..dataset.classes.len() {
                let of_class = |sample: &&Sample| sample.label == class;
                let mut samples: Vec<_> = dataset.train.iter().filter(of_class).cloned().collect();
                samples.shuffle(&mut stream(seed, Purpose::Test, class, 0));
                // A quarter of the four fifths.
                let count = (samples.len() as f64 / 4.0).round().max(1.0) as usize;
                let has_val = dataset.val.iter().any(|sample| sample.label == class);
                if samples.len() < 2 || !has_val {
                    return Err(Error::Data(format!(
                        "the class {} has too few images for training, validation and test\nhint: each class needs three images",
                        dataset.classes[class]
                    )));
                }
                left.extend(samples.split_off(count));
                test.extend(samples);
            }
            dataset.train = left;
        }
        dataset.warnings.retain(|warning| !warning.contains("left out of training and validation"));
        Ok((dataset, test))
    }

    /// Finds images for the evaluation of a network with these classes: those of the split `val` if
    /// the source has it, otherwise those of the split `test`, otherwise all.
    ///
    /// # Errors
    ///
    /// When the source can't be read, has no images, or has a class that is unknown.
    pub fn open_for(path: &str, classes: &[String]) -> Result<Self, Error> {
        let listing = Self::list(path)?;
        let has = |split: &Split| listing.images.iter().any(|image| image.split == Some(*split));
        let wanted = [Split::Val, Split::Test].into_iter().find(has);
        let known: HashMap<&str, usize> =
            classes.iter().enumerate().map(|(class, name)| (name.as_str(), class)).collect();
        let mut val = Vec::new();
        for image in listing.images {
            if wanted.is_some() && image.split != wanted {
                continue;
            }
            let class = *known.get(image.label.as_str()).ok_or_else(|| {
                Error::Data(format!(
                    "the network knows no class `{}`\nhint: it knows {}",
                    image.label,
                    listed(classes)
                ))
            })?;
            val.push(Sample { source: image.source, label: class });
        }
        if val.is_empty() {
            return Err(Error::Data(format!("there are no images in {path}")));
        }
        let classes = classes.to_vec();
        Ok(Self { classes, val, warnings: listing.warnings, split: wanted, ..Self::default() })
    }

    /// Writes the images and their splits as a list that can be opened again.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn write_list(&self, path: &Path) -> Result<(), Error> {
        let splits = [("train", &self.train), ("val", &self.val)];
        write_atomically(path, |file| {
            let mut table = csv::Writer::from_writer(file);
            table.write_record(["path", "label", "split"])?;
            for (split, samples) in splits {
                for sample in samples {
                    let label = &self.classes[sample.label];
                    table.write_record([&sample.source.name(), label, split])?;
                }
            }
            table.flush()
        })?;
        Ok(())
    }

    /// Number of images of each class.
    pub fn counts(&self, samples: &[Sample]) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        samples.iter().for_each(|sample| counts[sample.label] += 1);
        counts
    }

    fn list(path: &str) -> Result<Listing, Error> {
        if let Some((scheme, folder)) = path.split_once(':')
            && let Some(classes) = idx::classes(scheme)
        {
            return idx::list(Path::new(folder), classes);
        }
        let path = Path::new(path);
        if path.is_dir() {
            return folder::list(path);
        }
        if !path.exists() {
            let reason = "there is no such file or folder";
            return Err(Error::read(path, reason));
        }
        list::list(path)
    }
}

impl Listing {
    fn split(self, val_fraction: f64, seed: u64) -> Result<Dataset, Error> {
        let Self { images, classes, mut warnings, .. } = self;
        let images = without_duplicates(images, &mut warnings)?;
        let (test, images): (Vec<_>, Vec<_>) =
            images.into_iter().partition(|image| image.split == Some(Split::Test));
        if !test.is_empty() {
            let (count, are) =
                (self::images(test.len()), if test.len() == 1 { "is" } else { "are" });
            warnings.push(format!(
                "{count} of the part `test` {are} left out of training and validation"
            ));
        }
        let classes = classes.unwrap_or_else(|| {
            let names: BTreeSet<_> = images.iter().map(|image| image.label.clone()).collect();
            names.into_iter().collect()
        });
        let class_of: HashMap<&str, usize> =
            classes.iter().enumerate().map(|(class, name)| (name.as_str(), class)).collect();
        let is_split = images.iter().any(|image| image.split == Some(Split::Val));
        let (mut train, mut val) = (Vec::new(), Vec::new());
        let mut undecided: BTreeMap<usize, Vec<Sample>> = BTreeMap::new();
        for image in images {
            let class = class_of[image.label.as_str()];
            let sample = Sample { source: image.source, label: class };
            match image.split {
                Some(Split::Val) => val.push(sample),
                Some(Split::Train) => train.push(sample),
                _ if is_split => train.push(sample),
                _ => undecided.entry(class).or_default().push(sample),
            }
        }
        // If the source names training images but no validation images, the latter are drawn from
        // the former.
        if !is_split {
            for sample in train.drain(..) {
                undecided.entry(sample.label).or_default().push(sample);
            }
        }
        for (class, mut samples) in undecided {
            samples.shuffle(&mut stream(seed, Purpose::Split, class, 0));
            // With `val_fraction` above 0, a class of two images or more has one in each split.
            let wanted = (samples.len() as f64 * val_fraction).round() as usize;
            let least = usize::from(val_fraction > 0.0);
            let count = wanted.max(least).min(samples.len() - 1);
            train.extend(samples.split_off(count));
            val.extend(samples);
        }
        Ok(Dataset { classes, train, val, warnings, ..Dataset::default() })
    }
}

/// Joins names with commas. Of many names, only the first three and the last are shown.
fn listed(names: &[String]) -> String {
    match names {
        [first, second, third, .., last] if names.len() > 10 => {
            format!("{first}, {second}, {third}, … {last} ({} classes)", names.len())
        }
        names => names.join(", "),
    }
}

/// Removes all but the first listing of each file.
///
/// # Errors
///
/// When many files are listed with several labels.
fn without_duplicates(
    images: Vec<Listed>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Listed>, Error> {
    let total = images.len();
    let mut first: HashMap<PathBuf, String> = HashMap::new();
    let mut disputed: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut kept = Vec::with_capacity(total);
    for image in images {
        if let Source::File(path) = &image.source {
            if let Some(label) = first.get(path) {
                if *label != image.label {
                    disputed.entry(path.clone()).or_insert(image.label);
                }
                continue;
            }
            first.insert(path.clone(), image.label.clone());
        }
        kept.push(image);
    }
    if let Some((path, second)) = disputed.first_key_value() {
        let (count, path, label) = (disputed.len(), path.display(), &first[path]);
        if count > 1 && 2 * count > kept.len() {
            return Err(Error::Data(format!(
                "most images are listed with several labels: {path} as {label} and as {second}\nhint: a \
                 classifier learns one class for each image; list each once"
            )));
        }
        let others =
            if count == 1 { String::new() } else { format!(", as {} more are", count - 1) };
        warnings
            .push(format!("{path} is listed as {label} and as {second}{others}; the first counts"));
    }
    match total - kept.len() {
        0 => {}
        1 => warnings.push("1 image is listed more than once".to_owned()),
        count => warnings.push(format!("{count} images are listed more than once")),
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn test_images_are_for_evaluation_only() {
        let folder = TempDir::new().unwrap();
        for (split, class) in [("train", "a"), ("train", "b"), ("TEST", "a"), ("TEST", "c")] {
            let class = folder.path().join(split).join(class);
            std::fs::create_dir_all(&class).unwrap();
            (0..4).for_each(|number| {
                std::fs::write(class.join(format!("{number}.png")), "").unwrap()
            });
        }
        let path = folder.path().to_str().unwrap();
        let dataset = Dataset::open(path, 0.25, 0).unwrap();
        assert_eq!((dataset.train.len(), dataset.val.len()), (6, 2));
        assert_eq!(dataset.classes, ["a", "b"]);
        assert!(dataset.warnings[0].contains("8 images of the part `test` are left out"));
        let classes = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(Dataset::open_for(path, &classes).unwrap().val.len(), 8);
    }
}
