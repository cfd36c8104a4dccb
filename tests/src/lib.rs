//! Shared parts of the tests: the results of the reference implementations, and the formula of
//! their weights and inputs.

pub mod fixture;
pub mod formula;

use std::path::{Path, PathBuf};

use zoo_core::Variant;
use zoo_models::{Config, FAMILIES, VARIANTS};

/// Returns the smallest variant of each architecture.
pub fn smallest() -> impl Iterator<Item = &'static Variant<Config>> {
    FAMILIES.iter().map(|family| {
        let of_family = VARIANTS.iter().filter(|row| row.config.family().name == family.name);
        let smallest = of_family.min_by_key(|row| row.params.unwrap_or(usize::MAX));
        smallest.unwrap_or_else(|| panic!("{} has no variant", family.name))
    })
}

/// Returns the path of a file or folder of this package.
pub fn local(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the path of a file or folder of the workspace.
pub fn workspace(path: &str) -> PathBuf {
    local("..").join(path)
}
