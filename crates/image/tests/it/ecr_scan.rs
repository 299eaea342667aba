//! ECR's scanner, with every status that it may answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_ecr::Client;
use aws_sdk_ecr::config::retry::RetryConfig;
use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use image::Digest;
use image::ecr::EcrError;
use image::scan::Severity;
use image::scan::ecr::{Answer, Patience, scan};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Answers in turn, whatever is asked; the last one again and again.
async fn ecr(answers: Vec<(u16, Value)>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            let service = service_fn(move |_: Request<Incoming>| {
                let mut answers = answers.lock().expect("no test panics while holding it");
                let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
                let (status, body) = answer.expect("an answer");
                let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
                *response.status_mut() = StatusCode::from_u16(status).expect("a status");
                async { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let config = aws_sdk_ecr::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("http://{address}"))
        .region(Region::new("ap-northeast-1"))
        .credentials_provider(Credentials::new("a", "b", None, None, "test"))
        // LimitExceededException looks like throttling to the SDK, and would be asked for again.
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

const PATIENT: Patience = Patience { pause: Duration::from_millis(1), limit: Duration::from_secs(60) };

fn started() -> (u16, Value) {
    (200, json!({"imageScanStatus": {"status": "IN_PROGRESS"}}))
}

fn status(name: &str) -> (u16, Value) {
    (200, json!({"imageScanStatus": {"status": name, "description": "in its words"}}))
}

fn error(code: &str) -> (u16, Value) {
    (400, json!({"__type": code, "message": "in its words"}))
}

async fn ask(answers: Vec<(u16, Value)>) -> Result<Answer, EcrError> {
    scan(&ecr(answers).await, "team/app", &Digest::of(b"image"), PATIENT).await
}

async fn reason(answers: Vec<(u16, Value)>) -> String {
    match ask(answers).await.expect("an answer") {
        Answer::Cannot(reason) => reason,
        Answer::Findings(findings) => panic!("nobody has scanned it: {findings:?}"),
    }
}

#[tokio::test]
async fn a_scan_is_waited_for_and_read_to_its_last_page() {
    let page = |name: &str, severity: &str, next: Option<&str>| {
        let attributes =
            json!([{"key": "package_name", "value": "openssl"}, {"key": "package_version", "value": "1.0"}]);
        let finding = json!({"name": name, "severity": severity, "attributes": attributes});
        let mut page = json!({"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings": {"findings": [finding]}});
        if let Some(next) = next {
            page["nextToken"] = json!(next);
        }
        (200, page)
    };
    let answers = vec![
        started(),
        status("PENDING"),
        status("IN_PROGRESS"),
        page("CVE-1", "CRITICAL", Some("more")),
        page("CVE-2", "UNDEFINED", None),
    ];
    let Answer::Findings(findings) = ask(answers).await.expect("an answer") else { panic!("it was scanned") };
    let seen: Vec<_> =
        findings.iter().map(|found| (found.id.as_str(), found.severity, found.package.as_str())).collect();
    assert_eq!(seen, [("CVE-1", Some(Severity::Critical), "openssl"), ("CVE-2", None, "openssl")]);
}

#[tokio::test]
async fn what_inspector_finds_counts_for_each_package() {
    let finding = json!({"severity": "HIGH", "title": "a hole", "packageVulnerabilityDetails": {
        "vulnerabilityId": "CVE-3", "relatedVulnerabilities": ["GHSA-3"],
        "vulnerablePackages": [{"name": "one", "version": "1"}, {"name": "two", "version": "2"}]}});
    let findings =
        json!({"imageScanStatus": {"status": "ACTIVE"}, "imageScanFindings": {"enhancedFindings": [finding]}});
    // A registry that Inspector watches refuses to start a scan, and has one.
    let answers = vec![error("ValidationException"), (200, findings)];
    let Answer::Findings(findings) = ask(answers).await.expect("an answer") else { panic!("it was scanned") };
    let seen: Vec<_> =
        findings.iter().map(|found| (found.package.as_str(), found.severity, &found.aliases[..])).collect();
    let alias = &["GHSA-3".to_owned()][..];
    assert_eq!(seen, [("one", Some(Severity::High), alias), ("two", Some(Severity::High), alias)]);
}

#[tokio::test]
async fn every_other_status_says_that_nobody_scanned() {
    for name in [
        "UNSUPPORTED_IMAGE",
        "FAILED",
        "FINDINGS_UNAVAILABLE",
        "SCAN_ELIGIBILITY_EXPIRED",
        "LIMIT_EXCEEDED",
        "IMAGE_ARCHIVED",
        "OF_A_LATER_YEAR",
    ] {
        let reason = reason(vec![started(), status(name)]).await;
        assert!(reason.contains("in its words"), "{name}: {reason}");
    }
    assert_eq!(reason(vec![error("UnsupportedImageTypeException")]).await, "in its words");
    assert_eq!(
        reason(vec![error("LimitExceededException"), error("ScanNotFoundException")]).await,
        "there is no scan of it"
    );
    let impatient = Patience { limit: Duration::ZERO, ..PATIENT };
    let client = ecr(vec![started(), status("IN_PROGRESS")]).await;
    let late = scan(&client, "team/app", &Digest::of(b"image"), impatient).await.expect("an answer");
    assert!(matches!(&late, Answer::Cannot(reason) if reason.contains("did not end")), "{late:?}");
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_image_is_an_error() {
    let refused = ask(vec![error("AccessDeniedException")]).await;
    assert!(matches!(refused, Err(EcrError::Refused { operation: "StartImageScan", .. })), "{refused:?}");
    let refused = ask(vec![started(), error("AccessDeniedException")]).await;
    assert!(matches!(refused, Err(EcrError::Refused { operation: "DescribeImageScanFindings", .. })), "{refused:?}");
    let nothing = ask(vec![started(), (200, json!({}))]).await;
    assert!(matches!(nothing, Err(EcrError::Incomplete { .. })), "{nothing:?}");
}
