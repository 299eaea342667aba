//! What watches an environment, and who is told: alarms, a dashboard, what happened, notifications.

mod events;

use environment::{AlarmSettings, Environment, Project};
use serde_json::Value as Json;

use crate::data;
use crate::documents::dashboard::Dashboard as DashboardBody;
use crate::metrics::{MINUTE, Metric, Statistic, Threshold, Watched, load_balancer, service, target_group};
use crate::names::Names;
use crate::resources::cloudwatch::{Alarm, CompositeAlarm, Dashboard};
use crate::resources::logs::MetricFilter;
use crate::resources::logs::metric_filter::MetricTransformation;
use crate::service::{Imports, gates};
use crate::stack::tags;
use crate::template::{Handle, Template};
use crate::topics;
use crate::value::{Intrinsic, Value};

/// Points of metrics of our own are ten minutes long: containers that end are rare.
const TEN_MINUTES: i64 = 600;

/// What the parts of the stack know of each other.
#[derive(Clone, Copy)]
struct Watch<'a> {
    environment: &'a Environment,
    alarms: &'a AlarmSettings,
    names: Names<'a>,
    service: Imports<'a>,
}

/// The template; none when nobody asked for alarms.
pub(crate) fn template(project: &Project, environment: &Environment) -> Option<Json> {
    let alarms = environment.alarms.as_ref()?;
    let names = Names::new(project, environment.name);
    let watch = Watch { environment, alarms, names, service: Imports(names) };
    let key = data::Imports::new(names, environment).key();
    let description = format!("{}: what watches {}", project.name, environment.name);
    let mut template = Template::new(description, tags(project, Some(environment)));

    topics::tell(&mut template, &alarms.notify, names.alarm("alerts"), &watch.service.alerts());
    let pages = topics::add(&mut template, "Pages", names.alarm("pages"), key.clone());
    topics::page(&mut template, &alarms.notify, &pages.reference());

    events::add(&mut template, watch, key);
    count(&mut template, "LogErrors", names.log_group().into(), "{ $.level = \"ERROR\" }", names);
    let own = watch.thresholds().map(|(id, threshold)| {
        let name = threshold.name.clone();
        (name, template.add(id, threshold.alarm(&[watch.service.alerts()])))
    });
    watch.composites(&mut template, &own, &pages.reference());
    watch.dashboard(&mut template, &own);
    Some(template.finish())
}

/// Counts what a pattern finds in a log group, as a metric of the environment's own namespace.
fn count(template: &mut Template, metric: &'static str, group: Value<String>, pattern: &str, names: Names<'_>) {
    let one = MetricTransformation {
        default_value: Some(0.0.into()),
        ..MetricTransformation::new(metric, names.environment_wide(), "1")
    };
    template.add(format!("{metric}Filter"), MetricFilter::new(pattern, group, vec![one]));
}

impl Watch<'_> {
    /// A metric that one of our filters counts.
    fn counted(self, name: &'static str) -> Metric {
        let namespace = self.names.environment_wide();
        Metric { namespace, name, dimensions: Vec::new(), statistic: Statistic::Sum }
    }

    /// A metric of the ECS service.
    fn tasks(self, name: &'static str) -> Metric {
        service(name, self.names.environment_wide(), self.names.service(), Statistic::Average)
    }

    fn unhealthy(self, colour: &'static str) -> Metric {
        let (balancer, group) = (self.service.load_balancer(), self.service.target_group(colour));
        target_group("UnHealthyHostCount", balancer, group, Statistic::Maximum)
    }

    /// The alarms that tell people and stop nothing.
    fn thresholds(self) -> [(&'static str, Threshold); 6] {
        let AlarmSettings { memory_percent, cpu_percent, restarts, .. } = self.alarms;
        let name = |what| self.names.alarm(what);
        let both = vec![("blue", self.unhealthy("Blue")), ("green", self.unhealthy("Green"))];
        let minutes = |name, description, watched, above, points| Threshold {
            name,
            description,
            watched,
            above,
            period: MINUTE,
            points,
            periods: points + 1,
        };
        let rare = |name, description, metric, above| Threshold {
            name,
            description,
            watched: Watched::Metric(metric),
            above,
            period: TEN_MINUTES,
            points: 1,
            periods: 1,
        };
        let share = |percent: &u8| f64::from(*percent);
        [
            (
                "UnhealthyAlarm",
                minutes(
                    name("unhealthy"),
                    "A task does not answer its health check".to_owned(),
                    Watched::Expression("FILL(blue,0) + FILL(green,0)", both),
                    0.0,
                    3,
                ),
            ),
            (
                "MemoryAlarm",
                minutes(
                    name("memory"),
                    format!("Memory above {memory_percent} %: at 100 % the kernel ends the container"),
                    Watched::Metric(self.tasks("MemoryUtilization")),
                    share(memory_percent),
                    3,
                ),
            ),
            (
                "CpuAlarm",
                minutes(
                    name("cpu"),
                    format!("CPU above {cpu_percent} % although scaling had time to act"),
                    Watched::Metric(self.tasks("CPUUtilization")),
                    share(cpu_percent),
                    10,
                ),
            ),
            (
                "RestartsAlarm",
                rare(
                    name("restarts"),
                    format!("More than {restarts} containers ended by themselves in ten minutes"),
                    self.counted("ContainersEnded"),
                    f64::from(*restarts),
                ),
            ),
            (
                "DeploymentsAlarm",
                rare(
                    name("deployments"),
                    "A deployment failed or was taken back".to_owned(),
                    self.counted("DeploymentsFailed"),
                    0.0,
                ),
            ),
            (
                "LogErrorsAlarm",
                rare(
                    name("log-errors"),
                    format!("More than {} errors in the log in ten minutes", self.alarms.log_errors),
                    self.counted("LogErrors"),
                    f64::from(self.alarms.log_errors),
                ),
            ),
        ]
    }

    /// What customers notice wakes people; what runs short tells them.
    fn composites(self, template: &mut Template, own: &[(String, Handle<Alarm>)], pages: &Intrinsic) {
        let name = |what: &str| self.names.alarm(what);
        let composites = [
            ("CustomersNotice", "customers", [name("errors"), name("latency"), name("unhealthy")], pages.clone()),
            ("RunsShort", "capacity", [name("memory"), name("cpu"), name("restarts")], self.service.alerts()),
        ];
        for (id, what, alarms, topic) in composites {
            let rule = alarms.each_ref().map(|alarm| format!("ALARM(\"{alarm}\")")).join(" OR ");
            let composite = CompositeAlarm {
                alarm_name: Some(name(what).into()),
                alarm_description: Some(format!("One of: {}", alarms.join(", ")).into()),
                actions_enabled: Some(true.into()),
                alarm_actions: Some(vec![topic.clone().into()]),
                ok_actions: Some(vec![topic.into()]),
                ..CompositeAlarm::new(rule)
            };
            // The rule names alarms of this stack by name; they have to exist.
            let resource = own
                .iter()
                .fold(composite.into(), |resource: crate::template::Resource<_>, (_, alarm)| resource.after(alarm));
            template.add(id, resource);
        }
    }

    fn dashboard(self, template: &mut Template, own: &[(String, Handle<Alarm>)]) {
        let text = |name: &str| Intrinsic::Text(format!("${{{name}}}"));
        let balancer = |name, statistic| load_balancer(name, text("LoadBalancer"), statistic);
        let group = |colour: &str, name, statistic| target_group(name, text("LoadBalancer"), text(colour), statistic);
        let gates = gates(self.environment, self.names);
        let alarms = gates.iter().chain(own.iter().map(|(name, _)| name)).map(String::as_str);
        let body = DashboardBody::default()
            .alarms("Alarms", alarms)
            .metrics(
                "Requests and errors",
                [
                    ("requests", balancer("RequestCount", Statistic::Sum)),
                    ("errors of the service", balancer("HTTPCode_Target_5XX_Count", Statistic::Sum)),
                    ("errors of the load balancer", balancer("HTTPCode_ELB_5XX_Count", Statistic::Sum)),
                ],
            )
            .metrics("Time to answer", [("p99", balancer("TargetResponseTime", Statistic::P99))])
            .metrics(
                "Requests by version",
                [
                    ("blue", group("Blue", "RequestCount", Statistic::Sum)),
                    ("green", group("Green", "RequestCount", Statistic::Sum)),
                ],
            )
            .metrics(
                "Healthy tasks",
                [
                    ("blue", group("Blue", "HealthyHostCount", Statistic::Average)),
                    ("green", group("Green", "HealthyHostCount", Statistic::Average)),
                ],
            )
            .metrics(
                "CPU and memory, percent",
                [("CPU", self.tasks("CPUUtilization")), ("memory", self.tasks("MemoryUtilization"))],
            )
            .metrics(
                "What should not happen",
                [
                    ("containers ended", self.counted("ContainersEnded")),
                    ("deployments failed", self.counted("DeploymentsFailed")),
                    ("errors in the log", self.counted("LogErrors")),
                ],
            )
            .logs(
                "Errors in the log",
                &self.names.log_group(),
                "fields @timestamp, message | filter level = 'ERROR' | sort @timestamp desc | limit 50",
            );
        let named = [
            ("LoadBalancer", self.service.load_balancer()),
            ("Blue", self.service.target_group("Blue")),
            ("Green", self.service.target_group("Green")),
        ];
        let dashboard = Dashboard {
            dashboard_name: Some(self.names.environment_wide().into()),
            ..Dashboard::new(Intrinsic::explain(body.text(), named))
        };
        template.add("Dashboard", dashboard);
    }
}
