//! A list of paths and labels.

use std::path::Path;

use serde::Deserialize;

use super::{Listed, Listing, Part, Source};
use crate::Error;

/// A line of a list. Paths are relative to the list's folder.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "file", alias = "filename", alias = "image")]
    path: String,
    #[serde(alias = "class")]
    label: String,
    #[serde(default, alias = "part")]
    split: String,
}

pub(super) fn list(path: &Path) -> Result<Listing, Error> {
    let extension = path.extension().map(|text| text.to_string_lossy().to_lowercase());
    let lines = match extension.as_deref() {
        Some("csv") => separated(path, b',')?,
        Some("tsv") => separated(path, b'\t')?,
        Some("jsonl" | "ndjson") => json(path)?,
        _ => {
            return Err(Error::Data(format!(
                "{} is neither a folder nor a list\nhint: lists are .csv files with the columns \
                 path and label, or .jsonl files",
                path.display()
            )));
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut images = Vec::new();
    for (number, line) in lines {
        let part = match line.split.trim().to_lowercase().as_str() {
            "" => None,
            "train" | "training" => Some(Part::Train),
            "val" | "valid" | "validation" => Some(Part::Val),
            "test" => Some(Part::Test),
            other => {
                let reason = format!("`{other}` is none of train, val and test");
                return Err(wrong(path, number, &reason));
            }
        };
        if line.label.trim().is_empty() {
            return Err(wrong(path, number, "the label is empty"));
        }
        let source = Source::File(folder.join(line.path));
        images.push(Listed { source, label: line.label, part });
    }
    if images.is_empty() {
        return Err(Error::Data(format!("there are no images in {}", path.display())));
    }
    Ok(Listing { images, ..Listing::default() })
}

fn separated(path: &Path, delimiter: u8) -> Result<Vec<(u64, Line)>, Error> {
    let reader = csv::ReaderBuilder::new().delimiter(delimiter).from_path(path);
    let mut reader = reader.map_err(|error| Error::read(path, error))?;
    let headers = reader.headers().map_err(|error| Error::read(path, error))?.clone();
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| Error::read(path, error))?;
        let number = record.position().map_or(0, csv::Position::line);
        let line = record.deserialize(Some(&headers)).map_err(|error| {
            wrong(path, number, &format!("{error}; the columns path and label are needed"))
        })?;
        lines.push((number, line));
    }
    Ok(lines)
}

fn json(path: &Path) -> Result<Vec<(u64, Line)>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::read(path, error))?;
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let line = serde_json::from_str(line);
            Ok((number, line.map_err(|error| wrong(path, number, &error.to_string()))?))
        })
        .collect()
}

fn wrong(path: &Path, line: u64, reason: &str) -> Error {
    Error::Data(format!("{}, line {line}: {reason}", path.display()))
}
