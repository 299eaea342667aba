//! The AppSpec of an ECS deployment, YAML or JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::ApiError;

/// What a revision asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AppSpec {
    pub(super) task_definition: String,
    pub(super) container_name: String,
    pub(super) container_port: u16,
    /// Members for CreateTaskSet that replace those of the running task set.
    pub(super) overrides: Value,
}

#[derive(Deserialize)]
struct Document {
    #[serde(alias = "resources", rename = "Resources")]
    resources: Vec<Resource>,
    #[serde(alias = "hooks", rename = "Hooks", default)]
    hooks: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "TargetService")]
    target_service: TargetService,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TargetService {
    r#type: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    task_definition: String,
    load_balancer_info: LoadBalancerInfo,
    platform_version: Option<String>,
    network_configuration: Option<Value>,
    capacity_provider_strategy: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LoadBalancerInfo {
    container_name: String,
    container_port: u16,
}

/// Reads a revision as CreateDeployment gets it.
pub(super) fn read(revision: &Value) -> Result<AppSpec, ApiError> {
    match revision["revisionType"].as_str() {
        Some("AppSpecContent") => {}
        Some(other) => return Err(ApiError::unsupported(format_args!("a revision of type {other}"))),
        None => return Err(invalid("The revision has no revisionType")),
    }
    let content = revision["appSpecContent"]["content"]
        .as_str()
        .ok_or_else(|| invalid("The revision has no appSpecContent.content"))?;
    if let Some(expected) = revision["appSpecContent"]["sha256"].as_str() {
        let digest: String = Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        if !expected.eq_ignore_ascii_case(&digest) {
            return Err(invalid(&format!("The sha256 of the AppSpec content is {digest}, not {expected}")));
        }
    }
    let document: Document =
        serde_yaml::from_str(content).map_err(|error| invalid(&format!("The AppSpec cannot be read: {error}")))?;
    if document.hooks.is_some_and(|hooks| !hooks.is_empty()) {
        return Err(ApiError::unsupported("an AppSpec with Hooks (Lambda functions)"));
    }
    let [Resource { target_service }] = <[Resource; 1]>::try_from(document.resources)
        .map_err(|_| invalid("The AppSpec must have exactly one resource, TargetService"))?;
    if target_service.r#type != "AWS::ECS::Service" {
        return Err(invalid(&format!(
            "The AppSpec's resource has the type {}, not AWS::ECS::Service",
            target_service.r#type
        )));
    }
    let properties = target_service.properties;
    let mut overrides = json!({});
    if let Some(version) = properties.platform_version {
        overrides["platformVersion"] = json!(version);
    }
    if let Some(network) = properties.network_configuration {
        overrides["networkConfiguration"] = lower_camel(network);
    }
    if let Some(strategy) = properties.capacity_provider_strategy {
        overrides["capacityProviderStrategy"] = lower_camel(strategy);
    }
    Ok(AppSpec {
        task_definition: properties.task_definition,
        container_name: properties.load_balancer_info.container_name,
        container_port: properties.load_balancer_info.container_port,
        overrides,
    })
}

/// The revision that asks for a task definition, in the form that [`read`] reads.
pub(super) fn revision_of(task_definition: &str, container: &str, port: u16) -> Value {
    let content = json!({
        "version": 0.0,
        "Resources": [{"TargetService": {"Type": "AWS::ECS::Service", "Properties": {
            "TaskDefinition": task_definition,
            "LoadBalancerInfo": {"ContainerName": container, "ContainerPort": port},
        }}}],
    })
    .to_string();
    let digest: String = Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"revisionType": "AppSpecContent", "appSpecContent": {"content": content, "sha256": digest}})
}

fn invalid(message: &str) -> ApiError {
    ApiError::new("InvalidRevisionException", message)
}

/// The AppSpec writes ECS's members with a capital, ECS's API without.
fn lower_camel(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let lower = |key: String| {
                let mut letters = key.chars();
                letters
                    .next()
                    .map(|first| first.to_ascii_lowercase().to_string() + letters.as_str())
                    .unwrap_or_default()
            };
            Value::Object(
                members.into_iter().map(|(key, value)| (lower(key), lower_camel(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.into_iter().map(lower_camel).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(content: &str) -> Value {
        json!({"revisionType": "AppSpecContent", "appSpecContent": {"content": content}})
    }

    #[test]
    fn yaml_and_json_are_read_alike() {
        let yaml = "version: 0.0\nResources:\n- TargetService:\n    Type: AWS::ECS::Service\n    Properties:\n      TaskDefinition: arn:td:1\n      LoadBalancerInfo:\n        ContainerName: chatbot\n        ContainerPort: 8080\n";
        let from_yaml = read(&revision(yaml)).unwrap();
        assert_eq!(from_yaml, read(&revision_of("arn:td:1", "chatbot", 8080)).unwrap());
        assert_eq!(from_yaml.container_port, 8080);
        let network = yaml.to_owned()
            + "      NetworkConfiguration:\n        AwsvpcConfiguration:\n          Subnets: [a]\n          AssignPublicIp: DISABLED\n";
        assert_eq!(
            read(&revision(&network)).unwrap().overrides,
            json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a"], "assignPublicIp": "DISABLED"}}})
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let good = revision_of("arn:td:1", "chatbot", 8080);
        let mut wrong_digest = good.clone();
        wrong_digest["appSpecContent"]["sha256"] = json!("00");
        assert_eq!(read(&wrong_digest).unwrap_err().code, "InvalidRevisionException");
        assert_eq!(read(&revision("version: 0.0")).unwrap_err().code, "InvalidRevisionException");
        let content = good["appSpecContent"]["content"].as_str().unwrap();
        let hooked = content.replacen('{', r#"{"Hooks": [{"BeforeInstall": "check"}], "#, 1);
        assert_eq!(read(&revision(&hooked)).unwrap_err().code, "UnsupportedByLocalEndpoint");
    }
}
