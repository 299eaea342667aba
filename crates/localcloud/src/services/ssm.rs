//! SSM Parameter Store. A SecureString is kept as it is: there is no key service here, and its value is shown
//! only to those who ask for decryption.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::paging::page;
use crate::services::{Service, parse, unsupported_operation};
use crate::store::Record;

/// As many versions of a parameter as AWS keeps.
const MAX_VERSIONS: usize = 100;

/// A parameter; its key is its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parameter {
    name: String,
    kind: Kind,
    description: Option<String>,
    key_id: Option<String>,
    data_type: String,
    tier: String,
    versions: Vec<Version>,
    tags: BTreeMap<String, String>,
}

impl Record for Parameter {
    const TABLE: &'static str = "ssm/parameter";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Version {
    number: u64,
    value: String,
    modified_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    String,
    StringList,
    SecureString,
}

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "PutParameter" => put_parameter(cloud, parse(input)?),
        "GetParameter" => get_parameter(cloud, parse(input)?),
        "GetParameters" => get_parameters(cloud, parse(input)?),
        "GetParametersByPath" => get_parameters_by_path(cloud, parse(input)?),
        "DescribeParameters" => describe_parameters(cloud, parse(input)?),
        "DeleteParameter" => delete_parameter(cloud, parse(input)?),
        "DeleteParameters" => delete_parameters(cloud, parse(input)?),
        "AddTagsToResource" => add_tags(cloud, parse(input)?),
        "ListTagsForResource" => list_tags(cloud, parse(input)?),
        _ => Err(unsupported_operation(Service::Ssm, operation)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    name: String,
    value: String,
    #[serde(rename = "Type")]
    kind: Option<Kind>,
    description: Option<String>,
    key_id: Option<String>,
    data_type: Option<String>,
    tier: Option<String>,
    #[serde(default)]
    overwrite: bool,
    #[serde(default)]
    tags: Vec<Tag>,
    allowed_pattern: Option<String>,
    policies: Option<String>,
}

fn put_parameter(cloud: &Cloud, input: Put) -> Result<Value, ApiError> {
    if input.allowed_pattern.is_some() || input.policies.is_some() {
        return Err(ApiError::unsupported("a parameter with an AllowedPattern or Policies"));
    }
    let at = cloud.clock().now();
    cloud.store().write(|tx| {
        let mut parameter = match tx.get::<Parameter>(&input.name) {
            Some(_) if !input.overwrite => {
                return Err(ApiError::new(
                    "ParameterAlreadyExists",
                    "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
                ));
            }
            Some(existing) => existing,
            None => Parameter {
                name: input.name.clone(),
                kind: input.kind.ok_or_else(|| {
                    ApiError::new("ValidationException", "A parameter type is required when you create a parameter.")
                })?,
                description: None,
                key_id: None,
                data_type: "text".to_owned(),
                tier: "Standard".to_owned(),
                versions: vec![],
                tags: input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            },
        };
        parameter.kind = input.kind.unwrap_or(parameter.kind);
        parameter.description = input.description.or(parameter.description);
        parameter.key_id = input.key_id.or(parameter.key_id);
        parameter.data_type = input.data_type.unwrap_or(parameter.data_type);
        parameter.tier = input.tier.unwrap_or(parameter.tier);
        let number = parameter.versions.last().map_or(1, |version| version.number + 1);
        parameter.versions.push(Version { number, value: input.value, modified_at: at });
        let excess = parameter.versions.len().saturating_sub(MAX_VERSIONS);
        parameter.versions.drain(..excess);
        tx.put(&input.name, &parameter);
        Ok(json!({"Version": number, "Tier": parameter.tier}))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Get {
    name: String,
    #[serde(default)]
    with_decryption: bool,
}

fn get_parameter(cloud: &Cloud, input: Get) -> Result<Value, ApiError> {
    Ok(json!({"Parameter": find(cloud, &input.name, input.with_decryption)?}))
}

/// A parameter by name or ARN, with `:version` behind it or without.
fn find(cloud: &Cloud, selector: &str, decrypt: bool) -> Result<Value, ApiError> {
    let not_found = || ApiError::new("ParameterNotFound", format!("Parameter {selector} not found."));
    let named = selector.split_once(":parameter").map_or(selector, |(_, name)| name);
    let (name, version) = match named.split_once(':') {
        Some((name, version)) => (name, Some(version)),
        None => (named, None),
    };
    // The ARN of `name` and of `/name` differ from the names only by the slash.
    let parameter = cloud.store().get::<Parameter>(name);
    let parameter = parameter.or_else(|| cloud.store().get(name.strip_prefix('/')?)).ok_or_else(not_found)?;
    let found = match version {
        None => parameter.versions.last(),
        Some(number) => parameter.versions.iter().find(|version| version.number.to_string() == number),
    };
    let found = found.ok_or_else(|| {
        ApiError::new(
            "ParameterVersionNotFound",
            format!("Systems Manager could not find version {} of {name}.", version.unwrap_or("latest")),
        )
    })?;
    let mut view = parameter.view(cloud, found, decrypt);
    if let Some(version) = version {
        view["Selector"] = json!(format!(":{version}"));
    }
    Ok(view)
}

impl Parameter {
    fn arn(&self, cloud: &Cloud) -> String {
        let slash = if self.name.starts_with('/') { "" } else { "/" };
        cloud.arn("ssm", format_args!("parameter{slash}{}", self.name))
    }

    fn view(&self, cloud: &Cloud, version: &Version, decrypt: bool) -> Value {
        let value = if self.kind == Kind::SecureString && !decrypt {
            format!("kms:alias/aws/ssm:{}", BASE64.encode(format!("{}:{}", self.name, version.number)))
        } else {
            version.value.clone()
        };
        json!({
            "Name": self.name,
            "Type": self.kind,
            "Value": value,
            "Version": version.number,
            "LastModifiedDate": version.modified_at,
            "ARN": self.arn(cloud),
            "DataType": self.data_type,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetMany {
    names: Vec<String>,
    #[serde(default)]
    with_decryption: bool,
}

fn get_parameters(cloud: &Cloud, input: GetMany) -> Result<Value, ApiError> {
    let (mut found, mut invalid) = (vec![], vec![]);
    for name in input.names {
        match find(cloud, &name, input.with_decryption) {
            Ok(parameter) => found.push(parameter),
            Err(_) => invalid.push(name),
        }
    }
    Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ByPath {
    path: String,
    #[serde(default)]
    recursive: bool,
    #[serde(default)]
    with_decryption: bool,
    max_results: Option<usize>,
    next_token: Option<String>,
    parameter_filters: Option<Value>,
}

fn get_parameters_by_path(cloud: &Cloud, input: ByPath) -> Result<Value, ApiError> {
    if input.parameter_filters.is_some() {
        return Err(ApiError::unsupported("GetParametersByPath with ParameterFilters"));
    }
    let folder = format!("{}/", input.path.trim_end_matches('/'));
    let parameters = cloud.store().find(|parameter: &Parameter| {
        let below = parameter.name.strip_prefix(&folder);
        below.is_some_and(|rest| input.recursive || !rest.contains('/'))
    });
    let (parameters, next) =
        page(parameters, input.max_results.unwrap_or(10), input.next_token.as_deref(), "InvalidNextToken")?;
    let view = |parameter: &Parameter| {
        parameter.versions.last().map(|version| parameter.view(cloud, version, input.with_decryption))
    };
    Ok(json!({"Parameters": parameters.iter().filter_map(view).collect::<Vec<_>>(), "NextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe {
    filters: Option<Value>,
    #[serde(default)]
    parameter_filters: Vec<Filter>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    option: Option<String>,
    #[serde(default)]
    values: Vec<String>,
}

impl Filter {
    fn admits(&self, parameter: &Parameter) -> Result<bool, ApiError> {
        if self.key != "Name" {
            return Err(ApiError::unsupported(format_args!("DescribeParameters with a filter on {}", self.key)));
        }
        let mut values = self.values.iter();
        match self.option.as_deref().unwrap_or("Equals") {
            "Equals" => Ok(values.any(|value| *value == parameter.name)),
            "BeginsWith" => Ok(values.any(|value| parameter.name.starts_with(value))),
            "Contains" => Ok(values.any(|value| parameter.name.contains(value))),
            other => Err(ApiError::new("InvalidFilterOption", format!("The filter option {other} is not valid."))),
        }
    }
}

fn describe_parameters(cloud: &Cloud, input: Describe) -> Result<Value, ApiError> {
    if input.filters.is_some() {
        return Err(ApiError::unsupported("DescribeParameters with Filters; use ParameterFilters"));
    }
    let mut selected = vec![];
    for parameter in cloud.store().find(|_: &Parameter| true) {
        let admitted = input.parameter_filters.iter().map(|filter| filter.admits(&parameter));
        if admitted.collect::<Result<Vec<_>, _>>()?.into_iter().all(|admits| admits) {
            selected.push(parameter);
        }
    }
    let (selected, next) =
        page(selected, input.max_results.unwrap_or(50), input.next_token.as_deref(), "InvalidNextToken")?;
    let view = |parameter: &Parameter| {
        let version = parameter.versions.last();
        json!({
            "Name": parameter.name,
            "ARN": parameter.arn(cloud),
            "Type": parameter.kind,
            "KeyId": parameter.key_id,
            "Description": parameter.description,
            "LastModifiedDate": version.map(|version| version.modified_at),
            "Version": version.map(|version| version.number),
            "Tier": parameter.tier,
            "DataType": parameter.data_type,
            "Policies": [],
        })
    };
    Ok(json!({"Parameters": selected.iter().map(view).collect::<Vec<_>>(), "NextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Name {
    name: String,
}

fn delete_parameter(cloud: &Cloud, input: Name) -> Result<Value, ApiError> {
    if cloud.store().delete::<Parameter>(&input.name) {
        return Ok(json!({}));
    }
    Err(ApiError::new("ParameterNotFound", format!("Parameter {} not found.", input.name)))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Names {
    names: Vec<String>,
}

fn delete_parameters(cloud: &Cloud, input: Names) -> Result<Value, ApiError> {
    let (deleted, invalid): (Vec<_>, Vec<_>) =
        input.names.into_iter().partition(|name| cloud.store().delete::<Parameter>(name));
    Ok(json!({"DeletedParameters": deleted, "InvalidParameters": invalid}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagging {
    resource_type: String,
    resource_id: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

impl Tagging {
    fn parameter(&self, cloud: &Cloud) -> Result<Parameter, ApiError> {
        if self.resource_type != "Parameter" {
            return Err(ApiError::unsupported(format_args!("tagging an SSM {}", self.resource_type)));
        }
        cloud.store().get(&self.resource_id).ok_or_else(|| {
            ApiError::new("InvalidResourceId", format!("The parameter {} does not exist.", self.resource_id))
        })
    }
}

fn add_tags(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    input.parameter(cloud)?;
    cloud.store().update::<Parameter>(&input.resource_id, |parameter| {
        parameter.tags.extend(input.tags.into_iter().map(|tag| (tag.key, tag.value)));
    });
    Ok(json!({}))
}

fn list_tags(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    let tags = input.parameter(cloud)?.tags;
    let tags: Vec<Value> = tags.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({"TagList": tags}))
}
