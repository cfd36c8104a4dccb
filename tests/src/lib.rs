//! What the zoo's tests share: the reference implementations' results and the formula that
//! their weights and inputs are made of.

pub mod fixture;
pub mod formula;

use std::path::{Path, PathBuf};

use zoo_core::Variant;
use zoo_models::{Config, FAMILIES, VARIANTS};

/// The smallest variant of each architecture.
pub fn smallest() -> impl Iterator<Item = &'static Variant<Config>> {
    FAMILIES.iter().map(|family| {
        let of_family = VARIANTS.iter().filter(|row| row.config.family().name == family.name);
        let smallest = of_family.min_by_key(|row| row.params.unwrap_or(usize::MAX));
        smallest.unwrap_or_else(|| panic!("{} has no variant", family.name))
    })
}

/// A file or folder of this package.
pub fn local(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file or folder of the workspace.
pub fn workspace(path: &str) -> PathBuf {
    local("..").join(path)
}
