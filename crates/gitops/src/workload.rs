//! What runs, how much of it, and how it is moved.

use std::collections::BTreeMap;

use environment::{Architecture, Environment, Project, Span, variables};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapEnvSource, Container, ContainerPort, EmptyDirVolumeSource, EnvFromSource, HTTPGetAction,
    Lifecycle, LifecycleHandler, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
    SeccompProfile, SecretEnvSource, SecurityContext, ServiceAccount, SleepAction, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::container;

/// Name of the container's port.
pub(crate) const PORT: &str = "http";
/// Seconds between two steps down; steps up follow at once.
const SCALE_IN_SECONDS: i32 = 300;

pub(crate) fn metadata() -> ObjectMeta {
    ObjectMeta { name: Some(Project::SERVICE.to_owned()), labels: Some(labels()), ..ObjectMeta::default() }
}

pub(crate) fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/name".to_owned(), Project::SERVICE.to_owned())])
}

pub(crate) fn selector() -> LabelSelector {
    LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() }
}

pub(crate) fn service_account() -> ServiceAccount {
    // The chatbot does not talk to Kubernetes.
    ServiceAccount { metadata: metadata(), automount_service_account_token: Some(false), ..ServiceAccount::default() }
}

/// Without a number of replicas: that is the autoscaler's, and ArgoCD must not set it back.
pub(crate) fn deployment(project: &Project, environment: &Environment, container: &container::Container) -> Deployment {
    let rolling = RollingUpdateDeployment {
        max_surge: Some(IntOrString::String("100%".to_owned())),
        max_unavailable: Some(IntOrString::Int(0)),
    };
    Deployment {
        metadata: metadata(),
        spec: Some(DeploymentSpec {
            progress_deadline_seconds: Some(seconds(environment.deployment.targets.deploy)),
            revision_history_limit: Some(10),
            selector: selector(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(rolling),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
                spec: Some(pod(project, environment, container)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(project: &Project, environment: &Environment, container: &container::Container) -> PodSpec {
    let (user, group) = container.user();
    let architecture = match environment.task.architecture {
        Architecture::X86_64 => "amd64",
        Architecture::Arm64 => "arm64",
    };
    let volume = |(name, _): (&str, &str)| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    PodSpec {
        service_account_name: Some(Project::SERVICE.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        node_selector: Some(BTreeMap::from([("kubernetes.io/arch".to_owned(), architecture.to_owned())])),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: user,
            run_as_group: group,
            fs_group: group,
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        // The drain begins when the load balancer had time to look away.
        termination_grace_period_seconds: Some(i64::from(seconds(environment.task.stop_timeout) + drain_delay())),
        topology_spread_constraints: Some(
            ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(spread).to_vec(),
        ),
        volumes: Some(container.mounts().map(volume).collect()),
        containers: vec![chatbot(project, environment, container)],
        ..PodSpec::default()
    }
}

fn spread(key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        label_selector: Some(selector()),
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }
}

fn chatbot(project: &Project, environment: &Environment, container: &container::Container) -> Container {
    let health = &environment.health_check;
    let probe = |failures: u32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(health.path.clone()),
            port: IntOrString::String(PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(seconds(health.interval)),
        timeout_seconds: Some(seconds(health.timeout)),
        failure_threshold: i32::try_from(failures).ok(),
        ..Probe::default()
    };
    // As many checks as fit into the time that a container has to come up, and a minute for the image.
    let starting = (health.start_period.as_seconds() + 60).div_ceil(health.interval.as_seconds().max(1));
    let name = Project::SERVICE.to_owned();
    let mount = |(volume, path): (&str, &str)| VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    Container {
        name: name.clone(),
        // The overlay's image, by digest, takes its place.
        image: Some(project.image_repository.clone()),
        ports: Some(vec![ContainerPort {
            name: Some(PORT.to_owned()),
            container_port: i32::from(Project::CONTAINER_PORT),
            ..ContainerPort::default()
        }]),
        env_from: Some(vec![
            EnvFromSource {
                config_map_ref: Some(ConfigMapEnvSource { name: name.clone(), optional: None }),
                ..EnvFromSource::default()
            },
            EnvFromSource {
                secret_ref: Some(SecretEnvSource { name, optional: Some(true) }),
                ..EnvFromSource::default()
            },
        ]),
        startup_probe: Some(probe(u32::try_from(starting).unwrap_or(u32::MAX))),
        readiness_probe: Some(probe(health.unhealthy_threshold)),
        // Slower than readiness: what is only busy must not be killed.
        liveness_probe: Some(probe(health.unhealthy_threshold * 3)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: i64::from(drain_delay()) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        resources: Some(resources(environment)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(container.mounts().map(mount).collect()),
        ..Container::default()
    }
}

/// CPU without a limit: throttling would slow down answers while the node idles.
fn resources(environment: &Environment) -> ResourceRequirements {
    let task = &environment.task;
    let memory = ("memory".to_owned(), Quantity(format!("{}Mi", task.memory.as_mebibytes())));
    let cpu = ("cpu".to_owned(), Quantity(format!("{}m", task.cpu * 1000 / 1024)));
    ResourceRequirements {
        limits: Some(BTreeMap::from([memory.clone()])),
        requests: Some(BTreeMap::from([cpu, memory])),
        ..ResourceRequirements::default()
    }
}

pub(crate) fn autoscaler(environment: &Environment) -> HorizontalPodAutoscaler {
    let scaling = &environment.autoscaling;
    let metric = |(name, percent): (&str, Option<u8>)| {
        Some(MetricSpec {
            type_: "Resource".to_owned(),
            resource: Some(ResourceMetricSource {
                name: name.to_owned(),
                target: MetricTarget {
                    type_: "Utilization".to_owned(),
                    average_utilization: Some(i32::from(percent?)),
                    ..MetricTarget::default()
                },
            }),
            ..MetricSpec::default()
        })
    };
    let metrics = [("cpu", scaling.targets.cpu_percent), ("memory", scaling.targets.memory_percent)];
    let metrics: Vec<_> = metrics.into_iter().filter_map(metric).collect();
    HorizontalPodAutoscaler {
        metadata: metadata(),
        spec: Some(HorizontalPodAutoscalerSpec {
            min_replicas: i32::try_from(scaling.min).ok(),
            max_replicas: i32::try_from(scaling.max).unwrap_or(i32::MAX),
            // Without any, Kubernetes keeps the CPU at 80 percent.
            metrics: (!metrics.is_empty()).then_some(metrics),
            behavior: Some(HorizontalPodAutoscalerBehavior {
                scale_down: Some(HPAScalingRules {
                    stabilization_window_seconds: Some(SCALE_IN_SECONDS),
                    ..HPAScalingRules::default()
                }),
                ..HorizontalPodAutoscalerBehavior::default()
            }),
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: Project::SERVICE.to_owned(),
            },
        }),
        ..HorizontalPodAutoscaler::default()
    }
}

pub(crate) fn disruption_budget() -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

fn drain_delay() -> i32 {
    seconds(variables::DRAIN_DELAY)
}

fn seconds(span: Span) -> i32 {
    i32::try_from(span.as_seconds()).unwrap_or(i32::MAX)
}
