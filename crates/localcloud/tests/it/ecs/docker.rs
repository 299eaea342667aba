//! Tasks as containers. Needs a Docker engine (DOCKER_HOST, or the usual socket) and passes over where none answers.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::fleet::{Fleet, commit, get};
use crate::client::eventually;

fn engine() -> Option<String> {
    let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let socket = PathBuf::from(engine.strip_prefix("unix://")?);
    if std::os::unix::net::UnixStream::connect(socket).is_err() {
        eprintln!("passed over: no Docker engine answers on {engine}");
        return None;
    }
    Some(engine)
}

/// The names of the engine's containers, or volumes, that belong to endpoints.
fn ours(engine: &str, kind: &[&str], format: &str) -> Vec<String> {
    let mut docker = Command::new("docker");
    docker.args(["--host", engine]).args(kind).args(["--filter", "name=localcloud-", "--format", format]);
    let listed = docker.output().expect("docker's client runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
}

fn containers(engine: &str) -> Vec<String> {
    ours(engine, &["ps", "--all"], "{{.Names}}")
}

fn name(task: &Value) -> String {
    let arn = task["taskArn"].as_str().expect("an ARN");
    format!("localcloud-{}", arn.rsplit('/').next().expect("an id"))
}

#[test]
fn tasks_are_containers_with_limits_health_logs_and_a_volume_that_outlives_them() {
    let Some(engine) = engine() else { return };
    let mut fleet = Fleet::start_with_docker(&engine);
    let settings = json!({
        "environment": [{"name": "GREETING", "value": "こんにちは"}],
        "healthCheck": {"command": ["CMD", "/standin", "--healthcheck"], "interval": 5, "retries": 2, "timeout": 2},
        "readonlyRootFilesystem": true, "user": "0:0",
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "ulimits": [{"name": "nofile", "softLimit": 65536, "hardLimit": 65536}],
    });
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &settings), 1);
    let first = fleet.steady(1).remove(0);
    let listener = format!("127.0.0.1:{}", fleet.port);
    assert_eq!(first["healthStatus"], "HEALTHY");
    assert!(containers(&engine).contains(&name(&first)));
    assert_eq!(commit(&listener).as_deref(), Some("aaaa"));
    assert!(get(&listener, "/env?name=GREETING").expect("an answer").ends_with("こんにちは"));
    eventually("its lines arrive", || {
        fleet.log_lines().iter().any(|line| line.starts_with("standin aaaa listens on 0.0.0.0:8080")).then_some(())
    });

    post(&listener, "/file?path=/data/kept", "kept");
    get(&listener, "/crash");
    let stopped = fleet.stopped(&first);
    assert_eq!(stopped["containers"][0]["exitCode"], 42);
    let second = fleet.steady(1).remove(0);
    assert_ne!(name(&first), name(&second));
    eventually("an ended task leaves no container", || (!containers(&engine).contains(&name(&first))).then_some(()));
    assert!(get(&listener, "/file?path=/data/kept").expect("an answer").ends_with("kept"));

    get(&listener, "/leak");
    let stopped = fleet.stopped(&second);
    assert_eq!(stopped["containers"][0]["exitCode"], 137);
    // The load balancer may notice that nobody answers before the engine tells why.
    let reason = stopped["containers"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("OutOfMemoryError"), "{stopped}");
    let third = fleet.steady(1).remove(0);

    let volumes = || ours(&engine, &["volume", "ls"], "{{.Name}}");
    let notes = std::fs::read_dir(fleet.endpoint.data().join("docker-volumes")).expect("notes");
    let mine: Vec<_> = notes.map(|note| note.expect("a note").file_name().into_string().expect("a name")).collect();
    assert_eq!(mine.len(), 1);
    assert!(volumes().contains(&mine[0]));
    fleet.endpoint.kill();
    assert!(fleet.endpoint.stop_tasks());
    assert!(!containers(&engine).contains(&name(&third)), "stop-tasks stops containers too");
    assert!(!volumes().contains(&mine[0]));
}

#[test]
fn containers_outlive_a_killed_endpoint_and_a_killed_shim_leaves_none() {
    let Some(engine) = engine() else { return };
    let mut fleet = Fleet::start_with_docker(&engine);
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 1);
    let first = fleet.steady(1).remove(0);
    fleet.endpoint.kill_and_restart();
    assert_eq!(name(&fleet.steady(1)[0]), name(&first), "the container is found again");
    assert_eq!(commit(&format!("127.0.0.1:{}", fleet.port)).as_deref(), Some("aaaa"));

    let task = name(&first);
    let folder = fleet.endpoint.data().join("tasks").join(task.trim_start_matches("localcloud-"));
    let shim: Value = serde_json::from_slice(&std::fs::read(folder.join("shim.json")).expect("a shim")).expect("JSON");
    assert!(Command::new("kill").args(["-9", &shim["pid"].to_string()]).status().expect("kill runs").success());
    fleet.stopped(&first);
    let second = fleet.steady(1).remove(0);
    assert_ne!(name(&second), task);
    assert!(!containers(&engine).contains(&task), "nobody would ever stop it");
}

fn post(address: &str, path: &str, body: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("it accepts");
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    write!(stream, "{head}{body}").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
