//! What the zoo's tests share: the reference implementations' results and the formula that
//! their weights and inputs are made of.

pub mod fixture;
pub mod formula;

use std::path::{Path, PathBuf};

/// A file or folder of this package.
pub fn local(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file or folder of the workspace.
pub fn workspace(path: &str) -> PathBuf {
    local("..").join(path)
}
