//! The table of resource types that a service of the endpoint owns.

use serde_json::{Map, Value, json};

use super::inert;
use crate::cloud::Cloud;
use crate::ids;
use crate::services::Service;
use crate::wire::operation_input;

/// What a type is to the endpoint.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Kind {
    /// A service of the endpoint creates it.
    Owned(&'static Spec),
    /// It is recorded and does nothing.
    Inert,
}

/// How a service creates and deletes resources of a type.
#[derive(Debug)]
pub(in super::super) struct Spec {
    kind: &'static str,
    pub(super) service: Service,
    pub(super) create: &'static str,
    pub(super) delete: &'static str,
    /// The property with the resource's name, made up when the template has none.
    pub(super) name: Option<&'static str>,
    /// Where the create operation's answer has the physical id; empty when it is the name.
    physical: &'static str,
    /// Properties of other operations.
    extras: &'static [&'static str],
    /// Properties that cannot change without a new resource. `*` is all.
    pub(super) fixed: &'static [&'static str],
}

macro_rules! spec {
    ($kind:literal, $service:ident, $create:literal, $delete:literal, $name:expr, $physical:literal, $extras:expr, $fixed:expr) => {
        Spec {
            kind: $kind,
            service: Service::$service,
            create: $create,
            delete: $delete,
            name: $name,
            physical: $physical,
            extras: &$extras,
            fixed: &$fixed,
        }
    };
}

#[rustfmt::skip]
static OWNED: [Spec; 22] = [
    spec!("AWS::ECR::Repository", Ecr, "CreateRepository", "DeleteRepository", Some("RepositoryName"), "", ["LifecyclePolicy", "EmptyOnDelete"], ["RepositoryName", "EncryptionConfiguration"]),
    spec!("AWS::Logs::LogGroup", Logs, "CreateLogGroup", "DeleteLogGroup", Some("LogGroupName"), "", ["RetentionInDays"], ["LogGroupName"]),
    spec!("AWS::ECS::Cluster", Ecs, "CreateCluster", "DeleteCluster", Some("ClusterName"), "", [], ["ClusterName"]),
    spec!("AWS::ECS::TaskDefinition", Ecs, "RegisterTaskDefinition", "DeregisterTaskDefinition", Some("Family"), "/taskDefinition/taskDefinitionArn", [], ["*"]),
    spec!("AWS::ECS::Service", Ecs, "CreateService", "DeleteService", Some("ServiceName"), "/service/serviceArn", [], ["ServiceName", "Cluster", "LaunchType", "DeploymentController", "SchedulingStrategy", "Role"]),
    spec!("AWS::ElasticLoadBalancingV2::LoadBalancer", Elbv2, "CreateLoadBalancer", "DeleteLoadBalancer", Some("Name"), "/LoadBalancers/0/LoadBalancerArn", ["LoadBalancerAttributes"], ["Name", "Scheme", "Type"]),
    spec!("AWS::ElasticLoadBalancingV2::TargetGroup", Elbv2, "CreateTargetGroup", "DeleteTargetGroup", Some("Name"), "/TargetGroups/0/TargetGroupArn", ["TargetGroupAttributes", "Targets"], ["Name", "Port", "Protocol", "ProtocolVersion", "TargetType", "VpcId"]),
    spec!("AWS::ElasticLoadBalancingV2::Listener", Elbv2, "CreateListener", "DeleteListener", None, "/Listeners/0/ListenerArn", ["ListenerAttributes"], ["LoadBalancerArn"]),
    spec!("AWS::ElasticLoadBalancingV2::ListenerRule", Elbv2, "CreateRule", "DeleteRule", None, "/Rules/0/RuleArn", [], ["ListenerArn"]),
    spec!("AWS::CodeDeploy::Application", CodeDeploy, "CreateApplication", "DeleteApplication", Some("ApplicationName"), "", [], ["ApplicationName", "ComputePlatform"]),
    spec!("AWS::CodeDeploy::DeploymentConfig", CodeDeploy, "CreateDeploymentConfig", "DeleteDeploymentConfig", Some("DeploymentConfigName"), "", [], ["*"]),
    spec!("AWS::CodeDeploy::DeploymentGroup", CodeDeploy, "CreateDeploymentGroup", "DeleteDeploymentGroup", Some("DeploymentGroupName"), "", [], ["ApplicationName", "DeploymentGroupName"]),
    spec!("AWS::CodeBuild::Project", CodeBuild, "CreateProject", "DeleteProject", Some("Name"), "", [], ["Name"]),
    spec!("AWS::CodePipeline::Pipeline", CodePipeline, "CreatePipeline", "DeletePipeline", Some("Name"), "", ["RestartExecutionOnUpdate"], ["Name"]),
    spec!("AWS::SNS::Topic", Sns, "CreateTopic", "DeleteTopic", Some("TopicName"), "/TopicArn", ["Subscription"], ["TopicName", "FifoTopic"]),
    spec!("AWS::SSM::Parameter", Ssm, "PutParameter", "DeleteParameter", Some("Name"), "", [], ["Name", "DataType"]),
    spec!("AWS::SecretsManager::Secret", SecretsManager, "CreateSecret", "DeleteSecret", Some("Name"), "/ARN", [], ["Name"]),
    spec!("AWS::CloudWatch::Alarm", CloudWatch, "PutMetricAlarm", "DeleteAlarms", Some("AlarmName"), "", [], ["AlarmName"]),
    spec!("AWS::ApplicationAutoScaling::ScalableTarget", ApplicationAutoscaling, "RegisterScalableTarget", "DeregisterScalableTarget", None, "", ["ScheduledActions"], ["ResourceId", "ScalableDimension", "ServiceNamespace"]),
    spec!("AWS::ApplicationAutoScaling::ScalingPolicy", ApplicationAutoscaling, "PutScalingPolicy", "DeleteScalingPolicy", Some("PolicyName"), "/PolicyARN", ["ScalingTargetId"], ["PolicyName", "ResourceId", "ScalableDimension", "ScalingTargetId", "ServiceNamespace"]),
    spec!("AWS::CodeConnections::Connection", CodeConnections, "CreateConnection", "DeleteConnection", Some("ConnectionName"), "/ConnectionArn", [], ["ConnectionName", "ProviderType", "HostArn"]),
    spec!("AWS::CodeStarConnections::Connection", CodeConnections, "CreateConnection", "DeleteConnection", Some("ConnectionName"), "/ConnectionArn", [], ["ConnectionName", "ProviderType", "HostArn"]),
];

/// What a type is to the endpoint; `None` when it is unknown.
pub(in super::super) fn kind(name: &str) -> Option<Kind> {
    if let Some(spec) = OWNED.iter().find(|spec| spec.kind == name) {
        return Some(Kind::Owned(spec));
    }
    inert::records(name).then_some(Kind::Inert)
}

impl Spec {
    /// A generated name within the service's own limits.
    pub(super) fn shorten(&self, generated: &str) -> String {
        match self.service {
            Service::Elbv2 | Service::CodeConnections if generated.len() > 32 => {
                format!("{}-{}", generated[..19].trim_end_matches('-'), ids::alphanumeric(12))
            }
            Service::Ecr => generated.to_lowercase(),
            _ => generated.to_owned(),
        }
    }

    /// The create operation's input.
    pub(super) fn create_input(&self, properties: &Value) -> Result<Value, String> {
        let mut members = properties.as_object().cloned().unwrap_or_default();
        members.retain(|name, _| !self.extras.contains(&name.as_str()));
        self.rename(&mut members);
        if self.service == Service::ApplicationAutoscaling
            && let Some(target) = properties.get("ScalingTargetId").and_then(Value::as_str)
        {
            for (name, part) in ["ResourceId", "ScalableDimension", "ServiceNamespace"].iter().zip(target.split('|')) {
                members.insert((*name).to_owned(), part.into());
            }
        }
        if self.service == Service::CodePipeline {
            let tags = members.shift_remove("Tags").unwrap_or_else(|| json!([]));
            members = Map::from_iter([("Pipeline".to_owned(), Value::Object(members)), ("Tags".to_owned(), tags)]);
        }
        operation_input(self.service, self.create, &Value::Object(members))
    }

    /// Where a template's name for a property is not the API's.
    pub(super) fn rename(&self, members: &mut Map<String, Value>) {
        let renamed: &[(&str, &str)] = match self.kind {
            "AWS::ECS::Cluster" => &[("ClusterSettings", "Settings")],
            "AWS::SNS::Topic" => &[("TopicName", "Name")],
            _ => &[],
        };
        for (from, to) in renamed {
            if let Some(value) = members.shift_remove(*from) {
                members.insert((*to).to_owned(), value);
            }
        }
        if self.kind == "AWS::ECR::Repository"
            && let Some(filters) = members.get_mut("ImageTagMutabilityExclusionFilters").and_then(Value::as_array_mut)
        {
            for filter in filters {
                let part = |name: &str| filter[format!("ImageTagMutabilityExclusionFilter{name}")].clone();
                *filter = json!({"FilterType": part("Type"), "Filter": part("Value")});
            }
        }
        if self.kind == "AWS::SSM::Parameter"
            && let Some(tags) = members.get_mut("Tags")
            && let Some(map) = tags.as_object()
        {
            *tags = map.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        }
    }

    /// The physical id of a created resource.
    pub(super) fn physical_id(&self, properties: &Value, output: &Value) -> Result<String, String> {
        if self.kind == "AWS::ApplicationAutoScaling::ScalableTarget" {
            let part = |name: &str| properties[name].as_str().unwrap_or_default().to_owned();
            return Ok([part("ResourceId"), part("ScalableDimension"), part("ServiceNamespace")].join("|"));
        }
        let found = if self.physical.is_empty() {
            self.name.and_then(|name| properties[name].as_str())
        } else {
            output.pointer(self.physical).and_then(Value::as_str)
        };
        found.map(str::to_owned).ok_or_else(|| format!("{} {} answered without an id", self.service, self.create))
    }

    /// Finds a resource that an earlier, interrupted attempt created.
    pub(super) async fn locate(&self, cloud: &Cloud, properties: &Value) -> Option<String> {
        let name = self.name.and_then(|name| properties[name].as_str());
        let (operation, input, pointer) = match self.kind {
            "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
                ("DescribeLoadBalancers", json!({"Names": [name?]}), "/LoadBalancers/0/LoadBalancerArn")
            }
            "AWS::ElasticLoadBalancingV2::TargetGroup" => {
                ("DescribeTargetGroups", json!({"Names": [name?]}), "/TargetGroups/0/TargetGroupArn")
            }
            "AWS::ElasticLoadBalancingV2::Listener" => {
                let input = json!({"LoadBalancerArn": properties["LoadBalancerArn"]});
                let listeners = cloud.call(self.service, "DescribeListeners", input).await.ok()?;
                let port = properties["Port"].as_u64().or_else(|| properties["Port"].as_str()?.parse().ok());
                let mut listeners = listeners["Listeners"].as_array()?.iter();
                let found = listeners.find(|listener| listener["Port"].as_u64() == port)?;
                return found["ListenerArn"].as_str().map(str::to_owned);
            }
            "AWS::ECS::Service" => {
                let cluster = properties["Cluster"].as_str().unwrap_or("default").rsplit('/').next()?.to_owned();
                return Some(cloud.arn("ecs", format_args!("service/{cluster}/{}", name?)));
            }
            "AWS::SecretsManager::Secret" => ("DescribeSecret", json!({"SecretId": name?}), "/ARN"),
            _ if self.physical.is_empty() => return self.physical_id(properties, &Value::Null).ok(),
            _ => return None,
        };
        let output = cloud.call(self.service, operation, input).await.ok()?;
        output.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    }

    /// The delete operation's input.
    pub(super) fn delete_input(&self, kind: &str, physical: &str, properties: &Value) -> Value {
        match kind {
            "AWS::ECR::Repository" => {
                json!({"repositoryName": physical, "force": properties["EmptyOnDelete"] == true})
            }
            "AWS::Logs::LogGroup" => json!({"logGroupName": physical}),
            "AWS::ECS::Cluster" => json!({"cluster": physical}),
            "AWS::ECS::TaskDefinition" => json!({"taskDefinition": physical}),
            "AWS::ECS::Service" => {
                json!({"cluster": properties["Cluster"], "service": physical, "force": true})
            }
            "AWS::ElasticLoadBalancingV2::LoadBalancer" => json!({"LoadBalancerArn": physical}),
            "AWS::ElasticLoadBalancingV2::TargetGroup" => json!({"TargetGroupArn": physical}),
            "AWS::ElasticLoadBalancingV2::Listener" => json!({"ListenerArn": physical}),
            "AWS::ElasticLoadBalancingV2::ListenerRule" => json!({"RuleArn": physical}),
            "AWS::CodeDeploy::Application" => json!({"applicationName": physical}),
            "AWS::CodeDeploy::DeploymentConfig" => json!({"deploymentConfigName": physical}),
            "AWS::CodeDeploy::DeploymentGroup" => {
                json!({"applicationName": properties["ApplicationName"], "deploymentGroupName": physical})
            }
            "AWS::CodeBuild::Project" | "AWS::CodePipeline::Pipeline" => json!({"name": physical}),
            "AWS::SNS::Topic" => json!({"TopicArn": physical}),
            "AWS::SSM::Parameter" => json!({"Name": physical}),
            "AWS::SecretsManager::Secret" => json!({"SecretId": physical, "ForceDeleteWithoutRecovery": true}),
            "AWS::CloudWatch::Alarm" => json!({"AlarmNames": [physical]}),
            "AWS::ApplicationAutoScaling::ScalableTarget" => {
                json!({
                    "ResourceId": properties["ResourceId"], "ScalableDimension": properties["ScalableDimension"],
                    "ServiceNamespace": properties["ServiceNamespace"],
                })
            }
            "AWS::ApplicationAutoScaling::ScalingPolicy" => {
                let target = properties["ScalingTargetId"].as_str().unwrap_or_default();
                let mut parts = target.split('|').map(Value::from);
                let mut part = |name: &str| {
                    let from_target = parts.next().filter(|part| part != "");
                    from_target.unwrap_or_else(|| properties[name].clone())
                };
                json!({
                    "PolicyName": properties["PolicyName"], "ResourceId": part("ResourceId"),
                    "ScalableDimension": part("ScalableDimension"), "ServiceNamespace": part("ServiceNamespace"),
                })
            }
            _ => json!({"ConnectionArn": physical}),
        }
    }
}
