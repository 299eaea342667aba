//! `smartbot --healthcheck`: asks a running server whether it is healthy. An empty image has no curl.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// Why a server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// It does not answer.
    #[error("no answer from {address}: {source}")]
    Silent {
        /// Where it was asked.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// It answers, but not with 200.
    #[error("{address} answered {line:?} to GET /health")]
    Refuses {
        /// Where it was asked.
        address: SocketAddr,
        /// Its status line.
        line: String,
    },
}

/// Asks `GET /health`.
pub fn check(address: SocketAddr) -> Result<(), Unhealthy> {
    let line = status_line(address).map_err(|source| Unhealthy::Silent { address, source })?;
    match line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(Unhealthy::Refuses { address, line }),
    }
}

fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    write!(socket, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    socket.take(4096).read_to_end(&mut head)?;
    let line = head.split(|&b| b == b'\r' || b == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}
