//! Lists of paths and labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Listed, Listing, Source, Split};
use crate::Error;

/// Names of columns and JSON keys, in lower case and without blanks, `_` and `-`. If a list has
/// several of them, the first one here is used.
const PATH: [&str; 6] = ["path", "file", "filename", "filepath", "image", "imagepath"];
const LABEL: [&str; 4] = ["label", "class", "classname", "category"];
const SPLIT: [&str; 4] = ["split", "set", "subset", "part"];

/// The separators of the columns of a table.
const SEPARATORS: [(u8, &str); 3] = [(b',', "commas"), (b';', "semicolons"), (b'\t', "tabs")];

/// A line of a list, with its number in the file.
struct Line {
    number: u64,
    path: String,
    label: String,
    split: String,
}

/// The images of a list. Paths are relative to the list's folder.
pub(super) fn list(path: &Path) -> Result<Listing, Error> {
    let extension = path.extension().map(|text| text.to_string_lossy().to_lowercase());
    let lines = match extension.as_deref() {
        Some("csv" | "tsv" | "txt") => separated(path, &read(path)?)?,
        Some("jsonl" | "ndjson") => json(path, &read(path)?)?,
        other => {
            let hint = match other {
                Some("xlsx" | "xls" | "ods") => "save the table as CSV",
                Some("json") => "a .jsonl file has an object on each line",
                _ => "lists are .csv files with the columns path and label, or .jsonl files",
            };
            return Err(Error::Data(format!(
                "{} is neither a folder nor a list\nhint: {hint}",
                path.display()
            )));
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut images = Vec::new();
    for Line { number, path: file, label, split } in lines {
        let split = match split.trim() {
            "" => None,
            name => Some(Split::named(name).ok_or_else(|| {
                wrong(path, number, &format!("`{name}` is none of train, val and test"))
            })?),
        };
        if file.trim().is_empty() {
            return Err(wrong(path, number, "the path is empty"));
        }
        if label.trim().is_empty() {
            return Err(wrong(path, number, "the label is empty"));
        }
        if file.contains('\n') || label.contains('\n') {
            return Err(wrong(path, number, "a quotation mark is not closed"));
        }
        let source = Source::File(find(folder, &file));
        images.push(Listed { source, label: label.trim().to_owned(), split });
    }
    if images.is_empty() {
        return Err(Error::Data(format!("there are no images in {}", path.display())));
    }
    check_some_exist(path, &images)?;
    Ok(Listing { images, ..Listing::default() })
}

/// Returns the file of a line. If no file has exactly this name, blanks around it are removed, and
/// `\` separates folders, as on Windows.
fn find(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    if path.exists() {
        return path;
    }
    let name = name.trim();
    let trimmed = folder.join(name);
    let slashed = folder.join(name.replace('\\', "/"));
    if slashed.exists() { slashed } else { trimmed }
}

/// Checks that at least one listed file exists. If none does, the list itself is wrong.
fn check_some_exist(list: &Path, images: &[Listed]) -> Result<(), Error> {
    let files = images.iter().filter_map(|image| match &image.source {
        Source::File(path) => Some(path),
        Source::Packed { .. } => None,
    });
    let mut missing = files.peekable();
    let Some(&first) = missing.peek() else { return Ok(()) };
    if missing.any(|path| path.exists()) {
        return Ok(());
    }
    Err(Error::Data(format!(
        "none of the files that {} names is there; the first would be {}\nhint: paths are relative to \
         the list's folder, and have an extension",
        list.display(),
        first.display()
    )))
}

/// Reads the text of a list: UTF-8, or UTF-16 with a byte order mark, as spreadsheets write it.
fn read(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|error| Error::read(path, error))?;
    let utf16 = |bytes: &[u8], number: fn([u8; 2]) -> u16| {
        let pairs = bytes.chunks_exact(2);
        let rest = pairs.remainder().is_empty();
        let units: Vec<u16> = pairs.map(|pair| number([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok().filter(|_| rest)
    };
    let (text, encoding) = match &bytes[..] {
        [0xff, 0xfe, rest @ ..] => (utf16(rest, u16::from_le_bytes), "UTF-16"),
        [0xfe, 0xff, rest @ ..] => (utf16(rest, u16::from_be_bytes), "UTF-16"),
        [0xef, 0xbb, 0xbf, rest @ ..] => (String::from_utf8(rest.to_vec()).ok(), "UTF-8"),
        all => (String::from_utf8(all.to_vec()).ok(), "UTF-8"),
    };
    let text = text.filter(|text| !text.contains('\0')).ok_or_else(|| {
        Error::Data(format!(
            "{} is not text in {encoding}\nhint: save it as UTF-8; spreadsheets call this `CSV UTF-8`",
            path.display()
        ))
    })?;
    Ok(text)
}

/// Reads the lines of a table whose first line names the columns.
fn separated(path: &Path, text: &str) -> Result<Vec<Line>, Error> {
    // Spreadsheets read the separator from a line before the table.
    let first = text.split(['\r', '\n']).next().unwrap_or_default();
    let (text, skipped) = match first.trim_end().to_lowercase().strip_prefix("sep=") {
        Some(separator) if separator.len() == 1 => {
            (text[first.len()..].trim_start_matches(['\r', '\n']), 1)
        }
        _ => (text, 0),
    };
    let reader = |separator: u8| {
        csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text.as_bytes())
    };
    let header = |separator: u8| -> Vec<String> {
        let mut reader = reader(separator);
        let header = reader.headers().map(|header| header.iter().map(str::to_owned).collect());
        header.unwrap_or_default()
    };
    let found = SEPARATORS.iter().find_map(|&(separator, _)| {
        let columns = header(separator);
        let column = |names: &[&str]| columns_of(&columns, names);
        Some((separator, column(&PATH)?, column(&LABEL)?, column(&SPLIT), columns.len()))
    });
    let Some((separator, file, label, split, width)) = found else {
        return Err(without_columns(path, header));
    };
    let mut lines = Vec::new();
    for record in reader(separator).records() {
        let record = record.map_err(|error| Error::read(path, error))?;
        let number = record.position().map_or(0, csv::Position::line) + skipped;
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        let is_longer = record.iter().skip(width).any(|field| !field.trim().is_empty());
        let field = |column: usize| record.get(column).filter(|_| !is_longer).map(str::to_owned);
        let (Some(path), Some(label)) = (field(file), field(label)) else {
            let reason = format!(
                "it has {} fields and the first line has {width}\nhint: a field with a separator in \
                 it goes into quotation marks",
                record.len()
            );
            return Err(wrong(path, number, &reason));
        };
        let split = split.and_then(field).unwrap_or_default();
        lines.push(Line { number, path, label, split });
    }
    Ok(lines)
}

/// Returns the index of the first of these names among the columns.
fn columns_of(columns: &[String], names: &[&str]) -> Option<usize> {
    let columns: Vec<String> = columns.iter().map(|name| plain(name)).collect();
    names.iter().find_map(|name| columns.iter().position(|column| column == name))
}

/// Normalizes a column's name for comparison.
fn plain(name: &str) -> String {
    name.to_lowercase().replace([' ', '_', '-'], "").trim().to_owned()
}

/// Returns the error for a table without the necessary columns. It shows the first line, split at
/// the most likely separator.
fn without_columns(path: &Path, header: impl Fn(u8) -> Vec<String>) -> Error {
    let headers = SEPARATORS.map(|(separator, name)| (header(separator), name));
    let longest = headers.into_iter().rev().max_by_key(|(columns, _)| columns.len());
    let (columns, separator) = longest.expect("there are separators");
    let path = path.display();
    let needed = "the columns path and label are needed";
    if columns.iter().all(|name| name.trim().is_empty()) {
        return Error::Data(format!("{path} is empty; {needed}"));
    }
    let text = columns.join(", ");
    if columns.iter().any(|name| image::ImageFormat::from_path(name.trim()).is_ok()) {
        return Error::Data(format!(
            "the first line of {path} is an image, {text}, and names no columns; {needed}\nhint: write \
             path,label above it"
        ));
    }
    let lacks = match (columns_of(&columns, &PATH), columns_of(&columns, &LABEL)) {
        (None, None) => "separated by commas, semicolons or tabs".to_owned(),
        (None, _) => format!("and none is called path, {}", PATH[1..].join(", ")),
        (_, _) => format!("and none is called label, {}", LABEL[1..].join(", ")),
    };
    let has = match &columns[..] {
        [_] => format!("the column {text}"),
        _ => format!("the columns {text}, with {separator} between them"),
    };
    Error::Data(format!(
        "{path} has {has}; {needed}, {lacks}\nhint: rename the columns in its first line"
    ))
}

/// Reads a file with a JSON object on each line.
fn json(path: &Path, text: &str) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let object: HashMap<String, Value> = serde_json::from_str(line).map_err(|error| {
            wrong(path, number, &format!("{error}\nhint: each line is an object of its own"))
        })?;
        let object: HashMap<String, Value> =
            object.into_iter().map(|(key, value)| (plain(&key), value)).collect();
        let text = |names: &[&str]| -> Result<Option<String>, Error> {
            match names.iter().find_map(|name| Some((name, object.get(*name)?))) {
                None | Some((_, Value::Null)) => Ok(None),
                Some((_, Value::String(text))) => Ok(Some(text.clone())),
                Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
                Some((name, _)) => Err(wrong(path, number, &format!("`{name}` is no text"))),
            }
        };
        let needed = |names: &[&str]| {
            text(names)?.ok_or_else(|| wrong(path, number, &format!("`{}` is missing", names[0])))
        };
        let (path, label) = (needed(&PATH)?, needed(&LABEL)?);
        lines.push(Line { number, path, label, split: text(&SPLIT)?.unwrap_or_default() });
    }
    Ok(lines)
}

fn wrong(path: &Path, line: u64, reason: &str) -> Error {
    Error::Data(format!("{}, line {line}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Creates a folder with the files `a.png`, `b b.png` and `c/d.png`.
    fn folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("c")).unwrap();
        for name in ["a.png", "b b.png", "c/d.png"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    /// Returns what a list holds: file, label, split.
    fn listed(
        folder: &TempDir,
        name: &str,
        content: &[u8],
    ) -> Vec<(String, String, Option<Split>)> {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let images = list(&path).unwrap_or_else(|error| panic!("{error}")).images;
        let row = |image: Listed| {
            let Source::File(path) = image.source else { panic!("a file") };
            let path = path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
            (path, image.label, image.split)
        };
        images.into_iter().map(row).collect()
    }

    fn complaint(folder: &TempDir, name: &str, content: &[u8]) -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        list(&path).err().unwrap().to_string()
    }

    #[test]
    fn tables_are_read_as_spreadsheets_write_them() {
        let folder = folder();
        let rows = |split| {
            let row = |path: &str, label: &str| (path.to_owned(), label.to_owned(), split);
            vec![row("a.png", "grüner Frosch"), row("b b.png", "x, y"), row("c/d.png", "3")]
        };
        let text = "path,label\na.png,grüner Frosch\nb b.png,\"x, y\"\nc/d.png,3\n";
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
        };
        for (name, content) in [
            ("plain.csv", text.into()),
            ("mark.csv", format!("\u{feff}{text}").into_bytes()),
            ("windows.csv", text.replace('\n', "\r\n").into()),
            ("macintosh.csv", text.replace('\n', "\r").into()),
            ("little.csv", utf16(text, u16::to_le_bytes)),
            ("big.txt", utf16(&text.replace(',', "\t").replace("x\t", "x,"), u16::to_be_bytes)),
            ("told.csv", format!("sep=;\r\n{}", text.replace(',', ";").replace("x;", "x,")).into()),
            (
                "semicolons.CSV",
                "Class; File name ;note\ngrüner Frosch;a.png;\nx, y; b b.png ;1,5\n3;c\\d.png\n;;\n"
                    .into(),
            ),
            (
                "tabs.csv",
                "id\tFILENAME\tCategory\n1\ta.png\tgrüner Frosch\n2\tb b.png\tx, y\n3\tc/d.png\t3\n"
                    .into(),
            ),
            (
                "lines.jsonl",
                "\u{feff}{\"path\":\"a.png\",\"label\":\"grüner Frosch\"}\r\n\r\n\
                 {\"Image\":\"b b.png\",\"class\":\"x, y\",\"split\":null}\r\n\
                 {\"file\":\"c/d.png\",\"label\":3,\"width\":[1]}"
                    .into(),
            ),
        ] {
            assert_eq!(listed(&folder, name, &content), rows(None), "{name}");
        }
        let split = "image_path\tlabel\tSubset\na.png\tgrüner Frosch\tVAL\nb b.png\tx, y\t valid\n\
                     c/d.png\t3\tvalidation\n";
        assert_eq!(listed(&folder, "list.tsv", split.as_bytes()), rows(Some(Split::Val)));
        let absolute = folder.path().join("a.png");
        let content = format!("path,label\n{},x\n", absolute.display());
        assert_eq!(listed(&folder, "absolute.csv", content.as_bytes())[0].0, "a.png");
    }

    #[test]
    fn errors_in_a_list_are_explained() {
        let folder = folder();
        for (name, content, expected) in [
            ("l.csv", &b"file;kind\na.png;x\n"[..], "has the columns file, kind, with semicolons"),
            ("l.csv", b"file;kind\na.png;x\n", "none is called label, class"),
            ("l.csv", b"id\tlabel\n1\tx\n", "none is called path, file"),
            ("l.csv", b"path|label\na.png|x\n", "separated by commas, semicolons or tabs"),
            ("l.csv", b"a.png,x\nb b.png,y\n", "is an image, a.png, x, and names no columns"),
            ("l.csv", b"", "is empty"),
            ("l.csv", b"path,label\n", "there are no images in"),
            (
                "l.csv",
                b"path,label\na.png,x\nb b.png,x,y\n",
                "line 3: it has 3 fields and the first",
            ),
            ("l.csv", b"path,label\na.png\n", "line 2: it has 1 fields"),
            ("l.csv", b"path,label\na.png,\n", "line 2: the label is empty"),
            ("l.csv", b"path,label\n,x\n", "line 2: the path is empty"),
            ("l.csv", b"path,label\na.png,\"x\nb b.png,y\n", "a quotation mark is not closed"),
            ("l.csv", b"path,label,split\na.png,x,tset\n", "`tset` is none of train, val and test"),
            ("l.csv", b"path,label\na,x\nb,y\n", "none of the files that"),
            ("l.csv", b"path,label\na.png,gr\xfcn\n", "is not text in UTF-8\nhint: save it as"),
            ("l.csv", b"p\0a\0t\0h\0,\0l\0a\0b\0e\0l\0", "is not text in UTF-8"),
            ("l.csv", b"\xff\xfep\0a", "is not text in UTF-16"),
            ("l.jsonl", b"{\"path\": \"a.png\"}", "line 1: `label` is missing"),
            ("l.jsonl", b"{\"path\": \"a.png\", \"label\": [1, 2]}", "line 1: `label` is no text"),
            ("l.jsonl", b"[{\"path\": \"a.png\",\n", "each line is an object of its own"),
            ("l.xlsx", b"PK", "save the table as CSV"),
            ("l.json", b"[]", "a .jsonl file has an object on each line"),
        ] {
            let text = complaint(&folder, name, content);
            assert!(text.contains(expected), "{name} {content:?}: {text}");
        }
    }
}
