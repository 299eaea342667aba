//! What other settings would save.

use environment::{Architecture, Capacity, Endpoint, Environment, Nat, Project, Schedule};

use super::{Prices, Scenario, of_environment};
use crate::stack::Unsupported;

/// Another setting, and what the month then costs less.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Saving {
    /// The setting.
    pub setting: String,
    /// US dollars a month; negative if it costs more.
    pub usd: f64,
    /// What else changes with it.
    pub effect: &'static str,
}

type Change = fn(&mut Environment);

/// The settings that the brief names, each alone, where they change what a month costs.
pub fn savings(
    project: &Project,
    environment: &Environment,
    prices: &Prices,
    scenario: Scenario,
) -> Result<Vec<Saving>, Unsupported> {
    let choices: [(&str, &str, Change); 7] = [
        ("task.capacity: spot", "tasks may be taken back with two minutes' notice", |of| {
            of.task.capacity = Capacity::Spot;
        }),
        ("task.architecture: arm64", "the image is built for Graviton", |of| {
            of.task.architecture = Architecture::Arm64;
        }),
        (
            "autoscaling.schedules: one task at night and on weekends",
            "the first requests of a morning wait for scaling",
            quiet,
        ),
        ("network.nat: single", "one zone's failure cuts off all tasks", |of| {
            of.network.nat = Nat::Single;
        }),
        ("network.nat: none, with endpoints", "tasks reach AWS services only", without_nat),
        ("network.nat: per-zone", "the loss of a zone cuts off no other", |of| {
            of.network.nat = Nat::PerZone;
        }),
        ("network.zones: 2", "less room for the loss of a zone", |of| {
            of.network.zones = 2;
        }),
    ];
    let now = of_environment(project, environment, prices, scenario)?.total();
    let mut found = Vec::new();
    for (setting, effect, change) in choices {
        let mut other = environment.clone();
        change(&mut other);
        // What is not generated is not offered either.
        let Ok(then) = of_environment(project, &other, prices, scenario) else { continue };
        let usd = now - then.total();
        if usd.abs() >= 0.005 {
            found.push(Saving { setting: setting.to_owned(), usd, effect });
        }
    }
    Ok(found)
}

/// Working hours as they are, one task from 20:00 to 08:00 and on weekends.
fn quiet(environment: &mut Environment) {
    let scaling = &mut environment.autoscaling;
    if !scaling.schedules.is_empty() {
        return;
    }
    let schedule = |name: &str, cron: &str, min: u32| Schedule {
        name: name.to_owned(),
        cron: cron.to_owned(),
        timezone: "Asia/Tokyo".to_owned(),
        min,
        max: scaling.max,
    };
    let (morning, night) = ("0 8 ? * MON-FRI *", "0 20 ? * * *");
    scaling.schedules = vec![schedule("morning", morning, scaling.desired), schedule("night", night, 1)];
}

/// Every service that a task needs to start and to work gets an endpoint.
fn without_nat(environment: &mut Environment) {
    environment.network.nat = Nat::None;
    for endpoint in
        [Endpoint::S3, Endpoint::EcrApi, Endpoint::EcrDkr, Endpoint::Logs, Endpoint::Secretsmanager, Endpoint::Ssm]
    {
        if !environment.network.endpoints.contains(&endpoint) {
            environment.network.endpoints.push(endpoint);
        }
    }
}
