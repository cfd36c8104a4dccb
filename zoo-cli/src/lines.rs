//! Text files with something on each line.

use std::io;
use std::path::Path;

use anyhow::Context;

/// The lines of a file, or of standard input for `-`, without empty ones at the end.
///
/// # Errors
///
/// When it can't be read, or is no text.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    // Editors on Windows mark text as UTF-8 this way.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.trim_end().lines().map(str::to_owned).collect())
}
