//! The file format of MNIST and Fashion-MNIST.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;

use super::{Listed, Listing, Packed, Source, Split};
use crate::Error;

/// Returns the classes of a dataset that is published in this format.
pub(super) fn classes(scheme: &str) -> Option<[&'static str; 10]> {
    match scheme {
        "fashion-mnist" => Some([
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ]),
        "mnist" => Some(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        _ => None,
    }
}

pub(super) fn list(folder: &Path, classes: [&str; 10]) -> Result<Listing, Error> {
    let mut images = Vec::new();
    for (prefix, split) in [("train", Split::Train), ("t10k", Split::Val)] {
        let path = find(folder, &format!("{prefix}-images-idx3-ubyte"))?;
        let ([count, height, width], pixels) = read::<3>(&path)?;
        let labels_path = find(folder, &format!("{prefix}-labels-idx1-ubyte"))?;
        let ([labeled], labels) = read::<1>(&labels_path)?;
        let broken = |path: &Path, reason: &str| {
            Error::Data(format!("{} is damaged: {reason}", path.display()))
        };
        if labeled != count {
            return Err(broken(&labels_path, "it has not a label for each image"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let packed = Arc::new(Packed { name, size: [width, height], pixels });
        for (index, label) in labels.into_iter().enumerate() {
            let label = classes
                .get(usize::from(label))
                .ok_or_else(|| broken(&labels_path, "it has labels above 9"))?;
            let source = Source::Packed { images: Arc::clone(&packed), index };
            images.push(Listed { source, label: (*label).to_owned(), split: Some(split) });
        }
    }
    let classes = Some(classes.map(str::to_owned).to_vec());
    Ok(Listing { images, classes, ..Listing::default() })
}

fn find(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let plain = folder.join(name);
    let packed = folder.join(format!("{name}.gz"));
    [plain.clone(), packed].into_iter().find(|path| path.exists()).ok_or_else(|| {
        Error::read(plain, "there is no such file, nor one with .gz behind its name")
    })
}

/// Reads the sizes and bytes of an array: magic number, sizes as big-endian numbers, bytes.
fn read<const D: usize>(path: &Path) -> Result<([u32; D], Vec<u8>), Error> {
    let file = File::open(path).map_err(|error| Error::read(path, error))?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let mut reader: Box<dyn Read> =
        if is_packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| Error::read(path, error))?;
    let number = |index: usize| {
        let number = bytes.get(4 * index..4 * index + 4)?;
        Some(u32::from_be_bytes(number.try_into().expect("four bytes")))
    };
    let sizes: Option<Vec<u32>> = (1..=D).map(number).collect();
    let sizes = sizes.filter(|_| number(0) == Some(0x0800 + D as u32));
    let sizes = sizes.and_then(|sizes| <[u32; D]>::try_from(sizes).ok());
    let sizes = sizes.filter(|sizes| {
        let length =
            sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size as usize));
        length.is_some_and(|length| bytes.len() == length + 4 * (D + 1))
    });
    let sizes = sizes.ok_or_else(|| {
        Error::Data(format!("{} is not a whole idx file of {D} dimensions", path.display()))
    })?;
    bytes.drain(..4 * (D + 1));
    Ok((sizes, bytes))
}
