//! The files that commands write.

use std::path::Path;

use anyhow::ensure;

/// Refuses to write over a file that is read.
///
/// # Errors
///
/// When both paths lead to the same file.
pub fn ensure_apart(input: &Path, output: &Path) -> anyhow::Result<()> {
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
