//! Datasets with a folder for each class.

use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::{Listed, Listing, Source, Split, is_leftover};
use crate::Error;

pub(super) fn list(root: &Path) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    let folders = folders(root)?;
    let split = |entry: &DirEntry| Split::named(&name(entry));
    let splits: Vec<_> = folders.iter().filter_map(|entry| Some((entry, split(entry)?))).collect();
    let has = |wanted: Split| splits.iter().any(|(_, split)| *split == wanted);
    // A class may be called `train`, but not beside another split.
    let is_divided = has(Split::Val) || has(Split::Test) || splits.len() == folders.len();
    if has(Split::Train) && is_divided {
        for other in folders.iter().filter(|entry| split(entry).is_none()) {
            let path = other.path().display();
            listing.warnings.push(format!("{path} is left out: the others are parts, it is none"));
        }
        for (folder, split) in splits {
            classes(folder.path(), Some(split), &mut listing)?;
        }
    } else {
        classes(root, None, &mut listing)?;
    }
    if listing.images.is_empty() {
        return Err(Error::Data(format!(
            "there are no folders with images in {}\nhint: each class is a folder of its own with \
             PNG, JPEG, WebP, GIF, BMP or TIFF files",
            root.display()
        )));
    }
    Ok(listing)
}

/// Whether a folder contains several folders, which may be the classes.
pub(super) fn has_folders(folder: &Path) -> bool {
    folders(folder).is_ok_and(|folders| folders.len() > 1)
}

fn classes(root: &Path, split: Option<Split>, listing: &mut Listing) -> Result<(), Error> {
    let classes = folders(root)?;
    let names: Vec<String> = classes.iter().map(name).collect();
    for class in &classes {
        let label = name(class);
        let before = listing.images.len();
        let files = WalkDir::new(class.path()).follow_links(true).sort_by_file_name();
        let is_meant = |entry: &DirEntry| entry.depth() == 0 || !is_leftover(entry.file_name());
        for entry in files.into_iter().filter_entry(is_meant) {
            let entry = entry.map_err(|error| unreadable(class.path(), error))?;
            let is_image = image::ImageFormat::from_path(entry.path()).is_ok();
            if is_image && entry.file_type().is_file() {
                let source = Source::File(entry.into_path());
                listing.images.push(Listed { source, label: label.clone(), split });
            }
        }
        let is_empty = listing.images.len() == before;
        if let Some(doubt) = doubt(root, &names, &label, is_empty) {
            listing.doubt.get_or_insert(doubt);
        }
        if is_empty {
            let path = class.path().display();
            listing.warnings.push(format!("ignored: no images in {path}"));
        }
    }
    Ok(())
}

/// Names of the folder of images in datasets with masks or boxes.
const IMAGES: [&str; 5] = ["images", "image", "imgs", "img", "jpegimages"];

/// Names of the folder of masks or boxes.
const TARGETS: [&str; 14] = [
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "annotation",
    "segmentations",
    "segmentation",
    "segmentationclass",
    "segmentationobject",
    "imagesets",
    "ground_truth",
    "groundtruth",
    "gt",
];

/// Describes a dataset whose folders are not classes, but hold images and their masks or boxes.
fn doubt(root: &Path, names: &[String], target: &str, is_empty: bool) -> Option<String> {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let of = |known: &[&str], name: &str| known.contains(&name);
    let images = lower.iter().position(|name| of(&IMAGES, name))?;
    let all_known = lower.iter().all(|name| of(&IMAGES, name) || of(&TARGETS, name));
    let is_usual =
        lower[images] == "images" && ["masks", "labels"].contains(&&*target.to_lowercase());
    if !of(&TARGETS, &target.to_lowercase()) || !(all_known || is_usual) {
        return None;
    }
    let (looks, hint) = if is_empty {
        (
            "object detection, which is not learned here",
            "a classifier learns from a folder of images for each class",
        )
    } else {
        (
            "segmentation",
            "data.task=segment learns from folders `images` and `masks` with files of the same names; \
             if these are classes, give their folders other names",
        )
    };
    let path = root.display();
    let images = &names[images];
    Some(format!(
        "the folders {images} and {target} in {path} look like a data set for {looks}, not like \
         classes\nhint: {hint}"
    ))
}

pub(super) fn folders(root: &Path) -> Result<Vec<DirEntry>, Error> {
    let entries = WalkDir::new(root).min_depth(1).max_depth(1).follow_links(true);
    let mut folders = Vec::new();
    for entry in entries.sort_by_file_name() {
        let entry = entry.map_err(|error| unreadable(root, error))?;
        if entry.file_type().is_dir() && !is_leftover(entry.file_name()) {
            folders.push(entry);
        }
    }
    Ok(folders)
}

pub(super) fn name(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().trim().to_owned()
}

fn unreadable(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_owned();
    match error.io_error() {
        Some(reason) => Error::read(path, reason),
        None => Error::read(path, &error),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Creates a folder with these files.
    fn folder(files: &[&str]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn leftovers_are_not_images() {
        let folder = folder(&[
            "a/1.png",
            "a/._1.png",
            "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
            "a/inner/2.png",
            "a/inner/.ipynb_checkpoints/2-checkpoint.png",
            "a/Thumbs.db",
            "b/1.jpg",
            "b/.thumbnails/1.jpg",
            "__MACOSX/a/._1.png",
            "__MACOSX/a/1.png",
            "@eaDir/a/1.png",
            "$RECYCLE.BIN/1.png",
            "#recycle/1.png",
            "lost+found/1.png",
            ".git/1.png",
        ]);
        let Listing { images, warnings, .. } = list(folder.path()).unwrap();
        let labels: Vec<_> = images.iter().map(|image| image.label.as_str()).collect();
        assert_eq!((labels, warnings.len()), (vec!["a", "a", "b"], 0));
    }

    #[test]
    fn images_with_masks_or_boxes_are_not_classes() {
        for (files, expected) in [
            (&["images/1.jpg", "masks/1.png"][..], "a data set for segmentation"),
            (&["Images/1.jpg", "labels/1.png"], "data.task=segment learns from"),
            (&["train/images/1.jpg", "train/masks/1.png", "val/images/2.jpg"], "segmentation"),
            (&["images/train/1.jpg", "masks/train/1.png", "other/1.png"], "segmentation"),
            (&["JPEGImages/1.jpg", "SegmentationClass/1.png", "Annotations/1.xml"], "in "),
            (&["train/images/1.jpg", "train/labels/1.txt"], "for object detection"),
            (&["images/1.jpg", "annotations/1.xml"], "for object detection"),
        ] {
            let doubt = list(folder(files).path()).unwrap().doubt;
            assert!(
                doubt.as_ref().is_some_and(|text| text.contains(expected)),
                "{files:?} {doubt:?}"
            );
        }
        for files in [
            &["mask/1.png", "no_mask/1.png"][..],
            &["image/1.png", "label/1.png", "button/1.png"],
            &["images/1.png", "drawings/1.png"],
            &["labels/1.png", "tags/1.png"],
        ] {
            assert_eq!(list(folder(files).path()).unwrap().doubt, None, "{files:?}");
        }
    }

    #[test]
    fn folders_beside_the_splits_are_not_classes() {
        let files = ["train/a/1.png", "train/b/1.png", "valid/a/2.png", "raw/a/1.png"];
        let Listing { images, warnings, .. } = list(folder(&files).path()).unwrap();
        assert!(images.iter().all(|image| image.split.is_some()) && images.len() == 3);
        assert!(warnings[0].contains("raw is left out"), "{warnings:?}");
        // Vehicle classes, not splits.
        let images = list(folder(&["train/1.png", "bus/1.png"]).path()).unwrap().images;
        let labels: Vec<_> = images.iter().map(|image| image.label.as_str()).collect();
        assert_eq!(labels, ["bus", "train"]);
    }
}
