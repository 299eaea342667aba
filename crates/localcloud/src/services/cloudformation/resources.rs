//! The resource types: which service owns each, and what a template's properties become there.

mod inert;
mod kinds;
mod update;

use serde_json::{Value, json};

use super::intrinsics::Attributes;
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::Service;
use crate::wire::operation_input;

pub(super) use kinds::{Kind, kind};
pub(super) use update::{Effect, changed, effect, update};

/// What the events say of a resource that is recorded only.
pub(super) fn note(kind_name: &str) -> Option<&'static str> {
    match kind(kind_name) {
        Some(Kind::Inert) => Some("recorded; inert in the embedded endpoint"),
        Some(Kind::Owned(_)) if kind_name.starts_with("AWS::ApplicationAutoScaling::") => {
            Some("recorded; the embedded endpoint does not scale on it")
        }
        _ => None,
    }
}

/// A resource to create.
pub(super) struct Creation<'a> {
    pub(super) kind: &'a str,
    pub(super) properties: &'a Value,
    /// The name for a resource that has none of its own.
    pub(super) generated_name: &'a str,
    /// True when an earlier attempt may have got through before the endpoint was killed.
    pub(super) resumed: bool,
}

/// How far a resource is that was created, updated or deleted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Settled,
    Waiting,
    Failed(String),
}

/// The answer to a type that the endpoint does not know.
pub(super) fn unknown_type(kind: &str, logical_id: &str) -> String {
    format!("the resource type {kind} of {logical_id} is not supported by the embedded endpoint (localcloud)")
}

/// Creates a resource; gives its physical id, which is also what `Ref` gives.
pub(super) async fn create(cloud: &Cloud, creation: &Creation<'_>) -> Result<String, String> {
    let kind = kind(creation.kind).ok_or_else(|| unknown_type(creation.kind, "a resource"))?;
    let Kind::Owned(spec) = kind else {
        return Ok(inert::physical_id(creation.kind, creation.properties, creation.generated_name));
    };
    let mut properties = creation.properties.clone();
    if let (Some(name), Some(members)) = (spec.name, properties.as_object_mut()) {
        let generated = spec.shorten(creation.generated_name);
        members.entry(name).or_insert_with(|| Value::String(generated));
    }
    let input = spec.create_input(&properties)?;
    let physical = match cloud.call(spec.service, spec.create, input).await {
        Ok(output) => spec.physical_id(&properties, &output)?,
        Err(error) if creation.resumed && already_exists(&error) => {
            spec.locate(cloud, &properties).await.ok_or_else(|| error.to_string())?
        }
        Err(error) => return Err(describe(spec.service, &error)),
    };
    apply_extras(cloud, creation.kind, &physical, &properties, |_| true).await?;
    Ok(physical)
}

/// Reads what `Fn::GetAtt` gives of a resource.
pub(super) async fn attributes(
    cloud: &Cloud,
    kind_name: &str,
    physical: &str,
    properties: &Value,
) -> Result<Attributes, String> {
    let attributes = match kind(kind_name) {
        Some(Kind::Owned(_)) => owned_attributes(cloud, kind_name, physical, properties).await?,
        _ => inert::attributes(cloud, kind_name, physical, properties),
    };
    let attributes = attributes.as_object().map(|map| map.clone().into_iter().filter(|(_, v)| !v.is_null()).collect());
    Ok(Attributes { reference: physical.to_owned(), attributes: attributes.unwrap_or_default() })
}

async fn owned_attributes(cloud: &Cloud, kind: &str, physical: &str, properties: &Value) -> Result<Value, String> {
    let read = |service, operation, input| async move {
        cloud.call(service, operation, input).await.map_err(|error| describe(service, &error))
    };
    Ok(match kind {
        "AWS::ECR::Repository" => {
            let output = read(Service::Ecr, "DescribeRepositories", json!({"repositoryNames": [physical]})).await?;
            let repository = &output["repositories"][0];
            json!({"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]})
        }
        "AWS::Logs::LogGroup" => json!({"Arn": cloud.arn("logs", format_args!("log-group:{physical}:*"))}),
        "AWS::ECS::Cluster" => json!({"Arn": cloud.arn("ecs", format_args!("cluster/{physical}"))}),
        "AWS::ECS::TaskDefinition" => json!({"TaskDefinitionArn": physical}),
        "AWS::ECS::Service" => json!({"ServiceArn": physical, "Name": physical.rsplit('/').next()}),
        "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
            let input = json!({"LoadBalancerArns": [physical]});
            let output = read(Service::Elbv2, "DescribeLoadBalancers", input).await?;
            let found = &output["LoadBalancers"][0];
            json!({
                "LoadBalancerArn": physical, "DNSName": found["DNSName"], "LoadBalancerName": found["LoadBalancerName"],
                "CanonicalHostedZoneID": found["CanonicalHostedZoneId"], "SecurityGroups": found["SecurityGroups"],
                "LoadBalancerFullName": physical.split_once(":loadbalancer/").map(|(_, name)| name),
            })
        }
        "AWS::ElasticLoadBalancingV2::TargetGroup" => {
            let full = physical.rsplit(':').next().unwrap_or(physical);
            json!({
                "TargetGroupArn": physical, "TargetGroupFullName": full,
                "TargetGroupName": full.split('/').nth(1),
            })
        }
        "AWS::ElasticLoadBalancingV2::Listener" => json!({"ListenerArn": physical}),
        "AWS::ElasticLoadBalancingV2::ListenerRule" => json!({"RuleArn": physical}),
        "AWS::CodeBuild::Project" => json!({"Arn": cloud.arn("codebuild", format_args!("project/{physical}"))}),
        "AWS::SNS::Topic" => json!({"TopicArn": physical, "TopicName": physical.rsplit(':').next()}),
        "AWS::SSM::Parameter" => json!({"Type": properties["Type"], "Value": properties["Value"]}),
        "AWS::SecretsManager::Secret" => json!({"Id": physical}),
        "AWS::CloudWatch::Alarm" => json!({"Arn": cloud.arn("cloudwatch", format_args!("alarm:{physical}"))}),
        "AWS::ApplicationAutoScaling::ScalableTarget" => json!({"Id": physical}),
        "AWS::ApplicationAutoScaling::ScalingPolicy" => json!({"Arn": physical}),
        "AWS::CodeConnections::Connection" | "AWS::CodeStarConnections::Connection" => {
            json!({"ConnectionArn": physical, "ConnectionStatus": "AVAILABLE"})
        }
        _ => json!({}),
    })
}

/// Whether a resource that was created or updated at `since` has become what was asked.
pub(super) async fn progress(cloud: &Cloud, kind: &str, physical: &str, since: Timestamp) -> Progress {
    match kind {
        "AWS::ECS::Service" => service_progress(cloud, physical, since).await,
        "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
            let input = json!({"LoadBalancerArns": [physical]});
            match cloud.call(Service::Elbv2, "DescribeLoadBalancers", input).await {
                Ok(output) => match output["LoadBalancers"][0]["State"]["Code"].as_str() {
                    Some("provisioning") => Progress::Waiting,
                    Some("failed") => Progress::Failed(format!("the load balancer {physical} failed")),
                    _ => Progress::Settled,
                },
                Err(error) => Progress::Failed(describe(Service::Elbv2, &error)),
            }
        }
        _ => Progress::Settled,
    }
}

/// Failed tasks after which a new service is given up. AWS itself would retry for three hours.
const FAILED_TASKS: usize = 3;

async fn service_progress(cloud: &Cloud, arn: &str, since: Timestamp) -> Progress {
    let cluster = arn.rsplit('/').nth(1).unwrap_or("default");
    let input = json!({"cluster": cluster, "services": [arn]});
    let output = match cloud.call(Service::Ecs, "DescribeServices", input).await {
        Ok(output) => output,
        Err(error) => return Progress::Failed(describe(Service::Ecs, &error)),
    };
    let service = &output["services"][0];
    let task_sets = service["taskSets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let steady = task_sets.iter().all(|set| set["stabilityStatus"] == "STEADY_STATE");
    if service["runningCount"].as_u64() >= service["desiredCount"].as_u64() && steady {
        return Progress::Settled;
    }
    let input = json!({"cluster": cluster, "serviceName": arn, "desiredStatus": "STOPPED"});
    let stopped = cloud.call(Service::Ecs, "ListTasks", input).await.unwrap_or_default();
    let stopped = stopped["taskArns"].as_array().cloned().unwrap_or_default();
    if stopped.len() < FAILED_TASKS {
        return Progress::Waiting;
    }
    let input = json!({"cluster": cluster, "tasks": stopped});
    let tasks = cloud.call(Service::Ecs, "DescribeTasks", input).await.unwrap_or_default();
    // Tasks of earlier deployments tell nothing, nor do those that were stopped because they were no longer needed.
    let failed = |task: &&Value| {
        let unneeded = task["stopCode"] == "ServiceSchedulerInitiated" || task["stopCode"] == "UserInitiated";
        let unhealthy = task["stoppedReason"].as_str().is_some_and(|reason| reason.contains("health checks"));
        task["createdAt"].as_f64().is_some_and(|created| created >= since.seconds()) && (unhealthy || !unneeded)
    };
    let reasons = tasks["tasks"].as_array().into_iter().flatten().filter(failed);
    let reasons: Vec<&str> = reasons.filter_map(|task| task["stoppedReason"].as_str()).collect();
    if reasons.len() < FAILED_TASKS {
        return Progress::Waiting;
    }
    Progress::Failed(format!(
        "the service did not stabilize: {} tasks stopped, the last with: {} (AWS retries for up to three hours; \
         the embedded endpoint gives up after {FAILED_TASKS} failed tasks)",
        reasons.len(),
        reasons.last().unwrap_or(&"no reason")
    ))
}

/// Deletes a resource. One that is already gone is deleted.
pub(super) async fn delete(cloud: &Cloud, kind_name: &str, physical: &str, properties: &Value) -> Result<(), String> {
    let Some(Kind::Owned(spec)) = kind(kind_name) else { return Ok(()) };
    let input = spec.delete_input(kind_name, physical, properties);
    match cloud.call(spec.service, spec.delete, input).await {
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(describe(spec.service, &error)),
    }
}

/// Whether a deleted resource is gone.
pub(super) async fn deletion_progress(cloud: &Cloud, kind: &str, physical: &str) -> Progress {
    if kind != "AWS::ECS::Service" {
        return Progress::Settled;
    }
    let cluster = physical.rsplit('/').nth(1).unwrap_or("default");
    let input = json!({"cluster": cluster, "services": [physical]});
    match cloud.call(Service::Ecs, "DescribeServices", input).await {
        Ok(output) => match output["services"][0]["status"].as_str() {
            Some("ACTIVE" | "DRAINING") => Progress::Waiting,
            _ => Progress::Settled,
        },
        Err(_) => Progress::Settled,
    }
}

/// Applies the properties that belong to other operations than the one that creates the resource.
async fn apply_extras(
    cloud: &Cloud,
    kind: &str,
    physical: &str,
    properties: &Value,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let calls: Vec<(&str, Service, &str, Value)> = match kind {
        "AWS::ECR::Repository" => {
            let text = &properties["LifecyclePolicy"]["LifecyclePolicyText"];
            let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
            let input = json!({"repositoryName": physical, "lifecyclePolicyText": text});
            vec![("LifecyclePolicy", Service::Ecr, "PutLifecyclePolicy", input)]
        }
        "AWS::Logs::LogGroup" => {
            let input = json!({"LogGroupName": physical, "RetentionInDays": properties["RetentionInDays"]});
            vec![("RetentionInDays", Service::Logs, "PutRetentionPolicy", input)]
        }
        "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
            let input = json!({"LoadBalancerArn": physical, "Attributes": properties["LoadBalancerAttributes"]});
            vec![("LoadBalancerAttributes", Service::Elbv2, "ModifyLoadBalancerAttributes", input)]
        }
        "AWS::ElasticLoadBalancingV2::TargetGroup" => {
            let attributes = json!({"TargetGroupArn": physical, "Attributes": properties["TargetGroupAttributes"]});
            let targets = json!({"TargetGroupArn": physical, "Targets": properties["Targets"]});
            vec![
                ("TargetGroupAttributes", Service::Elbv2, "ModifyTargetGroupAttributes", attributes),
                ("Targets", Service::Elbv2, "RegisterTargets", targets),
            ]
        }
        "AWS::ElasticLoadBalancingV2::Listener" => {
            let input = json!({"ListenerArn": physical, "Attributes": properties["ListenerAttributes"]});
            vec![("ListenerAttributes", Service::Elbv2, "ModifyListenerAttributes", input)]
        }
        "AWS::SNS::Topic" => {
            let subscriptions = properties["Subscription"].as_array().cloned().unwrap_or_default();
            let subscribe = |subscription: Value| {
                let input = json!({"TopicArn": physical, "Protocol": subscription["Protocol"], "Endpoint": subscription["Endpoint"]});
                ("Subscription", Service::Sns, "Subscribe", input)
            };
            subscriptions.into_iter().map(subscribe).collect()
        }
        "AWS::ApplicationAutoScaling::ScalableTarget" => {
            let actions = properties["ScheduledActions"].as_array().cloned().unwrap_or_default();
            let put = |mut action: Value| {
                for key in ["ServiceNamespace", "ResourceId", "ScalableDimension"] {
                    action[key] = properties[key].clone();
                }
                ("ScheduledActions", Service::ApplicationAutoscaling, "PutScheduledAction", action)
            };
            actions.into_iter().map(put).collect()
        }
        _ => vec![],
    };
    for (property, service, operation, input) in calls {
        if properties.get(property).is_some() && wanted(property) {
            let input = operation_input(service, operation, &input)?;
            cloud.call(service, operation, input).await.map_err(|error| describe(service, &error))?;
        }
    }
    Ok(())
}

/// An error as the reason of a resource's failure, in CloudFormation's own form.
fn describe(service: Service, error: &ApiError) -> String {
    format!("{} (Service: {service}, Status Code: {}, Error Code: {})", error.message, error.status, error.code)
}

fn already_exists(error: &ApiError) -> bool {
    ["AlreadyExists", "Duplicate", "NameInUse", "NotUnique"].iter().any(|part| error.code.contains(part))
        || error.message.contains("not idempotent")
        || error.message.to_lowercase().contains("already exists")
}

fn is_gone(error: &ApiError) -> bool {
    ["NotFound", "DoesNotExist", "NotActive"].iter().any(|part| error.code.contains(part))
}
