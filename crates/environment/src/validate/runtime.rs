//! What runs, how it is replaced and how it grows.

use super::Check;
use crate::settings::{Engine, Environment, Nat, Strategy};
use crate::units::Span;
use crate::variables::DRAIN_DELAY;

pub(super) fn task(environment: &Environment, check: &mut Check<'_>) {
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

pub(super) fn health_check(environment: &Environment, check: &mut Check<'_>) {
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

pub(super) fn deployment(environment: &Environment, check: &mut Check<'_>) {
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
    if deployment.engine == Engine::Ecs {
        native(environment, field, step, check);
    }
    // Two of the environment's own join them.
    let alarms = deployment.alarms.len() + if environment.alarms.is_some() { 2 } else { 0 };
    check.require(
        alarms <= 10,
        "deployment.alarms",
        || format!("{alarms} alarms, but CodeDeploy watches at most 10"),
        "combine them into composite alarms",
    );
}

/// CodePipeline's ECS action waits an hour for a deployment, and fails while it goes on. This much of it is for what the
/// settings say.
const ECS_ACTION: Span = Span::minutes(50);

/// What ECS itself takes is less than what CodeDeploy takes.
fn native(environment: &Environment, field: &str, step: Span, check: &mut Check<'_>) {
    let day = Span::minutes(1440);
    check.require(
        step <= day,
        field,
        || format!("{step} is no step ECS can wait"),
        "whole minutes, at most 24h with the engine ecs",
    );
    check.require(
        environment.deployment.bake <= day,
        "deployment.bake",
        || format!("{} is no time ECS can keep the old version", environment.deployment.bake),
        "at most 24h with the engine ecs",
    );
    let hooks = environment.deployment.hooks.as_ref();
    let hooks = hooks.map_or(0, |hooks| hooks.timeout.as_seconds() + hooks.watch.as_seconds());
    let steps = environment.deployment.strategy.duration().as_seconds();
    let whole = Span::seconds(steps + hooks + environment.deployment.bake.as_seconds());
    check.require(
        whole <= ECS_ACTION,
        "deployment.bake",
        || format!("steps, hooks and bake take {whole}, and CodePipeline's ECS action gives up after an hour"),
        "at most 50m together with the engine ecs: the rest is for tasks to start",
    );
    if let Strategy::Linear(linear) = &environment.deployment.strategy {
        check.require(
            linear.percent >= 3,
            "deployment.strategy.linear.percent",
            || format!("{} percent is no step ECS can take", linear.percent),
            "at least 3 with the engine ecs",
        );
    }
}

pub(super) fn hooks(environment: &Environment, check: &mut Check<'_>) {
    let Some(hooks) = &environment.deployment.hooks else { return };
    check.require(
        !hooks.code_bucket.is_empty() && hooks.code_key.ends_with(".zip"),
        "deployment.hooks.code_key",
        || format!("`{}/{}` is no zip file in a bucket", hooks.code_bucket, hooks.code_key),
        "bucket and key of the functions' code, such as canary/abc1234.zip",
    );
    check.require(
        environment.network.nat != Nat::None,
        "deployment.hooks",
        || "without NAT the functions cannot reach the load balancer".to_owned(),
        "set network.nat to single, or remove the hooks",
    );
    check.require(
        hooks.conversations >= 1,
        "deployment.hooks.conversations",
        || "a hook that asks nothing finds nothing".to_owned(),
        "at least 1",
    );
    for (field, time) in [("deployment.hooks.timeout", hooks.timeout), ("deployment.hooks.watch", hooks.watch)] {
        check.require(
            (Span::seconds(10)..=Span::minutes(15)).contains(&time),
            field,
            || format!("a Lambda function cannot run for {time}"),
            "10s to 15m",
        );
    }
    check.require(
        hooks.watch <= environment.deployment.bake,
        "deployment.hooks.watch",
        || format!("the old version goes after {}, before MonitorCanary knows", environment.deployment.bake),
        "at most deployment.bake: MonitorCanary begins when all traffic has moved",
    );
}

pub(super) fn autoscaling(environment: &Environment, check: &mut Check<'_>) {
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
    check.require(
        scaling.targets.requests_per_task.is_none_or(|requests| requests >= 1),
        "autoscaling.targets.requests_per_task",
        || "a task that takes no request is of no use".to_owned(),
        "at least 1 a minute",
    );
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
            super::is_cron(&schedule.cron),
            "autoscaling.schedules",
            || format!("`{name}`: `{}` is no AWS cron", schedule.cron),
            "six fields: minutes hours day-of-month month day-of-week year, one of the two days a ?, such as 30 8 ? * MON-FRI *",
        );
        check.require(
            schedule.timezone == "UTC" || schedule.timezone.contains('/'),
            "autoscaling.schedules",
            || format!("`{name}`: `{}` is no time zone", schedule.timezone),
            "a name of the time zone database, such as Asia/Tokyo",
        );
        check.require(
            schedule.min <= schedule.max,
            "autoscaling.schedules",
            || format!("`{name}`: the bounds are crossed: min {}, max {}", schedule.min, schedule.max),
            "make max at least min",
        );
    }
}
