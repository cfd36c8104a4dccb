//! What commands write: sentences, rows and files.

use std::io::Write;
use std::path::Path;

use anyhow::ensure;
use serde::Serialize;

/// Refuses to write over a file that is read.
///
/// # Errors
///
/// When both paths lead to the same file.
pub(crate) fn ensure_apart(input: &Path, output: &Path) -> anyhow::Result<()> {
    let is_same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    ensure!(
        !is_same,
        "{} is the file that is read\nhint: give --output another name",
        output.display()
    );
    Ok(())
}

/// `1 channel`, `3 channels`.
pub(crate) fn channels(count: usize) -> String {
    format!("{count} channel{}", if count == 1 { "" } else { "s" })
}

/// `1 class`, `10 classes`.
pub(crate) fn classes(count: usize) -> String {
    format!("{count} class{}", if count == 1 { "" } else { "es" })
}

/// `1 image`, `10 images`.
pub(crate) fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}

/// What the library says, with the program's options in place of the library's names for them.
pub(crate) fn in_options(text: &str) -> String {
    const OPTIONS: [(&str, &str); 8] = [
        ("`variant`", "--variant NAME"),
        ("`prefix`", "--key"),
        ("`averaged`", "--ema"),
        ("`backbone`", "--trunk"),
        ("`activation`", "--activation"),
        ("docs/models.md lists those that are", "`zoo weights list` shows those that are"),
        ("open it with Model::open", "give it with --weights FILE"),
        ("open another file with Model::open", "give another file with --weights FILE"),
    ];
    OPTIONS.iter().fold(text.to_owned(), |text, (name, option)| text.replace(name, option))
}

/// What an error says, for those who have a better hint.
pub(crate) fn without_hint(error: &str) -> &str {
    error.split("\nhint: ").next().unwrap_or(error)
}

/// Writes a JSON object for each row, on a line of its own.
///
/// # Errors
///
/// When nobody listens any more.
pub(crate) fn json_lines(out: &mut impl Write, rows: &[impl Serialize]) -> anyhow::Result<()> {
    for row in rows {
        writeln!(out, "{}", serde_json::to_string(row)?)?;
    }
    Ok(())
}

/// Writes a CSV record for each row, behind one of their fields' names.
///
/// # Errors
///
/// When nobody listens any more.
pub(crate) fn csv_records(out: &mut impl Write, rows: &[impl Serialize]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    writer.flush()?;
    Ok(())
}
