//! Changing a resource in place: which changes need a new resource, and what the others call.
//!
//! No update moves an application's version or its traffic: a service's task definition goes through UpdateService,
//! which refuses it under CodeDeploy as on AWS, and a listener keeps its live weights.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Kind, apply_extras, describe, kind};
use crate::cloud::Cloud;
use crate::services::Service;
use crate::wire::operation_input;

/// What a change of properties does to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(in super::super) enum Effect {
    Modify,
    Replace,
}

/// The properties that differ.
pub(in super::super) fn changed(old: &Value, new: &Value) -> BTreeSet<String> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

/// What changing one property does.
pub(in super::super) fn effect(kind_name: &str, property: &str) -> Effect {
    let fixed: &[&str] = match kind(kind_name) {
        Some(Kind::Owned(spec)) => spec.fixed,
        _ => match kind_name {
            "AWS::EC2::VPC" => &["CidrBlock"],
            "AWS::EC2::Subnet" => &["AvailabilityZone", "CidrBlock", "VpcId"],
            "AWS::EC2::SecurityGroup" => &["GroupName", "GroupDescription", "VpcId"],
            "AWS::EC2::NatGateway" => &["SubnetId", "AllocationId"],
            "AWS::EC2::RouteTable" => &["VpcId"],
            "AWS::EC2::Route" => &["RouteTableId", "DestinationCidrBlock"],
            "AWS::EC2::VPCEndpoint" => &["ServiceName", "VpcId", "VpcEndpointType"],
            "AWS::EC2::SubnetRouteTableAssociation" => &["*"],
            "AWS::IAM::Role" => &["RoleName", "Path"],
            "AWS::IAM::ManagedPolicy" => &["ManagedPolicyName", "Path"],
            "AWS::S3::Bucket" => &["BucketName"],
            _ => &[],
        },
    };
    let replaces = fixed.contains(&property) || (fixed.contains(&"*") && property != "Tags");
    if replaces { Effect::Replace } else { Effect::Modify }
}

/// Changes a resource in place from `old` to `new` properties.
pub(in super::super) async fn update(
    cloud: &Cloud,
    kind_name: &str,
    physical: &str,
    old: &Value,
    new: &Value,
) -> Result<(), String> {
    let Some(Kind::Owned(spec)) = kind(kind_name) else { return Ok(()) };
    let mut changed = changed(old, new);
    apply_extras(cloud, kind_name, physical, new, |property| changed.contains(property)).await?;
    let only = |names: &BTreeSet<String>| {
        let mut members = new.as_object().cloned().unwrap_or_default();
        members.retain(|name, _| names.contains(name));
        members
    };
    let call = |operation: &'static str, members: Map<String, Value>| async move {
        let input = operation_input(spec.service, operation, &Value::Object(members))?;
        cloud.call(spec.service, operation, input).await.map_err(|error| describe(spec.service, &error))
    };
    match kind_name {
        "AWS::ECR::Repository" => {
            for (operation, properties) in [
                ("PutImageTagMutability", &["ImageTagMutability", "ImageTagMutabilityExclusionFilters"][..]),
                ("PutImageScanningConfiguration", &["ImageScanningConfiguration"]),
            ] {
                if properties.iter().any(|property| changed.contains(*property)) {
                    let mut members = only(&properties.iter().map(|property| (*property).to_owned()).collect());
                    spec.rename(&mut members);
                    members.insert("RepositoryName".into(), physical.into());
                    call(operation, members).await?;
                }
            }
            if changed.contains("LifecyclePolicy") && new.get("LifecyclePolicy").is_none() {
                call("DeleteLifecyclePolicy", Map::from_iter([("RepositoryName".into(), physical.into())])).await?;
            }
        }
        "AWS::ECS::Service" => {
            changed.remove("Tags");
            if changed.contains("TaskDefinition") && is_live(cloud, physical, &new["TaskDefinition"]).await {
                changed.remove("TaskDefinition");
            }
            if !changed.is_empty() {
                let mut members = only(&changed);
                members.insert("Cluster".into(), physical.rsplit('/').nth(1).unwrap_or("default").into());
                members.insert("Service".into(), physical.into());
                call("UpdateService", members).await?;
            }
        }
        "AWS::ElasticLoadBalancingV2::TargetGroup" => {
            for other in ["TargetGroupAttributes", "Targets", "Tags"] {
                changed.remove(other);
            }
            if !changed.is_empty() {
                let mut members = only(&changed);
                members.insert("TargetGroupArn".into(), physical.into());
                call("ModifyTargetGroup", members).await?;
            }
        }
        "AWS::ElasticLoadBalancingV2::Listener" | "AWS::ElasticLoadBalancingV2::ListenerRule" => {
            changed.retain(|name| name != "Tags" && name != "ListenerAttributes");
            let (key, operation, actions) = if kind_name.ends_with("Rule") {
                ("RuleArn", "ModifyRule", "Actions")
            } else {
                ("ListenerArn", "ModifyListener", "DefaultActions")
            };
            // The weights of these groups belong to the deployments, not to the template.
            if changed.contains(actions) && same_groups(&old[actions], &new[actions]) {
                changed.remove(actions);
            }
            if !changed.is_empty() {
                let mut members = only(&changed);
                members.insert(key.into(), physical.into());
                call(operation, members).await?;
            }
        }
        "AWS::CodeDeploy::DeploymentGroup" => {
            let mut members = new.as_object().cloned().unwrap_or_default();
            members.shift_remove("DeploymentGroupName");
            members.shift_remove("Tags");
            members.insert("CurrentDeploymentGroupName".into(), physical.into());
            call("UpdateDeploymentGroup", members).await?;
        }
        "AWS::CodeBuild::Project" => {
            let mut members = new.as_object().cloned().unwrap_or_default();
            members.insert("Name".into(), physical.into());
            call("UpdateProject", members).await?;
        }
        "AWS::CodePipeline::Pipeline" => {
            let mut members = new.as_object().cloned().unwrap_or_default();
            members.shift_remove("Tags");
            members.shift_remove("RestartExecutionOnUpdate");
            members.insert("Name".into(), physical.into());
            call("UpdatePipeline", Map::from_iter([("Pipeline".into(), Value::Object(members))])).await?;
        }
        "AWS::CloudWatch::Alarm"
        | "AWS::SSM::Parameter"
        | "AWS::ApplicationAutoScaling::ScalingPolicy"
        | "AWS::ApplicationAutoScaling::ScalableTarget" => {
            let mut properties = new.clone();
            if let Some(name) = spec.name {
                properties[name] = name_of(kind_name, physical).into();
            }
            if kind_name == "AWS::SSM::Parameter" {
                properties["Overwrite"] = true.into();
            }
            let input = spec.create_input(&properties)?;
            cloud.call(spec.service, spec.create, input).await.map_err(|error| describe(spec.service, &error))?;
        }
        "AWS::Logs::LogGroup" if changed.contains("RetentionInDays") && new.get("RetentionInDays").is_none() => {
            call("DeleteRetentionPolicy", Map::from_iter([("LogGroupName".into(), physical.into())])).await?;
        }
        _ => {
            let handled = ["Tags", "RetentionInDays", "LoadBalancerAttributes", "Subscription"];
            if let Some(property) = changed.iter().find(|name| !handled.contains(&name.as_str())) {
                return Err(format!(
                    "changing the property {property} of {kind_name} is not supported by the embedded endpoint (localcloud)"
                ));
            }
        }
    }
    if old.get("Tags") != new.get("Tags") {
        tag(cloud, spec.service, physical, &new["Tags"]).await?;
    }
    Ok(())
}

/// The name inside a scaling policy's ARN; other physical ids are names.
fn name_of(kind: &str, physical: &str) -> String {
    let name = if kind.ends_with("ScalingPolicy") { physical.rsplit("policyName/").next() } else { None };
    name.unwrap_or(physical).to_owned()
}

async fn is_live(cloud: &Cloud, service: &str, task_definition: &Value) -> bool {
    let cluster = service.rsplit('/').nth(1).unwrap_or("default");
    let input = json!({"cluster": cluster, "services": [service]});
    let output = cloud.call(Service::Ecs, "DescribeServices", input).await.unwrap_or_default();
    let service = &output["services"][0];
    let primary = service["taskSets"].as_array().into_iter().flatten().find(|set| set["status"] == "PRIMARY");
    let live = primary.map_or(&service["taskDefinition"], |set| &set["taskDefinition"]);
    live == task_definition
}

/// True when both forward to the same target groups, whatever the weights.
fn same_groups(old: &Value, new: &Value) -> bool {
    let groups = |actions: &Value| -> Option<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for action in actions.as_array()? {
            let configured = action["ForwardConfig"]["TargetGroups"].as_array().cloned().unwrap_or_default();
            let arns = configured.iter().map(|group| &group["TargetGroupArn"]).chain([&action["TargetGroupArn"]]);
            found.extend(arns.filter_map(Value::as_str).map(str::to_owned));
        }
        (!found.is_empty()).then_some(found)
    };
    groups(old).is_some() && groups(old) == groups(new)
}

async fn tag(cloud: &Cloud, service: Service, physical: &str, tags: &Value) -> Result<(), String> {
    let (operation, input) = match service {
        Service::Elbv2 => ("AddTags", json!({"ResourceArns": [physical], "Tags": tags})),
        Service::Ecs if physical.starts_with("arn:") => ("TagResource", json!({"ResourceArn": physical, "Tags": tags})),
        Service::Ecs => {
            let arn = cloud.arn("ecs", format_args!("cluster/{physical}"));
            ("TagResource", json!({"ResourceArn": arn, "Tags": tags}))
        }
        Service::Ecr => {
            let arn = cloud.arn("ecr", format_args!("repository/{physical}"));
            ("TagResource", json!({"ResourceArn": arn, "Tags": tags}))
        }
        Service::Logs => {
            let arn = cloud.arn("logs", format_args!("log-group:{physical}"));
            ("TagResource", json!({"ResourceArn": arn, "Tags": tags}))
        }
        // The others take tags with their own update, or have nobody here who reads them.
        _ => return Ok(()),
    };
    if !tags.is_array() {
        return Ok(());
    }
    let input = operation_input(service, operation, &input)?;
    cloud.call(service, operation, input).await.map(drop).map_err(|error| describe(service, &error))
}
