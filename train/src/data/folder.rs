//! A folder for each class.

use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::{Listed, Listing, Part, Source};
use crate::Error;

/// How a folder is called that holds a part.
const PARTS: [(&str, Part); 6] = [
    ("train", Part::Train),
    ("training", Part::Train),
    ("val", Part::Val),
    ("valid", Part::Val),
    ("validation", Part::Val),
    ("test", Part::Test),
];

pub(super) fn list(root: &Path) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    let folders = folders(root)?;
    let part = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy().to_lowercase();
        PARTS.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
    };
    let parts: Vec<_> = folders.iter().filter_map(|entry| Some((entry, part(entry)?))).collect();
    if parts.iter().any(|(_, part)| *part == Part::Train) && parts.len() == folders.len() {
        for (folder, part) in parts {
            classes(folder.path(), Some(part), &mut listing)?;
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

fn classes(root: &Path, part: Option<Part>, listing: &mut Listing) -> Result<(), Error> {
    for class in folders(root)? {
        let label = class.file_name().to_string_lossy().into_owned();
        let before = listing.images.len();
        let files = WalkDir::new(class.path()).follow_links(true).sort_by_file_name();
        for entry in files.into_iter().filter_entry(|entry| !is_hidden(entry)) {
            let entry = entry.map_err(|error| unreadable(class.path(), error))?;
            let is_image = image::ImageFormat::from_path(entry.path()).is_ok();
            if is_image && entry.file_type().is_file() {
                let source = Source::File(entry.into_path());
                listing.images.push(Listed { source, label: label.clone(), part });
            }
        }
        if listing.images.len() == before {
            let path = class.path().display();
            listing.warnings.push(format!("{path} has no images; it is no class"));
        }
    }
    Ok(())
}

fn folders(root: &Path) -> Result<Vec<DirEntry>, Error> {
    let entries = WalkDir::new(root).min_depth(1).max_depth(1).follow_links(true);
    let mut folders = Vec::new();
    for entry in entries.sort_by_file_name() {
        let entry = entry.map_err(|error| unreadable(root, error))?;
        if entry.file_type().is_dir() && !is_hidden(&entry) {
            folders.push(entry);
        }
    }
    Ok(folders)
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.')
}

fn unreadable(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_owned();
    match error.io_error() {
        Some(reason) => Error::read(path, reason),
        None => Error::read(path, &error),
    }
}
