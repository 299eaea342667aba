//! The alarms that stop a deployment, and the topic of all alarms of the environment.

use environment::Environment;

use super::balancing::Balancer;
use super::export;
use crate::metrics::{MINUTE, Metric, Statistic, Threshold, Watched, load_balancer};
use crate::names::Names;
use crate::resources::cloudwatch::Alarm;
use crate::template::{Handle, Template};
use crate::topics;
use crate::value::Intrinsic;

/// Names of the environment's own alarms that stop a deployment.
pub(crate) fn gates(environment: &Environment, names: Names<'_>) -> Vec<String> {
    let own = environment.alarms.is_some().then(|| ["errors", "latency"].map(|what| names.alarm(what)));
    own.into_iter().flatten().collect()
}

/// Share of requests that the service, or the load balancer in its place, answered with an error. Without any
/// request there is no error.
const ERROR_RATE: &str =
    "IF(FILL(requests,0) > 0, 100 * (FILL(target,0) + FILL(balancer,0)) / (FILL(requests,0) + FILL(balancer,0)), 0)";

/// None of both where nobody asked for alarms.
#[derive(Default)]
pub(super) struct Alarms {
    /// What stops a deployment.
    pub(super) stop: Vec<Handle<Alarm>>,
    /// Who is told.
    pub(super) topic: Option<Intrinsic>,
}

pub(super) fn add(
    template: &mut Template,
    environment: &Environment,
    names: Names<'_>,
    balancer: &Balancer,
    key: Option<Intrinsic>,
) -> Alarms {
    let Some(alarms) = &environment.alarms else { return Alarms::default() };
    let topic = topics::add(template, "Alerts", names.alarm("alerts"), key);
    template.export("Alerts", "Topic of the alarms", &topic.reference(), &export(names, "Alerts"));
    let dimensions = [
        ("LoadBalancer", balancer.load_balancer.load_balancer_full_name()),
        ("Blue", balancer.blue.target_group_full_name()),
        ("Green", balancer.green.target_group_full_name()),
    ];
    for (name, value) in dimensions {
        template.export(name, "As metrics name it", &value, &export(names, name));
    }
    let metric = |name: &'static str, statistic| -> Metric {
        load_balancer(name, balancer.load_balancer.load_balancer_full_name(), statistic)
    };
    let errors = Threshold {
        name: names.alarm("errors"),
        description: format!("More than {} % of the requests fail", alarms.error_percent),
        watched: Watched::Expression(
            ERROR_RATE,
            vec![
                ("requests", metric("RequestCount", Statistic::Sum)),
                ("target", metric("HTTPCode_Target_5XX_Count", Statistic::Sum)),
                ("balancer", metric("HTTPCode_ELB_5XX_Count", Statistic::Sum)),
            ],
        ),
        above: f64::from(alarms.error_percent),
        period: MINUTE,
        points: 2,
        periods: 3,
    };
    let latency = Threshold {
        name: names.alarm("latency"),
        description: format!("One answer in a hundred takes more than {}", alarms.latency_p99),
        watched: Watched::Metric(metric("TargetResponseTime", Statistic::P99)),
        above: alarms.latency_p99.as_duration().as_secs_f64(),
        period: MINUTE,
        points: 3,
        periods: 3,
    };
    let topic = topic.reference();
    let stop = [("ErrorsAlarm", errors), ("LatencyAlarm", latency)];
    let stop = stop.map(|(id, threshold)| template.add(id, threshold.alarm(std::slice::from_ref(&topic))));
    Alarms { stop: stop.into(), topic: Some(topic) }
}
