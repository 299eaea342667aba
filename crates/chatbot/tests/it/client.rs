//! A small blocking HTTP/1.1 client: enough for the tests, and nothing between them and the wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A response whose head has arrived; the body is read on demand.
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

/// A server-sent event.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Sends one request on a connection of its own.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    socket.write_all(head.as_bytes())?;
    socket.write_all(b"\r\n")?;
    // A server that refuses the head may close before it has read the body.
    let _ = socket.write_all(body);
    Response::read(socket)
}

/// Asks a question and expects JSON.
pub(crate) fn ask(address: SocketAddr, question: &Value) -> (u16, Value) {
    let response = post(address, question, &[]);
    (response.status, response.json())
}

/// Asks a question with further headers.
pub(crate) fn post(address: SocketAddr, question: &Value, headers: &[(&str, &str)]) -> Response {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers);
    send(address, "POST", "/v1/chat", &all, question.to_string().as_bytes()).expect("the server answers")
}

/// Gets a path.
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    send(address, "GET", path, &[], b"").expect("the server answers")
}

impl Response {
    fn read(socket: TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        Ok(Self { status, headers, reader })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(mut self) -> String {
        let mut body = Vec::new();
        match self.header("content-length").map(str::parse::<u64>) {
            Some(length) => {
                let length = length.expect("a number");
                (&mut self.reader).take(length).read_to_end(&mut body).expect("the whole body");
                assert_eq!(body.len() as u64, length);
            }
            None => {
                while let Some(chunk) = self.chunk() {
                    body.extend(chunk);
                }
            }
        }
        String::from_utf8(body).expect("UTF-8")
    }

    pub(crate) fn json(self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    /// The body, unless the connection ended before it did.
    pub(crate) fn try_json(mut self) -> Option<Value> {
        let length: usize = self.header("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// The next event, `None` at the proper end of the stream.
    pub(crate) fn event(&mut self) -> Option<Event> {
        // Comments only keep the connection alive.
        let chunk = std::iter::from_fn(|| self.chunk()).find(|chunk| !chunk.starts_with(b":"))?;
        let chunk = String::from_utf8(chunk).expect("UTF-8");
        let field = |name: &str| {
            let found = chunk.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_else(|| panic!("{name} in {chunk:?}")).to_owned()
        };
        Some(Event {
            id: field("id: ").parse().expect("a sequence number"),
            name: field("event: "),
            data: serde_json::from_str(&field("data: ")).expect("JSON"),
        })
    }

    pub(crate) fn events(mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.event()).collect()
    }

    /// The next chunk of a chunked body; the server writes one event per chunk.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a chunk size");
        let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("cut off: {line:?}"));
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("a whole chunk");
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }
}
