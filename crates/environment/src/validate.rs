//! What types cannot say: relations between fields and the limits of AWS. All problems are collected.

use crate::error::{Error, Problem};
use crate::project::Project;
use crate::settings::{Endpoint, Environment, Nat, Strategy};
use crate::source::Source;
use crate::units::Span;
use crate::variables::DRAIN_DELAY;

/// Collects problems of one file.
struct Check<'a> {
    source: &'a Source<'a>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// Records a problem at a field unless the condition holds.
    fn require(&mut self, holds: bool, field: &str, message: impl FnOnce() -> String, hint: &str) {
        if !holds {
            self.problems.push(self.source.problem(field, message(), hint));
        }
    }

    fn finish(self) -> Result<(), Error> {
        if self.problems.is_empty() { Ok(()) } else { Err(Error::Invalid(self.problems)) }
    }
}

pub(crate) fn project(project: &Project, source: &Source<'_>) -> Result<(), Error> {
    let mut check = Check { source, problems: Vec::new() };
    check.require(
        is_name(&project.name) && project.name.len() <= 15,
        "name",
        || format!("`{}` cannot begin resource names", project.name),
        "lower-case letters, digits and single hyphens, beginning with a letter, at most 15 characters \
         (target group names have 32)",
    );
    check.require(
        project.image_repository.split('/').all(is_name),
        "image_repository",
        || format!("`{}` is no repository name", project.image_repository),
        "lower-case words separated by `/`, without host and tag, such as smartassist/chatbot",
    );
    check.require(
        is_region(&project.region),
        "region",
        || format!("`{}` is no AWS region", project.region),
        "such as ap-northeast-1",
    );
    check.require(
        matches!(project.source.repository.split('/').collect::<Vec<_>>()[..], [a, b] if !a.is_empty() && !b.is_empty()),
        "source.repository",
        || format!("`{}` is no repository", project.source.repository),
        "owner/name, such as smartassist/smartassist-chatbot",
    );
    check.require(
        !project.source.branch.is_empty() && !project.source.branch.contains(char::is_whitespace),
        "source.branch",
        || format!("`{}` is no branch", project.source.branch),
        "such as main",
    );
    if let Some(arn) = &project.source.connection_arn {
        check.require(
            arn.starts_with("arn:") && arn.contains(":connection/"),
            "source.connection_arn",
            || format!("`{arn}` is no connection's ARN"),
            "copy it from the console's Connections page, or remove it and let the stack create one",
        );
    }
    let tag = project.build.image.rsplit_once(':').map(|(_, tag)| tag);
    check.require(
        tag.is_some_and(|tag| !tag.is_empty() && tag != "latest"),
        "build.image",
        || format!("`{}` has no fixed version", project.build.image),
        "name a tag other than latest, or a digest",
    );
    check.require(
        project.local.endpoint.starts_with("http://127."),
        "local.endpoint",
        || format!("`{}` is not on this machine", project.local.endpoint),
        "the embedded endpoint listens on loopback only, such as http://127.0.0.1:7400",
    );
    check.finish()
}

pub(crate) fn environment(environment: &Environment, source: &Source<'_>) -> Result<(), Error> {
    let mut check = Check { source, problems: Vec::new() };
    location(environment, &mut check);
    network(environment, &mut check);
    edge(environment, &mut check);
    task(environment, &mut check);
    health_check(environment, &mut check);
    deployment(environment, &mut check);
    autoscaling(environment, &mut check);
    variables(environment, &mut check);
    check.finish()
}

fn location(environment: &Environment, check: &mut Check<'_>) {
    if let Some(account) = &environment.location.account {
        check.require(
            account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()),
            "where.account",
            || format!("`{account}` is no AWS account"),
            "twelve digits in quotes, or no account at all for the embedded endpoint",
        );
    }
    if let Some(region) = &environment.location.region {
        check.require(
            is_region(region),
            "where.region",
            || format!("`{region}` is no AWS region"),
            "such as ap-northeast-1",
        );
    }
}

fn network(environment: &Environment, check: &mut Check<'_>) {
    let network = &environment.network;
    check.require(
        parse_cidr(&network.cidr).is_some_and(|(address, bits)| (16..=20).contains(&bits) && address << bits == 0),
        "network.cidr",
        || format!("`{}` is no address range for a VPC", network.cidr),
        "a network address with a prefix of 16 to 20 bits, such as 10.20.0.0/16",
    );
    check.require(
        (2..=3).contains(&network.zones),
        "network.zones",
        || format!("{} zones are not supported", network.zones),
        "a load balancer needs 2, and 3 is the most every region has",
    );
    let mut seen = network.endpoints.clone();
    seen.sort_unstable();
    seen.dedup();
    check.require(
        seen.len() == network.endpoints.len(),
        "network.endpoints",
        || "an endpoint is listed twice".to_owned(),
        "list each endpoint once",
    );
    if network.nat == Nat::None {
        let mut needed = vec![Endpoint::S3, Endpoint::EcrApi, Endpoint::EcrDkr, Endpoint::Logs];
        if !environment.secrets.is_empty() {
            needed.push(Endpoint::Secretsmanager);
        }
        if !environment.parameters.is_empty() {
            needed.push(Endpoint::Ssm);
        }
        needed.retain(|endpoint| !network.endpoints.contains(endpoint));
        check.require(
            needed.is_empty(),
            "network.endpoints",
            || {
                let names: Vec<_> = needed.iter().map(|endpoint| endpoint.service().replace('.', "-")).collect();
                format!("without NAT, tasks cannot start: no endpoint for {}", names.join(", "))
            },
            "add them to network.endpoints, or set network.nat to single",
        );
    }
}

fn edge(environment: &Environment, check: &mut Check<'_>) {
    let edge = &environment.edge;
    check.require(edge.port != 0, "edge.port", || "port 0 cannot be listened on".to_owned(), "1 to 65535");
    check.require(edge.test_port != 0, "edge.test_port", || "port 0 cannot be listened on".to_owned(), "1 to 65535");
    check.require(
        edge.port != edge.test_port,
        "edge.test_port",
        || format!("port {} is the production listener's", edge.test_port),
        "give the test listener a port of its own",
    );
    check.require(
        edge.domain.is_none() || edge.certificate.is_some(),
        "edge.domain",
        || "a domain needs a certificate".to_owned(),
        "add edge.certificate with the ARN of its ACM certificate",
    );
    if let Some(certificate) = &edge.certificate {
        check.require(
            certificate.starts_with("arn:") && certificate.contains(":acm:"),
            "edge.certificate",
            || format!("`{certificate}` is no certificate's ARN"),
            "the ARN of a certificate in ACM in the environment's region",
        );
    }
    for range in &edge.test_sources {
        check.require(
            parse_cidr(range).is_some_and(|(_, bits)| bits > 0),
            "edge.test_sources",
            || format!("`{range}` may not be a source of test traffic"),
            "an IPv4 range that is not the whole internet, such as 203.0.113.0/24",
        );
    }
}

fn task(environment: &Environment, check: &mut Check<'_>) {
    let task = &environment.task;
    let memory = task.memory.as_mebibytes();
    let allowed = match task.cpu {
        256 => matches!(memory, 512 | 1024 | 2048),
        512 => memory.is_multiple_of(1024) && (1024..=4096).contains(&memory),
        1024 => memory.is_multiple_of(1024) && (2048..=8192).contains(&memory),
        2048 => memory.is_multiple_of(1024) && (4096..=16_384).contains(&memory),
        4096 => memory.is_multiple_of(1024) && (8192..=30_720).contains(&memory),
        8192 => memory.is_multiple_of(4096) && (16_384..=61_440).contains(&memory),
        16_384 => memory.is_multiple_of(8192) && (32_768..=122_880).contains(&memory),
        _ => {
            let cpu = task.cpu;
            let hint = "one of 256, 512, 1024, 2048, 4096, 8192, 16384";
            check.require(false, "task.cpu", || format!("Fargate has no tasks of {cpu} CPU units"), hint);
            true
        }
    };
    check.require(
        allowed,
        "task.memory",
        || format!("Fargate does not pair {} CPU units with {}", task.cpu, task.memory),
        "256 pairs with 512MiB, 1GiB, 2GiB; 512 with 1GiB to 4GiB; 1024 with 2GiB to 8GiB; 2048 with 4GiB to 16GiB",
    );
    check.require(
        task.stop_timeout <= Span::seconds(120),
        "task.stop_timeout",
        || format!("{} is longer than Fargate waits", task.stop_timeout),
        "at most 120s",
    );
    check.require(
        task.drain.as_seconds() + DRAIN_DELAY.as_seconds() <= task.stop_timeout.as_seconds(),
        "task.drain",
        || format!("draining for {} is cut off by stop_timeout {}", task.drain, task.stop_timeout),
        "make task.stop_timeout 5s longer than task.drain: the chatbot serves on that long before it drains",
    );
}

fn health_check(environment: &Environment, check: &mut Check<'_>) {
    let health = &environment.health_check;
    check.require(
        health.path.starts_with('/') && !health.path.contains(char::is_whitespace),
        "health_check.path",
        || format!("`{}` is no path", health.path),
        "begin with a slash, such as /health",
    );
    check.require(
        (Span::seconds(5)..=Span::seconds(300)).contains(&health.interval),
        "health_check.interval",
        || format!("{} is outside what load balancers take", health.interval),
        "5s to 5m",
    );
    check.require(
        health.timeout < health.interval && health.timeout >= Span::seconds(2),
        "health_check.timeout",
        || format!("{} does not fit an interval of {}", health.timeout, health.interval),
        "at least 2s and shorter than health_check.interval",
    );
    for (field, threshold) in
        [("healthy_threshold", health.healthy_threshold), ("unhealthy_threshold", health.unhealthy_threshold)]
    {
        check.require(
            (2..=10).contains(&threshold),
            &format!("health_check.{field}"),
            || format!("{threshold} is outside what load balancers take"),
            "2 to 10",
        );
    }
    check.require(
        health.start_period <= Span::seconds(300),
        "health_check.start_period",
        || format!("{} is longer than ECS takes", health.start_period),
        "at most 5m",
    );
    check.require(
        health.deregistration_delay <= Span::seconds(3600) && health.deregistration_delay >= environment.task.drain,
        "health_check.deregistration_delay",
        || {
            let drain = environment.task.drain;
            format!("{} cuts off streams that may take {drain} to finish", health.deregistration_delay)
        },
        "at least task.drain and at most 1h",
    );
}

fn deployment(environment: &Environment, check: &mut Check<'_>) {
    let deployment = &environment.deployment;
    let (field, step) = match &deployment.strategy {
        Strategy::AllAtOnce => ("", Span::minutes(1)),
        Strategy::Canary(canary) => ("deployment.strategy.canary.for", canary.duration),
        Strategy::Linear(linear) => ("deployment.strategy.linear.every", linear.every),
    };
    check.require(
        step.as_minutes().is_some_and(|minutes| (1..=2880).contains(&minutes)),
        field,
        || format!("{step} is no step CodeDeploy can wait"),
        "whole minutes, 1m to 48h",
    );
    check.require(
        deployment.bake.as_minutes().is_some_and(|minutes| minutes <= 2880),
        "deployment.bake",
        || format!("{} is no time CodeDeploy can keep the old version", deployment.bake),
        "whole minutes, 0m to 48h",
    );
    check.require(
        deployment.alarms.len() <= 10,
        "deployment.alarms",
        || format!("{} alarms, but CodeDeploy watches at most 10", deployment.alarms.len()),
        "combine them into composite alarms",
    );
}

fn autoscaling(environment: &Environment, check: &mut Check<'_>) {
    let scaling = &environment.autoscaling;
    let (min, max, desired) = (scaling.min, scaling.max, scaling.desired);
    check.require(
        min <= max,
        "autoscaling.max",
        || format!("the bounds are crossed: min {min}, max {max}"),
        "make max at least min",
    );
    check.require(
        min > max || (min..=max).contains(&desired),
        "autoscaling.desired",
        || format!("{desired} is outside {min} to {max}"),
        "keep desired between min and max",
    );
    for (field, target) in
        [("cpu_percent", scaling.targets.cpu_percent), ("memory_percent", scaling.targets.memory_percent)]
    {
        check.require(
            target.is_none_or(|percent| (10..=95).contains(&percent)),
            &format!("autoscaling.targets.{field}"),
            || "a service cannot be kept at that level".to_owned(),
            "10 to 95 percent",
        );
    }
    let mut names: Vec<&str> = Vec::new();
    for schedule in &scaling.schedules {
        let name = &schedule.name;
        check.require(
            !names.contains(&name.as_str()) && !name.is_empty(),
            "autoscaling.schedules",
            || format!("`{name}` does not name one schedule"),
            "give every schedule a name of its own",
        );
        names.push(name);
        check.require(
            schedule.cron.split_whitespace().count() == 6,
            "autoscaling.schedules",
            || format!("`{name}`: `{}` is no AWS cron", schedule.cron),
            "six fields: minutes hours day-of-month month day-of-week year, such as 30 8 ? * MON-FRI *",
        );
        check.require(
            schedule.min <= schedule.max,
            "autoscaling.schedules",
            || format!("`{name}`: the bounds are crossed: min {}, max {}", schedule.min, schedule.max),
            "make max at least min",
        );
    }
}

fn variables(environment: &Environment, check: &mut Check<'_>) {
    let named = [("secrets", &environment.secrets), ("parameters", &environment.parameters)];
    for (section, entries) in named {
        for (variable, reference) in entries {
            let field = format!("{section}.{variable}");
            check.require(
                variable.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                &field,
                || format!("`{variable}` is no variable's name"),
                "upper-case letters, digits and underscores",
            );
            check.require(
                !reference.is_empty()
                    && reference.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b)),
                &field,
                || "that is no name of a secret or parameter".to_owned(),
                "the name alone, such as smartassist/staging/api-key; the value never stands in this file",
            );
            check.require(
                section == "parameters" || !environment.parameters.contains_key(variable),
                &field,
                || format!("`{variable}` is a parameter too"),
                "keep it in one of the two sections",
            );
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() >= 3 && is_name(text) && parts.last().is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
}

/// Address and prefix length of an IPv4 range.
fn parse_cidr(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((u32::from(address), bits))
}
