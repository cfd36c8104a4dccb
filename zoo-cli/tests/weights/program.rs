//! `zoo weights` and `--model` as their users meet them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::server::{self, Server};

fn zoo(cache: &Path, mirror: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoo"));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(arguments)
        .env("ZOO_CACHE", cache)
        .env("ZOO_WEIGHTS_MIRROR", mirror)
        .env_remove("ZOO_OFFLINE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

/// The exit code, standard output and standard error.
fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn run(cache: &Path, mirror: &str, arguments: &[&str]) -> (i32, String, String) {
    told(zoo(cache, mirror, arguments).output().unwrap())
}

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

const CLASSIFY: &[&str] = &["classify", "assets/images/coffee.png", "-k", "1", "--model"];

#[test]
fn without_a_network_the_error_says_what_to_do() {
    let cache = TempDir::new().unwrap();
    let arguments = [CLASSIFY, &["resnet50"]].concat();
    let (code, _, refused) = run(cache.path(), NOWHERE, &arguments);
    assert_eq!(code, 2, "{refused}");
    let offline = zoo(cache.path(), "", &arguments).env("ZOO_OFFLINE", "1").output().unwrap();
    let (code, _, offline) = told(offline);
    assert_eq!(code, 1, "{offline}");
    assert_snapshot!(format!("{refused}\n{offline}"));
}

#[test]
fn the_embedded_model_needs_no_network() {
    let cache = TempDir::new().unwrap();
    let (code, stdout, _) =
        run(cache.path(), NOWHERE, &[CLASSIFY, &["efficientnet_lite0"]].concat());
    assert!(code == 0 && stdout.contains("espresso"), "{stdout}");
    let (code, _, stderr) = run(cache.path(), NOWHERE, &["weights", "pull", "efficientnet_lite0"]);
    assert!(code == 1 && stderr.contains("compiled into zoo"), "{stderr}");
}

#[test]
fn weights_that_are_not_here_are_said_not_to_be() {
    let cache = TempDir::new().unwrap();
    let weights = |arguments: &[&str]| run(cache.path(), NOWHERE, arguments);
    let (code, path, _) = weights(&["weights", "path"]);
    assert_eq!((code, Path::new(path.trim())), (0, &*cache.path().join("weights")));
    for verb in ["path", "verify"] {
        let (code, _, stderr) = weights(&["weights", verb, "resnet18"]);
        assert!(code == 1 && stderr.contains("hint: `zoo weights pull resnet18`"), "{stderr}");
    }
    let (code, _, stderr) = weights(&["weights", "remove", "resnet18"]);
    assert_eq!((code, &*stderr), (0, "resnet18 is not on this machine\n"));
    let (code, _, stderr) = weights(&["weights", "pull", "lenet5"]);
    assert!(code == 1 && stderr.contains("no weights are published for lenet5"), "{stderr}");

    let (_, all, _) = weights(&["weights", "list", "--format", "csv"]);
    let lines: Vec<_> = all.lines().collect();
    assert_eq!(lines[0], "weights,state,bytes,url");
    assert!(lines.iter().any(|line| line.starts_with("resnet50.imagenet1k_v2,missing,,https://")));
    let (code, cached, _) = weights(&["weights", "list", "--cached"]);
    assert_eq!((code, &*cached), (0, ""));
}

/// The file of a cache that is a download's beginning, once it is so long.
fn part(cache: &Path, length: u64) -> PathBuf {
    let folder = cache.join("weights/mobilenet_v2.imagenet1k_v1-b0353104");
    let part = folder.join("mobilenet_v2-b0353104.pth.part");
    while fs::metadata(&part).map_or(0, |metadata| metadata.len()) < length {
        thread::sleep(Duration::from_millis(10));
    }
    part
}

const PULL: &[&str] = &["weights", "pull", "mobilenet_v2.imagenet1k_v1"];

#[test]
fn a_killed_download_is_gone_on_with() {
    let cache = TempDir::new().unwrap();
    let content = vec![7; 100_000];
    let hanging = content.clone();
    let server =
        Server::start(move |_, stream| server::hang(stream, hanging.len(), &hanging[..40_000]));
    let mut killed = zoo(cache.path(), &server.url, PULL).spawn().unwrap();
    let part = part(cache.path(), 40_000);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let (_, listed, _) = run(cache.path(), NOWHERE, &["weights", "list", "--format", "csv"]);
    assert!(listed.contains("mobilenet_v2.imagenet1k_v1,partial,40000,"), "{listed}");
    assert_eq!(fs::read(&part).unwrap(), content[..40_000]);

    // The rest is asked for, and then all of it, since this is not the published file.
    let server = Server::start(move |request, stream| server::file(request, stream, &content));
    let (code, stdout, stderr) = run(cache.path(), &server.url, PULL);
    assert_eq!((code, &*stdout), (2, ""));
    assert!(stderr.contains("is not the file that was published"), "{stderr}");
    assert_eq!(server.starts(), [Some(40_000), None]);
    assert!(!part.exists());
}

/// torchvision's published file, where `ZOO_MOBILENET_V2` says it lies: it is not ours to ship.
fn published() -> Option<Vec<u8>> {
    let path = std::env::var_os("ZOO_MOBILENET_V2");
    if path.is_none() {
        println!("skipped: ZOO_MOBILENET_V2 names no mobilenet_v2-b0353104.pth");
    }
    path.map(|path| fs::read(path).unwrap())
}

#[test]
fn a_model_is_had_by_its_name() {
    let Some(content) = published() else { return };
    let server = Server::start(move |request, stream| server::file(request, stream, &content));
    let cache = TempDir::new().unwrap();
    let classify = [CLASSIFY, &["mobilenet_v2.imagenet1k_v1"]].concat();
    let (code, first, stderr) = run(cache.path(), &server.url, &classify);
    assert!(code == 0 && first.contains("espresso"), "{stderr}");
    assert_eq!(stderr, format!("downloading {}/mobilenet_v2-b0353104.pth\n", server.url));
    // The second time from the record, which says what it is of.
    assert_eq!(run(cache.path(), NOWHERE, &classify), (0, first, String::new()));
    let (_, path, _) = run(cache.path(), NOWHERE, &["weights", "path", PULL[2]]);
    let (_, inspected, _) = run(cache.path(), NOWHERE, &["inspect", path.trim()]);
    assert!(inspected.contains("a record of mobilenet_v2, 1000 classes"), "{inspected}");
    assert!(inspected.contains("from mobilenet_v2-b0353104.pth"), "{inspected}");

    let (code, verdict, _) = run(cache.path(), NOWHERE, &["weights", "verify"]);
    assert!(code == 0 && verdict.contains("sound"), "{verdict}");
    let mut record = fs::read(path.trim()).unwrap();
    let middle = record.len() / 2;
    record[middle] ^= 1;
    fs::write(path.trim(), record).unwrap();
    let (code, verdict, _) = run(cache.path(), NOWHERE, &["weights", "verify"]);
    assert!(code == 1 && verdict.contains("damaged"), "{verdict}");
    let (code, _, stderr) = run(cache.path(), NOWHERE, &classify);
    assert!(code == 1 && stderr.contains("is damaged\nhint: `zoo weights pull mob"), "{stderr}");
    assert_eq!(run(cache.path(), &server.url, PULL).0, 0);
    assert_eq!(run(cache.path(), NOWHERE, &["weights", "verify"]).0, 0);

    let (code, _, _) = run(cache.path(), NOWHERE, &["weights", "remove", "--all"]);
    assert!(code == 0 && !Path::new(path.trim()).exists());
}

#[test]
fn two_processes_download_once() {
    let Some(content) = published() else { return };
    let server = Server::start(move |request, stream| {
        thread::sleep(Duration::from_secs(1));
        server::file(request, stream, &content)
    });
    let cache = TempDir::new().unwrap();
    let both: Vec<Child> =
        (0..2).map(|_| zoo(cache.path(), &server.url, PULL).spawn().unwrap()).collect();
    let mut told = both.into_iter().map(|child| told(child.wait_with_output().unwrap()));
    let (one, other) = (told.next().unwrap(), told.next().unwrap());
    assert_eq!((one.0, other.0, &one.1), (0, 0, &other.1), "{}\n{}", one.2, other.2);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_killed_download_of_the_published_file_becomes_a_record() {
    let Some(content) = published() else { return };
    let cache = TempDir::new().unwrap();
    let hanging = content.clone();
    let server =
        Server::start(move |_, stream| server::hang(stream, hanging.len(), &hanging[..9_000_000]));
    let mut killed = zoo(cache.path(), &server.url, PULL).spawn().unwrap();
    part(cache.path(), 9_000_000);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let server = Server::start(move |request, stream| server::file(request, stream, &content));
    let (code, _, stderr) = run(cache.path(), &server.url, PULL);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(server.starts(), [Some(9_000_000)]);
}

#[test]
fn kills_at_any_moment_of_a_pull_leave_nothing_that_passes_for_weights() {
    const KILLS: u32 = 8;
    let Some(content) = published() else { return };
    let server = Server::start(move |request, stream| server::file(request, stream, &content));
    let cache = TempDir::new().unwrap();
    let started = Instant::now();
    assert_eq!(run(cache.path(), &server.url, PULL).0, 0);
    let duration = started.elapsed();
    for kill in 0..KILLS {
        run(cache.path(), NOWHERE, &["weights", "remove", "--all"]);
        let mut killed = zoo(cache.path(), &server.url, PULL).spawn().unwrap();
        thread::sleep(duration * kill / KILLS);
        killed.kill().unwrap();
        killed.wait().unwrap();
        // What is there is sound, or does not count.
        let (code, verdict, _) = run(cache.path(), NOWHERE, &["weights", "verify"]);
        assert!(code == 0 && !verdict.contains("damaged"), "{verdict}");
    }
    assert_eq!(run(cache.path(), &server.url, PULL).0, 0);
    assert_eq!(run(cache.path(), NOWHERE, &["weights", "verify"]).0, 0);
}
