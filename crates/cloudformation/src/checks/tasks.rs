//! Task definitions: what a task runs and how it ends.

use environment::variables;

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "image-tag", finds: "images without a version, or with a tag that moves", check: image_tag },
    Rule { name: "task-size", finds: "pairs of CPU and memory that Fargate does not have", check: task_size },
    Rule { name: "network-mode", finds: "Fargate tasks without awsvpc", check: network_mode },
    Rule { name: "stop-timeout", finds: "stop timeouts beyond what Fargate waits", check: stop_timeout },
    Rule { name: "drain-cut-off", finds: "tasks that are killed before they have drained", check: drain_cut_off },
    Rule { name: "root-user", finds: "containers that run as root or with privileges", check: root_user },
    Rule { name: "writable-root", finds: "containers that may change their own files", check: writable_root },
    Rule { name: "health-command", finds: "health checks that minimal images cannot run", check: health_command },
    Rule {
        name: "health-timing",
        finds: "container health checks that overlap or are out of range",
        check: health_timing,
    },
    Rule { name: "log-options", finds: "containers whose output is lost", check: log_options },
    Rule { name: "volume", finds: "mount points without a volume", check: volumes },
    Rule { name: "container-names", finds: "two containers, variables or ports that are one", check: duplicates },
    Rule { name: "essential-container", finds: "tasks that no container keeps alive", check: essential },
    Rule { name: "execution-role", finds: "tasks that may not fetch what they refer to", check: execution_role },
];

/// Tags that name another image tomorrow.
const MOVING: [&str; 9] = ["latest", "stable", "main", "master", "dev", "edge", "prod", "production", "staging"];
/// Seconds that Fargate waits between SIGTERM and SIGKILL at most.
const FARGATE_STOP_LIMIT: f64 = 120.0;
/// Seconds that ECS waits where the task definition says nothing.
const DEFAULT_STOP_TIMEOUT: f64 = 30.0;

fn definitions<'a>(report: &Report<'a>) -> impl Iterator<Item = Field<'a>> + use<'a> {
    report.resources("AWS::ECS::TaskDefinition")
}

fn containers<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    definitions(report).flat_map(|definition| definition.at("ContainerDefinitions").items()).collect()
}

fn is_fargate(definition: &Field<'_>) -> bool {
    definition.at("RequiresCompatibilities").texts().contains(&"FARGATE")
}

fn image_tag(report: &mut Report<'_>) {
    let builds = report.resources("AWS::CodeBuild::Project").map(|project| project.at("Environment"));
    let images: Vec<_> = containers(report).into_iter().chain(builds).map(|holder| holder.at("Image")).collect();
    for field in images {
        let Some(image) = field.rendered() else { continue };
        if image.contains('@') || image.starts_with('<') {
            continue;
        }
        let last = image.rsplit('/').next().unwrap_or_default();
        let problem = match last.split_once(':') {
            None => format!("`{image}` has no version"),
            Some((_, tag)) if MOVING.contains(&tag) => format!("the tag of `{image}` moves"),
            Some(_) => continue,
        };
        report.add(&field, problem, "name the image by digest, or by a tag that is never moved");
    }
}

fn task_size(report: &mut Report<'_>) {
    for definition in definitions(report).filter(is_fargate) {
        let (cpu, memory) = (definition.at("Cpu"), definition.at("Memory"));
        let (Some(units), Some(mebibytes)) = (cpu.number(), memory.number()) else { continue };
        #[expect(clippy::cast_possible_truncation, reason = "sizes are small whole numbers")]
        let (units, mebibytes) = (units as i64, mebibytes as i64);
        let gibibytes = |low: i64, high: i64, step: i64| {
            mebibytes % (step * 1024) == 0 && (low * 1024..=high * 1024).contains(&mebibytes)
        };
        let exists = match units {
            256 => [512, 1024, 2048].contains(&mebibytes),
            512 => gibibytes(1, 4, 1),
            1024 => gibibytes(2, 8, 1),
            2048 => gibibytes(4, 16, 1),
            4096 => gibibytes(8, 30, 1),
            8192 => gibibytes(16, 60, 4),
            16_384 => gibibytes(32, 120, 8),
            _ => false,
        };
        let problem = || format!("Fargate has no task of {units} CPU units and {mebibytes} MiB");
        report.require(
            exists,
            &memory,
            problem,
            "256 pairs with 512, 1024, 2048; 512 with 1024 to 4096; 1024 with 2048 to 8192",
        );
    }
}

fn network_mode(report: &mut Report<'_>) {
    for definition in definitions(report).filter(is_fargate) {
        let mode = definition.at("NetworkMode");
        let hint = "set NetworkMode to awsvpc";
        report.require(mode.text() == Some("awsvpc"), &mode, || "Fargate runs tasks with awsvpc only".into(), hint);
    }
}

fn stop_timeout(report: &mut Report<'_>) {
    for definition in definitions(report).filter(is_fargate) {
        for container in definition.at("ContainerDefinitions").items() {
            let timeout = container.at("StopTimeout");
            let seconds = timeout.number().unwrap_or(DEFAULT_STOP_TIMEOUT);
            let problem = || format!("{seconds}s are more than the {FARGATE_STOP_LIMIT}s that Fargate waits");
            report.require(seconds <= FARGATE_STOP_LIMIT, &timeout, problem, "at most 120");
        }
    }
}

/// Seconds from SIGTERM until the chatbot has drained, by its container's variables.
pub(super) fn drain(container: &Field<'_>) -> Option<f64> {
    let variables = container.at("Environment").items();
    let seconds = |name: &str| {
        let mut of = variables.iter().filter(|variable| variable.at("Name").text() == Some(name));
        of.next().and_then(|variable| variable.at("Value").number())
    };
    let drain = seconds(variables::DRAIN_DEADLINE_SECONDS)?;
    Some(drain + seconds(variables::DRAIN_DELAY_SECONDS).unwrap_or(0.0))
}

fn drain_cut_off(report: &mut Report<'_>) {
    for container in containers(report) {
        let Some(drain) = drain(&container) else { continue };
        let timeout = container.at("StopTimeout");
        let seconds = timeout.number().unwrap_or(DEFAULT_STOP_TIMEOUT);
        let problem = || format!("killed after {seconds}s, but draining takes {drain}s");
        report.require(seconds >= drain, &timeout, problem, "raise StopTimeout, or shorten the drain");
    }
}

fn root_user(report: &mut Report<'_>) {
    for container in containers(report) {
        let user = container.at("User");
        let name = user.text().and_then(|text| text.split(':').next());
        let root = matches!(name, None | Some("" | "0" | "root")) && user.function().is_none();
        report.require(!root, &user, || "runs as root".into(), "name a user other than root, such as 10001:10001");
        let privileged = container.at("Privileged");
        let hint = "remove Privileged";
        report.require(privileged.truth() != Some(true), &privileged, || "has the host's privileges".into(), hint);
    }
}

fn writable_root(report: &mut Report<'_>) {
    for container in containers(report) {
        let read_only = container.at("ReadonlyRootFilesystem");
        let hint = "set ReadonlyRootFilesystem, and mount a volume where files are written";
        let problem = || "its root file system can be written to".into();
        report.require(read_only.may_be_true(), &read_only, problem, hint);
    }
}

fn health_command(report: &mut Report<'_>) {
    for container in containers(report) {
        let command = container.at("HealthCheck").at("Command");
        let words = command.texts();
        let foreign = ["curl", "wget"].into_iter().find(|tool| words.iter().any(|word| word.contains(tool)));
        if let Some(tool) = foreign {
            let problem = format!("calls {tool}, which minimal images do not have");
            report.add(&command, problem, "let the service's own program ask itself, as a CMD");
        }
        let bare = !words.is_empty() && !matches!(words[0], "CMD" | "CMD-SHELL" | "NONE");
        report.require(!bare, &command, || format!("`{}` is run as it is", words[0]), "begin with CMD or CMD-SHELL");
    }
}

fn health_timing(report: &mut Report<'_>) {
    for container in containers(report) {
        let check = container.at("HealthCheck");
        let limits =
            [("Interval", 5.0, 300.0), ("Timeout", 2.0, 60.0), ("Retries", 1.0, 10.0), ("StartPeriod", 0.0, 300.0)];
        for (name, low, high) in limits {
            let field = check.at(name);
            let holds = field.number().is_none_or(|number| (low..=high).contains(&number));
            report.require(holds, &field, || format!("is outside {low} to {high}"), "keep within what ECS takes");
        }
        let (interval, timeout) = (check.at("Interval").number(), check.at("Timeout"));
        let overlaps = timeout.number().zip(interval).is_some_and(|(timeout, interval)| timeout > interval);
        let hint = "make Timeout at most Interval";
        report.require(!overlaps, &timeout, || "a check outlasts the time until the next".into(), hint);
    }
}

fn log_options(report: &mut Report<'_>) {
    for container in containers(report) {
        let logs = container.at("LogConfiguration");
        let hint = "send output to a log group: awslogs with its group, region and stream prefix";
        report.require(logs.exists(), &logs, || "its output goes nowhere".into(), hint);
        if logs.at("LogDriver").text() == Some("awslogs") {
            for name in ["awslogs-group", "awslogs-region", "awslogs-stream-prefix"] {
                let option = logs.at("Options").at(name);
                report.require(option.exists(), &option, || "Fargate needs this option".into(), hint);
            }
        }
    }
}

fn volumes(report: &mut Report<'_>) {
    for definition in definitions(report) {
        let volumes = definition.at("Volumes").items();
        let names: Vec<_> = volumes.iter().filter_map(|volume| volume.at("Name").text()).collect();
        for container in definition.at("ContainerDefinitions").items() {
            for mount in container.at("MountPoints").items() {
                let source = mount.at("SourceVolume");
                let Some(name) = source.text() else { continue };
                let problem = || format!("the task has no volume `{name}`");
                report.require(names.contains(&name), &source, problem, "name one of the task's Volumes");
            }
        }
    }
}

fn duplicates(report: &mut Report<'_>) {
    for definition in definitions(report) {
        let containers = definition.at("ContainerDefinitions").items();
        once(report, containers.iter().map(|container| container.at("Name")).collect());
        let ports = containers.iter().flat_map(|container| container.at("PortMappings").items());
        once(report, ports.map(|mapping| mapping.at("ContainerPort")).collect());
        for container in &containers {
            let named = ["Environment", "Secrets"].into_iter().flat_map(|list| container.at(list).items());
            once(report, named.map(|variable| variable.at("Name")).collect());
        }
    }
}

/// Each value may be there once.
fn once(report: &mut Report<'_>, fields: Vec<Field<'_>>) {
    for (index, field) in fields.iter().enumerate() {
        let again = field.exists() && fields[..index].iter().any(|other| other.json() == field.json());
        report.require(!again, field, || format!("{} is there twice", field.json()), "give each its own");
    }
}

fn essential(report: &mut Report<'_>) {
    for definition in definitions(report) {
        let containers = definition.at("ContainerDefinitions");
        // A container is essential unless it says otherwise.
        let any = containers.items().iter().any(|container| container.at("Essential").truth() != Some(false));
        let hint = "make the container that serves Essential";
        report.require(any, &containers, || "no container is essential".into(), hint);
    }
}

fn execution_role(report: &mut Report<'_>) {
    for definition in definitions(report).filter(is_fargate) {
        let role = definition.at("ExecutionRoleArn");
        let needs = definition.at("ContainerDefinitions").items().into_iter().any(|container| {
            let driver = container.at("LogConfiguration").at("LogDriver");
            container.at("Secrets").exists() || driver.text() == Some("awslogs")
        });
        let hint = "give ECS a role that reads the secrets and writes the logs";
        report.require(role.exists() || !needs, &role, || "ECS may not start this task".into(), hint);
    }
}
