//! All initial files and all findings of the fuzzer are read without a panic.

use std::fs;

use zoo_fuzz::{Scratch, Target};

#[test]
fn all_files_of_the_corpora_are_read_without_a_panic() {
    let scratch = Scratch::new();
    for target in Target::ALL {
        let mut count = 0;
        for entry in fs::read_dir(target.corpus()).expect("each target has a folder") {
            let path = entry.expect("the folder can be read").path();
            let bytes = fs::read(&path).expect("the file can be read");
            println!("{}", path.display());
            target.read(&bytes, &scratch);
            // A truncated file is the most common damage.
            for part in 0..16 {
                target.read(&bytes[..bytes.len() * part / 16], &scratch);
            }
            count += 1;
        }
        assert!(count > 2, "{} has {count} files", target.name());
    }
}

/// The file has four hundred bytes and claims 14 GB of pixels. The fuzzer found it.
#[test]
fn an_image_of_gigabytes_is_refused() {
    let bytes = fs::read(Target::Image.corpus().join("gigabytes.jpeg")).expect("it is there");
    let error = zoo_core::decode::decode(&bytes).expect_err("it is too large").to_string();
    assert!(error.contains("more than 512 MiB"), "{error}");
}
