//! A model that does what a test wants, faults included: loopback sockets that speak OpenAI's
//! chat completions and Bedrock's ConverseStream.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

/// What the fake does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Refuses: status, `Retry-After`, the provider's code.
    Refuse(u16, Option<u32>, &'static str),
    /// Streams, step by step.
    Stream(Vec<Step>),
    /// Answers something else than a stream.
    Html,
}

/// A step of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Says something.
    Say(&'static str),
    /// Ends properly.
    End,
    /// Ends properly, the answer at its largest.
    EndAtLength,
    /// Reports throttling, as the protocol does in the middle of a stream.
    Throttle,
    /// Reports a failure of its own.
    Fail,
    /// Ends the body without having said that the answer is over.
    Stop,
    /// Cuts the connection in the middle of the body.
    Cut,
    /// Goes silent until [`FakeModel::release`].
    Wait,
    /// Goes silent until the client leaves.
    Hang,
}

/// A whole answer.
pub(crate) fn answer(words: &[&'static str]) -> Act {
    Act::Stream(words.iter().map(|word| Step::Say(word)).chain([Step::End]).collect())
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) traceparent: String,
    pub(crate) body: Value,
}

/// The server; it lives as long as the test process.
#[derive(Debug, Clone)]
pub(crate) struct FakeModel {
    pub(crate) address: SocketAddr,
    acts: Arc<Mutex<VecDeque<Act>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    left: Arc<Mutex<u32>>,
    released: Arc<(Mutex<bool>, Condvar)>,
}

impl FakeModel {
    /// Follows a script; the last act repeats.
    pub(crate) fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let fake = Self {
            address: listener.local_addr().expect("an address"),
            acts: Arc::new(Mutex::new(acts.into_iter().collect())),
            asked: Arc::default(),
            left: Arc::default(),
            released: Arc::default(),
        };
        let serving = fake.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || serving.connection(socket));
            }
        });
        fake
    }

    /// Where the OpenAI dialect is spoken.
    pub(crate) fn openai(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where Bedrock's dialect is spoken.
    #[cfg(feature = "bedrock")]
    pub(crate) fn aws(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many clients left in the middle of an answer.
    pub(crate) fn left(&self) -> u32 {
        *self.left.lock().unwrap()
    }

    /// Lets all that wait go on.
    pub(crate) fn release(&self) {
        let (released, told) = &*self.released;
        *released.lock().unwrap() = true;
        told.notify_all();
    }

    fn connection(&self, socket: TcpStream) {
        socket.set_nodelay(true).expect("no delay");
        let mut reader = BufReader::new(socket);
        while let Some(asked) = read_request(&mut reader) {
            let bedrock = asked.path.ends_with("/converse-stream");
            let warm_up = !bedrock && !asked.path.ends_with("/chat/completions");
            let act = if warm_up {
                Act::Html
            } else {
                self.asked.lock().unwrap().push(asked);
                let mut acts = self.acts.lock().unwrap();
                if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() }.expect("an act")
            };
            if !self.perform(act, bedrock, reader.get_mut()) {
                return;
            }
        }
    }

    /// Does it; false when the connection is over.
    fn perform(&self, act: Act, bedrock: bool, socket: &mut TcpStream) -> bool {
        let steps = match act {
            Act::Refuse(status, retry_after, code) => return refuse(socket, bedrock, status, retry_after, code),
            Act::Html => {
                return write!(socket, "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi")
                    .is_ok();
            }
            Act::Stream(steps) => steps,
        };
        let kind = if bedrock { "application/vnd.amazon.eventstream" } else { "text/event-stream; charset=utf-8" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        let _ = socket.write_all(head.as_bytes());
        for step in steps {
            let bytes = match &step {
                Step::Stop => break,
                Step::Wait => {
                    let (released, told) = &*self.released;
                    drop(told.wait_while(released.lock().unwrap(), |released| !*released).unwrap());
                    continue;
                }
                Step::Cut => {
                    let _ = socket.write_all(b"ff\r\ncut");
                    return false;
                }
                Step::Hang => {
                    // The client sends nothing more: what can be read is that it left.
                    let _ = socket.read(&mut [0]);
                    *self.left.lock().unwrap() += 1;
                    return false;
                }
                step if bedrock => bedrock_events(step),
                step => openai_events(step).into_bytes(),
            };
            let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
            if socket.write_all(&chunk).is_err() {
                *self.left.lock().unwrap() += 1;
                return false;
            }
        }
        socket.write_all(b"0\r\n\r\n").is_ok()
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&length| length > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization, mut traceparent) = (0, String::new(), String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a length"),
            "authorization" => authorization = value.trim().to_owned(),
            "traceparent" => traceparent = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, authorization, traceparent, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn refuse(socket: &mut TcpStream, bedrock: bool, status: u16, retry_after: Option<u32>, code: &str) -> bool {
    // A provider's prose quotes what it was asked; it must not end up in errors and logs.
    let body = if bedrock {
        json!({"message": "your question was: top secret"})
    } else {
        json!({"error": {"message": "your question was: top secret", "code": code, "type": "x"}})
    }
    .to_string();
    let retry = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let kind = format!("x-amzn-errortype: {code}\r\ncontent-type: application/json\r\n");
    write!(socket, "HTTP/1.1 {status} Refused\r\n{kind}{retry}content-length: {}\r\n\r\n{body}", body.len()).is_ok()
}

fn openai_events(step: &Step) -> String {
    let choice = |delta: Value, reason: Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
        format!("data: {}\n\n", json!({"id": "x", "object": "chat.completion.chunk", "choices": choices}))
    };
    let end = |reason: &str| {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}});
        format!(": comment\n\n{}data: {usage}\n\ndata: [DONE]\n\n", choice(json!({}), json!(reason)))
    };
    match step {
        Step::Say(text) => choice(json!({"content": text}), Value::Null),
        Step::End => end("stop"),
        Step::EndAtLength => end("length"),
        Step::Throttle => format!("data: {}\n\n", json!({"error": {"code": "rate_limit_exceeded"}})),
        Step::Fail => format!("data: {}\n\n", json!({"error": {"code": "server_error", "message": "top secret"}})),
        Step::Stop | Step::Cut | Step::Wait | Step::Hang => unreachable!("no event"),
    }
}

fn bedrock_events(step: &Step) -> Vec<u8> {
    let end = |reason: &str| {
        let usage = json!({"inputTokens": 11, "outputTokens": 7, "totalTokens": 18});
        let stop = event("event", "messageStop", &json!({"stopReason": reason}));
        [stop, event("event", "metadata", &json!({"usage": usage, "metrics": {"latencyMs": 1}}))].concat()
    };
    match step {
        Step::Say(text) => {
            event("event", "contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": text}}))
        }
        Step::End => end("end_turn"),
        Step::EndAtLength => end("max_tokens"),
        Step::Throttle => event("exception", "throttlingException", &json!({"message": "slow down"})),
        Step::Fail => event("exception", "modelStreamErrorException", &json!({"message": "top secret"})),
        Step::Stop | Step::Cut | Step::Wait | Step::Hang => unreachable!("no event"),
    }
}

/// One message of the event stream encoding: lengths, headers and payload, each under a checksum.
fn event(message_type: &str, name: &str, payload: &Value) -> Vec<u8> {
    let name_header = if message_type == "exception" { ":exception-type" } else { ":event-type" };
    let mut headers = Vec::new();
    for (header, value) in [(":message-type", message_type), (name_header, name), (":content-type", "application/json")]
    {
        headers.push(header.len() as u8);
        headers.extend(header.as_bytes());
        headers.push(7); // a string
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let payload = payload.to_string();
    let length = (12 + headers.len() + payload.len() + 4) as u32;
    let mut message = [length.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend(crc32(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.as_bytes());
    message.extend(crc32(&message).to_be_bytes());
    message
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}
