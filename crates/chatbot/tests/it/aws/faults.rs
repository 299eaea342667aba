//! DynamoDB with faults: what a test wants refused is refused, everything else goes on to the endpoint.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::endpoint;

/// What happens to one request.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Refused with this status and exception.
    Refuse(u16, &'static str),
    /// A transaction is cancelled, for this reason.
    Cancel(&'static str),
    /// Done, but the answer is lost.
    LoseAnswer,
}

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Often {
    Times(u32),
    Always,
}

/// Faults for operations by their name, in order.
type Script = Arc<Mutex<VecDeque<(&'static str, Fault, Often)>>>;

/// Stands between the service and the endpoint; it lives as long as the test process.
#[derive(Debug, Clone)]
pub(super) struct FaultyDynamo {
    address: SocketAddr,
    script: Script,
    /// The operations of all requests.
    seen: Arc<Mutex<Vec<String>>>,
}

impl FaultyDynamo {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let faulty = Self { address, script: Script::default(), seen: Arc::default() };
        let serving = faulty.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || serving.connection(socket));
            }
        });
        faulty
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this happens to an operation, after what was planned for it before.
    pub(super) fn plan(&self, operation: &'static str, fault: Fault, often: Often) {
        self.script.lock().unwrap().push_back((operation, fault, often));
    }

    /// Nothing happens any more.
    pub(super) fn heal(&self) {
        self.script.lock().unwrap().clear();
    }

    /// How often an operation was asked for since this was asked last.
    pub(super) fn count(&self, operation: &str) -> usize {
        let mut seen = self.seen.lock().unwrap();
        let before = seen.len();
        seen.retain(|other| other != operation);
        before - seen.len()
    }

    fn fault(&self, operation: &str) -> Option<Fault> {
        self.seen.lock().unwrap().push(operation.to_owned());
        let mut script = self.script.lock().unwrap();
        let place = script.iter().position(|(planned, ..)| *planned == operation)?;
        let (_, fault, often) = &mut script[place];
        let fault = fault.clone();
        match often {
            Often::Always => {}
            Often::Times(1) => drop(script.remove(place)),
            Often::Times(left) => *left -= 1,
        }
        Some(fault)
    }

    fn connection(&self, socket: TcpStream) {
        let mut reader = BufReader::new(socket);
        while let Some((head, body)) = read(&mut reader) {
            let target =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("x-amz-target:").map(|_| line));
            let operation = target.and_then(|line| line.rsplit('.').next()).unwrap_or_default().trim().to_owned();
            let answer = match self.fault(&operation) {
                None => forward(&head, &body),
                Some(Fault::LoseAnswer) => {
                    forward(&head, &body);
                    return;
                }
                Some(Fault::Refuse(status, exception)) => refuse(status, exception, &json!({})),
                Some(Fault::Cancel(code)) => {
                    let reasons = json!({"CancellationReasons": [{"Code": "None"}, {"Code": code, "Message": "no"}]});
                    refuse(400, "TransactionCanceledException", &reasons)
                }
            };
            if reader.get_mut().write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// A request's head and body.
fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Asks the endpoint, on a connection of its own; returns the answer as it is.
fn forward(head: &str, body: &[u8]) -> Vec<u8> {
    let endpoint = endpoint();
    let mut upstream = TcpStream::connect(endpoint.trim_start_matches("http://")).expect("the endpoint answers");
    upstream
        .write_all(head.as_bytes())
        .and_then(|()| upstream.write_all(b"connection: close\r\n\r\n"))
        .expect("it reads");
    upstream.write_all(body).expect("it reads");
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).expect("it answers");
    answer
}

fn refuse(status: u16, exception: &str, more: &Value) -> Vec<u8> {
    let mut body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{exception}"), "message": "no"});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let body = body.to_string();
    let head = "content-type: application/x-amz-json-1.0\r\nx-amzn-requestid: R";
    format!("HTTP/1.1 {status} Refused\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
