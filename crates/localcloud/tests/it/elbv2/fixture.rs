//! A load balancer of an in-process endpoint, plain servers as its targets, and a load on it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use localcloud::clock::Clock;
use localcloud::services::Service;
use localcloud::{Cloud, Settings, engine};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One load balancer on an endpoint of its own.
pub(crate) struct Balancer {
    pub(crate) cloud: Cloud,
    pub(crate) arn: String,
    reconcilers: Vec<JoinHandle<()>>,
    data: tempfile::TempDir,
}

pub(crate) fn open_cloud(data: &std::path::Path) -> Cloud {
    let settings = Settings {
        listen: "127.0.0.1:1".parse().expect("an address"),
        data_dir: data.to_owned(),
        region: "ap-northeast-1".to_owned(),
        sources: Default::default(),
        build_env: vec![],
        runtime: localcloud::runtime::Runtime::Process,
        advisories: None,
        shim: None,
    };
    Cloud::open(settings, Clock::system(100.0)).expect("opened")
}

/// A port that nobody uses: another one for each call and process, and below those that the system gives to connections,
/// which could take one between its choice and its use.
pub(crate) fn free_port() -> u16 {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(97);
    let mut ports = std::iter::repeat_with(|| {
        let step = STEPS.fetch_add(1, Ordering::Relaxed);
        10_000 + (own.wrapping_add(step) % 20_000) as u16
    });
    ports.find(|&port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("one of them is free")
}

impl Balancer {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let cloud = open_cloud(data.path());
        let reconcilers = engine::start(&cloud);
        let created = cloud.call(Service::Elbv2, "CreateLoadBalancer", json!({"Name": "app"})).await.expect("created");
        let arn = created["LoadBalancers"][0]["LoadBalancerArn"].as_str().expect("an ARN").to_owned();
        Self { cloud, arn, reconcilers, data }
    }

    /// Ends the endpoint, and starts another with its state.
    pub(crate) async fn restart(&mut self) {
        for reconciler in self.reconcilers.drain(..) {
            reconciler.abort();
        }
        self.cloud.data_plane().stop();
        // The store of the old one is locked while anything holds it; a copy of its files is what a kill leaves behind.
        let data = tempfile::tempdir().expect("a folder");
        let state = data.path().join("state");
        std::fs::create_dir(&state).expect("a folder");
        for name in ["snapshot.json", "journal.jsonl"] {
            std::fs::copy(self.data.path().join("state").join(name), state.join(name)).expect("copied");
        }
        self.cloud = open_cloud(data.path());
        self.reconcilers = engine::start(&self.cloud);
        self.data = data;
    }

    pub(crate) async fn call(&self, operation: &str, input: Value) -> Value {
        self.cloud.call(Service::Elbv2, operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    pub(crate) async fn group(&self, name: &str) -> String {
        let input = json!({
            "Name": name, "Protocol": "HTTP", "Port": 8080, "TargetType": "ip", "HealthCheckPath": "/health",
            "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "HealthyThresholdCount": 2,
        });
        let created = self.call("CreateTargetGroup", input).await;
        created["TargetGroups"][0]["TargetGroupArn"].as_str().expect("an ARN").to_owned()
    }

    pub(crate) async fn listen(&self, shares: &[(&str, u32)]) -> (String, u16) {
        let port = free_port();
        let input =
            json!({"LoadBalancerArn": self.arn, "Protocol": "HTTP", "Port": port, "DefaultActions": forward(shares)});
        let created = self.call("CreateListener", input).await;
        (created["Listeners"][0]["ListenerArn"].as_str().expect("an ARN").to_owned(), port)
    }

    pub(crate) async fn shift(&self, listener: &str, shares: &[(&str, u32)]) {
        self.call("ModifyListener", json!({"ListenerArn": listener, "DefaultActions": forward(shares)})).await;
    }

    pub(crate) async fn register(&self, group: &str, backend: &Backend) {
        self.call("RegisterTargets", json!({"TargetGroupArn": group, "Targets": [backend.target()]})).await;
    }

    pub(crate) async fn deregister(&self, group: &str, backend: &Backend) {
        self.call("DeregisterTargets", json!({"TargetGroupArn": group, "Targets": [backend.target()]})).await;
    }

    pub(crate) async fn idle_timeout(&self, seconds: u64) {
        let attributes = json!([{"Key": "idle_timeout.timeout_seconds", "Value": seconds.to_string()}]);
        self.call("ModifyLoadBalancerAttributes", json!({"LoadBalancerArn": self.arn, "Attributes": attributes})).await;
    }

    /// State, reason and description of a target's health.
    pub(crate) async fn state(&self, group: &str, backend: &Backend) -> (String, String, String) {
        let health =
            self.call("DescribeTargetHealth", json!({"TargetGroupArn": group, "Targets": [backend.target()]})).await;
        let health = &health["TargetHealthDescriptions"][0]["TargetHealth"];
        let text = |key: &str| health[key].as_str().unwrap_or_default().to_owned();
        (text("State"), text("Reason"), text("Description"))
    }

    pub(crate) async fn wait_for(&self, group: &str, backend: &Backend, state: &str) {
        for _ in 0..400 {
            if self.state(group, backend).await.0 == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} is {:?}, not {state}", backend.address, self.state(group, backend).await);
    }
}

fn forward(shares: &[(&str, u32)]) -> Value {
    let groups: Vec<Value> =
        shares.iter().map(|(arn, weight)| json!({"TargetGroupArn": arn, "Weight": weight})).collect();
    json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}])
}

/// A server that answers with its name.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Backend {
    pub(crate) async fn start(name: &str) -> Self {
        Self::with_health(name, StatusCode::OK).await
    }

    pub(crate) async fn start_unhealthy(name: &str) -> Self {
        Self::with_health(name, StatusCode::NOT_FOUND).await
    }

    async fn with_health(name: &str, health: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let name: Arc<str> = name.into();
        let server = tokio::spawn(async move {
            // Its connections end with it, as those of a killed process do.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let name = name.clone();
                let service = service_fn(move |request| respond(name.clone(), health, request));
                connections.spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades();
                    let _ = connection.await;
                });
            }
        });
        Self { address, server }
    }

    pub(crate) fn kill(&self) {
        self.server.abort();
    }

    fn target(&self) -> Value {
        json!({"Id": self.address.ip().to_string(), "Port": self.address.port()})
    }
}

type Answer = Result<Response<UnsyncBoxBody<Bytes, Infallible>>, &'static str>;

async fn respond(name: Arc<str>, health: StatusCode, mut request: Request<Incoming>) -> Answer {
    let text = |text: String| Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    Ok(match request.uri().path() {
        "/health" => {
            let mut response = text(String::new());
            *response.status_mut() = health;
            response
        }
        "/events" => {
            let events = stream::unfold(0, move |number| {
                let name = name.clone();
                async move {
                    if number == 10 {
                        return None;
                    }
                    if number > 0 {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    let event = Bytes::from(format!("data: {name} {number}\n\n"));
                    Some((Ok(Frame::data(event)), number + 1))
                }
            });
            Response::new(StreamBody::new(events).boxed_unsync())
        }
        "/headers" => {
            let lines: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
                .collect();
            text(lines.join("\n"))
        }
        "/broken" => return Err("closed on purpose"),
        "/never" => std::future::pending().await,
        "/socket" => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                if let Ok(upgraded) = upgraded.await {
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                }
            });
            let mut response = text(String::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
            response.headers_mut().insert("upgrade", "websocket".parse().expect("a value"));
            response
        }
        _ => {
            // Long enough for requests to be in flight when something changes.
            tokio::time::sleep(Duration::from_millis(2)).await;
            text(name.to_string())
        }
    })
}

/// The head of an answer, on a connection of its own.
pub(crate) async fn open(port: u16, path: &str) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    client.get(format!("http://127.0.0.1:{port}{path}").parse().expect("a URL")).await.expect("an answer")
}

/// Status and body.
pub(crate) async fn get(port: u16, path: &str) -> (StatusCode, String) {
    let response = open(port, path).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Clients that ask without a pause, over connections that they keep.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answered: usize,
    pub(crate) failed: Vec<String>,
    /// How often each name answered.
    pub(crate) names: std::collections::BTreeMap<String, usize>,
}

impl Outcome {
    pub(crate) fn nothing_lost(&self) {
        let (count, first) = (self.failed.len(), self.failed.first());
        assert!(count == 0, "{count} of {} requests failed, first: {first:?}; {:?}", self.answered + count, self.names);
    }
}

impl Load {
    pub(crate) fn start(port: u16, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients).map(|number| tokio::spawn(ask(port, number, stop.clone()))).collect();
        Self { stop, clients }
    }

    pub(crate) async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for client in self.clients {
            let outcome = client.await.expect("a client");
            all.answered += outcome.answered;
            all.failed.extend(outcome.failed);
            for (name, count) in outcome.names {
                *all.names.entry(name).or_default() += count;
            }
        }
        all
    }
}

async fn ask(port: u16, number: usize, stop: Arc<AtomicBool>) -> Outcome {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut outcome = Outcome::default();
    while !stop.load(Ordering::Relaxed) {
        // Half of them post, so that the balancer cannot hide a loss by asking again.
        let method = if number.is_multiple_of(2) { "GET" } else { "POST" };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{port}/"))
            .body(Full::new(Bytes::from(if method == "GET" { "" } else { "body" })))
            .expect("a request");
        let answer = async {
            let response = client.request(request).await.map_err(|error| format!("{error:?}"))?;
            if response.status() != StatusCode::OK {
                return Err(response.status().to_string());
            }
            let commit =
                response.headers().get("x-smartbot-commit").and_then(|commit| commit.to_str().ok()).map(str::to_owned);
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok(commit.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned()))
        };
        match answer.await {
            Ok(name) => {
                outcome.answered += 1;
                *outcome.names.entry(name).or_default() += 1;
            }
            Err(error) => outcome.failed.push(error),
        }
    }
    outcome
}
