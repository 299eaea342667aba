//! What a container runs where a test needs one: a small HTTP server that can also misbehave on purpose.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` (or `HEALTH_PATH`) and `/ready` | 200, or 500 with `MODE=badhealth` |
//! | `GET /version` | `{"commit", "image_digest"}` from `SMARTBOT_COMMIT` and `IMAGE_DIGEST` |
//! | `GET /stream?seconds=N` | one server-sent event each 100 ms for N seconds, then `event: end` |
//! | `GET /leak` | takes memory until the container's limit ends it |
//! | `GET /crash` | exits with 42 |
//! | `GET /print?lines=N` | writes N lines to standard output |
//! | `GET /env?name=X` | the value of a variable, 404 when it is not set |
//! | `GET /file?path=P`, `POST /file?path=P` | reads a file; appends the body to it |
//! | anything else | 200 with the commit |
//!
//! `MODE=crash` exits at once with 42, `MODE=leak` listens, answers nobody and takes memory. Every answer carries `x-smartbot-commit`.
//! SIGTERM: stops accepting and exits with 0 when the open requests have ended. `standin --healthcheck` asks the
//! health path on `LISTEN` and exits with 0 or 1.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

static STOPPING: AtomicBool = AtomicBool::new(false);
static OPEN: AtomicUsize = AtomicUsize::new(0);

fn main() {
    let listen = variable("LISTEN", "127.0.0.1:8080");
    if env::args().nth(1).as_deref() == Some("--healthcheck") {
        exit(i32::from(!answers(&listen)));
    }
    on_sigterm();
    let mode = variable("MODE", "");
    if mode == "crash" {
        eprintln!("standin: crashing at start, as MODE asks");
        exit(42);
    }
    let listener = match TcpListener::bind(&listen) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("standin: cannot listen on {listen}: {error}");
            exit(1);
        }
    };
    if mode == "leak" {
        // Nobody is answered meanwhile: the memory limit ends this long before a health check's patience does.
        leak();
    }
    if let Err(error) = listener.set_nonblocking(true) {
        eprintln!("standin: {error}");
        exit(1);
    }
    println!("standin {} listens on {listen}", commit());
    while !STOPPING.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                OPEN.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _ = serve(stream);
                    OPEN.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
    drop(listener);
    println!("standin drains {} open connections", OPEN.load(Ordering::SeqCst));
    while OPEN.load(Ordering::SeqCst) > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    println!("standin ends");
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn commit() -> String {
    variable("SMARTBOT_COMMIT", "unknown")
}

fn on_sigterm() {
    extern "C" fn stop(_: i32) {
        STOPPING.store(true, Ordering::SeqCst);
    }
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    }
    // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
    unsafe { signal(15, stop) };
}

fn leak() -> ! {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(vec![1; 16 << 20]);
        std::hint::black_box(&taken);
    }
}

fn answers(listen: &str) -> bool {
    let path = variable("HEALTH_PATH", "/health");
    let Ok(mut stream) = TcpStream::connect(listen) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut answer = String::new();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// Serves a connection's requests, several of them when it is kept alive.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    // A short idle limit, so that idle kept-alive connections do not hold up the end.
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some(request) = read_request(&mut reader)? else { return Ok(()) };
        let keep_alive = respond(&mut stream, &request)?;
        if !keep_alive || STOPPING.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
    close: bool,
}

impl Request {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.parameter(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(_) if !STOPPING.load(Ordering::SeqCst) && line.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or("/").to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (mut length, mut close) = (0, false);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "connection" => close = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path: path.to_owned(), query: query.to_owned(), body, close }))
}

fn respond(stream: &mut TcpStream, request: &Request) -> std::io::Result<bool> {
    let health = variable("HEALTH_PATH", "/health");
    let (status, body) = match request.path.as_str() {
        path if path == health || path == "/ready" => match variable("MODE", "").as_str() {
            "badhealth" => (500, "unhealthy\n".to_owned()),
            _ => (200, "ok\n".to_owned()),
        },
        "/health" => (404, "the health path is another one\n".to_owned()),
        "/version" => {
            let digest = variable("IMAGE_DIGEST", "");
            (200, format!("{{\"name\":\"standin\",\"commit\":\"{}\",\"image_digest\":\"{digest}\"}}\n", commit()))
        }
        "/stream" => return events(stream, request.number("seconds", 5)).map(|()| false),
        "/crash" => {
            eprintln!("standin: crashing, as asked");
            exit(42);
        }
        "/leak" => leak(),
        "/print" => {
            let lines = request.number("lines", 1);
            (0..lines).for_each(|line| println!("line {line} of {lines}"));
            (200, String::new())
        }
        "/env" => match env::var(request.parameter("name").unwrap_or_default()) {
            Ok(value) => (200, value),
            Err(_) => (404, String::new()),
        },
        "/file" => file(request),
        _ => (200, format!("{{\"commit\":\"{}\"}}\n", commit())),
    };
    let connection = if request.close || STOPPING.load(Ordering::SeqCst) { "close" } else { "keep-alive" };
    let head = head(status, "application/json");
    write!(stream, "{head}Content-Length: {}\r\nConnection: {connection}\r\n\r\n{body}", body.len())?;
    Ok(connection == "keep-alive")
}

fn file(request: &Request) -> (u16, String) {
    let path = request.parameter("path").unwrap_or_default();
    let result = if request.method == "POST" {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(&request.body))
            .map(|()| String::new())
    } else {
        std::fs::read_to_string(path)
    };
    result.map_or_else(|error| (500, format!("{error}\n")), |text| (200, text))
}

fn head(status: u16, kind: &str) -> String {
    let reason = if status == 200 { "OK" } else { "Error" };
    format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nx-smartbot-commit: {}\r\n", commit())
}

fn events(stream: &mut TcpStream, seconds: u64) -> std::io::Result<()> {
    write!(stream, "{}Cache-Control: no-store\r\nConnection: close\r\n\r\n", head(200, "text/event-stream"))?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut number = 0;
    while Instant::now() < until {
        write!(stream, "data: {number}\n\n")?;
        stream.flush()?;
        number += 1;
        thread::sleep(Duration::from_millis(100));
    }
    write!(stream, "event: end\ndata: {number}\n\n")
}
