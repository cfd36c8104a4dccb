//! The image files that a command reads.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use burn_zoo::train;
use walkdir::{DirEntry, WalkDir};

use crate::lines;

/// Options that choose image files.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagePaths {
    /// Image files, folders of them, or - for an image on standard input
    #[arg(value_name = "PATH", required_unless_present = "from_file")]
    pub(crate) paths: Vec<PathBuf>,

    /// A text file with one path per line, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,

    /// Include the folders in folders
    #[arg(long, short)]
    pub(crate) recursive: bool,
}

impl ImagePaths {
    /// The image files of the command line, in its order. Those of a folder are sorted by name.
    pub(crate) fn collect(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                paths.push(path.clone());
                continue;
            }
            let depth = if self.recursive { usize::MAX } else { 1 };
            let before = paths.len();
            let is_meant =
                |entry: &DirEntry| entry.depth() == 0 || !train::is_leftover(entry.file_name());
            let entries = WalkDir::new(path).max_depth(depth).sort_by_file_name();
            for entry in entries.into_iter().filter_entry(is_meant) {
                let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
                let is_image = image::ImageFormat::from_path(entry.path()).is_ok();
                // Reading a pipe would wait. A broken link counts as an image that can't be read.
                let is_other = entry.path().metadata().is_ok_and(|metadata| !metadata.is_file());
                if is_image && !is_other {
                    paths.push(entry.into_path());
                }
            }
            ensure!(
                paths.len() > before,
                "there are no images in {}{}",
                path.display(),
                if self.recursive { "" } else { "\nhint: --recursive includes the folders in it" }
            );
        }
        if let Some(list) = &self.from_file {
            let lines = lines::read(list)?.into_iter().filter(|line| !line.trim().is_empty());
            paths.extend(lines.map(PathBuf::from));
            ensure!(!paths.is_empty(), "there are no paths in {}", list.display());
        }
        Ok(paths)
    }
}

/// The bytes of an image file, or of standard input for `-`.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map(|_| bytes)
}
