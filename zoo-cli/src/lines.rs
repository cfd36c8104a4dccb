//! Text files with one entry per line.

use std::io;
use std::path::Path;

use anyhow::Context;

/// Reads the lines of a file, or of standard input for `-`, without empty ones at the end.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    // Editors on Windows put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.trim_end().lines().map(str::to_owned).collect())
}
