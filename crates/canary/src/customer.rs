//! Talks to SmartBot as a customer does.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LIMIT: usize = 1 << 20;
/// How long a version may take to appear: a load balancer keeps connections to the old one for a moment.
const ARRIVAL: Duration = Duration::from_secs(15);
/// Between two looks at whether it has.
const PAUSE: Duration = Duration::from_millis(500);
/// What every chatbot of this project knows; both languages have an index of their own.
const QUESTIONS: [&str; 2] = ["パスワードを忘れました", "I forgot my password"];
/// The commit that answered; every answer of the service has it.
const COMMIT: &str = "x-smartbot-commit";

/// A customer that nobody pays.
#[derive(Debug)]
pub(crate) struct Customer {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

struct Answer {
    status: u16,
    commit: Option<String>,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} {}", self.status, text.trim().chars().take(200).collect::<String>())
    }
}

impl Customer {
    pub(crate) fn new() -> std::io::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Customer { client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Waits until the service takes requests and this commit answers.
    pub(crate) async fn meets(&self, url: &str, commit: &str, until: Instant) -> Result<(), String> {
        let until = until.min(Instant::now() + ARRIVAL);
        loop {
            let seen = self.is_there(url, commit).await;
            if seen.is_ok() || Instant::now() + PAUSE >= until {
                return seen;
            }
            sleep(PAUSE).await;
        }
    }

    async fn is_there(&self, url: &str, commit: &str) -> Result<(), String> {
        let ready = self.ask(Method::GET, &format!("{url}/ready"), Bytes::new()).await?;
        if ready.status != 200 {
            return Err(format!("{url} is not ready: {}", ready.told()));
        }
        let version = self.ask(Method::GET, &format!("{url}/version"), Bytes::new()).await?;
        let document = version.json();
        match document["commit"].as_str() {
            Some(found) if version.status == 200 && found.starts_with(commit) => Ok(()),
            Some(found) if version.status == 200 => {
                Err(format!("{url} answers with commit {found}, but {commit} is deployed"))
            }
            _ => Err(format!("{url}/version names no commit: {}", version.told())),
        }
    }

    /// Asks so many questions, one conversation each. Each must be answered by this commit, with its sources.
    pub(crate) async fn converses(&self, url: &str, commit: &str, conversations: u32) -> Result<(), String> {
        for (number, question) in (1..=conversations).zip(QUESTIONS.iter().cycle()) {
            let problem = self.asks(url, commit, question).await;
            problem.map_err(|problem| format!("conversation {number} of {conversations}: {problem}"))?;
        }
        Ok(())
    }

    async fn asks(&self, url: &str, commit: &str, question: &str) -> Result<(), String> {
        let url = format!("{url}/v1/chat");
        let answer = self.ask(Method::POST, &url, json!({"message": question}).to_string().into()).await?;
        if answer.status != 200 {
            return Err(format!("{url} answers “{question}” with {}", answer.told()));
        }
        if let Some(other) = answer.commit.as_deref().filter(|found| !found.starts_with(commit)) {
            return Err(format!("commit {other} answers “{question}”, but {commit} is deployed"));
        }
        let document = answer.json();
        if document["answer"].as_str().is_none_or(|text| text.trim().is_empty()) {
            return Err(format!("no `answer` to “{question}”: {}", answer.told()));
        }
        if document["citations"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("the answer to “{question}” names no source: {}", answer.told()));
        }
        Ok(())
    }

    async fn ask(&self, method: Method, url: &str, body: Bytes) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "smartbot-canary")
            .body(Full::new(body))
            .map_err(|error| format!("{url}: {error}"))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| crate::aws::failed(url, error))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, LIMIT).collect().await.map_err(|error| format!("{url}: {error}"))?;
            let commit = parts.headers.get(COMMIT).and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok(Answer { status: parts.status.as_u16(), commit, body: body.to_bytes() })
        };
        let seconds = PATIENCE.as_secs();
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("{url}: no answer within {seconds} s")))
    }
}
