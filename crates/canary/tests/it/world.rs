//! Everything around the function, on one port: Lambda's runtime API, a chatbot in two places, and AWS.

use std::collections::{BTreeMap, VecDeque};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

/// The commit that is deployed, in full.
pub(crate) const COMMIT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
/// Another one.
pub(crate) const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";
const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const DEFINITION: &str = "arn:aws:ecs:ap-northeast-1:123456789012:task-definition/smartassist-production-chatbot:7";
pub(crate) const REVISION: &str =
    "arn:aws:ecs:ap-northeast-1:123456789012:service-revision/smartassist-production/chatbot/1234567890123456789";
/// What the functions keep of their time for the answer, and a little.
const TIME: Duration = Duration::from_secs(8);

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `response` with what the function returned, or `error`.
    pub(crate) kind: String,
    pub(crate) body: Value,
    /// The status that CodeDeploy was told, if it was told one.
    pub(crate) told: Option<Value>,
    /// What the function wrote to its log.
    pub(crate) log: String,
}

/// How the chatbot answers a chat.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Chat {
    Answers,
    NoSources,
    Error,
    Hangs,
}

/// What is around the function.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// The commit that answers.
    pub(crate) serving: &'static str,
    pub(crate) ready: bool,
    pub(crate) chat: Chat,
    pub(crate) image_tags: Vec<&'static str>,
    /// Points of metrics by the ids of the queries.
    pub(crate) metrics: BTreeMap<&'static str, Vec<f64>>,
    /// State of the alarm `errors`, if it exists.
    pub(crate) alarm: Option<&'static str>,
    /// What is left of the function's time when it is called.
    pub(crate) time: Duration,
}

impl Default for World {
    fn default() -> Self {
        World {
            serving: COMMIT,
            ready: true,
            chat: Chat::Answers,
            image_tags: vec!["prod-0a1b2c3", "0a1b2c3"],
            metrics: BTreeMap::new(),
            alarm: Some("OK"),
            time: TIME,
        }
    }
}

impl World {
    /// Metrics of a version that does well.
    pub(crate) fn well(requests: f64) -> BTreeMap<&'static str, Vec<f64>> {
        BTreeMap::from([
            ("requests0", vec![0.0]),
            ("unhealthy0", vec![1.0]),
            ("requests1", vec![requests - 1.0, 1.0]),
            ("errors1", vec![]),
            ("latency1", vec![0.2, 0.4]),
            ("unhealthy1", vec![0.0, 3.0]),
        ])
    }

    /// Calls a function once.
    pub(crate) async fn call(self, handler: &str, payload: Value) -> Ended {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("bound");
        let (ended, mut ending) = mpsc::unbounded_channel();
        let told = Arc::new(Mutex::new(None));
        let around = Arc::new(Around {
            world: self,
            calls: Mutex::new(VecDeque::from([payload])),
            ended,
            told: Arc::clone(&told),
        });
        let server = tokio::spawn(serve(listener, around));
        let mut function = Command::new(env!("CARGO_BIN_EXE_bootstrap"))
            .env_clear()
            .envs(lambda(&here.to_string(), handler))
            .envs(settings(&here.to_string()))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the function starts");
        let (kind, body) = tokio::time::timeout(Duration::from_secs(60), ending.recv())
            .await
            .expect("the function answers in time")
            .expect("the runtime API is there");
        function.start_kill().expect("it runs");
        let output = function.wait_with_output().await.expect("its log");
        server.abort();
        let told = told.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ended { kind, body, told, log: String::from_utf8_lossy(&output.stdout).into_owned() }
    }

    /// Calls a function as CodeDeploy does.
    pub(crate) async fn call_by_codedeploy(self, handler: &str) -> Ended {
        self.call(handler, json!({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"})).await
    }

    /// Calls a function as ECS does.
    pub(crate) async fn call_by_ecs(self, handler: &str, details: Value) -> Ended {
        let payload = json!({
            "executionId": "1", "lifecycleStage": "POST_PRODUCTION_TRAFFIC_SHIFT", "resourceArn": "arn:aws:ecs:x",
            "executionDetails": {"targetServiceRevisionArn": REVISION, "productionTrafficWeights": {REVISION: 100}},
            "hookDetails": details,
        });
        self.call(handler, payload).await
    }
}

impl Ended {
    /// The status that CodeDeploy was told about the right call.
    pub(crate) fn codedeploy_status(&self) -> &str {
        let told = self.told.as_ref().unwrap_or_else(|| panic!("CodeDeploy was told nothing: {self:?}"));
        assert_eq!((&told["deploymentId"], &told["lifecycleEventHookExecutionId"]), (&json!("d-1"), &json!("e-1")));
        told["status"].as_str().expect("a status")
    }

    /// The reason in the log.
    pub(crate) fn reason(&self) -> String {
        let line = self.log.lines().last().unwrap_or_else(|| panic!("no log: {self:?}"));
        let line: Value = serde_json::from_str(line).expect("one JSON document a line");
        line["reason"].as_str().expect("a reason").to_owned()
    }
}

fn lambda(here: &str, handler: &str) -> [(&'static str, String); 10] {
    [
        ("AWS_LAMBDA_RUNTIME_API", here.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", "smartassist-production-validate-canary".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("_HANDLER", handler.to_owned()),
        ("AWS_REGION", "ap-northeast-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "loopback".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "loopback".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://{here}")),
        ("AWS_MAX_ATTEMPTS", "1".to_owned()),
    ]
}

pub(crate) fn settings(here: &str) -> [(&'static str, String); 8] {
    [
        ("TEST_URL", format!("http://{here}/test/")),
        ("PRODUCTION_URL", format!("http://{here}/production")),
        ("CONVERSATIONS", "4".to_owned()),
        ("ALARMS", "errors".to_owned()),
        ("LOAD_BALANCER", "app/smartassist-production/1".to_owned()),
        ("TARGET_GROUPS", "targetgroup/blue/1,targetgroup/green/2".to_owned()),
        ("ERROR_PERCENT", "5".to_owned()),
        ("LATENCY_SECONDS", "2".to_owned()),
    ]
}

struct Around {
    world: World,
    calls: Mutex<VecDeque<Value>>,
    ended: mpsc::UnboundedSender<(String, Value)>,
    told: Arc<Mutex<Option<Value>>>,
}

async fn serve(listener: TcpListener, around: Arc<Around>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let around = Arc::clone(&around);
        tokio::spawn(async move {
            let answer = service_fn(|request| async { around.answer(request).await });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

impl Around {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path().to_owned();
        if let Some(call) = path.strip_prefix("/2018-06-01/runtime/") {
            return Ok(self.runtime(call, &body).await);
        }
        if let Some(asked) = path.strip_prefix("/test").or_else(|| path.strip_prefix("/production")) {
            return Ok(self.chatbot(asked, &body).await);
        }
        if let Some((_, operation)) = path.split_once("/operation/") {
            let mut bytes = Vec::new();
            ciborium::into_writer(&self.cloudwatch(operation, &body), &mut bytes).expect("CBOR");
            let mut answer = Response::new(Full::new(bytes.into()));
            let headers = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
            answer.headers_mut().extend(headers.map(|(name, value)| {
                (hyper::header::HeaderName::from_static(name), hyper::header::HeaderValue::from_static(value))
            }));
            return Ok(answer);
        }
        let target = parts.headers.get("x-amz-target").and_then(|name| name.to_str().ok()).unwrap_or_default();
        let input: Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(self.aws(target, &input))
    }

    async fn runtime(&self, call: &str, body: &[u8]) -> Response<Full<Bytes>> {
        if call == "invocation/next" {
            let next = self.calls.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(payload) = next else {
                std::future::pending::<()>().await;
                unreachable!()
            };
            let deadline = (SystemTime::now() + self.world.time).duration_since(SystemTime::UNIX_EPOCH);
            return Response::builder()
                .header("lambda-runtime-aws-request-id", "r-1")
                .header("lambda-runtime-deadline-ms", deadline.expect("after 1970").as_millis().to_string())
                .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:ap-northeast-1:123456789012:function:f")
                .body(Full::new(payload.to_string().into()))
                .expect("an answer");
        }
        let kind = call.rsplit('/').next().unwrap_or_default().to_owned();
        let _ = self.ended.send((kind, serde_json::from_slice(body).unwrap_or_default()));
        status(StatusCode::ACCEPTED, json!({}))
    }

    async fn chatbot(&self, asked: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let world = &self.world;
        let mut answer = match asked {
            "/ready" if world.ready => status(StatusCode::OK, json!({"status": "ready"})),
            "/ready" => status(StatusCode::SERVICE_UNAVAILABLE, json!({"code": "warming_up"})),
            "/version" => status(StatusCode::OK, json!({"schema": 1, "commit": world.serving})),
            "/v1/chat" => {
                let message: Value = serde_json::from_slice(body).unwrap_or_default();
                assert!(message["message"].as_str().is_some_and(|text| !text.is_empty()), "{message}");
                let sources = [json!({"id": "password-reset", "title": "Resetting the password"})];
                let sources = if world.chat == Chat::NoSources { &[][..] } else { &sources };
                match world.chat {
                    Chat::Answers | Chat::NoSources => {
                        status(StatusCode::OK, json!({"schema": 1, "answer": "Use the link.", "citations": sources}))
                    }
                    Chat::Error => status(StatusCode::BAD_GATEWAY, json!({"title": "no target"})),
                    Chat::Hangs => std::future::pending().await,
                }
            }
            other => status(StatusCode::NOT_FOUND, json!({"path": other})),
        };
        answer.headers_mut().insert("x-smartbot-commit", hyper::header::HeaderValue::from_static(world.serving));
        answer
    }

    fn aws(&self, target: &str, input: &Value) -> Response<Full<Bytes>> {
        let image = format!("123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/smartassist/chatbot@{DIGEST}");
        let (_, operation) = target.split_once('.').unwrap_or_default();
        let answer = match operation {
            "GetDeployment" => {
                assert_eq!(input["deploymentId"], "d-1");
                let appspec = format!("version: 0.0\nResources:\n- TargetService:\n    TaskDefinition: {DEFINITION}\n");
                let revision = json!({"revisionType": "AppSpecContent", "appSpecContent": {"content": appspec}});
                json!({"deploymentInfo": {"deploymentId": "d-1", "revision": revision}})
            }
            "DescribeTaskDefinition" => {
                assert_eq!(input["taskDefinition"], DEFINITION);
                json!({"taskDefinition": {"containerDefinitions": [{"name": "chatbot", "image": image}]}})
            }
            "DescribeServiceRevisions" => {
                assert_eq!(input["serviceRevisionArns"], json!([REVISION]));
                let image = json!({"containerName": "chatbot", "image": image, "imageDigest": DIGEST});
                json!({"serviceRevisions": [{"serviceRevisionArn": REVISION, "containerImages": [image]}]})
            }
            "DescribeImages" => {
                assert_eq!(input["registryId"], "123456789012");
                assert_eq!(input["repositoryName"], "smartassist/chatbot");
                assert_eq!(input["imageIds"], json!([{"imageDigest": DIGEST}]));
                json!({"imageDetails": [{"imageDigest": DIGEST, "imageTags": self.world.image_tags}]})
            }
            "PutLifecycleEventHookExecutionStatus" => {
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(input.clone());
                json!({"lifecycleEventHookExecutionId": "e-1"})
            }
            other => return status(StatusCode::BAD_REQUEST, json!({"__type": "UnknownOperation", "message": other})),
        };
        status(StatusCode::OK, answer)
    }

    fn cloudwatch(&self, operation: &str, body: &[u8]) -> Value {
        match operation {
            "DescribeAlarms" => {
                let alarms = self.world.alarm.iter().map(|state| json!({"AlarmName": "errors", "StateValue": state}));
                json!({"MetricAlarms": alarms.collect::<Vec<_>>()})
            }
            "GetMetricData" => {
                let asked: ciborium::Value = ciborium::from_reader(body).expect("CBOR");
                let queries = asked.as_map().and_then(|map| {
                    let (_, queries) = map.iter().find(|(name, _)| name.as_text() == Some("MetricDataQueries"))?;
                    queries.as_array().map(Vec::len)
                });
                assert_eq!(queries, Some(9), "four metrics of two target groups, and the load balancer's own errors");
                let results: Vec<_> = self
                    .world
                    .metrics
                    .iter()
                    .map(|(id, values)| json!({"Id": id, "StatusCode": "Complete", "Values": values}))
                    .collect();
                json!({"MetricDataResults": results})
            }
            other => panic!("{other} is not expected"),
        }
    }
}

fn status(status: StatusCode, body: Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.to_string().into()));
    *answer.status_mut() = status;
    answer
}
