//! What CodeDeploy deploys to ECS.

use serde::{Serialize, Serializer};

/// An appspec.
#[derive(Debug, Serialize)]
pub(crate) struct AppSpec {
    version: f64,
    #[serde(rename = "Resources")]
    resources: [Resources; 1],
    #[serde(rename = "Hooks", skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<Hook>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resources {
    target_service: TargetService,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TargetService {
    r#type: &'static str,
    properties: Properties,
}

/// What a new version of the service is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Properties {
    /// ARN or placeholder of the task definition.
    pub(crate) task_definition: &'static str,
    /// Where its traffic goes.
    pub(crate) load_balancer_info: LoadBalancerInfo,
    /// What it runs on, if not what the launch type says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) capacity_provider_strategy: Vec<CapacityProvider>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LoadBalancerInfo {
    pub(crate) container_name: &'static str,
    pub(crate) container_port: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CapacityProvider {
    pub(crate) capacity_provider: &'static str,
    pub(crate) base: u32,
    pub(crate) weight: u32,
}

/// The function that a lifecycle event calls.
#[derive(Debug)]
pub(crate) enum Hook {
    /// The new version has test traffic and no customer yet.
    BeforeAllowTraffic(String),
    /// The new version has all traffic, the old one is still warm.
    AfterAllowTraffic(String),
}

/// A map of one entry; YAML's own form of an enumeration would be a tag.
impl Serialize for Hook {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([match self {
            Hook::BeforeAllowTraffic(function) => ("BeforeAllowTraffic", function),
            Hook::AfterAllowTraffic(function) => ("AfterAllowTraffic", function),
        }])
    }
}

impl AppSpec {
    /// An appspec of the service.
    pub(crate) fn new(properties: Properties, hooks: Vec<Hook>) -> Self {
        let target_service = TargetService { r#type: "AWS::ECS::Service", properties };
        AppSpec { version: 0.0, resources: [Resources { target_service }], hooks }
    }
}
