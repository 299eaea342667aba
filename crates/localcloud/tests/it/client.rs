//! A client of a served endpoint over plain HTTP: the AWS JSON protocol, without an SDK.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::Endpoint;

/// An error answer.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The error's code.
    pub(crate) code: String,
    /// Its message.
    pub(crate) message: String,
}

impl Endpoint {
    /// Calls a JSON 1.1 operation; `target` is the service's target prefix, for example `CodePipeline_20150709`.
    pub(crate) fn call(&self, target: &str, operation: &str, input: &Value) -> Result<Value, Refused> {
        let body = input.to_string();
        let mut stream = TcpStream::connect(&self.address).expect("the endpoint accepts");
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {}\r\nX-Amz-Target: {target}.{operation}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len(),
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let value: Value = if body.is_empty() { Value::Null } else { serde_json::from_str(body).expect("JSON") };
        if head.starts_with("HTTP/1.1 200") {
            return Ok(value);
        }
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let code = text("__type");
        Err(Refused { code: code.rsplit('#').next().unwrap_or_default().to_owned(), message: text("message") })
    }
}

/// Polls until `probe` gives a value; fails with what was waited for, after longer than a busy machine takes.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
