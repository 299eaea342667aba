//! A load generator: keep-alive connections that ask one question after another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How often the generator pauses before it looks for answers again: some microseconds.
const PAUSES: u32 = 100;

/// What to ask, where and how.
#[derive(Debug)]
pub(crate) struct Script {
    address: SocketAddr,
    /// A request up to the length of its body.
    head: String,
    /// Each as JSON.
    questions: Vec<String>,
    /// Turns of a conversation before a new one begins; 0 where there are no conversations.
    turns: usize,
}

impl Script {
    /// `headers` are complete lines, besides those that every request has.
    pub(crate) fn new(address: SocketAddr, path: &str, headers: &str, questions: &[String], turns: usize) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{headers}Content-Length: "
        );
        let questions = questions.iter().map(|question| serde_json::Value::from(question.as_str()).to_string());
        Self { address, head, questions: questions.collect(), turns }
    }

    /// Writes a request, in place of the one before.
    fn write(&self, request: &mut String, question: &str, conversation: Option<&str>) {
        const MESSAGE: &str = "{\"message\":";
        const CONVERSATION: &str = ",\"conversation_id\":\"";
        let (before, id, after) = match conversation {
            Some(id) => (CONVERSATION, id, "\"}"),
            None => ("", "", "}"),
        };
        let body = [MESSAGE, question, before, id, after];
        let length = body.iter().map(|part| part.len()).sum::<usize>();
        request.clear();
        for part in [&self.head, itoa::Buffer::new().format(length), "\r\n\r\n"].into_iter().chain(body) {
            request.push_str(part);
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// What the first failure said.
    pub(crate) refusal: Option<String>,
    latencies: Vec<Duration>,
    pub(crate) elapsed: Duration,
}

impl Load {
    /// The latency that a share of the requests did not exceed.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn add(&mut self, other: Load) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.refusal = self.refusal.take().or(other.refusal);
        self.latencies.extend(other.latencies);
        self.elapsed += other.elapsed;
    }
}

/// Asks over `connections` connections for a while; every request in flight at the end is waited for.
///
/// The generator never sleeps meanwhile: to wake it is work that the kernel would charge to the server
/// under test, and that a caller on another machine does not cause. While there is nothing to do it pauses, and it writes
/// requests from parts made before: where both run on one core's two threads, what it computes slows the server down.
pub(crate) async fn run(script: &Arc<Script>, connections: usize, duration: Duration) -> Result<Load> {
    let awake = tokio::spawn(async {
        loop {
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    });
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..connections {
        clients.spawn(client(Arc::clone(script), number, started + duration));
    }
    let mut load = Load::default();
    while let Some(done) = clients.join_next().await {
        load.add(done.context("a client panicked")??);
    }
    load.elapsed = started.elapsed();
    awake.abort();
    Ok(load)
}

async fn client(script: Arc<Script>, number: usize, until: Instant) -> Result<Load> {
    let mut load = Load::default();
    let mut connection = Connection::open(script.address).await?;
    let mut conversation: Option<String> = None;
    let mut request = String::new();
    // Clients start at different questions, so that they do not march in step.
    for (turn, question) in script.questions.iter().cycle().skip(number * 7).enumerate() {
        if Instant::now() >= until {
            break;
        }
        if script.turns > 0 && turn % script.turns == 0 {
            conversation = None;
        }
        script.write(&mut request, question, conversation.as_deref());
        let started = Instant::now();
        let (status, body) = connection.exchange(&request).await?;
        load.latencies.push(started.elapsed());
        load.requests += 1;
        if status == 200 {
            if script.turns > 0 && conversation.is_none() {
                conversation = member(body, "conversation_id").map(str::to_owned);
            }
        } else {
            load.failures += 1;
            load.refusal.get_or_insert_with(|| format!("{status} {}", String::from_utf8_lossy(body)));
            conversation = None;
        }
    }
    Ok(load)
}

/// A text member of a JSON object, without parsing the whole.
fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let body = std::str::from_utf8(body).ok()?;
    let value = body.split_once(&format!("\"{name}\":\""))?.1;
    Some(value.split_once('"')?.0)
}

/// One connection that speaks just enough HTTP.
struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { address, stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request; returns the status and the body. A connection that the server has closed while
    /// it was idle is opened again once.
    async fn exchange(&mut self, request: &str) -> Result<(u16, &[u8])> {
        let read = match self.send(request).await {
            Ok(read) => read,
            Err(_) => {
                self.stream = Self::open(self.address).await?.stream;
                self.send(request).await?
            }
        };
        let (status, body) = read;
        Ok((status, &self.buffer[body]))
    }

    async fn send(&mut self, request: &str) -> Result<(u16, std::ops::Range<usize>)> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        let mut head: Option<(u16, usize, usize)> = None;
        loop {
            if let Some((status, start, length)) = head
                && filled >= start + length
            {
                return Ok((status, start..start + length));
            }
            if filled == self.buffer.len() {
                bail!("an answer is larger than {} bytes", self.buffer.len());
            }
            match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => bail!("the server closed the connection"),
                read => filled += read,
            }
            if head.is_none()
                && let Some(end) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n")
            {
                let text = std::str::from_utf8(&self.buffer[..end]).context("a head that is not text")?;
                head = Some(parse_head(text, end + 4)?);
            }
        }
    }
}

fn parse_head(text: &str, start: usize) -> Result<(u16, usize, usize)> {
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .context("an answer without content-length")?;
    Ok((status, start, length))
}

/// Opens `number` event streams and reads each to its end; returns the answers that came whole, and
/// calls `open` while all of them are open.
pub(crate) async fn streams(script: &Arc<Script>, number: usize, open: impl FnOnce() -> Result<()>) -> Result<usize> {
    let mut readers = JoinSet::new();
    let (begun, mut all_begun) = tokio::sync::mpsc::channel::<()>(number);
    for position in 0..number {
        let (script, begun) = (Arc::clone(script), begun.clone());
        readers.spawn(async move {
            let mut stream = TcpStream::connect(script.address).await?;
            let question = &script.questions[position % script.questions.len()];
            let mut request = String::new();
            script.write(&mut request, question, None);
            let request = request.replacen("\r\n", "\r\nAccept: text/event-stream\r\n", 1);
            stream.write_all(request.as_bytes()).await?;
            let mut received = Vec::new();
            let mut buffer = [0; 4096];
            let mut told = false;
            // The connection stays open after the last event, so the event is what to wait for.
            while !received.windows(12).any(|window| window == b"event: done\n") {
                match stream.read(&mut buffer).await? {
                    0 => break,
                    read => received.extend_from_slice(&buffer[..read]),
                }
                if !told && received.windows(13).any(|window| window == b"event: start\n") {
                    told = true;
                    begun.send(()).await?;
                }
            }
            anyhow::Ok(received.windows(12).any(|window| window == b"event: done\n"))
        });
    }
    drop(begun);
    let mut opened = 0;
    while opened < number && all_begun.recv().await.is_some() {
        opened += 1;
    }
    if opened == number {
        open()?;
    }
    let mut whole = 0;
    while let Some(done) = readers.join_next().await {
        whole += usize::from(done.context("a reader panicked")??);
    }
    Ok(whole)
}
