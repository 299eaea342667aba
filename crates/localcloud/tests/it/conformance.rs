//! The wire codec against boto3: every operation, in every protocol its service speaks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use localcloud::wire::Models;
use serde_json::{Value, json};

/// Answers every operation with what was set for it, and keeps the input it decoded.
struct Echo {
    models: Models,
    outputs: Mutex<HashMap<String, Value>>,
    last: Mutex<Value>,
}

impl Echo {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let path = head.uri.path();
        if let Some(operation) = path.strip_prefix("/__out/") {
            let output = serde_json::from_slice(&body).expect("JSON");
            self.outputs.lock().expect("unpoisoned").insert(operation.to_owned(), output);
            return Response::new(Full::default());
        }
        if path == "/__last" {
            return Response::new(Full::from(self.last.lock().expect("unpoisoned").to_string()));
        }
        let target = head.uri.path_and_query().expect("a target").as_str();
        let answer = match self.models.decode(target, &head.headers, &body) {
            Ok(request) => {
                let key = format!("{}.{}", request.call.service, request.call.operation);
                let output = self.outputs.lock().expect("unpoisoned").get(&key).cloned().unwrap_or(json!({}));
                *self.last.lock().expect("unpoisoned") = request.input;
                request.call.respond(&output, "00000000-0000-4000-8000-000000000000")
            }
            Err(rejection) => rejection.respond("00000000-0000-4000-8000-000000000000"),
        };
        answer.map(Full::new)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_and_the_codec_understand_one_another() {
    let has_boto3 = Command::new("python3").args(["-c", "import boto3"]).output().is_ok_and(|run| run.status.success());
    if !has_boto3 {
        eprintln!("notice: not run, python3 has no boto3. hint: pip install boto3");
        return;
    }
    let models = Models::embedded().expect("the models load");
    let echo = Arc::new(Echo { models, outputs: Mutex::default(), last: Mutex::default() });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let echo = echo.clone();
            let service = service_fn(move |request| {
                let echo = echo.clone();
                async move { Ok::<_, Infallible>(echo.answer(request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = tokio::process::Command::new("python3")
        .arg(root.join("tests/conformance/round_trip.py"))
        .arg(endpoint)
        .arg(root.join("models"))
        .env_remove("AWS_ENDPOINT_URL")
        .output()
        .await
        .expect("python3 runs");
    server.abort();
    let report = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{report}\n{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_str(&report).expect("a report");
    let skipped = report["skipped"].as_array().expect("a list").len() as u64;
    let passed = report["passed"].as_u64().expect("a number");
    assert!(passed > 400 && skipped * 20 < passed, "too few cases could be made up: {report:#}");
}
