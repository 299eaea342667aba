//! The time a deployment and a rollback take, computed from an environment's own settings.

use environment::{Engine, Environment, Span};

/// Fargate finds capacity, pulls the image and starts the container: 30 to 90 s in practice. The image is small.
const START: Span = Span::seconds(45);
/// The chatbot reads its knowledge and listens.
const READY: Span = Span::seconds(5);
/// The engine's own steps between the lifecycle events, together.
const STEPS: Span = Span::seconds(20);
/// Listeners take new weights.
const SHIFT: Span = Span::seconds(5);
/// A rollback is noticed, decided and begun.
const STOP: Span = Span::seconds(10);

/// What takes how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Name.
    pub name: &'static str,
    /// How long.
    pub time: Span,
    /// Whether it counts towards the target.
    pub counted: bool,
    /// Where the number comes from.
    pub because: String,
}

/// The phases of one course of events, with the time they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Name.
    pub name: &'static str,
    /// In order.
    pub phases: Vec<Phase>,
    /// What the counted phases may take together.
    pub target: Span,
}

/// The courses of events of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// A deployment, a rollback within the bake, and one after it.
    pub courses: Vec<Course>,
}

impl Course {
    /// Time of the counted phases.
    pub fn counted(&self) -> Span {
        Span::seconds(self.phases.iter().filter(|phase| phase.counted).map(|phase| phase.time.as_seconds()).sum())
    }

    /// Whether the target is kept.
    pub fn keeps_target(&self) -> bool {
        self.counted() <= self.target
    }
}

impl Budget {
    /// The budget of an environment.
    pub fn of(environment: &Environment) -> Self {
        let deployment = &environment.deployment;
        let targets = &deployment.targets;
        let steps = deployment.strategy.duration();
        let uncounted = |name, time, because: &str| Phase { name, time, counted: false, because: because.to_owned() };

        let mut deploy = replacement(environment);
        if let Some(hooks) = &deployment.hooks {
            deploy.push(phase("ValidateCanary", hooks.timeout, "at most deployment.hooks.timeout"));
        }
        deploy.push(phase("first production traffic", SHIFT, "listener weights"));
        deploy.push(uncounted("steps to all traffic", steps, "deployment.strategy"));
        if let Some(hooks) = &deployment.hooks {
            deploy.push(uncounted("MonitorCanary", hooks.watch, "at most deployment.hooks.watch"));
        }
        deploy.push(uncounted("old version kept warm", deployment.bake, "deployment.bake"));
        let leave = Span::seconds(
            environment.health_check.deregistration_delay.as_seconds().max(environment.task.drain.as_seconds()),
        );
        deploy.push(uncounted("old version leaves", leave, "health_check.deregistration_delay"));

        let mut after = vec![phase("decision", STOP, "new deployment of the last good revision, all at once")];
        after.extend(replacement(environment));
        after.push(phase("all traffic back", SHIFT, "listener weights"));

        let mut courses = vec![
            Course { name: "deploy", phases: deploy, target: targets.deploy },
            Course { name: "rollback after the bake", phases: after, target: targets.rollback },
        ];
        let window = Span::seconds(steps.as_seconds() + deployment.bake.as_seconds());
        if window > Span::seconds(0) {
            let within = vec![
                phase("decision", STOP, "the deployment is stopped; the old version still runs"),
                phase("all traffic back", SHIFT, "listener weights"),
            ];
            courses.insert(1, Course { name: "rollback within the bake", phases: within, target: targets.rollback });
        }
        Budget { courses }
    }

    /// The courses that take longer than they may.
    pub fn broken(&self) -> impl Iterator<Item = &Course> {
        self.courses.iter().filter(|course| !course.keeps_target())
    }
}

/// Replacement tasks come up and turn healthy.
fn replacement(environment: &Environment) -> Vec<Phase> {
    let health = &environment.health_check;
    let healthy = Span::seconds(health.interval.as_seconds() * u64::from(health.healthy_threshold));
    let engine = match environment.deployment.engine {
        Engine::Codedeploy => "CodeDeploy's own steps",
        Engine::Ecs => "ECS's own steps",
    };
    let because = format!("health_check.interval {} x healthy_threshold {}", health.interval, health.healthy_threshold);
    vec![
        phase("tasks start", START, "Fargate start and pull of a small image"),
        phase("service listens", READY, "knowledge is read"),
        phase("targets healthy", healthy, &because),
        phase("lifecycle events", STEPS, engine),
    ]
}

fn phase(name: &'static str, time: Span, because: &str) -> Phase {
    Phase { name, time, counted: true, because: because.to_owned() }
}
