//! Comparison of image files by their bytes.

use std::collections::HashMap;

use zoo_core::Background;
use zoo_core::decode::is_drawn_in_transparency;
use zoo_record::{Fingerprint, TrainingImages};

use super::{Dataset, Label, Sample, Source, Split, images};
use crate::images::{decoded, prefetch};
use crate::{Event, Observer};

impl<L: Label> Dataset<L> {
    /// Reads all files once and fills [`training_images`](Self::training_images). Adds warnings
    /// about validation images that are also trained on, or that the initial weights were trained
    /// on (`before`); about copies in two classes; and about drawings that are invisible without a
    /// `background`.
    pub fn compare(
        &mut self,
        before: &TrainingImages,
        background: Background,
        workers: usize,
        observer: &mut dyn Observer,
    ) {
        let samples: Vec<&Sample<L>> = self.train.iter().chain(&self.val).collect();
        let is_lost = |bytes: &[u8]| {
            background == Background::None
                && decoded(|| is_drawn_in_transparency(bytes)).unwrap_or_default()
        };
        let contents = contents(&samples, is_lost, workers, observer);
        let fingerprints: Vec<_> =
            contents.iter().map(|read| Some(read.as_ref()?.fingerprint)).collect();
        let (of_train, of_val) = fingerprints.split_at(self.train.len());
        self.training_images =
            of_train.iter().copied().flatten().collect::<TrainingImages>().and(before);

        let mut first = HashMap::new();
        let (mut leaked, mut disputed) = (Vec::new(), Vec::new());
        for (index, &fingerprint) in fingerprints.iter().enumerate() {
            let Some(fingerprint) = fingerprint else { continue };
            let &mut before = first.entry(fingerprint).or_insert(index);
            if before < self.train.len() && index >= self.train.len() {
                leaked.push((index, before));
            }
            if samples[before].label.class() != samples[index].label.class() {
                disputed.push((index, before));
            }
        }
        let lost: Vec<usize> = (0..contents.len())
            .filter(|&index| contents[index].as_ref().is_some_and(|read| read.is_lost))
            .collect();
        let known = of_val.iter().flatten().filter(|image| before.contains(**image)).count();
        let name = |index: usize| samples[index].source.name();
        let class = |index: usize| {
            samples[index].label.class().map_or("", |class| self.classes[class].as_str())
        };
        if let Some(&(copy, original)) = leaked.first() {
            self.warnings.push(format!(
                "{} of the {} to validate with {} to train on, too: {} is {}, byte for byte; the \
                 results will look better than they are: remove the copies",
                leaked.len(),
                images(self.val.len()),
                if leaked.len() == 1 { "is" } else { "are" },
                name(copy),
                name(original),
            ));
        }
        if let Some(&(copy, original)) = disputed.first() {
            self.warnings.push(format!(
                "{} the same, byte for byte, as one of another class: {} is of {}, {} of {}; remove \
                 what is wrong",
                match disputed.len() {
                    1 => "1 image is".to_owned(),
                    count => format!("{count} images are"),
                },
                name(copy),
                class(copy),
                name(original),
                class(original),
            ));
        }
        if known > 0 {
            self.warnings.push(format!(
                "{known} of the {} to validate with {} trained on by the weights to start from; the \
                 results will look better than they are",
                images(self.val.len()),
                if known == 1 { "was" } else { "were" },
            ));
        }
        if let Some(&first) = lost.first() {
            self.warnings.push(format!(
                "{} of {} {} drawn in transparency, which is dropped, so that little or nothing is \
                 seen: {}; data.background=white lays white under them",
                lost.len(),
                images(samples.len()),
                if lost.len() == 1 { "is" } else { "are" },
                name(first),
            ));
        }
    }

    /// Removes the images that a network was trained on from the images to evaluate on, unless the
    /// data names a split for evaluation. Adds a warning with their number.
    pub fn leave_out(
        &mut self,
        training_images: &TrainingImages,
        workers: usize,
        observer: &mut dyn Observer,
    ) {
        if training_images.is_empty() {
            return;
        }
        let samples: Vec<&Sample<L>> = self.val.iter().collect();
        let known: Vec<bool> = contents(&samples, |_| false, workers, observer)
            .into_iter()
            .map(|read| read.is_some_and(|read| training_images.contains(read.fingerprint)))
            .collect();
        let (count, all) = (known.iter().filter(|known| **known).count(), known.len());
        let warning = match (count, self.split) {
            (0, _) => return,
            _ if count == all => format!(
                "the model was trained on all {}: what it says about these says little about others",
                images(all)
            ),
            (_, Some(split)) => format!(
                "the model was trained on {count} of the {} of the part `{}`; they count",
                images(all),
                if split == Split::Test { "test" } else { "val" },
            ),
            (_, None) => {
                let mut known = known.iter();
                self.val.retain(|_| known.next() == Some(&false));
                let are = if count == 1 { "is" } else { "are" };
                format!("{count} of {} {are} left out: the model was trained on them", images(all))
            }
        };
        self.warnings.push(warning);
    }
}

/// The fingerprint of an image's bytes, and a check of its transparency.
struct Contents {
    fingerprint: Fingerprint,
    /// Whether little of the image is visible without its transparency.
    is_lost: bool,
}

/// Reads each image. `None` if it can't be read; decoding it reports the error later.
fn contents<L: Label>(
    samples: &[&Sample<L>],
    is_lost: impl Fn(&[u8]) -> bool + Sync,
    workers: usize,
    observer: &mut dyn Observer,
) -> Vec<Option<Contents>> {
    observer.on(&Event::Pass { name: "comparing images", images: samples.len() });
    let load = |index: usize| match &samples[index].source {
        Source::File(path) => {
            let bytes = std::fs::read(path).ok()?;
            Some(Contents { fingerprint: Fingerprint::of(&bytes), is_lost: is_lost(&bytes) })
        }
        Source::Packed { images, index } => {
            let fingerprint = Fingerprint::of(images.of(*index));
            Some(Contents { fingerprint, is_lost: false })
        }
    };
    let contents = prefetch(0..samples.len(), workers, load, |loaded| {
        loaded.inspect(|_| observer.on(&Event::Progress(1))).collect()
    });
    observer.on(&Event::PassDone);
    contents
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::Silent;

    /// Writes files with these names and contents.
    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (file, content) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    fn open(folder: &Path) -> Dataset {
        let mut dataset = Dataset::open(folder.to_str().unwrap(), 0.5, 0).unwrap();
        dataset.compare(&TrainingImages::default(), Background::None, 2, &mut Silent);
        dataset
    }

    #[test]
    fn copies_in_both_splits_and_under_two_classes_are_reported() {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        write(root, &[("train/a/1.png", "1"), ("train/a/2.png", "2"), ("train/b/3.png", "3")]);
        write(root, &[("val/a/4.png", "4"), ("val/b/5.png", "5")]);
        let dataset = open(root);
        assert_eq!(dataset.warnings, Vec::<String>::new());
        assert!(dataset.training_images.contains(Fingerprint::of(b"2")));
        assert!(!dataset.training_images.contains(Fingerprint::of(b"4")), "it is validated with");

        write(root, &[("val/b/copy.png", "3")]);
        let warnings = open(root).warnings.join("\n");
        assert!(
            warnings.contains("1 of the 3 images to validate with is to train on"),
            "{warnings}"
        );
        assert!(warnings.contains("val/b/copy.png is") && warnings.contains("train/b/3.png, byte"));
        write(root, &[("val/b/other.png", "1"), ("train/b/other.png", "2")]);
        let warnings = open(root).warnings.join("\n");
        assert!(warnings.contains("2 of the 4 images to validate with are"), "{warnings}");
        assert!(warnings.contains("2 images are the same, byte for byte, as one of another class"));
        assert!(warnings.contains("train/b/other.png is of b"), "{warnings}");
    }

    #[test]
    fn training_images_are_left_out_if_no_split_is_named() {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        let files: Vec<_> = (0..8).map(|n| (format!("{}/{n}.png", ["a", "b"][n % 2]), n)).collect();
        for (file, content) in &files {
            write(root, &[(file.as_str(), content.to_string().as_str())]);
        }
        let dataset = open(root);
        let evaluated = |path: &Path| {
            let mut evaluated =
                Dataset::open_for(path.to_str().unwrap(), &dataset.classes).unwrap();
            evaluated.leave_out(&dataset.training_images, 2, &mut Silent);
            (evaluated.val, evaluated.warnings.join("\n"))
        };
        let (val, text) = evaluated(root);
        let names = |samples: &[Sample]| {
            let mut names: Vec<_> = samples.iter().map(|sample| sample.source.name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&val), names(&dataset.val));
        assert!(text.contains("4 of 8 images are left out"), "{text}");

        // A split that the list names is kept. If all images were trained on, all are evaluated.
        dataset.write_list(&root.join("splits.csv")).unwrap();
        let (val, text) = evaluated(&root.join("splits.csv"));
        assert_eq!((val.len(), text.as_str()), (4, ""));
        let list = std::fs::read_to_string(root.join("splits.csv")).unwrap();
        std::fs::write(root.join("swapped.csv"), list.replacen(",train", ",val", 1)).unwrap();
        let (val, text) = evaluated(&root.join("swapped.csv"));
        assert_eq!(val.len(), 5);
        assert!(text.contains("trained on 1 of the 5 images of the part `val`"), "{text}");
        std::fs::write(
            root.join("all.csv"),
            list.replace(",val", ",test").replace(",train", ",val"),
        )
        .unwrap();
        let (val, text) = evaluated(&root.join("all.csv"));
        assert_eq!(val.len(), 4);
        assert!(text.contains("was trained on all 4 images"), "{text}");
    }

    #[test]
    fn validation_images_that_the_weights_were_trained_on_are_reported() {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        write(root, &[("train/a/1.png", "1"), ("train/b/2.png", "2")]);
        write(root, &[("val/a/3.png", "3"), ("val/b/4.png", "4")]);
        let mut dataset = Dataset::open(root.to_str().unwrap(), 0.5, 0).unwrap();
        let before = [Fingerprint::of(b"3"), Fingerprint::of(b"9")].into_iter().collect();
        dataset.compare(&before, Background::None, 2, &mut Silent);
        let warnings = dataset.warnings.join("\n");
        assert!(warnings.contains("1 of the 2 images to validate with was trained on by"));
        assert!(
            ["1", "2", "3", "9"].iter().all(|image| {
                dataset.training_images.contains(Fingerprint::of(image.as_bytes()))
            })
        );
    }
}
