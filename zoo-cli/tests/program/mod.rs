//! The program as its users meet it, and their browser.
#![allow(dead_code, reason = "each test uses a part of this module")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program in a folder, without published weights but the embedded ones.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoo"));
    command
        .current_dir(folder)
        .envs([("ZOO_OFFLINE", "1"), ("ZOO_CACHE", "no/such/folder")])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn zoo(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("zoo runs")
}

/// The output of a command that has to succeed.
pub(crate) fn ok(folder: &Path, arguments: &[&str]) -> String {
    let output = zoo(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The complaint of a command that had to fail by its input.
pub(crate) fn complaint(folder: &Path, arguments: &[&str]) -> String {
    let output = zoo(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// A sample image of the project.
pub(crate) fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/images").join(name)
}

/// What a browser makes of a page, where there is one. It has nothing to complain about, and each chart has its numbers behind it. Pictures
/// of the page, on a screen and on a phone, stay in the folder for the artifacts of tests.
pub(crate) fn in_a_browser(page: &Path, name: &str) -> Option<String> {
    let url = format!("file://{}", page.display());
    let profile = tempfile::tempdir().unwrap();
    let profile = format!("--user-data-dir={}", profile.path().display());
    for program in ["chromium", "chromium-browser", "google-chrome"] {
        let run = |arguments: &[&str]| {
            Command::new(program)
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", &profile])
                .args(["--disable-background-networking", "--enable-logging=stderr"])
                .args(arguments)
                .arg(&url)
                .output()
        };
        let Ok(output) = run(&["--dump-dom"]) else { continue };
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("CONSOLE"), "{stderr}");
        for (device, size) in [("screen", "1200,1600"), ("phone", "420,1600")] {
            let picture =
                Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{device}.png"));
            let picture = format!("--screenshot={}", picture.display());
            run(&[&picture, &format!("--window-size={size}")]).expect("the browser runs");
        }
        let dom = String::from_utf8(output.stdout).unwrap();
        let count = |text: &str| dom.matches(text).count();
        assert_eq!(count("class=\"chart\""), count("<summary>Numbers"), "{dom}");
        assert!(!dom.contains("src=\"http") && !dom.contains("{{"), "{dom}");
        return Some(dom);
    }
    eprintln!("skipped: there is no Chromium to look at {url} with");
    None
}
