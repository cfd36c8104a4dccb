//! Servers on 127.0.0.1, good ones and others.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A server that answers until the test ends.
pub(crate) struct Server {
    /// `http://127.0.0.1:port`
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// `/folder/file`
    pub(crate) path: String,
    /// The first byte of a range.
    pub(crate) start: Option<usize>,
}

impl Server {
    /// Answers each request, on a thread of its own, with a function that may do so badly.
    pub(crate) fn start<F>(answer: F) -> Self
    where
        F: Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let request = read(&mut stream).unwrap();
                    seen.lock().unwrap().push(request.clone());
                    // A client may hang up.
                    let _ = answer(&request, &mut stream);
                });
            }
        });
        Self { url, requests }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The ranges that were asked for so far.
    pub(crate) fn starts(&self) -> Vec<Option<usize>> {
        self.requests().into_iter().map(|request| request.start).collect()
    }
}

fn read(stream: &mut TcpStream) -> io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let start = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
    Ok(Request {
        path: head.split(' ').nth(1).unwrap().to_owned(),
        start: start.map(|range| range.trim_end_matches('-').parse().unwrap()),
    })
}

/// Writes a response's head: the status, headers, and that the connection is then closed.
pub(crate) fn head(stream: &mut TcpStream, status: &str, headers: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n")
}

/// A response without a range, with as many bytes as it says.
pub(crate) fn whole(stream: &mut TcpStream, content: &[u8]) -> io::Result<()> {
    head(stream, "200 OK", &format!("Content-Length: {}\r\n", content.len()))?;
    stream.write_all(content)
}

/// What a good server does: the range that is asked for, if any is.
pub(crate) fn file(request: &Request, stream: &mut TcpStream, content: &[u8]) -> io::Result<()> {
    let length = content.len();
    match request.start {
        None => whole(stream, content),
        Some(start) if start < length => {
            let headers = format!(
                "Content-Length: {}\r\nContent-Range: bytes {start}-{}/{length}\r\n",
                length - start,
                length - 1
            );
            head(stream, "206 Partial Content", &headers)?;
            stream.write_all(&content[start..])
        }
        Some(_) => head(
            stream,
            "416 Range Not Satisfiable",
            &format!("Content-Length: 0\r\nContent-Range: bytes */{length}\r\n"),
        ),
    }
}

/// Promises so many bytes and sends some, then nothing.
pub(crate) fn hang(stream: &mut TcpStream, length: usize, sent: &[u8]) -> io::Result<()> {
    head(stream, "200 OK", &format!("Content-Length: {length}\r\n"))?;
    stream.write_all(sent)?;
    stream.flush()?;
    thread::sleep(Duration::from_secs(60));
    Ok(())
}
