//! The output of commands: sentences, rows and files.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::path::Path;

use anyhow::ensure;
use serde::Serialize;

use crate::options::Format;

/// Checks that an output is not also the input.
pub(crate) fn ensure_apart(input: &Path, output: &Path) -> anyhow::Result<()> {
    let is_same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    ensure!(
        !is_same,
        "{} is both the input and the output\nhint: choose another file to write",
        output.display()
    );
    Ok(())
}

/// A message of the library with the program's options in place of the library's names for them.
pub(crate) fn in_options(text: &str) -> String {
    const OPTIONS: [(&str, &str); 8] = [
        ("`variant`", "--model NAME"),
        ("`prefix`", "--prefix"),
        ("`averaged`", "--ema"),
        ("`backbone`", "--backbone"),
        ("`activation`", "--activation"),
        ("docs/models.md lists those that are", "`zoo weights list` shows those that are"),
        ("open it with Model::open", "give it with --weights FILE"),
        ("open another file with Model::open", "give another file with --weights FILE"),
    ];
    let text =
        OPTIONS.iter().fold(text.to_owned(), |text, (name, option)| text.replace(name, option));
    // `pull NAME again`, `remove NAME, then pull NAME again`
    let Some((message, hint)) = text.split_once("hint: ") else { return text };
    match hint.strip_suffix(" again").and_then(|hint| hint.rsplit_once("pull ")) {
        Some(("", name)) => format!("{message}hint: `zoo weights pull {name}` downloads it again"),
        Some((_, name)) => {
            format!("{message}hint: `zoo weights remove {name}`, then `zoo weights pull {name}`")
        }
        None => text,
    }
}

/// An error's message without its hint.
pub(crate) fn without_hint(error: &str) -> &str {
    error.split("\nhint: ").next().unwrap_or(error)
}

/// Writes a JSON object for each row, on its own line.
pub(crate) fn json_lines(out: &mut impl Write, rows: &[impl Serialize]) -> anyhow::Result<()> {
    for row in rows {
        writeln!(out, "{}", serde_json::to_string(row)?)?;
    }
    Ok(())
}

/// Writes a header and a CSV record for each row. Without `names`, the header has the names of the row's fields.
pub(crate) fn csv_table(
    out: &mut impl Write,
    names: &[&str],
    rows: impl IntoIterator<Item: Serialize>,
) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    if !names.is_empty() {
        writer.write_record(names)?;
    }
    rows.into_iter().try_for_each(|row| writer.serialize(row))?;
    writer.flush()?;
    Ok(())
}

/// Prints rows as JSON lines or CSV, or the text for people.
pub(crate) fn print(
    format: Format,
    rows: &[impl Serialize],
    text: impl Display,
) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match format {
        Format::Json => json_lines(&mut out, rows),
        Format::Csv => csv_table(&mut out, &[], rows),
        Format::Text => Ok(write!(out, "{text}")?),
    }
}

/// A matrix in NumPy's format, version 1.0: a header of 128 bytes, then 32-bit floats.
pub(crate) fn npy(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<u8> {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}
