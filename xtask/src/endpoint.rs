//! The embedded endpoint seen from outside: its address, its status, its shutdown. Plain HTTP/1.1, loopback only.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::problem::{CONFIGURATION, Problem, UNREACHABLE};

/// Where the endpoint is, or shall be.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    address: SocketAddr,
}

impl Endpoint {
    /// Takes `http://HOST:PORT` of this machine; everything else is not ours to start or stop.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let refused = |why: &str| {
            Problem::new(
                CONFIGURATION,
                format!("{url} is not an embedded endpoint: {why}"),
                "unset AWS_ENDPOINT_URL, or give it as http://127.0.0.1:PORT",
            )
        };
        let authority =
            url.strip_prefix("http://").ok_or_else(|| refused("it does not begin with http://"))?.trim_end_matches('/');
        let address = authority
            .to_socket_addrs()
            .map_err(|error| refused(&error.to_string()))?
            .find(SocketAddr::is_ipv4)
            .ok_or_else(|| refused("it has no IPv4 address"))?;
        if !address.ip().is_loopback() {
            return Err(refused("it is not on this machine").into());
        }
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The endpoint's status document; `None` when nothing listens there.
    pub(crate) fn status(&self) -> Result<Option<Status>> {
        let Some(answer) = self.request("GET", "/_localcloud/status")? else { return Ok(None) };
        let document = serde_json::from_slice::<Value>(&answer.body).ok().filter(|document| {
            answer.status == 200 && document["endpoint"].is_string() && document["time_scale"].is_number()
        });
        match document {
            Some(document) => Ok(Some(Status { document })),
            None => Err(Problem::new(
                UNREACHABLE,
                format!("something else than the embedded endpoint answers on {}", self.url()),
                "stop that program, or choose another port: AWS_ENDPOINT_URL=http://127.0.0.1:PORT, or local.endpoint \
                 in environments/project.yaml",
            )
            .into()),
        }
    }

    /// One request. `None` when nothing listens there.
    pub(crate) fn request(&self, method: &str, path: &str) -> Result<Option<Answer>> {
        let mut stream = match TcpStream::connect_timeout(&self.address, Duration::from_secs(2)) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(None),
            Err(error) => return Err(anyhow!(error).context(format!("cannot reach {}", self.url()))),
        };
        let mut raw = Vec::new();
        let mut exchange = || {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
            stream.write_all(format!("{head}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes())?;
            stream.read_to_end(&mut raw)
        };
        exchange().with_context(|| format!("{} does not answer {method} {path}", self.url()))?;
        Answer::parse(&raw).map(Some).with_context(|| format!("{} does not answer {method} {path} in HTTP", self.url()))
    }
}

/// What a running endpoint says about itself.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) document: Value,
}

impl Status {
    pub(crate) fn time_scale(&self) -> f64 {
        self.document["time_scale"].as_f64().unwrap_or(1.0)
    }

    /// The line that every command shows when model waits are shortened, so that no time is taken for AWS's.
    pub(crate) fn scale_notice(&self) -> Option<String> {
        let scale = self.time_scale();
        let endpoint = self.document["endpoint"].as_str().unwrap_or_default();
        (scale != 1.0)
            .then(|| format!("endpoint {endpoint} (time scale {scale}: model waits pass {scale} times faster)"))
    }
}

/// An HTTP response that ended with its connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(raw: &[u8]) -> Result<Self> {
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n").context("the head is cut off")?;
        let head = String::from_utf8_lossy(&raw[..end]);
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        Ok(Self { status: status.context("the status line is not HTTP")?, body: raw[end + 4..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_loopback_addresses_are_ours() {
        let parse = |url| Endpoint::parse(url).map(|endpoint| endpoint.url()).map_err(|error| error.to_string());
        assert_eq!(parse("http://127.0.0.1:7400/"), Ok("http://127.0.0.1:7400".to_owned()));
        for refused in ["https://127.0.0.1:7400", "http://192.0.2.1:80", "http://127.0.0.1", "7400"] {
            assert!(parse(refused).is_err(), "{refused} was taken");
        }
    }

    #[test]
    fn a_shortened_wait_is_said() {
        let status = |scale: f64| Status { document: serde_json::json!({"endpoint": "http://e", "time_scale": scale}) };
        assert_eq!(status(1.0).scale_notice(), None);
        let notice = "endpoint http://e (time scale 10: model waits pass 10 times faster)";
        assert_eq!(status(10.0).scale_notice().as_deref(), Some(notice));
    }
}
