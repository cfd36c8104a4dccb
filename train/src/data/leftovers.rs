//! Files that operating systems and servers leave in folders of images.

use std::ffi::OsStr;

/// Names, in lower case, of files and folders that no user has created.
const LEFTOVERS: [&str; 10] = [
    "__macosx",
    "thumbs.db",
    "desktop.ini",
    "@eadir",
    "@recycle",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "lost+found",
];

/// Whether a file or folder in a folder of images is not a user's: hidden, such as `._a.jpg`,
/// `.DS_Store` and `.ipynb_checkpoints`, or left by an operating system or a file server, such as
/// `__MACOSX`, `Thumbs.db`, `@eaDir` and `$RECYCLE.BIN`.
pub fn is_leftover(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    name.starts_with('.') || LEFTOVERS.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_recognized_by_their_names() {
        for name in [".DS_Store", "._a.jpg", ".ipynb_checkpoints", "Thumbs.db", "@eaDir", "@EADIR"]
        {
            assert!(is_leftover(OsStr::new(name)), "{name}");
        }
        for name in ["a.jpg", "@", "lost", "macosx", "_a", "recycle"] {
            assert!(!is_leftover(OsStr::new(name)), "{name}");
        }
    }
}
