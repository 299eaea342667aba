//! What answers at an address: one plain HTTP request, for environments reachable without TLS.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(3);

/// The commit that `GET /version` names; nothing if it cannot be asked.
pub(crate) async fn commit(url: &str) -> Option<String> {
    let body = tokio::time::timeout(PATIENCE, get(url, "/version")).await.ok()??;
    let version: serde_json::Value = serde_json::from_str(&body).ok()?;
    version["commit"].as_str().filter(|commit| !commit.is_empty()).map(str::to_owned)
}

async fn get(url: &str, path: &str) -> Option<String> {
    let authority = url.strip_prefix("http://")?.split('/').next()?;
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut stream = TcpStream::connect(address).await.ok()?;
    // HTTP/1.0: the answer is neither chunked nor kept alive.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}
