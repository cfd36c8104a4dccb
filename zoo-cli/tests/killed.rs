//! A file that is written is the old one or the new one, even if the writer is killed.

#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How often each command is killed.
const KILLS: u32 = 12;

fn start(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_zoo"))
        .current_dir(folder)
        .args(arguments)
        .stderr(Stdio::null())
        .spawn()
        .expect("zoo runs")
}

/// Whether something is in a folder that a writer has not finished yet.
fn is_writing(folder: &Path) -> bool {
    fs::read_dir(folder)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".tmp"))
}

/// Kills a command again and again, at moments all over its run and while it writes, and looks
/// at its target.
fn is_whole_after_kills(folder: &Path, arguments: &[&str], target: &str) {
    let path = folder.join(target);
    let started = Instant::now();
    assert!(start(folder, arguments).wait().unwrap().success(), "{arguments:?}");
    let duration = started.elapsed();
    let new = fs::read(&path).unwrap();
    let old = b"what was there before";
    let mut killed_in_writing = 0;
    for kill in 0..KILLS {
        fs::write(&path, old).unwrap();
        let mut process = start(folder, arguments);
        if kill % 2 == 0 {
            sleep(duration * kill / KILLS);
        } else {
            while process.try_wait().unwrap().is_none() && !is_writing(folder) {
                sleep(Duration::from_micros(200));
            }
            sleep(Duration::from_millis(u64::from(kill / 2)));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let found = fs::read(&path).unwrap();
        assert!(found == old || found == new, "{arguments:?}: {} bytes are left", found.len());
        if is_writing(folder) {
            killed_in_writing += 1;
        }
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(path).unwrap();
            }
        }
    }
    fs::write(&path, new).unwrap();
    println!("{arguments:?}: {killed_in_writing} of {KILLS} kills while the file was written");
}

#[test]
fn kills_leave_no_half_of_a_file() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/weights");
    let record = fs::read_dir(embedded).unwrap().next().unwrap().unwrap().path();
    let record = record.to_string_lossy();
    let export = |target, name| ["export", &*record, "--to", target, "-o", name].map(str::to_owned);
    for (target, name) in [("safetensors", "x.safetensors"), ("pth", "x.pth"), ("onnx", "x.onnx")] {
        let arguments = export(target, name);
        is_whole_after_kills(folder, &arguments.each_ref().map(String::as_str), name);
    }
    for checkpoint in ["x.pth", "x.safetensors", "x.onnx"] {
        is_whole_after_kills(folder, &["import", checkpoint, "-o", "x.bpk"], "x.bpk");
    }
}
