//! A served endpoint with an image, a load balancer and a blue/green service of real processes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Refused, eventually};
use crate::elbv2::fixture::free_port;
use crate::registry;
use crate::server::Endpoint;

const ECS: &str = "AmazonEC2ContainerServiceV20141113";
const LOGS: &str = "Logs_20140328";
const REPOSITORY: &str = "smartassist/chatbot";
/// Model seconds in one real second: health-check intervals and draining pass quickly, processes do not.
const SCALE: &str = "20";

/// The endpoint and what every test needs on it.
pub(crate) struct Fleet {
    pub(crate) endpoint: Endpoint,
    pub(crate) blue: String,
    pub(crate) green: String,
    pub(crate) port: u16,
    pub(crate) balancer: String,
    pub(crate) listener: String,
    /// What an image holds beside the stand-in: a container has no files of this machine.
    libraries: Vec<PathBuf>,
}

impl Fleet {
    /// Image, log group, cluster, target groups and a listener that forwards to blue; no service yet.
    pub(crate) fn start() -> Self {
        Self::on(Endpoint::start(&["--time-scale", SCALE]), vec![])
    }

    /// The same with containers of a Docker engine as tasks.
    pub(crate) fn start_with_docker(engine: &str) -> Self {
        let endpoint = Endpoint::start(&["--time-scale", SCALE, "--runtime", "docker", "--docker", engine]);
        Self::on(endpoint, libraries(&standin()))
    }

    fn on(endpoint: Endpoint, libraries: Vec<PathBuf>) -> Self {
        registry::create(&endpoint, REPOSITORY, "MUTABLE");
        endpoint.call(LOGS, "CreateLogGroup", &json!({"logGroupName": "/ecs/test"})).expect("a log group");
        endpoint.call(ECS, "CreateCluster", &json!({"clusterName": "test"})).expect("a cluster");
        let (blue, green) = (target_group(&endpoint, "blue"), target_group(&endpoint, "green"));
        let balancer = query(&endpoint, "CreateLoadBalancer", &[("Name", "test"), ("Type", "application")]);
        let balancer = element(&balancer, "LoadBalancerArn");
        let (listener, port) = listen(&endpoint, &balancer, &blue);
        Self { endpoint, blue, green, port, balancer, listener, libraries }
    }

    /// Pushes the stand-in with a commit and gives the reference by digest.
    pub(crate) fn push(&self, commit: &str) -> String {
        let client = registry::Client::new(&self.endpoint);
        let layer = self.layer();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {
                "User": "10001:10001", "Entrypoint": ["/standin"],
                "Env": [format!("SMARTBOT_COMMIT={commit}"), "LISTEN=0.0.0.0:8080"],
            },
            "rootfs": {"type": "layers", "diff_ids": [registry::digest_of(&layer)]},
        });
        let (answer, manifest) = client.push(REPOSITORY, commit, config.to_string().as_bytes(), &layer);
        assert_eq!(answer.status, 201);
        format!("{}/{REPOSITORY}@{}", self.endpoint.address, registry::digest_of(&manifest))
    }

    fn layer(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(vec![]);
        let mut add = |name: &Path, file: &Path, mode: u32| {
            let bytes = std::fs::read(file).expect("a file of the image");
            let mut header = tar::Header::new_ustar();
            header.set_mode(mode);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes.as_slice()).expect("appended");
        };
        add(Path::new("standin"), &standin(), 0o755);
        for library in &self.libraries {
            add(library.strip_prefix("/").expect("an absolute path"), library, 0o755);
        }
        builder.into_inner().expect("a layer")
    }

    pub(crate) fn ecs(&self, operation: &str, input: &Value) -> Result<Value, Refused> {
        self.endpoint.call(ECS, operation, input)
    }

    /// Registers a task definition of an image; `extra` replaces members of its container.
    pub(crate) fn define(&self, image: &str, extra: &Value) -> String {
        let mut container = json!({
            "name": "chatbot", "image": image, "essential": true,
            "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
            "mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}],
            "stopTimeout": 10,
            "logConfiguration": {"logDriver": "awslogs", "options": {
                "awslogs-group": "/ecs/test", "awslogs-region": "ap-northeast-1", "awslogs-stream-prefix": "chatbot"}},
        });
        for (key, value) in extra.as_object().expect("an object") {
            container[key] = value.clone();
        }
        let definition = json!({
            "family": "test", "cpu": "1024", "memory": "2048", "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"], "volumes": [{"name": "data"}],
            "containerDefinitions": [container],
        });
        let registered = self.ecs("RegisterTaskDefinition", &definition).expect("registered");
        text(&registered["taskDefinition"]["taskDefinitionArn"])
    }

    pub(crate) fn create_service(&self, task_definition: &str, count: u32) -> Value {
        let created = self.ecs(
            "CreateService",
            &json!({
                "cluster": "test", "serviceName": "chatbot", "taskDefinition": task_definition, "desiredCount": count,
                "launchType": "FARGATE", "deploymentController": {"type": "CODE_DEPLOY"},
                "loadBalancers": [self.load_balancer(&self.blue)],
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
            }),
        );
        created.expect("a service")["service"].clone()
    }

    pub(crate) fn load_balancer(&self, group: &str) -> Value {
        json!({"targetGroupArn": group, "containerName": "chatbot", "containerPort": 8080})
    }

    pub(crate) fn service(&self) -> Value {
        let described = self.ecs("DescribeServices", &json!({"cluster": "test", "services": ["chatbot"]}));
        described.expect("described")["services"][0].clone()
    }

    pub(crate) fn tasks(&self, desired: &str) -> Vec<Value> {
        let listed = self.ecs("ListTasks", &json!({"cluster": "test", "desiredStatus": desired})).expect("listed");
        let arns = listed["taskArns"].clone();
        if arns.as_array().expect("a list").is_empty() {
            return vec![];
        }
        let described = self.ecs("DescribeTasks", &json!({"cluster": "test", "tasks": arns})).expect("described");
        described["tasks"].as_array().expect("a list").clone()
    }

    /// Waits until the primary task set is steady and gives its running tasks.
    pub(crate) fn steady(&self, count: usize) -> Vec<Value> {
        let tasks = eventually("the service is steady", || {
            let service = self.service();
            let steady = service["taskSets"].as_array()?.iter().all(|set| set["stabilityStatus"] == "STEADY_STATE");
            let tasks = self.tasks("RUNNING");
            (steady && service["runningCount"] == count && tasks.len() == count).then_some(tasks)
        });
        assert!(tasks.iter().all(|task| task["lastStatus"] == "RUNNING"), "{tasks:?}");
        tasks
    }

    /// The first stopped task, once there is one.
    pub(crate) fn stopped(&self, task: &Value) -> Value {
        let arn = task["taskArn"].clone();
        eventually("the task has stopped", || {
            let described = self.ecs("DescribeTasks", &json!({"cluster": "test", "tasks": [arn]})).expect("described");
            let task = described["tasks"][0].clone();
            (task["lastStatus"] == "STOPPED").then_some(task)
        })
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        let found = self.endpoint.call(LOGS, "FilterLogEvents", &json!({"logGroupName": "/ecs/test"})).expect("found");
        found["events"].as_array().expect("a list").iter().map(|event| text(&event["message"])).collect()
    }

    pub(crate) fn target_health(&self, group: &str) -> String {
        query(&self.endpoint, "DescribeTargetHealth", &[("TargetGroupArn", group)])
    }
}

/// `address:8080` of a task.
pub(crate) fn address(task: &Value) -> String {
    let details = task["attachments"][0]["details"].as_array().expect("details");
    let detail = details.iter().find(|detail| detail["name"] == "privateIPv4Address").expect("an address");
    format!("{}:8080", text(&detail["value"]))
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A request's whole answer; nothing when it fails.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// The commit that answers at an address.
pub(crate) fn commit(address: &str) -> Option<String> {
    let answer = get(address, "/version")?;
    let line = answer.lines().find(|line| line.starts_with("x-smartbot-commit: "))?;
    line.split_once(": ").map(|(_, commit)| commit.to_owned())
}

fn target_group(endpoint: &Endpoint, name: &str) -> String {
    let created = query(
        endpoint,
        "CreateTargetGroup",
        &[
            ("Name", name),
            ("Protocol", "HTTP"),
            ("Port", "8080"),
            ("TargetType", "ip"),
            ("VpcId", "vpc-1"),
            ("HealthCheckPath", "/health"),
            ("HealthCheckIntervalSeconds", "5"),
            ("HealthCheckTimeoutSeconds", "2"),
            ("HealthyThresholdCount", "2"),
            ("UnhealthyThresholdCount", "2"),
        ],
    );
    let arn = element(&created, "TargetGroupArn");
    let delay =
        [("Attributes.member.1.Key", "deregistration_delay.timeout_seconds"), ("Attributes.member.1.Value", "10")];
    let attributes: Vec<(&str, &str)> = [("TargetGroupArn", arn.as_str())].into_iter().chain(delay).collect();
    query(endpoint, "ModifyTargetGroupAttributes", &attributes);
    arn
}

/// A listener that forwards to one target group, and its port.
pub(crate) fn listen(endpoint: &Endpoint, balancer: &str, group: &str) -> (String, u16) {
    let port = free_port();
    let created = query(
        endpoint,
        "CreateListener",
        &[
            ("LoadBalancerArn", balancer),
            ("Protocol", "HTTP"),
            ("Port", &port.to_string()),
            ("DefaultActions.member.1.Type", "forward"),
            ("DefaultActions.member.1.TargetGroupArn", group),
        ],
    );
    (element(&created, "ListenerArn"), port)
}

/// An operation of the load balancing API over the Query protocol.
fn query(endpoint: &Endpoint, action: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", "2015-12-01").extend_pairs(parameters);
    let body = form.finish();
    let mut stream = TcpStream::connect(&endpoint.address).expect("it accepts");
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=x/20250101/ap-northeast-1/elasticloadbalancing/aws4_request, SignedHeaders=host, Signature=0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        endpoint.address,
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
    answer
}

fn element(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).expect("the element");
    rest.split_once('<').expect("its end").0.to_owned()
}

/// Builds the stand-in beside the binary under test and gives its path.
fn standin() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_localcloud")).parent().expect("the profile's folder");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["build", "--quiet", "--offline", "--package", "standin", "--target-dir"]);
    cargo.arg(folder.parent().expect("the target folder"));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "the stand-in builds");
    folder.join("standin")
}

/// The shared libraries that a program needs, by the paths at which it looks for them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().expect("ldd runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
