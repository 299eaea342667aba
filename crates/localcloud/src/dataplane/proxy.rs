//! One request through a listener.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::TokioIo;

use super::body::{Activity, Relayed, RequestBody, ResponseBody, whole};
use super::routes::{Forward, InFlight, Outcome, Routes};
use crate::services::elbv2::records::Redirect;

/// Answers a request by the routing table of this moment.
pub(super) async fn answer(
    table: &ArcSwapOption<Routes>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let routes = loop {
        match table.load_full() {
            Some(routes) => break routes,
            // Bound a moment ago; its table follows.
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    routes.counters.requests.fetch_add(1, Ordering::Relaxed);
    let host = host_of(&request).to_owned();
    match routes.outcome(&host, request.uri().path()) {
        Outcome::Forward(forward) => forward_to_target(&routes, forward, peer, request).await,
        Outcome::Fixed { status, content_type, body } => {
            let mut response = Response::new(whole(body.clone()));
            *response.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
            if let Ok(value) = HeaderValue::from_str(content_type) {
                response.headers_mut().insert(header::CONTENT_TYPE, value);
            }
            response
        }
        Outcome::Redirect(redirect) => redirected(redirect, &routes, &host, request.uri()),
    }
}

async fn forward_to_target(
    routes: &Routes,
    forward: &Forward,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let Some((in_flight, group)) = forward.choose() else { return failed(routes, StatusCode::SERVICE_UNAVAILABLE) };
    let upgrade = request.headers().get(header::UPGRADE).cloned().filter(|_| asks_for_upgrade(request.headers()));
    let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    prepare(request.headers_mut(), peer, routes.port, upgrade.as_ref());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("http://{}{path}", in_flight.upstream().address).parse::<Uri>() else {
        return failed(routes, StatusCode::BAD_REQUEST);
    };
    *request.uri_mut() = uri;
    *request.version_mut() = hyper::Version::HTTP_11;

    let began = Instant::now();
    let sent = send(&in_flight, request, routes.idle_timeout).await;
    let mut response = match sent {
        Ok(response) => response,
        Err(status) => return failed(routes, status),
    };
    group.counters.answered(response.status(), began.elapsed());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client_side) = client_side
    {
        let target_side = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let _in_flight = in_flight;
            if let (Ok(client), Ok(target)) = tokio::join!(client_side, target_side) {
                let (mut client, mut target) = (TokioIo::new(client), TokioIo::new(target));
                let _ = tokio::io::copy_bidirectional(&mut client, &mut target).await;
            }
        });
        let protocol = response.headers().get(header::UPGRADE).cloned();
        strip(response.headers_mut());
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            response.headers_mut().insert(header::UPGRADE, protocol);
        }
        return response.map(|_| whole(""));
    }
    strip(response.headers_mut());
    response.map(|body| Relayed::new(body, in_flight, routes.idle_timeout).boxed_unsync())
}

/// Sends a request and waits for the head of its answer, or says with which status it failed.
async fn send(
    in_flight: &InFlight,
    request: Request<Incoming>,
    idle_timeout: Duration,
) -> Result<Response<Incoming>, StatusCode> {
    let activity = Activity::new();
    let (parts, body) = request.into_parts();
    // A connection of the pool may be closed by the target in the moment it is used. A request that changes nothing
    // and has no body is sent once more then; of any other it is not known whether the target acted on it.
    let repeatable = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) && body.is_end_stream();
    if !repeatable {
        let request = Request::from_parts(parts, RequestBody::streamed(body, activity.clone()));
        return wait(in_flight, request, &activity, idle_timeout).await.map_err(Failure::status);
    }
    let mut again = Request::new(RequestBody::Empty);
    *again.method_mut() = parts.method.clone();
    *again.uri_mut() = parts.uri.clone();
    *again.headers_mut() = parts.headers.clone();
    match wait(in_flight, Request::from_parts(parts, RequestBody::Empty), &activity, idle_timeout).await {
        Err(Failure::ClosedEarly) => wait(in_flight, again, &activity, idle_timeout).await.map_err(Failure::status),
        result => result.map_err(Failure::status),
    }
}

enum Failure {
    ClosedEarly,
    BadGateway,
    Timeout,
    /// The client's own body broke off.
    Client,
}

impl Failure {
    fn status(self) -> StatusCode {
        match self {
            Self::ClosedEarly | Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Client => StatusCode::BAD_REQUEST,
        }
    }
}

async fn wait(
    in_flight: &InFlight,
    request: Request<RequestBody>,
    activity: &Arc<Activity>,
    idle_timeout: Duration,
) -> Result<Response<Incoming>, Failure> {
    let mut response = std::pin::pin!(in_flight.upstream().client.request(request));
    loop {
        let deadline = activity.last() + idle_timeout;
        tokio::select! {
            response = &mut response => return response.map_err(|error| failure(&error)),
            () = tokio::time::sleep_until(deadline.into()) => {
                if activity.last() + idle_timeout <= Instant::now() {
                    return Err(Failure::Timeout);
                }
            }
        }
    }
}

fn failure(error: &legacy::Error) -> Failure {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            match io.kind() {
                std::io::ErrorKind::TimedOut => return Failure::Timeout,
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => return Failure::ClosedEarly,
                _ => {}
            }
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            if hyper.is_incomplete_message() {
                return Failure::ClosedEarly;
            }
            if hyper.is_user() {
                return Failure::Client;
            }
        }
        cause = error.source();
    }
    Failure::BadGateway
}

/// Headers that concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get(header::CONNECTION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    connection.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// Turns a client's headers into those for a target.
fn prepare(headers: &mut HeaderMap, peer: SocketAddr, port: u16, upgrade: Option<&HeaderValue>) {
    strip(headers);
    // Our own server has answered it with 100 already when it asks for the body.
    headers.remove(header::EXPECT);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    let address = peer.ip().to_string();
    let forwarded = match headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()) {
        Some(earlier) => format!("{earlier}, {address}"),
        None => address,
    };
    set(headers, "x-forwarded-for", &forwarded);
    set(headers, "x-forwarded-proto", "http");
    set(headers, "x-forwarded-port", &port.to_string());
    if !headers.contains_key("x-amzn-trace-id") {
        set(headers, "x-amzn-trace-id", &trace_id());
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn trace_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("Root=1-{:08x}-{:08x}{count:016x}", now.as_secs() as u32, now.subsec_nanos())
}

fn host_of<B>(request: &Request<B>) -> &str {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    host.rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(host, _)| host)
}

fn redirected(redirect: &Redirect, routes: &Routes, host: &str, uri: &Uri) -> Response<ResponseBody> {
    let fill = |text: &str| {
        text.replace("#{protocol}", "HTTP")
            .replace("#{port}", &routes.port.to_string())
            .replace("#{host}", host)
            .replace("#{path}", uri.path().trim_start_matches('/'))
            .replace("#{query}", uri.query().unwrap_or_default())
    };
    let query = fill(&redirect.query);
    let question = if query.is_empty() { "" } else { "?" };
    let location = format!(
        "{}://{}:{}{}{question}{query}",
        fill(&redirect.protocol).to_ascii_lowercase(),
        fill(&redirect.host),
        fill(&redirect.port),
        fill(&redirect.path),
    );
    let status = if redirect.status_code == "HTTP_301" { StatusCode::MOVED_PERMANENTLY } else { StatusCode::FOUND };
    let mut response = page(status);
    set(response.headers_mut(), "location", &location);
    response
}

/// An answer of the load balancer's own about a request that no target answered.
fn failed(routes: &Routes, status: StatusCode) -> Response<ResponseBody> {
    routes.counters.failed(status);
    page(status)
}

fn page(status: StatusCode) -> Response<ResponseBody> {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Temporarily Unavailable".to_owned(),
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out".to_owned(),
        status => status.to_string(),
    };
    let html = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(whole(html));
    *response.status_mut() = status;
    set(response.headers_mut(), "server", "awselb/2.0");
    set(response.headers_mut(), "content-type", "text/html");
    response
}
