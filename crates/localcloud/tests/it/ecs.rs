//! ECS through the API, with real processes as tasks behind a real listener.

mod docker;
pub(crate) mod fleet;

use std::time::{Duration, Instant};

use fleet::{Fleet, address, commit, get, text};
use serde_json::{Value, json};

use crate::client::eventually;

#[test]
fn a_service_runs_its_tasks_behind_the_listener_and_their_lines_arrive() {
    let fleet = Fleet::start();
    let image = fleet.push("aaaa");
    fleet.create_service(
        &fleet.define(&image, &json!({"environment": [{"name": "GREETING", "value": "こんにちは"}]})),
        2,
    );
    let tasks = fleet.steady(2);

    assert_ne!(address(&tasks[0]), address(&tasks[1]), "every task has an address of its own");
    for task in &tasks {
        assert_eq!(commit(&address(task)).as_deref(), Some("aaaa"));
        assert!(get(&address(task), "/env?name=GREETING").expect("an answer").ends_with("こんにちは"));
        assert!(get(&address(task), "/env?name=CARGO_MANIFEST_DIR").expect("an answer").starts_with("HTTP/1.1 404"));
        assert_eq!(task["containers"][0]["imageDigest"], image.split_once('@').expect("a digest").1);
        assert!(task["startedAt"].as_f64().is_some());
    }
    assert_eq!(commit(&format!("127.0.0.1:{}", fleet.port)).as_deref(), Some("aaaa"));
    eventually("both tasks' lines arrive", || {
        (fleet.log_lines().iter().filter(|line| line.starts_with("standin aaaa listens on")).count() == 2).then_some(())
    });

    let service = fleet.service();
    assert_eq!(service["deployments"], json!([]));
    assert_eq!(service["taskSets"][0]["status"], "PRIMARY");
    let refused = json!({"cluster": "test", "service": "chatbot", "taskDefinition": "test:1"});
    assert_eq!(fleet.ecs("UpdateService", &refused).expect_err("refused").code, "InvalidParameterException");
}

#[test]
fn tasks_that_start_together_have_addresses_of_their_own() {
    let fleet = Fleet::start();
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 8);
    let addresses: std::collections::BTreeSet<_> = fleet.steady(8).iter().map(address).collect();
    assert_eq!(addresses.len(), 8);
    assert_eq!(fleet.tasks("STOPPED").len(), 0, "none found its address taken");
}

#[test]
fn a_crashed_task_is_reported_and_replaced() {
    let fleet = Fleet::start();
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 1);
    let first = fleet.steady(1).remove(0);
    get(&address(&first), "/crash");

    let stopped = fleet.stopped(&first);
    assert_eq!(stopped["stopCode"], "EssentialContainerExited");
    assert_eq!(stopped["stoppedReason"], "Essential container in task exited");
    assert_eq!(stopped["containers"][0]["exitCode"], 42);
    let second = fleet.steady(1).remove(0);
    assert_ne!(second["taskArn"], first["taskArn"]);
    assert_eq!(commit(&address(&second)).as_deref(), Some("aaaa"));
    eventually("its last words are in the log", || {
        fleet.log_lines().iter().any(|line| line == "standin: crashing, as asked").then_some(())
    });
}

#[test]
fn a_task_that_crashes_at_start_is_not_started_without_pause() {
    let fleet = Fleet::start();
    let crash = json!({"environment": [{"name": "MODE", "value": "crash"}]});
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &crash), 1);
    eventually("two attempts fail", || (fleet.tasks("STOPPED").len() >= 2).then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    let stopped = fleet.tasks("STOPPED");
    assert!(stopped.len() < 12, "{} attempts", stopped.len());
    assert_eq!(stopped[0]["containers"][0]["exitCode"], 42);
    assert_eq!(fleet.service()["taskSets"][0]["stabilityStatus"], "STABILIZING");
}

#[test]
fn a_task_that_exceeds_its_memory_is_ended_with_137_and_says_so() {
    let fleet = Fleet::start();
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 1);
    let task = fleet.steady(1).remove(0);
    get(&address(&task), "/leak");
    let stopped = fleet.stopped(&task);
    assert_eq!(stopped["containers"][0]["exitCode"], 137);
    assert_eq!(stopped["stopCode"], "EssentialContainerExited");
    let reason = text(&stopped["containers"][0]["reason"]) + &text(&stopped["stoppedReason"]);
    assert!(reason.contains("OutOfMemoryError: Container killed due to memory usage"), "{stopped}");
}

#[test]
fn tasks_survive_a_killed_endpoint_and_are_taken_up_again() {
    let mut fleet = Fleet::start();
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 1);
    let task = fleet.steady(1).remove(0);
    fleet.endpoint.child.kill().expect("killed");
    assert_eq!(commit(&address(&task)).as_deref(), Some("aaaa"), "the task goes on without its endpoint");
    get(&address(&task), "/print?lines=3");
    fleet.endpoint.kill_and_restart();

    let same = fleet.steady(1).remove(0);
    assert_eq!(same["taskArn"], task["taskArn"]);
    assert_eq!(same["startedAt"], task["startedAt"]);
    eventually("lines from the time without endpoint arrive", || {
        (fleet.log_lines().iter().filter(|line| line.ends_with(" of 3")).count() == 3).then_some(())
    });

    // What ends while no endpoint looks is found and replaced.
    fleet.endpoint.child.kill().expect("killed");
    get(&address(&task), "/crash");
    fleet.endpoint.kill_and_restart();
    assert_eq!(fleet.stopped(&task)["containers"][0]["exitCode"], 42);
    assert_ne!(fleet.steady(1)[0]["taskArn"], task["taskArn"]);
}

#[test]
fn a_task_whose_shim_is_killed_does_not_go_on_unwatched() {
    let fleet = Fleet::start();
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 1);
    let task = fleet.steady(1).remove(0);
    let id = text(&task["taskArn"]).rsplit('/').next().expect("an id").to_owned();
    let shim = std::fs::read(fleet.endpoint.data().join("tasks").join(id).join("shim.json")).expect("its record");
    let shim: Value = serde_json::from_slice(&shim).expect("JSON");
    let killed = std::process::Command::new("kill").args(["-9", &shim["pid"].to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let stopped = fleet.stopped(&task);
    assert!(!text(&stopped["stoppedReason"]).is_empty());
    assert_eq!(commit(&address(&task)), None, "its process has ended too");
    assert_ne!(fleet.steady(1)[0]["taskArn"], task["taskArn"]);
}

#[test]
fn scaling_in_drains_before_it_stops() {
    let fleet = Fleet::start();
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 1);
    let task = fleet.steady(1).remove(0);
    let listener = format!("127.0.0.1:{}", fleet.port);
    let stream = std::thread::spawn(move || get(&listener, "/stream?seconds=2"));
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    fleet.ecs("UpdateService", &json!({"cluster": "test", "service": "chatbot", "desiredCount": 0})).expect("scaled");
    eventually("the target drains", || fleet.target_health(&fleet.blue).contains("draining").then_some(()));
    let stopped = fleet.stopped(&task);
    assert!(began.elapsed() >= Duration::from_millis(450), "ten model seconds of draining come first");
    assert_eq!(stopped["containers"][0]["exitCode"], 0, "{stopped}");
    assert_eq!(stopped["stopCode"], "ServiceSchedulerInitiated");
    let answer = stream.join().expect("joined").expect("an answer");
    assert!(answer.contains("event: end"), "an open stream is finished: {answer}");
}

#[test]
fn a_second_task_set_takes_over() {
    let fleet = Fleet::start();
    let blue = fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 1);
    let old = fleet.steady(1).remove(0);
    let green = fleet.ecs(
        "CreateTaskSet",
        &json!({
            "cluster": "test", "service": "chatbot", "taskDefinition": fleet.define(&fleet.push("bbbb"), &json!({})),
            "loadBalancers": [fleet.load_balancer(&fleet.green)], "launchType": "FARGATE",
            "scale": {"value": 100, "unit": "PERCENT"},
        }),
    );
    let green = green.expect("a task set")["taskSet"]["id"].clone();
    let both = fleet.steady(2);
    let new = both.iter().find(|task| task["startedBy"] == green).expect("a green task");
    assert_eq!(commit(&address(new)).as_deref(), Some("bbbb"));
    assert!(text(&green).starts_with("ecs-svc/"));

    let primary = json!({"cluster": "test", "service": "chatbot", "primaryTaskSet": green});
    fleet.ecs("UpdateServicePrimaryTaskSet", &primary).expect("primary");
    assert_eq!(fleet.service()["taskDefinition"], new["taskDefinitionArn"]);
    let delete = json!({"cluster": "test", "service": "chatbot", "taskSet": blue["taskSets"][0]["id"], "force": true});
    fleet.ecs("DeleteTaskSet", &delete).expect("deleted");
    assert_eq!(fleet.stopped(&old)["containers"][0]["exitCode"], 0);
    assert_eq!(fleet.steady(1)[0]["taskArn"], new["taskArn"]);
    assert_eq!(fleet.service()["taskSets"].as_array().expect("a list").len(), 1);
}

#[test]
fn unhealthy_tasks_are_replaced_and_the_reason_is_told() {
    let fleet = Fleet::start();
    let bad = json!({"environment": [{"name": "MODE", "value": "badhealth"}]});
    fleet.create_service(&fleet.define(&fleet.push("aaaa"), &bad), 1);
    let stopped = eventually("a task is stopped", || fleet.tasks("STOPPED").pop());
    assert!(text(&stopped["stoppedReason"]).starts_with("Task failed ELB health checks in"), "{stopped}");
}

#[test]
fn container_health_checks_run_in_the_tasks_environment() {
    let fleet = Fleet::start();
    let check = |path: &str| {
        json!({
            "environment": [{"name": "HEALTH_PATH", "value": path}],
            "healthCheck": {"command": ["CMD", "/standin", "--healthcheck"], "interval": 5, "timeout": 2, "retries": 2},
        })
    };
    let image = fleet.push("aaaa");
    fleet.create_service(&fleet.define(&image, &check("/health")), 1);
    let task = fleet.steady(1).remove(0);
    eventually("it is healthy", || (fleet.tasks("RUNNING")[0]["healthStatus"] == "HEALTHY").then_some(()));
    assert_eq!(fleet.tasks("RUNNING")[0]["taskArn"], task["taskArn"]);

    let failing = json!({
        "environment": [{"name": "MODE", "value": "badhealth"}],
        "healthCheck": {"command": ["CMD", "/standin", "--healthcheck"], "interval": 5, "timeout": 2, "retries": 1},
    });
    let green = fleet.ecs("CreateTaskSet", &json!({
        "cluster": "test", "service": "chatbot", "taskDefinition": fleet.define(&image, &failing), "launchType": "FARGATE",
    }));
    green.expect("a task set");
    let stopped = eventually("the unhealthy one is stopped", || fleet.tasks("STOPPED").pop());
    assert_eq!(stopped["stoppedReason"], "Task failed container health checks", "{stopped}");
}
